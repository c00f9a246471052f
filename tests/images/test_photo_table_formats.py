"""The rows of docs/files.md about TIFF and the rarer formats of photos: each is tried, from the file to its result."""

from __future__ import annotations

import re
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from basicsr.images.colour_tags import read_colour_tags
from basicsr.images.files import imread
from tests.helpers.files_table import CONVERTED, KEPT, REFUSED, key_of, name_of, rows_of, table
from tests.helpers.heic import WHOLE_BOXES, box, heic
from tests.helpers.metadata import avif
from tests.helpers.photo_tables import ALPHA, PICTURE, all_refused, pixels, saved, through
from tests.helpers.photo_tables import ROWS as OF_OTHER_MODULE
from tests.helpers.project import require
from tests.helpers.tiff import DEEP, EIGHT, PROFILE, THUMBNAIL, pages, written


def tag(path, number):
    with tifffile.TiffFile(path) as file:
        found = file.pages[0].tags.get(number)
        return None if found is None else found.value


# --- TIFF


def compressions():
    for compression in (None, 'lzw', 'deflate', 'packbits', 'lzma', 'zstd', 'jpeg', 'jpeg2000'):
        for order in '<>' if compression not in ('jpeg', 'jpeg2000') else '<':
            written('in.tif', EIGHT, compression=compression, byteorder=order)
            result, notes = through('in.tif')
            with tifffile.TiffFile('in.tif') as before, tifffile.TiffFile(result) as after:
                assert after.pages[0].compression == before.pages[0].compression and after.byteorder == order
            lossy = compression == 'jpeg'
            assert np.abs(pixels(result).astype(int) - EIGHT).max() <= (60 if lossy else 0) and not notes
    return KEPT


def other_compressions():
    said = []
    PICTURE.convert('1').save('fax.tif', compression='group4')
    for name, compression in (('xl.tif', 'jpegxl'), ('webp.tif', 'webp'), ('lerc.tif', 'lerc')):
        more = {'compressionargs': {'lossless': True}} if compression == 'webp' else {}
        written(name, EIGHT, compression=compression, **more)
    for name in ('fax.tif', 'xl.tif', 'webp.tif', 'lerc.tif'):
        before = imread(name)
        result, notes = through(name)
        assert np.array_equal(pixels(result), before) and 'replaced by deflate' in notes
        said.append(tag(result, 259))
    return CONVERTED if said == [8] * 4 else KEPT


def layouts():
    planes = np.moveaxis(DEEP, 2, 0)
    for more in ({'planarconfig': 'separate'}, {'tile': (16, 32)}, {'rowsperstrip': 7}, {'bigtiff': True}):
        written('in.tif', planes if 'planarconfig' in more else DEEP, **more)
        result, _ = through('in.tif')
        assert np.array_equal(pixels(result), DEEP)
        with tifffile.TiffFile(result) as after:
            assert after.pages[0].planarconfig == 1 and not after.pages[0].is_tiled and not after.is_bigtiff
    return CONVERTED


def tags():
    more = [
        (315, 2, 0, 'Someone', True),
        (306, 2, 0, '2024:05:06 07:08:09', True),
        (33723, 7, 6, b'\x1c\x02x\0\1a', True),
    ]
    more += [(34675, 7, len(PROFILE), PROFILE, True), (33550, 12, 3, (1.5, 2.5, 0.0), True)]
    more += [(700, 1, 24, b'<a xmlns:b="u" b:c="d"/>', True)]
    written('in.tif', DEEP, extratags=more, resolution=(118.11, 59.5), resolutionunit='CENTIMETER')
    result, notes = through('in.tif')
    assert not notes
    for number in (315, 306, 33723, 34675, 700):
        assert tag(result, number) == tag('in.tif', number) is not None
    assert tag(result, 33550) == (1.5, 2.5, 0.0) and tag(result, 296) == 3
    exif = Image.Exif()
    for number, more in ((0x8769, {0x829A: 0.01}), (0x8825, {1: 'N'})):
        directory = exif.get_ifd(number)
        directory.update(more)
        exif[number] = directory
    PICTURE.save('camera.tif', exif=exif)
    with Image.open(through('camera.tif')[0]) as after:
        assert float(after.getexif().get_ifd(0x8769)[0x829A]) == pytest.approx(0.01)
        assert after.getexif().get_ifd(0x8825)[1] == 'N'
    return KEPT


