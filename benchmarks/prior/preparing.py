"""Prepare the data of the experiment: samples with five kinds of masks, as raw stores, from seeds alone."""

from __future__ import annotations

import csv
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from basicsr.data.exposure import Image
from basicsr.data.stores.base import FolderStore
from basicsr.data.stores.raw import StoreKind, write_raw
from basicsr.images.files import imread, imwrite
from basicsr.masks.felzenszwalb_generator import FelzenszwalbGenerator
from basicsr.masks.files import SUFFIXES, write_label_map
from basicsr.masks.gray_coding import gray_from_label_map
from basicsr.masks.label_map import compact, resized_label_map
from basicsr.utils.errors import DataError
from basicsr.utils.files import whole_folder
from benchmarks.prior.scenes import Cutter, Labels, Motion, Source, blurred, merged, sources_of

MARGIN = 16
TEST_MOTIONS = {
    'same': Motion(),
    'longer': Motion(lengths=(14.0, 24.0)),
    'gamma': Motion(gamma=1.0),
}
"""Test sets of the validation scenes: the motion of the training, longer paths, and averages of gray values."""
SETS = (*TEST_MOTIONS, 'real')
PER_PHOTO, PER_SEQUENCE = 4, 16
REAL_REGIONS = 6
SCENES = 'scenes.json'
_KINDS: dict[str, StoreKind] = {
    'blur': 'images',
    'sharp': 'images',
    'gray_true': 'gray',
    **dict.fromkeys(('masks_true', 'masks_other', 'masks_felzenszwalb', 'masks_one'), 'masks'),
}
_FELZENSZWALB = FelzenszwalbGenerator()
_REAL_FELZENSZWALB = FelzenszwalbGenerator(max_pixels=100_000)


@dataclass(frozen=True)
class Prepared:
    """A sample: its scene, what masks it may exchange with others, and the images."""

    scene: str
    kind: str
    blur: Image
    sharp: Image
    labels: Labels


def prepare(data: Path, training: Path, real: Path | None, count: int) -> None:
    """Make all sets that are missing.

    Args:
        data: folder of the sets; finished sets are kept.
        training: folder with index.csv, sharp/ and davis/.
        real: folder with the real pairs: pairs.csv and kohler.csv, pairs/ and kohler/ with input/ and target/; None
            makes no set of them.
        count: number of training samples.

    Raises:
        DataError: a table or an image is missing.
    """
    if not (data / 'train').is_dir():
        write_set(data / 'train', training_samples(sources_of(training, 'train'), count), count)
    sources = sources_of(training, 'val')
    for name, motion in TEST_MOTIONS.items():
        if not (data / name).is_dir():
            write_set(data / name, test_samples(sources, motion))
    if real is not None and not (data / 'real').is_dir():
        write_set(data / 'real', real_samples(real), felzenszwalb=_REAL_FELZENSZWALB)


def training_samples(sources: Sequence[Source], count: int, side: int = 96) -> Iterator[Prepared]:
    """Generate training samples, half of photos and half of frames."""
    cutter = Cutter(side, MARGIN)
    kinds = [[source for source in sources if source.kind == kind] for kind in ('photo', 'frame')]
    for number in range(count):
        rng = np.random.default_rng([1, number])
        yield _sample(cutter, kinds[number % 2] or sources, Motion(), rng)


def test_samples(sources: Sequence[Source], motion: Motion, side: int = 96) -> Iterator[Prepared]:
    """Generate test samples, the same number for each photo and each sequence; the same crops for every motion."""
    cutter = Cutter(side, MARGIN)
    scenes: dict[str, list[Source]] = defaultdict(list)
    for source in sources:
        scenes[source.scene].append(source)
    for number, scene in enumerate(sorted(scenes)):
        own = scenes[scene]
        for repeat in range(PER_PHOTO if own[0].kind == 'photo' else PER_SEQUENCE):
            try:
                yield _sample(cutter, own, motion, np.random.default_rng([2, number, repeat]))
            except DataError:
                break  # a photo of sky has no sharp crop


