"""Read the bytes and PNG images of mask files."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from basicsr.images.headers import MAX_PIXELS, read_header
from basicsr.images.png import png_texts
from basicsr.masks.run_lengths import checked_size
from basicsr.utils.errors import MaskError

SHAPE_KEY = 'label_map'
"""PNG text chunk of a label map: 'L H W'."""
_MAX_LAYERS = 64  # in the file of an image of known size


def decode_png(data: bytes, name: str, size: tuple[int, int] | None) -> tuple[NDArray[Any], str]:
    """Decode a PNG of one channel.

    Args:
        data: content of the file.
        name: for error messages.
        size: (H, W) of the image, if known; checked before decoding except for label maps.

    Returns:
        pixels (H, W), and their kind: 'L' (uint8 gray), 'I;16' (uint16), 'P' (uint8 indices) or '1' (boolean).

    Raises:
        MaskError: not a PNG, damaged, too large, of a different size, or of several channels.
    """
    import imagecodecs

    most = MAX_PIXELS if size is None else max(MAX_PIXELS, _MAX_LAYERS * size[0] * size[1])
    try:
        header = read_header(data, name, most)
        if header.format == 'PNG':
            if header.size is not None and SHAPE_KEY not in png_texts(data):
                checked_size(list(header.size), name, size)
            if data[24:26] in (b'\x08\0', b'\x10\0'):  # gray
                pixels = np.asarray(imagecodecs.png_decode(data))  # Pillow limits the size
                pixels = pixels if pixels.ndim == 2 else pixels[..., 0]
                return pixels, 'L' if pixels.dtype == np.uint8 else 'I;16'
        with Image.open(io.BytesIO(data), formats=['PNG']) as image:
            mode, pixels = image.mode, np.asarray(image)
    except MaskError:
        raise
    except UnidentifiedImageError as error:
        raise MaskError(f'{name}: neither a PNG nor an .npz, .npy or JSON file') from error
    except Exception as error:  # decoders raise errors of many types
        raise MaskError(f'{name}: damaged ({str(error).removeprefix(f"{name}: ")}); recreate it') from error
    if mode not in ('L', 'P', '1'):
        raise MaskError(f'{name}: masks are single-channel PNG (gray, palette, black and white), this one is {mode}')
    return pixels, mode
