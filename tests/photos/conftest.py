"""Fixtures of the tests of photos."""

from __future__ import annotations

import pytest
from PIL import Image

from basicsr.weights.files import save_weights
from tests.helpers.deblur_commands import picture
from tests.helpers.deblurrers import network


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
