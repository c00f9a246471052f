"""Read and write the colour tags of AVIF and HEIC files: code points of ITU-T H.273, bits, subsampling."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

_PRIMARIES = {  # x and y of red, green and blue; white is D65
    1: (0.64, 0.33, 0.30, 0.60, 0.15, 0.06),
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
}
_D65 = (0.3127, 0.3290, 1.0)
_CURVES = {  # transfer: below, slope there, offset, exponent
    **dict.fromkeys((1, 6, 14, 15), (0.081, 4.5, 0.099, 1 / 0.45)),
    13: (0.04045, 12.92, 0.055, 2.4),
}


@dataclass(frozen=True)
class ColourTags:
    """Colour tags of the first image of a file.

    Args:
        primaries: code point, such as 1 (BT.709, sRGB), 9 (BT.2020), 12 (Display P3).
        transfer: code point, such as 13 (sRGB), 16 (PQ), 18 (HLG).
        bits: bits of a sample.
        subsampling: ``4:4:4``, ``4:2:2``, ``4:2:0`` or ``4:0:0``.
    """

    primaries: int = 1
    transfer: int = 13
    bits: int = 8
    subsampling: str = '4:4:4'

    @property
    def is_srgb(self) -> bool:
        """Whether the colours need no tag: sRGB, or unspecified."""
        return self.primaries in (1, 2) and self.transfer in (1, 2, 6, 13)

    @property
    def is_hdr(self) -> bool:
        """Whether the transfer is HDR: PQ or HLG."""
        return self.transfer in (16, 18)


def read_colour_tags(data: bytes) -> ColourTags:
    """Read the tags of an AVIF or HEIC file; missing ones have the default values."""
    primaries, transfer = 1, 13
    place = data.find(b'colrnclx')
    if 0 <= place <= len(data) - 14:
        primaries, transfer = struct.unpack_from('>HH', data, place + 8)
    place = data.find(b'av1C')
    if 0 <= place <= len(data) - 8:
        flags = data[place + 6]  # tier, high_bitdepth, twelve_bit, monochrome, subsampling_x, subsampling_y, ...
        bits = 8 if not flags & 0x40 else 12 if flags & 0x20 else 10
        sampling = {0: '4:4:4', 0x08: '4:2:2', 0x0C: '4:2:0'}.get(flags & 0x0C, '4:4:4')
        return ColourTags(primaries, transfer, bits, '4:0:0' if flags & 0x10 else sampling)
    place = data.find(b'hvcC')
    bits = 8 + (data[place + 22] & 7) if 0 <= place <= len(data) - 23 else 8
    return ColourTags(primaries, transfer, bits)


def with_colour_tags(data: bytes, tags: ColourTags) -> bytes:
    """Replace primaries and transfer of an AVIF file; its matrix belongs to the coding and stays.

    Args:
        data: a file with a box ``colr`` of type ``nclx``, as every encoder writes it.
        tags: tags of the source.
    """
    place = data.find(b'colrnclx')
    if place < 0:
        return data
    return data[: place + 8] + struct.pack('>HH', tags.primaries, tags.transfer) + data[place + 12 :]


def profile_of(tags: ColourTags) -> bytes | None:
    """Return an ICC profile of the same colours, for formats without tags; None if there is none (HDR)."""
    import imagecodecs

    primaries, curve = _PRIMARIES.get(tags.primaries), _CURVES.get(tags.transfer)
    if primaries is None or curve is None:
        return None
    below, slope, offset, exponent = curve
    value = np.linspace(0, 1, 4096)
    light = np.where(value <= below, value / slope, ((value + offset) / (1 + offset)) ** exponent)
    corners = [number for pair in zip(primaries[::2], primaries[1::2], strict=True) for number in (*pair, 1.0)]
    table = (light * 65535).round().astype(np.uint16)
    return bytes(imagecodecs.cms_profile('rgb', whitepoint=_D65, primaries=corners, transferfunction=table))