def depths():
    for bits in (1, 4, 7, 9, 12, 15):
        values = (DEEP[..., 0] >> (16 - bits)).astype(np.uint8 if bits <= 8 else np.uint16)
        kind = values.astype(bool) if bits == 1 else values
        written('in.tif', kind, photometric='minisblack', bitspersample=bits)
        result, notes = through('in.tif')
        white = 255 if bits < 8 else 65535
        assert tag(result, 258) == (8 if bits < 8 else 16) and notes
        assert np.abs(pixels(result)[..., 0] / white - values / (2**bits - 1)).max() <= 0.5 / white + 1e-9
    written('in.tif', EIGHT[..., 0], photometric='miniswhite')
    result, _ = through('in.tif')
    assert np.array_equal(pixels(result)[..., 0], 255 - EIGHT[..., 0]) and tag(result, 262) == 1
    return CONVERTED


def colours():
    for mode in ('CMYK', 'YCbCr', 'LAB'):
        image = PICTURE.convert('YCbCr') if mode == 'YCbCr' else PICTURE.convert('CMYK') if mode == 'CMYK' else None
        if image is None:
            written('in.tif', np.dstack([EIGHT[..., 0], EIGHT[..., 1:] * 0]), photometric='cielab')
        else:
            image.save('in.tif')
        result, notes = through('in.tif')
        assert tag(result, 262) == 2 and tag(result, 258) == (8, 8, 8) and notes
        assert image is None or np.abs(pixels(result).astype(int) - EIGHT).max() <= 3
    inks = np.asarray(PICTURE.convert('CMYK')).astype(np.uint16) * 257
    assert tag(through(written('in.tif', inks, photometric='separated'))[0], 258) == (16, 16, 16)
    return CONVERTED


