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
LOADED = "[...document.querySelectorAll('#slider img')].every((one) => one.complete && one.naturalWidth)"


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
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=folder
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.startswith('http'):
            raise AssertionError(f'{line}{self.process.communicate(timeout=60)[1]}')
        self.address = line.split('  ')[0]

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

    def join(self, *data: Any, function: int = 3) -> tuple[int, bytes]:
        """Ask one of the page's functions."""
        body = json.dumps({'data': data, 'fn_index': function, 'session_hash': 'test'}).encode()
        return self.ask('POST', f'{API}/queue/join', body, **{'Content-Type': 'application/json'})

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


def opened(browser: Browser, server: Server, *size: int) -> Browser:
    browser.open(server.address, *size)
    browser.wait(f"{BUTTON} && document.querySelector('[role=tab]')", 60)
    return browser


def upload(page: Browser, path: Path) -> None:
    page.wait("document.querySelector('#photo input[type=file]')")
    page.choose_file('#photo input[type=file]', path)


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
    """Unfold the choice of network and masks."""
    page.wait("document.querySelector('#settings button')")
    page.run("document.querySelector('#settings button').click()")
    page.wait("document.querySelector('#network input')?.checkVisibility()")


def show_tab(page: Browser, name: str) -> None:
    """Show the results of that name."""
    page.run(f"[...document.querySelectorAll('[role=tab]')].find((one) => one.innerText === '{name}').click()")


def deblur(page: Browser) -> None:
    page.wait(f'!{BUTTON}.disabled')
    page.run(f'{BUTTON}.click()')
    page.wait(f"{SAID}.includes(' s ')", 120)
    page.wait(f"document.querySelectorAll('#slider img').length === 2 && {LOADED}")


def download(page: Browser, folder: Path) -> Path:
    """What the button of the page saves."""
    page.download_to(folder)
    page.wait("document.querySelector('#download')")
    end, clicked = time.monotonic() + 30, 0.0
    while time.monotonic() < end:
        if time.monotonic() > clicked + 5:  # a click on a button whose file is still being named does nothing
            page.run("document.querySelector('#download').click()")
            clicked = time.monotonic()
        files = [path for path in folder.iterdir() if path.suffix != '.crdownload'] if folder.is_dir() else []
        if files and files[0].stat().st_size:
            return files[0]
        time.sleep(0.05)
    raise AssertionError('nothing was downloaded')
