"""A fast automatic mask generator for Segment Anything."""
