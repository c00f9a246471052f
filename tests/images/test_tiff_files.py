"""TIFF files are read for what they say, wherever images are read; what cannot be shown faithfully is refused."""

from __future__ import annotations

import io
import struct
from dataclasses import replace

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, TiffImagePlugin

from basicsr.images.files import image_size as size_of
from basicsr.images.files import imread
from basicsr.images.photo import load_photo
from basicsr.images.photo_files import save_photo
from basicsr.utils.errors import ImageFileError
from tests.helpers.tiff import DEEP, EIGHT, PROFILE, THUMBNAIL, pages, patched, written

BY_BITS = {8: EIGHT, 16: DEEP}


def read_everywhere(path):
    """The colours of a file, which photos, training and sizes agree on."""
    photo = load_photo(path)
    assert np.array_equal(imread(path), photo.pixels)
    assert size_of(path) == photo.pixels.shape[:2]
    return photo


LAYOUTS = {
    'chunky': {},
    'strips': {'rowsperstrip': 7},
    'tiles': {'tile': (16, 32)},
    'planes': {'planarconfig': 'separate'},
    'planes of strips': {'planarconfig': 'separate', 'rowsperstrip': 9},
    'planes of tiles': {'planarconfig': 'separate', 'tile': (16, 16)},
    'deflated planes': {'planarconfig': 'separate', 'compression': 'zlib', 'predictor': True},
    'big-endian': {'byteorder': '>'},
    'big-endian differences': {'byteorder': '>', 'compression': 'lzw', 'predictor': True},
    'BigTIFF': {'bigtiff': True},
}


@pytest.mark.parametrize('bits', [8, 16])
@pytest.mark.parametrize('layout', LAYOUTS)
def test_every_layout_gives_the_same_samples_at_every_call(layout, bits, tmp_path):
    image, more = BY_BITS[bits], LAYOUTS[layout]
    planes = np.moveaxis(image, 2, 0) if 'planarconfig' in more else image
    path = written(tmp_path / 'a.tif', planes, **more)
    for _ in range(2):
        assert np.array_equal(read_everywhere(path).pixels, image)
    gray = written(tmp_path / 'g.tif', image[..., 0], photometric='minisblack', **{**more, 'planarconfig': None})
    assert np.array_equal(read_everywhere(gray).pixels, image[..., :1])
    assert np.array_equal(imread(gray, 3), np.repeat(image[..., :1], 3, 2))
    assert np.array_equal(imread(path, 1)[..., 0], cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))


def test_planes_and_chunks_of_sixteen_bits_are_the_same_image(shared_data, tmp_path):
    cases = shared_data.parent / 'cases' / '02-tiff16-planar'
    if not cases.is_dir():
        pytest.skip('the folder of cases is not there')
    planar = read_everywhere(cases / 'planar.tif').pixels
    assert np.array_equal(planar, tifffile.imread(cases / 'planar.tif').transpose(1, 2, 0))
    assert np.array_equal(planar, read_everywhere(cases / 'chunky.tif').pixels)


@pytest.mark.parametrize('bits', [8, 16])
@pytest.mark.parametrize('compression', ['lzw', 'deflate', 'zlib', 'packbits', 'lzma', 'zstd', 'jpeg2000', 'jpegxl'])
def test_compressions_are_read_and_kept_where_they_can_be(compression, bits, tmp_path):
    path, out = tmp_path / 'a.tif', tmp_path / 'b.tif'
    order = '<' if compression.startswith('jpeg') else '>'
    written(path, BY_BITS[bits], compression=compression, byteorder=order)
    photo = read_everywhere(path)
    assert np.array_equal(photo.pixels, BY_BITS[bits])
    notes = save_photo(out, photo)
    with tifffile.TiffFile(path) as before, tifffile.TiffFile(out) as after:
        kept = after.pages[0].compression == before.pages[0].compression
        assert after.pages[0].bitspersample == bits and after.byteorder == order
    assert kept is (compression != 'jpegxl') and bool(notes) is not kept
    assert np.array_equal(load_photo(out).pixels, BY_BITS[bits])


def test_jpeg_inside_tiff_stays_jpeg(tmp_path):
    path, out = tmp_path / 'a.tif', tmp_path / 'b.tif'
    Image.fromarray(EIGHT).save(path, compression='jpeg', quality=95)
    photo = read_everywhere(path)
    assert np.abs(photo.pixels.astype(int) - EIGHT).mean() < 5 and save_photo(out, photo) == ()
    with tifffile.TiffFile(out) as after:
        assert after.pages[0].compression == tifffile.COMPRESSION.JPEG
    with Image.open(out) as other:  # another reader sees the same
        assert np.abs(np.asarray(other.convert('RGB')).astype(int) - photo.pixels).mean() < 4


