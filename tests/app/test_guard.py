"""What passes the guard in front of the page, and what not."""

from __future__ import annotations

import asyncio
import json
import os
from types import SimpleNamespace

import pytest
from starlette.requests import ClientDisconnect

from basicsr.app.guard import Guard, allowed_hosts

API = '/gradio_api'


@pytest.fixture
def folder(tmp_path):
    """A folder that may be fetched from, with a secret beside it."""
    shown = tmp_path / 'shown'
    (shown / 'a').mkdir(parents=True)
    (shown / 'a' / 'photo 100%.jpg').write_bytes(b'photo')
    (tmp_path / 'secret.txt').write_text('secret')
    (tmp_path / 'shown_too').mkdir()
    (tmp_path / 'shown_too' / 'secret.txt').write_text('secret')
    (shown / 'link').symlink_to(tmp_path / 'secret.txt')
    return shown


def ask(folder, method, path, body=b'', headers=(), hosts=None, largest=1 << 40, *, calls=None, error=None):
    """Status, headers and whether the page itself was asked, with the body that it got."""
    reached, sent = [], []

    async def page(scope, receive, send):
        message = await receive()
        reached.append(message['body'])
        if error is not None:  # as starlette: the answer comes before the error
            await send({'type': 'http.response.start', 'status': 500, 'headers': []})
            await send({'type': 'http.response.body', 'body': b'Internal Server Error'})
            raise error
        await send({'type': 'http.response.start', 'status': 200, 'headers': [(b'x', b'y')]})
        await send({'type': 'http.response.body', 'body': b'ok'})

    parts = [body[start : start + 1000] for start in range(0, len(body), 1000)] or [b'']

    async def receive():
        part = parts.pop(0)
        return {'type': 'http.request', 'body': part, 'more_body': bool(parts)}

    async def send(message):
        sent.append(message)

    if not any(name in (b'content-length', b'transfer-encoding') for name, _ in headers):
        headers = [*headers, (b'content-length', str(len(body)).encode())]
    if path.endswith('/upload') and not any(name == b'content-type' for name, _ in headers):
        headers = [*headers, (b'content-type', b'multipart/form-data; boundary=x')]
    scope = {
        'type': 'http',
        'method': method,
        'path': path,
        'headers': [(b'host', b'localhost:7860'), *headers],
    }
    asyncio.run(Guard(page, folder, hosts, largest, calls)(scope, receive, send))
    return (sent[0]['status'], dict(sent[0]['headers']), reached) if sent else (0, {}, reached)


def test_what_the_page_needs_passes(folder):
    file = folder / 'a' / 'photo 100%.jpg'
    for path in (
        '/',
        '/config',
        '/theme.css',
        '/assets/index-abc.js',
        '/static/img/logo.svg',
        f'{API}/queue/data',
        f'{API}/heartbeat/abc123',
        f'{API}/file={file}',
    ):
        status, headers, reached = ask(folder, 'GET', path)
        assert (status, len(reached)) == (200, 1), path
        assert b"default-src 'self'" in headers[b'content-security-policy'] and headers[b'x'] == b'y'
        assert headers[b'x-content-type-options'] == b'nosniff'
    for path in ('upload', 'queue/join', 'cancel', 'reset'):
        assert ask(folder, 'POST', f'{API}/{path}', b'{}')[0] == 200


@pytest.mark.parametrize(
    'path',
    [
        '/docs',
        '/openapi.json',
        '/monitoring',
        '/login',
        '/assets/../../secret.txt',
        '/static//etc/../passwd',
        f'{API}/info',
        f'{API}/openapi.json',
        f'{API}/proxy=http://127.0.0.1/',
        f'{API}/call/deblur/1',
        f'{API}/file/etc/passwd',
        f'{API}/dev/reload',
        f'{API}/vibe-code',
        f'{API}/custom_component/a/client/b/c',
        f'{API}/stream/a/b/1/playlist.m3u8',
        f'{API}/runs',
        f'{API}/deep_link',
    ],
)
def test_other_addresses_are_not_there(path, folder):
    status, _, reached = ask(folder, 'GET', path)
    assert (status, reached) == (404, [])


@pytest.mark.parametrize('path', ['run/deblur', 'call/deblur', 'api/deblur', 'component_server', 'vibe-edit', 'info'])
def test_nothing_else_can_be_posted_to(path, folder):
    assert ask(folder, 'POST', f'{API}/{path}', b'{}')[0] == 404
    assert ask(folder, 'DELETE', f'{API}/upload')[0] == 404


def test_uploads_are_refused_when_they_are_too_large_or_the_disk_is_full(folder, monkeypatch):
    upload = f'{API}/upload'
    assert ask(folder, 'POST', upload, b'x' * 11, largest=10)[0] == 413
    assert ask(folder, 'POST', upload, b'x' * 10, largest=10)[0] == 200
    assert ask(folder, 'POST', upload, b'x', headers=[(b'transfer-encoding', b'chunked')])[0] == 411
    monkeypatch.setattr('shutil.disk_usage', lambda place: SimpleNamespace(free=(1 << 30) + 10))
    assert ask(folder, 'POST', upload, b'x' * 11)[0] == 507
    assert ask(folder, 'POST', upload, b'x' * 10)[0] == 200


