"""Average the PSNR of every row over the images of a data set, shared by several processes."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from basicsr.metrics import Record
from basicsr.metrics.psnr import psnr_of_rows
from basicsr.reporting.row_curves import RowCurve
from basicsr.training.distributed import Processes


class RowPSNR:
    """Sums of the PSNR of each row over the images of one process."""

    def __init__(self) -> None:
        self._sums: NDArray[np.float64] = np.zeros((4, 0))  # images, output, images with input, input

    def add(self, record: Record) -> None:
        """Add an image; without ground truth, it is ignored."""
        if record.gt is None:
            return
        output = psnr_of_rows(record.array('output_uint8'), record.gt)
        if len(output) > self._sums.shape[1]:
            self._sums = np.pad(self._sums, ((0, 0), (0, len(output) - self._sums.shape[1])))
        self._sums[:2, : len(output)] += np.stack([np.ones_like(output), output])
        if record.lq is not None:
            lq = psnr_of_rows(record.lq[..., : record.gt.shape[2]], record.gt)
            self._sums[2:, : len(output)] += np.stack([np.ones_like(output), lq])

    def joined(self, processes: Processes) -> RowCurve | None:
        """Return the means over all processes, all of which must call this; None without images."""
        rows = max(int(size) for size in processes.gather(torch.tensor([self._sums.shape[1]])))
        mine = np.pad(self._sums, ((0, 0), (0, rows - self._sums.shape[1])))
        images, output, inputs, lq = np.sum([part.numpy() for part in processes.gather(torch.from_numpy(mine))], axis=0)
        if not rows:
            return None
        with np.errstate(invalid='ignore'):
            return RowCurve(images.astype(np.int64), output / images, lq / inputs)
