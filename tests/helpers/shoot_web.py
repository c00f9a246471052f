"""Take the picture of docs/web.md: the page in a real browser with one of its own examples deblurred.

python -m tests.helpers.shoot_web docs/images/web.png [number of the example, 0 to 2]
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests.helpers.browser import Browser, find_browser
from tests.helpers.web_server import SAID, deblur, opened, running

SIZE = 1000, 780


def main(picture: Path, example: int = 1) -> int:
    """Start the page as a user does, with the network of the repository, and save what the window shows."""
    program = find_browser()
    if program is None:
        print('no Chromium or Chrome is installed', file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as server, Browser(program) as browser:
        for number in ((example + 1) % 3, example):  # the seconds of the second are those of a page that is warm
            page = opened(browser, server, *SIZE)
            examples = "document.querySelectorAll('#examples button:has(img)')"
            page.wait(f'{examples}.length === 3')
            page.run(f'{examples}[{number}].click()')
            page.wait(f"{SAID}.includes(' bits')", 60)
            page.wait("document.querySelector('#preview img')?.naturalWidth")
            deblur(page)
        page.run("document.querySelector('#start').blur(); scrollTo(0, 0)")
        time.sleep(2)  # the result fades in
        page.screenshot(picture)
    return 0


if __name__ == '__main__':
    sys.exit(main(Path(sys.argv[1]), *map(int, sys.argv[2:])))
