"""Run a network on a photo: precision, masks in the form it takes, self-ensemble."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from basicsr.archs.contract import Contract, contract_of
from basicsr.images.arrays import Array
from basicsr.inference.restoring import Restored, Tile, restore_image
from basicsr.inference.self_ensemble import TURNS, turned, turned_back
from basicsr.masks.gray_coding import gray_from_label_map
from basicsr.utils.device import fast_bfloat16, warn_of_slow_bfloat16
from basicsr.utils.errors import WeightsError

Dtype = Literal['auto', 'fp32', 'bf16']


class PhotoNetwork:
    """Restores photos with one network.

    Args:
        net: for RGB images in [0, 1]; put into evaluation mode and moved to the device.
        name: of the network, for messages.
        device: of the network.
        dtype: ``auto`` is bf16 where it is faster and known to agree with fp32 to 50 dB or more.
        self_ensemble: average over the eight flips and rotations.

    Raises:
        WeightsError: the network does not map an RGB image to an RGB image.
    """

    def __init__(self, net: nn.Module, name: str, device: torch.device, dtype: Dtype, self_ensemble: bool) -> None:
        self.contract = contract_of(net)
        self.prior = self.contract.prior_kind
        _require_photo_network(self.contract, f'{name} ({type(net).__name__})')
        self.net, self.device = net.eval().to(device), device
        if dtype == 'bf16':
            warn_of_slow_bfloat16(device, 'dtype: bf16')
        faster = 'bf16' if self.contract.bf16_safe and fast_bfloat16(device) else 'fp32'
        self.dtype = faster if dtype == 'auto' else dtype
        self.self_ensemble = self_ensemble

    def restore(self, lq: Tensor, labels: Array | None, tile: Tile) -> Restored:
        """Restore an image, with self-ensemble if enabled.

        Args:
            lq: (1, 3, H, W) float in [0, 1] on the device.
            labels: label map (L, H, W) int32 for networks that take masks.
            tile: as for :func:`~basicsr.inference.restoring.restore_image`.

        Returns:
            float32; tile and kernel are those of the unchanged image.

        Raises:
            ArgumentError: the tiles are too small for the network.
            RuntimeError: even the smallest tiles do not fit into memory.
        """
        maps = None if labels is None else torch.from_numpy(labels)[None]
        first = self._restore_one(lq, maps, tile)
        if not self.self_ensemble:
            return first
        total = first.image
        for turn in TURNS[1:]:
            restored = self._restore_one(turned(lq, turn), None if maps is None else turned(maps, turn), tile)
            total = total + turned_back(restored.image, turn)
        return replace(first, image=total / len(TURNS))

    @contextlib.contextmanager
    def weighing(self, mask_value: float | None) -> Iterator[None]:
        """Set the weight of masked pixels temporarily; None leaves it unchanged.

        Raises:
            MaskError: not in (0, 1].
        """
        net: Any = self.net
        if mask_value is None or self.contract.mask_value is None:
            yield
            return
        before = net.mask_value
        net.mask_value = mask_value
        try:
            yield
        finally:
            net.mask_value = before

    def _restore_one(self, lq: Tensor, maps: Tensor | None, tile: Tile) -> Restored:
        masks = None
        if maps is not None and self.prior == 'gray':
            gray = torch.from_numpy(gray_from_label_map(maps[0].numpy()))[None, None]
            lq = torch.cat([lq, gray.to(lq) / 255], 1)
        elif maps is not None:
            masks = maps.to(lq.device)
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype == 'bf16'):
            restored = restore_image(self.net, lq, masks, tile)
        return replace(restored, image=restored.image.float())


def _require_photo_network(contract: Contract, name: str) -> None:
    """Raise unless input and output of the network are RGB images in [0, 1]."""
    if not contract.returns_image or contract.kernel_role == 'takes' or contract.input_rule.value_range != (0.0, 1.0):
        raise WeightsError(f'{name} is a part of a network and cannot deblur photos')
    takes, gives = contract.in_channels - int(contract.prior_kind == 'gray'), contract.out_channels
    if (takes, gives) != (3, 3):
        raise WeightsError(f'{name} takes {takes} channels and returns {gives}; photos have 3 (RGB)')