@pytest.mark.parametrize('bits', [1, 2, 4, 6, 10, 12, 14])
def test_other_depths_keep_black_and_white(bits, tmp_path):
    values = DEEP[..., 0] >> (16 - bits)
    kind = bool if bits == 1 else np.uint8 if bits <= 8 else np.uint16
    path = written(tmp_path / 'a.tif', values.astype(kind), photometric='minisblack', bitspersample=bits)
    photo = read_everywhere(path)
    white = 255 if bits < 8 else 65535
    assert photo.pixels.dtype == (np.uint8 if bits < 8 else np.uint16)
    assert np.abs(photo.pixels[..., 0] / white - values / (2**bits - 1)).max() <= 0.5 / white + 1e-9
    assert photo.notes


@pytest.mark.parametrize('compression', ['tiff_ccitt', 'group3', 'group4'])
def test_fax_pages(compression, tmp_path):
    image = Image.fromarray(EIGHT).convert('1')
    image.save(tmp_path / 'a.tif', compression=compression)
    assert np.array_equal(read_everywhere(tmp_path / 'a.tif').pixels[..., 0], np.asarray(image.convert('L')))


def test_a_fax_behind_a_thumbnail_is_not_taken_for_it(tmp_path):
    with TiffImagePlugin.AppendingTiffWriter(tmp_path / 'a.tif', new=True) as writer:
        for image, more in ((EIGHT[::4, ::4], {'tiffinfo': {254: 1}}), (EIGHT, {'compression': 'group4'})):
            picture = Image.fromarray(image)
            (picture.convert('1') if 'compression' in more else picture).save(writer, 'TIFF', **more)
            writer.newFrame()
    with pytest.raises(ImageFileError, match=r'a\.tif: .*page'):
        load_photo(tmp_path / 'a.tif')


@pytest.mark.parametrize('bits', [8, 16])
def test_white_is_zero_where_the_file_says_so(bits, tmp_path):
    path = written(tmp_path / 'a.tif', BY_BITS[bits][..., 0], photometric='miniswhite')
    assert np.array_equal(read_everywhere(path).pixels, np.iinfo(BY_BITS[bits].dtype).max - BY_BITS[bits][..., :1])


# --- extra samples


def over_white(colour, alpha):
    white = np.iinfo(colour.dtype).max
    share = alpha / white
    return (colour * share + white * (1 - share)) / white * 255


@pytest.mark.parametrize('bits', [8, 16])
@pytest.mark.parametrize('gray', [False, True])
def test_premultiplied_colours_are_shown_as_before(bits, gray, tmp_path):
    straight = BY_BITS[bits][..., :1] if gray else BY_BITS[bits]
    white = int(np.iinfo(straight.dtype).max)
    alpha = np.broadcast_to(np.linspace(0, white, 60).round()[None, :, None], (40, 60, 1)).astype(straight.dtype)
    stored = (straight.astype(np.uint64) * alpha / white).round().astype(straight.dtype)
    more = {'photometric': 'minisblack' if gray else 'rgb', 'planarconfig': 'contig', 'extrasamples': ['assocalpha']}
    path, out = written(tmp_path / 'a.tif', np.concatenate([stored, alpha], 2), **more), tmp_path / 'b.tif'
    photo = read_everywhere(path)
    seen = (stored.astype(float) + (white - alpha)) / white * 255
    assert np.abs(over_white(photo.pixels, photo.alpha) - seen).max() < 1
    save_photo(out, photo)
    with tifffile.TiffFile(out) as after:
        assert after.pages[0].extrasamples == (2,)
        planes = after.pages[0].asarray()
    assert np.abs(over_white(planes[..., :-1], planes[..., -1:]) - seen).max() < 1


