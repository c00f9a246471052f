"""Reading training samples, against a transcription of the original's code, from PNG files and stores.

Samples are random 256×256 windows of 512×512 crops with M masks, flipped and transposed. The photos are those of
scikit-image; regions are the cells around random points, with ragged borders.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from skimage import data

from basicsr.data import build_dataset, collate
from basicsr.data.stores.base import FolderStore
from basicsr.data.stores.lmdb import write_lmdb
from basicsr.data.stores.opening import open_store
from basicsr.data.stores.raw import write_raw
from basicsr.masks import masks_from_label_map, write_label_map
from benchmarks.bench import Bench

SAMPLES = 8
BATCH = 32


def regions(count: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """Return a label map (1, 512, 512) of ``count`` cells, whose borders are displaced by smooth noise."""
    points = rng.random((count, 2)) * 512
    rows, columns = np.mgrid[:512, :512].astype(np.float64)
    wobble = [cv2.GaussianBlur(rng.normal(0, 1, (512, 512)), (0, 0), 6) * 60 for _ in range(2)]
    places = np.stack([rows + wobble[0], columns + wobble[1]], -1).reshape(-1, 1, 2)
    nearest = np.concatenate([((part - points) ** 2).sum(-1).argmin(-1) for part in np.array_split(places, 64)])
    return (nearest.reshape(1, 512, 512) + 1).astype(np.int32)


def write_samples(root: Path, masks: int) -> None:
    """Write crops as PNG, masks as the original stores them and as label maps, and all of them as raw stores."""
    rng = np.random.default_rng(masks)
    photos = [
        cv2.resize(photo, (640, 640)) for photo in (data.astronaut(), data.coffee(), data.chelsea(), data.rocket())
    ]
    for folder in ('gt', 'lq', 'npz', 'labels'):
        (root / folder).mkdir(parents=True)
    for number in range(SAMPLES):
        top, left = rng.integers(0, 128, 2)
        sharp = photos[number % len(photos)][top : top + 512, left : left + 512]
        noisy = np.clip(sharp + rng.normal(0, 2, sharp.shape), 0, 255).astype(np.uint8)
        labels = regions(masks, rng)
        cv2.imwrite(str(root / 'gt' / f'{number}.png'), noisy[..., ::-1])
        cv2.imwrite(str(root / 'lq' / f'{number}.png'), cv2.blur(noisy, (1, 9))[..., ::-1])
        np.savez_compressed(root / 'npz' / f'{number}.npz', masks=masks_from_label_map(labels))
        write_label_map(root / 'labels' / f'{number}.png', labels)
    write_raw(FolderStore(root / 'gt'), root / 'gt.raw', 'images')
    write_raw(FolderStore(root / 'lq'), root / 'lq.raw', 'images')
    write_raw(FolderStore(root / 'labels', ('.png',)), root / 'labels.raw', 'masks')


def read_all(store: Any, keys: list[str]) -> list[int]:
    """Decode images and touch every pixel."""
    return [int(store.image(key, 3).sum()) for key in keys]


def transcription(root: Path, index: int) -> dict[str, Any]:
    """Read a sample as the original does: float images, one float plane per mask that the window touches."""

    def floats(folder: str) -> Any:
        content = (root / folder / f'{index}.png').read_bytes()
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        assert pixels is not None
        return pixels.astype(np.float32) / 255

    gt, lq = floats('gt'), floats('lq')
    with np.load(root / 'npz' / f'{index}.npz') as file:
        masks = file['masks']
    top, left = random.randint(0, 256), random.randint(0, 256)
    gt, lq = (image[top : top + 256, left : left + 256] for image in (gt, lq))
    masks = masks[:, :, top : top + 256, left : left + 256].copy()  # as the original: the window becomes an array
    horizontal, vertical, transposed = (random.random() < 0.5 for _ in range(3))
    images: list[Any] = [gt, lq]
    if horizontal:
        images = [cv2.flip(image, 1) for image in images]
        masks = np.flip(masks, 3)
    if vertical:
        images = [cv2.flip(image, 0) for image in images]
        masks = np.flip(masks, 2)
    if transposed:
        images = [image.transpose(1, 0, 2) for image in images]
        masks = np.rot90(masks, 1, (2, 3))
    planes = np.stack([mask for mask in masks if np.any(mask != 0)])
    tensors = [torch.from_numpy(cv2.cvtColor(image, cv2.COLOR_BGR2RGB).transpose(2, 0, 1)).float() for image in images]
    return {'gt': tensors[0], 'lq': tensors[1], 'masks': torch.from_numpy(planes.astype(np.float32) / 255)}


def milliseconds(sides: dict[str, Callable[[int], Any]], rounds: int) -> dict[str, float]:
    """Return the median CPU time of one sample of each side, run alternately; fast sides read many samples per turn."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for name, read in [*sides.items()] * (rounds + 1):
        repeats = 8 if name == 'raw' else 1
        start = time.process_time()
        for _ in range(repeats):
            for index in range(SAMPLES):
                read(index)
        times[name].append((time.process_time() - start) / SAMPLES / repeats * 1e3)
    return {name: statistics.median(values[1:]) for name, values in times.items()}


