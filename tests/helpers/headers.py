"""Whole images of every format."""

from __future__ import annotations

import io
import struct
import zlib

import cv2
import tifffile
from PIL import Image, features
from skimage import data

IMAGE = cv2.resize(data.astronaut(), (150, 100), interpolation=cv2.INTER_AREA)


def encoded(suffix, **more):
    buffer = io.BytesIO()
    if suffix == '.tif':
        tifffile.imwrite(buffer, IMAGE, photometric='rgb', compression='zlib')
        return buffer.getvalue()
    kind = {'.jpg': 'JPEG', '.webp': 'WEBP', '.avif': 'AVIF', '.png': 'PNG', '.bmp': 'BMP'}[suffix]
    Image.fromarray(IMAGE).save(buffer, kind, **more)
    return buffer.getvalue()


WHOLE = {
    'baseline.jpg': encoded('.jpg', quality=95),
    'progressive.jpg': encoded('.jpg', quality=95, progressive=True),
    'restarts.jpg': encoded('.jpg', quality=95, restart_marker_rows=1),
    'gray.jpg': (lambda b: (Image.fromarray(IMAGE[..., 0]).save(b, 'JPEG', quality=90), b.getvalue())[1])(io.BytesIO()),
    'a.png': encoded('.png'),
    'a.tif': encoded('.tif'),
    'a.bmp': encoded('.bmp'),
    'a.webp': encoded('.webp'),
    **({'a.avif': encoded('.avif')} if features.check('avif') else {}),
}


def png(width, height, bits, colour, rows):
    def chunk(name, content):
        return struct.pack('>I', len(content)) + name + content + struct.pack('>I', zlib.crc32(name + content))

    header = struct.pack('>IIBBBBB', width, height, bits, colour, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b'')
