"""Make region masks for a folder of photos: see basicsr/make_masks.py."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

runpy.run_path(f'{Path(__file__).resolve().parents[1]}/basicsr/utils/clone.py')

from basicsr.make_masks import command, main

__all__ = ['main']

if __name__ == '__main__':
    sys.exit(command())
