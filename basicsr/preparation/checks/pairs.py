"""One pair of a data set under the magnifying glass: decoded, measured, compared with its masks."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from basicsr.data.stores.base import FileStore, Store
from basicsr.data.stores.opening import open_store
from basicsr.images.files import IMAGE_SUFFIXES, decode_image, same_depth
from basicsr.masks.files import SUFFIXES as MASK_SUFFIXES
from basicsr.utils.errors import BasicsrError

_STRIDE = 2  # pixels that masks are compared with, in each direction


@dataclass(frozen=True)
class Item:
    """A pair, by its keys.

    Args:
        lq, gt: folder and key of the images; ``gt`` is None without ground truth.
        masks: folder, key and whether it is a gray picture, of each mask file.
        io: what the folders are: 'disk', 'lmdb'.
        decode: whether to decode the files, not only to name their content.
    """

    lq: tuple[Path, str]
    gt: tuple[Path, str] | None
    masks: tuple[tuple[Path, str, bool], ...]
    io: str
    decode: bool = True


@dataclass
class MaskFacts:
    """What is to be known of a mask file.

    Args:
        regions: ids, or gray values, that occur.
        layers: of the label map; 1 for a gray picture.
        coverage: share of pixels in at least one region (a gray value above 0).
        explained: share of the image's variance between the regions' means.
        turned: the largest such share after a reflection or transposition of the masks.
    """

    regions: int
    layers: int
    coverage: float
    explained: float
    turned: float


@dataclass
class Facts:
    """What is to be known of a pair.

    Args:
        lq, gt: hashes of the images' contents; '' if there is none.
        size: (H, W); None if the blurred image cannot be read.
        psnr: of the blurred image, in dB.
        masks: for each mask file, None if it cannot be read.
        faults: (file, what is wrong).
    """

    lq: str = ''
    gt: str = ''
    size: tuple[int, int] | None = None
    psnr: float | None = None
    masks: list[MaskFacts | None] = field(default_factory=list)
    faults: list[tuple[str, str]] = field(default_factory=list)


def examine(item: Item) -> Facts:
    """Read and compare all files of a pair; what is wrong becomes faults."""
    facts = Facts()
    lq, facts.lq = _image(item, item.lq, facts)
    gt, facts.gt = _image(item, item.gt, facts)
    if lq is not None:
        facts.size = lq.shape[0], lq.shape[1]
    if lq is not None and gt is not None:
        _compare(lq, gt, item, facts)
    for root, key, gray in item.masks:
        facts.masks.append(_mask(item, root, key, gray, lq, facts))
    return facts


def _image(item: Item, place: tuple[Path, str] | None, facts: Facts) -> tuple[NDArray[Any] | None, str]:
    if place is None:
        return None, ''
    store = opened(place[0], item.io, IMAGE_SUFFIXES)
    path = store.path(place[1])
    try:
        if not isinstance(store, FileStore):  # nothing to decode
            image = store.image(place[1])
            return image, hashlib.sha256(np.ascontiguousarray(image).data).hexdigest()
        data = store.read(place[1])
        return decode_image(data, path) if item.decode else None, hashlib.sha256(data).hexdigest()
    except BasicsrError as error:
        facts.faults.append((path, str(error)))
        return None, ''


def _compare(lq: NDArray[Any], gt: NDArray[Any], item: Item, facts: Facts) -> None:
    path = opened(item.lq[0], item.io, IMAGE_SUFFIXES).path(item.lq[1])
    if lq.shape[:2] != gt.shape[:2]:
        facts.faults.append((path, f'has {lq.shape[:2]} pixels (H, W), its sharp image {gt.shape[:2]}'))
        return
    if lq.shape == gt.shape:
        lq, gt = same_depth(lq, gt)
        white = float(np.iinfo(lq.dtype).max)
        error = float(np.square(lq.astype(np.float32) - gt.astype(np.float32)).mean(dtype=np.float64))
        facts.psnr = 10 * float(np.log10(white**2 / error)) if error else None
        if not error:
            facts.faults.append((path, 'is equal to its sharp image: nothing is blurred'))


def _mask(item: Item, root: Path, key: str, gray: bool, lq: NDArray[Any] | None, facts: Facts) -> MaskFacts | None:
    store = opened(root, item.io, MASK_SUFFIXES)
    path = store.path(key)
    try:
        if not item.decode and isinstance(store, FileStore):
            store.read(key)
            return None
        size = None if lq is None else (lq.shape[0], lq.shape[1])
        labels: NDArray[Any] = store.gray(key, size)[None] if gray else store.labels(key, size)
    except BasicsrError as error:
        facts.faults.append((path, str(error)))
        return None
    ids = np.unique(labels)
    own, turned = (0.0, 0.0) if lq is None else _explained(lq, labels)
    return MaskFacts(int((ids > 0).sum()), len(labels), float((labels > 0).any(0).mean()), own, turned)


def _explained(image: NDArray[Any], labels: NDArray[Any]) -> tuple[float, float]:
    """Shares of the variance that the regions explain, and that they would explain at best if they were turned."""
    values = image.mean(2)[::_STRIDE, ::_STRIDE]
    regions = labels[0].astype(np.int64)
    for layer in labels[1:]:
        regions = np.where(layer > 0, layer, regions)
    regions = regions[::_STRIDE, ::_STRIDE]
    turned = [regions[::-1], regions[:, ::-1], regions[::-1, ::-1]]
    turned += [regions.T, regions[::-1].T] if values.shape[0] == values.shape[1] else []
    return _share(values, regions), max(_share(values, other) for other in turned)


def _share(values: NDArray[Any], regions: NDArray[Any]) -> float:
    """Variance between the means of regions, as a share of the whole."""
    whole = float(values.var())
    if whole == 0:
        return 0.0
    counts = np.bincount(regions.ravel())
    means = np.bincount(regions.ravel(), values.ravel()) / np.maximum(counts, 1)
    return float((counts * np.square(means - values.mean())).sum() / values.size / whole)


@functools.lru_cache(maxsize=16)
def opened(root: Path, io: str, suffixes: tuple[str, ...]) -> Store:
    """The store of a folder, listed once in each process."""
    backend: Any = {'type': io}
    return open_store(root, backend, suffixes)
