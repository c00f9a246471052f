"""Several visitors of the page, those who leave, limits, and people who do not mean well."""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from PIL import Image

import basicsr.deblur
from basicsr.app.folder import PREFIX
from tests.app.conftest import NAME
from tests.helpers.browser import Browser, find_browser
from tests.helpers.project import ROOT, absent
from tests.helpers.web_server import (
    API,
    BUTTON,
    ROWS,
    SAID,
    Server,
    choose_method,
    chosen,
    deblur,
    download,
    opened,
    running,
    start,
    upload,
)

pytestmark = pytest.mark.slow

SETTINGS = 'network', 'masked', 'felzenszwalb', 0, 0, 1


@pytest.fixture
def other(browser: Browser) -> Iterator[Browser]:
    """The browser of somebody else."""
    with Browser(str(find_browser())) as one:
        yield one


def by_command_line(photo: Path, place: Path, out: Path) -> bytes:
    arguments = ['-i', photo, '-o', out, '--model', place / 'masked.pth', '--device', 'cpu', '--mask-cache', 'none']
    assert basicsr.deblur.main([*map(str, arguments)]) == 0
    return next(out.iterdir()).read_bytes()


def test_two_people_at_once_get_their_own(
    page: Browser, other: Browser, server: Server, place: Path, tmp_path: Path
) -> None:
    photos = {page: place / NAME, opened(other, server): place / 'plain.png'}
    for one, photo in photos.items():
        chosen(one, photo)
    for one in photos:
        one.run(f'{BUTTON}.click()')
    for number, (one, photo) in enumerate(photos.items()):
        one.wait(f"({ROWS})[0].includes('done')", 120)
        assert one.run(f'({ROWS}).length') == 1
        saved = download(one, tmp_path / f'saved{number}')
        assert saved.stem == f'{photo.stem}_deblurred'
        assert saved.read_bytes() == by_command_line(photo, place, tmp_path / f'out{number}')
        assert one.problems == []


def test_a_visitor_waits_for_others_and_sees_it_and_a_closed_window_frees_its_work(
    page: Browser, server: Server, place: Path
) -> None:
    with Browser(str(find_browser())) as leaving:
        chosen(opened(leaving, server), place / 'busy.png')
        choose_method(leaving, 'kernel')
        start(leaving)
        leaving.wait(f"({ROWS})[0].includes('working')", 30)
        chosen(page, place / 'plain.png')
        start(page)
        page.wait(f"{SAID}.includes('Waiting for 1 photo from other visitors')")
    before = time.monotonic()
    page.wait(f"({ROWS})[0].includes('done')", 60)
    assert 3 < time.monotonic() - before < 50  # the work of the closed window was ended, not finished


def test_clicks_during_the_work_start_nothing(page: Browser, place: Path) -> None:
    chosen(page, place / 'busy.png')
    page.asked.clear()
    for _ in range(4):
        page.run(f'{BUTTON}.click()')
        time.sleep(0.1)
    assert sum('/queue/join' in address for address in page.asked) == 1
    page.run("document.querySelector('#said [data-do=cancel]').click()")
    page.wait(f"({ROWS})[0].includes('cancelled')", 30)


def test_photos_that_come_during_the_work_join_it(page: Browser, place: Path, tmp_path: Path) -> None:
    chosen(page, place / 'busy.png')
    choose_method(page, 'kernel')
    start(page)
    page.wait(f"({ROWS})[0].includes('working')")
    chosen(page, place / 'plain.png')
    page.wait(f"({ROWS})[1]?.includes('waiting')")
    page.run("document.querySelector('#photos .row [data-do=cancel]').click()")
    page.wait(f"({ROWS})[1].includes('done')", 60)


def test_the_number_of_photos_and_their_time_have_limits(browser: Browser, server: Server, place: Path) -> None:
    page = opened(browser, server)
    upload(page, *[place / 'plain.png'] * 5)
    page.wait(f"{SAID}.includes('up to 4 photos')", 30)
    assert page.run(f'({ROWS}).length') == 4
    hasty = '--max-minutes', '0.02', '--examples', place / 'examples'
    with running(place / 'tmp3', '--model', place / 'masked.pth', *hasty) as one:
        opened(page, one)
        chosen(page, place / 'busy.png')
        choose_method(page, 'kernel')
        start(page)
        page.wait(f"({ROWS})[0].includes('failed: it took longer than this page allows')", 30)


def test_many_open_pages_leave_room_for_the_next(server: Server, place: Path) -> None:
    for number in range(60):
        assert server.join(function='watch', session=f'tab {number}')[0] == 200
    server.add(place / 'plain.png', session='tab 61')
    folder = next((place / 'tmp').glob(f'{PREFIX}*/shown')) / 'visits'
    end = time.monotonic() + 20
    while not list(folder.rglob('thumbnail.jpg')):
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_page_that_is_loaded_again_keeps_its_photos(page: Browser, server: Server, place: Path) -> None:
    chosen(page, place / 'plain.png')
    deblur(page)
    page.run('setTimeout(() => location.reload(), 100)')
    time.sleep(3)
    page.wait(f"({ROWS})[0]?.includes('done')", 60)
    time.sleep(1)  # the old page has left
    page.wait(f"({ROWS})[0]?.includes('done')")


