"""The web page: a photo in, the sharp one out, in the browser."""
