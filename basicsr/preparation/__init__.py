"""Benchmark data sets on disk: recognised, turned into the folders that option files name, and checked."""
