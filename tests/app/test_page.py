"""The page as a visitor uses it, on a laptop and on a phone: one photo, its result, several photos."""

from __future__ import annotations

import base64
import contextlib
import shutil
import time
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import basicsr.deblur
from basicsr.app.folder import PREFIX
from basicsr.images.files import imread
from tests.app.conftest import NAME
from tests.helpers.browser import Browser
from tests.helpers.heic import IMAGE, heic
from tests.helpers.pages import bad_files, scene
from tests.helpers.web_server import (
    BUTTON,
    IMAGES,
    LOADED,
    RESULT,
    ROWS,
    SAID,
    Server,
    act,
    choose_method,
    chosen,
    deblur,
    download,
    enter,
    opened,
    show_settings,
    start,
    upload,
)

pytestmark = pytest.mark.slow

FIGURE = "document.querySelector('#result .compare')"
PLACE = f"{FIGURE}.style.getPropertyValue('--place')"
BOX = '(({left, top, right, bottom}) => [left, top, right, bottom])'


def by_command_line(photo: Path, place: Path, out: Path, *flags: str) -> Path:
    arguments = ['-i', str(photo), '-o', str(out), '--model', str(place / 'masked.pth'), '--device', 'cpu', *flags]
    assert basicsr.deblur.main([*arguments, '--mask-cache', 'none']) == 0
    (result,) = out.iterdir()
    return result


def box(page: Browser, element: str) -> tuple[float, float, float, float]:
    left, top, right, bottom = page.run(f'{BOX}({element}.getBoundingClientRect())')
    return left, top, right, bottom


def test_from_upload_to_download(sized: Browser, place: Path, tmp_path: Path) -> None:
    page = sized
    assert page.run('document.title') == 'Deblur a photo'
    chosen(page, place / NAME)
    assert '90×120, JPEG, 8-bit' in page.run(f'{ROWS}[0]')
    page.wait(f'{IMAGES}[0]?.naturalWidth === 90')
    deblur(page)
    width, height = page.run('[innerWidth, innerHeight]')
    tools = "document.querySelector('#download')"
    page.wait(f'{BOX}({tools}.getBoundingClientRect())[3] <= {height}')  # scrolled to, and whole in the window
    left, top, right, bottom = box(page, FIGURE)
    assert left >= 0 and top >= 0 and right <= width and bottom <= height
    assert page.run('document.documentElement.scrollWidth') <= width
    saved = download(page, tmp_path / 'saved')
    wanted = by_command_line(place / NAME, place, tmp_path / 'out')
    assert saved.name == wanted.name == 'Ferien ü #1 100% (2)_deblurred.JPG'
    assert saved.read_bytes() == wanted.read_bytes()


def test_the_divider_follows_mouse_finger_and_keys_and_the_wheel_scrolls(sized: Browser, place: Path) -> None:
    page = sized
    chosen(page, place / NAME)
    deblur(page)
    time.sleep(1)  # the page scrolls smoothly
    left, top, right, bottom = box(page, FIGURE)
    middle = (top + bottom) / 2
    if page.run('innerWidth') > 700:
        page.drag(((left + right) / 2, middle), (left + (right - left) / 4, middle))
    else:
        points = [(left + (right - left) * part, middle) for part in (0.5, 0.4, 0.3, 0.25)]
        page.touch(*([point] for point in points))
    page.wait(f'Math.abs(parseFloat({PLACE}) - 25) < 3')
    page.run("document.querySelector('.divider').focus()")
    for _ in range(3):
        page.key('ArrowRight')
    page.wait(f'Math.abs(parseFloat({PLACE}) - 28) < 3')
    assert page.run("document.querySelector('.divider').ariaLabel")
    page.run("document.body.style.minHeight = '4000px'; scrollTo(0, 0)")
    time.sleep(0.7)
    left, top, right, bottom = box(page, FIGURE)
    page.wheel((left + right) / 2, max(top + 5, 5), 300)
    page.wait('scrollY > 100')


