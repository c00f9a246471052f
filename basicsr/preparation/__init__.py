"""Benchmark data sets on disk: find their files, convert them to the folders of the option files, check them."""
