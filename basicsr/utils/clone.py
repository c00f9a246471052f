"""Put this clone first on the import path. Files that Python runs by their path call it through ``runpy.run_path``.

Python puts the folder of such a file first: ``basicsr/``, where ``test`` and ``utils`` would be found, or ``scripts/``.
The root of the clone takes its place, so that ``import basicsr`` finds the clone and not an installed package.
"""

from __future__ import annotations

import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_FOLDERS = [_ROOT / name for name in ('basicsr', 'basicsr/app', 'scripts')]
sys.path[:] = [str(_ROOT)] + [entry for entry in sys.path if Path(entry or '.').resolve() not in _FOLDERS]
