"""Stage ``convert``: copy, link or unpack every pair to its new folders and name (``<part>/input``, ``<part>/target``).

Sets that the option files read in the folders of their archive keep their folders and names.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from basicsr.images.files import decode_image, image_size
from basicsr.preparation import levin_files
from basicsr.preparation.layouts import BenchmarkPair, FoundBenchmark, counts_of_sizes
from basicsr.preparation.output_files import LinkMode, place, writing
from basicsr.preparation.plan import Plan
from basicsr.preparation.stages.base import StageCounts
from basicsr.preparation.worker_pool import Pool
from basicsr.utils.errors import DataError, ImageFileError
from basicsr.utils.files import read_file


def run(plan: Plan, part: str, found: FoundBenchmark, pool: Pool) -> tuple[StageCounts, dict[str, int]]:
    """Convert the pairs of a part. Return the counts, and the number of images of each size."""
    pairs = found.pairs[part]
    if any(pair.lq.suffix == levin_files.SUFFIX for pair in pairs):
        jobs_of_files = [(pair.lq, plan.out / part, pair.stem, plan.force) for pair in pairs]
        done = pool.run(levin_files.unpack, jobs_of_files, f'{part}: files')
    else:
        done = pool.run(convert_files, [_job(plan, part, found, pair) for pair in pairs], f'{part}: pairs')
    made = sum(new for new, _ in done.results)
    sizes = counts_of_sizes(size for _, size in done.results)
    return StageCounts(made, len(done.results) - made, done.failed), sizes


def _job(plan: Plan, part: str, found: FoundBenchmark, pair: BenchmarkPair) -> tuple[Any, ...]:
    sources = pair.lq, pair.gt, *pair.views
    if found.layout.pairing:
        targets = [plan.out / source.relative_to(found.folder) for source in sources]
    else:
        new = zip(plan.benchmark.places(plan.out / part, pair.stem), sources, strict=True)
        targets = [path.with_name(path.name + source.suffix.lower()) for path, source in new]
    return pair.lq, sources[1:], targets, plan.link, plan.force


def convert_files(
    lq: Path, others: Sequence[Path], targets: Sequence[Path], link: LinkMode, again: bool = False
) -> tuple[bool, tuple[int, int]]:
    """Copy or link the files of a pair. If one file cannot be read, none is written.

    Args:
        lq: blurred image.
        others: sharp image, further views.
        targets: new path of each, the blurred image first.
        link: how to create the new files.
        again: create them even if they exist.

    Returns:
        whether anything was written, and (H, W).

    Raises:
        ImageFileError: a file is not a complete image.
        DataError: the images differ in size.
    """
    sources = [lq, *others]
    files = list(zip(sources, targets, strict=True))
    if not again and all(_is_copied(source, target) for source, target in files):
        sizes = [image_size(target) for _, target in files]
        if sizes[0] is not None and len(set(sizes)) == 1:
            return False, sizes[0]
    contents = [read_file(source, ImageFileError) for source in sources]
    shapes = [decode_image(data, str(source)).shape[:2] for data, source in zip(contents, sources, strict=True)]
    for shape, source in zip(shapes, sources, strict=True):
        if shape != shapes[0]:
            raise DataError(f'{lq} has {shapes[0]} pixels (H, W), {source} has {shape}; pair skipped')
    for (source, target), data in zip(files, contents, strict=True):
        with writing(target):
            in_place = target.exists() and target.samefile(source)
        if not in_place:
            place(source, target, data, link)
    return True, (shapes[0][0], shapes[0][1])


def _is_copied(source: Path, target: Path) -> bool:
    """Return whether the target is a complete image as long as the source."""
    try:
        same = target.is_file() and target.stat().st_size == source.stat().st_size
    except OSError:
        return False
    return same and image_size(target) is not None
