"""The gallery in a real browser: what a person sees and does. Skipped where no Chromium is installed."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from basicsr.reporting import KeptImages, compare_runs, write_gallery, write_runs_page
from tests.helpers.browser import Browser
from tests.helpers.reports import FACTS, evaluate, report

GAINS = [1.0, -5.0, 0.5, 3.0, -0.5, -9.0, 2.0, 0.0, 1.5, 2.5]
EVIL = [
    '<img src=x onerror="document.title=1">',
    'a"b\'c',
    'sp ace #1 100% ?q=1&r=2',
    'ünï/図',
    '</script><script>document.title=2</script>',
    '${alert(1)} `x` \\',
]


@pytest.fixture(scope='module')
def folder(tmp_path_factory: Any) -> Path:
    """A gallery of ten images, two of them collapsed; a second run; both compared; and one of hostile names."""
    root: Path = tmp_path_factory.mktemp('results')
    few = KeptImages(best=2, worst=2, others=0)
    first = evaluate(root / 'a', GAINS, images=few)
    other = replace(FACTS, run='run b', network='NetB')
    second = evaluate(root / 'b', [gain + (2.0 if index == 4 else -0.25) for index, gain in enumerate(GAINS)], other)
    write_gallery(root / 'a', [first, replace(first, dataset='REDS', rows=first.rows[:3])])
    write_runs_page(root / 'both.html', [root / 'a', root / 'b'], compare_runs([[first, second]]))
    write_gallery(root / 'evil #<1>', [evaluate(root / 'evil #<1>', GAINS[:6], names=EVIL)])
    return root


@pytest.fixture
def gallery(browser: Browser, folder: Path) -> Browser:
    browser.open((folder / 'a/gallery.html').as_uri())
    return browser


def names(browser: Browser) -> list[str]:
    return browser.run("[...document.querySelectorAll('#table tbody .name')].map((one) => one.textContent)")


def cells(browser: Browser, title: str) -> list[str]:
    heads = browser.run("[...document.querySelectorAll('#table thead th')].map((one) => one.textContent)")
    return browser.run(
        f"[...document.querySelectorAll('#table tbody tr')].map((r) => r.cells[{heads.index(title)}].textContent)"
    )


def sort_by(browser: Browser, title: str) -> None:
    browser.run(
        f"[...document.querySelectorAll('#table thead button')].find((one) => one.textContent === '{title}').click()"
    )


def open_first(browser: Browser, name: str) -> None:
    browser.run(f"[...document.querySelectorAll('#table .name')].find((one) => one.textContent === '{name}').click()")
    browser.wait("[...document.querySelectorAll('#stage .picture')].every((one) => one.complete && one.naturalWidth)")


def stage(browser: Browser) -> tuple[float, float, float, float]:
    box = browser.run("(({x, y, width, height}) => [x, y, width, height])(byId('stage').getBoundingClientRect())")
    return tuple(box)  # type: ignore[return-value]


def transforms(browser: Browser) -> list[str]:
    return browser.run("[...document.querySelectorAll('#stage img')].map((one) => one.style.transform)")


def screen(browser: Browser, path: Path) -> np.ndarray:
    browser.screenshot(path)
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


@pytest.mark.slow
def test_the_page_opens_from_the_disk_without_any_error(gallery):
    gallery.run("document.querySelectorAll('#table img').forEach((one) => { one.loading = 'eager'; })")
    gallery.wait("[...document.querySelectorAll('#table img')].every((one) => one.complete && one.naturalWidth > 0)")
    assert gallery.problems == []
    assert gallery.run('document.title') == 'run a'


def test_collapsed_images_stand_first(gallery):
    assert names(gallery)[:4] == ['image5', 'image1', 'image4', 'image7']
    assert cells(gallery, 'collapsed')[:3] == ['collapsed', 'collapsed', '']
    groups = gallery.run("[...document.querySelectorAll('#notable h2')].map((one) => one.textContent)")
    assert groups == ['Collapsed: 2', 'Worst of the others, by gain over the input', 'Best, by gain over the input']
    cards = gallery.run(
        "[...document.querySelectorAll('.cards')]"
        ".map((group) => [...group.querySelectorAll('.card-name')].map((one) => one.textContent))"
    )
    assert cards == [
        ['image5', 'image1'],
        ['image4', 'image7', 'image2', 'image0'],
        ['image3', 'image9', 'image6', 'image8'],
    ]
    assert gallery.run("document.querySelector('.card-score').textContent") == '25.00 → 16.00 dB (−9.00)'


def test_headers_sort_both_ways_and_say_so(gallery):
    sort_by(gallery, 'PSNR')
    assert cells(gallery, 'PSNR') == sorted(cells(gallery, 'PSNR'), key=float)
    assert gallery.run("document.querySelectorAll('[aria-sort]').length") == 1
    assert gallery.run("document.querySelector('[aria-sort]').getAttribute('aria-sort')") == 'ascending'
    assert gallery.run('document.activeElement.textContent') == 'PSNR'
    gallery.key('Enter')  # the head is a button: the keyboard works
    assert gallery.run("document.querySelector('[aria-sort]').getAttribute('aria-sort')") == 'descending'
    assert cells(gallery, 'PSNR')[0] == '28.00'
    sort_by(gallery, 'PSNR gain')
    assert cells(gallery, 'PSNR gain')[:2] == ['−9.00', '−5.00']
    sort_by(gallery, 'seconds')
    assert names(gallery)[0] == 'image0'
    sort_by(gallery, 'collapsed')
    sort_by(gallery, 'collapsed')
    assert names(gallery)[:2] == ['image1', 'image5']


def test_missing_scores_stay_last_either_way(browser, tmp_path):
    done = report([30.0, 25.0, float('inf'), 27.0])
    done = replace(done, rows=(replace(done.rows[0], scores={}), *done.rows[1:]))
    browser.open(write_gallery(tmp_path, [done]).as_uri())
    sort_by(browser, 'PSNR')
    assert cells(browser, 'PSNR') == ['25.00', '27.00', '∞', '–']
    sort_by(browser, 'PSNR')
    assert cells(browser, 'PSNR') == ['∞', '27.00', '25.00', '–']
    assert browser.problems == []


def test_the_filter_finds_names(gallery):
    def type_in(text: str) -> None:
        gallery.run(f"byId('filter').value = '{text}'; byId('filter').dispatchEvent(new Event('input'))")

    type_in('AGE3')
    assert names(gallery) == ['image3']
    assert gallery.run("byId('shown').textContent") == '1 of 10 images'
    type_in('')
    gallery.run("byId('only-collapsed').click()")
    assert names(gallery) == ['image5', 'image1']
    gallery.run("byId('only-collapsed').click(); byId('only-full').click()")
    assert sorted(names(gallery)) == ['image1', 'image3', 'image4', 'image5', 'image7', 'image9']


def test_the_divider_follows_mouse_and_keyboard(gallery, tmp_path):
    open_first(gallery, 'image3')
    x, y, width, height = stage(gallery)
    assert gallery.run('viewer.divider') == 0.5
    gallery.drag((x + width / 2, y + height / 2), (x + width * 0.75, y + height / 2))
    assert gallery.run('viewer.divider') == pytest.approx(0.75, abs=0.01)
    assert gallery.run("byId('slide').valueAsNumber") == pytest.approx(75, abs=1)
    gallery.run("byId('slide').focus()")
    for _ in range(4):
        gallery.key('ArrowLeft')
    assert gallery.run('viewer.divider') == pytest.approx(0.73, abs=0.01)
    gallery.click(x + width * 0.4, y + height / 2)
    assert gallery.run('viewer.divider') == pytest.approx(0.4, abs=0.01)


def test_left_of_the_divider_is_the_left_picture(gallery, tmp_path):
    """On the screen: the input is 15 levels darker than the output, the target 5 levels brighter."""
    open_first(gallery, 'image3')

    def means() -> tuple[float, float]:
        x, y, width, height = (round(value) for value in stage(gallery))
        shot = screen(gallery, tmp_path / 'x.png')[y + height // 4 : y + height * 3 // 4]
        left, right = (
            shot[:, x + width // 2 - 130 : x + width // 2 - 30],
            shot[:, x + width // 2 + 30 : x + width // 2 + 130],
        )
        return float(left.mean()), float(right.mean())

    input_left, output_right = means()
    gallery.run("showPair('output0', 'target')")
    gallery.wait("[...document.querySelectorAll('#stage .picture')].every((one) => one.complete)")
    output_left, target_right = means()
    gallery.run("showPair('input', 'input')")
    gallery.wait("[...document.querySelectorAll('#stage .picture')].every((one) => one.complete)")
    input_again, input_right = means()
    assert input_left == pytest.approx(input_again, abs=0.1)
    assert output_left - input_left == pytest.approx(15, abs=0.5)
    assert output_right - input_right == pytest.approx(15, abs=0.5)
    assert target_right - input_right == pytest.approx(20, abs=0.5)


def test_one_to_one_shows_the_very_pixels(browser, folder, tmp_path):
    browser.open((folder / 'a/gallery.html').as_uri(), scale=2)
    open_first(browser, 'image3')
    browser.run("showPair('output0', 'output0'); viewer.divider = 0; byId('zoom-one').click()")
    browser.run("byId('tag-left').hidden = byId('tag-right').hidden = byId('divider').hidden = true")
    browser.wait("[...document.querySelectorAll('#stage .picture')].every((one) => one.complete)")
    assert browser.run("byId('zoom').textContent") == '100 %'
    x, y = browser.run("(({x, y}) => [x + viewer.x, y + viewer.y])(byId('stage').getBoundingClientRect())")
    shot = screen(browser, tmp_path / 'x.png')[round(2 * y) :, round(2 * x) :][:60, :90]
    wanted = cv2.imread(str(next((folder / 'a').rglob('00003*_output.png'))))[..., ::-1]
    assert np.array_equal(shot, wanted)


def test_both_pictures_pan_and_zoom_as_one(gallery):
    open_first(gallery, 'image3')
    x, y, width, height = stage(gallery)
    gallery.run("byId('zoom-in').click(); byId('zoom-in').click()")
    before = gallery.run('[viewer.scale, viewer.x, viewer.y]')
    gallery.drag((x + width / 4, y + height / 2), (x + width / 4 + 50, y + height / 2 + 30))
    scale, left, top = gallery.run('[viewer.scale, viewer.x, viewer.y]')
    assert (scale, left, top) == (before[0], pytest.approx(before[1] + 50), pytest.approx(before[2] + 30))
    assert len(set(transforms(gallery))) == 1
    # the wheel keeps the pixel under the mouse where it is
    pixel = (100 - left) / scale
    gallery.wheel(x + 100, y + height / 2, -300)
    gallery.wait(f'viewer.scale > {scale} * 1.2')
    scale, left, _ = gallery.run('[viewer.scale, viewer.x, viewer.y]')
    assert (100 - left) / scale == pytest.approx(pixel, abs=0.01)
    assert len(set(transforms(gallery))) == 1


def test_side_by_side_shows_the_same_part_twice(gallery):
    open_first(gallery, 'image3')
    gallery.key('s')
    boxes = gallery.run("['pane-left', 'pane-right'].map((id) => byId(id).getBoundingClientRect().width)")
    assert boxes[0] == pytest.approx(stage(gallery)[2] / 2, abs=2)
    assert boxes[1] == pytest.approx(boxes[0], abs=2)
    assert gallery.run("byId('slide').hidden && byId('divider').hidden")
    gallery.key('1')
    assert len(set(transforms(gallery))) == 1
    assert gallery.run('viewer.scale') == 1
    gallery.key('0')
    assert gallery.run('viewer.fitted')


def test_masks_lie_over_the_pictures_on_wish(gallery, tmp_path):
    open_first(gallery, 'image3')
    before = screen(gallery, tmp_path / 'before.png').astype(int)
    gallery.key('m')
    gallery.wait(
        "[...document.querySelectorAll('.tints')].every((one) => one.complete && one.naturalWidth && !one.hidden)"
    )
    assert gallery.run("byId('masks').checked")
    x, y, width, height = (round(value) for value in stage(gallery))
    change = np.abs(screen(gallery, tmp_path / 'after.png') - before)[y + 60 : y + height - 60]
    middle = x + width // 2  # the masks of the test cover the left half of the picture
    assert change[:, middle - 150 : middle - 40].mean() > 15
    assert change[:, middle + 40 : middle + 150].mean() < 1


def test_error_maps_keep_their_colours_under_masks(gallery):
    open_first(gallery, 'image3')
    gallery.key('m')
    gallery.run("showPair('error0', 'output0')")
    assert gallery.run("[...document.querySelectorAll('.tints')].map((one) => one.hidden)") == [True, False]


def test_the_kernel_that_the_network_found_is_shown_under_its_image(browser, tmp_path):
    """Blur to the right in one image, nothing in the other; drawn large enough to see, each cell with sharp edges."""
    kernel = np.zeros((7, 9), np.float32)
    kernel[3, 4:8] = 0.1, 0.2, 0.3, 0.4
    done = evaluate(tmp_path, [1.0, 2.0], kernels={1: kernel})
    browser.open(write_gallery(tmp_path, [done]).as_uri())
    open_first(browser, 'image0')
    assert not browser.run("byId('kernel').checkVisibility()")
    open_first(browser, 'image1')
    browser.wait("document.querySelector('#kernel img').complete && byId('kernel').checkVisibility()")
    assert 'lur kernel' in browser.run("byId('kernel').innerText")
    assert browser.run("document.querySelector('#kernel img').getBoundingClientRect().width") >= 90
    x, y, width, height = browser.run(
        '(({x, y, width, height}) => [x, y, width, height])'
        "(document.querySelector('#kernel img').getBoundingClientRect())"
    )
    shot = screen(browser, tmp_path / 'x.png')[..., 0].astype(int)
    rows = (y + height * (np.arange(7) + 0.5) / 7).astype(int)
    columns = (x + width * (np.arange(9) + 0.5) / 9).astype(int)
    assert np.abs(shot[np.ix_(rows, columns)] - 255 * kernel / kernel.max()).max() <= 2
    browser.key('p')
    browser.wait("!byId('kernel').checkVisibility()")
    assert browser.problems == []


def test_the_error_map_comes_with_its_scale(gallery):
    open_first(gallery, 'image3')
    assert gallery.run("byId('legend').hidden")
    gallery.key('e')
    assert gallery.run("byId('left').value") == 'error0'
    assert not gallery.run("byId('legend').hidden")
    assert '≥ 32 of 255' in gallery.run("byId('legend-end').textContent")
    gallery.key('e')
    assert gallery.run("byId('left').value") == 'input'


def test_images_without_full_images_show_thumbnails_and_say_so(gallery):
    open_first(gallery, 'image0')
    assert not gallery.run("byId('small').hidden")
    assert gallery.run("byId('masks-choice').hidden")
    open_first(gallery, 'image3')
    assert gallery.run("byId('small').hidden")


def test_the_keyboard_goes_through_the_images(gallery):
    open_first(gallery, 'image5')
    assert gallery.run('document.activeElement.id') == 'stage'
    assert gallery.run("byId('viewer-place').textContent").startswith('1 of 10')
    gallery.key('n')
    assert gallery.run("byId('viewer-name').textContent") == 'image1'
    assert gallery.run('location.hash') == '#d=0&i=1'
    gallery.key('p')
    gallery.key('p')
    assert gallery.run("byId('viewer-name').textContent") == 'image5'
    gallery.run("showPair('output0', 'target')")
    gallery.key('n')  # what was looked at stays chosen
    assert gallery.run("[byId('left').value, byId('right').value]") == ['output0', 'target']
    gallery.key('Escape')
    gallery.wait("!byId('viewer').open && location.hash === ''")


def test_each_image_is_fitted_and_none_needs_pictures(browser, tmp_path):
    done = report([25.0, 26.0])
    done = replace(done, rows=(done.rows[0], replace(done.rows[1], height=400, width=100)))
    browser.open(write_gallery(tmp_path, [done]).as_uri())
    browser.run("document.querySelector('#table .name').click()")
    for height in (4, 400):
        assert browser.run("viewer.scale * viewer.row.height / byId('stage').clientHeight") == pytest.approx(1)
        assert browser.run('viewer.row.height') == height
        browser.key('n')
    assert browser.problems == []


def test_an_address_leads_to_an_image(browser, folder):
    browser.open((folder / 'a/gallery.html').as_uri() + '#d=1&i=2')
    assert browser.run("byId('viewer-name').textContent") == 'image2'
    assert browser.run("byId('set').selectedOptions[0].textContent") == 'REDS'
    browser.open((folder / 'a/gallery.html').as_uri() + '#d=7&i=x')
    assert not browser.run("byId('viewer').open")
    assert browser.problems == []


def test_data_sets_are_chosen(gallery):
    gallery.run("byId('set').value = 1; byId('set').dispatchEvent(new Event('change'))")
    assert sorted(names(gallery)) == ['image0', 'image1', 'image2']


@pytest.mark.parametrize('page', ['a/gallery.html', 'both.html'])
@pytest.mark.parametrize('size', [(1280, 900), (390, 844)], ids=['laptop', 'phone'])
def test_tables_are_whole_on_a_laptop_and_keep_their_names_in_sight_on_a_phone(browser, folder, page, size):
    browser.open((folder / page).as_uri(), *size)
    assert browser.run('document.documentElement.scrollWidth') <= size[0]
    scrolled = "[...document.querySelectorAll('main .scroll')]"
    assert browser.run(f'{scrolled}.every((one) => one.tabIndex === 0 && one.ariaLabel)')
    if size[0] == 1280:
        assert browser.run(f'{scrolled}.every((one) => one.scrollWidth <= one.clientWidth)')
        return
    browser.run(f'{scrolled}.forEach((one) => {{ one.scrollLeft = 1000; }})')
    left = browser.run(
        f"{scrolled}.map((one) => one.querySelector('tbody .name') ?? one.querySelector('tbody th'))"
        '.filter((one) => one).map((one) => one.getBoundingClientRect().left)'
    )
    assert len(left) >= 2 and all(0 <= one < 30 for one in left)


def test_fingers_move_the_divider_and_pinch(browser, folder):
    browser.open((folder / 'a/gallery.html').as_uri(), 390, 844, scale=2)
    assert browser.run('document.documentElement.scrollWidth') <= 390
    open_first(browser, 'image3')
    x, y, width, height = stage(browser)
    assert height > 300
    middle = y + height / 2
    browser.touch([(x + width / 2, middle)], [(x + width / 3, middle)], [(x + width / 4, middle)])
    assert browser.run('viewer.divider') == pytest.approx(0.25, abs=0.02)
    before = browser.run('viewer.scale')
    browser.touch(
        [(x + 150, middle), (x + 200, middle)],
        [(x + 125, middle), (x + 225, middle)],
        [(x + 100, middle), (x + 250, middle)],
    )
    assert browser.run('viewer.scale') == pytest.approx(3 * before, rel=0.05)


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_text_stands_out_in_both_themes(browser, folder, scheme):
    """Contrast of 4.5 and more for every piece of text (WCAG AA)."""
    browser.open((folder / 'a/gallery.html').as_uri(), scheme=scheme)
    assert browser.run('document.documentElement.dataset.theme') == scheme
    open_first(browser, 'image5')
    colours = browser.run("""[...document.querySelectorAll('main *, header *, dialog *')]
      .filter((one) => one.checkVisibility()
        && [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
      .map((one) => { let under = one; const clear = 'rgba(0, 0, 0, 0)';
        while (under && getComputedStyle(under).backgroundColor === clear) under = under.parentElement;
        const ground = getComputedStyle(under ?? document.body).backgroundColor;
        return [getComputedStyle(one).color, ground, one.textContent.trim().slice(0, 40)]; })""")
    assert len(colours) > 100
    for text, ground, words in colours:
        assert contrast(text, ground) >= 4.5, (words, text, ground)
    browser.run("byId('theme').click()")
    assert browser.run('document.documentElement.dataset.theme') != scheme


def contrast(first: str, second: str) -> float:
    def luminance(colour: str) -> float:
        channels = [int(part) / 255 for part in re.findall(r'\d+', colour)[:3]]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_every_control_has_a_name(gallery):
    open_first(gallery, 'image3')
    nameless = gallery.run("""[...document.querySelectorAll('button, select, input')].filter((one) =>
      !one.textContent.trim() && !one.getAttribute('aria-label') && !one.labels?.length).map((one) => one.id)""")
    assert nameless == []
    assert gallery.run("[...document.querySelectorAll('#stage .picture')].every((one) => one.alt.includes('image3'))")


def test_hostile_names_are_shown_as_they_are(browser, folder):
    browser.open((folder / 'evil #<1>/gallery.html').as_uri())
    assert sorted(names(browser)) == sorted(EVIL)
    browser.run("document.querySelectorAll('#table img').forEach((one) => { one.loading = 'eager'; })")
    browser.wait("[...document.querySelectorAll('#table img')].every((one) => one.complete && one.naturalWidth > 0)")
    browser.run("document.querySelector('#table .name').click()")
    for _ in EVIL:
        browser.wait(
            "[...document.querySelectorAll('#stage .picture')].every((one) => one.complete && one.naturalWidth)"
        )
        assert browser.run("byId('viewer-name').textContent") in EVIL
        browser.key('n')
    assert browser.run('document.title') == 'run a'
    assert browser.run("document.querySelectorAll('script').length") == 2
    assert browser.problems == []


def test_the_content_policy_stops_what_would_get_through(gallery):
    gallery.run("""document.body.insertAdjacentHTML('beforeend', '<img src=x onerror="document.title=3">');
      document.body.append(Object.assign(document.createElement('script'), { textContent: 'document.title = 4' }))""")
    gallery.wait("document.querySelector('body > img').complete")
    assert gallery.run('new Promise((done) => setTimeout(() => done(document.title), 100))') == 'run a'
    assert any('Content Security Policy' in problem for problem in gallery.problems)


def test_two_runs_are_compared(browser, folder):
    browser.open((folder / 'both.html').as_uri())
    assert names(browser)[:3] == ['image1', 'image5', 'image0']  # collapsed first, then by the difference
    sort_by(browser, 'PSNR difference')
    sort_by(browser, 'PSNR difference')
    assert names(browser)[0] == 'image4'
    assert cells(browser, 'PSNR difference') == ['+2.00', *['−0.25'] * 9]
    assert cells(browser, 'PSNR of run b')[0] == '26.50'
    assert '−0.25' not in browser.run("document.querySelector('main section').textContent")
    assert '95 % interval' in browser.run("document.querySelector('main section').textContent")
    open_first(browser, 'image4')
    assert browser.run("[byId('left').value, byId('right').value]") == ['output0', 'output1']
    sources = browser.run("[...document.querySelectorAll('#stage .picture')].map((one) => one.getAttribute('src'))")
    assert sources == ['a/pictures/GoPro/00004_image4_output.png', 'b/pictures/GoPro/00004_image4_output.png']
    assert browser.run("[...byId('left').options].map((one) => one.textContent)") == [
        'input',
        'output of run a',
        'output of run b',
        'target',
        'error of run a',
        'error of run b',
    ]
    assert len(browser.run("[...document.querySelectorAll('#scores tbody tr')].map((one) => one.textContent)")) == 3
    assert browser.problems == []


@pytest.fixture(scope='module')
def four_runs(tmp_path_factory: Any) -> Path:
    """The page of four runs on two data sets of six scenes, one run with a long name and one with a collapse."""
    root: Path = tmp_path_factory.mktemp('four')
    pictures, reports = [f'GOPR{380 + scene}_11_00/{frame:06d}' for scene in range(6) for frame in range(2)], []
    for place, name in enumerate(('NAFNet', 'CAT', 'MAP_' + 'x' * 50, 'SAMDeblur-with-a-long-name')):
        gains = [1 + np.sin(index) + 0.1 * place * np.cos(index) for index in range(12)]
        gains[4] -= 9.0 if place == 1 else 0.0
        few = KeptImages(best=1, worst=1, others=0)
        reports.append(evaluate(root / f'run {place}', gains, replace(FACTS, run=name), few, pictures))
    both = compare_runs([reports, [replace(report, dataset='REDS') for report in reports]], ['psnr', 'mcr'])
    return write_runs_page(root / 'four.html', [root / f'run {place}' for place in range(4)], both)


@pytest.mark.parametrize('size', [(1280, 900), (390, 844)], ids=['laptop', 'phone'])
def test_the_page_of_four_runs_fits_and_shows_its_charts(browser, four_runs, size):
    browser.open(four_runs.as_uri(), *size)
    assert browser.run('document.documentElement.scrollWidth') <= size[0]
    charts = "[...document.querySelectorAll('main .scroll svg')]"
    shown = browser.run(f'{charts}.map((one) => [one.getBoundingClientRect().width, one.textContent])')
    assert len(shown) == 2 and all(width >= 300 and 'SAMDeblur-with-a-long-name' in text for width, text in shown)
    tables = 'main .scroll table:not(#table)'
    broken = browser.run(
        f"[...document.querySelectorAll('{tables} thead th')].filter((one) => !/\\s|x{{50}}/.test(one.textContent) &&"
        ' one.textContent && (() => { const range = document.createRange(); range.selectNodeContents(one);'
        ' return range.getClientRects().length > 1; })()).map((one) => one.textContent)'
    )
    assert broken == []  # no head breaks within a word
    if size[0] == 1280:
        widths = f"[...document.querySelectorAll('{tables}')].map((one) => one.parentNode)"
        assert browser.run(f'{widths}.every((one) => one.scrollWidth <= one.clientWidth)')
    browser.run("document.querySelector('#table .name').click()")
    options = browser.run("[...byId('right').options].map((one) => one.textContent)")
    assert len([text for text in options if text.startswith('output of ')]) == 4
    browser.run("byId('close').click()")
    browser.run("byId('set').value = '1'; byId('set').dispatchEvent(new Event('change'))")
    assert len(names(browser)) == 12
    assert browser.problems == []


@pytest.mark.parametrize(
    ('changes', 'groups'),
    [
        ([2.0, -0.25, 0.0, -1.0], {'losses': ['image3', 'image1'], 'gains': ['image0']}),
        ([2.0, 0.5, 0.0, 1.0], {'gains': ['image0', 'image3', 'image1']}),
        ([0.0, 0.0, 0.0, 0.0], {}),
    ],
)
def test_largest_losses_are_losses_and_largest_gains_are_gains(browser, tmp_path, changes, groups):
    first = report([26.0] * 4)
    second = report([26.0 + change for change in changes], replace(FACTS, run='run b'))
    page = write_runs_page(tmp_path / 'both.html', [tmp_path] * 2, compare_runs([[first, second]]))
    browser.open(page.as_uri())
    shown = browser.run(
        "[...document.querySelectorAll('#notable > div')].map((group) => [group.querySelector('h2').textContent,"
        " [...group.querySelectorAll('.card-name')].map((one) => one.textContent)])"
    )
    assert shown == [[f'Largest {what}, run b against run a', images] for what, images in groups.items()]


@pytest.mark.slow
def test_thousands_of_images_stay_quick(browser, tmp_path):
    done = report([25.0 + (index * 7919 % 3000) / 1000 for index in range(3000)])
    browser.open(write_gallery(tmp_path, [done]).as_uri())
    sort_by(browser, 'PSNR')
    assert len(names(browser)) == 3000
    assert cells(browser, 'PSNR')[0] == '25.00'
