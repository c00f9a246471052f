"""Filter requests between the network and the page's server, and restrict what browsers may do with answers.

Gradio serves many more addresses than this page needs, and some of them fetch other addresses or read files. Only
requests that the page makes pass, and only files in the folder of uploads and results are sent.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import h11
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

_API = '/gradio_api'
_FILE = f'{_API}/file='
_CALL = f'{_API}/queue/join'
_UPLOAD = f'{_API}/upload'
_FREE = 1 << 30  # bytes of the disk that uploads leave free
_WORDS = {
    403: 'refused',
    404: 'not found',
    400: 'not an upload of this page',
    411: 'uploads need a content length',
    413: 'together, these files are too large; choose fewer',
    507: 'the disk of this page is full; try again later',
}
_FORM = re.compile(r'multipart/form-data; ?boundary=[\w\'()+,./:=?-]{1,70}', re.ASCII | re.IGNORECASE)
_LONGEST_CALL = 1 << 20  # bytes of a function call of the page; images are uploaded separately
_READ = re.compile(
    r'/|/(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt|pwa_icon(/\d+)?)'
    r'|/(static|assets|svelte)/[\w./@+-]+'
    rf'|{_API}/(startup-events|queue/data|upload_progress|heartbeat/\w+|theme\.css|app_id)'
)
_WRITE = re.compile(rf'{_API}/(upload|queue/join|cancel|reset)')
_LOCAL = frozenset({'localhost', '127.0.0.1', '::1'})
_HEADERS = {
    # loads nothing from other sites and sends nothing to them
    'content-security-policy': "default-src 'self'; img-src 'self' data: blob:; font-src 'self' data:; "
    "style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'",
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
}


def allowed_hosts(host: str) -> frozenset[str] | None:
    """Return the host names under which a server bound to ``host`` may be called; None allows any.

    This keeps pages of other sites from reaching a local server under a name that resolves to this computer.
    """
    return _LOCAL if host in _LOCAL else None


class Guard:
    """An ASGI application that filters the requests to another one.

    Args:
        app: the page.
        folder: folder of uploads and results; no other file is sent.
        hosts: see :func:`allowed_hosts`.
        largest: bytes of an upload with all its files.
        calls: checks of the values of each function that may be called, by its number; None allows any call.
    """

    def __init__(
        self,
        app: ASGIApp,
        folder: Path,
        hosts: Iterable[str] | None = None,
        largest: int = 1 << 40,
        calls: Mapping[int, Sequence[Callable[[Any], bool]]] | None = None,
    ) -> None:
        self.app, self.folder, self._largest, self._calls = app, folder.resolve(), largest, calls
        self._coming = 0  # bytes of uploads that are under way
        self.hosts = None if hosts is None else frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope['type'] == 'lifespan':
            await self.app(scope, receive, send)
            return
        if scope['type'] != 'http':  # the page opens no web sockets
            await send({'type': 'websocket.close', 'code': 1008})
            return
        send = _to_open_connections(send)
        status = self.refusal(scope)
        if not status and scope['method'] == 'POST' and scope['path'] != _UPLOAD:
            body = await _body(Request(scope, receive))
            call = _object_of(body)
            is_allowed = call is not None and (scope['path'] != _CALL or self.is_allowed_call(call))
            status = 0 if is_allowed else 403
            receive = _again(body, receive)
        if status:
            await PlainTextResponse(_WORDS[status], status)(scope, receive, send)
            return
        if scope['path'] != _UPLOAD:
            await self.app(scope, receive, _with_headers(send))
            return
        length = int(Headers(scope=scope)['content-length'])
        self._coming += length
        try:
            await self._upload(scope, receive, _with_headers(send))
        finally:
            self._coming -= length

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an upload on. Gradio answers status 500 to forms that it cannot read; they are refused."""
        held: list[Message] = []

        async def hold(message: Message) -> None:
            if held or message.get('status') == 500:
                held.append(message)
            else:
                await send(message)

        try:
            await self.app(scope, receive, hold)
        except ClientDisconnect:  # nobody waits for an answer
            held.clear()
        except (ValueError, TypeError, LookupError) as error:
            if not held:
                raise
            logger.warning('an upload was refused: %r', error)
            held.clear()
            await PlainTextResponse(_WORDS[400], 400)(scope, receive, send)
        finally:
            for message in held:
                await send(message)

    def refusal(self, scope: Scope) -> int:
        """Return the status to refuse a request with, judged by its method, path and headers; 0 to let it pass."""
        headers = Headers(scope=scope)
        host, origin = headers.get('host', ''), headers.get('origin')
        if self.hosts is not None and urlsplit(f'//{host}').hostname not in self.hosts:
            return 403
        if origin is not None and urlsplit(origin).netloc != host:
            return 403
        path, method = scope['path'], scope['method']
        if method in ('GET', 'HEAD'):
            if path.startswith(_FILE):
                return 0 if self.is_own_file(path[len(_FILE) :]) else 403
            return 0 if _READ.fullmatch(path) and '..' not in path else 404
        if method != 'POST' or not _WRITE.fullmatch(path):
            return 404
        return self._refusal_of_upload(headers) if path == _UPLOAD else 0

    def _refusal_of_upload(self, headers: Headers) -> int:
        length = headers.get('content-length', '')
        if not length.isdecimal():
            return 411
        if not _FORM.fullmatch(headers.get('content-type', '')):
            return 400
        if int(length) > self._largest:
            return 413
        return 507 if shutil.disk_usage(self.folder).free < int(length) + self._coming + _FREE else 0

    def is_own_file(self, name: Any) -> bool:
        """Return whether a name is the absolute path of a file in the folder, after following links."""
        try:
            path = Path(name)
            return path.is_absolute() and path.is_file() and path.resolve().is_relative_to(self.folder)
        except (OSError, ValueError, TypeError):  # too long, a null byte, not a string
            return False

    def is_allowed_call(self, call: dict[str, Any]) -> bool:
        """Return whether a call is as the page makes it, and names only files in the folder."""
        try:
            return self._is_as_of_page(call) and self._names_own_files(call)
        except RecursionError:
            return False

    def _is_as_of_page(self, call: dict[str, Any]) -> bool:
        if self._calls is None:
            return True
        number, values = call.get('fn_index'), call.get('data')
        checks = self._calls.get(number) if type(number) is int else None
        if checks is None or not isinstance(values, list) or len(values) != len(checks) or call.get('batched'):
            return False
        return all(check(value) for check, value in zip(checks, values, strict=True))

    def _names_own_files(self, value: Any) -> bool:
        if isinstance(value, list):
            return all(map(self._names_own_files, value))
        if not isinstance(value, dict):
            return True
        path = value.get('path')
        return (path is None or self.is_own_file(path)) and all(map(self._names_own_files, value.values()))


