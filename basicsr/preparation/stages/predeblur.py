"""Stage ``predeblur``: restore images with a trained network before segmentation, because blur hides borders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from basicsr.archs import build_network
from basicsr.archs.contract import contract_of
from basicsr.images.files import image_size, imread, tensor2img
from basicsr.inference.restoring import restore_image
from basicsr.masks.making import list_images
from basicsr.models.misfit import load_or_explain
from basicsr.preparation.output_files import save_png
from basicsr.preparation.plan import NEEDS_WEIGHTS, PREDEBLURRED, Plan, PredeblurNetwork
from basicsr.preparation.stages.base import FolderShare, StageCounts, run_shares
from basicsr.preparation.worker_pool import Pool
from basicsr.utils.device import device_of_process, select_device
from basicsr.utils.errors import ArgumentError, DataError, ImageFileError
from basicsr.utils.files import sha256_of
from basicsr.weights.files import read_weights


def run(plan: Plan, part: str, pool: Pool) -> StageCounts:
    """Restore the blurred images of a part."""
    source, target = plan.out / part / 'input', plan.out / part / PREDEBLURRED
    return run_shares(predeblur_share, plan, source, target, _network(plan), pool)


def settings(plan: Plan, part: str) -> dict[str, Any]:
    """Return the settings that determine the restored images."""
    network = _network(plan)
    if not network.weights.is_file():
        raise DataError(f'{network.weights}: no such file (--predeblur-weights)')
    return {'network': dict(network.block), 'weights_sha256': sha256_of(network.weights)}


def predeblur_share(share: FolderShare, network: PredeblurNetwork) -> StageCounts:
    """Restore the images of a share."""
    restore = ImageRestorer(network, device_of_process(network.device, share.index))
    made, kept, failed = 0, 0, {}
    for name in share.progress(list_images(share.source)[share.index :: share.count]):
        try:
            new = restore(share.source / name, (share.target / name).with_suffix('.png'), share.again)
        except ImageFileError as error:
            failed[str(share.source / name)] = str(error)
            continue
        made, kept = made + new, kept + (not new)
    return StageCounts(made, kept, failed)


class ImageRestorer:
    """A network that restores image files: whole, or in tiles if the memory is not sufficient.

    Args:
        network: its options and weights.
        device: overrides ``network.device`` (see ``select_device``).

    Raises:
        ArgumentError: the network needs masks, which a later stage makes.
        WeightsError: the file does not fit the network.
    """

    def __init__(self, network: PredeblurNetwork, device: str | None = None) -> None:
        self.net = build_network(network.block)
        contract = contract_of(self.net)
        if contract.prior_kind != 'none' or contract.in_channels != 3:
            raise ArgumentError(
                f'{network.block["type"]} needs masks, which are made after this stage; use the option file of a '
                'network without masks (--predeblur-opt options/train/GoPro/NAFNet.yml)'
            )
        load_or_explain(self.net, read_weights(network.weights, network.param_key), evaluating=True)
        self.device = select_device(device or network.device)
        self.net.eval().to(self.device)

    def __call__(self, source: Path, target: Path, again: bool = False) -> bool:
        """Restore one image, unless the target is a complete image of its size.

        Args:
            source: the blurred image.
            target: the new PNG.
            again: replace an existing target.

        Returns:
            whether the target was written.

        Raises:
            ImageFileError: the image cannot be read.
            OutputError: the new file cannot be written.
        """
        size = None if again else image_size(target)
        if size is not None and size == image_size(source):
            return False
        image = imread(source, channels=3)
        lq = torch.from_numpy(image.astype(np.float32) / np.iinfo(image.dtype).max).permute(2, 0, 1)[None]
        with torch.inference_mode():
            restored = restore_image(self.net, lq.to(self.device)).image
        save_png(target, tensor2img(restored, rgb2bgr=False))
        return True


def _network(plan: Plan) -> PredeblurNetwork:
    if plan.network is None:
        raise DataError(NEEDS_WEIGHTS)
    return plan.network
