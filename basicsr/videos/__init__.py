"""Video files: what they say of their frames, read and written with all of it."""
