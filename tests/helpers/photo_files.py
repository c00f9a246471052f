"""PNG files by hand, and a folder of bad files."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import tifffile
from PIL import Image
from skimage import data

PICTURE = cv2.resize(data.astronaut(), (60, 40), interpolation=cv2.INTER_AREA)


def png(width, height, depth, colour, rows):
    def chunk(name, content):
        return struct.pack('>I', len(content)) + name + content + struct.pack('>I', zlib.crc32(name + content))

    header = struct.pack('>IIBBBBB', width, height, depth, colour, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b'')


def write_bad_files(folder):
    """Files that are no photos, by what is said about them."""
    Image.fromarray(PICTURE).save(folder / 'whole.jpg', quality=95)
    whole = (folder / 'whole.jpg').read_bytes()
    (folder / 'cut.jpg').write_bytes(whole[: len(whole) // 2])
    (folder / 'whole.jpg').unlink()
    Image.fromarray(PICTURE).save(folder / 'whole.tif')
    tiff = (folder / 'whole.tif').read_bytes()
    (folder / 'whole.tif').unlink()
    (folder / 'cut.tif').write_bytes(tiff[: len(tiff) // 2])
    (folder / 'empty.png').write_bytes(b'')
    (folder / 'text.jpg').write_text('not an image')
    (folder / 'phone.heic').write_bytes(b'\0\0\0\x18ftypheic' + bytes(50))
    (folder / 'fuji.jpg').write_bytes(b'FUJIFILMCCD-RAW 0201')
    (folder / 'clip.jpg').write_bytes(b'\0\0\0\x18ftypisom' + bytes(50))
    frames = [Image.fromarray(PICTURE), Image.fromarray(255 - PICTURE)]
    frames[0].save(folder / 'moving.gif', save_all=True, append_images=frames[1:])
    frames[0].save(folder / 'pages.tif', save_all=True, append_images=frames[1:])
    frames[0].save(folder / 'moving.webp', save_all=True, append_images=frames[1:])
    (folder / 'bomb.png').write_bytes(png(100_000, 100_000, 8, 2, bytes(1000)))
    (folder / 'huge.png').write_bytes(png(20_000, 9_000, 8, 0, bytes(1000)))
    tifffile.imwrite(folder / 'float.tif', PICTURE.astype(np.float32), photometric='rgb')
    broken = bytearray(png(60, 40, 8, 2, b''.join(b'\0' + bytes(180) for _ in range(40))))
    broken[45:49] = b'abcd'
    (folder / 'broken.png').write_bytes(bytes(broken))
    return {
        'cut.jpg': 'cut off',
        'cut.tif': 'cut off',
        'empty.png': 'empty (0 bytes)',
        'text.jpg': 'not a readable image',
        'phone.heic': 'cut off',
        'fuji.jpg': 'camera raw',
        'clip.jpg': 'a video',
        'moving.gif': '2 frames: an animation',
        'pages.tif': '2 pages',
        'moving.webp': '2 frames: an animation',
        'bomb.png': 'more than 150 million pixels',
        'huge.png': 'more than 150 million pixels',
        'float.tif': 'contains float32 values',
        'broken.png': 'damaged',
        'gone.png': 'cannot be read (No such file',
    }
