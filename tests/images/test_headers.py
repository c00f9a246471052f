"""One reader decides whether a file is whole: photos, training and sizes agree, whatever follows the image."""

from __future__ import annotations

import io
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, features

from basicsr.images.files import image_size, imread
from basicsr.images.photo import load_photo
from basicsr.masks.generator import build_generator
from basicsr.masks.making import make_masks
from basicsr.utils.errors import ImageFileError
from tests.helpers.bad_files import READ_PHOTOS, memory_of
from tests.helpers.headers import IMAGE, WHOLE, png
from tests.helpers.project import SHARED

READ_BY_OPENCV = ('.jpg', '.png', '.tif', '.bmp', '.webp')


def agree(path):
    """Whether all three read a file; its pixels must be those of the whole one."""
    try:
        photo = load_photo(path)
    except ImageFileError as error:
        assert path.name in str(error)
        assert image_size(path) is None
        if path.suffix in READ_BY_OPENCV:
            with pytest.raises(ImageFileError, match=path.name):
                imread(path)
        return False
    assert image_size(path) == photo.pixels.shape[:2] == IMAGE.shape[:2]
    if path.suffix in READ_BY_OPENCV:
        assert imread(path).shape == photo.pixels.shape
    return True


@pytest.mark.parametrize('name', WHOLE)
@pytest.mark.parametrize('trailer', ['nothing', '10', '5000', '10 times', 'video', 'noise', 'another'])
def test_what_follows_an_image_is_of_no_concern(name, trailer, tmp_path):
    if name == 'a.avif' and trailer == 'video' and str(features.version('avif')) < '1.4':
        pytest.skip('the libavif of this Pillow takes no boxes behind those of the image')
    whole, path = WHOLE[name], tmp_path / name
    more = {
        'nothing': b'',
        '10': bytes(10),
        '5000': bytes(5000),
        '10 times': bytes(10 * len(whole)),
        'video': struct.pack('>I', 24) + b'ftypmp42' + np.random.default_rng(0).bytes(9000),
        'noise': np.random.default_rng(1).bytes(3 * len(whole)),
        'another': WHOLE['a.png'] + WHOLE['baseline.jpg'],
    }[trailer]
    path.write_bytes(whole)
    before = load_photo(path).pixels
    path.write_bytes(whole + more)
    assert agree(path)
    assert np.array_equal(load_photo(path).pixels, before)


@pytest.mark.parametrize('name', WHOLE)
@pytest.mark.parametrize('filling', ['nothing', 'zeros', 'noise without an end'])
@pytest.mark.parametrize('share', [0.3, 0.6, 0.95])
def test_an_image_that_is_cut_off_is_refused_whatever_follows(name, share, filling, tmp_path):
    whole = WHOLE[name]
    kept = whole[: round(share * len(whole))]
    if filling != 'nothing' and not name.endswith('.jpg'):
        return  # their lengths stand in front: what is filled up is damaged, which only decoding shows
    noise = np.random.default_rng(2).bytes(len(whole)).replace(b'\xff', b'\0')
    path = tmp_path / name
    path.write_bytes(kept + {'nothing': b'', 'zeros': bytes(len(whole)), 'noise without an end': noise}[filling])
    assert not agree(path)


def test_a_thumbnail_with_an_end_of_its_own_ends_nothing(tmp_path):
    """The end marker of an EXIF thumbnail, or of another segment, lies before the scan."""
    exif = Image.Exif()
    exif[270] = 'x' * 100 + '\xff\xd9'
    for name in ('baseline.jpg', 'progressive.jpg'):
        inner = WHOLE['gray.jpg'][:20_000]
        segment = b'\xff\xe1' + struct.pack('>H', len(inner) + 2) + inner
        whole = WHOLE[name][:2] + segment + WHOLE[name][2:]
        (tmp_path / name).write_bytes(whole)
        assert agree(tmp_path / name)
        (tmp_path / name).write_bytes(whole[: len(segment) + 900])
        assert not agree(tmp_path / name)


