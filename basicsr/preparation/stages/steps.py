"""What each stage of preparing a benchmark does with one part of it: which files, made of which, by which work."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from basicsr.data.stores.base import FolderStore
from basicsr.data.stores.lmdb import LmdbStore, write_lmdb
from basicsr.masks.files import SUFFIXES as MASK_SUFFIXES
from basicsr.preparation.layouts import Pair, counts_of_sizes
from basicsr.preparation.output_files import writing
from basicsr.preparation.plan import CROPS, LABELS, NEEDS_WEIGHTS, PREDEBLURRED, TRAIN_GRAY, Plan
from basicsr.preparation.stages import work
from basicsr.preparation.worker_pool import Done, Pool, Progress, silent
from basicsr.utils.errors import BasicsrError, DataError, OutputError

Counts = tuple[int, int, dict[str, str]]
"""Made, kept, and by file why others failed."""


def convert(
    plan: Plan, part: str, pairs: Sequence[Pair], pool: Pool, progress: Progress
) -> tuple[Counts, Mapping[str, int]]:
    """Give every pair its place and name; also says how many images have each size."""
    lq, gt = plan.out / part / 'input', plan.out / part / 'target'
    jobs = [work.ConvertJob(pair, lq, gt, plan.link, plan.force) for pair in pairs]
    done = pool.run(work.convert_pair, jobs, lambda job: str(job.pair.lq), progress, f'{part}: pairs')
    made = sum(new for new, _ in done.results)
    return (made, len(done.results) - made, done.failed), counts_of_sizes(size for _, size in done.results)


def crop(plan: Plan, part: str, pool: Pool, progress: Progress) -> Counts:
    """Cut the images into training crops."""
    jobs = [
        work.CropJob(image, plan.out / part / target, *plan.crop, again=plan.force)
        for source, target in CROPS.items()
        for image in _files(plan.out / part / source)
    ]
    return _sum(pool.run(work.crop_image, jobs, lambda job: str(job.image), progress, f'{part}: crops'))


def predeblur(plan: Plan, part: str, pool: Pool, progress: Progress) -> Counts:
    """Restore the blurred images with a network."""
    network = plan.network
    if network is None:
        raise DataError(NEEDS_WEIGHTS)
    arguments = (dict(network.block), network.weights, network.param_key, network.device)
    shares = _shares(plan, plan.out / part / 'input', plan.out / part / PREDEBLURRED, arguments, progress)
    done = pool.run(work.predeblur_share, shares, lambda job: str(job.source))
    _stop_at(done.failed)
    failed = {name: reason for _, _, failures in done.results for name, reason in failures.items()}
    return sum(made for made, _, _ in done.results), sum(kept for _, kept, _ in done.results), failed


def segment(plan: Plan, part: str, pool: Pool, progress: Progress) -> Counts:
    """Make the label maps of whole images."""
    made, kept = 0, 0
    failed: dict[str, str] = {}
    for target, source in plan.mask_folders(part).items():
        images = plan.out / part / source
        shares = _shares(plan, images, plan.out / part / target, (dict(plan.generator),), progress)
        done = pool.run(work.mask_share, shares, lambda job: str(job.source))
        _stop_at(done.failed)
        made += sum(summary.made for summary in done.results)
        kept += sum(summary.kept for summary in done.results)
        failed |= {str(images / name): why for summary in done.results for name, why in summary.failed.items()}
    return made, kept, failed


def group(plan: Plan, part: str, pool: Pool, progress: Progress) -> Counts:
    """Turn label maps into the region masks and gray pictures (CAT) that the data sets read."""
    folder = plan.out / part
    train = part == 'train'
    jobs = []
    for source, origin in plan.mask_folders(part).items():
        gray = TRAIN_GRAY if train else plan.benchmark.cat_test['blurred' if origin == 'input' else 'predeblurred']
        regions = folder / LABELS[part] if train or origin == 'input' else None
        jobs += [
            work.GroupJob(masks, regions, folder / gray, plan.original_masks, plan.crop if train else None, plan.force)
            for masks in _files(folder / source, ('.png',))
        ]
    return _sum(pool.run(work.group_masks, jobs, lambda job: str(job.masks), progress, f'{part}: masks'))


def make_lmdb(plan: Plan, part: str, pool: Pool, progress: Progress) -> Counts:
    """Make an LMDB beside every folder that the data sets read; whole images have none where there are crops."""
    folder = plan.out / part
    train = part == 'train'
    kinds: dict[str, Literal['images', 'masks']] = dict.fromkeys(CROPS.values() if train else CROPS, 'images')
    kinds |= dict.fromkeys([LABELS[part], *([TRAIN_GRAY] if train else plan.benchmark.cat_test.values())], 'masks')
    made, kept = 0, 0
    failed: dict[str, str] = {}
    for name in progress(kinds, len(kinds), f'{part}: LMDB'):
        if not (folder / name).is_dir():
            continue
        try:
            new = _one_lmdb(folder / name, folder / f'{name}.lmdb', kinds[name], plan.force)
        except OutputError:
            raise
        except BasicsrError as error:
            failed[str(folder / name)] = str(error)
            continue
        made, kept = made + new, kept + (not new)
    return made, kept, failed


def _one_lmdb(source: Path, target: Path, kind: Literal['images', 'masks'], again: bool) -> bool:
    """Whether an LMDB was made; one that holds the same names is kept."""
    if target.exists() and not again:
        store = FolderStore(source) if kind == 'images' else FolderStore(source, MASK_SUFFIXES)
        if LmdbStore(target).keys != sorted(map(store.stem, store.keys)):
            raise DataError(f'{target}: does not hold what is in {source}; make it again with --force')
        return False
    with writing(target):
        if target.exists():
            shutil.rmtree(target)
        _write_lmdb(source, target, kind)
    return True


def _write_lmdb(source: Path, target: Path, kind: Literal['images', 'masks']) -> None:
    import lmdb

    try:
        write_lmdb(source, target, kind)
    except lmdb.Error as error:
        raise OutputError(f'{target}: cannot be written ({error}); make room, then run the command again') from error


def _shares(plan: Plan, source: Path, target: Path, arguments: tuple[Any, ...], progress: Progress) -> list[work.Share]:
    if not source.is_dir():
        raise DataError(f'{source}: no such folder; run the stage before this one first')
    count = min(plan.workers, len(_files(source)))
    shown = progress is not silent  # a bar of its own, for the first share: its processes cannot move ours
    return [work.Share(source, target, i, count, arguments, plan.force, shown and i == 0) for i in range(count)]


def _files(folder: Path, suffixes: tuple[str, ...] | None = None) -> list[Path]:
    store = FolderStore(folder) if suffixes is None else FolderStore(folder, suffixes)
    return [folder / key for key in store.keys]


def _sum(done: Done[tuple[int, int]]) -> Counts:
    made = sum(new for new, _ in done.results)
    return made, sum(total for _, total in done.results) - made, done.failed


def _stop_at(failed: Mapping[str, str]) -> None:
    """A share that failed as a whole, before its first image."""
    if failed:
        raise DataError('\n'.join(dict.fromkeys(failed.values())))
