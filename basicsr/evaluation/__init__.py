"""Restore and score the images of data sets, for one validation or a whole report."""
