"""A photo through the analysis-synthesis pair: the blur kernel of the whole, the restored photo, pictures of both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from basicsr.archs import build_network
from basicsr.archs.analysis_synthesis_arch import AnalysisSynthesisNet
from basicsr.models.restoring import Tile, restore_image
from basicsr.utils.errors import ImageFileError, ShapeError, WeightsError
from basicsr.utils.files import whole_file
from basicsr.utils.image import IMAGE_SUFFIXES, Array, imwrite, tensor2img
from basicsr.utils.weights import load_weights, read_weights


@dataclass(frozen=True)
class KernelDeblurred:
    """A restored photo, and what the network made of its blur.

    Args:
        image: (H, W, 3) RGB of the photo's dtype.
        kernel: (h, w) float32, not negative, sum 1; a code rather than a picture of the blur after joint training.
    """

    image: Array
    kernel: Array


def load_pair(path: Path, device: torch.device) -> AnalysisSynthesisNet:
    """The network of a checkpoint, ready to restore.

    Args:
        path: of ``scripts/convert_checkpoint.py`` or of a training.
        device: where it runs.

    Raises:
        WeightsError: missing, damaged, or of another network.
    """
    weights = read_weights(path)
    if weights.network is None or weights.network.get('type') != 'AnalysisSynthesisNet':
        raise WeightsError(
            f'{path} is no AnalysisSynthesisNet; scripts/convert_checkpoint.py makes one of the published .h5 pair'
        )
    net = build_network(weights.network)
    load_weights(net, weights)
    return net.eval().to(device)  # type: ignore[return-value]


def deblur_with_kernel(net: AnalysisSynthesisNet, image: Array, tile: Tile = 'auto') -> KernelDeblurred:
    """Find the kernel of a photo and restore it; large photos in tiles, all with the kernel of the whole.

    Args:
        net: of :func:`load_pair`.
        image: (H, W, 3) RGB, uint8 or uint16.
        tile: as for :func:`~basicsr.models.restoring.restore_image`.

    Raises:
        ShapeError: the photo is smaller than what a kernel can be found in.
    """
    (height, width), least = image.shape[:2], net.input_rule.minimum
    if height < least[0] or width < least[1]:
        raise ShapeError(
            f'{height}×{width} pixels are too few to find a blur kernel of {net.analysis.kernel_size[0]}×'
            f'{net.analysis.kernel_size[1]}: {least[0]}×{least[1]} are needed'
        )
    white = float(np.iinfo(image.dtype).max)
    device = next(net.parameters()).device
    lq = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None].to(device) / white
    with torch.inference_mode():
        fixed: nn.Module = net.fixed_for(lq)
        restored = restore_image(fixed, lq, tile=tile).image
    return KernelDeblurred(
        tensor2img(restored, rgb2bgr=False, out_type=image.dtype.type),
        fixed.kernel[0].float().cpu().numpy(),  # type: ignore[index]
    )


def list_photos(path: Path) -> list[Path]:
    """A file itself, or the image files directly in a folder, sorted.

    Raises:
        ImageFileError: there is none.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ImageFileError(f'{path}: no such file or folder')
    visible = (p for p in path.iterdir() if not p.name.startswith('.'))
    found = sorted(p for p in visible if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
    if not found:
        raise ImageFileError(f'{path}: no images in this folder ({", ".join(IMAGE_SUFFIXES)})')
    return found


def save_kernel(path: Path, kernel: Array, zoom: int = 4) -> None:
    """Write a kernel as numbers (``.npy``, float32) and as a picture (``.png``), its largest value white.

    Args:
        path: without extension.
        kernel: (h, w), not negative.
        zoom: pixels of the picture for each value, along both sides.
    """
    with whole_file(path.with_name(f'{path.name}.npy')) as file:
        np.save(file, kernel.astype(np.float32), allow_pickle=False)
    shown = np.rint(kernel * (255 / max(float(kernel.max()), 1e-12))).astype(np.uint8)
    imwrite(path.with_name(f'{path.name}.png'), shown.repeat(zoom, 0).repeat(zoom, 1))
