"""The web page: deblur photos in the browser."""
