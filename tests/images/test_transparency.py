"""Transparency survives in every kind of PNG, and colours of invisible pixels do not reach the visible ones."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from basicsr.images.photo import Photo, load_photo
from basicsr.images.photo_files import save_photo
from basicsr.images.transparency import fill_invisible, keep_invisible
from basicsr.inference.deblurrer import Deblurrer
from basicsr.photos.runs import deblur_photo
from tests.helpers.deblurrers import network
from tests.helpers.png_chunks import chunk, png

RNG = np.random.default_rng(0)


def read(content, tmp_path):
    (tmp_path / 'a.png').write_bytes(content)
    return load_photo(tmp_path / 'a.png')


def kept(photo, tmp_path):
    """The photo after it was written and read again."""
    assert save_photo(tmp_path / 'b.png', photo) == ()
    return load_photo(tmp_path / 'b.png')


@pytest.mark.parametrize('bits', [1, 2, 4, 8, 16])
def test_a_transparent_gray(bits, tmp_path):
    samples = RNG.integers(0, 2**bits, (9, 13, 1)) if bits < 16 else RNG.integers(0, 4, (9, 13, 1)) * 21_845
    clear = int(samples[4, 4, 0])
    photo = read(png(samples, bits, 0, chunk(b'tRNS', struct.pack('>H', clear))), tmp_path)
    white = 65535 if bits == 16 else 255
    assert np.array_equal(photo.pixels, (samples * (white // (2**bits - 1))).astype(photo.pixels.dtype))
    assert np.array_equal(photo.alpha, np.where(samples == clear, 0, white))
    assert photo.alpha.dtype == photo.pixels.dtype == (np.uint16 if bits == 16 else np.uint8)
    again = kept(photo, tmp_path)
    assert again.pixels.shape[2] == 1 and np.array_equal(again.alpha, photo.alpha)
    content = (tmp_path / 'b.png').read_bytes()
    assert (content[24], content[25]) == (16 if bits == 16 else 8, 4)  # gray with alpha
    assert b'tRNS' not in content


@pytest.mark.parametrize('bits', [8, 16])
def test_a_transparent_colour(bits, tmp_path):
    samples = RNG.integers(0, 2, (9, 13, 3)) * (2**bits - 1)
    clear = samples[3, 3]
    photo = read(png(samples, bits, 2, chunk(b'tRNS', struct.pack('>HHH', *map(int, clear)))), tmp_path)
    assert np.array_equal(photo.pixels, samples)
    assert np.array_equal(photo.alpha[..., 0] == 0, (samples == clear).all(2))
    again = kept(photo, tmp_path)
    assert np.array_equal(again.pixels, photo.pixels) and np.array_equal(again.alpha, photo.alpha)


@pytest.mark.parametrize('bits', [1, 2, 4, 8])
def test_a_palette_with_transparent_entries(bits, tmp_path):
    indices = RNG.integers(0, 2**bits, (9, 13, 1))
    palette = RNG.integers(0, 256, (2**bits, 3)).astype(np.uint8)
    alphas = RNG.integers(0, 256, 2**bits - 1).astype(np.uint8)  # the last entries may be left out: opaque
    chunks = chunk(b'PLTE', palette.tobytes()), chunk(b'tRNS', alphas.tobytes())
    photo = read(png(indices, bits, 3, *chunks), tmp_path)
    assert np.array_equal(photo.pixels, palette[indices[..., 0]])
    assert np.array_equal(photo.alpha, np.append(alphas, 255)[indices])
    assert np.array_equal(kept(photo, tmp_path).alpha, photo.alpha)


@pytest.mark.parametrize(('bits', 'colour'), [(8, 4), (16, 4), (8, 6), (16, 6)])
def test_an_alpha_channel(bits, colour, tmp_path):
    samples = RNG.integers(0, 2**bits, (9, 13, {4: 2, 6: 4}[colour]))
    photo = read(png(samples, bits, colour), tmp_path)
    assert np.array_equal(photo.pixels, samples[..., :-1]) and np.array_equal(photo.alpha, samples[..., -1:])
    again = kept(photo, tmp_path)
    assert np.array_equal(again.pixels, photo.pixels) and np.array_equal(again.alpha, photo.alpha)
    content = (tmp_path / 'b.png').read_bytes()
    assert (content[24], content[25]) == (bits, colour)


@pytest.mark.parametrize('kind', [0, 2, 4, 6])
def test_other_readers_see_the_same(kind, tmp_path):
    samples = RNG.integers(0, 65536, (9, 13, {0: 1, 2: 3, 4: 2, 6: 4}[kind]))
    kept(read(png(samples, 16, kind), tmp_path), tmp_path)
    raw = cv2.imread(str(tmp_path / 'b.png'), cv2.IMREAD_UNCHANGED)
    raw = raw[..., None] if raw.ndim == 2 else raw
    expected = samples if kind == 0 else np.dstack([samples[..., 2::-1], samples[..., 3:]]) if kind in (2, 6) else None
    if expected is None:  # OpenCV makes colours of gray with alpha
        expected = np.dstack([samples[..., :1]] * 3 + [samples[..., 1:]])
    assert np.array_equal(raw, expected)


def test_interlaced_files(tmp_path):
    image = cv2.resize(data.astronaut(), (60, 40), interpolation=cv2.INTER_AREA)
    done, coded = cv2.imencode('.png', image[..., ::-1])
    assert done
    plain = read(coded.tobytes(), tmp_path).pixels
    assert np.array_equal(plain, image)
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    rows = b''.join(
        b'\0' + row.tobytes()
        for left, top, across, down in passes
        for row in image[top::down, left::across]
        if row.size
    )
    header = struct.pack('>IIBBBBB', 60, 40, 8, 2, 0, 0, 1)
    parts = chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b'')
    assert np.array_equal(read(b'\x89PNG\r\n\x1a\n' + parts, tmp_path).pixels, image)


# --- colours of invisible pixels


@pytest.mark.parametrize('kind', [np.uint8, np.uint16, np.float32])
def test_invisible_pixels_take_the_colour_of_the_nearest_visible_one(kind):
    colour = RNG.integers(0, 200, (20, 30, 3)).astype(kind)
    alpha = np.zeros((20, 30, 1), kind)
    seeds = [(3, 4), (15, 25), (10, 14)]
    for row, column in seeds:
        alpha[row, column] = 1
    filled = fill_invisible(colour, alpha)
    rows, columns = np.mgrid[:20, :30]
    distances = np.stack([np.hypot(rows - row, columns - column) for row, column in seeds])
    nearest, second = np.sort(distances, 0)[:2]
    sure = second - nearest > 0.1 * second  # the distances are close to those of Euclid, not exact
    expected = np.stack([colour[row, column] for row, column in seeds])[distances.argmin(0)]
    assert np.array_equal(filled[sure], expected[sure]) and sure.mean() > 0.8
    assert np.array_equal(keep_invisible(filled, colour, alpha), colour)
    assert fill_invisible(colour, None) is colour and fill_invisible(colour, alpha * 0) is colour


def rim_of(restored, plain, alpha):
    """How far visible pixels differ from what another background gives."""
    visible = np.broadcast_to(alpha > 0, restored.shape)
    return int(np.abs(restored.astype(int) - plain)[visible].max())


@pytest.mark.parametrize('kind', [np.uint8, np.uint16])
def test_what_lies_under_invisible_pixels_changes_no_visible_one(kind):
    white = int(np.iinfo(kind).max)
    deblurrer = Deblurrer(network(), device='cpu', guard='off')
    colour = cv2.resize(data.astronaut(), (60, 48), interpolation=cv2.INTER_AREA).astype(kind) * (white // 255)
    alpha = np.zeros((48, 60, 1), kind)
    alpha[10:38, 12:50] = white
    alpha[10:38, 12] = white // 2
    results = []
    for below in (0, white, 12_345 % white):
        garish = np.where(alpha > 0, colour, kind(below))
        photo, _ = deblur_photo(deblurrer, Photo(garish, alpha))
        results.append(photo.pixels)
        assert np.array_equal(photo.alpha, alpha)
        assert (photo.pixels[alpha[..., 0] == 0] == below).all()  # what nobody sees stays
        numpys = deblurrer(np.dstack([garish, alpha]))
        assert np.array_equal(numpys[..., :3], photo.pixels) and np.array_equal(numpys[..., 3:], alpha)
        if kind == np.uint8:
            tensor = torch.from_numpy(np.dstack([garish, alpha])).permute(2, 0, 1)
            assert np.array_equal(deblurrer(tensor).permute(1, 2, 0).numpy(), numpys)
            picture = deblurrer(Image.fromarray(np.dstack([garish, alpha])))
            assert np.array_equal(np.asarray(picture), numpys)
    assert rim_of(results[0], results[1], alpha) == rim_of(results[0], results[2], alpha) == 0
    opaque, _ = deblur_photo(deblurrer, Photo(np.where(alpha > 0, colour, 0)))
    assert rim_of(opaque.pixels, results[0], alpha) > 0  # without the transparency they do


def test_the_screen_shows_no_colours_of_invisible_pixels():
    """Made smaller, neighbours are mixed."""
    from basicsr.app.screen import SIDE, _on_screen

    colour = np.zeros((20, SIDE * 2, 3), np.uint8)
    colour[:, ::4, 1] = 255  # green, invisible
    alpha = np.full((20, SIDE * 2, 1), 255, np.uint8)
    alpha[:, ::4] = 0
    shown = _on_screen(Photo(colour, alpha)).astype(int)
    assert (shown[..., 1] == shown[..., 0]).all()


def test_a_gif_with_a_transparent_colour(tmp_path):
    image = Image.fromarray(cv2.resize(data.astronaut(), (60, 40))).quantize(8)
    image.save(tmp_path / 'a.gif', transparency=2)
    photo = load_photo(tmp_path / 'a.gif')
    assert np.array_equal(photo.alpha[..., 0] == 0, np.asarray(image) == 2)
    save_photo(tmp_path / 'b.png', replace(photo, pixels=255 - photo.pixels))
    assert np.array_equal(load_photo(Path(tmp_path / 'b.png')).alpha, photo.alpha)
    assert io.BytesIO((tmp_path / 'b.png').read_bytes()).read(4) == b'\x89PNG'
