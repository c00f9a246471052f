"""Stand-ins for benchmarks: a few generated pairs under the names of the real ones, to try things before a download."""

from __future__ import annotations

import string
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from basicsr.data.synthetic_blur_dataset import SyntheticBlurDataset
from basicsr.preparation.benchmark_sets import PARTS, BenchmarkSet, Layout
from basicsr.preparation.output_files import save_bytes, save_png
from basicsr.utils.errors import DataError, nearest

_NAMES = {
    'seq': 'STANDIN_{block:02}',
    'clip': '{block:03}',
    'scene': 'scene{block:03}',
    'shot': '{number:02}',
    'frame': '{frame:08}',
    'k': '{number:02}',
    'group': 'test-close-ups',
    'name': 'standin-{part}-{number:06}',
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
    """Write generated pairs where the pairs of a benchmark would lie.

    Args:
        benchmark: the set whose layout is imitated.
        root: the new folder; must be empty or missing.
        layout: its name; None takes the first.
        count: pairs in each part.
        size: (H, W) of the pictures.
        parts: those to make; the usual ones if empty.
        photos: folder of sharp photos to blur; None takes generated dead leaves.
        seed: of the pictures; equal seeds make equal files.

    Returns:
        the blurred files.

    Raises:
        DataError: the folder holds something, or there is no such layout.
        OutputError: nothing can be written there.
    """
    if root.is_dir() and any(root.iterdir()):
        raise DataError(f'{root}: holds something already; a stand-in gets a folder of its own')
    chosen = _layout(benchmark, layout)
    written, lists = [], []
    for part in tuple(parts) or benchmark.parts:
        folder = None if photos is None else str(photos)
        pictures = SyntheticBlurDataset(folder, 1.0, count, max(size), seed=seed * len(PARTS) + PARTS.index(part))
        for number in range(count):
            lq, gt = _paths(benchmark, chosen, part, number)
            item = pictures[number]
            for name, pixels in ((lq, item['lq']), (gt, item['gt'])):
                save_png(root / f'{name}.png', _cut(pixels.numpy(), size))
            written.append(root / f'{lq}.png')
            lists.append((part, f'{gt}.png {lq}.png'))
        if chosen.list_file:
            text = ''.join(f'{line}\n' for owner, line in lists if owner == part)
            save_bytes(root / chosen.list_file.format(part=part), text.encode())
    return written


def _layout(benchmark: BenchmarkSet, name: str | None) -> Layout:
    known = {layout.name: layout for layout in benchmark.layouts}
    if name is not None and name not in known:
        raise DataError(f"{benchmark.name} has no layout '{name}'{nearest(name, known)}; known are {', '.join(known)}")
    return known[name] if name is not None else benchmark.layouts[0]


def _paths(benchmark: BenchmarkSet, layout: Layout, part: str, number: int) -> tuple[str, str]:
    """Where a pair lies, without extensions."""
    frame = number * 10 + 9 if benchmark.frames else number + 1
    numbers = {'number': number + 1, 'block': number // 4, 'frame': frame, 'part': part}
    fields = {name: text.format_map(numbers) for name, text in _NAMES.items()}
    if benchmark.frames:  # names that end as those of the set do
        fields['name'] = f'000_{frame:08}'
    fields |= {'part': part, 'blur': benchmark.blurs[0] if benchmark.blurs else 'blur'}
    used = {name for _, name, _, _ in string.Formatter().parse(layout.lq) if name}
    return layout.lq.format_map({name: fields[name] for name in used}), layout.gt.format_map(fields)


def _cut(pixels: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """(C, H, W) to (H, W, C), the middle of it."""
    image: NDArray[Any] = pixels.transpose(1, 2, 0)
    top, left = ((have - want) // 2 for have, want in zip(image.shape[:2], size, strict=True))
    return image[top : top + size[0], left : left + size[1]]
