"""HEIC, which phones write: read with pillow-heif, written as JPEG or PNG; without it refused with what installs it."""

from __future__ import annotations

import io
import struct
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageCms

from basicsr.images.photo import load_photo
from basicsr.images.photo_files import result_suffix, save_photo
from basicsr.photos.jobs import Inputs, list_inputs, plan
from basicsr.utils.errors import ImageFileError
from tests.helpers.heic import IMAGE, WHOLE_BOXES, heic

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()


def orientation(value):
    exif = Image.Exif()
    exif[271], exif[274] = 'Maker', value
    return exif.tobytes()


def test_a_photo_becomes_a_jpeg_with_all_that_it_says(tmp_path):
    path = heic(tmp_path / 'a.heic', exif=orientation(6), icc_profile=PROFILE, icc_profile_type='prof')
    photo = load_photo(path)
    assert np.abs(photo.pixels.astype(int) - np.rot90(IMAGE, -1)).mean() < 4  # pillow-heif stores how to turn it
    assert result_suffix(path) == '.jpg'
    save_photo(tmp_path / 'b.jpg', replace(photo, pixels=255 - photo.pixels))
    with Image.open(tmp_path / 'b.jpg') as image:
        assert image.size == (64, 96) and image.getexif()[271] == 'Maker'
        assert image.getexif().get(274, 1) == 1  # it stands upright already
        assert image.info['icc_profile'] == PROFILE


@pytest.mark.parametrize('mode', ['RGB;16', 'RGBA', 'L', 'L;16'])
def test_depth_gray_and_transparency_choose_the_format(mode, tmp_path):
    deep = mode.endswith('16')
    pixels = IMAGE[..., :1] if mode.startswith('L') else np.dstack([IMAGE, IMAGE[..., :1]]) if mode == 'RGBA' else IMAGE
    path = heic(tmp_path / 'a.heif', pixels.astype(np.uint16) * 257 if deep else pixels, mode)
    photo = load_photo(path)
    assert photo.pixels.dtype == (np.uint16 if deep else np.uint8)
    assert photo.pixels.shape == (64, 96, 1 if mode.startswith('L') else 3)
    assert np.abs(photo.pixels / (257 if deep else 1) - (pixels[..., :3])).mean() < 4
    assert (photo.alpha is None) == (mode != 'RGBA')
    assert result_suffix(path) == ('.png' if deep or mode == 'RGBA' else '.jpg')
    save_photo(tmp_path / f'b{result_suffix(path)}', photo)
    again = load_photo(tmp_path / f'b{result_suffix(path)}')
    assert again.pixels.dtype == photo.pixels.dtype and (again.alpha is None) == (photo.alpha is None)


@pytest.mark.parametrize(('primaries', 'transfer', 'suffix'), [(12, 13, '.jpg'), (9, 16, '.png'), (9, 18, '.png')])
def test_colours_that_only_code_points_tell_are_told_on(primaries, transfer, suffix, tmp_path):
    deep = IMAGE.astype(np.uint16) * 257
    pixels, mode = (IMAGE, 'RGB') if suffix == '.jpg' else (deep, 'RGB;16')
    path = heic(tmp_path / 'a.heic', pixels, mode, color_primaries=primaries, transfer_characteristics=transfer)
    assert result_suffix(path) == suffix
    save_photo(tmp_path / f'b{suffix}', load_photo(path))
    content = (tmp_path / f'b{suffix}').read_bytes()
    if suffix == '.png':
        assert content[content.index(b'cICP') + 4 :][:4] == bytes([primaries, transfer, 0, 1])
    else:
        with Image.open(io.BytesIO(content)) as image:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info['icc_profile']))
        assert profile.profile.red_colorant[0][0] == pytest.approx(0.515, abs=0.003)  # X of Display P3, for D50


def test_the_command_plans_for_it(tmp_path):
    path = heic(tmp_path / 'IMG_1.HEIC')
    inputs = list_inputs([str(tmp_path)])
    assert inputs.files == [path]
    assert plan(inputs, tmp_path / 'out', '_x')[0].output == tmp_path / 'out' / 'IMG_1_x.jpg'
    assert plan(Inputs([tmp_path / 'gone.heic']), tmp_path, '_x')[0].output == tmp_path / 'gone_x.jpg'


def test_without_the_extra_it_is_refused_with_what_installs_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'pillow_heif', None)
    (tmp_path / 'a.heic').write_bytes(WHOLE_BOXES)
    with pytest.raises(ImageFileError, match=r'a\.heic.*\[heic\]') as caught:
        load_photo(tmp_path / 'a.heic')
    assert '[heic]' in str(caught.value)


def test_damaged_files_are_named(tmp_path):
    whole = heic(tmp_path / 'whole.heic').read_bytes()
    bad = {'cut': whole[: len(whole) // 2], 'head': whole[:30], 'boxes': WHOLE_BOXES}
    for name, content in bad.items():
        (tmp_path / f'{name}.heic').write_bytes(content)
        with pytest.raises(ImageFileError, match=rf'{name}\.heic'):
            load_photo(tmp_path / f'{name}.heic')
    place = whole.index(b'ispe')
    lying = whole[: place + 8] + struct.pack('>II', 100_000, 100_000) + whole[place + 16 :]
    (tmp_path / 'lying.heic').write_bytes(lying)
    with pytest.raises(ImageFileError, match=r'lying\.heic'):
        load_photo(tmp_path / 'lying.heic')
