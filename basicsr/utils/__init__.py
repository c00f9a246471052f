"""Helpers for every package: registries, argument checks, errors, files, devices."""
