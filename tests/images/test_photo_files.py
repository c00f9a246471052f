"""Photos keep what their files say: depth, orientation, profile, EXIF, alpha; what cannot be read is explained."""

from __future__ import annotations

import io
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps, features

from basicsr.images.orientation import as_stored, upright
from basicsr.images.photo import Photo, Stored, load_photo
from basicsr.images.photo_files import encode_photo, result_suffix, save_photo
from basicsr.images.pixels import pil_of, planes_of_pil
from basicsr.utils.errors import ImageFileError
from tests.helpers.photo_files import PICTURE, png, write_bad_files

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
DEEP = (PICTURE.astype(np.uint16) * 250 + np.random.default_rng(0).integers(0, 900, PICTURE.shape)).astype(np.uint16)


def exif_with(orientation):
    exif = Image.Exif()
    exif[271], exif[272], exif[274] = 'Maker', 'Model', orientation
    exif.get_ifd(0x8769)[33434] = 0.125
    return exif


def stored_facts(path):
    with Image.open(path) as image:
        exif = image.getexif()
        ifd = {key: float(value) for key, value in exif.get_ifd(0x8769).items()}
        dpi = image.info.get('dpi')
        return {
            'size': image.size,
            'orientation': exif.get(274),
            'maker': exif.get(271),
            'ifd': ifd,
            'profile': image.info.get('icc_profile'),
            'dpi': None if dpi is None else tuple(round(float(value)) for value in dpi),
        }


FORMATS = ['.jpg', '.png', '.tif', '.webp'] + (['.avif'] if features.check('avif') else [])


@pytest.mark.parametrize('suffix', FORMATS)
@pytest.mark.parametrize('orientation', range(1, 9))
def test_metadata_and_orientation_stay(suffix, orientation, tmp_path):
    path, out = tmp_path / f'in{suffix}', tmp_path / f'out{suffix}'
    more = {'quality': 95} if suffix in ('.jpg', '.avif') else {'lossless': True} if suffix == '.webp' else {}
    Image.fromarray(PICTURE).save(path, exif=exif_with(orientation), icc_profile=PROFILE, dpi=(300, 300), **more)
    photo = load_photo(path)
    with Image.open(path) as image:
        seen = np.asarray(ImageOps.exif_transpose(image).convert('RGB'))
    assert np.array_equal(photo.pixels, seen)
    marked = photo.pixels.copy()
    marked[:6, :9] = 255  # the upper left corner as people see it
    assert save_photo(out, replace(photo, pixels=marked)) == ()
    facts = stored_facts(out)
    assert facts == stored_facts(path) and facts['maker'] in ('Maker', None)
    with Image.open(out) as image:
        again = np.asarray(ImageOps.exif_transpose(image).convert('RGB')).astype(int)
    assert again.shape == marked.shape and np.abs(again - marked).mean() < 4
    assert again[:5, :8].mean() > 245 and abs(again[-5:, -8:].mean() - seen[-5:, -8:].mean()) < 6


def test_upright_and_back():
    pixels = np.arange(24).reshape(2, 4, 3)
    for orientation in range(1, 9):
        assert np.array_equal(as_stored(upright(pixels, orientation), orientation), pixels)
    assert upright(pixels, 6)[0, 1].tolist() == pixels[0, 0].tolist()  # a quarter to the right


