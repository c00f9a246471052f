"""The contact sheet of a run of basicsr/deblur.py: rows, windows of most change, what it may not replace."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from basicsr.models import photo_sheet
from basicsr.models.photo_sheet import WIDTH, PhotoSheet, most_changed
from basicsr.utils.errors import DataError, OptionError
from basicsr.utils.image import imread
from tests.test_deblur_command import deblur, names, place  # noqa: F401 - a fixture

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


def test_photos_beyond_the_last_row_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photo_sheet, 'MOST', 2)
    heights = []
    for number in (2, 3, 9):
        sheet = PhotoSheet(tmp_path / 'sheet.jpg')
        for index in range(number):
            sheet.add(f'{index}.png', GREY, GREY)
        sheet.save()
        heights.append(imread(tmp_path / 'sheet.jpg').shape[0])
    assert heights[0] < heights[1] == heights[2] < heights[0] + 40
    PhotoSheet(tmp_path / 'empty.jpg').save()
    assert not (tmp_path / 'empty.jpg').exists()


def test_the_command_draws_one(place: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    (place / 'photos/broken.jpg').write_bytes(b'no photo')
    assert deblur('-i', 'photos', '-o', 'out', '--contact-sheet', 'sheets/all.jpg') == 1
    assert names('out') == ['a_deblurred.jpg', 'b_deblurred.PNG', 'c_deblurred.tif']
    sheet = imread(Path('sheets/all.jpg'))
    assert sheet.shape[1] == 4 * WIDTH and sheet.shape[0] > 3 * 22 + 3 * 100
    before = Path('sheets/all.jpg').read_bytes()
    with pytest.raises(DataError, match=r'all\.jpg is there already; --overwrite'):
        deblur('-i', 'photos/a.jpg', '-o', 'more', '--contact-sheet', 'sheets/all.jpg')
    assert not Path('more').exists() and Path('sheets/all.jpg').read_bytes() == before
    assert deblur('-i', 'photos/a.jpg', '-o', 'more', '--contact-sheet', 'sheets/all.jpg', '--overwrite') == 0
    assert imread(Path('sheets/all.jpg')).shape[0] < sheet.shape[0]
    with pytest.raises(DataError, match='is one of the photos'):
        deblur('-i', 'photos/a.jpg', '-o', 'x', '--contact-sheet', 'photos/a.jpg', '--overwrite')
    with pytest.raises(OptionError, match=r'sheet\.txt: a contact sheet is a \.jpg'):
        deblur('-i', 'photos/a.jpg', '-o', 'x', '--contact-sheet', 'sheet.txt')


def test_an_interrupted_run_has_a_sheet_of_what_was_done(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    from basicsr.models import photo_runs

    load = photo_runs.load_photo

    def stop_at_b(path: Path):
        if path.name == 'b.PNG':
            raise KeyboardInterrupt
        return load(path)

    monkeypatch.setattr(photo_runs, 'load_photo', stop_at_b)
    with pytest.raises(KeyboardInterrupt):
        deblur('-i', 'photos', '-o', 'out', '--contact-sheet', 'sheet.jpg')
    assert cv2.imread('sheet.jpg').shape[1] == 4 * WIDTH
    assert names('out') == ['a_deblurred.jpg']