def in_bytes(item: dict[str, Any]) -> int:
    """Return the bytes that are copied to the device."""
    return sum(value.nbytes for value in item.values() if isinstance(value, torch.Tensor))


def prepared(root: Path, masks: int) -> tuple[Any, Any]:
    """Write samples, and return the data sets of PNG files and of raw stores."""
    write_samples(root, masks)

    def ours(suffix: str, backend: str) -> Any:
        paths = {'gt': 'gt', 'lq': 'lq', 'mask': 'labels'}
        roots = {f'dataroot_{key}': str(root / f'{name}{suffix}') for key, name in paths.items()}
        block = {'type': 'PairedImageGroupMaskDataset', **roots, 'io_backend': {'type': backend}}
        return build_dataset({**block, 'phase': 'train', 'gt_size': 256, 'seed': 1})

    return ours('', 'disk'), ours('.raw', 'raw')


def _one_thread() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def run_data(bench: Bench) -> None:
    """Processor time of one training sample, 256×256 of 512×512, and the bytes that reach the device."""
    _one_thread()
    for masks, targets in ((60, ('≥ 2.3×', '≥ 20×')), (255, ('≥ 7×', '≥ 80×')))[: 1 if bench.quick else 2]:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            png, raw = prepared(root, masks)
            sides = {
                'plain': lambda i, root=root: transcription(root, i),
                'png': png.__getitem__,
                'raw': raw.__getitem__,
            }
            found = milliseconds(sides, 2 if bench.quick else 7)
            for name, title, target in zip(('png', 'raw'), ('PNG files', 'raw store'), targets, strict=True):
                bench.number(f'sample from {title}, {masks} masks', found['plain'], found[name], 'CPU ms', target)
            theirs = BATCH / SAMPLES * sum(in_bytes(transcription(root, i)) for i in range(SAMPLES)) / 1e6
            samples = [png[i % SAMPLES] for i in range(BATCH)]
            here = in_bytes(collate(samples, 0.5)) / 1e6
            bench.number(f'{BATCH} samples to the device, {masks} masks', theirs, here, 'MB', '≥ 15×')
            bench.compare(
                f'collate {BATCH} samples with mask dropout, {masks} masks, against without',
                partial(collate, samples), partial(collate, samples, 0.5), 15,
            )  # fmt: skip
            sizes = [
                sum(path.stat().st_size for path in (root / name).iterdir()) / SAMPLES for name in ('npz', 'labels')
            ]
            bench.number(f'mask file, {masks} masks', sizes[0] / 1e3, sizes[1] / 1e3, 'kB', '≥ 3×')


def run_stores(bench: Bench) -> None:
    """Reading whole images of 512×512 from PNG files, LMDB and raw stores."""
    _one_thread()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_samples(root, 10)
        write_lmdb(root / 'gt', root / 'gt.lmdb')
        stores: dict[str, Any] = {
            'LMDB of PNG files': open_store(root / 'gt.lmdb', {'type': 'lmdb'}),
            'raw store': open_store(root / 'gt.raw', {'type': 'raw'}),
        }
        plain = open_store(root / 'gt')
        for name, store in stores.items():
            pairs = list(zip(plain.keys, store.keys, strict=True))
            assert all((plain.image(a, 3) == store.image(b, 3)).all() for a, b in pairs)
            bench.compare(
                f'{SAMPLES} images from a {name}, against PNG files',
                partial(read_all, plain, [a for a, _ in pairs]),
                partial(read_all, store, [b for _, b in pairs]),
                7,
            )  # fmt: skip
