"""A network as photos need it: its arithmetic, its masks in the form that it takes, the mean over turns."""

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
        net: for RGB pictures in [0, 1]; put into evaluation mode and moved to the device.
        name: of the network, for messages.
        device: where it runs.
        dtype: ``auto`` is bf16 where it is faster and known to stay within 50 dB of fp32.
        self_ensemble: the mean over the eight flips and rotations.

    Raises:
        WeightsError: the network takes no ordinary pictures.
    """

    def __init__(self, net: nn.Module, name: str, device: torch.device, dtype: Dtype, self_ensemble: bool) -> None:
        self.contract = contract_of(net)
        self.prior = self.contract.prior_kind
        _require_photo_network(self.contract, f'{name} ({type(net).__name__})')
        self.net, self.device = net.eval().to(device), device
        if dtype == 'bf16':
            warn_of_slow_bfloat16(device, 'dtype: bf16')
        self.dtype: Literal['fp32', 'bf16'] = dtype if dtype != 'auto' else _dtype_for(self.contract, device)
        self.self_ensemble = self_ensemble

    def restore(self, lq: Tensor, labels: Array | None, tile: Tile) -> Restored:
        """Restore a picture, in all its turns if that was asked for.

        Args:
            lq: (1, 3, H, W) float in [0, 1] on the device.
            labels: label map (L, H, W) int32 for networks that take masks.
            tile: as for :func:`~basicsr.inference.restoring.restore_image`.

        Returns:
            float32; tile and kernel are those of the picture as it stands.

        Raises:
            ArgumentError: the tiles are too small for the network.
            RuntimeError: not even the smallest tiles fit into the memory.
        """
        maps = None if labels is None else torch.from_numpy(labels)[None]
        if not self.self_ensemble:
            return self._restore_one(lq, maps, tile)
        first = self._restore_one(lq, maps, tile)
        total = first.image
        for turn in TURNS[1:]:
            restored = self._restore_one(turned(lq, turn), None if maps is None else turned(maps, turn), tile)
            total = total + turned_back(restored.image, turn)
        return replace(first, image=total / len(TURNS))

    @contextlib.contextmanager
    def weighing(self, mask_value: float | None) -> Iterator[None]:
        """Masks weigh this much for a while; None leaves them.

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
        with torch.inference_mode(), self._arithmetic():
            restored = restore_image(self.net, lq, masks, tile)
        return replace(restored, image=restored.image.float())

    def _arithmetic(self) -> contextlib.AbstractContextManager[Any]:
        if self.dtype == 'fp32':
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)


def _require_photo_network(contract: Contract, name: str) -> None:
    """Refuse networks whose input or output is not an RGB image with values from 0 to 1."""
    if not contract.returns_image or contract.kernel_role == 'takes' or contract.input_rule.value_range != (0.0, 1.0):
        raise WeightsError(f'{name} is a part of a network, which turns no photo into another')
    takes, gives = contract.in_channels - int(contract.prior_kind == 'gray'), contract.out_channels
    if (takes, gives) != (3, 3):
        raise WeightsError(f'{name} takes {takes} channels and gives {gives}; photos have three: RGB')


def _dtype_for(contract: Contract, device: torch.device) -> Literal['fp32', 'bf16']:
    """bf16 for networks that declare themselves safe in it, where it is faster."""
    return 'bf16' if contract.bf16_safe and fast_bfloat16(device) else 'fp32'
