"""The web page's server in a process of its own, and what people do on the page."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.helpers.browser import Browser
from tests.helpers.project import ROOT, absent

API = '/gradio_api'
BUTTON = "document.querySelector('button#start')"
SAID = "(document.querySelector('#said')?.innerText ?? '')"
RESULT = "document.querySelector('#result [data-fresh]')"
IMAGES = "[...document.querySelectorAll('#result .compare img')]"
LOADED = f'({IMAGES}.length === 2 && {IMAGES}.every((one) => one.complete && one.naturalWidth))'
ROWS = "[...document.querySelectorAll('#photos .row')].map((one) => one.innerText.replaceAll('\\n', ' '))"
UPLOAD = 'input[data-testid="Choose photos-upload-button"]'
OWN = 'input[data-testid="Use your own network file-upload-button"]'
SIZES = ((1280, 900), (390, 844))


class Server:
    """A running page.

    Args:
        folder: gets its temporary files.
        arguments: of the command line.
        root: of the project.
        by: a program that is to run the page, in place of Python alone.
    """

    def __init__(self, folder: Path, *arguments: str | Path, root: Path = ROOT, by: Sequence[str | Path] = ()) -> None:
        self.temporary = folder
        folder.mkdir(exist_ok=True)
        environment = {key: value for key, value in os.environ.items() if not key.startswith(('GRADIO', 'PYTHON'))}
        environment |= {'TMPDIR': str(folder), 'HTTP_PROXY': 'http://127.0.0.1:9', 'HTTPS_PROXY': 'http://127.0.0.1:9'}
        command = [
            sys.executable,
            *map(str, by),
            str(root / 'basicsr/app/web.py'),
            '--port',
            '0',
            '--device',
            'cpu',
            *map(str, arguments),
        ]
        # a pipe that nobody reads would block the server
        self._errors = tempfile.TemporaryFile('a+')  # noqa: SIM115 - open as long as the server
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self._errors, text=True, env=environment, cwd=folder
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.startswith('http'):
            self.process.wait(60)
            raise AssertionError(f'{line}{self.errors()}')
        self.address = line.split('  ')[0]

    def errors(self) -> str:
        """What it has printed to standard error."""
        self._errors.seek(0)
        return self._errors.read()

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        """Status and body of the answer to a request whose path is sent as it is."""
        connection = http.client.HTTPConnection(urlsplit(self.address).netloc, timeout=60)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def upload(self, name: str, data: bytes) -> tuple[int, bytes]:
        """Send a file as browsers do."""
        head = f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
        body = head + data + b'\r\n--x--\r\n'
        return self.ask('POST', f'{API}/upload', body, **{'Content-Type': 'multipart/form-data; boundary=x'})

    def function(self, name: str) -> int:
        """Number of a function of the page."""
        config = json.loads(self.ask('GET', '/config')[1])
        number: int = next(one['id'] for one in config['dependencies'] if one['api_name'] == name and one['backend_fn'])
        return number

    def join(self, *data: Any, function: int | str = 'deblur', session: str = 'test') -> tuple[int, bytes]:
        """Ask one of the page's functions."""
        number = self.function(function) if isinstance(function, str) else function
        body = json.dumps({'data': data, 'fn_index': number, 'session_hash': session}).encode()
        return self.ask('POST', f'{API}/queue/join', body, **{'Content-Type': 'application/json'})

    def add(self, photo: Path, session: str = 'test') -> None:
        """Upload a photo as the visitor of a session, without a browser."""
        status, answer = self.upload(photo.name, photo.read_bytes())
        assert status == 200
        file = {'path': json.loads(answer)[0], 'meta': {'_type': 'gradio.FileData'}}
        assert self.join([file], {'names': [photo.name]}, function='add', session=session)[0] == 200

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(60)


@contextlib.contextmanager
def running(folder: Path, *arguments: str | Path, **more: Any) -> Iterator[Server]:
    """A server that is ended in any case."""
    if importlib.util.find_spec('gradio') is None:
        absent("gradio is not installed (pip install -e '.[demo]'): the web page was not tested")
    server = Server(folder, *arguments, **more)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
        server.process.communicate()


def opened(browser: Browser, server: Server, width: int = 1280, height: int = 800) -> Browser:
    browser.open(server.address, width, height)
    browser.wait(f"{BUTTON} && window.askPage && document.querySelector('#examples img')?.complete", 60)
    return browser


