"""Automatic masks of Segment Anything, made fast."""
