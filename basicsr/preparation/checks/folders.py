"""The folders to check: those of an option file, or of a prepared benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from basicsr.preparation.benchmark_sets import PARTS, SETS
from basicsr.preparation.dataset_record import read_dataset_record
from basicsr.preparation.plan import CROPS, LABELS, TRAIN_GRAY
from basicsr.preparation.stages.crops import crop_windows
from basicsr.utils.errors import DataError

GRAY_TYPES = ('PairedImageMaskDataset',)


@dataclass(frozen=True)
class DataSetFolders:
    """The folders (or LMDB) of a data set.

    Args:
        name: for messages and reports.
        lq: blurred images.
        gt: sharp images; None without ground truth.
        masks: mask folders; True marks gray masks (CAT).
        io: ``type`` of the ``io_backend``: ``disk`` or ``lmdb``.
        pairing: as for the data sets.
        filename_tmpl: as for the data sets.
        meta_info_file: as for the data sets.
        expected: number of pairs; None if unknown.
        note: name and state of the benchmark, for the report.
        family: data sets of a family must not share images.
    """

    name: str
    lq: Path
    gt: Path | None
    masks: tuple[tuple[Path, bool], ...] = ()
    io: str = 'disk'
    pairing: Any = 'stem'
    filename_tmpl: str = '{}'
    meta_info_file: str | None = None
    expected: int | None = None
    note: str = ''
    family: str = ''


def folders_of_options(datasets: Mapping[str, Mapping[str, Any]]) -> list[DataSetFolders]:
    """Return the folders of the data sets in an option file. Data sets that synthesize samples have none.

    Args:
        datasets: the blocks by phase, as plain values.

    Raises:
        DataError: there are none.
    """
    found = []
    for phase, block in datasets.items():
        lq, gt, mask = (
            Path(block[key]).expanduser() if block.get(key) is not None else None
            for key in ('dataroot_lq', 'dataroot_gt', 'dataroot_mask')
        )
        if lq is None:
            continue
        gray = block.get('type') in GRAY_TYPES or block.get('masks') == 'gray'
        masks = () if mask is None else ((mask, gray),)
        if mask is not None and block.get('masks') == 'auto' and not mask.exists():  # the data set makes them
            masks = ()
        expected, note = (None, '') if block.get('meta_info_file') else known_count(lq)
        name, io = str(block.get('name') or phase), str((block.get('io_backend') or {}).get('type') or 'disk')
        pairing = {key: block[key] for key in ('pairing', 'filename_tmpl', 'meta_info_file') if block.get(key)}
        found.append(DataSetFolders(name, lq, gt, masks, io, **pairing, expected=expected, note=note))
    if not found:
        raise DataError('the option file has no data set of files to check')
    return found


def folders_of_root(root: Path) -> list[DataSetFolders]:
    """Return the folders of a prepared benchmark, or of any folder with the same layout.

    Raises:
        DataError: there are none.
    """
    if not root.is_dir():
        raise DataError(f'{root}: no such folder')
    grays = sorted({folder for benchmark in SETS.values() for folder in benchmark.cat_test.values()})
    crops = CROPS['input'], CROPS['target'], {LABELS['train']: False, TRAIN_GRAY: True}
    whole = 'input', 'target', {LABELS['test']: False, **dict.fromkeys(grays, True)}
    kinds = {'train': [crops, ('input', 'target', {'masks': False})]}
    found = []
    for part, (lq, gt, masks) in [(name, kind) for name in PARTS for kind in kinds.get(name, [whole])]:
        for ending in ('', '.lmdb'):
            folder = root / part / f'{lq}{ending}'
            if not folder.is_dir():
                continue
            sharp, io = root / part / f'{gt}{ending}', 'lmdb' if ending else 'disk'
            places = ((root / part / f'{name}{ending}', gray) for name, gray in masks.items())
            there = tuple((path, gray) for path, gray in places if path.is_dir())
            known: dict[str, Any] = dict(zip(('expected', 'note'), known_count(folder), strict=True))
            found.append(DataSetFolders(f'{part}/{lq}{ending}', folder, sharp, there, io, **known, family=folder.name))
    if not found:
        raise DataError(
            f'{root}: no prepared data set found. Expected <part>/input with <part>/target, or '
            f'<part>/{CROPS["input"]} with <part>/{CROPS["target"]}, where <part> is {", ".join(PARTS)}. '
            'Run scripts/prepare_data.py first; for other folders write an option file and use -opt'
        )
    return found


def known_count(folder: Path) -> tuple[int | None, str]:
    """Return the expected number of pairs in ``<root>/<part>/<name>``, from its record or else from the names.

    Returns:
        the number, or None if it is unknown; and a line about the set.
    """
    root, part, name = folder.parent.parent, folder.parent.name, folder.name.removesuffix('.lmdb')
    record = read_dataset_record(root)
    by_name = {benchmark.folder: benchmark for benchmark in SETS.values()}
    benchmark = SETS.get(str(record.get('set'))) or by_name.get(root.name)
    crops = name == CROPS['input']
    if benchmark is None or part not in benchmark.counts or not (crops or name == 'input'):
        return None, ''
    entry = record.get('parts', {}).get(part)
    if entry is None:
        return (benchmark.crops or None) if crops else benchmark.counts[part], benchmark.name
    note = benchmark.name
    if not entry['complete']:
        note += f', PARTIAL: prepared from {entry["pairs"]} of {entry["expected"]} pairs'
    return _crops_of(record, part) if crops else int(entry['pairs']), note


def _crops_of(record: Mapping[str, Any], part: str) -> int | None:
    """Return the number of crops of the images in a record; None if they were not cut."""
    settings = record.get('stages', {}).get('crops', {}).get(part, {}).get('settings')
    if settings is None:
        return None
    total = 0
    for size, number in record['parts'][part]['sizes'].items():
        width, height = map(int, size.split('x'))
        total += int(number) * len(crop_windows(height, width, settings['size'], settings['step']))
    return total
