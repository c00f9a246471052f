"""Take the picture of docs/web.md: the page in a real browser with one of its own examples deblurred.

python -m tests.helpers.shoot_web docs/images/web.png [number of the example, 0 to 3]
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests.helpers.browser import Browser, find_browser
from tests.helpers.web_server import ROWS, deblur, opened, running

SIZE = 1100, 860


def main(picture: Path, example: int = 0) -> int:
    """Start the page as a user does, with the network of the repository, and save what the window shows."""
    program = find_browser()
    if program is None:
        print('no Chromium or Chrome is installed', file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as server, Browser(program) as browser:
        for number in (0, example):  # the seconds of the second are those of a page that is warm
            page = opened(browser, server, *SIZE)
            page.run(f"document.querySelectorAll('#examples button')[{number}].click()")
            page.wait(f'({ROWS}).length === 1', 60)
            deblur(page, 300)
        page.run("document.querySelector('#start').blur(); scrollTo(0, 0)")
        time.sleep(2)  # the result fades in
        page.screenshot(picture)
    return 0


if __name__ == '__main__':
    sys.exit(main(Path(sys.argv[1]), *map(int, sys.argv[2:])))
