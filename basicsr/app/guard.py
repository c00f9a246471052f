"""What stands between the network and the page's server: which requests pass, and what browsers may do with answers.

The library that shows the page answers to far more addresses than this page needs, among them some that fetch other
addresses or read files. Only what the page asks for passes; files only from the folder of uploads and results.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_API = '/gradio_api'
_FILE = f'{_API}/file='
_ASK = f'{_API}/queue/join'
_LONGEST_QUESTION = 1 << 20  # bytes of a question to the page's functions; pictures come another way
_READ = re.compile(
    r'/|/(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt|pwa_icon(/\d+)?)'
    r'|/(static|assets|svelte)/[\w./@+-]+'
    rf'|{_API}/(startup-events|queue/data|upload_progress|heartbeat/\w+|theme\.css|app_id)'
)
_WRITE = re.compile(rf'{_API}/(upload|queue/join|cancel|reset)')
_LOCAL = frozenset({'localhost', '127.0.0.1', '::1'})
_HEADERS = {
    # nothing from elsewhere is loaded, and nothing is sent elsewhere
    'content-security-policy': "default-src 'self'; img-src 'self' data: blob:; font-src 'self' data:; "
    "style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'",
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
}


def allowed_hosts(host: str) -> frozenset[str] | None:
    """The names that a server bound to ``host`` may be called by; None is any.

    A page of another site cannot reach a local server by a name of its own that it lets point here.
    """
    return _LOCAL if host in _LOCAL else None


class Guard:
    """An ASGI application around the page's.

    Args:
        app: the page.
        folder: of uploads and results; no other file is sent.
        hosts: see :func:`allowed_hosts`.
    """

    def __init__(self, app: App, folder: Path, hosts: Iterable[str] | None = None) -> None:
        self.app, self.folder = app, folder.resolve()
        self.hosts = None if hosts is None else frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope['type'] == 'lifespan':
            await self.app(scope, receive, send)
            return
        if scope['type'] != 'http':  # the page opens no web sockets
            await send({'type': 'websocket.close', 'code': 1008})
            return
        refusal = self.refusal(scope)
        if not refusal and scope['path'] == _ASK:
            body = await _body(receive)
            if body is None or not self.is_question(body):
                refusal = 403
            else:
                receive = _again(body, receive)
        if refusal:
            await _refuse(send, refusal)
        else:
            await self.app(scope, receive, _with_headers(send))

    def refusal(self, scope: Scope) -> int:
        """The status that a request is refused with, from its first lines alone; 0 if it passes."""
        headers = {key.decode('latin-1').lower(): value.decode('latin-1') for key, value in scope['headers']}
        host = headers.get('host', '')
        if self.hosts is not None and urlsplit(f'//{host}').hostname not in self.hosts:
            return 403
        origin = headers.get('origin')
        if origin is not None and urlsplit(origin).netloc != host:
            return 403
        path, method = scope['path'], scope['method']
        if method in ('GET', 'HEAD'):
            if path.startswith(_FILE):
                return 0 if self.is_own_file(path[len(_FILE) :]) else 403
            return 0 if _READ.fullmatch(path) and '..' not in path else 404
        return 0 if method == 'POST' and _WRITE.fullmatch(path) else 404

    def is_own_file(self, name: str) -> bool:
        """Whether a name is the whole path of a file in the folder, links followed."""
        try:
            path = Path(name)
            return path.is_absolute() and path.is_file() and path.resolve().is_relative_to(self.folder)
        except (OSError, ValueError):  # too long, a null byte
            return False

    def is_question(self, body: bytes) -> bool:
        """Whether all files that a question to the page's functions names lie in the folder."""
        try:
            return self._names_own_files(json.loads(body))
        except (ValueError, RecursionError):
            return False

    def _names_own_files(self, value: Any) -> bool:
        if isinstance(value, list):
            return all(map(self._names_own_files, value))
        if not isinstance(value, dict):
            return True
        path = value.get('path')
        if path is not None and not (isinstance(path, str) and self.is_own_file(path)):
            return False
        return all(map(self._names_own_files, value.values()))


async def _body(receive: Receive) -> bytes | None:
    """The body of a request; None if it is too long or its sender has gone."""
    body = bytearray()
    while True:
        message = await receive()
        if message['type'] != 'http.request':
            return None
        body += message.get('body', b'')
        if len(body) > _LONGEST_QUESTION:
            return None
        if not message.get('more_body', False):
            return bytes(body)


def _again(body: bytes, receive: Receive) -> Receive:
    """A way to receive a body that was received already."""
    first = True

    async def again() -> MutableMapping[str, Any]:
        nonlocal first
        if not first:
            return await receive()
        first = False
        return {'type': 'http.request', 'body': body, 'more_body': False}

    return again


def _with_headers(send: Send) -> Send:
    async def more(message: MutableMapping[str, Any]) -> None:
        if message['type'] == 'http.response.start':
            added = [(key.encode(), value.encode()) for key, value in _HEADERS.items()]
            message = {**message, 'headers': [*message.get('headers', []), *added]}
        await send(message)

    return more


async def _refuse(send: Send, status: int) -> None:
    text = {403: b'refused', 404: b'not found'}[status]
    headers = [(b'content-type', b'text/plain'), (b'content-length', str(len(text)).encode())]
    await send({'type': 'http.response.start', 'status': status, 'headers': headers})
    await send({'type': 'http.response.body', 'body': text})