@pytest.mark.parametrize('bits', [8, 16])
def test_an_extra_channel_that_is_no_transparency_is_left_out_and_said(bits, tmp_path):
    infrared = BY_BITS[bits][..., :1] // 100
    path = written(tmp_path / 'a.tif', np.concatenate([BY_BITS[bits], infrared], 2), extrasamples=['unspecified'])
    photo = read_everywhere(path)
    assert photo.alpha is None and np.array_equal(photo.pixels, BY_BITS[bits]) and photo.notes
    save_photo(tmp_path / 'b.tif', photo)
    with tifffile.TiffFile(tmp_path / 'b.tif') as after:
        assert after.pages[0].extrasamples == () and after.pages[0].samplesperpixel == 3
    both = np.concatenate([BY_BITS[bits], infrared, infrared * 2], 2)  # the alpha is not the first of them
    photo = read_everywhere(written(path, both, extrasamples=['unspecified', 'unassalpha']))
    assert np.array_equal(photo.alpha, infrared * 2) and photo.notes


@pytest.mark.parametrize('bits', [8, 16])
def test_a_fourth_channel_that_nothing_is_said_about_is_transparency(bits, tmp_path):
    cv2.imwrite(str(tmp_path / 'a.tif'), np.dstack([BY_BITS[bits][..., ::-1], BY_BITS[bits][..., :1]]))
    photo = read_everywhere(tmp_path / 'a.tif')
    assert np.array_equal(photo.alpha, BY_BITS[bits][..., :1]) and np.array_equal(photo.pixels, BY_BITS[bits])
    assert photo.notes


# --- colours


def test_colours_of_other_kinds_become_rgb(tmp_path):
    path = tmp_path / 'a.tif'
    palette = Image.fromarray(EIGHT).quantize(20)
    palette.save(path)
    assert np.array_equal(read_everywhere(path).pixels, np.asarray(palette.convert('RGB')))
    Image.fromarray(EIGHT).convert('CMYK').save(path)
    assert np.array_equal(read_everywhere(path).pixels, EIGHT)
    inks = np.asarray(Image.fromarray(EIGHT).convert('CMYK')).astype(np.uint16) * 257
    assert np.array_equal(read_everywhere(written(path, inks, photometric='separated')).pixels, EIGHT.astype(int) * 257)
    Image.fromarray(EIGHT).convert('YCbCr').save(path)
    assert np.abs(read_everywhere(path).pixels.astype(int) - EIGHT).max() <= 3  # three roundings


@pytest.mark.parametrize(('kind', 'bits'), [('cielab', 8), ('cielab', 16), ('icclab', 8), ('icclab', 16)])
def test_lab(kind, bits, tmp_path):
    """Against scikit-image, for the D50 white that the format means."""
    from skimage.color import lab2xyz

    rng = np.random.default_rng(1)
    lab = np.stack([rng.uniform(30, 80, (9, 8)), rng.uniform(-12, 12, (9, 8)), rng.uniform(-12, 12, (9, 8))], 2)
    deep, offset = bits == 16, 128 if kind == 'icclab' else 0
    scale = np.array([(65280 if kind == 'icclab' else 65535) / 100 if deep else 2.55, *(2 * [256 if deep else 1])])
    stored = ((lab + np.array([0, offset, offset])) * scale).round().astype(np.int64) % 2**bits
    path = written(tmp_path / 'a.tif', stored.astype(np.uint16 if deep else np.uint8), photometric=kind)
    photo = read_everywhere(path)
    bradford = np.array(
        [[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.0334540], [0.0719453, -0.2289914, 1.4052427]]
    )
    light = (lab2xyz(lab, illuminant='D50') @ bradford.T).clip(0, 1)
    expected = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055) * 255
    values = photo.pixels / (257 if deep else 1)
    assert np.abs(values - expected).max() < (
        1.5 if deep else 4.0
    )  # half a step of L, a and b is three levels; tables of littlecms
    assert photo.pixels.dtype == (np.uint16 if deep else np.uint8)


def test_subsampled_ycbcr_without_jpeg(tmp_path):
    """Two by two pixels share their colours: blocks of four Y, one Cb, one Cr (TIFF 6.0, section 21)."""
    y = np.array([[50, 200], [90, 120]], np.uint8)
    block = bytes([*y.ravel(), 128, 128])
    entries = [(256, 3, 1, 2), (257, 3, 1, 2), (259, 3, 1, 1), (262, 3, 1, 6), (273, 4, 1, 0), (277, 3, 1, 3)]
    entries += [(278, 3, 1, 2), (279, 4, 1, 6), (530, 3, 2, 2 | 2 << 16)]
    place = 8 + 2 + 12 * (len(entries) + 1) + 4
    entries.append((258, 3, 3, place))
    entries[4] = (273, 4, 1, place + 6)
    directory = b''.join(struct.pack('<HHII', *entry) for entry in sorted(entries))
    file = b'II*\0' + struct.pack('<IH', 8, len(entries)) + directory + bytes(4) + struct.pack('<3H', 8, 8, 8) + block
    (tmp_path / 'a.tif').write_bytes(file)
    assert np.abs(read_everywhere(tmp_path / 'a.tif').pixels.astype(int) - y[..., None]).max() <= 1


