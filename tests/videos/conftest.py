"""Fixtures of the tests of videos."""

from __future__ import annotations

import pytest

from basicsr.weights.files import save_weights
from tests.helpers.deblurrers import network


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.setenv('PATH', str(tmp_path / 'bin'))  # without ffmpeg
    save_weights(tmp_path / 'net.pth', network())
    return tmp_path
