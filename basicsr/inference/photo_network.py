"""Run a network on a photo: precision, masks in the form it takes, self-ensemble."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from basicsr.archs.contract import Contract, contract_of
from basicsr.deconvolution.photos import Progress
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
        self.progress: Progress = lambda done, total: None  # of the tiles of one photo

    def restore(self, lq: Tensor, labels: Array | None, tile: Tile, kernel: Array | None = None) -> Restored:
        """Restore an image, with self-ensemble if enabled.

        Args:
            lq: (1, 3, H, W) float in [0, 1] on the device.
            labels: label map (L, H, W) int32 for networks that take masks.
            tile: as for :func:`~basicsr.inference.restoring.restore_image`.
            kernel: (n, n) float32, sum 1, for networks that work with kernels; None lets them estimate it.

        Returns:
            float32; tile and kernel are those of the unchanged image.

        Raises:
            ArgumentError: the tiles are too small for the network.
            RuntimeError: even the smallest tiles do not fit into memory.
        """
        maps = None if labels is None else torch.from_numpy(labels)[None]
        known = None if kernel is None else torch.from_numpy(kernel)[None].to(self.device)
        first = self._restore_one(lq, maps, tile, known)
        if not self.self_ensemble:
            return first
        total = first.image
        for turn in TURNS[1:]:
            others = (None if each is None else turned(each, turn) for each in (maps, known))
            restored = self._restore_one(turned(lq, turn), next(others), tile, next(others))
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

    def kernel_of(self, lq: Tensor) -> Array:
        """Return the kernel (h, w), sum 1, that a network which finds kernels estimates for (1, 1 or 3, H, W)."""
        finder: Any = self.net
        with torch.inference_mode():
            kernel = finder.estimate_kernel(lq.expand(1, 3, -1, -1))[0].float().cpu().numpy()
        if not kernel.any():
            kernel[kernel.shape[0] // 2, kernel.shape[1] // 2] = 1
        return np.asarray(kernel)

    def _restore_one(self, lq: Tensor, maps: Tensor | None, tile: Tile, kernel: Tensor | None) -> Restored:
        masks, net = None, self.net
        if kernel is not None:
            pair: Any = self.net
            net = pair.with_kernel(kernel)
        if maps is not None and self.prior == 'gray':
            gray = torch.from_numpy(gray_from_label_map(maps[0].numpy()))[None, None]
            lq = torch.cat([lq, gray.to(lq) / 255], 1)
        elif maps is not None:
            masks = maps.to(lq.device)
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype == 'bf16'):
            restored = restore_image(net, lq, masks, tile, progress=self.progress)
        return replace(restored, image=restored.image.float())


def _require_photo_network(contract: Contract, name: str) -> None:
    """Raise unless input and output of the network are RGB images in [0, 1]."""
    if not contract.returns_image or contract.kernel_role == 'takes' or contract.input_rule.value_range != (0.0, 1.0):
        raise WeightsError(f'{name} is a part of a network and cannot deblur photos')
    takes, gives = contract.in_channels - int(contract.prior_kind == 'gray'), contract.out_channels
    if (takes, gives) != (3, 3):
        raise WeightsError(f'{name} takes {takes} channels and returns {gives}; photos have 3 (RGB)')
