"""Read the tags of a TIFF file that stay valid when its pixels change."""

from __future__ import annotations

import io
import struct
import warnings
from typing import Any

from PIL import Image, TiffImagePlugin

_EXIF_IFD, _GPS_IFD, _INTEROPERABILITY = 34665, 34853, 40965
_KEPT = (
    *(270, 271, 272, 274, 282, 283, 285, 286, 287, 296, 305, 306, 315, 316, 33432),  # who, what, when, how large
    33723,  # IPTC
    *(33550, 33922, 34264, 34735, 34736, 34737, 42112, 42113),  # GeoTIFF
)


def exif_of_tiff(data: bytes, directories: tuple[int, ...]) -> tuple[bytes, dict[str, Any]]:
    """Return the tags of a TIFF file as EXIF data, and its ``icc_profile`` and ``xmp``.

    Damaged tags are ignored.

    Args:
        data: content of the file.
        directories: offsets of the directories to read; later ones take precedence.
    """
    kept = Image.Exif()
    more: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # about damaged tags
        for place in directories:
            tags = _directory(data, place)
            kept.update({tag: tags[tag] for tag in _KEPT if tag in tags})
            for tag in (_EXIF_IFD, _GPS_IFD):
                if isinstance(tags.get(tag), int):
                    kept[tag] = _directory(data, int(tags[tag]))
                    kept[tag].pop(_INTEROPERABILITY, None)  # an offset in the old file
            more |= {key: _bytes_of(tags[tag]) for key, tag in (('icc_profile', 34675), ('xmp', 700)) if tag in tags}
        return (kept.tobytes() if len(kept) else b''), more


def _directory(data: bytes, place: int) -> dict[int, Any]:
    """Return the tags of a directory; empty if it is damaged."""
    header = data[: 16 if data[2] == 43 or data[3] == 43 else 8]  # 43: BigTIFF
    file = io.BytesIO(data)
    file.seek(place)
    tags: Any = TiffImagePlugin.ImageFileDirectory_v2(header)
    try:
        tags.load(file)
        return dict(tags)
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, IndexError, OverflowError, struct.error):
        return {}


def _bytes_of(value: Any) -> bytes:
    return bytes(value) if isinstance(value, (bytes, bytearray, tuple, list)) else str(value).encode()
