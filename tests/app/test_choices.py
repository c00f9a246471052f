"""The web page under other choices than the usual, by several people, and by people who do not mean well."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np
import pytest
from PIL import Image

import basicsr.deblur
from basicsr.archs import build_network
from basicsr.images.files import imread, imwrite
from basicsr.inference.deblurrer import Deblurrer
from basicsr.inference.pretrained import DEFAULT
from basicsr.weights.files import save_weights
from tests.helpers import tiny_sam
from tests.helpers.browser import Browser, find_browser
from tests.helpers.pages import scene, write_deep, write_jpeg, write_masked
from tests.helpers.project import ROOT, require
from tests.helpers.tiny_pairs import TINY
from tests.helpers.web_server import (
    API,
    BUTTON,
    SAID,
    Server,
    choose,
    deblur,
    download,
    enter,
    opened,
    running,
    show_settings,
    show_tab,
    upload,
)

pytestmark = pytest.mark.slow

TABS = "[...document.querySelectorAll('[role=tab]')].map((one) => one.innerText)"


@pytest.fixture(scope='module')
def place(tmp_path_factory: Any) -> Path:
    """Networks, weights of a little Segment Anything, and photos: one of them keeps the page busy for seconds."""
    require('segment_anything')
    folder: Path = tmp_path_factory.mktemp('page')
    write_masked(folder / 'masked.pth')
    tiny_sam.write_sure(folder / 'sam.pth')
    (folder / 'examples').mkdir()
    write_deep(folder / 'examples' / 'deep.png')
    write_jpeg(folder / 'photo.jpg')
    imwrite(folder / 'plain.png', scene(50, 70, seed=5))
    imwrite(folder / 'busy.png', np.random.default_rng(0).integers(0, 256, (1300, 1500, 3), dtype=np.uint8))
    return folder


@pytest.fixture(scope='module')
def server(place: Path) -> Iterator[Server]:
    arguments = ('--model', place / 'masked.pth', '--examples', place / 'examples', '--max-megapixels', '2')
    with running(
        place / 'tmp', *arguments, '--sam-checkpoint', place / 'sam.pth', by=[ROOT / 'tests/helpers/tiny_sam.py']
    ) as one:
        yield one


@pytest.fixture
def page(server: Server, browser: Browser) -> Browser:
    return opened(browser, server)


@pytest.fixture
def other(browser: Browser) -> Iterator[Browser]:
    """The browser of somebody else."""
    with Browser(str(find_browser())) as one:
        yield one


def chosen(page: Browser, photo: Path) -> None:
    """Upload a photo and wait until it is shown."""
    upload(page, photo)
    page.wait(f"{SAID}.includes(' bits')", 60)


def by_command_line(photo: Path, out: Path, *flags: str | Path) -> bytes:
    arguments = ['-i', photo, '-o', out, '--device', 'cpu', '--mask-cache', 'none', *flags]
    assert basicsr.deblur.main([*map(str, arguments)]) == 0
    return next(out.iterdir()).read_bytes()


def question(server: Server, photo: Path) -> dict[str, Any]:
    """An upload as questions to the page's functions name it."""
    status, answer = server.upload(photo.name, photo.read_bytes())
    assert status == 200
    return {'path': json.loads(answer)[0], 'meta': {'_type': 'gradio.FileData'}}


def test_masks_of_segment_anything(page: Browser, place: Path, tmp_path: Path, monkeypatch: Any) -> None:
    from segment_anything import sam_model_registry

    monkeypatch.setitem(sam_model_registry, 'vit_h', tiny_sam.build)
    show_settings(page)
    choose(page, '#generator', 'sam')
    chosen(page, place / 'plain.png')
    deblur(page)
    saved = download(page, tmp_path / 'saved').read_bytes()
    flags = '--model', place / 'masked.pth'
    sam = '--generator', 'sam', '--sam-checkpoint', place / 'sam.pth'
    assert saved == by_command_line(place / 'plain.png', tmp_path / 'sam', *flags, *sam)
    assert saved != by_command_line(place / 'plain.png', tmp_path / 'felzenszwalb', *flags)
    show_tab(page, 'Regions')
    page.wait("document.querySelector('#regions img')?.naturalWidth === 70")
    assert page.problems == []


def test_the_mask_value_is_that_of_the_slider(page: Browser, place: Path, tmp_path: Path) -> None:
    show_settings(page)
    enter(page, '#value', 0.3)
    chosen(page, place / 'plain.png')
    deblur(page)
    deblurrer = Deblurrer.load(place / 'masked.pth', device='cpu')
    pixels = imread(place / 'plain.png')
    wanted = deblurrer.deblur(pixels, mask_value=0.3).image
    assert not np.array_equal(wanted, deblurrer.deblur(pixels).image)
    assert np.array_equal(imread(download(page, tmp_path / 'saved')), wanted)


