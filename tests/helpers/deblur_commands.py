"""Run basicsr/deblur.py as a user does."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

from tests.helpers.project import ROOT

SCRIPT = ROOT / 'basicsr' / 'deblur.py'


main = importlib.import_module('basicsr.deblur').main


RNG = np.random.default_rng(0)


def picture(height=40, width=52):
    """Smooth, so that JPEG changes little."""
    return cv2.resize(RNG.integers(60, 200, (5, 6, 3), dtype=np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)


def deblur(*arguments):
    """The command in this process, on the CPU with the small network."""
    words = list(map(str, arguments))
    return main([*words, '--device', 'cpu', *([] if '--model' in words else ['--model', 'net.pth'])])


def command(*arguments, **more):
    words = [sys.executable, str(SCRIPT), *map(str, arguments), '--device', 'cpu', '--model', 'net.pth']
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=300, **more)


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir())
