"""Is a data set whole? Counts, pairs, sizes, readable files, masks, duplicates; all faults at once, by file name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from basicsr.data.pairing import fill_template, find_pairs
from basicsr.data.stores.base import Store
from basicsr.images.files import IMAGE_SUFFIXES
from basicsr.masks.files import SUFFIXES as MASK_SUFFIXES
from basicsr.preparation.checks.folders import Folders
from basicsr.preparation.checks.pairs import Facts, Item, MaskFacts, examine, opened
from basicsr.preparation.layouts import counts_of_sizes
from basicsr.preparation.worker_pool import Pool, Progress, silent
from basicsr.utils.errors import BasicsrError

QUICK = 100  # pairs that a quick check decodes of each data set
FEWEST = 4  # images that must agree before masks are called turned


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Args:
        kind: count, missing, unreadable, size, mask, duplicate: what it is about.
        file: the file, or the folder.
        text: what is wrong.
    """

    kind: str
    file: str
    text: str


@dataclass
class Checked:
    """What is to be known of one data set.

    Args:
        folders: what was checked.
        items: its pairs.
        facts: of each pair.
        faults: all of them.
    """

    folders: Folders
    items: list[Item] = field(default_factory=list)
    facts: list[Facts] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    @property
    def sizes(self) -> dict[str, int]:
        """How many images have each size (width x height)."""
        return dict(counts_of_sizes(fact.size for fact in self.facts if fact.size is not None))

    @property
    def psnr(self) -> list[float]:
        """Of the blurred images, in dB."""
        return [fact.psnr for fact in self.facts if fact.psnr is not None]

    def masks(self, index: int) -> list[MaskFacts]:
        """Facts of the readable files of one mask folder."""
        return [known for fact in self.facts if index < len(fact.masks) and (known := fact.masks[index]) is not None]


def check(sets: Sequence[Folders], quick: bool = False, workers: int = 1, progress: Progress = silent) -> list[Checked]:
    """Check data sets that belong together, as the parts of one benchmark do.

    Args:
        sets: their folders.
        quick: decode only a sample of each; all files are named and listed in any case.
        workers: processes.
        progress: shows how far it is.
    """
    with Pool(workers) as pool:
        checked = [_check_one(folders, quick, pool, progress) for folders in sets]
    _find_duplicates(checked)
    return checked


def _check_one(folders: Folders, quick: bool, pool: Pool, progress: Progress) -> Checked:
    done = Checked(folders)
    lq = _open(folders.lq, folders.io, IMAGE_SUFFIXES, done)
    gt = None if folders.gt is None else _open(folders.gt, folders.io, IMAGE_SUFFIXES, done)
    masks = [(_open(root, folders.io, MASK_SUFFIXES, done), gray) for root, gray in folders.masks]
    if lq is None or (folders.gt is not None and gt is None):
        return done
    pairs = [(None, key) for key in lq.keys] if gt is None else _pairs(folders, lq, gt, done)
    if folders.expected is not None and len(pairs) != folders.expected:
        done.faults.append(
            Fault('count', str(folders.lq), f'found {len(pairs)} pairs, expected {folders.expected} ({folders.note})')
        )
    mask_keys = [_mask_keys(lq, [key for _, key in pairs], store, done) if store else {} for store, _ in masks]
    for number, (gt_key, key) in enumerate(pairs):
        found = [
            (store.root, keys[lq.stem(key)], gray)
            for (store, gray), keys in zip(masks, mask_keys, strict=True)
            if store is not None and lq.stem(key) in keys
        ]
        sharp = None if gt is None or gt_key is None else (gt.root, gt_key)
        decode = not quick or number % max(1, len(pairs) // QUICK) == 0
        done.items.append(Item((lq.root, key), sharp, tuple(found), folders.io, decode))
    result = pool.run(examine, done.items, lambda item: item.lq[1], progress, folders.name)
    done.facts = result.results
    for facts in done.facts:
        done.faults += [Fault(_kind(text), file, text) for file, text in facts.faults]
    for index, (store, _) in enumerate(masks):
        if store is not None:
            done.faults += _turned(store.root, done.masks(index))
    return done


def _open(root: Path, io: str, suffixes: tuple[str, ...], done: Checked) -> Store | None:
    try:
        opened.cache_clear()
        return opened(root, io, suffixes)
    except BasicsrError as error:
        done.faults.append(Fault('missing', str(root), str(error)))
        return None


def _pairs(folders: Folders, lq: Store, gt: Store, done: Checked) -> list[tuple[str | None, str]]:
    """The pairs that are complete; what is not becomes faults, every file by its name."""
    try:
        return list(find_pairs(gt, lq, folders.pairing, folders.filename_tmpl, folders.meta_info_file))
    except BasicsrError as error:
        reason = str(error).split('\n')[0]
    sharp = {gt.stem(key): key for key in gt.keys}
    blurred = {lq.stem(key): key for key in lq.keys}
    partner = {stem: fill_template(folders.filename_tmpl, stem) for stem in sharp}
    before = len(done.faults)
    for stem, name in partner.items():
        if name not in blurred and folders.meta_info_file is None:
            done.faults.append(Fault('missing', gt.path(sharp[stem]), f'has no blurred image in {lq.root}'))
    wanted = set(partner.values())
    for name, key in blurred.items():
        if name not in wanted and folders.meta_info_file is None:
            done.faults.append(Fault('missing', lq.path(key), f'has no sharp image in {gt.root}'))
    if len(done.faults) == before:  # something else: two files of one name, a list that names what is not there
        done.faults.append(Fault('missing', str(folders.lq), reason))
    return [(sharp[stem], blurred[name]) for stem, name in sorted(partner.items()) if name in blurred]


def _mask_keys(lq: Store, used: Iterable[str], masks: Store, done: Checked) -> dict[str, str]:
    """Mask file by stem; missing ones, and those of no image, become faults."""
    keys: dict[str, str] = {}
    for key in masks.keys:
        stem = masks.stem(key)
        if stem in keys:
            done.faults.append(Fault('mask', masks.path(key), f'has the same name as {masks.path(keys[stem])}'))
        keys[stem] = key
    for key in used:
        if lq.stem(key) not in keys:
            done.faults.append(Fault('mask', lq.path(key), f'has no mask file in {masks.root}'))
    stems = {lq.stem(key) for key in lq.keys}
    for stem, key in keys.items():
        if stem not in stems:
            done.faults.append(Fault('mask', masks.path(key), f'belongs to no image of {lq.root}'))
    return keys


def _turned(root: Path, known: Sequence[MaskFacts]) -> list[Fault]:
    """Masks that were turned against their images, or belong to others, explain no more than their reflections."""
    several = [facts for facts in known if facts.regions > 1]
    worse = sum(facts.explained <= facts.turned for facts in several)
    if len(several) < FEWEST or worse <= len(several) / 2:
        return []
    text = (
        f'masks fit their images no better than when they are turned, for {worse} of {len(several)} images: they are '
        'turned, or belong to other images'
    )
    return [Fault('mask', str(root), text)]


def _find_duplicates(checked: Sequence[Checked]) -> None:
    """The same content under two names, within a data set and across those of its family."""
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
            checked[number].faults.append(Fault('duplicate', first, f'the same {side} image as {others}'))


def _kind(text: str) -> str:
    return 'size' if 'pixels (H, W)' in text else 'content' if 'equal to its sharp' in text else 'unreadable'


def mean_and_range(values: Sequence[float], digits: int = 1) -> str:
    """``mean (smallest to largest)``; empty without values."""
    if not values:
        return ''
    return f'{np.mean(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})'
