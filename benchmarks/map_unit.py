"""Time and memory of mask average pooling, against a direct implementation of Algorithm 1."""

from __future__ import annotations

import torch
from torch import Tensor

from basicsr.archs.map_unit import mask_average_pooling
from basicsr.utils.measure import peak_memory
from benchmarks import transcriptions
from benchmarks.bench import Bench


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


def compare(
    bench: Bench, batch: int, masks: int, size: tuple[int, int], backward: bool, target: str, rounds: int
) -> None:
    """Time both implementations; raise an error if the results differ."""
    labels = partition(batch, masks, *size)
    stacks = planes(labels)
    x = torch.rand(batch, 2, *size, requires_grad=backward)
    difference = (mask_average_pooling(x, labels) - transcriptions.mask_average_pooling(x, stacks)).abs().max()
    assert difference < 1e-5, difference

    def step(pooled: Tensor) -> None:
        if backward:
            pooled.sum().backward()

    what = 'forward + backward' if backward else 'forward'
    bench.compare(
        f'{what}, {batch}×{size[0]}×{size[1]}, 2 channels, {masks} masks',
        lambda: step(transcriptions.mask_average_pooling(x, stacks)),
        lambda: step(mask_average_pooling(x, labels)),
        rounds,
        target,
        moved=(1 + backward) * (2 * x.nbytes + labels.nbytes),
    )


def extra_memory(masks: int) -> float:
    """Return the additional MiB of one forward pass at 720×1280."""
    labels = partition(1, masks, 720, 1280)
    x = torch.rand(1, 2, 720, 1280)
    with torch.no_grad():
        mask_average_pooling(x[..., :64, :64], labels[..., :64, :64])
        return peak_memory(lambda: mask_average_pooling(x, labels), x.device)[1] or 0.0


def run_map(bench: Bench) -> None:
    """Mask average pooling, and its memory."""
    memory = extra_memory(255)
    for masks, target in ((10, ''), (60, '≥ 20×'), (255, '≥ 100×')):
        compare(bench, 8, masks, (256, 256), True, target, 7 if masks > 60 else 21)
    for masks in (60, 255):
        compare(bench, 1, masks, (720, 1280), False, '', 1 if bench.quick else 3)
    bench.number('extra memory, forward, 720×1280, 2 channels, 255 masks', None, memory, 'MiB', '≤ 20')
