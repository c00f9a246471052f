"""Mask average pooling: Algorithm 1 of SAM-Deblur (arXiv 2309.02270) over label maps and mask stacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from basicsr.archs.mask_dropout import Masks, MaskSeeds, are_dropped, drop_masks, ids_as_indices
from basicsr.utils.device import signed, to_device, without_autocast
from basicsr.utils.errors import MaskError, ShapeError
from basicsr.utils.exact_products import exact_matmul
from basicsr.utils.export_hooks import exporting

_LABEL_TYPES = (torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32, torch.uint32, torch.int64)
__all__ = ['EPSILON', 'MaskAveragePooling', 'Masks', 'check_masks_fit', 'drop_masks', 'mask_average_pooling']

EPSILON = 1e-8  # in every average; part of the published numbers
_LONG = 2**14  # pixels of a strip; longer sums are float64
_TABLE_SHARE = 16  # tables of partial sums have at most a sixteenth as many entries as the features


class MaskAveragePooling(nn.Module):
    """Replace every pixel of a feature map by the mean over its region (Algorithm 1, section 2.2 of the paper).

    For one sample with features x_c(p) and masks m_i(p), p over all pixels, i = 1..M::

        A_i     = sum_p m_i(p)                      a_ic = sum_p x_c(p) m_i(p) / (A_i + 1e-8)
        U(p)    = 1 - clamp(sum_i m_i(p), 0, 1)     g_c  = sum_p x_c(p) U(p) / (sum_p U(p) + 1e-8)
        out_c(p) = sum_i a_ic m_i(p) + g_c U(p)

    Contributions of overlapping masks add up. Pixels without a mask form another region. A mask without pixels
    contributes nothing. Without masks, every pixel gets the global mean. In training mode, int(mask_dropout · M) random
    masks of each sample are treated as empty (section 2.3 of the paper).

    The operator is linear in x and symmetric, so it is its own backward pass. For a label map, the cost does not depend
    on the number of masks. Sums and areas are computed in float32 or float64.

    Args:
        mask_dropout: fraction of the masks to drop in training mode, 0 to 1.
        mask_value: weight of a covered pixel of a label map or boolean stack: 1 in the paper, 1/255 in the published
            checkpoints. Float stacks are used as they are.
    """

    def __init__(self, mask_dropout: float = 0.0, mask_value: float = 1.0) -> None:
        super().__init__()
        if not 0 <= mask_dropout <= 1:
            raise MaskError(f'mask_dropout must be between 0 and 1, got {mask_dropout}')
        if not 0 < mask_value <= 1:
            raise MaskError(f'mask_value must be above 0 and at most 1, got {mask_value}')
        self.mask_dropout = mask_dropout
        self.mask_value = mask_value

    def forward(self, features: Tensor, masks: Masks, mask_seeds: MaskSeeds | None = None) -> Tensor:
        """Average ``features`` over the regions of ``masks``.

        Args:
            features: (B, C, H, W), any floating dtype.
            masks: integer label map (B, L, H, W), or B float/bool stacks of shape (M_b, 1, H, W).
            mask_seeds: B integers that seed the mask dropout of each sample; None uses torch's default CPU generator,
                one ``randperm(M)`` per sample in batch order, as in the original. DROPPED for label maps of
                :func:`basicsr.data.collate` with mask dropout: they are used as they are.

        Returns:
            (B, C, H, W) in the dtype of ``features``.

        Raises:
            MaskError: the masks do not fit the features, or are not a valid label map or stack.
        """
        dropped = are_dropped(mask_seeds)
        check_masks_fit(masks, features, dropped)
        if exporting():
            return _pool_traced(features, masks, self.mask_value)
        if self.training and len(features) and not dropped:
            masks = drop_masks(masks, self.mask_dropout, mask_seeds)
        return _pool(features, masks, self.mask_value, dropped)

    def extra_repr(self) -> str:
        """Return the settings for ``print(net)``."""
        return f'mask_dropout={self.mask_dropout}, mask_value={self.mask_value:.6g}'


def mask_average_pooling(features: Tensor, masks: Masks, mask_value: float = 1.0) -> Tensor:
    """Compute Algorithm 1 as a pure function; see :class:`MaskAveragePooling` for formulas, arguments and errors."""
    check_masks_fit(masks, features)
    return _pool(features, masks, mask_value)


def _pool(features: Tensor, masks: Masks, mask_value: float, checked: bool = False) -> Tensor:
    if not len(features):
        return features
    with without_autocast(features):
        exact = features if features.dtype == torch.float64 else features.float()
        if isinstance(masks, Tensor):
            labels = signed(to_device(masks, exact.device))
            pooled: Tensor = _LabelPooling.apply(exact, _Regions.of(labels, checked), mask_value)
        else:
            pooled = _pool_stacks(exact, masks, mask_value)
        return pooled.to(features.dtype)


def check_masks_fit(masks: Masks, features: Tensor, checked: bool = False) -> None:
    """Check that masks fit ``features`` (B, C, H, W); see :meth:`MaskAveragePooling.forward` for the forms.

    Pooling itself checks that each id occurs in one layer only.

    Args:
        masks: label map or stacks.
        features: features, or the image.
        checked: the labels of a label map are known to be valid, and are not read again.

    Raises:
        MaskError: wrong form, size, batch size or dtype, negative labels, or values outside [0, 1].
        ShapeError: the features are not floats (B, C, H, W).
    """
    if features.dim() != 4 or not features.is_floating_point():
        raise ShapeError(f'features must be floats (B, C, H, W), got {features.dtype} {tuple(features.shape)}')
    batch, size = features.shape[0], tuple(features.shape[-2:])
    if isinstance(masks, Tensor):
        if masks.dtype not in _LABEL_TYPES:
            raise MaskError(f'a label map needs integers, got {masks.dtype}; pass other masks as B stacks (M, 1, H, W)')
        if masks.dim() != 4 or masks.shape[0] != batch or masks.shape[1] < 1:
            raise MaskError(f'the label map must be ({batch}, L, H, W) with L ≥ 1, got {tuple(masks.shape)}')
        if tuple(masks.shape[-2:]) != size:
            raise MaskError(f'the label map has {tuple(masks.shape[-2:])} pixels, the image {size}')
        if not (checked or exporting()) and masks.dtype.is_signed and masks.numel() and int(masks.min()) < 0:
            raise MaskError(f'labels must be 0 (no mask) or positive; the smallest is {int(masks.min())}')
        return
    if not isinstance(masks, Sequence) or not all(isinstance(stack, Tensor) for stack in masks):
        raise MaskError('masks must be a label map (B, L, H, W) or B stacks (M, 1, H, W); for no masks, pass zeros')
    if len(masks) != batch:
        raise MaskError(f'{len(masks)} mask stacks for a batch of {batch} images')
    for index, stack in enumerate(masks):
        if not stack.is_floating_point() and stack.dtype != torch.bool:
            raise MaskError(f'mask stack {index} is {stack.dtype}; it must be boolean or float (divide uint8 by 255)')
        if stack.dim() != 4 or stack.shape[1] != 1 or tuple(stack.shape[-2:]) != size:
            raise MaskError(f'mask stack {index} must be (M, 1, {size[0]}, {size[1]}), got {tuple(stack.shape)}')
        if stack.is_floating_point() and stack.numel() and not bool(((stack >= 0) & (stack <= 1)).all()):
            raise MaskError(f'mask stack {index} has values outside [0, 1] (or NaN); divide 8-bit masks by 255')


def _pool_traced(features: Tensor, masks: Masks, value: float) -> Tensor:
    """Compute Algorithm 1 over a label map as a graph for any size and number of regions, for inference only.

    The table has an entry for every id up to the largest one, which is read from the map when the graph runs. Sums are
    float64. A graph cannot contain the checks of :func:`check_masks_fit`.
    """
    if not isinstance(masks, Tensor):
        raise MaskError('to export networks with region masks, use a label map (B, L, H, W) as input')
    largest: Any = masks.max().item()
    count = largest + 2  # one more than needed, so that it is never 1
    torch._check(count >= 2)
    index, exact = masks.long().flatten(2), features.double().flatten(2)
    batch, channels, layers = len(exact), exact.shape[1], index.shape[1]
    ids = index.reshape(batch, 1, -1)  # of all layers in a row
    several = exact[:, :, None].expand(-1, -1, layers, -1).reshape(batch, channels, -1)
    areas = exact.new_zeros(batch, 1, count).scatter_add(2, ids, torch.ones_like(ids, dtype=exact.dtype))
    sums = exact.new_zeros(batch, channels, count).scatter_add(2, ids.expand(-1, channels, -1), several)
    # Both parts of fractions are divided by EPSILON: graph optimizers would round it to 0 and leave 0 / 0.
    means = value * (value * sums / EPSILON) / (value * areas / EPSILON + 1)
    each = means.gather(2, ids.expand(-1, channels, -1)) * (ids > 0)  # id 0 is no mask
    uncovered = 1 - (value * (index > 0).sum(1, keepdim=True).double()).clamp(0, 1)
    rest = ((exact * uncovered).sum(2, keepdim=True) / EPSILON) / (uncovered.sum(2, keepdim=True) / EPSILON + 1)
    pooled = each.reshape(batch, channels, layers, -1).sum(2) + rest * uncovered
    return pooled.reshape(features.shape).to(features.dtype)


@dataclass(frozen=True)
class _Regions:
    """A label map prepared for pooling: ids as indices, and the number of pixels of each."""

    index: Tensor  # (B, L, H, W) int64
    areas: Tensor  # (B, 1, K) float64; entry 0 counts pixels without a mask, over all layers
    cover: Tensor | None  # (B, 1, H, W) int64: number of masks on each pixel; None for one layer
    cover_areas: Tensor  # (B, 1, L + 1) float64: pixels under 0, 1, ... L masks

    @classmethod
    def of(cls, labels: Tensor, checked: bool) -> _Regions:
        index, count = ids_as_indices(labels, checked)
        layers = labels.shape[1]
        # uint8 labels are never renumbered, and have an eighth of the bytes
        ids = labels if labels.dtype == torch.uint8 else index
        areas_by_layer = [_areas(layer, count) for layer in ids.split(1, 1)]
        areas = torch.stack(areas_by_layer).sum(0)
        if layers == 1:
            covered = areas[..., 1:].sum(-1, keepdim=True)
            return cls(index, areas, None, torch.cat([areas[..., :1], covered], -1))
        if not checked:
            areas = _of_unique_ids(areas, torch.stack(areas_by_layer))
        cover = (index > 0).sum(1, keepdim=True)
        return cls(index, areas, cover, _areas(cover, layers + 1))


def _of_unique_ids(areas: Tensor, by_layer: Tensor) -> Tensor:
    """Return areas (B, 1, K) if no id occurs in two layers (L, B, 1, K).

    Elsewhere than on a CPU, waiting for the answer would cost more than the pooling: there, the areas of such an image
    become NaN, and so does its result.

    Raises:
        MaskError: an id occurs in two layers.
    """
    twice = (by_layer[..., 1:] > 0).sum(0) > 1
    if by_layer.device.type != 'cpu' or torch.compiler.is_compiling():
        return torch.where(twice.any(-1, keepdim=True), torch.nan, areas)
    if twice.any():
        raise MaskError('an id occurs in two layers of a label map; ids must be unique over the layers of a sample')
    return areas


class _LabelPooling(torch.autograd.Function):
    """The operator over label maps. It is symmetric, so its gradient is the same operator."""

    @staticmethod
    def forward(ctx, features: Tensor, regions: _Regions, value: float) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.regions, ctx.value = regions, value
        return _pool_regions(features, regions, value)

    @staticmethod
    def backward(ctx, gradient: Tensor):  # type: ignore[no-untyped-def]
        return _LabelPooling.apply(gradient, ctx.regions, ctx.value), None, None


def _pool_regions(x: Tensor, regions: _Regions, value: float) -> Tensor:
    """Sum features into a table of ids, compute means in float64, and copy the means to the pixels."""
    count = regions.areas.shape[-1]
    layers = regions.index.split(1, 1)
    sums = torch.stack([_sums(x, layer, count) for layer in layers]).sum(0)
    if regions.cover is None:
        cover_sums = torch.cat([sums[..., :1], sums[..., 1:].sum(-1, keepdim=True)], -1)
    else:
        cover_sums = _sums(x, regions.cover, len(layers) + 1)
    uncovered = 1 - (value * torch.arange(len(layers) + 1, device=x.device, dtype=sums.dtype)).clamp(0, 1)
    total = (uncovered * regions.cover_areas).sum(-1, keepdim=True)
    rest = uncovered * (uncovered * cover_sums).sum(-1, keepdim=True) / (total + EPSILON)  # (B, C, L + 1): g · U
    means = value * (value * sums) / (value * regions.areas + EPSILON)
    means[..., 0] = 0  # id 0 is no mask
    if regions.cover is None:
        means[..., 0] = rest[..., 0]
        means[..., 1:] += rest[..., 1:]
        return _spread(means.to(x.dtype), regions.index)
    pooled = _spread(rest.to(x.dtype), regions.cover)
    for layer in layers:
        pooled += _spread(means.to(x.dtype), layer)
    return pooled


def _sums(x: Tensor, index: Tensor, count: int) -> Tensor:
    """Return the sum of ``x`` (B, C, H, W) over the pixels of each id: (B, C, count) float64.

    Each strip of rows has its own table, and the tables are added in float64. So float32 sums stay short and their
    errors cancel (about 1e-7 in a mean; one long sum has about 1e-6, which a network can amplify to 1e-4). CPU threads
    share the strips, and on CUDA fewer additions collide.
    """
    batch, channels, height, width = x.shape
    most = max(1, min(height, height * width // (_TABLE_SHARE * count)))
    even = next(n for n in range(most, 0, -1) if height % n == 0)
    strips = even if 4 * even > most else most  # heights with few divisors have remaining rows
    rest = height % strips
    if rest:  # the remaining rows
        return _sums(x[:, :, rest:], index[:, :, rest:], count) + _sums(x[:, :, :rest], index[:, :, :rest], count)
    if height * width > strips * _LONG and x.device.type != 'mps':
        x = x.double()
    table = x.new_zeros(batch, channels, strips, count)
    index = index.reshape(batch, 1, strips, -1).expand(-1, channels, -1, -1)
    table.scatter_add_(3, index, x.reshape(batch, channels, strips, -1))
    return table.sum(2, dtype=torch.float32 if x.device.type == 'mps' else torch.float64)  # Apple GPUs lack float64


def _areas(index: Tensor, count: int) -> Tensor:
    """Count the pixels of each id of (B, 1, H, W): (B, 1, count)."""
    # a histogram takes half the time of adding ones; compiled graphs cannot contain it
    if index.device.type == 'cpu' and not torch.compiler.is_compiling():
        histograms = [torch.bincount(one.flatten(), minlength=count) for one in index]
        return torch.stack(histograms)[:, None].double()
    ones = torch.ones((), device=index.device).expand(index.shape)
    return _sums(ones, index.long(), count)


def _spread(table: Tensor, index: Tensor) -> Tensor:
    """Look up the table entry (B, C, count) of every pixel's id (B, 1, H, W)."""
    channels = table.shape[1]
    table = table[:, :, None].expand(-1, -1, index.shape[2], -1)
    return table.gather(3, index.expand(-1, channels, -1, -1))


