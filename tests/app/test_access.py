"""The page meets WCAG AA as far as axe-core checks it, and works with the keyboard alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.app.conftest import NAME
from tests.helpers.browser import Browser
from tests.helpers.project import absent
from tests.helpers.web_server import (
    LOADED,
    RESULT,
    ROWS,
    SAID,
    SIZES,
    Server,
    choose_method,
    chosen,
    deblur,
    show_settings,
    start,
    upload,
)

pytestmark = pytest.mark.slow

RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']
OF_THE_FRAMEWORK: set[str] = set()
"""Rules that parts of gradio break, which we do not change; empty with gradio 6.31."""


@pytest.fixture(scope='module')
def axe() -> str:
    """The script of axe-core (``npm pack axe-core@4.14.1``), whose path is in AXE_CORE."""
    path = os.environ.get('AXE_CORE', '')
    if not Path(path).is_file():
        absent('AXE_CORE is not the path of axe.min.js: accessibility was not checked')
    return Path(path).read_text(encoding='utf-8')


@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('size', SIZES, ids=['laptop', 'phone'])
def test_axe_finds_nothing(
    axe: str, size: tuple[int, int], scheme: str, browser: Browser, server: Server, place: Path
) -> None:
    browser.open(server.address, *size, scheme)
    browser.wait("window.askPage && document.querySelector('#examples img')?.complete", 60)
    browser.run(f'{axe};0')

    def violations() -> list[Any]:
        found = browser.run(
            f'axe.run(document, {{runOnly: {RULES}}}).then(({{violations}}) => '
            'violations.flatMap(({id, nodes}) => nodes.map(({html, target}) => [id, target.join(), html])))'
        )
        return [one for one in found if one[0] not in OF_THE_FRAMEWORK]

    assert violations() == []
    chosen(browser, place / 'busy.png')
    show_settings(browser)
    choose_method(browser, 'kernel')
    start(browser)
    browser.wait("document.querySelector('#said progress')")
    assert violations() == []
    browser.run("document.querySelector('#said [data-do=cancel]').click()")
    browser.wait(f"({ROWS})[0].includes('cancelled')")
    chosen(browser, place / NAME, place / 'plain.png')
    choose_method(browser, 'network')
    deblur(browser)
    choose_method(browser, 'kernel')
    browser.wait("document.querySelector('#result .stale')")
    assert violations() == []
    upload(browser, place / 'notes.jpg')
    browser.wait("document.querySelector('#said .error')")
    assert violations() == []


def test_axe_would_find_faults(axe: str, page: Browser) -> None:
    page.run(f"{axe};document.querySelector('#examples img').removeAttribute('alt')")
    found = page.run('axe.run(document).then(({violations}) => violations.map(({id}) => id))')
    assert 'image-alt' in found


def test_a_photo_is_deblurred_with_the_keyboard_alone(page: Browser) -> None:
    def tab_to(selector: str) -> None:
        for _ in range(40):
            if page.run(f'Boolean(document.activeElement?.matches({selector!r}))'):
                return
            page.key('Tab')
        raise AssertionError(f'{selector} is not reached')

    tab_to('#examples button')
    page.key('Enter')
    page.wait(f"({ROWS})[0]?.includes('deep.png')", 30)
    page.run('document.activeElement.blur()')
    tab_to('#start')
    page.key('Enter')
    page.wait(f'{RESULT}?.dataset.fresh && {LOADED}', 60)
    tab_to('.divider')
    page.key('ArrowLeft')
    page.wait("parseFloat(document.querySelector('.compare').style.getPropertyValue('--place')) < 50")
    tab_to('.strength input')
    page.key('ArrowLeft')
    page.wait("document.querySelector('.strength output').innerText === '99%'")
    tab_to('#download')
    assert page.run(SAID).strip() == ''