def upload(page: Browser, *paths: Path) -> None:
    """Choose photos, as the button of the page does."""
    page.wait(f"document.querySelector('{UPLOAD}')")
    page.choose_file(UPLOAD, *paths)


def chosen(page: Browser, *photos: Path) -> None:
    """Upload photos and wait until they are in the list."""
    upload(page, *photos)
    page.wait(
        f'({ROWS}).filter((row) => {json.dumps([one.name for one in photos])}.some((name) => row.includes(name)))'
        f'.length >= {len(photos)}',
        60,
    )


def choose(page: Browser, selector: str, choice: str) -> None:
    """Open a list of choices with the mouse and click on one."""
    option = f"{selector} [role=option][aria-label='{choice}']"
    for _ in range(20):  # what unfolds at this moment is not where it was when its place was looked up
        page.run('document.activeElement.blur()')
        page.click(*middle_of(page, f'{selector} input'))
        with contextlib.suppress(AssertionError):
            page.wait(f'document.querySelector("{option}")?.checkVisibility()', 1)
            page.click(*middle_of(page, option))
            page.wait(f"document.querySelector('{selector} input').value === {json.dumps(choice)}", 1)
            return
    raise AssertionError(f'{choice} could not be chosen in {selector}')


def middle_of(page: Browser, selector: str) -> tuple[float, float]:
    """Where something is, once it has been scrolled to."""
    x, y = page.run(
        f"""(() => {{ const one = document.querySelector({json.dumps(selector)});
        one.scrollIntoView({{block: 'center'}}); const {{x, y, width, height}} = one.getBoundingClientRect();
        return [x + width / 2, y + height / 2]; }})()"""
    )
    return x, y


def enter(page: Browser, selector: str, number: float) -> None:
    """Write a number into the field of a slider."""
    page.wait(f"document.querySelector('{selector} input[type=number]')")
    page.run(
        f"""(() => {{ const one = document.querySelector('{selector} input[type=number]');
        one.value = '{number}'; one.dispatchEvent(new Event('input', {{bubbles: true}}));
        one.dispatchEvent(new Event('blur', {{bubbles: true}})); }})()"""
    )


def show_settings(page: Browser) -> None:
    """Unfold the choice of method, network and masks."""
    page.wait("document.querySelector('#settings button')")
    page.run("document.querySelector('#settings button').click()")
    page.wait("document.querySelector('#network input')?.checkVisibility()")


def choose_method(page: Browser, name: str) -> None:
    """Choose a method; ``name`` is its value: auto, kernel or network."""
    if not page.run("document.querySelector('#method input')?.checkVisibility()"):
        show_settings(page)
    page.wait(f"document.querySelector('#method input[value={name}]')")
    page.run(f"document.querySelector('#method input[value={name}]').click()")


def act(page: Browser, what: str, number: int = 0) -> None:
    """Press a button of our own, by what it does."""
    selector = f"[data-do='{what}']"
    page.wait(f'document.querySelectorAll("{selector}").length > {number}')
    page.run(f'document.querySelectorAll("{selector}")[{number}].click()')


def start(page: Browser) -> None:
    page.wait(f'!{BUTTON}.disabled')
    page.run(f'{BUTTON}.click()')


def deblur(page: Browser, seconds: float = 120) -> None:
    """Press the button and wait for the result of all photos."""
    before = page.run(f"{RESULT}?.dataset.fresh ?? ''")
    start(page)
    page.wait(
        f'{RESULT} && {RESULT}.dataset.fresh && {RESULT}.dataset.fresh !== {json.dumps(before)} && {LOADED}', seconds
    )


def download(page: Browser, folder: Path, what: str = 'save') -> Path:
    """What a button of the page saves: ``save`` or ``zip``."""
    folder.mkdir()
    page.download_to(folder)
    act(page, what)
    end = time.monotonic() + 30
    while time.monotonic() < end:
        files = [path for path in folder.iterdir() if path.suffix != '.crdownload']
        if files and files[0].stat().st_size:
            return files[0]
        page.run('1')  # reads what the browser reports
        time.sleep(0.05)
    raise AssertionError(f'nothing was downloaded; {page.problems}')
