"""A headless Chromium driven through its debugging pipe with the standard library alone."""

from __future__ import annotations

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome')
FLAGS = (
    '--headless=new',
    '--no-sandbox',  # tests may run as root in a container
    '--disable-gpu',
    '--disable-dev-shm-usage',
    '--no-first-run',
    '--disable-extensions',
    '--disable-background-networking',
    '--hide-scrollbars',
    '--remote-debugging-pipe',
)


def find_browser() -> str | None:
    """Path of a Chromium on this machine, if there is one."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


class Browser:
    """One browser with one page; a context manager that ends the browser.

    Args:
        program: path of Chromium or Chrome.
    """

    def __init__(self, program: str) -> None:
        self._profile = tempfile.TemporaryDirectory(prefix='browser', ignore_cleanup_errors=True)
        read_by_browser, self._write = os.pipe()
        self._read, written_by_browser = os.pipe()
        # the browser reads commands from descriptor 3 and answers on descriptor 4, whatever their numbers are here
        command = f'exec "$0" "$@" 3<&{read_by_browser} 4>&{written_by_browser}'
        self._process = subprocess.Popen(
            ['bash', '-c', command, program, *FLAGS, f'--user-data-dir={self._profile.name}', 'about:blank'],
            pass_fds=(read_by_browser, written_by_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read_by_browser)
        os.close(written_by_browser)
        self._numbers, self._buffer, self._session = itertools.count(1), b'', None
        self.problems: list[str] = []
        self.asked: list[str] = []
        targets = self._call('Target.getTargets')['targetInfos']
        page = next(target['targetId'] for target in targets if target['type'] == 'page')
        self._session = self._call('Target.attachToTarget', targetId=page, flatten=True)['sessionId']
        for domain in ('Page', 'Runtime', 'Log', 'Network'):
            self._call(f'{domain}.enable')

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._write)
        os.close(self._read)
        self._profile.cleanup()

    def open(self, address: str, width: int = 1280, height: int = 800, scheme: str = 'light', scale: float = 1) -> None:
        """Load a page in a window of that size; errors of the page are collected in ``problems``.

        ``asked`` are the addresses that it asks for.
        """
        phone = width < 600
        self.run('(() => { try { sessionStorage.clear(); } catch { /* a blank page has none */ } })()')  # a new visitor
        self._call('Page.navigate', url='about:blank')
        self.run('1')  # reads what the last page reports at its end, such as a server that has ended
        self.problems.clear()
        self.asked.clear()
        self._call('Emulation.setEmulatedMedia', features=[{'name': 'prefers-color-scheme', 'value': scheme}])
        self._call(
            'Emulation.setDeviceMetricsOverride', width=width, height=height, deviceScaleFactor=scale, mobile=phone
        )
        self._call('Emulation.setTouchEmulationEnabled', enabled=phone)
        self._call('Page.navigate', url=address)
        self.wait(
            f'location.href !== "about:blank" && document.readyState === "complete" || {json.dumps(address)} === 0'
        )

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression; promises are awaited."""
        answer = self._call('Runtime.evaluate', expression=script, returnByValue=True, awaitPromise=True)
        if 'exceptionDetails' in answer:
            raise AssertionError(f'{script}\n{json.dumps(answer["exceptionDetails"], indent=1)[:2000]}')
        return answer['result'].get('value')

    def wait(self, condition: str, seconds: float = 20) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not self.run(f'Boolean({condition})'):
            if time.monotonic() > end:
                raise AssertionError(f'still not true after {seconds} s: {condition}')
            time.sleep(0.02)

    def key(self, key: str) -> None:
        """Press and release a key: a character, or a name such as ArrowRight."""
        text = {'text': key} if len(key) == 1 else {}
        codes = {'ArrowLeft': 37, 'ArrowUp': 38, 'ArrowRight': 39, 'ArrowDown': 40, 'Enter': 13, 'Escape': 27, 'Tab': 9}
        code = {'windowsVirtualKeyCode': codes[key]} if key in codes else {}
        if key == 'Enter':
            text = {'text': '\r'}
        self._call('Input.dispatchKeyEvent', type='keyDown', key=key, **text, **code)
        self._call('Input.dispatchKeyEvent', type='keyUp', key=key, **code)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press the mouse, move it in steps, and let it go."""
        self._mouse('mousePressed', *start)
        for part in (0.25, 0.5, 0.75, 1.0):
            self._mouse('mouseMoved', *(a + (b - a) * part for a, b in zip(start, end, strict=True)))
        self._mouse('mouseReleased', *end)

    def click(self, x: float, y: float) -> None:
        """Click."""
        self._mouse('mousePressed', x, y)
        self._mouse('mouseReleased', x, y)

    def wheel(self, x: float, y: float, delta: float) -> None:
        """Turn the wheel; negative is away from the hand."""
        self._call('Input.dispatchMouseEvent', type='mouseWheel', x=x, y=y, deltaX=0, deltaY=delta)

    def touch(self, *steps: list[tuple[float, float]]) -> None:
        """Put fingers down, move them through the steps, and lift them."""
        for number, points in enumerate(steps):
            places = [{'x': x, 'y': y, 'id': finger} for finger, (x, y) in enumerate(points)]
            self._call('Input.dispatchTouchEvent', type='touchMove' if number else 'touchStart', touchPoints=places)
        self._call('Input.dispatchTouchEvent', type='touchEnd', touchPoints=[])

    def choose_file(self, selector: str, *paths: Path) -> None:
        """Choose files in a field for uploads."""
        root = self._call('DOM.getDocument')['root']['nodeId']
        node = self._call('DOM.querySelector', nodeId=root, selector=selector)['nodeId']
        self._call('DOM.setFileInputFiles', files=[str(path) for path in paths], nodeId=node)

    def drop(self, x: float, y: float, *paths: Path) -> None:
        """Drag files over a place of the page and let them fall."""
        data = {'items': [], 'files': [str(path) for path in paths], 'dragOperationsMask': 1}
        for kind in ('dragEnter', 'dragOver', 'drop'):
            self._call('Input.dispatchDragEvent', type=kind, x=x, y=y, data=data)

    def download_to(self, folder: Path) -> None:
        """Let downloads go to a folder without asking."""
        self._call('Browser.setDownloadBehavior', behavior='allow', downloadPath=str(folder))

    def screenshot(self, path: Path) -> None:
        """Save what the window shows as PNG."""
        path.write_bytes(base64.b64decode(self._call('Page.captureScreenshot', format='png')['data']))

    def _mouse(self, kind: str, x: float, y: float) -> None:
        held = {'button': 'left', 'buttons': 1, 'clickCount': 1}
        self._call('Input.dispatchMouseEvent', type=kind, x=x, y=y, **held)

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message: dict[str, Any] = {'id': number, 'method': method, 'params': parameters}
        if self._session:
            message['sessionId'] = self._session
        os.write(self._write, json.dumps(message).encode() + b'\0')
        while True:
            answer = self._next_message()
            if answer.get('id') == number:
                if 'error' in answer:
                    raise AssertionError(f'{method}: {answer["error"]}')
                result: dict[str, Any] = answer['result']
                return result
            self._note(answer)

    def _note(self, event: dict[str, Any]) -> None:
        kind, what = event.get('method'), event.get('params', {})
        if kind == 'Network.requestWillBeSent':
            self.asked.append(what['request']['url'])
        elif kind == 'Runtime.exceptionThrown':
            self.problems.append(json.dumps(what['exceptionDetails'])[:1000])
        elif kind == 'Log.entryAdded' and what['entry']['level'] in ('error', 'warning'):
            self.problems.append(f'{what["entry"]["text"]} {what["entry"].get("url", "")}')
        elif kind == 'Network.loadingFailed' and not what.get('canceled'):
            self.problems.append(f'not loaded: {what["errorText"]}')
        elif kind == 'Page.javascriptDialogOpening':
            self.problems.append(f'a dialog opened: {what["message"]}')

    def _next_message(self) -> dict[str, Any]:
        while b'\0' not in self._buffer:
            if not select.select([self._read], [], [], 60)[0]:
                raise AssertionError('the browser does not answer')
            data = os.read(self._read, 1 << 20)
            if not data:
                raise AssertionError(f'the browser has ended with code {self._process.wait()}')
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b'\0')
        answer: dict[str, Any] = json.loads(message)
        return answer
