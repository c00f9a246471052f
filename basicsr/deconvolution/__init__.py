"""Blur kernels."""
