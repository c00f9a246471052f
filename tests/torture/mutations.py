"""Spoil the bytes of good files."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

HEADERS = (
    b'\x89PNG\r\n\x1a\n\0\0\0\rIHDR',
    b'\xff\xd8\xff\xe0\0\x10JFIF\0',
    b'II*\0\x08\0\0\0',
    b'GIF89a',
    b'PK\x03\x04\x14\0\0\0\x08\0',
    b'\x93NUMPY\x01\0',
    b'\0\0\0\x18ftypmp42',
    b'RIFF\xff\xff\xff\xffAVI LIST',
    b'\x1aE\xdf\xa3',
    b'\x89HDF\r\n\x1a\n',
    b'\x80\x02}q\0.',
    b'{"format": ',
    b'#!/bin/sh\n',
)
NUMBERS = (
    '-1',
    '0',
    '1e309',
    '99999999999999999999',
    '2147483648',
    'NaN',
    '0.5',
    '""',
    'null',
    '[]',
    '{}',
    '"../../x"',
)


def flip_a_bit(data: bytes, rng: random.Random) -> bytes:
    """One bit, anywhere."""
    found = bytearray(data)
    found[rng.randrange(len(found))] ^= 1 << rng.randrange(8)
    return bytes(found)


def flip_many_bits(data: bytes, rng: random.Random) -> bytes:
    """A bit in one of a hundred bytes."""
    found = bytearray(data)
    for _ in range(max(2, len(found) // 100)):
        found[rng.randrange(len(found))] ^= 1 << rng.randrange(8)
    return bytes(found)


def flip_bits_of_the_header(data: bytes, rng: random.Random) -> bytes:
    """A few bits of the first 128 bytes."""
    found = bytearray(data)
    for _ in range(4):
        found[rng.randrange(min(128, len(found)))] ^= 1 << rng.randrange(8)
    return bytes(found)


def cut_off(data: bytes, rng: random.Random) -> bytes:
    """The end is missing."""
    return data[: rng.randrange(len(data))]


def cut_off_the_beginning(data: bytes, rng: random.Random) -> bytes:
    """The beginning is missing."""
    return data[rng.randrange(1, len(data)) :]


def swap_the_header(data: bytes, rng: random.Random) -> bytes:
    """The first bytes are those of another format."""
    header = rng.choice(HEADERS)
    return header + data[len(header) :]


def insert_noise(data: bytes, rng: random.Random) -> bytes:
    """Random bytes in the middle."""
    place = rng.randrange(len(data))
    return data[:place] + rng.randbytes(rng.randrange(1, 300)) + data[place:]


def zero_a_range(data: bytes, rng: random.Random) -> bytes:
    """Zeros in place of some bytes, as a disk with bad blocks leaves them."""
    start = rng.randrange(len(data))
    size = min(len(data) - start, rng.randrange(1, 4097))
    return data[:start] + bytes(size) + data[start + size :]


def repeat_a_range(data: bytes, rng: random.Random) -> bytes:
    """Some bytes twice."""
    start = rng.randrange(len(data))
    return data[: start + 512] + data[start:]


def fill_with_ones(data: bytes, rng: random.Random) -> bytes:
    """Four bytes at a multiple of four are the largest number."""
    place = 4 * rng.randrange(max(1, min(len(data), 4096) // 4))
    return data[:place] + b'\xff\xff\xff\xff' + data[place + 4 :]


def change_a_number(data: bytes, rng: random.Random) -> bytes:
    """Another value in place of one number of a text."""
    places = list(re.finditer(rb'(?<=[\s\[:,(])-?\d+(?:\.\d+)?', data))
    if not places:
        return flip_many_bits(data, rng)
    place = rng.choice(places)
    return data[: place.start()] + rng.choice(NUMBERS).encode() + data[place.end() :]


def change_a_word(data: bytes, rng: random.Random) -> bytes:
    """Another value in place of one word of a text."""
    places = list(re.finditer(rb'[A-Za-z_]{3,}', data))
    if not places:
        return flip_many_bits(data, rng)
    place = rng.choice(places)
    return data[: place.start()] + rng.choice(NUMBERS).encode() + data[place.end() :]


def remove_a_line(data: bytes, rng: random.Random) -> bytes:
    """One line of a text is missing."""
    lines = data.splitlines(keepends=True)
    lines.pop(rng.randrange(len(lines)))
    return b''.join(lines)


Mutation = Callable[[bytes, random.Random], bytes]
OF_BYTES: tuple[Mutation, ...] = (
    flip_a_bit,
    flip_many_bits,
    flip_bits_of_the_header,
    cut_off,
    cut_off_the_beginning,
    swap_the_header,
    insert_noise,
    zero_a_range,
    repeat_a_range,
    fill_with_ones,
)
OF_TEXT: tuple[Mutation, ...] = (*OF_BYTES, *(change_a_number, change_a_word, remove_a_line) * 3)
