"""Images restored by a trained network before they are segmented: blur hides the borders of regions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from basicsr.archs import build_network
from basicsr.archs.contract import contract_of
from basicsr.images.files import image_size, imread, tensor2img
from basicsr.inference.restoring import restore_image
from basicsr.preparation.output_files import save_png
from basicsr.utils.device import select_device
from basicsr.utils.errors import ArgumentError
from basicsr.weights.files import load_weights, read_weights


class Predeblurring:
    """A network that restores image files.

    Args:
        network: its block, as ``network_g`` of an option file.
        weights: file with its parameters.
        param_key: entry of the file that holds them.
        device: where it runs (see ``select_device``).

    Raises:
        ArgumentError: the network needs masks, which come after this.
        WeightsError: the file does not fit the network.
    """

    def __init__(
        self, network: Mapping[str, Any], weights: Path, param_key: str | None = 'params', device: str = 'auto'
    ) -> None:
        self.device = select_device(device)
        self.net = build_network(dict(network))
        contract = contract_of(self.net)
        if contract.prior_kind != 'none' or contract.in_channels != 3:
            raise ArgumentError(
                f'{network["type"]} needs masks, which are made after this step; name the option file of a network '
                'without masks (--predeblur-opt options/train/GoPro/NAFNet.yml)'
            )
        load_weights(self.net, read_weights(weights, param_key))
        self.net.eval().to(self.device)

    def __call__(self, source: Path, target: Path, again: bool = False) -> bool:
        """Restore one image; a file that is whole and of its size is kept.

        Args:
            source: the blurred image.
            target: the new PNG.
            again: whatever is there.

        Returns:
            whether it was made.

        Raises:
            ImageFileError: the image cannot be read.
            OutputError: the new file cannot be written.
        """
        if not again:
            size = image_size(target)
            if size is not None and size == image_size(source):
                return False
        save_png(target, restore(self.net, source, self.device))
        return True


def restore(net: nn.Module, source: Path, device: torch.device) -> Any:
    """The output of a network for an image file, (H, W, 3) RGB uint8."""
    image = imread(source, channels=3)
    lq = torch.from_numpy(image.astype('float32') / (65535 if image.dtype.itemsize == 2 else 255))
    with torch.inference_mode():
        output = restore_image(net, lq.permute(2, 0, 1)[None].to(device)).image
    return tensor2img(output, rgb2bgr=False)
