"""TIFF files with chosen tags and samples."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
import tifffile
from PIL import ImageCms
from skimage import data

EIGHT = cv2.resize(data.astronaut(), (60, 40), interpolation=cv2.INTER_AREA)


DEEP = EIGHT.astype(np.uint16) * 250 + np.random.default_rng(0).integers(0, 900, EIGHT.shape).astype(np.uint16)


PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()


def written(path, pixels, **more):
    try:
        tifffile.imwrite(path, pixels, **{'photometric': 'rgb', **more})
    except NotImplementedError as error:
        pytest.skip(f'the installed imagecodecs has no {error}')
    return path


def pages(path, *images, **of_first):
    with tifffile.TiffWriter(path) as writer:
        for image, more in images:
            writer.write(image, photometric='rgb', metadata=None, **more)
    return path


THUMBNAIL = EIGHT[::4, ::4]


def patched(content, tag, value):
    """A little-endian file whose tag has another value."""
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        place = file.pages[0].tags[tag]
    size = {3: 2, 4: 4}[int(place.dtype)]
    return content[: place.valueoffset] + int(value).to_bytes(size, 'little') + content[place.valueoffset + size :]
