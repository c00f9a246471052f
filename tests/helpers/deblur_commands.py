"""Run basicsr/deblur.py as a user does."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from basicsr.weights.files import save_weights
from tests.helpers.deblurrers import network
from tests.helpers.project import ROOT

SCRIPT = ROOT / 'basicsr' / 'deblur.py'


main = importlib.import_module('basicsr.deblur').main


RNG = np.random.default_rng(0)


def picture(height=40, width=52):
    """Smooth, so that JPEG changes little."""
    return cv2.resize(RNG.integers(60, 200, (5, 6, 3), dtype=np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Three photos and a network in the working directory, the cache beside."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    save_weights(tmp_path / 'net.pth', network())
    (tmp_path / 'photos').mkdir()
    Image.fromarray(picture()).save('photos/a.jpg', quality=95)
    Image.fromarray(picture(31, 33)).save('photos/b.PNG')
    Image.fromarray(picture(24, 60)).convert('L').save('photos/c.tif')
    (tmp_path / 'photos/notes.txt').write_text('no photo')
    (tmp_path / 'photos/.hidden.png').write_text('no photo')
    return tmp_path


def deblur(*arguments):
    """The command in this process, on the CPU with the small network."""
    words = list(map(str, arguments))
    return main([*words, '--device', 'cpu', *([] if '--model' in words else ['--model', 'net.pth'])])


def command(*arguments, **more):
    words = [sys.executable, str(SCRIPT), *map(str, arguments), '--device', 'cpu', '--model', 'net.pth']
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=300, **more)


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir())