def test_a_page_whose_server_ends_says_so(browser: Browser, place: Path, short: Path) -> None:
    with running(short, '--model', place / 'masked.pth', '--examples', place / 'examples') as one:
        page = opened(browser, one)
        time.sleep(5)  # the page asks for the server every few seconds
        chosen(page, place / 'busy.png')
        choose_method(page, 'kernel')
        start(page)
        one.process.kill()
        page.wait("document.querySelector('#lost')?.innerText.includes('not responding')", 30)
        assert not page.run("document.querySelector('.working')?.checkVisibility() || false")
        page.problems.clear()


def test_files_are_gone_after_the_visit(server: Server, place: Path, browser: Browser) -> None:
    page = opened(browser, server)
    shown = next((place / 'tmp').glob(f'{PREFIX}*/shown'))
    page.wait('window.askPage')
    chosen(page, place / 'plain.png')
    deblur(page)
    assert not [path for path in shown.iterdir() if path.is_file()]
    end = time.monotonic() + 30
    while list(shown.rglob('plain.png')):  # another visitor may be about to use the same upload
        assert time.monotonic() < end
        time.sleep(0.2)
    number = len(list(shown.rglob('plain_deblurred.png')))
    page.run("document.querySelector('#photos [data-do=remove]').click()")
    page.wait(f'({ROWS}).length === 0')
    assert len(list(shown.rglob('plain_deblurred.png'))) == number - 1


def test_questions_that_make_no_sense_do_not_stop_the_page(
    browser: Browser, place: Path, tmp_path: Path, short: Path
) -> None:
    arguments = '--model', place / 'masked.pth', '--examples', place / 'examples'
    with running(short, *arguments) as one:
        one.add(place / 'plain.png')
        for data in (
            (),
            (None,) * 6,
            ('gone', 'masked', 'none', 0, 0, 1),
            ('network', 'gone', 'none', 0, 0, 1),
            ('network', 'masked', ['x'], 'x', {}, None),
            ('network', 'masked', 'none', 99, 1e300, float('nan')),
        ):
            assert one.join(*data)[0] in (200, 403), data
        for function in (-1, 99):
            assert one.join(function=function)[0] == 403
        page = opened(browser, one)
        chosen(page, place / 'plain.png')
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
        assert server.join([file], ['a.png'], function='add')[0] == 403
        assert server.join(file, 'a.pth', function='own')[0] == 403


def test_uploads_stay_in_their_folder_and_have_a_limit(server: Server) -> None:
    for name in ('../../../../evil.png', '/tmp/evil.png', '..', 'a/../../evil.png'):
        status, answer = server.upload(name, b'x')
        if status == 200:
            (path,) = json.loads(answer)
            assert Path(path).resolve().is_relative_to(server.temporary) and '..' not in Path(path).parts
    assert not list(server.temporary.parent.glob('evil*'))
    large = {'Content-Type': 'multipart/form-data; boundary=x', 'Content-Length': str(2 << 30)}
    status, answer = server.ask('POST', f'{API}/upload', b'', **large)
    assert status == 413 and b'too large' in answer
    assert server.ask('POST', f'{API}/cancel', b'x' * (2 << 20))[0] == 403


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
    assert sorted(set(asked)) == [
        'act',
        'add',
        'choose',
        'deblur',
        'leave',
        'names',
        'network',
        'own',
        'samples',
        'save',
        'watch',
    ]
    assert not config['analytics_enabled'] and not config.get('is_space')


def test_small_files_of_gigantic_pictures_are_refused_at_once(page: Browser, tmp_path: Path) -> None:
    Image.new('1', (30_000, 30_000)).save(tmp_path / 'bomb.png')
    assert (tmp_path / 'bomb.png').stat().st_size < 1 << 20
    upload(page, tmp_path / 'bomb.png')
    page.wait("document.querySelector('#said .error')", 20)
    assert '2 million pixels' in page.run(SAID)


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


def test_uploads_of_unknown_length_are_refused(server: Server) -> None:
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
        assert connection.getresponse().status == 411
    except (BrokenPipeError, ConnectionResetError):  # it would not hear more of it
        pass
    finally:
        connection.close()
    assert server.ask('GET', '/')[0] == 200
    assert max(path.stat().st_size for path in server.temporary.rglob('*') if path.is_file()) <= limit


def test_nothing_is_left_when_it_ends_in_the_middle_of_work(place: Path, tmp_path: Path, short: Path) -> None:
    with running(short, '--model', place / 'masked.pth', '--examples', place / 'examples') as one:
        (folder,) = short.glob(f'{PREFIX}*')
        one.add(place / 'busy.png')
        end = time.monotonic() + 30
        while not list(folder.glob('shown/visits/*/*/preview.jpg')) and time.monotonic() < end:
            time.sleep(0.05)
        assert one.join('kernel', *SETTINGS[1:])[0] == 200
        time.sleep(1)
        assert one.end() == 0
        assert not list(short.glob(f'{PREFIX}*/shown'))
        assert not list(short.glob('gradio*')) and not list(short.glob('.gradio*'))


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
