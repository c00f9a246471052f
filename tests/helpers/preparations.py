"""Call scripts/prepare_data.py."""

from __future__ import annotations

import runpy
import sys

import pytest


def call(script, arguments, monkeypatch):
    """A script in this process; its exit code."""
    monkeypatch.setattr(sys, 'argv', [str(script), *map(str, arguments)])
    monkeypatch.setattr(sys, 'path', list(sys.path))
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(script), run_name='__main__')
    return stop.value.code
