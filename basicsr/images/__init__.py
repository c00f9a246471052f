"""Image files: what they say, read and written with all of it."""
