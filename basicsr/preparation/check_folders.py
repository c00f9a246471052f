"""What there is to check of a data set: the folders of an option file, or of a prepared benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from basicsr.preparation.benchmark_sets import PARTS, SETS
from basicsr.preparation.crops import crop_windows
from basicsr.preparation.plan import CROPS, LABELS, TRAIN_GRAY
from basicsr.preparation.record import read_record
from basicsr.utils.errors import DataError

GRAY_TYPES = ('PairedImageMaskDataset',)


@dataclass(frozen=True)
class Folders:
    """The folders (or LMDB) of one data set.

    Args:
        name: for messages and reports.
        lq: blurred images.
        gt: sharp images; None without ground truth.
        masks: mask folders; True beside those of gray pictures (CAT).
        io: what they are, as ``io_backend`` has it: 'disk', 'lmdb'.
        pairing, filename_tmpl, meta_info_file: as for the data sets.
        expected: number of pairs; None if nothing is known of it.
        note: what is known of the whole, for the report.
        family: data sets of one family must not share images.
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


def folders_of_options(datasets: Mapping[str, Mapping[str, Any]]) -> list[Folders]:
    """The folders that the data sets of an option file name; those that generate their samples have none.

    Args:
        datasets: the blocks by phase, as plain values.
    """
    found = []
    for phase, block in datasets.items():
        lq = block.get('dataroot_lq')
        if lq is None:
            continue
        gt, mask, kind = block.get('dataroot_gt'), block.get('dataroot_mask'), str(block.get('type'))
        gray = kind in GRAY_TYPES or block.get('masks') == 'gray'
        masks: tuple[tuple[Path, bool], ...] = () if mask is None else ((Path(mask).expanduser(), gray),)
        if block.get('masks') == 'auto':  # the data set makes those that are missing
            masks = tuple(each for each in masks if each[0].exists())
        expected, note = (None, '') if block.get('meta_info_file') else known_count(Path(lq).expanduser())
        found.append(
            Folders(
                str(block.get('name') or phase),
                Path(lq).expanduser(),
                None if gt is None else Path(gt).expanduser(),
                masks,
                str((block.get('io_backend') or {}).get('type') or 'disk'),
                block.get('pairing') or 'stem',
                block.get('filename_tmpl') or '{}',
                block.get('meta_info_file'),
                expected,
                note,
            )
        )
    if not found:
        raise DataError('the option file names no data set of files; there is nothing to check')
    return found


def folders_of_root(root: Path) -> list[Folders]:
    """The folders of a benchmark that was prepared, or lies in the same layout.

    Raises:
        DataError: there are none.
    """
    if not root.is_dir():
        raise DataError(f'{root}: no such folder')
    grays = {folder for benchmark in SETS.values() for folder in benchmark.cat_test.values()}
    found = []
    for part in PARTS:
        kinds = [('input', 'target', {LABELS['test']: False, **dict.fromkeys(sorted(grays), True)})]
        if part == 'train':
            kinds = [
                (CROPS['input'], CROPS['target'], {LABELS[part]: False, TRAIN_GRAY: True}),
                ('input', 'target', {'masks': False}),
            ]
        for lq, gt, masks in kinds:
            for ending in ('', '.lmdb'):
                folder = root / part / f'{lq}{ending}'
                if not folder.is_dir():
                    continue
                beside = [(root / part / f'{name}{ending}', gray) for name, gray in masks.items()]
                expected, note = known_count(folder)
                found.append(
                    Folders(
                        f'{part}/{lq}{ending}',
                        folder,
                        root / part / f'{gt}{ending}',
                        tuple((path, gray) for path, gray in beside if path.is_dir()),
                        'lmdb' if ending else 'disk',
                        expected=expected,
                        note=note,
                        family=folder.name,
                    )
                )
    if not found:
        raise DataError(
            f'{root}: no prepared data set was recognised; looked for <part>/input with <part>/target and '
            f'<part>/{CROPS["input"]} with <part>/{CROPS["target"]}, <part> being {", ".join(PARTS)}. '
            'scripts/prepare_data.py makes them; for other folders write an option file and use -opt'
        )
    return found


def known_count(folder: Path) -> tuple[int | None, str]:
    """How many pairs belong into ``<root>/<part>/<name>``, by the record beside it or else by the names.

    Returns:
        the number, None if it is not known, and a line about the set.
    """
    root, part, name = folder.parent.parent, folder.parent.name, folder.name.removesuffix('.lmdb')
    record = read_record(root)
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
        note += f', PARTIAL: {entry["pairs"]} of {entry["expected"]} pairs were there when it was prepared'
    return _crops_of(record, part) if crops else int(entry['pairs']), note


def _crops_of(record: Mapping[str, Any], part: str) -> int | None:
    """How many crops the images of a record give."""
    settings = record.get('stages', {}).get('crops', {}).get(part, {}).get('settings')
    if settings is None:
        return None
    total = 0
    for size, number in record['parts'][part]['sizes'].items():
        width, height = map(int, size.split('x'))
        total += int(number) * len(crop_windows(height, width, settings['size'], settings['step']))
    return total
