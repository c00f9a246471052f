"""The choices of the page: methods, networks, masks, own weights."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import basicsr.deblur
from basicsr.app.networks import choices_of
from basicsr.archs import build_network
from basicsr.images.files import imread, imwrite
from basicsr.inference.deblurrer import Deblurrer
from basicsr.inference.pretrained import DEFAULT
from basicsr.weights.files import save_weights
from tests.app.conftest import NAME
from tests.helpers import tiny_sam
from tests.helpers.browser import Browser
from tests.helpers.pages import scene, write_masked, write_plain
from tests.helpers.project import ROOT, require
from tests.helpers.tiny_pairs import TINY
from tests.helpers.web_server import (
    BUTTON,
    OWN,
    RESULT,
    ROWS,
    SAID,
    SIZES,
    Server,
    act,
    choose,
    choose_method,
    chosen,
    deblur,
    download,
    enter,
    opened,
    running,
    show_settings,
    start,
)

pytestmark = pytest.mark.slow

METHOD = "document.querySelector('#method input:checked')?.value"


@pytest.fixture(scope='module')
def server(place: Path) -> Iterator[Server]:
    """The page with a network without masks, one that finds kernels, and weights of a little Segment Anything."""
    require('segment_anything')
    tiny_sam.write_sure(place / 'sam.pth')
    arguments = ('--model', place / 'masked.pth', '--sam-checkpoint', place / 'sam.pth')
    named = place / 'tmp' / 'experiments' / 'pretrained_models'  # of the current folder
    named.mkdir(parents=True)
    write_plain(named / 'plain.pth')
    save_weights(named / 'kernels.pth', build_network(TINY))
    with running(place / 'tmp', *arguments, by=[ROOT / 'tests/helpers/tiny_sam.py']) as one:
        yield one
        one.end()
        errors = one.errors()
        assert 'Traceback' not in errors, errors


def by_command_line(photo: Path, out: Path, *flags: str | Path) -> bytes:
    arguments = ['-i', photo, '-o', out, '--device', 'cpu', '--mask-cache', 'none', *flags]
    assert basicsr.deblur.main([*map(str, arguments)]) == 0
    return next(out.iterdir()).read_bytes()


def test_masks_of_segment_anything(page: Browser, place: Path, tmp_path: Path, monkeypatch: Any) -> None:
    from segment_anything import sam_model_registry

    monkeypatch.setitem(sam_model_registry, 'vit_h', tiny_sam.build)
    chosen(page, place / 'plain.png')
    show_settings(page)
    choose(page, '#generator', 'sam')
    deblur(page)
    saved = download(page, tmp_path / 'saved').read_bytes()
    flags = '--model', place / 'masked.pth'
    sam = '--generator', 'sam', '--sam-checkpoint', place / 'sam.pth'
    assert saved == by_command_line(place / 'plain.png', tmp_path / 'sam', *flags, *sam)
    assert saved != by_command_line(place / 'plain.png', tmp_path / 'felzenszwalb', *flags)
    page.run("document.querySelector('#regions summary').click()")
    page.wait("document.querySelector('#regions img')?.naturalWidth === 70")


def test_the_mask_value_is_that_of_the_slider(page: Browser, place: Path, tmp_path: Path) -> None:
    chosen(page, place / 'plain.png')
    show_settings(page)
    enter(page, '#value', 0.3)
    deblur(page)
    deblurrer = Deblurrer.load(place / 'masked.pth', device='cpu')
    pixels = imread(place / 'plain.png')
    wanted = deblurrer.deblur(pixels, mask_value=0.3).image
    assert not np.array_equal(wanted, deblurrer.deblur(pixels).image)
    assert np.array_equal(imread(download(page, tmp_path / 'saved')), wanted)


def test_settings_and_results_follow_the_network(sized: Browser, place: Path, tmp_path: Path) -> None:
    page = sized
    show_settings(page)
    assert page.run(METHOD) == 'network'  # as the command line with --model
    assert page.run("document.querySelector('#generator').checkVisibility()")
    assert 'SegNAFNet' in page.run("document.querySelector('#about').innerText")
    chosen(page, place / 'plain.png')
    deblur(page)
    assert page.run("Boolean(document.querySelector('#regions'))")
    choose(page, '#network', 'plain')
    page.wait("document.querySelector('#result .stale')?.innerText.includes('network masked')")
    page.wait("!document.querySelector('#generator')?.checkVisibility()")
    deblur(page)
    assert not page.run("Boolean(document.querySelector('#regions') || document.querySelector('#result .stale'))")
    choose(page, '#network', 'kernels')
    page.wait("document.querySelector('#about').innerText.includes('estimates the blur kernel')")
    deblur(page)
    page.wait("document.querySelector('#kernel')?.naturalWidth === 9 * 4", 30)
    choose(page, '#network', choices_of([DEFAULT])[0][0])
    page.wait(f"{METHOD} === 'auto'")
    deblur(page)
    saved = download(page, tmp_path / 'saved').read_bytes()
    assert saved == by_command_line(place / 'plain.png', tmp_path / 'out')
    assert page.run("document.querySelector('.happened').innerText").split('Reason')[1].strip()


def test_each_method_has_a_line_and_a_small_sample(sized: Browser) -> None:
    page = sized
    show_settings(page)
    page.wait("document.querySelectorAll('#samples img').length === 4", 40)
    page.wait("[...document.querySelectorAll('#samples img')].every((one) => one.alt && one.naturalWidth)")
    words = page.run("document.querySelector('#method').innerText")
    assert all(line in words for line in ('Automatic: ', 'Blur kernels: ', 'Network: '))


def test_samples_are_made_after_the_work(page: Browser, place: Path) -> None:
    chosen(page, place / 'busy.png')
    choose_method(page, 'kernel')
    start(page)
    choose(page, '#network', 'plain')
    time.sleep(3)
    assert page.run("document.querySelectorAll('#samples img').length") < 4
    page.run("document.querySelector('#said [data-do=cancel]').click()")
    page.wait("document.querySelectorAll('#samples img').length === 4", 60)


def test_sharp_photos_are_called_sharp(page: Browser, tmp_path: Path) -> None:
    imwrite(tmp_path / 'sharp.png', np.random.default_rng(0).integers(0, 256, (200, 220, 3), dtype=np.uint8))
    chosen(page, tmp_path / 'sharp.png')
    choose_method(page, 'auto')
    deblur(page)
    assert 'looks sharp' in page.run("document.querySelector('#result .note').innerText")
    assert np.array_equal(imread(download(page, tmp_path / 'saved')), imread(tmp_path / 'sharp.png'))


def test_own_weights_are_used_or_refused_with_the_reason(sized: Browser, place: Path, tmp_path: Path) -> None:
    page = sized

    class Harmful:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / 'harm'),)

    torch.save({'params': Harmful()}, tmp_path / 'harmful.pth')
    (tmp_path / 'junk.pth').write_bytes(b'PK\x03\x04 no more')
    show_settings(page)
    page.wait(f"document.querySelector('{OWN}')")
    for name in ('junk', 'harmful'):
        page.choose_file(OWN, tmp_path / f'{name}.pth')
        page.wait(f"document.querySelector('#own-said').innerText.includes('{name}.pth was refused: ')", 30)
    assert not (tmp_path / 'harm').exists()
    said = page.run("document.querySelector('#own-said').innerText")
    assert str(place) not in said and 'shown' not in said
    mine = write_masked(tmp_path / 'mine.pth', width=8)
    page.choose_file(OWN, mine)
    page.wait("document.querySelector('#network input').value.startsWith('mine (yours')", 30)
    page.wait("document.querySelector('#own-said').innerText.trim() === ''")
    chosen(page, place / 'plain.png')
    deblur(page)
    saved = download(page, tmp_path / 'saved').read_bytes()
    assert saved == by_command_line(place / 'plain.png', tmp_path / 'out', '--model', mine)


def test_missing_masks_and_a_failure_are_shown_in_place_of_the_old_result(
    browser: Browser, tmp_path: Path, short: Path
) -> None:
    write_masked(tmp_path / 'masked.pth')
    imwrite(tmp_path / 'plain.png', scene(50, 70))
    with running(short, '--model', tmp_path / 'masked.pth') as one:
        page = opened(browser, one, *SIZES[1])
        chosen(page, tmp_path / 'plain.png')
        deblur(page)
        show_settings(page)
        choose(page, '#generator', 'sam')
        start(page)
        page.wait(f"({ROWS})[0].includes('failed: Masks: sam requires') && !{RESULT}")
        assert '--sam-checkpoint FILE' in page.run("document.querySelector('#result .error').innerText")
        choose(page, '#generator', 'felzenszwalb')
        deblur(page)
        assert len(page.run("[...document.querySelectorAll('#examples img')].map((one) => one.alt)")) == 4
        act(page, 'example', 1)
        page.wait(f"({ROWS})[0].includes('cup_blurred.jpg')")
        assert page.problems == []


def test_without_a_network_the_page_says_so(browser: Browser, place: Path, tmp_path: Path, short: Path) -> None:
    import shutil

    shutil.copytree(ROOT / 'basicsr', tmp_path / 'clone/basicsr', ignore=shutil.ignore_patterns('__pycache__'))
    with running(short, '--examples', place / 'examples', root=tmp_path / 'clone') as one:
        page = opened(browser, one)
        page.wait("document.querySelector('#said .error')", 30)
        assert '--model FILE' in page.run(SAID)
        assert page.run(f'{BUTTON}.disabled')
        chosen(page, place / NAME)
        assert page.run(f'{BUTTON}.disabled') and '--model FILE' in page.run(SAID)