def premultiplied():
    for image, white in ((EIGHT, 255), (DEEP, 65535)):
        alpha = (ALPHA.astype(np.uint32) * (white // 255)).astype(image.dtype)
        stored = (image.astype(np.uint64) * alpha / white).round().astype(image.dtype)
        written('in.tif', np.concatenate([stored, alpha], 2), extrasamples=['assocalpha'])
        result, _ = through('in.tif')
        straight = pixels(result)
        seen = straight[..., :3] * (alpha / white)
        assert tag(result, 338) in (2, (2,)) and np.abs(seen - stored).max() <= white / 255
    return CONVERTED


def extra():
    written('in.tif', np.concatenate([DEEP, DEEP[..., :1] // 100], 2), extrasamples=['unspecified'])
    result, notes = through('in.tif')
    assert np.array_equal(pixels(result), DEEP) and tag(result, 338) is None and 'dropped' in notes
    with tifffile.TiffWriter('in.tif') as writer:
        writer.write(EIGHT, photometric='rgb', metadata=None, extratags=[(37724, 7, 9, b'Adobe Pho', True)])
        writer.write(EIGHT[..., 0] > 90, photometric=4, subfiletype=4, metadata=None)
    result, notes = through('in.tif')
    assert np.array_equal(pixels(result), EIGHT) and 'layers' in notes and 'mask' in notes
    return CONVERTED


def thumbnails():
    small = (THUMBNAIL, {'subfiletype': 1})
    for parts in ([(DEEP, {}), small], [small, (DEEP, {})], [(DEEP, {'subifds': 1}), small]):
        result, _ = through(pages('in.tif', *parts))
        with tifffile.TiffFile(result) as after:
            assert len(after.pages) == 1 and not after.pages[0].pages and np.array_equal(after.asarray(), DEEP)
    return CONVERTED


def several_pages():
    pages('two.tif', (DEEP, {}), (DEEP, {}))
    tifffile.imwrite('stack.tif', np.stack([EIGHT[..., 0]] * 5), imagej=True)
    return all_refused('two.tif', 'stack.tif')


def samples():
    names = []
    for kind in ('int8', 'int16', 'uint32', 'float16', 'float32', 'complex64'):
        tifffile.imwrite(f'{kind}.tif', np.zeros((9, 8), kind), photometric='minisblack')
        names.append(f'{kind}.tif')
    tifffile.imwrite('luv.tif', EIGHT, photometric='logluv')
    inks = np.dstack([EIGHT, EIGHT[..., 0]])
    tifffile.imwrite('inks.tif', inks, photometric='separated', extratags=[(332, 3, 1, 2, True)])
    return all_refused(*names, 'luv.tif', 'inks.tif')


# --- the rarer ones


def bmp():
    result, notes = through(saved('in.bmp', dpi=(300, 300)))
    with Image.open(result) as after:
        assert after.info['dpi'] == pytest.approx((300, 300), abs=0.1) and np.array_equal(np.asarray(after), EIGHT)
    return CONVERTED if notes else KEPT


def small_bmp():
    for colours_, mode in ((2, '1'), (200, 'P')):
        image = PICTURE.convert('1') if mode == '1' else PICTURE.quantize(colours_)
        result, notes = through(saved('in.bmp', image))
        assert np.array_equal(pixels(result), pixels('in.bmp')) and notes
    four = b'BM' + struct.pack('<IHHI', 78 + 8, 0, 0, 14 + 40 + 8)
    four += struct.pack('<IiiHHIIiiII', 40, 4, 2, 1, 4, 0, 0, 0, 0, 2, 0) + bytes([0, 0, 255, 0, 255, 0, 0, 0])
    four += b'\x01\x10\0\0' + b'\x10\x01\0\0'
    result, notes = through('in.bmp', four)
    red, blue = (255, 0, 0), (0, 0, 255)
    assert pixels(result).tolist() == [[[*c] for c in row] for row in ((blue, red, red, blue), (red, blue, blue, red))]
    return CONVERTED


def webp(lossless):
    result, _ = through(saved('in.webp', lossless=lossless, quality=80))
    assert (b'VP8L' in result.read_bytes()[:64]) is lossless
    assert np.abs(pixels(result).astype(int) - pixels('in.webp')).max() <= (0 if lossless else 40)
    return KEPT


def gif():
    result, _ = through(saved('in.gif', PICTURE.quantize(30)))
    assert result.suffix == '.png' and np.array_equal(pixels(result), np.asarray(PICTURE.quantize(30).convert('RGB')))
    return CONVERTED


def avif_tags():
    for primaries, transfer, sampling in ((12, 13, '444'), (9, 16, '422'), (9, 18, '420')):
        result, _ = through('in.avif', avif(primaries, transfer, 8, sampling, EIGHT))
        tags = read_colour_tags(result.read_bytes())
        assert (tags.primaries, tags.transfer, tags.subsampling) == (primaries, transfer, ':'.join(sampling))
    return KEPT


def deep_avif():
    for bits in (10, 12):
        result, notes = through('in.avif', avif(9, 16, bits, '444', EIGHT))
        assert f'{bits} bits converted to 8' in notes and read_colour_tags(result.read_bytes()).bits == 8
    return CONVERTED


def heic_photo():
    exif = Image.Exif()
    exif[271] = 'Maker'
    result, _ = through(heic(Path('in.heic'), EIGHT, exif=exif.tobytes(), icc_profile=PROFILE, icc_profile_type='prof'))
    with Image.open(result) as image:
        assert image.format == 'JPEG' and image.getexif()[271] == 'Maker' and image.info['icc_profile'] == PROFILE
    assert np.abs(pixels(result).astype(int) - EIGHT).mean() < 6
    assert through(heic(Path('deep.heic'), DEEP, 'RGB;16'))[0].suffix == '.png'
    assert through(heic(Path('clear.heic'), np.dstack([EIGHT, ALPHA]), 'RGBA'))[0].suffix == '.png'
    hdr = heic(Path('hdr.heic'), EIGHT, color_primaries=9, transfer_characteristics=18)
    assert through(hdr)[0].suffix == '.png'
    return CONVERTED


def heic_more():
    require('pillow_heif')
    import pillow_heif

    file = pillow_heif.HeifFile()
    for image in (EIGHT, 255 - EIGHT):
        file.add_frombytes('RGB', (60, 40), image.tobytes())
    file.save('in.heic', quality=95, chroma=444)
    result, notes = through('in.heic')
    assert np.abs(pixels(result).astype(int) - EIGHT).mean() < 6 and '2 images' in notes
    return CONVERTED


def heic_alone():
    Path('in.heic').write_bytes(WHOLE_BOXES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, 'pillow_heif', None)
        with pytest.raises(OSError, match=r'in\.heic.*\[heic\]'):
            through('in.heic')
    return REFUSED


def raw():
    mosaic = {'photometric': 32803, 'extratags': [(33421, 3, 2, (2, 2)), (33422, 1, 4, bytes([0, 1, 1, 2]))]}
    with tifffile.TiffWriter('in.dng') as writer:
        writer.write(THUMBNAIL, photometric='rgb', subfiletype=1, subifds=1, metadata=None)
        writer.write(DEEP[..., 0], metadata=None, **mosaic)
    contents = {
        'in.tif': Path('in.dng').read_bytes(),
        'in.raf': b'FUJIFILMCCD-RAW 0201' + bytes(99),
        'in.cr3': box(b'ftyp', b'crx \0\0\0\1crx isom') + bytes(99),
        'in.orf': b'IIRO' + bytes(99),
        'in.rw2': b'IIU\0' + bytes(99),
        'in.x3f': b'FOVb' + bytes(99),
        'in.jpg': b'II\x1a\0\0\0HEAPCCDR' + bytes(99),  # CRW
    }
    for name, content in contents.items():
        Path(name).write_bytes(content)
    for name in ('in.dng', *contents):
        with pytest.raises(OSError, match=f'{re.escape(name)}.*raw'):
            through(name)
    return all_refused('in.dng', *contents)


def others():
    starts = {
        'a.jxl': b'\xff\x0a',
        'b.jxl': b'\0\0\0\x0cJXL \r\n\x87\n',
        'a.jp2': b'\0\0\0\x0cjP  \r\n\x87\n',
        'a.j2k': b'\xff\x4f\xff\x51',
        'a.psd': b'8BPS\0\1',
        'a.exr': b'v/1\1',
        'a.hdr': b'#?RADIANCE\n',
        'a.pdf': b'%PDF-1.7',
        'a.svg': b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    }
    for name, start in starts.items():
        Path(name).write_bytes(start + bytes(100))
        with pytest.raises(OSError, match=re.escape(name)):
            through(name)
    return all_refused(*starts)


ROWS = {
    ('TIFF', 'byte order'): compressions,
    ('TIFF', 'other compressions'): other_compressions,
    ('TIFF', 'planes'): layouts,
    ('TIFF', 'author'): tags,
    ('TIFF', 'white is zero'): depths,
    ('TIFF', 'CMYK'): colours,
    ('TIFF', 'colours that were multiplied'): premultiplied,
    ('TIFF', 'extra channels'): extra,
    ('TIFF', 'thumbnails'): thumbnails,
    ('TIFF', 'several pages'): several_pages,
    ('TIFF', 'signed'): samples,
    ('BMP', 'resolution'): bmp,
    ('BMP', '1, 4 and 8 bits'): small_bmp,
    ('WebP', 'lossless'): lambda: webp(True),
    ('WebP', 'lossy'): lambda: webp(False),
    ('GIF', 'one frame'): gif,
    ('AVIF', 'primaries'): avif_tags,
    ('AVIF', '10 and 12'): deep_avif,
    ('HEIC', 'colours'): heic_photo,
    ('HEIC', 'further images'): heic_more,
    ('HEIC', 'anything'): heic_alone,
    ('camera raw', 'DNG'): raw,
    ('others', 'JPEG XL'): others,
}


@pytest.mark.parametrize('row', [row for row in rows_of() if row[0] not in ('photos', 'JPEG', 'PNG')], ids=name_of)
def test_each_row(row, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert row[2].startswith(ROWS[key_of(row, list(ROWS))]()), row


def test_all_rows_are_there():
    assert len(rows_of()) == len(ROWS) + len(OF_OTHER_MODULE)
    assert len(table()) == len({row[:2] for row in table()}) > 70