def _pool_stacks(x: Tensor, stacks: Sequence[Tensor], value: float) -> Tensor:
    """Compute the formulas as two matrix products of masks (M, H·W) and features (C, H·W)."""
    planes = [stack.to(x.device).detach().flatten(1) for stack in stacks]
    planes = [(p.to(x.dtype) * value if p.dtype == torch.bool else p.to(x.dtype)) for p in planes]
    flat = x.flatten(2)
    if x.is_cuda:  # one batched product; padded planes are zero and contribute nothing
        return _pool_dense(flat, pad_sequence(planes, batch_first=True)).view_as(x)
    return torch.cat([_pool_dense(one, p[None]) for one, p in zip(flat.split(1), planes, strict=True)]).view_as(x)


def _pool_dense(x: Tensor, masks: Tensor) -> Tensor:
    """Compute Algorithm 1 for x (B, C, N) and masks (B, M, N) of any real values."""
    averages = exact_matmul(x, masks.mT) / (masks.sum(-1) + EPSILON)[:, None]
    uncovered = 1 - masks.sum(1, keepdim=True).clamp(0, 1)
    rest = (x * uncovered).sum(-1, keepdim=True) / (uncovered.sum(-1, keepdim=True) + EPSILON)
    return exact_matmul(averages, masks) + rest * uncovered
