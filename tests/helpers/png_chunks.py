"""PNG files, chunk by chunk."""

from __future__ import annotations

import struct
import zlib

import numpy as np


def chunk(name, content):
    return struct.pack('>I', len(content)) + name + content + struct.pack('>I', zlib.crc32(name + content))


def png(samples, bits, colour, *chunks):
    """(H, W, C) samples as a PNG of any depth, written by hand."""
    height, width = samples.shape[:2]
    if bits == 16:
        rows = [row.astype('>u2').tobytes() for row in samples]
    else:
        digits = np.unpackbits(samples.astype(np.uint8)[..., None], axis=3)[..., 8 - bits :]
        rows = [np.packbits(row.ravel()).tobytes() for row in digits]
    header = struct.pack('>IIBBBBB', width, height, bits, colour, 0, 0, 0)
    coded = zlib.compress(b''.join(b'\0' + row for row in rows))
    return (
        b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + b''.join(chunks) + chunk(b'IDAT', coded) + chunk(b'IEND', b'')
    )
