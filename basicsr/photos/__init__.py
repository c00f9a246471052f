"""Photos and videos that people name: jobs over folders, results, contact sheets."""
