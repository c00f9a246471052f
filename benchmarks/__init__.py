"""Measurements, run by hand: each module prints a table and is started as ``python -m benchmarks.<name>``."""
