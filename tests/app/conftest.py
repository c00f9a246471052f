"""What the tests of the page in a browser share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from basicsr.images.files import imwrite
from tests.helpers.browser import Browser
from tests.helpers.pages import bad_files, scene, write_deep, write_jpeg, write_masked
from tests.helpers.web_server import SIZES, Server, opened, running

NAME = 'Ferien ü #1 100% (2).JPG'


@pytest.fixture(scope='module')
def place(tmp_path_factory: Any) -> Path:
    """A network, photos (one of them keeps the page busy for many seconds), files that are none, and a secret."""
    folder: Path = tmp_path_factory.mktemp('page')
    write_masked(folder / 'masked.pth')
    (folder / 'examples').mkdir()
    write_deep(folder / 'examples' / 'deep.png')
    write_jpeg(folder / NAME)
    imwrite(folder / 'plain.png', scene(50, 70, seed=5))
    noise = np.random.default_rng(0).integers(0, 256, (130, 150, 3), dtype=np.uint8)
    blurred = cv2.blur(cv2.resize(noise, (1500, 1300), interpolation=cv2.INTER_NEAREST), (13, 1))
    imwrite(folder / 'busy.png', blurred)  # kernels are estimated everywhere
    for name, (data, _) in bad_files().items():
        (folder / name).write_bytes(data)
    (folder / 'secret.png').write_bytes((folder / 'examples' / 'deep.png').read_bytes())
    return folder


@pytest.fixture(scope='module')
def server(place: Path) -> Iterator[Server]:
    """The page with a small network and small limits; in the end nothing but notes was on its terminal."""
    limits = '--max-megapixels', '2', '--max-photos', '4'
    with running(place / 'tmp', '--model', place / 'masked.pth', '--examples', place / 'examples', *limits) as one:
        yield one
        one.end()
        errors = one.errors()
        assert 'Traceback' not in errors, errors


@pytest.fixture
def page(server: Server, browser: Browser) -> Iterator[Browser]:
    """The page on a laptop, without problems at the end."""
    yield opened(browser, server, *SIZES[0])
    assert browser.problems == []


@pytest.fixture(params=SIZES, ids=['laptop', 'phone'])
def sized(request: Any, server: Server, browser: Browser) -> Iterator[Browser]:
    """The page on a laptop and on a phone."""
    yield opened(browser, server, *request.param)
    assert browser.problems == []


@pytest.fixture
def short(tmp_path_factory: Any) -> Path:
    """A folder for a server: addresses of sockets have at most 107 characters."""
    folder: Path = tmp_path_factory.mktemp('p')
    return folder
