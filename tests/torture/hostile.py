"""Hostile requests to the web page, as bytes; how a server may answer them."""

from __future__ import annotations

import json
import random
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from tests.helpers.web_server import API, Server

REFUSED = frozenset({400, 403, 404, 405, 411, 413, 414, 415, 422, 431, 501, 505, 507})
OPEN = REFUSED | {0, -1}
"""For requests without an end: the server may wait for it."""
TIMEOUT = 10.0


@dataclass(frozen=True)
class Request:
    """Bytes to send, in pieces.

    Args:
        kind: for the table.
        pieces: of the request.
        pause: seconds between two pieces.
        allowed: statuses that are no fault; 0 is a closed connection, -1 one that is open without an answer.
        session: of a call that may be answered later, if its status is 200.
    """

    kind: str
    pieces: tuple[bytes, ...]
    pause: float = 0.0
    allowed: frozenset[int] = REFUSED | {0}
    session: str = ''

    def send(self, host: str, port: int) -> tuple[int, bytes]:
        """Send it and return the status and the answer; the status is 0 if there is none, -1 if it does not end."""
        with socket.create_connection((host, port), TIMEOUT) as connection:
            try:
                for piece in self.pieces:
                    connection.sendall(piece)
                    time.sleep(self.pause)
            except OSError:  # the server would not hear more
                pass
            answer, end = b'', time.monotonic() + TIMEOUT
            try:
                while time.monotonic() < end and len(answer) < 1 << 22 and (part := connection.recv(1 << 16)):
                    answer += part
            except TimeoutError:
                if not answer:
                    return -1, answer
            except OSError:
                pass
        parts = answer[:40].split(b' ')
        return (int(parts[1]) if answer.startswith(b'HTTP/1.1 ') else 0), answer


def _request(
    method: str, path: str, body: bytes = b'', host: str = 'localhost', length: str | None = None, **headers: str
) -> bytes:
    lines = [f'{method} {path} HTTP/1.1', *([f'Host: {host}'] if host else [])]
    if body or length is not None or method == 'POST':
        lines.append(f'Content-Length: {len(body) if length is None else length}')
    lines += [f'{name.replace("_", "-")}: {value}' for name, value in headers.items()]
    return '\r\n'.join([*lines, 'Connection: close', '', '']).encode('latin-1', 'replace') + body


MULTIPART = 'multipart/form-data; boundary=x'


def _form(name: str, content: bytes, field: str = 'files') -> bytes:
    head = f'--x\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'.encode()
    return head + content + b'\r\n--x--\r\n'


def escapes(rng: random.Random, server: Server, secrets: list[Path]) -> Request:
    """A file outside of the folder of the visits, or one of the server."""
    up = '../' * rng.randrange(1, 20)
    shown = next(server.temporary.glob('deblur-page-*/shown'))
    target = str(rng.choice([*secrets, Path('/etc/passwd'), Path('/proc/self/environ'), shown.parent / 'lock']))
    name = rng.choice(
        [target, f'{shown}/{up}{target}', f'{up}{target}', f'file://{target}', f'{target}%00.png', f'//{target}']
    )
    name = rng.choice(
        [
            lambda: quote(name),
            lambda: quote(name, safe=''),
            lambda: quote(quote(name, safe=''), safe=''),
            lambda: name.replace('../', '..%2f'),
            lambda: name.replace('../', '%2e%2e/'),
            lambda: name.replace('../', '..\\'),
            lambda: name.replace('../', '..;/'),
            lambda: name.replace('../', '%c0%ae%c0%ae/'),
        ]
    )()
    routes = [f'{API}/file=', '/file=', f'{API}/file/', '/static/', '/assets/', '/svelte/', f'{API}/proxy=', '/']
    return Request('path escapes', (_request(rng.choice(['GET', 'HEAD']), rng.choice(routes) + name),))


def oversize(rng: random.Random, server: Server, secrets: list[Path]) -> Request:
    """More than the page takes: a body, a call, an address, headers, or a length that is none."""
    size = rng.randrange(1 << 21, 1 << 22)
    call = {'Content_Type': 'application/json'}
    return Request(
        'oversize',
        (
            rng.choice(
                [
                    lambda: _request('POST', f'{API}/upload', b'--x', length=str(1 << 40), Content_Type=MULTIPART),
                    lambda: _request('POST', f'{API}/upload', b'--x', length='9' * 30, Content_Type=MULTIPART),
                    lambda: _request('POST', f'{API}/upload', b'--x', length='-1', Content_Type=MULTIPART),
                    lambda: _request('POST', f'{API}/queue/join', b'{"data": ["' + b'x' * size + b'"]}', **call),
                    lambda: _request('POST', f'{API}/queue/join', b'[' * size, **call),
                    lambda: _request('GET', '/' + 'a' * size),
                    lambda: _request('GET', '/', X='a' * size),
                    lambda: _request('GET', '/none', **{f'X{i}': 'a' for i in range(2000)}),
                ]
            )(),
        ),
    )