def _sample(cutter: Cutter, sources: Sequence[Source], motion: Motion, rng: np.random.Generator) -> Prepared:
    source, crop = cutter(sources, rng)
    lq, gt = blurred(crop, cutter.margin, motion, rng)
    labels = np.asarray(compact(cutter.inner(crop.labels)[None])[0], np.uint8)
    return Prepared(source.scene, source.kind, lq, gt, labels)


def real_samples(root: Path) -> Iterator[Prepared]:
    """Read the real pairs. Nobody knows their regions: those of the blurred image take the place of the true ones."""
    for name in ('pairs', 'kohler'):
        table = root / f'{name}.csv'
        if not table.is_file():
            raise DataError(f'{table}: missing; --real is a folder with pairs.csv and kohler.csv')
        with table.open(encoding='utf-8', newline='') as file:
            for row in csv.DictReader(file):
                lq, gt = (imread(root / name / part / row['file'], channels=3) for part in ('input', 'target'))
                labels = merged(_REAL_FELZENSZWALB(lq)[0], lq, REAL_REGIONS)
                yield Prepared(f'{row["group"]}: {row["scene"]}', row['group'], lq, gt, labels)


def write_set(
    folder: Path,
    samples: Iterable[Prepared],
    count: int | None = None,
    felzenszwalb: FelzenszwalbGenerator = _FELZENSZWALB,
) -> None:
    """Write samples as raw stores with all masks, and their scenes as ``scenes.json``.

    Args:
        folder: of the set; it appears once it is complete.
        samples: in order.
        count: their number, for the progress bar.
        felzenszwalb: generator of the masks from the blurred images.

    Raises:
        DataError: a sample finds no other photo with as many regions.
    """
    with whole_folder(folder) as target, TemporaryDirectory(dir=folder.parent) as temporary:
        root = Path(temporary)
        for name in _KINDS:
            (root / name).mkdir()
        scenes: dict[str, str] = {}
        kinds, labels = [], []
        for number, sample in enumerate(tqdm(samples, folder.name, count, dynamic_ncols=True)):
            file = f'{number:05d}.png'
            scenes[file.removesuffix('.png')] = sample.scene
            kinds.append(sample.kind)
            labels.append(sample.labels)
            imwrite(root / 'blur' / file, sample.blur)
            imwrite(root / 'sharp' / file, sample.sharp)
            imwrite(root / 'gray_true' / file, gray_from_label_map(sample.labels[None]))
            masks = {'true': sample.labels[None], 'one': np.ones_like(sample.labels)[None]}
            for name, own in {**masks, 'felzenszwalb': felzenszwalb(sample.blur)}.items():
                write_label_map(root / f'masks_{name}' / file, own.astype(np.int32))
        partners = exchanged(labels, kinds, list(scenes.values()))
        for number, partner in enumerate(partners):
            other = resized_label_map(labels[partner][None], labels[number].shape)
            write_label_map(root / 'masks_other' / f'{number:05d}.png', other.astype(np.int32))
        for name, kind in _KINDS.items():
            suffixes = SUFFIXES if kind == 'masks' else ('.png',)
            write_raw(FolderStore(root / name, suffixes), target / f'{name}.raw', kind)
        (target / SCENES).write_text(json.dumps(scenes, indent=0), encoding='utf-8')


def exchanged(labels: Sequence[NDArray[np.uint8]], kinds: Sequence[str], scenes: Sequence[str]) -> list[int]:
    """Return, for each sample, one of another scene with the same kind and number of regions; each is used once.

    Raises:
        DataError: there is none, because one scene has more than half of the samples of its group.
    """
    groups: dict[tuple[str, int], list[int]] = defaultdict(list)
    for number, own in enumerate(labels):
        groups[kinds[number], int(own.max())].append(number)
    partners = [0] * len(labels)
    for (kind, count), members in groups.items():
        members.sort(key=lambda number: (scenes[number], number))
        most = max(Counter(scenes[number] for number in members).values())
        if 2 * most > len(members):
            raise DataError(f'{kind} with {count} regions: {most} of {len(members)} samples are of one scene')
        for place, number in enumerate(members):
            partners[number] = members[(place + most) % len(members)]
    return partners


def scenes_of(folder: Path) -> dict[str, str]:
    """Return the scene of each sample of a set by name."""
    return dict(json.loads((folder / SCENES).read_text(encoding='utf-8')))
