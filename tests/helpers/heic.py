"""HEIC files, whole and damaged."""

from __future__ import annotations

import struct

import cv2
import numpy as np
from skimage import data

from tests.helpers.project import require

IMAGE = cv2.resize(data.astronaut(), (96, 64), interpolation=cv2.INTER_AREA)


def heic(path, pixels=IMAGE, mode='RGB', **more):
    require('pillow_heif')
    import pillow_heif

    settings = {'quality': 95, 'chroma': 444, 'matrix_coefficients': 6, 'full_range_flag': 1, **more}
    file = pillow_heif.from_bytes(mode, pixels.shape[1::-1], np.ascontiguousarray(pixels).tobytes())
    file.save(path, **settings)
    return path


def box(kind, content):
    return struct.pack('>I4s', len(content) + 8, kind) + content


WHOLE_BOXES = box(b'ftyp', b'heic\0\0\0\0mif1heic') + box(b'meta', bytes(40)) + box(b'mdat', bytes(100))
