"""Restore images that do not fit into memory in overlapping tiles, and blend the tiles.

Padding and the prior are computed on the whole image and cropped with each tile. If a network has a finite receptive
field (``input_rule.halo``), pixels that depend on values outside the tile are discarded, so the result equals that of
the whole image. Networks with global pooling should use their Local form (``local_form``); each tile then pools over
its own windows, so the result differs slightly.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from basicsr.archs import build_network
from basicsr.archs.contract import contract_of, for_tiles, restored
from basicsr.archs.map_unit import Masks
from basicsr.deconvolution.photos import Progress
from basicsr.utils.errors import ArgumentError
from basicsr.utils.registry import ARCH_REGISTRY

UNSEEN = 32
"""Pixels discarded at the edge of a tile if the receptive field is the whole image."""
RAMP = 32
"""Width in pixels over which neighbouring tiles are blended."""

Window = tuple[int, int, int, int]
"""Top, left, height, width in pixels."""


@dataclass(frozen=True)
class Grid:
    """Tiles as in the original's ``grids`` option: fixed size, evenly spaced, overlaps averaged.

    Args:
        height: of a tile in pixels.
        width: of a tile in pixels.
        most: tiles per batch; None is all of them.
    """

    height: int
    width: int
    most: int | None = None

    def windows(self, height: int, width: int) -> list[Window]:
        """Return the tiles of an image, row by row."""
        tall, wide = min(self.height, height), min(self.width, width)
        return [(top, left, tall, wide) for top in _starts(height, tall) for left in _starts(width, wide)]


def restore_grid(net: nn.Module, lq: Tensor, masks: Masks | None, grid: Grid) -> Tensor:
    """Restore as with the original's ``grids`` option: whole tiles, averaged where they overlap.

    Args:
        net: in evaluation mode; it pads each tile by its own rule.
        lq: (1, C, H, W) float; for CAT networks with the gray mask as last channel.
        masks: of the whole image, for networks with a prior, which is computed once and cropped.
        grid: size of the tiles.

    Returns:
        (1, C, H, W).
    """
    image, restore, _ = for_tiles(net, lq, masks, padded=False)
    windows = grid.windows(*lq.shape[-2:])
    total = lq.new_zeros(1, contract_of(net).out_channels, *lq.shape[-2:])
    count = lq.new_zeros(1, 1, *lq.shape[-2:])
    for start in range(0, len(windows), grid.most or len(windows)):
        some = windows[start : start + (grid.most or len(windows))]
        tiles = restored(restore(torch.cat([_cut(image, window) for window in some])))
        for tile, window in zip(tiles, some, strict=True):
            _cut(total, window).add_(tile)
            _cut(count, window).add_(1)
    return total / count


def restore_tiled(
    net: nn.Module, lq: Tensor, masks: Masks | None, tile: int, progress: Progress = lambda done, total: None
) -> Tensor:
    """Restore in overlapping tiles and blend them.

    Args:
        net: in evaluation mode; with global pooling in its Local form (see ``local_form``).
        lq: (1, C, H, W) float; for CAT networks with the gray mask as last channel.
        masks: of the whole image, for networks with a prior.
        tile: largest side of the tiles in pixels, discarded pixels included; rounded up to a multiple of the network's
            stride.
        progress: called after each tile with the finished and the total number; may raise to stop.

    Returns:
        (1, C, H, W); equal to ``net(lq)`` up to rounding if the receptive field is finite.

    Raises:
        ArgumentError: no pixels of a tile remain after discarding its edges.
    """
    size = lq.shape[-2:]
    contract = contract_of(net)
    image, restore, tiled = for_tiles(net, lq, masks, padded=True)
    padded = image.shape[-2:]
    lost = UNSEEN if tiled.halo == 'global' else int(tiled.halo)
    axes = [
        _axis(length, tile, lost, multiple)
        for length, multiple in zip(padded, contract.tile_rule.multiple, strict=True)
    ]
    total = lq.new_zeros(1, contract.out_channels, *padded)
    weight = lq.new_zeros(1, 1, *padded)
    tiles = list(itertools.product(*axes))
    for done, ((top, tall, rows), (left, wide, columns)) in enumerate(tiles, 1):
        window = top, left, tall, wide
        share = (rows.to(lq)[:, None] * columns.to(lq)[None])[None, None]
        _cut(total, window).add_(restored(restore(_cut(image, window))) * share)
        _cut(weight, window).add_(share)
        progress(done, len(tiles))
    return contract.input_rule.crop(total / weight, *size)


def least_tile(net: nn.Module) -> int:
    """Return the side of the smallest usable tiles of a network, in pixels."""
    rule = contract_of(net).tile_rule
    lost = UNSEEN if rule.halo == 'global' else int(rule.halo)
    return max(_least(lost, multiple) for multiple in rule.multiple)


def local_form(net: nn.Module) -> nn.Module:
    """Return the network with windowed instead of global pooling (TLC), sharing weights; itself without such a form.

    Args:
        net: built by ``build_network``, which stores its options.
    """
    options = contract_of(net).options
    if (changed := _local_options(options)) == options:
        return net
    with torch.device('meta'):
        local = build_network(changed)
    local.load_state_dict(net.state_dict(keep_vars=True), assign=True)
    return local.train(net.training)


def _local_options(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of the Local form of a network or of its backbone; the same options if it has none."""
    if isinstance(backbone := options.get('backbone'), dict):
        return {**options, 'backbone': _local_options(backbone)}
    name = f'{options.get("type")}Local'
    return {**options, 'type': name} if name in ARCH_REGISTRY else options


def _cut(image: Tensor, window: Window) -> Tensor:
    top, left, height, width = window
    return image[..., top : top + height, left : left + width]


def _starts(length: int, tile: int) -> list[int]:
    """Return the starts of the fewest tiles that cover the length, evenly spaced, the last one at its end."""
    count = (length - 1) // tile + 1
    step = tile if count == 1 else -int(-((length - tile) / (count - 1) - 1e-8) // 1)
    return [*range(0, length - tile, step), length - tile]


def _axis(length: int, tile: int, lost: int, multiple: int) -> list[tuple[int, int, Tensor]]:
    """Return start, length and weights of the tiles along one side; starts are multiples of the network's stride.

    The tiles are the fewest of at most ``tile`` pixels, made equal: the last one would else repeat what others compute.
    """
    tile = _rounded(tile, multiple)
    if tile >= length:
        return [(0, length, torch.ones(length))]
    lost = _rounded(lost, multiple)
    shared = _rounded(2 * lost + RAMP, multiple)
    if tile - shared < multiple:
        raise ArgumentError(
            f'tiles of {tile} pixels are too small for this network; use {_least(lost, multiple)} or more'
        )
    count = -(-(length - shared) // (tile - shared))
    step = _rounded(-(-(length - shared) // count), multiple)
    windows = [(start, min(step + shared, length - start)) for start in range(0, length - shared, step)]
    return [(start, size, _weights(size, lost, start > 0, start + size < length)) for start, size in windows]


def _rounded(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple


def _least(lost: int, multiple: int) -> int:
    return _rounded(2 * _rounded(lost, multiple) + RAMP + multiple, multiple)


def _weights(tile: int, lost: int, before: bool, after: bool) -> Tensor:
    """Return 0 where a tile is discarded, 1 inside, a smooth ramp between; 1 at the edges of the image."""
    position = torch.arange(tile) + 0.5 - lost
    ramp = torch.sin(torch.pi / 2 * (position / RAMP).clamp(0, 1)) ** 2
    weights = torch.ones(tile)
    if before:
        weights = weights * ramp
    return weights * ramp.flip(0) if after else weights
