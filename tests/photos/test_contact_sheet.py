"""The contact sheet of a run of basicsr/deblur.py: rows, windows of most change, what it may not replace."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from basicsr.images import lettering
from basicsr.images.contact_sheet import sheet_row
from basicsr.images.files import imread
from basicsr.photos import sheet as photo_sheet
from basicsr.photos.sheet import WIDTH, PhotoSheet, most_changed, sheet_paths
from basicsr.utils.errors import DataError, OptionError
from tests.helpers.deblur_commands import deblur, names

GREY = np.full((400, 560, 3), 90, np.uint8)


def changed_at(top: int, left: int) -> np.ndarray:
    image = GREY.copy()
    image[top : top + 20, left : left + 20] = (250, 20, 20)
    return image


def test_a_row_shows_photo_and_result_whole_and_where_they_differ_most(tmp_path: Path) -> None:
    sheet = PhotoSheet(tmp_path / 'sheet.png')
    sheet.add('first.jpg', GREY, changed_at(300, 500))
    sheet.add('gray', GREY[:200, :, :1].astype(np.uint16) << 8, GREY[:200, :, :1].astype(np.uint16) << 8)
    sheet.save()
    shown = imread(tmp_path / 'sheet.png')
    header = 22
    assert shown.shape == (2 * (header + WIDTH), 4 * WIDTH, 3)  # the details are the highest panels
    assert (shown[header + 30 : header + 190, : WIDTH - 40] == 90).all()
    half = shown[header : header + 200, WIDTH : 2 * WIDTH]
    assert tuple(half[155, 255]) == (250, 20, 20)  # at half its size
    detail = shown[header : header + WIDTH, 3 * WIDTH : 4 * WIDTH]
    assert ((detail == (250, 20, 20)).all(2)).sum() == 20 * 20  # pixel by pixel
    assert (shown[header : header + WIDTH, 2 * WIDTH : 3 * WIDTH][40:] == 90).all()
    assert (shown[2 * header + WIDTH + 30 : 2 * header + WIDTH + 100, : WIDTH - 40] == 90).all()


@pytest.mark.parametrize(('top', 'left'), [(0, 0), (380, 540), (200, 3)])
def test_the_window_of_most_change_holds_it_and_lies_in_the_picture(top: int, left: int) -> None:
    rows, columns = most_changed(GREY, changed_at(top, left), 100)
    assert rows.start <= top and top + 20 <= rows.stop <= 400 and rows.stop - rows.start == 100
    assert columns.start <= left and left + 20 <= columns.stop <= 560 and columns.stop - columns.start == 100


def test_small_and_equal_pictures_have_a_window() -> None:
    rows, columns = most_changed(GREY[:7, :30], GREY[:7, :30], 100)
    assert (rows, columns) == (slice(0, 7), slice(0, 7))


def test_many_photos_go_to_several_sheets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photo_sheet, 'MOST', 2)
    for number in (2, 3, 5):
        folder = tmp_path / str(number)
        folder.mkdir()
        sheet = PhotoSheet(folder / 'sheet.jpg')
        for index in range(number):
            sheet.add(f'{index}.png', GREY, GREY)
        sheet.save()
        expected = sheet_paths(folder / 'sheet.jpg', number)
        assert sorted(folder.iterdir()) == sorted(expected) and len(expected) == -(-number // 2)
        heights = [imread(path).shape[0] for path in expected]
        rows = [2] * (number // 2) + [1] * (number % 2)
        assert [height / heights[0] for height in heights] == [row / 2 for row in rows]
    PhotoSheet(tmp_path / 'empty.jpg').save()
    assert not (tmp_path / 'empty.jpg').exists()


@pytest.mark.parametrize('size', [(5000, 3), (3, 5000), (900, 600), (1, 1), (4000, 1000)])
def test_no_row_is_higher_than_a_jpeg_of_a_hundred_can_hold(size: tuple[int, int]) -> None:
    image = np.full((*size, 3), 90, np.uint8)
    row = sheet_row('x', [('photo', image), ('result', image)], WIDTH)
    assert row.shape[1] == 2 * WIDTH and row.shape[0] * photo_sheet.MOST < 65_500
    assert (row == 90).any()


def test_a_sheet_of_narrow_and_tall_photos_is_written(tmp_path: Path) -> None:
    sheet = PhotoSheet(tmp_path / 'sheet.jpg')
    tall = np.full((5000, 3, 3), 90, np.uint8)
    for index in range(photo_sheet.MOST):
        sheet.add(f'{index}.png', tall, tall)
    sheet.save()
    assert imread(tmp_path / 'sheet.jpg').shape[1] == 4 * WIDTH


def test_any_file_name_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Letters differ from each other, and nothing becomes a question mark; with the fonts of OpenCV 5 and without."""

    def drawn(text: str) -> np.ndarray:
        return sheet_row(text, [('', GREY)], WIDTH)[:22]

    names_ = ['Grüße été', 'a b c', '日本.jpg', '中国.jpg', 'Привет', 'صورة', '😀.png', '🎉.png', 'Ç', '???']
    for engine in ('whatever OpenCV is there', 'an older one'):
        if engine == 'an older one':
            monkeypatch.delattr(cv2, 'FontFace', raising=False)
        lettering._drawable.cache_clear()
        images = [drawn(name) for name in names_]
        for index, image in enumerate(images):
            assert (image < 128).any(), names_[index]
            assert not any(np.array_equal(image, other) for other in images[:index]), names_[index]
        assert lettering.printable('Grüße') in ('Grüße', 'Grusse') and '1F600' in lettering.printable('😀')
    lettering._drawable.cache_clear()


