"""Check a data set: find its folders, examine every pair, compare the pairs, write a report."""
