"""Small reports for the tests of tables, files and the gallery."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from basicsr.metrics import Record, build_metric
from basicsr.reporting import (
    MCR,
    Definition,
    ImageRow,
    KeptImages,
    Report,
    RowWriter,
    RunFacts,
    definition_of,
    join,
    write_report,
)

DEFINITIONS = tuple(definition_of(name, build_metric({'type': name})) for name in ('psnr', 'ssim', MCR))
FACTS = RunFacts(
    'run a', network='NetA', options='options/test/GoPro.yml', checkpoint='a.pth', checkpoint_sha256='ab' * 32
)


def row(index: int, psnr: float, before: float = 25.0, name: str | None = None, **more: object) -> ImageRow:
    rate = 100.0 if before - psnr > 3 else 0.0
    scores, inputs = {'psnr': psnr, 'ssim': psnr / 40, MCR: rate}, {'psnr': before, 'ssim': before / 40, MCR: 0.0}
    given = {'height': 4, 'width': 6, 'scores': scores, 'input_scores': inputs, **more}
    return ImageRow(index=index, name=name or f'image{index}', **given)  # type: ignore[arg-type]


def report(
    values: list[float], facts: RunFacts = FACTS, definitions: tuple[Definition, ...] = DEFINITIONS, **more: object
) -> Report:
    rows = tuple(row(index, value) for index, value in enumerate(values))
    return Report(facts, 'GoPro', definitions, rows, **more)  # type: ignore[arg-type]


def record_of(index: int, size: tuple[int, int] = (60, 90)) -> Record:
    """A target with structure, an input darker by 20, an output darker by 5."""
    rng = np.random.default_rng(index)
    gt = rng.integers(60, 200, (*size, 3), dtype=np.uint8)
    return Record(output_uint8=gt - 5, gt=gt, lq=gt - 20)


def labels_of(size: tuple[int, int] = (60, 90)) -> np.ndarray:
    """One region on the left."""
    labels = np.zeros((1, *size), int)
    labels[0, :, : size[1] // 2] = 1
    return labels


def add(
    rows: RowWriter, index: int, name: str | None = None, kernel: np.ndarray | None = None, **more: object
) -> ImageRow:
    """Add an image to the rows of a process."""
    one = ImageRow(index, name or f'image{index}', 60, 90, **more)  # type: ignore[arg-type]
    return rows.add(one, record_of(index), labels_of(), kernel)


def evaluate(
    folder: Path,
    gains: list[float],
    facts: RunFacts = FACTS,
    images: KeptImages | None = KeptImages(),  # noqa: B008 - frozen
    names: list[str] | None = None,
    ranks: int = 1,
    kernels: Mapping[int, np.ndarray] = MappingProxyType({}),
) -> Report:
    """What an evaluation does: each process writes its rows, rank 0 joins them.

    ``kernels`` are those that the network found, by the index of the image.
    """
    for rank in range(ranks):
        with RowWriter(folder, 'GoPro', DEFINITIONS, len(gains), images, rank) as rows:
            for index in range(rank, len(gains), ranks):
                rate = 100.0 if gains[index] < -3 else 0.0
                add(
                    rows,
                    index,
                    names[index] if names else None,
                    kernels.get(index),
                    scores={'psnr': 25 + gains[index], 'ssim': 0.5 + gains[index] / 100, MCR: rate},
                    input_scores={'psnr': 25.0, 'ssim': 0.5, MCR: 0.0},
                    seconds=index / 10,
                )
    done = join(folder, facts, 'GoPro', DEFINITIONS, len(gains), images, ranks)
    write_report(folder, done)
    return done