def test_it_says_working_at_once_shows_progress_and_stops_when_asked(sized: Browser, place: Path) -> None:
    page = sized
    chosen(page, place / 'busy.png')
    choose_method(page, 'kernel')
    page.wait(f'!{BUTTON}.disabled')
    page.run(f'{BUTTON}.click()')
    page.wait(f"{BUTTON}.innerText === 'Working…'", 1)
    page.wait("document.querySelector('#said progress')")
    page.wait(f'/busy.png\\s.* [1-9]\\d* s/s.test({SAID})', 30)
    top, bottom = box(page, "document.querySelector('#said .working')")[1::2]
    assert top >= 0 and bottom <= page.run('innerHeight')  # also on a phone
    before = time.monotonic()
    page.run("document.querySelector('#said [data-do=cancel]').click()")
    page.wait(f"{BUTTON}.innerText === 'Deblur' && ({ROWS})[0].includes('cancelled')", 5)
    upload(page, place / 'plain.png')  # replaces it, and finds the worker free
    page.wait(f"({ROWS})[0]?.includes('plain.png')")
    assert time.monotonic() - before < 10
    deblur(page, 60)


def test_the_strength_is_blended_live_and_in_the_download(sized: Browser, place: Path, tmp_path: Path) -> None:
    page = sized
    pixels = np.dstack([scene().astype(np.uint16) * 257, np.full((90, 120), 65535, np.uint16)])
    pixels[:, :60, 3] = 0
    cv2.imwrite(str(tmp_path / 'deep.png'), pixels)
    chosen(page, tmp_path / 'deep.png')
    deblur(page)
    page.asked.clear()
    page.run(
        "(() => { const one = document.querySelector('.strength input'); one.value = 50;"
        "one.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )
    assert page.run(f'getComputedStyle({IMAGES}[1]).opacity') == '0.5'
    assert not [address for address in page.asked if 'queue/join' in address]
    saved = download(page, tmp_path / 'saved')
    assert saved.name == 'deep_deblurred.png'
    full = by_command_line(tmp_path / 'deep.png', place, tmp_path / 'out')
    half = by_command_line(tmp_path / 'deep.png', place, tmp_path / 'half', '--strength', '0.5')
    mine, whole, theirs = (cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(int) for path in (saved, full, half))
    assert np.abs(mine - (pixels + (whole - pixels) / 2)).max() <= 0.5  # what the browser shows
    assert np.abs(mine - theirs).mean() < 2  # differs only where the whole result is black or white
    assert not np.array_equal(mine, pixels)


def test_blended_downloads_keep_what_the_camera_wrote(page: Browser, place: Path, tmp_path: Path) -> None:
    chosen(page, place / NAME)
    deblur(page)
    page.run(
        "(() => { const one = document.querySelector('.strength input'); one.value = 30;"
        "one.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )
    saved = download(page, tmp_path / 'saved')
    with Image.open(saved) as mine, Image.open(place / NAME) as photo:
        assert mine.size == photo.size and mine.info['icc_profile'] == photo.info['icc_profile']
        assert mine.getexif() == photo.getexif()
    assert download(page, tmp_path / 'again').read_bytes() == saved.read_bytes()


def test_a_photo_of_a_phone_comes_back_as_jpeg(page: Browser, tmp_path: Path) -> None:
    chosen(page, heic(tmp_path / 'IMG_1.heic'))
    deblur(page)
    saved = download(page, tmp_path / 'saved')
    assert saved.name == 'IMG_1_deblurred.jpg'
    assert imread(saved, channels=3).shape == IMAGE.shape


def test_another_choice_labels_the_result_as_old(sized: Browser, place: Path) -> None:
    page = sized
    chosen(page, place / NAME)
    deblur(page)
    assert not page.run("Boolean(document.querySelector('#result .stale'))")
    choose_method(page, 'kernel')
    page.wait(
        "document.querySelector('#result .stale')?.innerText.includes('other settings (network, network masked)')"
    )
    page.wait(f"({ROWS})[0].includes('other settings')")
    deblur(page)
    assert not page.run("Boolean(document.querySelector('#result .stale'))")


def test_several_photos_have_a_row_each_and_one_archive(sized: Browser, place: Path, tmp_path: Path) -> None:
    page = sized
    (tmp_path / 'again').mkdir()
    shutil.copyfile(place / 'plain.png', tmp_path / 'again' / 'plain.png')
    shutil.copyfile(place / 'plain.png', tmp_path / 'gone.png')
    chosen(page, place / NAME, place / 'plain.png', tmp_path / 'again' / 'plain.png', tmp_path / 'gone.png')
    assert page.run(f'({ROWS}).length') == 4
    folder = next(place.joinpath('tmp').glob(f'{PREFIX}*/shown'))
    newest = max(folder.glob('visits/*/*/photo.png'), key=lambda path: path.stat().st_mtime_ns)
    newest.unlink()
    deblur(page)
    rows = page.run(ROWS)
    assert sum('done' in row for row in rows) == 3
    (failed,) = [row for row in rows if 'failed' in row]
    assert 'upload it again' in failed and '/' not in failed.replace('70×50', '')
    assert '4 photos, 3 done, 1 failed' in page.run("document.querySelector('#photos').innerText")
    saved = download(page, tmp_path / 'saved', 'zip')
    with zipfile.ZipFile(saved) as zipped:
        names = zipped.namelist()
        assert len(names) == 3 and len(set(names)) == 3
        first = zipped.read(next(name for name in names if name.endswith('.JPG')))
    assert first == by_command_line(place / NAME, place, tmp_path / 'out').read_bytes()
    act(page, 'show', 0)
    page.wait("document.querySelector('#photos [aria-current] .name').innerText.includes('Ferien')")
    page.wait(f'{IMAGES}[0].naturalWidth === 90 && {LOADED}')
    act(page, 'remove', 0)
    page.wait(f'({ROWS}).length === 3')


def test_one_photo_of_the_queue_is_cancelled_or_all(page: Browser, place: Path) -> None:
    chosen(page, place / 'busy.png', place / NAME, place / 'plain.png')
    choose_method(page, 'kernel')
    start(page)
    page.wait(f"({ROWS})[0].includes('working') && ({ROWS})[1].includes('waiting')", 30)
    act(page, 'cancel', 1)  # of the second row: the first button is that of the first
    page.wait(f"({ROWS})[1].includes('cancelled') && ({ROWS})[0].includes('working')")
    page.run("document.querySelector('#photos .row [data-do=cancel]').click()")
    page.wait(f"({ROWS})[0].includes('cancelled') && ({ROWS})[2].includes('done')", 30)
    page.wait(f"{BUTTON}.innerText === 'Deblur'")
    start(page)
    page.wait(f"{SAID}.includes('Cancel all')")
    page.run("document.querySelector('#said [data-do=cancel]').click()")
    page.wait(
        f"({ROWS}).filter((row) => row.includes('cancelled')).length === 2 && {BUTTON}.innerText === 'Deblur'", 10
    )


def test_photos_are_dropped_anywhere_and_pasted(sized: Browser, place: Path) -> None:
    page = sized
    address = page.run('location.href')
    page.drop(200, 30, place / NAME)
    page.wait(f"({ROWS})[0]?.includes('Ferien')", 30)
    deblur(page)
    left, top, right, bottom = box(page, FIGURE)
    page.drop((left + right) / 2, (top + bottom) / 2, place / 'plain.png')  # onto the result
    page.wait(f"({ROWS}).length === 1 && ({ROWS})[0].includes('plain.png') && !{RESULT}", 30)
    page.wait(f'{IMAGES}.length === 1 && {IMAGES}[0].naturalWidth === 70')
    page.run(
        """(async () => {
        const canvas = Object.assign(document.createElement('canvas'), {width: 40, height: 30});
        canvas.getContext('2d').fillRect(5, 5, 20, 10);
        const blob = await new Promise((done) => canvas.toBlob(done));
        const data = new DataTransfer();
        data.items.add(new File([blob], 'image.png', {type: 'image/png'}));
        document.body.dispatchEvent(new ClipboardEvent('paste', {clipboardData: data, bubbles: true}));
        })()"""
    )
    page.wait(f"({ROWS}).length === 1 && ({ROWS})[0].includes('40×30')", 30)
    assert page.run('location.href') == address


def test_videos_are_refused_with_the_command(sized: Browser, tmp_path: Path) -> None:
    page = sized
    (tmp_path / 'clip.mp4').write_bytes(b'\0\0\0\x18ftypmp42' + bytes(100))
    page.asked.clear()
    page.drop(200, 30, tmp_path / 'clip.mp4')
    page.wait(f'{SAID}.includes(\'python basicsr/deblur.py "clip.mp4"\')')
    assert not [one for one in page.asked if 'upload' in one]  # it is not sent
    act(page, 'example')
    page.wait(f'({ROWS}).length === 1')
    upload(page, tmp_path / 'clip.mp4')
    page.wait(f'{SAID}.includes(\'python basicsr/deblur.py "clip.mp4"\')')


def test_an_example_has_words_and_is_deblurred(page: Browser, place: Path) -> None:
    assert page.run("[...document.querySelectorAll('#examples img')].every((one) => one.alt)")
    act(page, 'example')
    page.wait(f"({ROWS})[0]?.includes('80×60, PNG, 16-bit')", 30)
    deblur(page)
    happened = page.run("document.querySelector('.happened').innerText")
    assert 'network masked' in happened and 'MiB' in happened
    regions = int(page.run("document.querySelector('#regions img').alt.match(/[0-9]+/)[0]"))
    assert regions > 3
    show_settings(page)
    stale = "document.querySelector('#result .stale')"
    for _ in range(4):  # a field that has just been unfolded may not listen yet
        enter(page, '#dropout', 0.5)
        with contextlib.suppress(AssertionError):
            page.wait(stale, 5)
            break
    assert page.run(f'Boolean({stale})')
    deblur(page)
    assert int(page.run("document.querySelector('#regions img').alt.match(/[0-9]+/)[0]")) == regions - regions // 2


@pytest.mark.parametrize('name', bad_files())
def test_bad_files_give_words_and_the_next_photo_works(name: str, page: Browser, place: Path) -> None:
    upload(page, place / name)
    page.wait("document.querySelector('#said .error')", 60)
    words = page.run(f'{SAID}')
    assert bad_files()[name][1].lower() in words.lower() and name in words
    assert 'tmp' not in words and PREFIX not in words
    assert page.run(f'({ROWS}).length') == 0
    if name == 'notes.jpg':
        chosen(page, place / NAME)
        assert page.run(SAID).strip() == ''
        deblur(page)


def test_a_refusal_is_in_sight_and_the_page_keeps_its_width(sized: Browser, place: Path) -> None:
    page = sized
    width = page.run("document.querySelector('#columns').getBoundingClientRect().width")
    chosen(page, *[place / 'plain.png'] * 4)
    upload(page, place / NAME)
    page.wait(f"{SAID}.includes('up to 4 photos')")
    alert = "document.querySelector('#said [role=alert]')"
    page.wait(f'(({{top, bottom}}) => top >= 0 && bottom <= innerHeight)({alert}.getBoundingClientRect())')
    assert page.run("document.querySelector('#columns').getBoundingClientRect().width") == pytest.approx(width, abs=20)


def test_hostile_names_are_shown_as_they_are(page: Browser, place: Path, tmp_path: Path) -> None:
    name = 'x<img src=a onerror="document.title=1">${7*7}{{value}}&amp;.JPG'
    shutil.copyfile(place / NAME, tmp_path / name)
    upload(page, tmp_path / name)
    page.wait("document.querySelector('#photos .name')", 30)
    assert page.run("document.querySelector('#photos .name').innerText") == name
    deblur(page)
    assert page.run("document.querySelector('#download').download") == name.replace('.JPG', '_deblurred.JPG')
    assert page.run('document.title') == 'Deblur a photo'


def test_files_that_are_too_large_to_send_give_words(browser: Browser, server: Server, place: Path) -> None:
    page = opened(browser, server)
    (place / 'huge.png').write_bytes(b'x' * (18 << 20))
    upload(page, place / 'huge.png')
    page.wait(f"{SAID}.includes('huge.png: the file has more than 16 MiB')", 60)


def test_a_refusal_during_the_work_is_shown_and_leaves_the_result(page: Browser, place: Path, tmp_path: Path) -> None:
    chosen(page, place / 'busy.png', place / 'plain.png')
    choose_method(page, 'kernel')
    start(page)
    (tmp_path / 'no photo.png').write_bytes(b'no')
    upload(page, tmp_path / 'no photo.png')
    page.wait(f"{SAID}.includes('no photo.png: ') && {SAID}.includes('Working on')", 30)
    page.run("document.querySelector('#photos .row [data-do=cancel]').click()")
    page.wait(f"({ROWS})[1].includes('done')", 60)
    assert page.run(f'Boolean({RESULT})')


def test_videos_beside_photos_are_named(page: Browser, place: Path, tmp_path: Path) -> None:
    for name in ('a.mp4', 'b.mov'):
        (tmp_path / name).write_bytes(b'x')
    data = base64.b64encode((place / 'plain.png').read_bytes()).decode()
    page.run(
        f"""(() => {{ const data = new DataTransfer(); const bytes = Uint8Array.from(atob('{data}'),
        (one) => one.charCodeAt(0)); data.items.add(new File([bytes], 'plain.png', {{type: 'image/png'}}));
        for (const name of ['a.mp4', 'b.mov']) data.items.add(new File(['x'], name, {{type: 'video/mp4'}}));
        document.body.dispatchEvent(new DragEvent('drop', {{dataTransfer: data, bubbles: true}})); }})()"""
    )
    page.wait(f"({ROWS})[0]?.includes('plain.png') && {SAID}.includes('a.mp4') && {SAID}.includes('b.mov')", 30)
    page.wait("!('uploading' in document.body.dataset)")


def test_errors_name_the_field_and_hide_the_old_result(page: Browser, place: Path) -> None:
    start(page)
    page.wait(f"{SAID}.includes('Choose a photo first') && {BUTTON}.innerText === 'Deblur'", 60)
    chosen(page, place / NAME)
    deblur(page)
    show_settings(page)
    page.wait("document.querySelector('#seed input')")
    page.run(
        "(() => { const one = document.querySelector('#seed input'); one.value = '-3';"
        "one.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )
    start(page)
    page.wait(
        f"{SAID}.includes('Seed of the mask dropout: expected a number from 0') && {BUTTON}.innerText === 'Deblur'"
    )
    assert not page.run(f'Boolean({RESULT} || {FIGURE})')
    assert 'Traceback' not in page.run('document.body.innerText')


def test_the_page_asks_no_other_computer(page: Browser, server: Server, place: Path) -> None:
    chosen(page, place / NAME)
    deblur(page)
    asked = [address for address in page.asked if not address.startswith(('data:', 'blob:', 'about:'))]
    assert len(asked) > 20
    assert [address for address in asked if not address.startswith(server.address)] == []


def test_pictures_larger_than_the_screen_are_shown_smaller_and_kept_whole(page: Browser, tmp_path: Path) -> None:
    Image.fromarray(np.tile(scene(40, 40), (1, 80, 1))).save(tmp_path / 'wide.png')
    chosen(page, tmp_path / 'wide.png')
    deblur(page)
    assert page.run(f'{IMAGES}.map((one) => one.naturalWidth)') == [2560, 2560]
    assert 'full resolution' in page.run("document.querySelector('.happened').innerText")
    assert imread(download(page, tmp_path / 'saved')).shape == (40, 3200, 3)