def test_networks_are_chosen_and_masks_without_weights_are_asked_for(
    browser: Browser, place: Path, tmp_path: Path
) -> None:
    """The pair shows its kernel, the shipped network takes no masks; masks of Segment Anything lack weights."""
    save_weights(tmp_path / 'kernels.pth', build_network(TINY))
    with running(tmp_path / 'tmp', '--model', tmp_path / 'kernels.pth', '--examples', place / 'examples') as one:
        page = opened(browser, one)
        page.wait(f"{TABS}.join() === 'Before and after,Blur kernel'")
        chosen(page, place / 'plain.png')
        deblur(page)
        show_tab(page, 'Blur kernel')
        page.wait("document.querySelector('#kernel img')?.naturalWidth === 9 * 8", 30)
        show_settings(page)
        choose(page, '#network', DEFAULT)
        page.run(f'{BUTTON}.click()')
        page.wait(f"({SAID}).includes('with {DEFAULT} on cpu')", 60)
        saved = download(page, tmp_path / 'saved').read_bytes()
        assert saved == by_command_line(place / 'plain.png', tmp_path / 'out')
        assert page.problems == []
    masked = place / 'masked.pth'
    with running(tmp_path / 'tmp2', '--model', masked, '--examples', place / 'examples') as one:
        page = opened(browser, one)
        page.wait(f"{TABS}.join() === 'Before and after,Regions'")
        chosen(page, place / 'plain.png')
        show_settings(page)
        choose(page, '#generator', 'sam')
        page.run(f'{BUTTON}.click()')
        page.wait("document.querySelector('#said .error')", 60)
        assert '--sam-checkpoint FILE' in page.run(SAID)
        assert not page.run("document.querySelector('#slider img')")
        choose(page, '#generator', 'felzenszwalb')
        deblur(page)
        assert 'masked on cpu' in page.run(SAID)
        assert page.problems == []


def test_two_people_at_once_get_their_own(
    page: Browser, other: Browser, server: Server, place: Path, tmp_path: Path
) -> None:
    photos = {page: place / 'photo.jpg', opened(other, server): place / 'plain.png'}
    for one, photo in photos.items():
        chosen(one, photo)
    for one in photos:
        one.run(f'{BUTTON}.click()')
    for number, (one, photo) in enumerate(photos.items()):
        one.wait(f"{SAID}.includes(' s ')", 120)
        saved = download(one, tmp_path / f'saved{number}')
        assert saved.stem == f'{photo.stem}_deblurred'
        assert saved.read_bytes() == by_command_line(photo, tmp_path / f'out{number}', '--model', place / 'masked.pth')
        assert one.problems == []


def test_clicks_during_the_work_start_nothing(page: Browser, place: Path) -> None:
    chosen(page, place / 'busy.png')
    page.asked.clear()
    for _ in range(4):
        page.run(f'{BUTTON}.click()')
        time.sleep(0.1)
    page.wait(f"{SAID}.includes(' s ')", 120)
    assert sum('/queue/join' in address for address in page.asked) == 1
    assert page.problems == []


def test_another_photo_during_the_work_is_the_one_that_is_shown_and_deblurred_next(
    page: Browser, place: Path, tmp_path: Path
) -> None:
    chosen(page, place / 'busy.png')
    page.run(f'{BUTTON}.click()')
    page.run("document.querySelector('#photo button[aria-label=Clear]').click()")
    upload(page, place / 'plain.png')
    page.wait(f"{SAID}.includes('busy_deblurred.png')", 120)
    deblur(page)
    page.wait(f"{SAID}.includes('plain_deblurred.png')", 60)
    assert download(page, tmp_path / 'saved').name == 'plain_deblurred.png'


def test_a_window_that_is_closed_during_the_work_leaves_the_page_to_others(
    page: Browser, server: Server, place: Path
) -> None:
    with Browser(str(find_browser())) as leaving:
        chosen(opened(leaving, server), place / 'busy.png')
        leaving.run(f'{BUTTON}.click()')
        leaving.wait("document.querySelector('#slider').innerText.includes('s')")
    chosen(page, place / 'plain.png')
    deblur(page)
    assert server.process.poll() is None and page.problems == []


def test_transparent_pictures_of_16_bits(page: Browser, place: Path, tmp_path: Path) -> None:
    import cv2

    pixels = np.dstack([scene().astype(np.uint16) * 257, np.full((90, 120), 65535, np.uint16)])
    pixels[:, :60, 3] = 0
    photo = tmp_path / 'deep.png'
    cv2.imwrite(str(photo), pixels)
    chosen(page, photo)
    assert '120×90, PNG, 16 bits' in page.run(SAID)
    deblur(page)
    saved = download(page, tmp_path / 'saved')
    assert saved.read_bytes() == by_command_line(photo, tmp_path / 'out', '--model', place / 'masked.pth')
    result = cv2.imread(str(saved), cv2.IMREAD_UNCHANGED)
    assert result.dtype == np.uint16 and np.array_equal(result[..., 3], pixels[..., 3])


