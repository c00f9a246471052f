"""Check data sets: list their folders, examine every pair, compare the pairs, write a report."""
