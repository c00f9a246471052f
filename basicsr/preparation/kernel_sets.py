"""Write a set of random blur kernels with a table and a contact sheet."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from basicsr.data.blur_kernels import DrawnKernel, RandomKernels
from basicsr.deconvolution.kernels import kernel_image
from basicsr.images.arrays import Array
from basicsr.images.contact_sheet import contact_sheet, sheet_row
from basicsr.images.files import imwrite
from basicsr.utils.errors import ArgumentError, OutputError
from basicsr.utils.files import whole_folder

TABLE, SHEET = 'kernels.csv', 'kernels.png'
COLUMNS = ('file', 'kind', 'source', 'height', 'width', 'peak')
_SHOWN, _PER_ROW, _PANEL = 64, 8, 128
_VISIBLE = 0.01  # of the peak; smaller values do not count for height and width


def write_kernels(kernels: RandomKernels, count: int, seed: int, folder: Path) -> Path:
    """Write kernels as ``kernels/<number>.npy``, a table, and a contact sheet of the first 64.

    Args:
        kernels: draws them.
        count: number of kernels.
        seed: a kernel depends on it, its number and the settings of ``kernels`` alone.
        folder: must not exist.

    Returns:
        the path of the contact sheet.

    Raises:
        ArgumentError: no kernels are wanted, or the seed is negative.
        OutputError: the folder exists.
    """
    if count < 1 or seed < 0:
        raise ArgumentError(f'expected at least 1 kernel and a seed of at least 0, got {count} and {seed}')
    if folder.exists():
        raise OutputError(f'{folder} exists; name a new folder')
    shown: list[tuple[str, DrawnKernel]] = []
    with whole_folder(folder) as new:
        (new / 'kernels').mkdir()
        with (new / TABLE).open('w', newline='', encoding='utf-8') as file:
            table = csv.writer(file)
            table.writerow(COLUMNS)
            for number in range(count):
                drawn, name = kernels.draw(np.random.default_rng([seed, number])), f'{number:06d}'
                np.save(new / 'kernels' / f'{name}.npy', drawn.values, allow_pickle=False)
                peak = f'{float(drawn.values.max()):.5f}'
                table.writerow((f'kernels/{name}.npy', drawn.kind, drawn.source, *visible_size(drawn.values), peak))
                shown += [(f'{number} {drawn.kind}', drawn)] if number < _SHOWN else []
        imwrite(new / SHEET, kernel_sheet([(name, drawn.values) for name, drawn in shown]))
    return folder / SHEET


def visible_size(kernel: Array) -> tuple[int, int]:
    """Return height and width of the part of a kernel that is above 1 % of its peak."""
    rows, columns = np.nonzero(kernel > _VISIBLE * kernel.max())
    return int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


def kernel_sheet(kernels: Sequence[tuple[str, Array]], title: str = 'blur kernels', per_row: int = _PER_ROW) -> Array:
    """Draw kernels with their names, (H, W, 3) RGB uint8; the largest value of each is white."""
    rows = []
    for first in range(0, len(kernels), per_row):
        panels = [(name, _panel(kernel)) for name, kernel in kernels[first : first + per_row]]
        rows.append(sheet_row(title if first == 0 else '', panels, _PANEL))
    return contact_sheet(rows)


def _panel(kernel: Array) -> Array:
    shown = kernel_image(kernel, max(1, _PANEL // kernel.shape[0]))
    framed = cv2.copyMakeBorder(shown, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=(90,))
    return np.repeat(np.asarray(framed, np.uint8)[..., None], 3, axis=2)
