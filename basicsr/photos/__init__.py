"""Deblur photos and videos named on a command line: jobs, result files, contact sheets."""