@pytest.mark.parametrize('suffix', ['.png', '.tif'])
@pytest.mark.parametrize('channels', [1, 3, 4])
@pytest.mark.parametrize('orientation', [1, 6])
def test_sixteen_bits_stay_to_the_last(suffix, channels, orientation, tmp_path):
    deep = np.dstack([DEEP, 65535 - DEEP[..., :1]])[..., :channels]
    alpha = deep[..., 3:] if channels == 4 else None
    more = {'icc_profile': PROFILE}
    stored = Stored('TIFF', orientation, exif_with(orientation).tobytes(), more)
    shown = Photo(upright(deep[..., :3], orientation), None if alpha is None else upright(alpha, orientation), stored)
    path, out = tmp_path / f'in{suffix}', tmp_path / f'out{suffix}'
    save_photo(path, shown)
    photo = load_photo(path)
    assert photo.pixels.dtype == np.uint16 and np.array_equal(photo.pixels, shown.pixels)
    assert (photo.alpha is None) == (alpha is None) and (alpha is None or np.array_equal(photo.alpha, shown.alpha))
    save_photo(out, photo)
    assert stored_facts(out) == stored_facts(path)
    assert stored_facts(out)['orientation'] == orientation and stored_facts(out)['profile'] == PROFILE
    assert stored_facts(out)['ifd'] == {33434: 0.125}
    if suffix == '.tif' and orientation != 1:  # OpenCV turns these, or cannot read them
        return
    raw = cv2.imread(str(out), cv2.IMREAD_UNCHANGED)  # another reader sees the same
    raw = raw[..., None] if raw.ndim == 2 else raw
    expected = deep if channels == 1 else np.concatenate([deep[..., 2::-1], deep[..., 3:]], 2)
    assert np.array_equal(raw, expected)


def test_files_of_opencv_with_sixteen_bits(tmp_path):
    for name in ('a.png', 'a.tif'):
        cv2.imwrite(str(tmp_path / name), DEEP[..., ::-1])
        assert np.array_equal(load_photo(tmp_path / name).pixels, DEEP)
        cv2.imwrite(str(tmp_path / name), DEEP[..., 0])
        gray = load_photo(tmp_path / name)
        assert np.array_equal(gray.pixels, DEEP[..., :1])
        save_photo(tmp_path / f'out_{name}', gray)
        assert np.array_equal(cv2.imread(str(tmp_path / f'out_{name}'), cv2.IMREAD_UNCHANGED), DEEP[..., 0])


def test_deep_gray_with_alpha(tmp_path):
    values = np.arange(2 * 3 * 2, dtype=np.uint16).reshape(2, 3, 2) * 5000
    rows = b''.join(b'\0' + row.astype('>u2').tobytes() for row in values)
    (tmp_path / 'la.png').write_bytes(png(3, 2, 16, 4, rows))
    photo = load_photo(tmp_path / 'la.png')
    assert np.array_equal(photo.pixels, values[..., :1]) and np.array_equal(photo.alpha, values[..., 1:])
    save_photo(tmp_path / 'out.png', photo)
    again = load_photo(tmp_path / 'out.png')
    assert np.array_equal(again.pixels[..., :1], photo.pixels) and np.array_equal(again.alpha, photo.alpha)


def kind_of(path):
    with Image.open(path) as image:
        return image.format, image.mode


