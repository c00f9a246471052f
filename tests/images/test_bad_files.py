"""Bad files of every format, photos and masks: an error of ours that names the file, little memory, no result."""

from __future__ import annotations

import io
import struct
import sys
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from basicsr.images.files import image_size
from basicsr.images.photo import load_photo
from basicsr.masks import read_masks, write_label_map
from basicsr.photos.jobs import Inputs, plan
from basicsr.photos.runs import run_photo
from basicsr.utils.errors import ImageFileError, MaskError
from tests.helpers.bad_files import READ_MASKS, READ_PHOTOS, memory_of
from tests.helpers.headers import IMAGE, WHOLE, png
from tests.helpers.heic import heic
from tests.helpers.other_tools import FORMS, rectangles
from tests.helpers.png_chunks import chunk
from tests.helpers.tiff import patched
from tests.helpers.videos import leaving


def saved(kind, **more):
    buffer = io.BytesIO()
    Image.fromarray(IMAGE).save(buffer, kind, **more)
    return buffer.getvalue()


def tiff(**more):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.zeros((64, 64, 3), np.uint8), photometric='rgb', metadata=None, **more)
    return buffer.getvalue()


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """A whole file of each format."""
    path = heic(tmp_path_factory.mktemp('heic') / 'a.heic', IMAGE)
    return {**WHOLE, 'a.gif': saved('GIF'), 'lossless.webp': saved('WEBP', lossless=True), path.name: path.read_bytes()}


def bad_photos(whole):
    """Names and contents: cut off, empty, zeros, noise, and those of one format that are called as another."""
    for name, content in whole.items():
        for share in (0.01, 0.1, 0.5, 0.97):
            yield f'cut_{share}_{name}', content[: int(share * len(content))]
        yield f'empty_{name}', b''
        yield f'zeros_{name}', bytes(10**6)
        yield f'noise_{name}', np.random.default_rng(0).bytes(10**5)
        yield f'text_{name}', b'no image, but a text'
        yield f'table_{name}', b'id,area\n0,7\n'