async def _body(request: Request) -> bytes:
    """Return the body of a request: only the beginning if it is too long, nothing if the client has disconnected."""
    body = b''
    try:
        async for part in request.stream():
            body += part
            if len(body) > _LONGEST_CALL:
                break
    except ClientDisconnect:
        return b''
    return body


def _object_of(body: bytes) -> dict[str, Any] | None:
    """Return the JSON object of a body; None if it is not one, or too long."""
    try:
        found = json.loads(body.decode()) if len(body) <= _LONGEST_CALL else None
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _again(body: bytes, receive: Receive) -> Receive:
    """Return a function that receives a body once more."""
    messages: list[Message] = [{'type': 'http.request', 'body': body, 'more_body': False}]

    async def again() -> Message:
        return messages.pop() if messages else await receive()

    return again


def _with_headers(send: Send) -> Send:
    async def send_more(message: Message) -> None:
        if message['type'] == 'http.response.start':
            MutableHeaders(scope=message).update(_HEADERS)
        await send(message)

    return send_more


def _to_open_connections(send: Send) -> Send:
    """Drop the rest of an answer if the visitor has broken the connection, as by a second, malformed request."""

    async def sent(message: Message) -> None:
        with contextlib.suppress(h11.LocalProtocolError):
            await send(message)

    return sent