@pytest.mark.parametrize(
    ('mode', 'suffix', 'channels', 'result', 'note'),
    [
        ('L', '.jpg', 1, ('JPEG', 'L'), ''),
        ('L', '.png', 1, ('PNG', 'L'), ''),
        ('LA', '.png', 1, ('PNG', 'LA'), ''),
        ('RGBA', '.png', 3, ('PNG', 'RGBA'), ''),
        ('RGBA', '.webp', 3, ('WEBP', 'RGBA'), ''),
        ('P', '.png', 3, ('PNG', 'RGB'), 'palette'),
        ('P', '.gif', 3, ('PNG', 'RGB'), 'palette'),
        ('1', '.png', 1, ('PNG', 'L'), 'black and white'),
        ('1', '.tif', 1, ('TIFF', 'L'), 'black and white'),
        ('CMYK', '.jpg', 3, ('JPEG', 'RGB'), 'CMYK'),
        ('CMYK', '.tif', 3, ('TIFF', 'RGB'), 'CMYK'),
        ('LAB', '.tif', 3, ('TIFF', 'RGB'), 'Lab'),
        ('RGB', '.bmp', 3, ('BMP', 'RGB'), ''),
    ],
)
def test_modes(mode, suffix, channels, result, note, tmp_path):
    path = tmp_path / f'photo{suffix}'
    image = Image.fromarray(PICTURE)
    if mode == 'LAB':
        image = ImageCms.profileToProfile(
            image, ImageCms.createProfile('sRGB'), ImageCms.createProfile('LAB'), outputMode='LAB'
        )
    image = image.quantize(64) if mode == 'P' else image.convert(mode)
    if mode in ('LA', 'RGBA'):
        image.putalpha(Image.linear_gradient('L').resize(image.size))
    image.save(path, **({'lossless': True} if suffix == '.webp' else {}))
    photo = load_photo(path)
    assert photo.pixels.shape == (40, 60, channels) and photo.pixels.dtype == np.uint8
    assert bool(photo.notes) == bool(note) and note in ''.join(photo.notes)
    close = 12 if suffix == '.jpg' or mode in ('P', 'LAB') else 90 if mode == '1' else 3
    expected = cv2.cvtColor(PICTURE, cv2.COLOR_RGB2GRAY)[..., None] if channels == 1 else PICTURE
    assert np.abs(photo.pixels.astype(int) - expected).mean() < close
    if mode in ('LA', 'RGBA'):
        assert np.array_equal(photo.alpha[..., 0], np.asarray(Image.linear_gradient('L').resize(image.size)))
    out = tmp_path / f'out{result_suffix(path)}'
    save_photo(out, photo)
    assert kind_of(out) == result
    again = load_photo(out)
    assert np.abs(again.pixels.astype(int) - photo.pixels).mean() < 2
    assert (again.alpha is None) == (photo.alpha is None)


def test_colours_under_transparent_pixels_stay(tmp_path):
    """In a lossless WebP, which could drop them; and the fourth channel of a deep TIFF is alpha for others as well."""
    clear = np.dstack([PICTURE, np.zeros_like(PICTURE[..., :1])])
    Image.fromarray(clear).save(tmp_path / 'a.webp', lossless=True, exact=True)
    photo = load_photo(tmp_path / 'a.webp')
    save_photo(tmp_path / 'b.webp', photo)
    with Image.open(tmp_path / 'b.webp') as image:
        assert np.array_equal(np.asarray(image.convert('RGBA')), clear)
    deep = Photo(PICTURE.astype(np.uint16) * 257, PICTURE[..., :1].astype(np.uint16) * 257, Stored('TIFF'))
    save_photo(tmp_path / 'c.tif', deep)
    with Image.open(tmp_path / 'c.tif') as image:
        assert image.mode == 'RGBA' and image.tag_v2[338] in (2, (2,))


def test_transparent_colours_of_a_palette_become_alpha(tmp_path):
    image = Image.fromarray(PICTURE).quantize(8)
    image.save(tmp_path / 'p.png', transparency=3)
    photo = load_photo(tmp_path / 'p.png')
    assert photo.pixels.shape[2] == 3
    assert np.array_equal(photo.alpha[..., 0] == 0, np.asarray(image) == 3)


def test_cmyk_is_converted_by_its_profile(tmp_path):
    Image.fromarray(PICTURE).convert('CMYK').save(tmp_path / 'c.jpg', icc_profile=b'no profile')
    photo = load_photo(tmp_path / 'c.jpg')
    assert 'CMYK' in photo.notes[0] and 'icc_profile' not in photo.stored.more


@pytest.mark.parametrize('quality', [40, 97])
@pytest.mark.parametrize('subsampling', [0, 2])
def test_jpeg_keeps_its_tables_but_for_coarse_ones(quality, subsampling, tmp_path):
    path, out = tmp_path / 'a.jpg', tmp_path / 'b.jpg'
    Image.fromarray(PICTURE).save(path, quality=quality, subsampling=subsampling, progressive=True, comment=b'hello')
    save_photo(out, load_photo(path))
    with Image.open(path) as before, Image.open(out) as after:
        tables = before.quantization, after.quantization
        assert after.info['progressive'] and after.info['comment'] == b'hello'
        assert after.layer[0][1:3] == before.layer[0][1:3]
    if quality == 97:
        assert tables[0] == tables[1]
    else:
        assert all(np.all(np.array(tables[1][key]) <= tables[0][key]) for key in (0, 1))
        with io.BytesIO() as file:
            Image.fromarray(PICTURE).save(file, 'JPEG', quality=90)
            assert Image.open(file).quantization == tables[1]