def slow(rng: random.Random, server: Server, secrets: list[Path]) -> Request:
    """An upload that comes byte by byte, and stops before its end."""
    whole = _request('POST', f'{API}/upload', _form('slow.png', rng.randbytes(5000)), Content_Type=MULTIPART)
    end = rng.randrange(20, len(whole) - 20)
    step = -(-end // 40)
    return Request('slow uploads', tuple(whole[i : min(i + step, end)] for i in range(0, end, step)), 0.1, OPEN)


def wrong_types(rng: random.Random, server: Server, secrets: list[Path]) -> Request:
    """A body that is not what its headers say."""
    kinds = [
        'text/plain',
        'application/json',
        'multipart/form-data',
        'image/png',
        'multipart/mixed; boundary=x',
        'x',
        '',
    ]
    kinds += [f'multipart/form-data; boundary={"x" * 5000}', 'multipart/form-data; boundary="', MULTIPART, MULTIPART]
    kinds += [f'{MULTIPART}; charset=none']
    bodies = [b'', b'{}', b'\xff\xfe', b'--x\r\n\r\n', _form('a.png', b'x', 'no'), b'--x\r\nA: b\r\n' * 3, b'null']
    bodies += [b'--x\r\nContent-Disposition: form-data; name="files"\r\n\r\nno file\r\n--x--\r\n']
    route = rng.choice(['upload', 'queue/join', 'cancel', 'reset'])
    more = rng.choice([{}, {'Content_Encoding': 'gzip'}, {'Transfer_Encoding': 'chunked'}])
    sent = _request('POST', f'{API}/{route}', rng.choice(bodies), Content_Type=rng.choice(kinds), **more)
    allowed = (OPEN if 'Transfer_Encoding' in more else REFUSED | {0}) | {200}  # the last chunk may be missing
    return Request('wrong content types', (sent,), allowed=allowed)


def strange_hosts(rng: random.Random, server: Server, secrets: list[Path]) -> Request:
    """DNS rebinding: the name of another site leads to this computer."""
    hosts = [
        'evil.example',
        'evil.example:7860',
        'localhost.evil.example',
        'localhost@evil.example',
        '127.0.0.1.nip.io',
    ]
    hosts += [
        '',
        '0.0.0.0',
        '[::ffff:7f00:1]',
        'localhost, evil.example',
        '2130706433',
        'evil.example#localhost',
        '127.1',
    ]
    method, path = rng.choice(
        [('GET', '/'), ('GET', '/config'), ('POST', f'{API}/upload'), ('POST', f'{API}/queue/join')]
    )
    if rng.random() < 0.3:  # a page of another site that knows the address
        origin = rng.choice(['http://evil.example', 'null', 'http://localhost:1', 'https://localhost'])
        return Request('strange hosts', (_request('POST', f'{API}/queue/join', b'{}', Origin=origin),))
    return Request('strange hosts', (_request(method, path, b'{}' if method == 'POST' else b'', rng.choice(hosts)),))


def bad_calls(rng: random.Random, server: Server, secrets: list[Path]) -> Request:
    """Questions that no page asks, also about files of others."""
    stranger = {'path': str(rng.choice(secrets)), 'meta': {'_type': 'gradio.FileData'}}
    datas = [
        [],
        ['x'],
        [stranger],
        [[stranger], ['a.png']],
        [{'a': [{'b': stranger}]}],
        [{'path': ['x']}],
        [{'path': 5}],
    ]
    data = rng.choice(datas)
    number = rng.choice([*range(-2, 12), 10**9, 'x', None, [], 1.5])
    session = rng.choice([f'bad{rng.randrange(10**6)}', None, 5, '../x'])
    body = json.dumps({'data': data, 'fn_index': number, 'session_hash': session}).encode()
    body = rng.choice([body, body, body[: len(body) // 2], b'{"data": NaN', b'[' * 50_000, b'\0' * 100])
    sent = _request('POST', f'{API}/queue/join', body, Content_Type='application/json')
    return Request('bad calls', (sent,), allowed=REFUSED | {0, 200}, session=str(session))


def no_http(rng: random.Random, server: Server, secrets: list[Path]) -> Request:
    """Bytes that are no request, two in one, and methods that the page does not know."""
    smuggled = _request(
        'POST', f'{API}/cancel', b'0\r\n\r\nGET /etc/passwd HTTP/1.1\r\n\r\n', Transfer_Encoding='chunked'
    )
    sent = rng.choice(
        [
            rng.randbytes(500),
            b'\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03' + rng.randbytes(200),
            b'GET / HTTP/9.9\r\n\r\n',
            b'GET  HTTP/1.1\r\n' * 50,
            smuggled,
            *(_request(method, '/') for method in ('PUT', 'DELETE', 'TRACE', 'OPTIONS', 'PATCH', 'BREW')),
            b'CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost\r\n\r\n',
            b'GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n',
            _request('GET', '/', Upgrade='websocket', Sec_WebSocket_Key='x', host='evil.example'),
        ]
    )
    return Request('no HTTP', (sent,), allowed=REFUSED | {0} if b'\r\n\r\n' in sent else OPEN)


KINDS: tuple[Callable[[random.Random, Server, list[Path]], Request], ...] = (
    escapes,
    oversize,
    slow,
    wrong_types,
    strange_hosts,
    bad_calls,
    no_http,
)


def hostile_requests(count: int, rng: random.Random, server: Server, secrets: list[Path]) -> Iterable[Request]:
    """Make requests of all kinds in turn."""
    return [KINDS[number % len(KINDS)](rng, server, secrets) for number in range(count)]
