"""Image files: read and write pixels and metadata."""