def test_every_place_to_cut_is_refused(tmp_path):
    small = io.BytesIO()
    Image.fromarray(IMAGE[:16, :16]).save(small, 'JPEG')
    small, path = small.getvalue(), tmp_path / 'a.jpg'
    for length in range(len(small)):
        path.write_bytes(small[:length])
        for read in (load_photo, imread):
            with pytest.raises(ImageFileError, match=r'a\.jpg'):
                read(path)
        assert image_size(path) is None


def test_the_cases_that_people_reported(tmp_path):
    files = sorted((SHARED / 'cases' / '12-jpeg-trailer').glob('*.jpg'))
    if not files:
        pytest.skip('the folder of cases is not there')
    for file in files:
        assert load_photo(file).pixels.shape[:2] == image_size(file) == imread(file).shape[:2]


@pytest.mark.parametrize('more', [b'', bytes(10), bytes(5000), bytes(90_000)])
def test_masks_of_a_photo_whose_bytes_did_not_change_are_kept(more, tmp_path):
    (tmp_path / 'photos').mkdir()
    for name in ('baseline.jpg', 'a.png', 'b.tif'):
        (tmp_path / 'photos' / name).write_bytes((WHOLE.get(name) or WHOLE['a.tif']) + more)
    generator = build_generator({'type': 'felzenszwalb'})
    assert make_masks(tmp_path / 'photos', tmp_path / 'masks', generator).made == 3
    again = make_masks(tmp_path / 'photos', tmp_path / 'masks', generator)
    assert (again.made, again.kept) == (0, 3)


# --- lies


def lying_files(folder):
    """Small files that claim to be large, of every format that is read."""
    jpeg = WHOLE['baseline.jpg']
    frame = jpeg.index(b'\xff\xc0')
    files = {
        'square.png': png(100_000, 100_000, 8, 2, bytes(1000)),
        'deep.png': png(12_000, 12_000, 16, 6, bytes(1000)),
        'zeros.png': png(40_000, 40_000, 1, 0, bytes(5001 * 40_000)),  # a bomb: all of it is there
        'large.jpg': jpeg[: frame + 5] + struct.pack('>HH', 65_500, 65_500) + jpeg[frame + 9 :],
        'tall.jpg': jpeg[: frame + 5] + struct.pack('>HH', 65_500, 2000) + jpeg[frame + 9 :],
        'large.bmp': WHOLE['a.bmp'][:18] + struct.pack('<ii', 100_000, 100_000) + WHOLE['a.bmp'][26:],
        'wide.bmp': WHOLE['a.bmp'][:18] + struct.pack('<ii', 10_000, 10_000) + WHOLE['a.bmp'][26:],
        'large.gif': b'GIF89a'
        + struct.pack('<HH', 65_000, 65_000)
        + bytes(3)
        + b'\x2c'
        + struct.pack('<HHHH', 0, 0, 65_000, 65_000)
        + b'\0\x08\x02\x4c\x01\0\x3b',
    }
    for kind in ('deflate', 'lzw', 'zstd'):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, np.zeros((64, 64, 3), np.uint16), photometric='rgb', compression=kind)
        content = bytearray(buffer.getvalue())
        with tifffile.TiffFile(io.BytesIO(bytes(content))) as file:
            for tag in (256, 257, 278):
                place = file.pages[0].tags[tag]
                size = {3: 2, 4: 4}[int(place.dtype)]
                content[place.valueoffset : place.valueoffset + size] = (100_000 if size == 4 else 60_000).to_bytes(
                    size, 'little'
                )
        files[f'{kind}.tif'] = bytes(content)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return files


@pytest.mark.skipif(sys.platform != 'linux', reason='reads how much memory a process took')
def test_lies_and_bombs_are_refused_in_little_memory(tmp_path):
    lying_files(tmp_path)
    assert memory_of(READ_PHOTOS, tmp_path) < 1024


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.tif', '.bmp', '.webp'])
def test_the_content_decides_and_not_the_name(suffix, tmp_path):
    for name, content in WHOLE.items():
        path = tmp_path / f'{Path(name).stem}{suffix}'
        path.write_bytes(content)
        assert load_photo(path).pixels.shape[:2] == IMAGE.shape[:2]
    path.write_bytes(b'')
    for read in (load_photo, imread):
        with pytest.raises(ImageFileError, match='0 bytes'):
            read(path)
    assert image_size(path) is None