# --- other images in the file


def test_thumbnails_are_no_pages(tmp_path):
    path = pages(tmp_path / 'a.tif', (DEEP, {}), (THUMBNAIL, {'subfiletype': 1}))
    assert np.array_equal(read_everywhere(path).pixels, DEEP)
    path = pages(tmp_path / 'b.tif', (THUMBNAIL, {'subfiletype': 1}), (DEEP, {}))  # in front
    assert np.array_equal(read_everywhere(path).pixels, DEEP)
    path = pages(tmp_path / 'c.tif', (THUMBNAIL, {'subfiletype': 1, 'subifds': 1}), (DEEP, {}))
    assert np.array_equal(read_everywhere(path).pixels, DEEP)
    path = pages(tmp_path / 'd.tif', (DEEP, {'subifds': 1}), (DEEP[::2, ::2], {'subfiletype': 1}))  # a pyramid
    assert np.array_equal(read_everywhere(path).pixels, DEEP)
    path = pages(tmp_path / 'e.tif', (THUMBNAIL, {'subfiletype': 1}))
    with pytest.raises(ImageFileError, match='thumbnail'):
        load_photo(path)
    assert size_of(path) is None


def test_several_pages_are_refused_everywhere(tmp_path):
    files = [
        pages(tmp_path / 'a.tif', (DEEP, {}), (DEEP, {})),
        pages(tmp_path / 'b.tif', *[(DEEP, {'subfiletype': 2})] * 3),
    ]
    tifffile.imwrite(tmp_path / 'c.tif', np.stack([EIGHT[..., 0]] * 5), imagej=True)  # one directory, five images
    for path, count in zip([*files, tmp_path / 'c.tif'], (2, 3, 5), strict=True):
        for read in (load_photo, imread):
            with pytest.raises(ImageFileError, match=f'{count} pages'):
                read(path)
        assert size_of(path) is None


def test_camera_raw_is_refused_in_every_form(tmp_path):
    mosaic = {'photometric': 32803, 'extratags': [(33421, 3, 2, (2, 2)), (33422, 1, 4, bytes([0, 1, 1, 2]))]}
    dng = (50706, 1, 4, bytes([1, 4, 0, 0]), True)
    with tifffile.TiffWriter(tmp_path / 'a.dng') as writer:  # a thumbnail in front of the mosaic
        writer.write(THUMBNAIL, photometric='rgb', subfiletype=1, subifds=1, extratags=[dng], metadata=None)
        writer.write(DEEP[..., 0], metadata=None, **mosaic)
    with tifffile.TiffWriter(tmp_path / 'b.tif') as writer:  # the same without the tag of DNG, under another name
        writer.write(THUMBNAIL, photometric='rgb', subfiletype=1, subifds=1, metadata=None)
        writer.write(DEEP[..., 0], metadata=None, **mosaic)
    tifffile.imwrite(tmp_path / 'c.tif', DEEP[..., 0], metadata=None, **mosaic)
    tifffile.imwrite(tmp_path / 'd.tif', DEEP, photometric=34892, extratags=[dng], metadata=None)  # linear raw
    for name in ('a.dng', 'b.tif', 'c.tif', 'd.tif'):
        for read in (load_photo, imread):
            with pytest.raises(ImageFileError, match='raw'):
                read(tmp_path / name)


def test_a_transparency_mask_and_layers_are_said_to_be_left_out(tmp_path):
    with tifffile.TiffWriter(tmp_path / 'a.tif') as writer:
        writer.write(EIGHT, photometric='rgb', metadata=None, extratags=[(37724, 7, 9, b'Adobe Pho', True)])
        writer.write(EIGHT[..., 0] > 90, photometric=4, subfiletype=4, metadata=None)
    photo = read_everywhere(tmp_path / 'a.tif')
    assert np.array_equal(photo.pixels, EIGHT) and len(photo.notes) == 2


# --- what is refused


