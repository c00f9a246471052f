"""What the headers of H.264 and MPEG-4 streams state, read bit by bit."""

from __future__ import annotations

from dataclasses import dataclass

from basicsr.videos.colours import Colours

_HIGH = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134}


@dataclass(frozen=True)
class Stated:
    """What a header states.

    Args:
        eight_bits: 4:2:0 of 8 bits.
        progressive: frames, no fields.
        square: pixels are square, or nothing is said.
        colours: of the frames.
    """

    eight_bits: bool
    progressive: bool
    square: bool
    colours: Colours


class _Bits:
    def __init__(self, data: bytes) -> None:
        self._text = ''.join(f'{byte:08b}' for byte in data)
        self._at = 0

    def take(self, count: int) -> int:
        """An unsigned number of some bits.

        Raises:
            ValueError: there are no more.
        """
        self._at += count
        if self._at > len(self._text):
            raise ValueError('the header ends too early')
        return int(self._text[self._at - count : self._at], 2)

    def golomb(self) -> int:
        """A number in Exp-Golomb code (H.264, section 9.1)."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + (self.take(zeros) if zeros else 0)


def read_h264(unit: bytes) -> Stated:
    """What a sequence parameter set states (H.264, sections 7.3.2.1.1 and E.1.1).

    Args:
        unit: the NAL unit with its header byte.

    Raises:
        ValueError: it cannot be read, or has what is rare.
    """
    bits = _Bits(unit[1:400].replace(b'\0\0\3', b'\0\0'))
    profile = bits.take(8)
    bits.take(16)
    bits.golomb()
    eight = True
    if profile in _HIGH:
        eight = bits.golomb() == 1
        if not eight:
            return Stated(False, True, True, Colours())
        eight = [bits.golomb(), bits.golomb()] == [0, 0]  # luma and chroma, beyond 8
        bits.take(1)
        if bits.take(1):
            raise ValueError('scaling matrices')
    bits.golomb()
    order = bits.golomb()
    if order == 0:
        bits.golomb()
    elif order == 1:
        bits.take(1)
        for _ in range(2):
            bits.golomb()
        for _ in range(bits.golomb()):
            bits.golomb()
    bits.golomb()
    bits.take(1)
    bits.golomb()
    bits.golomb()
    progressive = bool(bits.take(1))
    bits.take(1 if progressive else 2)
    if bits.take(1):
        for _ in range(4):
            bits.golomb()
    square, colours = True, Colours()
    if bits.take(1):
        square, colours = _usability(bits)
    return Stated(eight, progressive, square, colours)


def _usability(bits: _Bits) -> tuple[bool, Colours]:
    square, colours = True, Colours()
    if bits.take(1):
        kind = bits.take(8)
        square = bits.take(16) == bits.take(16) if kind == 255 else kind in (0, 1)
    if bits.take(1):
        bits.take(1)
    if bits.take(1):
        colours = _signal(bits)
    return square, colours


def _signal(bits: _Bits) -> Colours:
    """Range and colours, alike in H.264 and MPEG-4."""
    bits.take(3)
    full = bits.take(1)
    if not bits.take(1):
        return Colours(range=1 + full)
    primaries, transfer, matrix = bits.take(8), bits.take(8), bits.take(8)
    return Colours(matrix, primaries, transfer, 1 + full)


def read_mpeg4(header: bytes) -> Colours:
    """What a visual object of MPEG-4 states of colours (ISO/IEC 14496-2, section 6.2.2.1).

    Args:
        header: of the stream.

    Raises:
        ValueError: it ends too early.
    """
    start = header.find(b'\0\0\1\xb5')
    if start < 0:
        return Colours()
    bits = _Bits(header[start + 4 : start + 20])
    if bits.take(1):
        bits.take(7)
    bits.take(4)
    return _signal(bits) if bits.take(1) else Colours()
