"""Check whole data sets: counts, pairs, sizes, readable files, masks, duplicates. All faults are listed by file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from basicsr.data.grr_dataset import frame_keys, frames_of
from basicsr.data.pairing import fill_template, find_pairs
from basicsr.data.stores.base import Store
from basicsr.deconvolution.kernels import read_kernel
from basicsr.images.files import IMAGE_SUFFIXES
from basicsr.masks.files import SUFFIXES as MASK_SUFFIXES
from basicsr.preparation.checks.folders import DataSetFolders
from basicsr.preparation.checks.pairs import MaskFacts, PairFacts, PairFiles, examine, opened
from basicsr.preparation.layouts import counts_of_sizes
from basicsr.preparation.worker_pool import Pool
from basicsr.utils.errors import BasicsrError

QUICK = 100  # pairs of each data set that a quick check decodes
FEWEST = 4  # images needed to judge whether masks are turned


@dataclass(frozen=True)
class Fault:
    """A fault of a data set.

    Args:
        kind: count, missing, unreadable, size, content, mask or duplicate.
        file: the file or folder.
        text: a description.
    """

    kind: str
    file: str
    text: str


@dataclass
class CheckedDataSet:
    """The result of checking a data set.

    Args:
        folders: its folders.
        items: the files of its pairs.
        facts: measurements of each pair.
        faults: all faults.
    """

    folders: DataSetFolders
    items: list[PairFiles] = field(default_factory=list)
    facts: list[PairFacts] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    @property
    def sizes(self) -> dict[str, int]:
        """Number of images of each size (width x height)."""
        return counts_of_sizes(fact.size for fact in self.facts if fact.size is not None)

    @property
    def psnr(self) -> list[float]:
        """PSNR of the blurred images, in dB."""
        return [fact.psnr for fact in self.facts if fact.psnr is not None]

    def masks(self, index: int) -> list[MaskFacts]:
        """Return the measurements of the readable files of one mask folder."""
        return [known for fact in self.facts if index < len(fact.masks) and (known := fact.masks[index]) is not None]

    def fault(self, kind: str, file: str | Path, text: str) -> None:
        """Add a fault."""
        self.faults.append(Fault(kind, str(file), text))


def check_data_sets(
    sets: Sequence[DataSetFolders], quick: bool = False, workers: int = 1, shown: bool = False
) -> list[CheckedDataSet]:
    """Check data sets that belong together, such as the parts of a benchmark.

    Args:
        sets: their folders.
        quick: decode a sample of each set only; all files are still listed and hashed.
        workers: number of processes.
        shown: whether to show progress bars.
    """
    with Pool(workers, shown) as pool:
        checked = [_check_one(folders, quick, pool) for folders in sets]
    _find_duplicates(checked)
    return checked


def _check_one(folders: DataSetFolders, quick: bool, pool: Pool) -> CheckedDataSet:
    done = CheckedDataSet(folders)
    lq = _open(folders.lq, folders.io, IMAGE_SUFFIXES, done)
    gt = None if folders.gt is None else _open(folders.gt, folders.io, IMAGE_SUFFIXES, done)
    masks = [(_open(root, folders.io, MASK_SUFFIXES, done), gray) for root, gray in folders.masks]
    if lq is None or (folders.gt is not None and gt is None):
        return done
    if folders.sequences:
        pairs, count = _frames(folders, lq, done)
    else:
        pairs = [(None, key) for key in lq.keys] if gt is None else _pairs(folders, lq, gt, done)
        count = len(pairs)
    if folders.expected is not None and count != folders.expected:
        unit = 'sequences' if folders.sequences else 'pairs'
        done.fault('count', folders.lq, f'found {count} {unit}, expected {folders.expected} ({folders.note})')
    mask_keys = [_mask_keys(lq, [key for _, key in pairs], store, done) if store else {} for store, _ in masks]
    if folders.kernels is not None:
        _check_kernels(folders.kernels, [lq.stem(key) for _, key in pairs], done)
    for number, (gt_key, key) in enumerate(pairs):
        found = [
            (store.root, keys[lq.stem(key)], gray)
            for (store, gray), keys in zip(masks, mask_keys, strict=True)
            if store is not None and lq.stem(key) in keys
        ]
        sharp = None if gt is None or gt_key is None else (gt.root, gt_key)
        decode = not quick or number % max(1, len(pairs) // QUICK) == 0
        done.items.append(PairFiles((lq.root, key), sharp, tuple(found), folders.io, decode))
    done.facts = pool.run(examine, [(item,) for item in done.items], folders.name).results
    for file, text in (fault for facts in done.facts for fault in facts.faults):
        done.fault(_kind(text), file, text)
    for index, (store, _) in enumerate(masks):
        if store is not None:
            _check_turned(store.root, done.masks(index), done)
    return done


def _open(root: Path, io: str, suffixes: tuple[str, ...], done: CheckedDataSet) -> Store | None:
    try:
        opened.cache_clear()
        return opened(root, io, suffixes)
    except BasicsrError as error:
        done.fault('missing', root, str(error))
        return None


def _pairs(folders: DataSetFolders, lq: Store, gt: Store, done: CheckedDataSet) -> list[tuple[str | None, str]]:
    """Return the complete pairs, and add a fault for every file without a partner."""
    try:
        return list(find_pairs(gt, lq, folders.pairing, folders.filename_tmpl, folders.meta_info_file))
    except BasicsrError as error:
        reason = str(error).split('\n')[0]
    sharp, blurred = ({store.stem(key): key for key in store.keys} for store in (gt, lq))
    partner = {stem: fill_template(folders.filename_tmpl, stem) for stem in sharp}
    before = len(done.faults)
    if folders.meta_info_file is None:
        for stem in (stem for stem, name in partner.items() if name not in blurred):
            done.fault('missing', gt.path(sharp[stem]), f'has no blurred image in {lq.root}')
        for name in (name for name in blurred if name not in partner.values()):
            done.fault('missing', lq.path(blurred[name]), f'has no sharp image in {gt.root}')
    if len(done.faults) == before:  # another reason: two files with the same name, a list with missing files
        done.fault('missing', folders.lq, reason)
    return [(sharp[stem], blurred[name]) for stem, name in sorted(partner.items()) if name in blurred]


def _frames(folders: DataSetFolders, store: Store, done: CheckedDataSet) -> tuple[list[tuple[str | None, str]], int]:
    """Return the pairs and the number of sequences, and add a fault for everything that the data set would refuse."""
    frames, problems = frames_of(store, folders.allow_gaps)
    for reason, names in problems.items():
        for name in names:
            done.fault('missing', store.path(name), reason)
    keys = [frame_keys(*frame) for frame in frames]
    return [(gt, lq) for lq, gt in keys], len({sequence for sequence, _ in frames})


def _check_kernels(folder: Path, stems: Iterable[str], done: CheckedDataSet) -> None:
    """Add a fault for every missing or unusable kernel."""
    for path in (folder / f'{stem}.npy' for stem in stems):
        if not path.is_file():
            done.fault('missing', path, 'there is no kernel of this image')
            continue
        try:
            read_kernel(path)
        except BasicsrError as error:
            done.fault('unreadable', path, str(error))


def _mask_keys(lq: Store, used: Iterable[str], masks: Store, done: CheckedDataSet) -> dict[str, str]:
    """Return the mask files by stem, and add a fault for missing ones and for those without an image."""
    keys: dict[str, str] = {}
    for key in masks.keys:
        stem = masks.stem(key)
        if stem in keys:
            done.fault('mask', masks.path(key), f'has the same name as {masks.path(keys[stem])}')
        keys[stem] = key
    for key in used:
        if lq.stem(key) not in keys:
            done.fault('mask', lq.path(key), f'has no mask file in {masks.root}')
    stems = {lq.stem(key) for key in lq.keys}
    for stem, key in keys.items():
        if stem not in stems:
            done.fault('mask', masks.path(key), f'belongs to no image of {lq.root}')
    return keys


def _check_turned(root: Path, known: Sequence[MaskFacts], done: CheckedDataSet) -> None:
    """Add a fault if masks explain no more of their images than their reflections do."""
    several = [facts for facts in known if facts.regions > 1]
    worse = sum(facts.explained <= facts.turned for facts in several)
    if len(several) >= FEWEST and worse > len(several) / 2:
        text = f'for {worse} of {len(several)} images, flipped or transposed masks fit at least as well; '
        done.fault('mask', root, f'{text}do the masks belong to these images, in this orientation?')


def _find_duplicates(checked: Sequence[CheckedDataSet]) -> None:
    """Add a fault for equal contents under different names, in a data set or in several of a family."""
    places: dict[tuple[str, str, str], list[tuple[int, str]]] = defaultdict(list)
    for number, done in enumerate(checked):
        for item, facts in zip(done.items, done.facts, strict=True):
            for side, hashed, place in (('blurred', facts.lq, item.lq), ('sharp', facts.gt, item.gt)):
                if hashed and place is not None:
                    path = opened(place[0], item.io, IMAGE_SUFFIXES).path(place[1])
                    places[side, hashed, done.folders.family].append((number, path))
    for (side, _, _), found in places.items():
        paths = list(dict.fromkeys(found))
        if len({path for _, path in paths}) > 1:
            number, first = paths[0]
            others = ', '.join(path for _, path in paths[1:])
            checked[number].fault('duplicate', first, f'the same {side} image as {others}')


def _kind(text: str) -> str:
    return 'size' if 'pixels (H, W)' in text else 'content' if 'equal to its sharp' in text else 'unreadable'
