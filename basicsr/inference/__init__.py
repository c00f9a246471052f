"""Restore an image with a network: whole, in tiles, guarded, self-ensemble; ``Deblurrer``."""
