"""Training crops: the original's windows and names, images of any size, masks cut as their images."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from basicsr.images.files import imread
from basicsr.masks import gray_from_masks, masks_from_gray, masks_from_label_map, read_masks, write_label_map
from basicsr.preparation.stages.crops import crop_image, crop_name, crop_windows
from basicsr.preparation.stages.group import group_masks
from basicsr.utils.errors import ArgumentError, DataError, ImageFileError


@pytest.mark.vectors
def test_crop_windows_are_the_originals(vector):
    loaded = vector('sam_deblur', 'crop_windows')
    assert len(loaded.arrays) == 4
    for height, width in loaded.meta['sizes']:
        windows = crop_windows(height, width)
        assert [list(window[:2]) for window in windows] == loaded[f'out/{height}x{width}'].tolist()
        assert {window[2:] for window in windows} == {(512, 512)}


@pytest.mark.parametrize(
    ('height', 'width', 'expected'),
    [
        (100, 60, [(0, 0, 100, 60)]),
        (100, 520, [(0, 0, 100, 512), (0, 8, 100, 512)]),
        (513, 512, [(0, 0, 512, 512), (1, 0, 512, 512)]),
        (768, 512, [(0, 0, 512, 512), (256, 0, 512, 512)]),
    ],
)
def test_windows_of_other_sizes(height, width, expected):
    assert crop_windows(height, width) == expected


def test_a_threshold_leaves_rows_out():
    assert [window[0] for window in crop_windows(800, 512, threshold=31)] == [0, 256, 288]
    assert [window[0] for window in crop_windows(800, 512, threshold=32)] == [0, 256]


def test_senseless_sizes_are_refused():
    for wrong in ({'size': 0}, {'step': 0}, {'threshold': -1}):
        with pytest.raises(ArgumentError, match=r'at least 1 .*crops'):
            crop_windows(600, 600, **wrong)


@pytest.mark.parametrize('stem', ['GOPR0372_07_00-000047', 'a.x2', 'x4 x8', 'x3', 'grün.1'])
def test_crops_keep_the_whole_name_and_the_pixels(tmp_path, stem):
    image = np.random.default_rng(0).integers(0, 256, (70, 100, 3), np.uint8)
    cv2.imwrite(str(tmp_path / 'plain.png'), image)
    (tmp_path / 'plain.png').rename(tmp_path / f'{stem}.png')
    assert crop_image(tmp_path / f'{stem}.png', tmp_path / 'crops', 64, 32) == (6, 0)
    windows = crop_windows(70, 100, 64, 32)
    assert [(top, left) for top, left, _, _ in windows] == [(0, 0), (0, 32), (0, 36), (6, 0), (6, 32), (6, 36)]
    files = sorted(path.name for path in (tmp_path / 'crops').iterdir())
    assert files == [f'{stem}_s00{number}.png' for number in range(1, 7)]
    for number, (top, left, height, width) in enumerate(windows):
        crop = imread(tmp_path / 'crops' / f'{crop_name(stem, number)}.png')
        np.testing.assert_array_equal(crop[:, :, ::-1], image[top : top + height, left : left + width])


def test_gray_and_16_bit_images_stay_what_they_are(tmp_path):
    for name, kind, channels in (('g8', np.uint8, 1), ('c16', np.uint16, 3)):
        image = np.random.default_rng(0).integers(0, np.iinfo(kind).max, (40, 50, channels), kind)
        cv2.imwrite(str(tmp_path / f'{name}.png'), image)
        crop_image(tmp_path / f'{name}.png', tmp_path / 'crops', 64, 32)
        crop = imread(tmp_path / 'crops' / f'{name}_s001.png')
        assert crop.dtype == kind
        np.testing.assert_array_equal(crop[:, :, ::-1] if channels == 3 else crop, image)


def test_finished_crops_are_kept_and_broken_ones_made_again(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.random.default_rng(0).integers(0, 256, (70, 100, 3), np.uint8))
    job = tmp_path / 'a.png', tmp_path / 'crops', 64, 32
    crop_image(*job)
    whole = {path.name: path.read_bytes() for path in (tmp_path / 'crops').iterdir()}
    (tmp_path / 'crops' / 'a_s002.png').write_bytes(whole['a_s002.png'][:-20])
    (tmp_path / 'crops' / 'a_s003.png').write_bytes(b'')
    cv2.imwrite(str(tmp_path / 'crops' / 'a_s004.png'), np.zeros((64, 63, 3), np.uint8))
    (tmp_path / 'crops' / 'a_s005.png').unlink()
    assert crop_image(*job) == (4, 2)
    assert {path.name: path.read_bytes() for path in (tmp_path / 'crops').iterdir()} == whole
    assert crop_image(*job) == (0, 6)


def test_an_image_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / 'a.png').write_bytes(b'\x89PNG nothing')
    with pytest.raises(ImageFileError, match=r'a\.png'):
        crop_image(tmp_path / 'a.png', tmp_path / 'crops', 64, 32)


@pytest.fixture
def masks():
    """Three masks, two of which overlap, and a part without any."""
    planes = np.zeros((3, 70, 100), bool)
    planes[0, :40, :60] = True
    planes[1, 20:60, 30:90] = True
    planes[2, 65:, :20] = True
    return planes


@pytest.mark.parametrize('original', [False, True])
def test_masks_are_cut_by_the_windows_of_the_images(tmp_path, masks, original):
    labels = np.zeros((2, 70, 100), np.int32)
    labels[0][masks[0]], labels[0][masks[2]], labels[1][masks[1]] = 1, 3, 2
    write_label_map(tmp_path / 'a.png', labels, 'stamp')
    job = tmp_path / 'a.png', tmp_path / 'regions', tmp_path / 'gray', original, (64, 32)
    assert group_masks(*job) == (12, 0)
    assert group_masks(*job) == (0, 12)
    gray = gray_from_masks(masks, 'reference' if original else 'fixed')
    for number, (top, left, height, width) in enumerate(crop_windows(70, 100, 64, 32)):
        window = slice(top, top + height), slice(left, left + width)
        name = crop_name('a', number)
        np.testing.assert_array_equal(imread(tmp_path / 'gray' / f'{name}.png')[:, :, 0], gray[window])
        if original:
            with np.load(tmp_path / 'regions' / f'{name}.npz') as file:
                assert file['masks'].dtype == bool
                np.testing.assert_array_equal(file['masks'], masks_from_gray(gray[window]))
        else:
            found = masks_from_label_map(read_masks(tmp_path / 'regions' / f'{name}.png', (height, width)))[:, 0]
            cut = masks[(slice(None), *window)]
            np.testing.assert_array_equal(found, cut[cut.any((1, 2))])


def test_a_crop_without_masks_is_an_empty_label_map(tmp_path):
    labels = np.zeros((3, 64, 128), np.int32)
    labels[:, :, :10] = np.arange(1, 4)[:, None, None]
    write_label_map(tmp_path / 'a.png', labels)
    group_masks(tmp_path / 'a.png', tmp_path / 'regions', tmp_path / 'gray', False, (64, 64))
    assert read_masks(tmp_path / 'regions' / 'a_s001.png').shape == (3, 64, 64)
    empty = read_masks(tmp_path / 'regions' / 'a_s002.png')
    assert empty.shape == (1, 64, 64) and not empty.any()


def test_a_name_that_is_too_long_for_a_crop_is_named(tmp_path):
    name = 'x' * 248
    cv2.imwrite(str(tmp_path / f'{name}.png'), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(DataError, match=r'x_s001\.png: .*too long'):
        crop_image(tmp_path / f'{name}.png', tmp_path / 'crops', 64, 32)
    assert not list((tmp_path / 'crops').iterdir())
