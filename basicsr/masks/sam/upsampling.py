"""Upsample the small masks of Segment Anything to stability, boxes and planes, with the results of its own code.

The network's masks are enlarged twice: to the size of its input and, cropped to the area of the photo, to its size.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float32]

# Both enlargements here and in torch round at most about 24 times together, by 2^-24 of the largest nearby value.
ROUNDING = 2e-6


class Upsampler:
    """Upsampling of whole masks, a few at a time, on any device.

    Args:
        sam: the network.
        input_size: (H, W) of the photo in the network's input, before padding.
        image_size: (H, W) of the photo.
    """

    chunk = 32
    offset = 1.0  # the stability compares masks of thresholds that are this much higher and lower, as in the package

    def __init__(self, sam: Any, input_size: tuple[int, int], image_size: tuple[int, int]) -> None:
        self.sam, self.input_size, self.image_size = sam, input_size, image_size
        self.threshold = float(sam.mask_threshold)
        self.high, self.low = self.threshold + self.offset, self.threshold - self.offset

    def measure(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Measure the stability and the boxes of masks.

        Args:
            logits: (K, h, w) float32.

        Returns:
            stability (K,) float32, NaN for masks without a pixel; boxes (K, 4), x0, y0, x1, y1 of the outermost
            pixels, int64, zeros for masks without a pixel.
        """
        found = [_measure(values, self.threshold, self.high, self.low) for values in self._enlarged(logits)]
        if not found:
            return logits.new_zeros(0), torch.zeros(0, 4, dtype=torch.int64, device=logits.device)
        return torch.cat([stability for stability, _ in found]), torch.cat([boxes for _, boxes in found])

    def planes(self, logits: Tensor) -> NDArray[np.bool_]:
        """Upsample masks (K, h, w) to boolean planes (K, H, W)."""
        found = [(values > self.threshold).cpu().numpy() for values in self._enlarged(logits)]
        return np.concatenate(found) if found else np.zeros((0, *self.image_size), np.bool_)

    def _enlarged(self, logits: Tensor) -> Iterator[Tensor]:
        for part in logits.split(self.chunk) if len(logits) else ():
            yield self.sam.postprocess_masks(part[:, None], self.input_size, self.image_size)[:, 0]