@pytest.mark.parametrize('kind', ['int8', 'int16', 'uint32', 'int32', 'float16', 'float32', 'float64', 'complex64'])
def test_samples_that_cannot_be_shown_faithfully_are_refused_by_name(kind, tmp_path):
    tifffile.imwrite(tmp_path / 'a.tif', np.zeros((9, 8), kind), photometric='minisblack')
    for read in (load_photo, imread):
        with pytest.raises(ImageFileError, match=rf'a\.tif: .*\b{kind}\b'):
            read(tmp_path / 'a.tif')
    assert size_of(tmp_path / 'a.tif') is None


def test_colours_that_are_not_known_are_refused_by_name(tmp_path):
    tifffile.imwrite(tmp_path / 'a.tif', EIGHT, photometric='logluv')
    with pytest.raises(ImageFileError, match=r'a\.tif: .*LOGLUV'):
        load_photo(tmp_path / 'a.tif')
    tifffile.imwrite(
        tmp_path / 'b.tif', np.dstack([EIGHT, EIGHT[..., 0]]), photometric='separated', extratags=[(332, 3, 1, 2, True)]
    )
    with pytest.raises(ImageFileError, match=r'b\.tif: .*inks'):
        load_photo(tmp_path / 'b.tif')


@pytest.mark.parametrize('compression', [None, 'zlib', 'lzw'])
def test_files_that_are_cut_off_or_lie_are_refused_everywhere(compression, tmp_path):
    whole = io.BytesIO()
    tifffile.imwrite(whole, DEEP, photometric='rgb', compression=compression, rowsperstrip=8)
    whole = whole.getvalue()
    bad = {
        'half': whole[: len(whole) // 2],
        'last bytes': whole[:-10],
        'head': whole[:9],
        'mark': whole[:4],
        'wide': patched(whole, 256, 100_000),
        'square': patched(patched(whole, 256, 100_000), 257, 100_000),
        'tall': patched(whole, 257, 2_000_000),
        'zero': patched(whole, 256, 0),
        'strips': patched(whole, 278, 1),
        'compression': patched(whole, 259, 4711),
    }
    for name, content in bad.items():
        path = tmp_path / f'{name}.tif'
        path.write_bytes(content)
        for read in (load_photo, imread):
            with pytest.raises(ImageFileError, match=rf'{name}\.tif'):
                read(path)
        assert size_of(path) is None or name in ('compression', 'wide')  # which only decoding shows


def test_every_byte_of_a_directory_may_be_wrong(tmp_path):
    """No error but ours, whatever a directory says."""
    whole = io.BytesIO()
    tifffile.imwrite(whole, EIGHT[:8, :8], photometric='rgb', metadata=None)
    whole, path = whole.getvalue(), tmp_path / 'a.tif'
    rng = np.random.default_rng(0)
    for place in range(4, 8 + 2 + 12 * 15):
        content = bytearray(whole)
        content[place] = rng.integers(0, 256)
        path.write_bytes(content)
        try:
            assert load_photo(path).pixels.shape[2] in (1, 3)
        except ImageFileError as error:
            assert 'a.tif' in str(error)


# --- what is kept


@pytest.mark.parametrize('bits', [8, 16])
@pytest.mark.parametrize('orientation', [1, 6])
def test_tags_stay(bits, orientation, tmp_path):
    path, out = tmp_path / 'a.tif', tmp_path / 'b.tif'
    tags = [
        *((315, 2, 0, 'Someone', True), (33432, 2, 0, '(c) somebody', True), (33723, 7, 6, b'\x1c\x02x\0\x01a', True)),
        *(
            (34675, 7, len(PROFILE), PROFILE, True),
            (33550, 12, 3, (1.5, 2.5, 0.0), True),
            (274, 3, 1, orientation, True),
        ),
        (700, 1, 24, b'<a xmlns:b="u" b:c="d"/>', True),
    ]
    written(
        path, BY_BITS[bits], resolution=(118.11, 59.5), resolutionunit='CENTIMETER', extratags=tags, software='Tool'
    )
    photo = read_everywhere(path)
    save_photo(out, replace(photo, pixels=photo.pixels // 2))
    with tifffile.TiffFile(path) as before, tifffile.TiffFile(out) as after:
        for tag in (274, 282, 283, 296, 305, 315, 33432, 33723, 34675, 33550, 700):
            first, second = (file.pages[0].tags[tag].value for file in (before, after))
            if tag in (282, 283):
                first, second = (numerator / denominator for numerator, denominator in (first, second))
            assert first == pytest.approx(second) if tag in (282, 283) else first == second, tag
        assert np.array_equal(after.pages[0].asarray(), BY_BITS[bits] // 2)
