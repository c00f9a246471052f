"""Write blurred and sharp pairs to a folder in parallel, with a table. An interrupted run can be continued."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from torch.utils.data import DataLoader, Dataset, Subset
from tqdm import tqdm

from basicsr.data.blur_pair import BlurKind, BlurPair
from basicsr.data.camera_blur_dataset import KINDS, CameraBlurDataset
from basicsr.images.arrays import Array
from basicsr.images.contact_sheet import contact_sheet, sheet_row
from basicsr.images.files import imread, imwrite
from basicsr.masks.generator import build_generator
from basicsr.metrics import calculate_psnr
from basicsr.preparation.output_files import save_pair
from basicsr.preparation.synthetic_sets import require_same_settings
from basicsr.reporting import Table
from basicsr.utils.errors import ArgumentError, DataError
from basicsr.utils.files import whole_path, write_whole

logger = logging.getLogger(__name__)

RECORD, TABLE, SHEET = 'pairs.json', 'pairs.csv', 'pairs.jpg'
COLUMNS = ('name', 'kind', 'source', 'width', 'height', 'extent', 'psnr')
REDUCED = (320, 180)
_SHOWN = 8


@dataclass(frozen=True)
class PairPlan:
    """The settings of the pairs.

    Args:
        photos: folders of photos.
        clips: folders of clips.
        kinds: number of pairs of each kind.
        crop: side of square crops in pixels; None makes whole images.
        reduced: share of each kind's pairs to scale down to 320×180; whole images only.
        seed: random seed.
        masks: also write a label map for each pair.
        clip_masks: folder with masks of the clips' frames, for ``masks``.
        settings: further arguments of :class:`CameraBlurDataset`.
    """

    photos: Sequence[str]
    clips: Sequence[str]
    kinds: Mapping[BlurKind, int]
    crop: int | None = 192
    reduced: float = 0.0
    seed: int = 0
    masks: bool = False
    clip_masks: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def parts(self) -> Iterator[tuple[str, Dataset[BlurPair], int]]:
        """Yield name, data set and number of pairs of each kind, in a fixed order."""
        for number, kind in enumerate(KINDS):
            total = self.kinds.get(kind, 0)
            small = round(total * self.reduced)
            for label, count, size in ((kind, total - small, None), (f'{kind}_reduced', small, REDUCED)):
                if count:
                    seed = np.random.SeedSequence([self.seed, number, size is not None]).generate_state(1)[0]
                    yield label, _Pairs(self._dataset(kind, count, size, int(seed)), self.masks), count

    def record(self) -> dict[str, Any]:
        """Return all settings as plain values."""
        return dict(json.loads(json.dumps(asdict(self))))

    def _dataset(self, kind: BlurKind, count: int, reduce_to: tuple[int, int] | None, seed: int) -> CameraBlurDataset:
        return CameraBlurDataset(
            list(self.photos) or None,
            list(self.clips) or None,
            self.clip_masks,
            kinds={kind: 1.0},
            length=count,
            gt_size=self.crop,
            reduce_to=reduce_to,
            seed=seed,
            **self.settings,
        )


class _Pairs(Dataset[BlurPair]):
    """Pairs as arrays, for workers. If the source has no masks, they are made from the blurred image."""

    def __init__(self, dataset: CameraBlurDataset, masks: bool) -> None:
        self.dataset, self.generator = dataset, build_generator({'type': 'felzenszwalb'}) if masks else None

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> BlurPair:
        pair = self.dataset.make(index)
        if self.generator is None or pair.labels is not None:
            return pair
        return replace(pair, labels=np.asarray(self.generator(pair.lq), np.int32))


def make_pairs(plan: PairPlan, folder: Path, workers: int) -> list[dict[str, str]]:
    """Write the pairs of a plan as ``{blur,sharp,masks}/<kind>_<number>.png``, and a table of them.

    Existing pairs are kept, so an interrupted run can be continued. Each pair depends only on the plan and its number.

    Args:
        plan: the settings.
        folder: of the result.
        workers: number of processes; 0 uses the current one.

    Returns:
        the rows of the table, sorted by name.

    Raises:
        DataError: the folder contains other pairs or other files, or a source cannot be used.
        ImageFileError: a photo or frame cannot be read.
    """
    parts = list(plan.parts())  # reports bad sources before writing anything
    _claim(folder, plan.record())
    folders = [folder / part for part in ('blur', 'sharp', *(['masks'] if plan.masks else []))]
    for each in folders:
        each.mkdir(exist_ok=True)
    cv2.setNumThreads(1)  # several processes share the processor
    kept = _read_table(folder / TABLE)
    rows = {row['name']: row for row in kept if all((each / f'{row["name"]}.png').is_file() for each in folders)}
    with (folder / TABLE).open('a', newline='', encoding='utf-8') as file:
        table = csv.DictWriter(file, COLUMNS)
        if not file.tell():
            table.writeheader()
        for label, dataset, count in parts:
            missing = [number for number in range(count) if _name(label, number) not in rows]
            loader = DataLoader(Subset(dataset, missing), batch_size=None, num_workers=workers)  # in order
            title = f'{label} ({count - len(missing)} of {count} kept)'
            made = tqdm(loader, title, unit='pair', dynamic_ncols=True, disable=None)
            for number, pair in zip(missing, made, strict=True):
                row = _write(pair, folder, _name(label, number))
                rows[row['name']] = row
                table.writerow(row)
                file.flush()
    ordered = [rows[name] for name in sorted(rows)]
    with whole_path(folder / TABLE) as new, new.open('w', newline='', encoding='utf-8') as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows(ordered)
    return ordered


def write_sheet(rows: Sequence[Mapping[str, str]], folder: Path, shown: int = _SHOWN) -> Path:
    """Write a contact sheet: the first pairs of each kind, sharp and blurred side by side."""
    by_kind: dict[str, list[Mapping[str, str]]] = {}
    for row in rows:
        by_kind.setdefault(row['name'].rsplit('_', 1)[0], []).append(row)
    lines: list[Array] = []
    for label, members in by_kind.items():
        for start in range(0, min(shown, len(members)), 2):
            panels = []
            for row in members[start : start + 2]:
                sharp, blurred = (imread(folder / part / f'{row["name"]}.png', 3) for part in ('sharp', 'blur'))
                panels += [(row['name'], sharp), (f'{float(row["extent"]):.1f} px, {row["psnr"]} dB', blurred)]
            lines.append(sheet_row(f'{label}: {len(members)} pairs' if start == 0 else '', panels))
    path = folder / SHEET
    imwrite(path, contact_sheet(lines))
    return path


def write_lists(rows: Sequence[Mapping[str, str]], folder: Path) -> None:
    """Write ``<kind>.txt`` for each kind, with the names of its pairs: for ``meta_info_file`` and ``groups``."""
    for kind in KINDS:
        names = [f'{row["name"]}.png' for row in rows if row['kind'] == kind]
        if names:
            write_whole(folder / f'{kind}.txt', ('\n'.join(names) + '\n').encode())


def summary(rows: Sequence[Mapping[str, str]]) -> str:
    """Return a text table with quantiles of blur extent and input PSNR of each kind."""
    head = ('kind', 'pairs', 'extent, px: 10 %', 'median', '90 %', 'PSNR, dB: 10 %', 'median', '90 %')
    table = []
    for kind in dict.fromkeys(row['kind'] for row in rows):
        members = [row for row in rows if row['kind'] == kind]
        extents, scores = ([float(row[key]) for row in members] for key in ('extent', 'psnr'))
        some = np.sort(scores)[[int(q * (len(scores) - 1)) for q in (0.1, 0.5, 0.9)]]
        values = (f'{value:.1f}' for value in (*np.percentile(extents, (10, 50, 90)), *some))
        table.append((kind, str(len(members)), *values))
    return Table(head, tuple(table)).text()


def counts_of(total: int, shares: Mapping[BlurKind, float]) -> dict[BlurKind, int]:
    """Divide ``total`` in given proportions into whole numbers (largest remainder method).

    Raises:
        ArgumentError: a share is negative, or all are 0.
    """
    whole = sum(shares.values())
    if total < 1 or whole <= 0 or min(shares.values()) < 0:
        raise ArgumentError(
            f'expected at least 1 pair, and shares of at least 0 that are not all 0; got {total} and {dict(shares)}'
        )
    exact = {kind: total * share / whole for kind, share in shares.items()}
    counts = {kind: int(value) for kind, value in exact.items()}
    for kind in sorted(exact, key=lambda k: counts[k] - exact[k])[: total - sum(counts.values())]:
        counts[kind] += 1
    return counts


def _write(pair: BlurPair, folder: Path, name: str) -> dict[str, str]:
    """Write the files of a pair, and return its row of the table."""
    save_pair(folder, name, pair.lq, pair.gt, pair.labels if (folder / 'masks').is_dir() else None)
    score = calculate_psnr(pair.lq, pair.gt, crop_border=0)
    height, width = pair.gt.shape[:2]
    values = (name, pair.kind, pair.source, width, height, f'{pair.extent:.2f}', f'{score:.3f}')
    return dict(zip(COLUMNS, map(str, values), strict=True))


def _name(label: str, number: int) -> str:
    return f'{label}_{number:06d}'


def _claim(folder: Path, record: dict[str, Any]) -> None:
    """Record the plan of a new folder, or compare it with the record.

    Raises:
        DataError: the folder contains other pairs, or other files.
    """
    file = folder / RECORD
    if file.is_file():
        require_same_settings(file, record)
        return
    if folder.is_dir() and any(path.name != 'frames' for path in folder.iterdir()):
        raise DataError(f'{folder}: not empty, and has no {RECORD}; use another folder')
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(file, (json.dumps(record, indent=2, sort_keys=True) + '\n').encode())


def _read_table(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline='', encoding='utf-8') as file:
        return [row for row in csv.DictReader(file) if None not in row.values()]  # the last line may be incomplete