class RegionUpsampler(Upsampler):
    """Upsampling of only the area of each mask, for the CPU; counts and boxes are the same to the pixel.

    Both enlargements are one sparse matrix for rows and one for columns, whose entries are measured with torch.
    Their product may differ from torch's result in the last bits. If that could move a pixel over a threshold, judged
    by the values around it, the whole mask is enlarged.
    """

    def __init__(self, sam: Any, input_size: tuple[int, int], image_size: tuple[int, int]) -> None:
        super().__init__(sam, input_size, image_size)
        side = int(sam.image_encoder.img_size)
        grid = sam.prompt_encoder.image_embedding_size
        first = _weights((4 * grid[0], 4 * grid[1]), (side, side))
        second = _weights(input_size, image_size)
        self._rows, self._columns = (
            _Band((later @ earlier[:size]).astype(np.float32))
            for later, earlier, size in zip(second, first, input_size, strict=True)
        )

    def measure(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Override :class:`Upsampler`."""
        inside, around = np.zeros(len(logits), np.int32), np.zeros(len(logits), np.int32)
        boxes = np.zeros((len(logits), 4), np.int64)
        for number, values, top, left in self._regions(logits):
            inside[number] = np.count_nonzero(values > self.high)
            around[number] = np.count_nonzero(values > self.low)
            boxes[number] = _box(values > self.threshold, top, left)
        return torch.from_numpy(inside) / torch.from_numpy(around), torch.from_numpy(boxes)

    def planes(self, logits: Tensor) -> NDArray[np.bool_]:
        """Override :class:`Upsampler`."""
        planes = np.zeros((len(logits), *self.image_size), np.bool_)
        for number, values, top, left in self._regions(logits):
            box = slice(top, top + values.shape[0]), slice(left, left + values.shape[1])
            np.greater(values, self.threshold, out=planes[number][box])
        return planes

    def _regions(self, logits: Tensor) -> Iterator[tuple[int, Floats, int, int]]:
        """Yield the number of every mask, in any order, with the result of :meth:`_region`."""
        doubtful = []
        for number, logit in enumerate(logits):
            region = self._region(logit.numpy())
            if region is None:
                doubtful.append(number)
            else:
                yield number, *region
        for start in range(0, len(doubtful), 3):
            # three planes as in the network's answer to a prompt: torch's rounding depends on their number
            three = (doubtful[start : start + 3] * 3)[:3]
            planes = self.sam.postprocess_masks(logits[three][None], self.input_size, self.image_size)[0].numpy()
            for number, values in zip(doubtful[start : start + 3], planes, strict=False):
                yield number, values, 0, 0

    def _region(self, small: Floats) -> tuple[Floats, int, int] | None:
        """Return values of the area outside of which all are below the lowest threshold, and its first row and column.

        None if one of them depends on rounding.
        """
        largest = float(np.abs(small).max())
        if not np.isfinite(largest):
            return None
        inside = small > self.low - ROUNDING * (largest + 1)
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        if not len(rows):
            return np.zeros((0, 0), np.float32), 0, 0
        (top, bottom), (left, right) = self._rows.reach(rows), self._columns.reach(columns)
        first, last = self._rows.first[top], self._rows.last[bottom - 1] + 1
        wide = self._columns.apply(small[first:last].T, left, right).T
        values = self._rows.apply(wide, top, bottom, int(first))
        return None if self._doubtful(values, small, top, left, ROUNDING * largest) else (values, top, left)

    def _doubtful(self, values: Floats, small: Floats, top: int, left: int, error: float) -> bool:
        """Whether a value is so near a threshold that it depends on rounding."""
        for cut in (self.low, self.threshold, self.high):
            near = np.count_nonzero(values > cut - error) - np.count_nonzero(values > cut + error)
            if near > 64:
                return True
            for y, x in np.argwhere((values > cut - error) & (values <= cut + error)) if near else ():
                rows = slice(self._rows.first[top + y], self._rows.last[top + y] + 1)
                columns = slice(self._columns.first[left + x], self._columns.last[left + x] + 1)
                if abs(values[y, x] - cut) <= ROUNDING * max(np.abs(small[rows, columns]).max(), abs(cut)):
                    return True
        return False


class _Band:
    """A matrix (to, from) whose non-zero entries are around its diagonal.

    Args:
        matrix: a matrix with non-zero entries in every row.
    """

    block = 64

    def __init__(self, matrix: Floats) -> None:
        used = matrix != 0
        self.matrix = matrix
        self.first = used.argmax(1)
        self.last = used.shape[1] - 1 - used[:, ::-1].argmax(1)

    def reach(self, indices: NDArray[np.integer[Any]]) -> tuple[int, int]:
        """Return the range of results to which sorted inputs contribute."""
        begin = np.searchsorted(self.last, indices[0], 'left')
        end = np.searchsorted(self.first, indices[-1], 'right')
        begin = min(int(begin), len(self.last) - 1)
        return begin, max(int(end), begin + 1)

    def apply(self, x: Floats, begin: int, end: int, offset: int = 0) -> Floats:
        """Return rows ``begin`` to ``end`` of the product with x, whose row 0 is row ``offset`` of the whole."""
        result = np.empty((end - begin, x.shape[1]), np.float32)
        for start in range(begin, end, self.block):
            stop = min(start + self.block, end)
            first, last = self.first[start], self.last[stop - 1] + 1
            np.matmul(
                self.matrix[start:stop, first:last],
                x[first - offset : last - offset],
                out=result[start - begin : stop - begin],
            )
        return result


def _weights(size: tuple[int, int], to: tuple[int, int]) -> list[NDArray[np.float64]]:
    """Return the matrices (to, from) for rows and for columns of torch's bilinear interpolation of an image.

    A result depends on two neighbours, so three combs of every third row give all weights exactly as torch uses them
    (a formula in float32 would differ by more than rounding). They have the true size, because torch chooses its
    algorithm by it.
    """
    matrices = []
    for axis, (inputs, outputs) in enumerate(zip(size, to, strict=True)):
        comb = torch.zeros(1, 3, *size)
        for phase in range(3):
            comb.select(1, phase).transpose(1, 1 + axis)[:, phase::3] = 1
        enlarged = F.interpolate(comb, to, mode='bilinear', align_corners=False)
        shares = enlarged[0].select(2 - axis, 0).double().numpy()  # (3, outputs)
        centres = np.rint((np.arange(outputs) + 0.5) * (inputs / outputs) - 0.5).astype(int).clip(0, inputs - 1)
        matrix = np.zeros((outputs, inputs))
        for step in (-1, 0, 1):
            index = centres + step
            there = np.flatnonzero((index >= 0) & (index < inputs))
            matrix[there, index[there]] = shares[index[there] % 3, there]
        matrices.append(matrix)
    return matrices


def _box(plane: NDArray[np.bool_], top: int, left: int) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(plane.any(1)), np.flatnonzero(plane.any(0))
    if not len(rows):
        return 0, 0, 0, 0
    return left + int(columns[0]), top + int(rows[0]), left + int(columns[-1]), top + int(rows[-1])


def _measure(values: Tensor, threshold: float, high: float, low: float) -> tuple[Tensor, Tensor]:
    """Return stability (K,) and boxes (K, 4) of values (K, H, W), without synchronizing the device."""
    inside, around = ((values > cut).sum((1, 2), dtype=torch.int32) for cut in (high, low))
    plane = values > threshold
    edges = []
    for used in (plane.any(1), plane.any(2)):  # columns, rows
        count = used.shape[1]
        edges.append((used.int().argmax(1), count - 1 - used.flip(1).int().argmax(1)))
    (left, right), (top, bottom) = edges
    boxes = torch.stack([left, top, right, bottom], 1) * plane.any(2).any(1, keepdim=True)
    return inside / around, boxes
