"""The folders to check: those of an option file, or of a prepared benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from basicsr.preparation.benchmark_sets import PARTS, SETS, BenchmarkSet
from basicsr.preparation.dataset_record import read_dataset_record
from basicsr.preparation.levin_files import KERNELS, SUFFIX
from basicsr.preparation.plan import CROPS, LABELS, TRAIN_GRAY
from basicsr.preparation.stages.crops import crop_windows
from basicsr.utils.errors import DataError

GRAY_TYPES = ('PairedImageMaskDataset',)
SEQUENCE_TYPES = ('GRRDataset',)


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
        expected: number of pairs, or of sequences; None if unknown.
        note: name and state of the benchmark, for the report.
        family: data sets of a family must not share images.
        sequences: ``lq`` and ``gt`` are one folder of sequences, as :class:`~basicsr.data.grr_dataset.GRRDataset`
            reads them.
        allow_gaps: as for that data set.
        kernels: folder with the blur kernel of each image, ``<name>.npy``; None if there are none.
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
    sequences: bool = False
    allow_gaps: bool = False
    kernels: Path | None = None


def folders_of_options(datasets: Mapping[str, Mapping[str, Any]]) -> list[DataSetFolders]:
    """Return the folders of the data sets in an option file. Data sets that synthesize samples have none.

    Args:
        datasets: the blocks by phase, as plain values.

    Raises:
        DataError: there are none.
    """
    found = []
    for phase, block in datasets.items():
        if block.get('type') in SEQUENCE_TYPES:
            found.append(_sequences(str(block.get('name') or phase), Path(block['dataroot']), block.get('allow_gaps')))
            continue
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
        views = [Path(block[key]).expanduser() for key in ('dataroot_left', 'dataroot_right') if block.get(key)]
        if views:  # the files of dual-pixel sets belong together by their order
            block = {**block, 'pairing': 'natural_order'}
            found += [
                DataSetFolders(f'{name}, {view.parent.name}/{view.name}', view, None, io=io, **_expected(view))
                for view in views
            ]
        pairing = {key: block[key] for key in ('pairing', 'filename_tmpl', 'meta_info_file') if block.get(key)}
        kernels = None if block.get('dataroot_kernel') is None else Path(block['dataroot_kernel']).expanduser()
        found.append(DataSetFolders(name, lq, gt, masks, io, **pairing, expected=expected, note=note, kernels=kernels))
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
    archived = _folders_of_archive(root)
    if archived:
        return archived
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
            name, kernels = f'{part}/{lq}{ending}', root / part / KERNELS
            known = kernels if _has_kernels(root) or kernels.is_dir() else None
            more: dict[str, Any] = {**_expected(folder), 'family': folder.name, 'kernels': known}
            found.append(DataSetFolders(name, folder, sharp, there, io, **more))
    found += [_sequences(part, root / part) for part in PARTS if any((root / part).glob('*/RSGR/PNG'))]
    if not found:
        raise DataError(
            f'{root}: no prepared data set found. Expected <part>/input with <part>/target, '
            f'<part>/{CROPS["input"]} with <part>/{CROPS["target"]}, or <part>/<sequence>/RSGR/PNG with '
            f'<part>/<sequence>/GS/PNG, where <part> is {", ".join(PARTS)}. '
            'Run scripts/prepare_data.py first; for other folders write an option file and use -opt'
        )
    return found


def _has_kernels(root: Path) -> bool:
    """Return whether the files of this set contain kernels."""
    benchmark = _benchmark_of(root)
    return benchmark is not None and any(layout.suffix == SUFFIX for layout in benchmark.layouts)


def _folders_of_archive(root: Path) -> list[DataSetFolders]:
    """Return the folders of a set that is read in the folders of its archive; none for other sets."""
    benchmark, found = _benchmark_of(root), list[DataSetFolders]()
    if benchmark is None or benchmark.archive is None:
        return found
    for part in benchmark.counts:
        lq, gt, *views = (root / name for name in benchmark.archive.folders(part))
        if lq.is_dir():
            name, pairing = str(lq.relative_to(root)), benchmark.archive.pairing
            found.append(DataSetFolders(name, lq, gt, pairing=pairing, family='blurred', **_expected(lq)))
            found += [DataSetFolders(str(view.relative_to(root)), view, None, **_expected(view)) for view in views]
    return found


def _expected(folder: Path) -> dict[str, Any]:
    return dict(zip(('expected', 'note'), known_count(folder), strict=True))


def known_count(folder: Path) -> tuple[int | None, str]:
    """Return the expected number of pairs in ``<root>/<part>/<name>``, from its record or else from the names.

    The folders of an archive, such as ``<root>/train_c/source``, are known as well.

    Returns:
        the number, or None if it is unknown; and a line about the set.
    """
    root, part, name = folder.parent.parent, folder.parent.name, folder.name.removesuffix('.lmdb')
    record, benchmark = read_dataset_record(root), _benchmark_of(root)
    if benchmark is not None and benchmark.archive is not None:
        folders = {each: benchmark.archive.folders(each) for each in benchmark.counts}
        part, name = next((each for each in folders if f'{part}/{name}' in folders[each]), ''), 'input'
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


def _sequences(name: str, folder: Path, allow_gaps: Any = False) -> DataSetFolders:
    """Return the folders of one part of a set of sequences, with the expected number of sequences if it is known."""
    folder = folder.expanduser()
    benchmark = _benchmark_of(folder.parent)
    expected, note = None, ''
    if benchmark is not None and benchmark.unit == 'sequences' and folder.name in benchmark.counts:
        expected, note = benchmark.counts[folder.name], benchmark.name
        entry = read_dataset_record(folder.parent).get('parts', {}).get(folder.name)
        if entry is not None and not entry['complete']:
            note += f', PARTIAL: prepared from {entry["found"]} of {expected} sequences'
            expected = int(entry['found'])
    more: dict[str, Any] = {'expected': expected, 'note': note, 'family': 'sequences'}
    return DataSetFolders(name, folder, folder, **more, sequences=True, allow_gaps=bool(allow_gaps))


def _benchmark_of(root: Path) -> BenchmarkSet | None:
    """Return the benchmark in a folder, by its record or else by its name."""
    by_name = {benchmark.folder: benchmark for benchmark in SETS.values()}
    return SETS.get(str(read_dataset_record(root).get('set'))) or by_name.get(root.name)


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
