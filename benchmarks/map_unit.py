"""Compare time and memory of mask average pooling with a direct implementation of Algorithm 1.

python -m benchmarks.map_unit
"""

from __future__ import annotations

import torch
from torch import Tensor

from basicsr.archs.map_unit import mask_average_pooling
from basicsr.utils.measure import peak_memory
from benchmarks import transcriptions
from benchmarks.timing import header, paired, row


def partition(batch: int, masks: int, height: int, width: int) -> Tensor:
    """Return a label map (B, 1, H, W) of the cells around random points, ids 1 to ``masks``, uint8."""
    generator = torch.Generator().manual_seed(masks)
    points = torch.rand(batch, masks, 2, generator=generator) * torch.tensor([height, width])
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij')
    pixels = torch.stack([rows, columns], -1).view(1, -1, 2).float()
    nearest = torch.cat([torch.cdist(pixels, p[None]).argmin(-1) for p in points])
    return (nearest + 1).view(batch, 1, height, width).to(torch.uint8)


def planes(labels: Tensor) -> list[Tensor]:
    """Return the label map as float stacks (M, 1, H, W)."""
    return [torch.stack([(one == k).float() for k in one.unique() if k > 0]) for one in labels]


def compare(batch: int, masks: int, height: int, width: int, backward: bool, target: str, rounds: int) -> None:
    """Time both implementations and print a row; raise an error if the results differ."""
    labels = partition(batch, masks, height, width)
    stacks = planes(labels)
    x = torch.rand(batch, 2, height, width, requires_grad=backward)
    difference = (mask_average_pooling(x, labels) - transcriptions.mask_average_pooling(x, stacks)).abs().max()
    assert difference < 1e-5, difference

    def step(pooled: Tensor) -> None:
        if backward:
            pooled.sum().backward()

    times = paired(
        {
            'transcription': lambda: step(transcriptions.mask_average_pooling(x, stacks)),
            'ours': lambda: step(mask_average_pooling(x, labels)),
        },
        rounds,
    )
    what = 'forward + backward' if backward else 'forward'
    row(f'MAP {what}, {batch}×{height}×{width}, 2 channels, M = {masks}', times, target)


def extra_memory(masks: int) -> float | None:
    """Return the additional MiB of one forward pass at 720×1280."""
    labels = partition(1, masks, 720, 1280)
    x = torch.rand(1, 2, 720, 1280)
    with torch.no_grad():
        mask_average_pooling(x[..., :64, :64], labels[..., :64, :64])
        return peak_memory(lambda: mask_average_pooling(x, labels), x.device)[1]


def main() -> None:
    """Print the table."""
    memory = extra_memory(255)
    header('Mask average pooling')
    for masks, target in ((10, ''), (60, '≥ 20×'), (255, '≥ 100×')):
        compare(8, masks, 256, 256, True, target, 7 if masks > 60 else 21)
    for masks in (60, 255):
        compare(1, masks, 720, 1280, False, '', 3)
    print(f'\nExtra memory, forward, 720×1280, 2 channels, M = 255: {memory or 0:.1f} MiB (target ≤ 20)')


if __name__ == '__main__':
    main()
