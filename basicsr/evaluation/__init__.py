"""Restore and score the images of data sets, during training and for reports."""
