"""The checks of ``scripts/check_gpu.py``: whether everything computes on a GPU what it computes on a CPU."""
