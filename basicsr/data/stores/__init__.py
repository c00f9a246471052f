"""Where samples are stored: folders of files, LMDB databases, raw arrays."""
