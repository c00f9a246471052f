"""Restore images with a network: whole, in tiles, guarded, with self-ensemble; ``Deblurrer``."""
