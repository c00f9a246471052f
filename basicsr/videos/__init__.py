"""Video files: read and write frames with their times, colours and sound."""