def test_photos_with_zeros_are_read_or_named(whole, tmp_path):
    refused = 0
    for name, content in whole.items():
        for place in range(len(content) // 4, len(content), max(1, len(content) // 20)):
            path = tmp_path / name
            path.write_bytes(content[:place] + bytes(200) + content[place + 200 :])
            try:
                load_photo(path)
            except ImageFileError as error:
                assert name in str(error)
                refused += 1
    assert refused > 20


def test_no_bad_photo_has_a_result(whole, tmp_path):
    (tmp_path / 'out').mkdir()
    deblurrer = leaving()
    for name, content in bad_photos(whole):
        path = tmp_path / name
        path.write_bytes(content)
        (job,) = plan(Inputs([path]), tmp_path / 'out', '_deblurred', ['side_by_side'])
        with pytest.raises(ImageFileError, match=name):
            run_photo(deblurrer, job)
        assert image_size(path) is None and not list((tmp_path / 'out').iterdir())


def test_the_content_decides_what_a_photo_is(whole, tmp_path):
    for name, content in whole.items():
        for suffix in ('.jpg', '.tif', '.heic', '.gif'):
            path = tmp_path / f'{name}{suffix}'
            path.write_bytes(content)
            assert load_photo(path).pixels.shape == load_photo_of(content, tmp_path, name).shape


def load_photo_of(content, folder, name):
    (folder / name).write_bytes(content)
    return load_photo(folder / name).pixels


def lying_photos(whole):
    """Small files that claim to be large, or become large."""
    large, zeros = struct.pack('>II', 100_000, 100_000), zlib.compress(bytes(10**8), 1)
    for name in [name for name in ('a.avif', 'a.heic') if name in whole]:
        place = whole[name].index(b'ispe') + 8
        yield f'lying_{name}', whole[name][:place] + large + whole[name][place + 8 :]
    vp8, vp8l = whole['a.webp'].index(b'VP8 ') + 14, whole['lossless.webp'].index(b'VP8L') + 9
    yield 'lying.webp', whole['a.webp'][:vp8] + struct.pack('<HH', 16383, 16383) + whole['a.webp'][vp8 + 4 :]
    content = whole['lossless.webp']
    yield 'lying_lossless.webp', content[:vp8l] + b'\xff\xff\xff\x0f' + content[vp8l + 4 :]
    extended = saved('WEBP', lossless=True, exif=b'Exif\0\0II*\0\x08\0\0\0\0\0')
    place = extended.index(b'VP8X') + 12
    yield 'lying_extended.webp', extended[:place] + 2 * (99_999).to_bytes(3, 'little') + extended[place + 6 :]
    gif = whole['a.gif']
    yield 'lying.gif', gif[:6] + struct.pack('<HH', 65_000, 65_000) + gif[10:]
    image = gif.index(b'\x2c', 13 + 768)
    yield 'lying_image.gif', gif[: image + 5] + struct.pack('<HH', 12_000, 12_000) + gif[image + 9 :]
    tiles = tiff(tile=(16, 16), compression='zlib')
    yield 'tiles.tif', patched(patched(tiles, 322, 60_000), 323, 60_000)
    yield 'samples.tif', patched(tiff(compression='zlib'), 277, 65_535)
    strip = tiff(compression='zlib')
    yield 'strip.tif', patched(patched(strip, 273, len(strip)), 279, len(zeros)) + zeros
    place = 8 + 2 + 12 * struct.unpack_from('<H', tiff(), 8)[0]
    yield 'circle.tif', tiff()[:place] + struct.pack('<I', 8) + tiff()[place + 4 :]
    pages = b'II*\0' + struct.pack('<I', 8)
    for _ in range(20_000):
        pages += struct.pack('<HHHII', 1, 256, 3, 1, 8) + struct.pack('<I', len(pages) + 18)
    yield 'pages.tif', pages[:-4] + bytes(4)
    yield 'bits.png', png(40_000, 40_000, 1, 0, bytes(5001 * 40_000))
    for name, content in (('profile', chunk(b'iCCP', b'x\0\0' + zeros)), ('words', chunk(b'zTXt', b'x\0\0' + zeros))):
        yield f'bomb_{name}.png', whole['a.png'][:33] + content + whole['a.png'][33:]


@pytest.mark.skipif(sys.platform != 'linux', reason='reads how much memory a process took')
def test_photos_that_lie_are_refused_in_little_memory(whole, tmp_path):
    for name, content in lying_photos(whole):
        (tmp_path / name).write_bytes(content)
    assert memory_of(READ_PHOTOS, tmp_path) < 1024


def bad_masks(folder):
    """Mask files of every form: cut off, empty, zeros, of another kind; and those that are, or claim to be, large."""
    for form, write in FORMS.items():
        place = folder / 'whole' / form.replace(' ', '_')
        place.mkdir(parents=True)
        write(place, rectangles())
        for path in [path for path in place.rglob('*') if path.is_file() and path.suffix != '.csv']:
            content, name = path.read_bytes(), f'{place.name}_{path.name}'
            kinds = {'half': content[: len(content) // 2], 'cut': content[:-9], 'empty': b'', 'zeros': bytes(10**6)}
            yield from ((f'{kind}_{name}', data) for kind, data in kinds.items())
    write_label_map(folder / 'labels.png', np.ones((2, 8, 9), int))
    labels = (folder / 'labels.png').read_bytes()
    header = struct.pack('>II', 100_000, 100_000)
    yield 'lying_labels.png', labels[:16] + header + labels[24:]
    yield 'layers.png', labels.replace(b'label_map\x002 8 9', b'label_map\x009 8 9')
    for name, bits, colour in (('palette', 8, 3), ('gray', 8, 0), ('bits', 1, 0), ('deep', 16, 0)):
        yield f'lying_{name}.png', png(100_000, 100_000, bits, colour, bytes(1000))
        rows = zlib.compress((b'\0' + b'\xff' * (12_000 * bits // 8)) * 12_000, 1)
        yield f'large_{name}.png', png_of(12_000, bits, colour, rows)
    yield 'photo.png', WHOLE['baseline.jpg']
    yield 'table.json', b'id,area\n0,7\n'
    yield 'huge.json', b'[{"segmentation": {"size": [64, 96], "counts": [0, 1' + b'0' * 400 + b']}}]'
    yield 'deep.json', b'[{"a": ' * 50_000


def png_of(side, bits, colour, rows):
    header = struct.pack('>IIBBBBB', side, side, bits, colour, 0, 0, 0)
    palette = chunk(b'PLTE', bytes(768)) if colour == 3 else b''
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + palette + chunk(b'IDAT', rows) + chunk(b'IEND', b'')


@pytest.mark.skipif(sys.platform != 'linux', reason='reads how much memory a process took')
def test_bad_masks_are_refused_in_little_memory(tmp_path):
    (tmp_path / 'bad').mkdir()
    for name, content in bad_masks(tmp_path):
        (tmp_path / 'bad' / name).write_bytes(content)
    assert memory_of(READ_MASKS, tmp_path / 'bad') < 1024


@pytest.mark.parametrize('kind', ['cut', 'empty', 'lying', 'large', 'another'])
def test_a_bad_file_in_a_folder_of_masks_is_named(kind, tmp_path):
    FORMS['amg'](tmp_path, rectangles())
    path = tmp_path / 'p' / '1.png'
    content = {
        'cut': path.read_bytes()[:-20],
        'empty': b'',
        'lying': png(100_000, 100_000, 8, 0, bytes(1000)),
        'large': png_of(12_000, 1, 0, zlib.compress((b'\0' + b'\xff' * 1500) * 12_000, 1)),
        'another': WHOLE['baseline.jpg'],
    }[kind]
    path.write_bytes(content)

    for size in (None, (64, 96)):
        with pytest.raises(MaskError, match=r'p/1\.png'):
            read_masks(tmp_path / 'p', size)
