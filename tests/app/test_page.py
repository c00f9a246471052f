"""The web page as people use it: the real server, and where there is one, a real browser."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

import basicsr.deblur
from basicsr.app.folder import PREFIX
from basicsr.images.files import imread
from tests.helpers.browser import Browser
from tests.helpers.pages import bad_files, write_deep, write_jpeg, write_masked, write_plain
from tests.helpers.project import ROOT, absent
from tests.helpers.web_server import (
    API,
    BUTTON,
    SAID,
    Server,
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

NAME = 'Ferien ü #1 100% (2).JPG'


@pytest.fixture(scope='module')
def place(tmp_path_factory: Any) -> Path:
    """Networks, photos, files that are none, and a secret."""
    folder: Path = tmp_path_factory.mktemp('page')
    write_masked(folder / 'masked.pth')
    (folder / 'examples').mkdir()
    write_deep(folder / 'examples' / 'deep.png')
    write_jpeg(folder / NAME)
    for name, (data, _) in bad_files().items():
        (folder / name).write_bytes(data)
    (folder / 'secret.png').write_bytes((folder / 'examples' / 'deep.png').read_bytes())
    return folder


@pytest.fixture(scope='module')
def server(place: Path) -> Iterator[Server]:
    with running(
        place / 'tmp',
        *('--model', place / 'masked.pth', '--examples', place / 'examples', '--max-megapixels', '2'),
    ) as one:
        yield one


@pytest.fixture
def page(server: Server, browser: Browser) -> Browser:
    return opened(browser, server)


def by_command_line(photo: Path, place: Path, out: Path) -> Path:
    arguments = ['-i', str(photo), '-o', str(out), '--model', str(place / 'masked.pth'), '--device', 'cpu']
    assert basicsr.deblur.main([*arguments, '--mask-cache', 'none']) == 0
    (result,) = out.iterdir()
    return result


def test_from_upload_to_download(page: Browser, place: Path, tmp_path: Path) -> None:
    assert page.run('document.title') == 'Deblur a photo'
    upload(page, place / NAME)
    page.wait(f"{SAID}.includes('90×120, JPEG, 8 bits')", 60)
    page.wait("document.querySelector('#preview img')?.naturalWidth === 90")
    deblur(page)
    x, y, width, height = page.run(
        '(({x, y, width, height}) => [x, y, width, height])'
        "(document.querySelector('#slider .slider-wrap').getBoundingClientRect())"
    )
    clip = "parseFloat(document.querySelectorAll('#slider img')[1].style.clipPath.split(' ')[3])"
    assert page.run(clip) == pytest.approx(50, abs=1)
    page.drag((x + width / 2, y + height / 2), (x + width / 4, y + height / 2))
    page.wait(f'Math.abs({clip} - 25) < 2')
    saved = download(page, tmp_path / 'saved')
    wanted = by_command_line(place / NAME, place, tmp_path / 'out')
    assert saved.name == wanted.name == 'Ferien ü #1 100% (2)_deblurred.JPG'
    assert saved.read_bytes() == wanted.read_bytes()
    show_tab(page, 'Regions')
    page.wait("document.querySelector('#regions img')?.naturalWidth === 90")
    assert int(page.run("document.querySelector('#counted').innerText.split(' ')[0]")) > 3
    assert page.problems == []


def test_the_page_asks_no_other_computer(page: Browser, server: Server, place: Path) -> None:
    upload(page, place / NAME)
    deblur(page)
    asked = [address for address in page.asked if not address.startswith(('data:', 'blob:', 'about:'))]
    assert len(asked) > 20
    assert [address for address in asked if not address.startswith(server.address)] == []


@pytest.mark.parametrize('name', bad_files())
def test_bad_files_give_words_and_the_next_photo_works(name: str, page: Browser, place: Path) -> None:
    upload(page, place / name)
    page.wait("document.querySelector('#said .error')", 60)
    words = page.run(f'{SAID}')
    assert bad_files()[name][1].lower() in words.lower()
    assert 'tmp' not in words and PREFIX not in words
    page.run(f'{BUTTON}.click()')  # once more by the button
    time.sleep(0.5)
    page.wait("document.querySelector('#slider [data-testid=status-tracker].hide')", 60)  # it has answered
    assert bad_files()[name][1].lower() in page.run(SAID).lower()
    assert not page.run("document.querySelector('#slider img')")
    if name == 'notes.jpg':
        page.run("document.querySelector('#photo button[aria-label=Clear]').click()")
        page.wait(f'{SAID} === ""')
        upload(page, place / NAME)
        page.wait(f"{SAID}.includes('JPEG')", 60)
        deblur(page)
    assert page.problems == []


def test_hostile_names_are_shown_as_they_are(page: Browser, place: Path, tmp_path: Path) -> None:
    name = 'x<img src=a onerror="document.title=1">${7*7}{{value}}&amp;.JPG'
    shutil.copyfile(place / NAME, tmp_path / name)
    upload(page, tmp_path / name)
    deblur(page)
    assert page.run(SAID).startswith(name.replace('.JPG', '_deblurred.JPG'))
    assert page.run('document.title') == 'Deblur a photo' and page.problems == []


def test_files_that_are_too_large_to_send_give_words(page: Browser, place: Path) -> None:
    (place / 'huge.png').write_bytes(b'x' * (18 << 20))
    upload(page, place / 'huge.png')
    page.wait("document.body.innerText.toLowerCase().includes('maximum allowed size')", 60)


def test_without_a_photo_it_asks_for_one(page: Browser) -> None:
    page.run(f'{BUTTON}.click()')
    page.wait(f"{SAID}.includes('Choose a photo first')", 60)


def test_an_example_is_picked_and_dropout_counts(page: Browser) -> None:
    page.wait("document.querySelector('#examples img')")
    page.run("document.querySelector('#examples button:has(img)').click()")
    page.wait(f"{SAID}.includes('80×60, PNG, 16 bits')", 60)
    deblur(page)
    counted = "document.querySelector('#counted')"
    show_tab(page, 'Regions')
    page.wait(f"{counted}?.innerText.includes('regions')")
    count = int(page.run(f"{counted}.innerText.split(' ')[0]"))
    show_settings(page)
    enter(page, '#dropout', 0.5)
    page.run(f'{BUTTON}.click()')
    page.wait(f"{counted}.innerText.includes('after dropping 50%')", 120)
    assert int(page.run(f"{counted}.innerText.split(' ')[0]")) == count - count // 2
    assert page.problems == []


def test_who_waits_sees_how_many_are_before(page: Browser, server: Server, place: Path) -> None:
    upload(page, place / NAME)
    page.wait(f"{SAID}.includes('JPEG')", 60)
    path = page.run("document.querySelector('#photo a[href]').href").split('file=')[1]
    size = 1500, 1300
    large = place / 'waiting.png'
    if not large.exists():
        from basicsr.images.files import imwrite

        imwrite(large, np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8))
    status, answer = server.upload('waiting.png', large.read_bytes())
    assert status == 200 and path
    file = {'path': json.loads(answer)[0], 'meta': {'_type': 'gradio.FileData'}}
    for seed in (1, 2):
        assert server.join(file, 'a.png', 'masked', 'felzenszwalb', 0, seed, 1)[0] == 200
    page.run(f'{BUTTON}.click()')
    page.wait("document.querySelector('#slider').innerText.includes('queue: ')", 30)
    page.wait(f"{SAID}.includes(' s ')", 240)


def test_the_page_fits_a_phone(server: Server, browser: Browser, place: Path) -> None:
    page = opened(browser, server, 390, 844)
    upload(page, place / NAME)
    page.wait(f"{SAID}.includes('JPEG')", 60)
    deblur(page)
    page.wait('scrollY > 100')  # to the results
    assert page.run('document.documentElement.scrollWidth') <= 390
    boxes = page.run("""['#photo', '#start', '#said', '#download', '#slider'].map((one) => {
        const {top, bottom, left, right} = document.querySelector(one).getBoundingClientRect();
        return [top, bottom, left, right]; })""")
    for above, below in itertools.pairwise(boxes):
        assert above[1] <= below[0] + 1
    assert all(left >= 0 and right <= 390 for _, _, left, right in boxes)


def test_controls_follow_the_network(browser: Browser, place: Path) -> None:
    write_plain(place / 'plain.pth')
    with running(place / 'tmp', '--model', place / 'plain.pth', '--examples', place / 'examples') as plain:
        page = opened(browser, plain)
        show_settings(page)
        shown = "['#generator', '#dropout', '#value'].filter((one) => document.querySelector(one)?.checkVisibility())"
        assert page.run(shown) == []
        assert 'Regions' not in page.run("[...document.querySelectorAll('[role=tab]')].map((one) => one.innerText)")
        upload(page, place / NAME)
        page.wait(f"{SAID}.includes('JPEG')", 60)
        deblur(page)
        assert page.problems == []


def test_files_of_others_are_out_of_reach(server: Server, place: Path) -> None:
    secret = place / 'secret.png'
    status, answer = server.upload('mine.png', secret.read_bytes())
    own = json.loads(answer)[0]
    assert status == 200 and server.ask('GET', f'{API}/file={quote(own)}') == (200, secret.read_bytes())
    folder = Path(own).parents[1]
    names = [str(secret), '/etc/passwd', str(ROOT / 'README.md'), 'README.md', str(folder), str(folder.parent / 'lock')]
    up = '../' * 20
    names += [f'{folder}/{up}etc/passwd', f'{own}/{up}etc/passwd', f'{up}etc/passwd', '~/.bashrc', 'file:///etc/passwd']
    for name in names:
        coded = {name, quote(name), quote(name, safe=''), quote(quote(name, safe=''), safe='')}
        coded |= {name.replace('../', '..%2f'), name.replace('../', '%2e%2e/'), name.replace('../', '..\\')}
        for written in coded:
            for route in (f'{API}/file=', '/file=', f'{API}/file/', '/file/'):
                status, body = server.ask('GET', route + quote(written, safe='/%:\\'))
                assert status in (403, 404) and b'root:' not in body, (route, written)
    for route in ('/static/', '/assets/', '/svelte/', f'{API}/custom_component/1/client/component/'):
        for way in (f'{up}etc/passwd', '%2e%2e/' * 20 + 'etc/passwd', '..%2f' * 20 + 'etc/passwd', '/etc/passwd'):
            assert server.ask('GET', f'{route}{way}')[0] in (403, 404), (route, way)
    for address in ('http://127.0.0.1:1/', 'http://example.org/a.png'):
        assert server.ask('GET', f'{API}/file={address}')[0] == 403
        assert server.ask('GET', f'{API}/proxy={address}')[0] == 404


def test_questions_about_files_of_others_are_refused(server: Server, place: Path) -> None:
    for path in (str(place / 'secret.png'), '/etc/passwd', 'http://127.0.0.1:1/a.png', '../secret.png'):
        file = {'path': path, 'meta': {'_type': 'gradio.FileData'}}
        assert server.join(file, 'a.png', 'masked', 'felzenszwalb', 0, 0, 1)[0] == 403
        assert server.join(file, function=0)[0] == 403


def test_uploads_stay_in_their_folder_and_have_a_limit(server: Server) -> None:
    for name in ('../../../../evil.png', '/tmp/evil.png', '..', 'a/../../evil.png'):
        status, answer = server.upload(name, b'x')
        if status == 200:
            (path,) = json.loads(answer)
            assert Path(path).resolve().is_relative_to(server.temporary) and '..' not in Path(path).parts
    assert not list(server.temporary.parent.glob('evil*'))
    status, answer = server.upload('large.png', b'x' * (18 << 20))  # 2 megapixels of 8 bytes, and some more
    assert status == 413 and b'size' in answer


def test_nothing_but_the_page_answers(server: Server) -> None:
    for path in ('/docs', '/openapi.json', '/monitoring', '/login', f'{API}/info', f'{API}/openapi.json'):
        assert server.ask('GET', path)[0] == 404
    for path in ('call/deblur', 'run/deblur', 'api/deblur', 'component_server', 'vibe-edit'):
        assert server.ask('POST', f'{API}/{path}', b'{}')[0] == 404
    assert server.ask('GET', '/', Host='evil.example')[0] == 403
    assert server.ask('POST', f'{API}/upload', b'', Origin='http://evil.example')[0] == 403
    config = json.loads(server.ask('GET', '/config')[1])
    assert {one['api_visibility'] for one in config['dependencies']} == {'private'}
    asked = [one['api_name'] for one in config['dependencies'] if one['backend_fn']]
    assert asked == ['look', 'pick', 'choose', 'deblur']
    assert not config['analytics_enabled'] and not config.get('is_space')


def test_nothing_is_left_when_it_ends_in_the_middle_of_work(place: Path, tmp_path: Path) -> None:
    from basicsr.images.files import imwrite

    imwrite(tmp_path / 'large.png', np.random.default_rng(0).integers(0, 256, (3000, 4000, 3), dtype=np.uint8))
    with running(tmp_path / 'tmp', '--model', place / 'masked.pth', '--examples', place / 'examples') as one:
        (folder,) = (tmp_path / 'tmp').glob(f'{PREFIX}*')
        _, answer = one.upload('large.png', (tmp_path / 'large.png').read_bytes())
        file = {'path': json.loads(answer)[0], 'meta': {'_type': 'gradio.FileData'}}
        assert one.join(file, 'a.png', 'masked', 'felzenszwalb', 0, 0, 1)[0] == 200
        time.sleep(1)
        assert folder.is_dir()
        assert one.end() == 0
        assert not list((tmp_path / 'tmp').glob(f'{PREFIX}*/shown'))
        assert not list(tmp_path.glob('tmp/gradio*')) and not list(tmp_path.glob('tmp/.gradio*'))


def test_without_a_network_the_page_says_so(browser: Browser, place: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / 'basicsr', tmp_path / 'clone/basicsr', ignore=shutil.ignore_patterns('__pycache__'))
    with running(tmp_path / 'tmp', '--examples', place / 'examples', root=tmp_path / 'clone') as one:
        page = opened(browser, one)
        page.wait("document.querySelector('#said .error')", 30)
        assert '--model FILE' in page.run(SAID)
        assert page.run(f'{BUTTON}.disabled')
        assert imread(place / 'examples/deep.png').dtype == np.uint16


def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / 'basicsr/app/web.py'), *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}, timeout=120, check=False
    )


def test_what_is_wrong_is_said_before_it_starts(place: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec('gradio') is None:
        absent('gradio is not installed')
    for arguments, words in (
        (['--model', 'gone'], 'gone '),
        (['--model', place / 'masked.pth', '--examples', tmp_path / 'gone'], f'{tmp_path / "gone"}: '),
        (['--port', '70000'], '65535'),
        (['--host', '203.0.113.1', '--port', '0'], '--host'),
    ):
        done = run(*arguments, TMPDIR=str(tmp_path))
        assert done.returncode == 1 and words in done.stderr and 'Traceback' not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_without_gradio_it_says_what_to_install(tmp_path: Path) -> None:
    code = (
        'import importlib.util, runpy, sys\nfind = importlib.util.find_spec\n'
        'importlib.util.find_spec = lambda name, *more: None if name == "gradio" else find(name, *more)\n'
        'sys.argv = sys.argv[1:]\nrunpy.run_path(sys.argv[0], run_name="__main__")'
    )
    done = subprocess.run(
        [sys.executable, '-c', code, str(ROOT / 'basicsr/app/web.py')], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "pip install -e '.[demo]'" in done.stderr and 'Traceback' not in done.stderr