def test_only_files_of_the_folder_are_sent(folder):
    outside = folder.parent / 'secret.txt'
    for name in (
        str(outside),
        f'{folder}/../secret.txt',
        f'{folder}/a/../../secret.txt',
        f'{folder}_too/secret.txt',
        str(folder / 'link'),
        str(folder),
        str(folder / 'a'),
        str(folder / 'gone.jpg'),
        f'{folder}/%2e%2e/secret.txt',
        f'{folder}/..%2fsecret.txt',
        '/etc/passwd',
        'secret.txt',
        '../secret.txt',
        os.path.relpath(folder / 'a' / 'photo 100%.jpg'),
        'http://127.0.0.1/',
        'file:///etc/passwd',
        f'{folder}/a/photo 100%.jpg\x00',
        f'{folder}/' + 'x' * 5000,
        '',
    ):
        for method in ('GET', 'HEAD'):
            assert ask(folder, method, f'{API}/file={name}')[::2] == (403, []), name


def test_questions_may_name_files_of_the_folder_only(folder):
    own = str(folder / 'a' / 'photo 100%.jpg')

    def status(data):
        body = json.dumps({'data': data, 'fn_index': 3}).encode()
        status, _, reached = ask(folder, 'POST', f'{API}/queue/join', body)
        assert reached == ([body] if status == 200 else [])
        return status

    assert status([{'path': own, 'url': 'http://localhost:7860/x'}, 'masked', 0.5, None]) == 200
    assert status(['x' * 5000]) == 200  # in several parts
    for path in ('/etc/passwd', 'http://127.0.0.1/', f'{folder}/../secret.txt', str(folder / 'link'), 5, ['x'], ''):
        assert status([{'path': path}]) == 403, path
        assert status([[{'deep': {'path': path}}]]) == 403, path
    assert status(['x' * (1 << 20)]) == 403
    deep = b'{"data": ' + b'[' * 900 + b']' * 900 + b'}'
    for body in (b'no JSON', b'\xff', b'[' * 100_000, b'', b'[]', b'null', '{}'.encode('utf-16'), deep):
        for route in ('queue/join', 'cancel', 'reset'):
            status, _, reached = ask(folder, 'POST', f'{API}/{route}', body)
            assert (status, reached) == (403, []) or body == deep, (route, body[:20])


def test_only_calls_as_the_page_makes_them_pass(folder):
    calls = {3: (lambda value: isinstance(value, str), lambda value: value is None), 4: ()}

    def status(**call):
        return ask(folder, 'POST', f'{API}/queue/join', json.dumps(call).encode(), calls=calls)[0]

    assert status(fn_index=3, data=['x', None], session_hash='a') == 200
    assert status(fn_index=4, data=[]) == 200
    for wrong in (
        {'fn_index': 3, 'data': ['x']},
        {'fn_index': 3, 'data': ['x', None, None]},
        {'fn_index': 3, 'data': [5, None]},
        {'fn_index': 3, 'data': {'0': 'x'}},
        {'fn_index': 3},
        {'fn_index': 4, 'data': [], 'batched': True},
        {'fn_index': 5, 'data': []},
        {'fn_index': -1, 'data': []},
        {'fn_index': '4', 'data': []},
        {'fn_index': 4.0, 'data': []},
        {'fn_index': [], 'data': []},
        {'data': []},
    ):
        assert status(**wrong) == 403, wrong


@pytest.mark.parametrize(
    ('error', 'status'),
    [(ValueError('the boundary is too long'), 400), (TypeError('no file'), 400), (ClientDisconnect(), 0)],
)
def test_uploads_that_cannot_be_read_are_no_fault_of_the_page(error, status, folder):
    assert ask(folder, 'POST', f'{API}/upload', b'--x', error=error)[0] == status


def test_other_faults_are_not_hidden(folder):
    for path, error in ((f'{API}/upload', OSError('disk')), (f'{API}/cancel', ValueError('a bug'))):
        with pytest.raises(type(error), match=str(error)):
            ask(folder, 'POST', path, b'{}', error=error)


@pytest.mark.parametrize(
    'kind',
    [
        b'',
        b'text/plain',
        b'multipart/form-data',
        b'multipart/form-data; boundary=' + b'x' * 71,
        b'multipart/form-data; boundary=x; charset=none',
    ],
)
def test_uploads_are_forms(kind, folder):
    status, _, reached = ask(folder, 'POST', f'{API}/upload', b'x', headers=[(b'content-type', kind)])
    assert (status, reached) == (400, [])


def test_strangers_names_and_other_sites_are_refused(folder):
    local = allowed_hosts('127.0.0.1')
    assert ask(folder, 'GET', '/', hosts=local)[0] == 200
    scope = {'type': 'http', 'method': 'GET', 'path': '/'}
    guard = Guard(lambda *_: None, folder, local)
    for host, wanted in (
        ('127.0.0.1:7860', 0),
        ('[::1]:7860', 0),
        ('localhost', 0),
        ('evil.example', 403),
        ('evil.example:7860', 403),
        ('localhost.evil.example', 403),
        ('', 403),
    ):
        assert guard.refusal({**scope, 'headers': [(b'host', host.encode())]}) == wanted, host
    assert allowed_hosts('0.0.0.0') is None
    assert ask(folder, 'POST', f'{API}/upload', headers=[(b'origin', b'http://localhost:7860')])[0] == 200
    for origin in (b'http://evil.example', b'null', b'http://localhost:1'):
        assert ask(folder, 'POST', f'{API}/upload', headers=[(b'origin', origin)])[0] == 403


def test_web_sockets_are_closed_and_the_lifespan_passes(folder):
    seen, sent = [], []

    async def page(scope, receive, send):
        seen.append(scope['type'])

    async def send(message):
        sent.append(message)

    for kind in ('websocket', 'lifespan'):
        asyncio.run(Guard(page, folder)({'type': kind}, None, send))
    assert seen == ['lifespan']
    assert sent[0]['type'] == 'websocket.close'
