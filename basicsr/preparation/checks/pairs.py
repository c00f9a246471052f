"""Examine one pair of a data set: decode and measure its images, compare them with their masks."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from basicsr.data.stores.base import FileStore, Store
from basicsr.data.stores.opening import open_store
from basicsr.images.arrays import Array
from basicsr.images.files import IMAGE_SUFFIXES, decode_image, same_depth
from basicsr.masks.files import SUFFIXES as MASK_SUFFIXES
from basicsr.utils.errors import BasicsrError

_STRIDE = 2  # pixels between the compared pixels of masks, in each direction


@dataclass(frozen=True)
class PairFiles:
    """The files of a pair.

    Args:
        lq: folder and key of the blurred image.
        gt: folder and key of the sharp image; None without ground truth.
        masks: folder, key and whether it is a gray mask, of each mask file.
        io: type of the folders: ``disk`` or ``lmdb``.
        decode: decode the files, or only hash them.
    """

    lq: tuple[Path, str]
    gt: tuple[Path, str] | None
    masks: tuple[tuple[Path, str, bool], ...]
    io: str
    decode: bool = True


@dataclass
class MaskFacts:
    """Measurements of a mask file.

    Args:
        regions: number of ids, or of gray values above 0.
        layers: of the label map; 1 for a gray mask.
        coverage: share of pixels in at least one region (a gray value above 0).
        explained: share of the image's variance between the means of the regions.
        turned: the largest such share after a reflection or transposition of the masks.
    """

    regions: int
    layers: int
    coverage: float
    explained: float
    turned: float


@dataclass
class PairFacts:
    """Measurements of a pair.

    Args:
        lq: hash of the blurred image; empty if it cannot be read.
        gt: hash of the sharp image; empty if there is none.
        size: (H, W); None if the blurred image cannot be read.
        psnr: of the blurred image, in dB.
        masks: of each mask file; None if it cannot be read.
        faults: (file, description).
    """

    lq: str = ''
    gt: str = ''
    size: tuple[int, int] | None = None
    psnr: float | None = None
    masks: list[MaskFacts | None] = field(default_factory=list)
    faults: list[tuple[str, str]] = field(default_factory=list)


def examine(files: PairFiles) -> PairFacts:
    """Read and compare all files of a pair, and list the faults found."""
    facts = PairFacts()
    lq, facts.lq = _image(files, files.lq, facts)
    gt, facts.gt = _image(files, files.gt, facts)
    if lq is not None:
        facts.size = lq.shape[0], lq.shape[1]
    if lq is not None and gt is not None:
        _compare(lq, gt, files, facts)
    facts.masks += [_mask(files, root, key, gray, lq, facts) for root, key, gray in files.masks]
    return facts


@functools.lru_cache(maxsize=16)
def opened(root: Path, io: str, suffixes: tuple[str, ...]) -> Store:
    """Return the store of a folder, which each process lists once."""
    backend: Any = {'type': io}
    return open_store(root, backend, suffixes)


def _image(files: PairFiles, place: tuple[Path, str] | None, facts: PairFacts) -> tuple[Array | None, str]:
    if place is None:
        return None, ''
    store = opened(place[0], files.io, IMAGE_SUFFIXES)
    path = store.path(place[1])
    try:
        if not isinstance(store, FileStore):  # already decoded
            image = store.image(place[1])
            return image, hashlib.sha256(np.ascontiguousarray(image).data).hexdigest()
        data = store.read(place[1])
        return decode_image(data, path) if files.decode else None, hashlib.sha256(data).hexdigest()
    except BasicsrError as error:
        facts.faults.append((path, str(error)))
        return None, ''


def _compare(lq: Array, gt: Array, files: PairFiles, facts: PairFacts) -> None:
    path = opened(files.lq[0], files.io, IMAGE_SUFFIXES).path(files.lq[1])
    if lq.shape[:2] != gt.shape[:2]:
        facts.faults.append((path, f'has {lq.shape[:2]} pixels (H, W), its sharp image {gt.shape[:2]}'))
    elif lq.shape == gt.shape:
        lq, gt = same_depth(lq, gt)
        white = float(np.iinfo(lq.dtype).max)
        error = float(np.square(lq.astype(np.float32) - gt.astype(np.float32)).mean(dtype=np.float64))
        facts.psnr = 10 * float(np.log10(white**2 / error)) if error else None
        if not error:
            facts.faults.append((path, 'is equal to its sharp image: not blurred'))


def _mask(files: PairFiles, root: Path, key: str, gray: bool, lq: Array | None, facts: PairFacts) -> MaskFacts | None:
    store = opened(root, files.io, MASK_SUFFIXES)
    try:
        if not files.decode and isinstance(store, FileStore):
            store.read(key)
            return None
        size = None if lq is None else (lq.shape[0], lq.shape[1])
        labels: Array = store.gray(key, size)[None] if gray else store.labels(key, size)
    except BasicsrError as error:
        facts.faults.append((store.path(key), str(error)))
        return None
    ids = np.unique(labels)
    own, turned = (0.0, 0.0) if lq is None else _explained(lq, labels)
    return MaskFacts(int((ids > 0).sum()), len(labels), float((labels > 0).any(0).mean()), own, turned)


def _explained(image: Array, labels: Array) -> tuple[float, float]:
    """Return the share of the variance that the regions explain, and the largest share after turning the masks."""
    values = image.mean(2)[::_STRIDE, ::_STRIDE]
    regions = labels[0].astype(np.int64)
    for layer in labels[1:]:
        regions = np.where(layer > 0, layer, regions)
    regions = regions[::_STRIDE, ::_STRIDE]
    turned = [regions[::-1], regions[:, ::-1], regions[::-1, ::-1]]
    turned += [regions.T, regions[::-1].T] if values.shape[0] == values.shape[1] else []
    return _variance_share(values, regions), max(_variance_share(values, other) for other in turned)


def _variance_share(values: Array, regions: Array) -> float:
    """Return the variance between the means of regions, divided by the variance of the image."""
    whole = float(values.var())
    if whole == 0:
        return 0.0
    counts = np.bincount(regions.ravel())
    means = np.bincount(regions.ravel(), values.ravel()) / np.maximum(counts, 1)
    return float((counts * np.square(means - values.mean())).sum() / values.size / whole)