def test_names_that_are_too_long_keep_both_ends() -> None:
    text = 'holiday ' * 30 + 'last.jpg'
    short = lettering.shortened(text, 300, 13)
    assert short.startswith('holiday') and short.endswith('.jpg') and lettering.text_width(short, 13) <= 300
    assert lettering.shortened('a.jpg', 300, 13) == 'a.jpg'


def test_the_command_draws_one(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / 'photos/broken.jpg').write_bytes(b'no photo')
    assert deblur('-i', 'photos', '-o', 'out', '--contact-sheet', 'sheets/all.jpg') == 1
    assert names('out') == ['a_deblurred.jpg', 'b_deblurred.PNG', 'c_deblurred.tif']
    sheet = imread(Path('sheets/all.jpg'))
    assert sheet.shape[1] == 4 * WIDTH and sheet.shape[0] > 3 * 22 + 3 * 100
    before = Path('sheets/all.jpg').read_bytes()
    with pytest.raises(DataError, match=r'all\.jpg .*--overwrite'):
        deblur('-i', 'photos/a.jpg', '-o', 'more', '--contact-sheet', 'sheets/all.jpg')
    assert not Path('more').exists() and Path('sheets/all.jpg').read_bytes() == before
    assert deblur('-i', 'photos/a.jpg', '-o', 'more', '--contact-sheet', 'sheets/all.jpg', '--overwrite') == 0
    assert imread(Path('sheets/all.jpg')).shape[0] < sheet.shape[0]
    with pytest.raises(DataError, match=r'photos/a\.jpg'):
        deblur('-i', 'photos/a.jpg', '-o', 'x', '--contact-sheet', 'photos/a.jpg', '--overwrite')
    with pytest.raises(OptionError, match=r'sheet\.txt: .*\.jpg'):
        deblur('-i', 'photos/a.jpg', '-o', 'x', '--contact-sheet', 'sheet.txt')


def test_an_interrupted_run_has_a_sheet_of_what_was_done(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from basicsr.photos import runs as photo_runs

    load = photo_runs.load_photo

    def stop_at_b(path: Path, *limit: int):
        if path.name == 'b.PNG':
            raise KeyboardInterrupt
        return load(path, *limit)

    monkeypatch.setattr(photo_runs, 'load_photo', stop_at_b)
    with pytest.raises(KeyboardInterrupt):
        deblur('-i', 'photos', '-o', 'out', '--contact-sheet', 'sheet.jpg')
    assert cv2.imread('sheet.jpg').shape[1] == 4 * WIDTH
    assert names('out') == ['a_deblurred.jpg']
