"""What the tests of the web page share: networks in files, and photos of many kinds."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageCms

from basicsr.archs import build_network
from basicsr.images.files import imwrite
from basicsr.weights.files import save_weights

MASKED = {'type': 'SegNAFNet', 'width': 4, 'seg_channel': 2, 'enc_blk_nums': [1], 'dec_blk_nums': [1]}
PLAIN = {'type': 'NAFNet', 'width': 4, 'enc_blk_nums': [1], 'dec_blk_nums': [1]}


def write_masked(path: Path, **more: Any) -> Path:
    """A network that changes photos a little, and whose masks are seen in the result."""
    torch.manual_seed(0)
    net: Any = build_network({**MASKED, **more})
    for name, weights in net.named_parameters():
        if name.startswith('pre_seg'):
            torch.nn.init.normal_(weights, std=0.5)
        elif name.endswith(('beta', 'gamma')):
            torch.nn.init.normal_(weights, std=0.3)
    torch.nn.init.normal_(net.ending.weight, std=0.004)
    torch.nn.init.zeros_(net.ending.bias)
    save_weights(path, net)
    return path


def write_plain(path: Path) -> Path:
    """A network without masks."""
    torch.manual_seed(0)
    save_weights(path, build_network(PLAIN))
    return path


def scene(height: int = 90, width: int = 120, seed: int = 0) -> np.ndarray:
    """(H, W, 3) RGB uint8 with a few regions in it."""
    rng = np.random.default_rng(seed)
    image = np.zeros((height, width, 3), np.uint8)
    for _ in range(12):
        top, left = rng.integers(0, height - 20), rng.integers(0, width - 20)
        image[top : top + 40, left : left + 50] = rng.integers(30, 226, 3)
    return image + rng.integers(0, 8, image.shape, dtype=np.uint8)


def write_jpeg(path: Path, seed: int = 0) -> Path:
    """A phone's photo: lying on its side, with EXIF data and a colour profile."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, 'Camera'
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
    Image.fromarray(scene(seed=seed)).save(path, quality=85, exif=exif, icc_profile=profile)
    return path


def write_deep(path: Path) -> Path:
    """A PNG of 16 bits."""
    imwrite(path, scene(60, 80).astype(np.uint16) * 257)
    return path


def bad_files() -> dict[str, tuple[bytes, str]]:
    """Files that are no photos, by name, each with words of the message that says so."""
    jpeg, gif = io.BytesIO(), io.BytesIO()
    Image.fromarray(scene()).save(jpeg, 'JPEG')
    frames = [Image.fromarray(scene(seed=seed)) for seed in (0, 1)]
    frames[0].save(gif, 'GIF', save_all=True, append_images=frames[1:])
    large = io.BytesIO()
    Image.new('RGB', (2000, 1001)).save(large, 'PNG')
    return {
        'notes.jpg': (b'dear diary', 'not a readable image'),
        'empty.png': (b'', 'empty'),
        'cut.jpg': (jpeg.getvalue()[:-400], 'cut off'),
        'moving.gif': (gif.getvalue(), 'an animation'),
        'large.png': (large.getvalue(), 'more than 2 million pixels'),
    }
