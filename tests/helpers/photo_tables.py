"""Checks of rows of the photo tables in docs/files.md."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, features
from PIL.PngImagePlugin import PngInfo

from basicsr.images.photo import load_photo
from basicsr.photos.jobs import Inputs, plan
from basicsr.photos.runs import run_photo
from basicsr.utils.errors import ImageFileError
from tests.helpers.deblurrers import network
from tests.helpers.files_table import CONVERTED, KEPT, REFUSED
from tests.helpers.metadata import XMP, container, extension_segments, jpeg, packet, segment
from tests.helpers.photo_files import png, write_bad_files
from tests.helpers.png_chunks import chunk
from tests.helpers.png_chunks import png as png_by_hand
from tests.helpers.tiff import DEEP, EIGHT, PROFILE
from tests.helpers.videos import leaving

PICTURE = Image.fromarray(EIGHT)


ALPHA = np.broadcast_to(np.linspace(0, 255, 60).astype(np.uint8)[None, :, None], (40, 60, 1))


def through(name, content=None):
    """A file deblurred by a network that changes nothing: the path of the result, and what was said."""
    if content is not None:
        Path(name).write_bytes(content)
    Path('out').mkdir(exist_ok=True)
    (job,) = plan(Inputs([Path(name)]), Path('out'), '_deblurred')
    return job.output, ' '.join(run_photo(leaving(), job).notes)


def all_refused(*names):
    """Whether all files are refused by name, and leave nothing."""
    for name in names:
        with pytest.raises(ImageFileError) as error:
            through(name)
        assert Path(name).name in str(error.value) and not list(Path('out').iterdir())
    return REFUSED


def saved(name, image=PICTURE, **more):
    image.save(name, **more)
    return Path(name)


def pixels(path):
    photo = load_photo(Path(path))
    return photo.pixels if photo.alpha is None else np.concatenate([photo.pixels, photo.alpha], 2)


def kinds():
    for bits, image in ((8, EIGHT), (16, DEEP)):
        alpha = ALPHA if bits == 8 else ALPHA.astype(np.uint16) * 257
        for channels in (image[..., :1], np.dstack([image[..., :1], alpha]), image, np.dstack([image, alpha])):
            more = {'extrasamples': ['unassalpha']} if channels.shape[2] in (2, 4) else {}
            kind = 'rgb' if channels.shape[2] > 2 else 'minisblack'
            contiguous = {'planarconfig': 'contig'} if channels.shape[2] > 1 else {}
            plain = channels[..., 0] if channels.shape[2] == 1 else channels
            tifffile.imwrite('in.tif', plain, photometric=kind, **more, **contiguous)
            colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels.shape[2]]
            Path('in.png').write_bytes(png_by_hand(channels, bits, colour))
            for name in ('in.tif', 'in.png'):
                result = pixels(through(name)[0])
                assert result.dtype == channels.dtype and np.array_equal(result, channels), (name, channels.shape)
    return KEPT


def invisible():
    colours = EIGHT.copy()
    colours[:, :20] = (255, 0, 255)
    seen = np.where(np.arange(60) < 20, 0, 255).astype(np.uint8)[None, :, None].repeat(40, 0)
    saved('in.png', Image.fromarray(np.dstack([colours, seen])))
    assert np.array_equal(pixels(through('in.png')[0])[..., :3], colours)
    Path('out').mkdir(exist_ok=True)
    results = []
    for hidden in ((255, 0, 255), (0, 255, 0)):
        colours[:, :20] = hidden
        saved('in.png', Image.fromarray(np.dstack([colours, seen])))
        net = leaving(network())
        (job,) = plan(Inputs([Path('in.png')]), Path('out'), '')
        run_photo(net, job)
        results.append(pixels('out/in.png')[:, 20:])
    return KEPT if np.array_equal(*results) else CONVERTED


def what_all_say():
    exif = Image.Exif()
    exif[271], exif[274], exif[0x9286] = 'Maker', 6, 'comment'
    said = {'exif': exif.tobytes(), 'icc_profile': PROFILE, 'dpi': (300, 150)}
    for name in ('in.jpg', 'in.png', 'in.webp', *(['in.avif'] if features.check('avif') else [])):
        more = {'pnginfo': PngInfo()} if name == 'in.png' else {'xmp': packet()}
        if name == 'in.png':
            more['pnginfo'].add_itxt('XML:com.adobe.xmp', packet().decode())
        saved(name, **said, **more)
        result, _ = through(name)
        with Image.open(name) as before, Image.open(result) as after:
            after.load()
            assert dict(after.getexif()) == dict(before.getexif()) and after.getexif()[271] == 'Maker', name
            assert after.info['icc_profile'] == PROFILE and after.info.get('dpi') == before.info.get('dpi')
        assert packet() in result.read_bytes()
    return KEPT


def palettes():
    clear = PICTURE.quantize(20)
    for name in ('in.png', 'in.tif', 'in.bmp'):
        result, notes = through(saved(name, clear))
        assert np.array_equal(pixels(result), np.asarray(clear.convert('RGB'))) and 'palette' in notes
    result, _ = through(saved('clear.png', clear, transparency=3))
    assert np.array_equal(pixels(result)[..., 3] == 0, np.asarray(clear) == 3)
    return CONVERTED


def gone():
    inside = container('Primary', 'GainMap', 'MotionPhoto', 'Depth', 'Original')
    content = jpeg(segment(0xE1, XMP + packet('dcterms:provenance="self#jumbf=/c2pa/a"', inside)))
    result, notes = through('in.jpg', content)
    absent = (b'GainMap', b'MotionPhoto', b'Depth', b'Original', b'provenance')
    assert not any(f'"{word.decode()}"'.encode() in result.read_bytes() for word in absent)
    assert b'provenance="' not in result.read_bytes() and b'dc:title="holiday"' in result.read_bytes()
    assert all(word in notes for word in ('gain map', 'motion photo', 'depth map', 'further images', 'credentials'))
    return CONVERTED


def moving():
    more = {'save_all': True, 'append_images': [Image.fromarray(255 - EIGHT)]}
    names = ['in.gif', 'in.webp', 'in.png', *(['in.avif'] if features.check('avif') else [])]
    return all_refused(*(saved(name, **more) for name in names))


def bad():
    left_out = ('gone.png', 'phone.heic', 'fuji.jpg', 'moving.gif', 'moving.webp', 'pages.tif', 'float.tif')
    names = [name for name in write_bad_files(Path()) if name not in left_out]
    Path('lying.png').write_bytes(png(12_000, 12_000, 8, 2, bytes(1000)))
    return all_refused(*names, 'lying.png')


def tables():
    for name, more, changed in (
        ('fine.jpg', {'quality': 97, 'subsampling': '4:2:2', 'progressive': True}, False),
        ('coarse.jpg', {'quality': 40, 'subsampling': '4:2:0'}, True),
    ):
        result, _ = through(saved(name, **more))
        with Image.open(name) as before, Image.open(result) as after:
            assert (before.quantization != after.quantization) is changed
            assert all(
                np.less_equal(after.quantization[key], table).all() for key, table in before.quantization.items()
            )
            assert after.layer == before.layer and bool(after.info.get('progressive')) is not changed
    return KEPT


def segments():
    main = segment(0xE1, XMP + packet('xmpNote:HasExtendedXMP="0123456789ABCDEF0123456789ABCDEF"'))
    more = extension_segments(b'<x:xmpmeta xmlns:x="adobe:ns:meta/" x:y="%b"/>' % (b'A' * 90_000))
    other = [segment(0xED, b'Photoshop 3.0\x008BIM'), segment(0xFE, b'first'), segment(0xFE, b'second')]
    result, notes = through('in.jpg', jpeg(main, *more, *other))
    return KEPT if all(part in result.read_bytes() for part in (main, *more, *other)) and not notes else CONVERTED


def several():
    saved('in.jpg', format='MPO', save_all=True, append_images=[Image.fromarray(255 - EIGHT)], quality=95)
    assert np.abs(pixels(through('in.jpg')[0]).astype(int) - EIGHT).mean() < 6
    result, _ = through('padded.jpg', jpeg(trailer=bytes(50_000)))
    assert bytes(5000) not in result.read_bytes()
    return CONVERTED


def inks():
    result, notes = through(saved('in.jpg', PICTURE.convert('CMYK'), quality=95))
    assert np.abs(pixels(result).astype(int) - EIGHT).mean() < 6 and 'may be off' in notes
    return CONVERTED


def chunks():
    names = {
        b'gAMA': struct.pack('>I', 45455),
        b'cHRM': bytes(32),
        b'cICP': bytes([12, 13, 0, 1]),
        b'tEXt': b'Title\0a walk',
        b'tIME': bytes([7, 230, 1, 2, 3, 4, 5]),
    }
    parts = [chunk(name, content) for name, content in names.items()]
    result, notes = through('in.png', png_by_hand(EIGHT, 8, 2, *parts))
    assert all(part in result.read_bytes() for part in parts) and not notes
    for name, content in ((b'sRGB', b'\0'), (b'iCCP', b'x\0\0' + zlib.compress(PROFILE))):
        part = chunk(name, content)
        assert part in through('in.png', png_by_hand(EIGHT, 8, 2, part))[0].read_bytes()
    return KEPT


def clear_colours():
    rng = np.random.default_rng(0)
    for bits in (1, 2, 4, 8, 16):
        samples = rng.integers(0, 2, (9, 13, 1)) * (2**bits - 1)
        content = png_by_hand(samples, bits, 0, chunk(b'tRNS', struct.pack('>H', 0)))
        result = pixels(through('in.png', content)[0])
        assert result.shape[2] == 2 and np.array_equal(result[..., 1] == 0, samples[..., 0] == 0)
    for bits in (8, 16):
        samples = rng.integers(0, 2, (9, 13, 3)) * (2**bits - 1)
        content = png_by_hand(samples, bits, 2, chunk(b'tRNS', struct.pack('>3H', 0, 0, 0)))
        result = pixels(through('in.png', content)[0])
        assert np.array_equal(result[..., 3] == 0, (samples == 0).all(2)) and np.array_equal(result[..., :3], samples)
    palette = chunk(b'PLTE', bytes(range(6))) + chunk(b'tRNS', b'\0')
    samples = rng.integers(0, 2, (9, 13, 1))
    result = pixels(through('in.png', png_by_hand(samples, 1, 3, palette))[0])
    assert np.array_equal(result[..., 3] == 0, samples[..., 0] == 0)
    return CONVERTED


def shallow():
    for bits in (1, 2, 4):
        samples = np.random.default_rng(1).integers(0, 2**bits, (9, 13, 1))
        result, notes = through('in.png', png_by_hand(samples, bits, 0))
        assert np.array_equal(pixels(result), samples * 255 // (2**bits - 1)) and '8-bit gray' in notes
    return CONVERTED


ROWS = {
    ('photos', '8 bits; 16 bits'): kinds,
    ('photos', 'colours of invisible pixels'): invisible,
    ('photos', 'EXIF with its orientation'): what_all_say,
    ('photos', 'palettes'): palettes,
    ('photos', 'XMP entries'): gone,
    ('photos', 'animations'): moving,
    ('photos', 'more than 150 million'): bad,
    ('JPEG', 'quantisation tables'): tables,
    ('JPEG', 'IPTC'): segments,
    ('JPEG', 'several images'): several,
    ('JPEG', 'CMYK'): inks,
    ('PNG', 'texts'): chunks,
    ('PNG', 'a transparent gray'): clear_colours,
    ('PNG', 'gray of 1, 2 and 4'): shallow,
}
