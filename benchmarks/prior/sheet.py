"""A contact sheet of prepared samples with their masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from skimage.segmentation import mark_boundaries

from basicsr.data.stores.raw import RawStore
from basicsr.images.arrays import Array
from basicsr.images.contact_sheet import contact_sheet, sheet_row
from basicsr.images.files import imwrite
from benchmarks.prior.preparing import SETS, scenes_of

_MASKS = ('true', 'other', 'felzenszwalb', 'one')


def write_sheet(data: Path, output: Path, each: int = 4) -> Path:
    """Draw some samples of each set: blurred, sharp, the borders of all masks, and the gray mask of CAT."""
    rows = []
    for name in ('train', *SETS):
        folder = data / name
        if not folder.is_dir():
            continue
        blur, sharp, gray = (RawStore(folder / f'{kind}.raw') for kind in ('blur', 'sharp', 'gray_true'))
        masks = {kind: RawStore(folder / f'masks_{kind}.raw') for kind in _MASKS}
        scenes = scenes_of(folder)
        for number in np.linspace(0, len(blur.keys) - 1, each).round().astype(int):
            key = blur.keys[number]
            image = blur.image(key, 3)
            panels = [('blurred', np.array(image)), ('sharp', np.array(sharp.image(key, 3)))]
            panels += [(kind, _bordered(image, store.labels(key)[0])) for kind, store in masks.items()]
            coded = gray.gray(key)
            shown = np.asarray(coded * (255 // max(1, int(coded.max()))), np.uint8)
            panels.append(('gray, stretched', np.repeat(shown[..., None], 3, 2)))
            rows.append(sheet_row(f'{name} {key}: {scenes[key]}', panels, width=160))
    output.parent.mkdir(parents=True, exist_ok=True)
    imwrite(output, contact_sheet(rows))
    return output


def _bordered(image: Array, labels: Array) -> Array:
    marked = mark_boundaries(image, labels.astype(np.int32), color=(1, 1, 0))
    return np.asarray(255 * marked, np.uint8)
