"""Stand-ins for benchmarks: a few synthetic pairs under the names of the real ones, for trials before a download."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from basicsr.data.synthetic_blur_dataset import SyntheticBlurDataset
from basicsr.images.arrays import Array
from basicsr.preparation.benchmark_sets import PARTS, BenchmarkSet, FolderLayout
from basicsr.preparation.output_files import save_bytes, save_png
from basicsr.utils.errors import DataError

_NAMES = {
    'seq': 'STANDIN_{block:02}',
    'clip': '{block:03}',
    'scene': 'scene{block:03}',
    'shot': '{number:02}',
    'frame': '{frame:08}',
    'k': '{number:02}',
    'group': 'test-close-ups',
    'name': 'standin-{part}-{number:06}',
    'im': '{number}',
    'flit': '1',
    'shake': '1',
    'view': '1',
    'blurred': 'BlurryImages',
    'sharp': 'GroundTruth',
}


def make_standin(
    benchmark: BenchmarkSet,
    root: Path,
    layout: str | None = None,
    count: int = 2,
    size: tuple[int, int] = (720, 1280),
    parts: Iterable[str] = (),
    photos: Path | None = None,
    seed: int = 0,
) -> list[Path]:
    """Write synthetic pairs in a folder layout of a benchmark.

    Args:
        benchmark: the set to imitate.
        root: the new folder; must be empty or missing.
        layout: name of the layout; None takes the first one of image files.
        count: number of pairs in each part.
        size: (H, W) of the images.
        parts: the parts to write; empty for the default ones.
        photos: folder of sharp photos to blur; None generates dead leaves.
        seed: random seed; equal seeds give equal files.

    Returns:
        the blurred files.

    Raises:
        DataError: the folder is not empty, or the layout is unknown or not of image files.
        OutputError: the folder cannot be written.
    """
    if root.is_dir() and any(root.iterdir()):
        raise DataError(f'{root}: not empty; use a new folder for a stand-in')
    possible = [each for each in benchmark.layouts_named(layout) if not each.suffix]
    if not possible:
        raise DataError(f'{benchmark.name}: stand-ins are image files; the layout {layout} has other files')
    chosen, written = possible[0], []
    for part in tuple(parts) or benchmark.parts:
        part_seed = seed * len(PARTS) + PARTS.index(part)
        images = SyntheticBlurDataset(None if photos is None else str(photos), 1.0, count, max(size), seed=part_seed)
        lines = ''
        for number in range(count):
            lq, gt = _paths(benchmark, chosen, part, number)
            item = images[number]
            views = [f'{folder.format(part=part)}/{lq.rpartition("/")[2]}' for folder in chosen.views]
            for name, pixels in ((lq, item['lq']), (gt, item['gt']), *((view, item['lq']) for view in views)):
                image = _middle(pixels.numpy(), size)
                save_png(root / f'{name}.png', image if benchmark.bits == 8 else image.astype(np.uint16) * 257)
            written.append(root / f'{lq}.png')
            lines += f'{gt}.png {lq}.png\n'
        if chosen.list_file:
            save_bytes(root / chosen.list_file.format(part=part), lines.encode())
    return written


def _paths(benchmark: BenchmarkSet, layout: FolderLayout, part: str, number: int) -> tuple[str, str]:
    """Return the paths of a blurred and a sharp image, without extensions."""
    frame = number * 10 + 9 if benchmark.frames else number + 1
    numbers = {'number': number + 1, 'block': number // 4, 'frame': frame, 'part': part}
    fields = {name: text.format_map(numbers) for name, text in _NAMES.items()}
    if benchmark.frames:  # names must end with the suffix of the set
        fields['name'] = f'000_{frame:08}'
    fields |= {'part': part, 'blur': benchmark.default_blur}
    return layout.lq.format_map(fields), layout.gt.format_map(fields)


def _middle(pixels: Array, size: tuple[int, int]) -> Array:
    """Return the middle of (C, H, W) as (H, W, C)."""
    top, left = ((have - want) // 2 for have, want in zip(pixels.shape[1:], size, strict=True))
    return np.asarray(pixels[:, top : top + size[0], left : left + size[1]].transpose(1, 2, 0))
