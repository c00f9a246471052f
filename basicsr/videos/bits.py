"""Read the headers of H.264 and MPEG-4 streams bit by bit."""

from __future__ import annotations

from basicsr.videos.colours import Colours

_HIGH = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134}


class _Bits:
    def __init__(self, data: bytes) -> None:
        self._text = ''.join(f'{byte:08b}' for byte in data)
        self._at = 0

    def take(self, count: int = 1) -> int:
        """Read an unsigned number of ``count`` bits.

        Raises:
            ValueError: there are fewer bits.
        """
        self._at += count
        if self._at > len(self._text):
            raise ValueError('the header ends too early')
        return int(self._text[self._at - count : self._at], 2)

    def golomb(self, count: int = 1) -> int:
        """Read numbers in Exp-Golomb code (H.264, section 9.1), and return the last."""
        value = 0
        for _ in range(count):
            zeros = 0
            while not self.take():
                zeros += 1
            value = (1 << zeros) - 1 + (self.take(zeros) if zeros else 0)
        return value


def read_h264(unit: bytes) -> Colours:
    """Read the colours of a sequence parameter set (H.264, sections 7.3.2.1.1 and E.1.1).

    Args:
        unit: the NAL unit with its header byte.

    Raises:
        ValueError: the set is cut off, or the frames are not progressive 4:2:0 of 8 bits with square pixels.
    """
    bits = _Bits(unit[1:400].replace(b'\0\0\3', b'\0\0'))
    profile = bits.take(8)
    bits.take(16)
    bits.golomb()
    if profile in _HIGH:
        if bits.golomb() != 1 or bits.golomb() or bits.golomb():  # chroma, further bits of luma and chroma
            raise ValueError('it has more than 8 bits, or other chroma than 4:2:0')
        bits.take()
        if bits.take():
            raise ValueError('it has scaling matrices')
    bits.golomb()
    order = bits.golomb()
    if order == 0:
        bits.golomb()
    elif order == 1:
        bits.take()
        bits.golomb(2)
        bits.golomb(bits.golomb())
    bits.golomb()
    bits.take()
    bits.golomb(2)
    if not bits.take():
        raise ValueError('it is interlaced')
    bits.take()
    if bits.take():  # cropping
        bits.golomb(4)
    if not bits.take():
        return Colours()
    if bits.take():
        aspect = bits.take(8)
        if (aspect == 255 and bits.take(16) != bits.take(16)) or aspect not in (0, 1, 255):
            raise ValueError('its pixels are not square')
    if bits.take():
        bits.take()
    return _signal(bits)


def read_mpeg4(header: bytes) -> Colours:
    """Read the colours of a visual object of MPEG-4 (ISO/IEC 14496-2, section 6.2.2.1).

    Args:
        header: header of the stream.

    Raises:
        ValueError: it is cut off.
    """
    start = header.find(b'\0\0\1\xb5')
    if start < 0:
        return Colours()
    bits = _Bits(header[start + 4 : start + 20])
    if bits.take():
        bits.take(7)
    bits.take(4)
    return _signal(bits)


def _signal(bits: _Bits) -> Colours:
    """Read range and colours, which have the same code in H.264 and MPEG-4."""
    if not bits.take():
        return Colours()
    bits.take(3)
    full = bits.take()
    if not bits.take():
        return Colours(range=1 + full)
    primaries, transfer, matrix = bits.take(8), bits.take(8), bits.take(8)
    return Colours(matrix, primaries, transfer, 1 + full)