def test_small_files_of_gigantic_pictures_are_refused_at_once(page: Browser, tmp_path: Path) -> None:
    Image.new('1', (30_000, 30_000)).save(tmp_path / 'bomb.png')
    assert (tmp_path / 'bomb.png').stat().st_size < 1 << 20
    upload(page, tmp_path / 'bomb.png')
    page.wait("document.querySelector('#said .error')", 20)
    assert '2 million pixels' in page.run(SAID)


def test_questions_that_make_no_sense_do_not_stop_the_page(browser: Browser, place: Path, tmp_path: Path) -> None:
    arguments = ('--model', place / 'masked.pth', '--examples', place / 'examples')
    with running(tmp_path / 'tmp', *arguments) as one:
        file = question(one, place / 'plain.png')
        for data in (
            (),
            (file,),
            (None,) * 7,
            (file, 'a.png', 'gone', 'none', 0, 0, 1),
            (file, 'a.png', 'masked', 'gone', 0, 0, 1),
            (file, 'a.png', 'masked', ['x'], 'x', {}, None),
            (file, 'a.png', 'masked', 'felzenszwalb', 99, 1e300, float('nan')),
        ):
            assert one.join(*data)[0] in (200, 422), data
        for function in (-1, 99):
            assert one.join(file, function=function)[0] in (200, 404, 422, 500)
        page = opened(browser, one)
        chosen(page, place / 'plain.png')
        deblur(page)
        assert page.problems == []


@pytest.mark.skipif(sys.platform != 'linux', reason='other systems have one local address only')
def test_only_this_computer_can_call_it(server: Server) -> None:
    """A server that listens at all addresses would answer at each local one."""
    port = int(urlsplit(server.address).port or 0)
    socket.create_connection(('127.0.0.1', port), 10).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(('127.0.0.2', port), 10)


def test_uploads_are_never_pages_of_their_own(server: Server) -> None:
    script = b'<html xmlns="http://www.w3.org/1999/xhtml"><script>document.title = 1</script></html>'
    for name in ('a.html', 'a.htm', 'a.xhtml', 'a.svg', 'a.xml', 'a.js', 'a', 'a.jpg', 'a.html.png'):
        status, answer = server.upload(name, script)
        assert status == 200
        connection = http.client.HTTPConnection(urlsplit(server.address).netloc, timeout=60)
        connection.request('GET', f'{API}/file={quote(json.loads(answer)[0])}')
        got = connection.getresponse()
        kind, shown = got.getheader('content-type', ''), got.getheader('content-disposition', '')
        assert shown.startswith('attachment') or (kind.startswith('image/') and 'svg' not in kind), (name, kind, shown)
        assert got.getheader('x-content-type-options') == 'nosniff'
        connection.close()


def test_uploads_of_unknown_length_have_the_same_limit(server: Server) -> None:
    """Nothing larger than the limit is left on the disk."""
    limit = 2 * 8 * 10**6 + (1 << 20)

    def body() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
        for _ in range(40):
            yield b'x' * (1 << 20)
        yield b'\r\n--x--\r\n'

    connection = http.client.HTTPConnection(urlsplit(server.address).netloc, timeout=60)
    try:
        connection.request(
            'POST', f'{API}/upload', body(), {'Content-Type': 'multipart/form-data; boundary=x'}, encode_chunked=True
        )
        assert connection.getresponse().status == 413
    except (BrokenPipeError, ConnectionResetError):  # it would not hear more of it
        pass
    finally:
        connection.close()
    assert server.ask('GET', '/')[0] == 200
    assert max(path.stat().st_size for path in server.temporary.rglob('*') if path.is_file()) <= limit


def test_who_finds_the_queue_full_is_told_so(page: Browser, server: Server, place: Path) -> None:
    chosen(page, place / 'plain.png')
    busy = question(server, place / 'busy.png')
    for _ in range(5):  # the moment that a place is free again may be that of the click
        answers = [server.join(busy, 'a.png', 'masked', 'none', 0, seed, 1) for seed in range(25)]
        assert answers[-1][0] == 503 and b'Queue is full' in answers[-1][1]
        page.run(f'{BUTTON}.click()')
        with contextlib.suppress(AssertionError):
            page.wait("document.body.innerText.includes('busy. Please try again')", 3)
            return
    raise AssertionError('nobody was told that the queue is full')
