"""Stage ``convert``: copy or link every pair to ``<part>/input`` and ``<part>/target`` under its new name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from basicsr.images.files import decode_image, image_size
from basicsr.preparation.layouts import BenchmarkPair, counts_of_sizes
from basicsr.preparation.output_files import LinkMode, place, writing
from basicsr.preparation.plan import Plan
from basicsr.preparation.stages.base import StageCounts
from basicsr.preparation.worker_pool import Pool
from basicsr.utils.errors import DataError, ImageFileError
from basicsr.utils.files import read_file


def run(plan: Plan, part: str, pairs: Sequence[BenchmarkPair], pool: Pool) -> tuple[StageCounts, dict[str, int]]:
    """Convert the pairs of a part. Return the counts, and the number of images of each size."""
    folders = plan.out / part / 'input', plan.out / part / 'target'
    jobs = [(pair.lq, pair.gt, *(folder / pair.stem for folder in folders), plan.link, plan.force) for pair in pairs]
    done = pool.run(convert_pair, jobs, f'{part}: pairs')
    made = sum(new for new, _ in done.results)
    sizes = counts_of_sizes(size for _, size in done.results)
    return StageCounts(made, len(done.results) - made, done.failed), sizes


def convert_pair(
    lq: Path, gt: Path, new_lq: Path, new_gt: Path, link: LinkMode, again: bool = False
) -> tuple[bool, tuple[int, int]]:
    """Copy or link a pair. If one file cannot be read, neither is written.

    Args:
        lq: blurred image.
        gt: sharp image.
        new_lq: new path of the blurred image, without extension.
        new_gt: new path of the sharp image, without extension.
        link: how to create the new files.
        again: create them even if they exist.

    Returns:
        whether anything was written, and (H, W).

    Raises:
        ImageFileError: a file is not a complete image.
        DataError: the two images differ in size.
    """
    files = [(old, new.with_name(new.name + old.suffix.lower())) for old, new in ((lq, new_lq), (gt, new_gt))]
    if not again and all(_is_copied(source, target) for source, target in files):
        sizes = [image_size(target) for _, target in files]
        if sizes[0] is not None and sizes[0] == sizes[1]:
            return False, sizes[0]
    contents = [read_file(source, ImageFileError) for source, _ in files]
    shapes = [decode_image(data, str(source)).shape[:2] for data, (source, _) in zip(contents, files, strict=True)]
    if shapes[0] != shapes[1]:
        raise DataError(f'{lq} has {shapes[0]} pixels (H, W), {gt} has {shapes[1]}; pair skipped')
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
