"""Inputs of a network for its receptive field: the same centre crops for every network, with masks or a kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from basicsr.archs.contract import contract_of
from basicsr.data import build_dataset
from basicsr.images.files import IMAGE_SUFFIXES, imread
from basicsr.masks.generator import MaskGenerator
from basicsr.masks.gray_coding import gray_from_label_map
from basicsr.metrics.gaussian import gaussian_taps
from basicsr.options import Options
from basicsr.options.schema_data import phase_of
from basicsr.utils.errors import DataError, ShapeError

KERNEL_SIGMA = 2.0
"""Standard deviation in pixels of the Gaussian kernel for networks that take a kernel."""


@dataclass(frozen=True)
class Crop:
    """The centre of an image.

    Args:
        name: path of the image.
        image: (C, S, S) float32 in [0, 1], RGB; nine channels are left, right and centre view.
        labels: label map (L, S, S); None without masks.
        gray: gray mask (1, S, S), uint8, of the CAT method; None without.
    """

    name: str
    image: NDArray[np.float32]
    labels: NDArray[Any] | None = None
    gray: NDArray[Any] | None = None


def crops_of_folder(folder: Path, side: int, most: int) -> list[Crop]:
    """Return the centres of the images in a folder, in the order of their names.

    Args:
        folder: with images.
        side: of the crops in pixels.
        most: number of crops, at most.

    Raises:
        DataError: the folder has no images, or one is smaller than the crop.
        ImageFileError: a file cannot be read.
    """
    files = (
        sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES) if folder.is_dir() else []
    )
    if not files:
        raise DataError(f'{folder}: no images; pass a folder with photos')
    return [_centre(str(file), _unit(imread(file, 3).transpose(2, 0, 1)), side) for file in files[:most]]


def crops_of_options(options: Options, side: int, most: int) -> list[Crop]:
    """Return the centres of images of the first test or validation set of an option file, at regular intervals.

    Args:
        options: of an option file.
        side: of the crops in pixels.
        most: number of crops, at most.

    Raises:
        DataError: there is no such set, its files are missing, or an image is smaller than the crop.
    """
    key = next((key for key in options.datasets if phase_of(key) != 'train'), None)
    if key is None:
        raise DataError(f'{options.source}: no data set for test or val; pass --images FOLDER')
    dataset: Any = build_dataset(options.datasets[key], phase=phase_of(key), seed=options.manual_seed or 0)
    is_gray, count = getattr(dataset, 'gray_masks', None), min(most, len(dataset))
    crops = []
    for index in (number * len(dataset) // count for number in range(count)):
        item = dataset[index]
        masks = None if item.get('masks') is None else item['masks'].numpy()
        crops.append(_centre(str(item['lq_path']), _unit(item['lq'].numpy()), side, masks, bool(is_gray)))
    return crops


def inputs_of(net: nn.Module, crop: Crop, generator: MaskGenerator, device: torch.device) -> tuple[Tensor, ...]:
    """Return the arguments of a network for a crop.

    A network of other channels gets the centre view, or the same image as all three views. Missing masks are
    generated. A network that takes a kernel gets a Gaussian one.

    Args:
        net: the network.
        crop: the crop.
        generator: makes missing masks.
        device: of the result.

    Raises:
        ShapeError: the network takes neither three nor nine image channels.
    """
    contract, image = contract_of(net), crop.image
    if contract.img_channel != len(image):
        if contract.img_channel not in (3, 9):
            raise ShapeError(f'{type(net).__name__} takes images of {contract.img_channel} channels, not RGB images')
        image = np.concatenate([image] * 3) if contract.img_channel == 9 else image[-3:]
    tensors = [torch.from_numpy(np.ascontiguousarray(image))[None] * contract.input_rule.value_range[1]]
    labels = crop.labels
    if contract.prior_kind != 'none' and labels is None and (contract.prior_kind == 'regions' or crop.gray is None):
        labels = generator(np.ascontiguousarray((crop.image[-3:].transpose(1, 2, 0) * 255).round().astype(np.uint8)))
    if contract.prior_kind == 'gray':
        gray = crop.gray if crop.gray is not None or labels is None else gray_from_label_map(labels)
        plane = torch.from_numpy(np.asarray(gray, np.float32).reshape(1, 1, *image.shape[1:]) / 255)
        tensors = [torch.cat([tensors[0], plane], 1)]
    elif contract.prior_kind == 'regions' and labels is not None:
        tensors.append(torch.from_numpy(np.asarray(labels, np.int32))[None])
    if contract.kernel_role == 'takes':
        sides: Sequence[int] = getattr(net, 'kernel_size', (15, 15))
        rows, columns = (torch.from_numpy(gaussian_taps(side, KERNEL_SIGMA)) for side in sides)
        tensors.append(torch.outer(rows, columns)[None].float())
    return tuple(tensor.to(device) for tensor in tensors)


def _unit(image: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(image / np.float32(np.iinfo(image.dtype).max), np.float32)


def _centre(
    name: str, image: NDArray[np.float32], side: int, masks: NDArray[Any] | None = None, is_gray: bool = False
) -> Crop:
    height, width = image.shape[1:]
    if min(height, width) < side:
        raise DataError(
            f'{name} has {width} × {height} pixels, less than the crop of {side}; use --size or larger images'
        )
    top, left = (height - side) // 2, (width - side) // 2
    cut = slice(None), slice(top, top + side), slice(left, left + side)
    part = None if masks is None else masks[cut]
    return Crop(name, image[cut], None if is_gray else part, part if is_gray else None)