def test_text_of_a_png_stays_and_nothing_that_is_about_pixels(tmp_path):
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text('Title', 'a walk')
    info.add_itxt('Note', 'späť')
    Image.fromarray(PICTURE).quantize(8).save(tmp_path / 'a.png', pnginfo=info, transparency=1, gamma=0.45)
    save_photo(tmp_path / 'b.png', load_photo(tmp_path / 'a.png'))
    with Image.open(tmp_path / 'b.png') as image:
        image.load()
        assert image.text == {'Title': 'a walk', 'Note': 'späť'} and 'transparency' not in image.info


def test_of_several_pictures_in_a_jpeg_the_first_is_taken(tmp_path):
    first = Image.fromarray(PICTURE)
    first.save(tmp_path / 'm.jpg', 'MPO', save_all=True, append_images=[Image.fromarray(255 - PICTURE)], quality=95)
    photo = load_photo(tmp_path / 'm.jpg')
    assert photo.stored.format == 'JPEG' and np.abs(photo.pixels.astype(int) - PICTURE).mean() < 5


def test_bad_files_are_explained(tmp_path):
    for name, message in write_bad_files(tmp_path).items():
        with pytest.raises(ImageFileError) as caught:
            load_photo(tmp_path / name)
        text = str(caught.value)
        assert text.startswith(str(tmp_path / name)) and message in text and text.count(name) == 1


def test_panoramas_and_large_photos_are_no_bombs(tmp_path):
    rows = (b'\0' + bytes(20_000)) * 500
    (tmp_path / 'wide.png').write_bytes(png(20_000, 500, 8, 0, rows))
    assert load_photo(tmp_path / 'wide.png').pixels.shape == (500, 20_000, 1)
    rows = (b'\0' + bytes(10_000)) * 9_500
    (tmp_path / 'large.png').write_bytes(png(10_000, 9_500, 8, 0, rows))  # Pillow warns of as many pixels
    assert load_photo(tmp_path / 'large.png').pixels.shape == (9_500, 10_000, 1)


def test_what_a_format_cannot_hold_is_said():
    photo = Photo(DEEP, DEEP[..., :1], Stored(exif=exif_with(1).tobytes()))
    data_, notes = encode_photo('.jpg', photo)
    assert ['16 bits' in notes[0], 'transparency' in notes[1], len(notes)] == [True, True, 2]
    with Image.open(io.BytesIO(data_)) as image:
        assert np.abs(np.asarray(image).astype(int) - (DEEP >> 8)).mean() < 4
    _, notes = encode_photo('.bmp', Photo(PICTURE, None, Stored(exif=exif_with(1).tobytes())))
    assert len(notes) == 1 and 'EXIF' in notes[0]
    with pytest.raises(ImageFileError, match=r'\.gif|\.jpg'):
        encode_photo('.gif', photo)
    with pytest.raises(ImageFileError, match='JPEG'):
        encode_photo('.jpg', Photo(np.zeros((1, 70_000, 1), np.uint8)))


def test_pictures_of_pillow_with_other_values():
    with pytest.raises(ImageFileError, match='8- and 16-bit'):
        planes_of_pil(Image.new('F', (3, 3)))
    with pytest.raises(ImageFileError, match='32-bit'):
        planes_of_pil(Image.fromarray(np.full((3, 3), 70_000, np.int32)))
    assert planes_of_pil(Image.fromarray(np.full((3, 3), 60_000, np.int32))).colour.dtype == np.uint16
    assert planes_of_pil(Image.new('HSV', (3, 3), (0, 255, 255))).colour[0, 0].tolist() == [255, 0, 0]
    with pytest.raises(ImageFileError, match='16-bit'):
        pil_of(DEEP)
