"""Effective receptive fields: how the centre of a network's output depends on the pixels of its input.

The definition is this project's; the LaKDNet paper (arXiv 2302.02234) shows such maps, but not how it computes them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from basicsr.archs.contract import contract_of, restored
from basicsr.archs.samdeblur_arch import MaskGuided
from basicsr.utils.errors import ArgumentError, DataError, ShapeError

Map = NDArray[np.float64]
Gradient = NDArray[np.float32]

logger = logging.getLogger(__name__)

WHOLE, FIXED_PRIOR = '', 'fixed prior'
"""Paths of a gradient: all; and without those through the prior of a mask-guided network."""


@dataclass(frozen=True)
class CentreGradient:
    """The gradient of the centre pixel of one output.

    Args:
        paths: by path, the gradient (C, H, W) of the sum of the output's channels at (H // 2, W // 2) with respect to
            the image.
        saturated: the centre is clipped to the ends of the value range in at least one channel, whose gradient is zero.
    """

    paths: Mapping[str, Gradient]
    saturated: bool


def centre_gradient(net: nn.Module, lq: Tensor, *others: Any) -> CentreGradient:
    """Differentiate the centre pixel of a network's output with respect to its input image.

    Args:
        net: in evaluation mode; the gradients of its parameters are neither computed nor changed.
        lq: (1, C, H, W) image, and further input channels after it.
        others: masks of a mask-guided network, or the blur kernel of a network that takes one.

    Returns:
        the gradient with respect to the image channels; mask-guided networks have two paths.

    Raises:
        ArgumentError: the network returns no image, or its output has no gradient with respect to the input.
        ShapeError: the network would pad images of this size.
    """
    contract, name = contract_of(net), type(net).__name__
    if not contract.returns_image:
        raise ArgumentError(f'{name} returns no image; use the network that contains it')
    height, width = lq.shape[-2:]
    if contract.input_rule.padded_size(height, width) != (height, width):
        rule = contract.input_rule
        raise ShapeError(
            f'{name} would pad {width} × {height} pixels, which would change the field; use sides that are multiples '
            f'of {rule.multiple[0]} and {rule.multiple[1]}, at least {rule.minimum[0]} and {rule.minimum[1]}'
        )
    image = lq.detach().clone().requires_grad_()
    frozen = [parameter for parameter in net.parameters() if parameter.requires_grad]
    try:
        for parameter in frozen:
            parameter.requires_grad_(False)
        sources = {WHOLE: image}
        with torch.enable_grad():
            if isinstance(net, MaskGuided):
                sources[FIXED_PRIOR] = net.with_prior(image, *others)
                output = restored(net.restore_with_prior(sources[FIXED_PRIOR]), name)
            else:
                output = restored(net(image, *others), name)
            centre = output[0, :, height // 2, width // 2]
            if not centre.requires_grad:
                raise ArgumentError(f'{name}: the output has no gradient with respect to the input; is it a constant?')
            found = torch.autograd.grad(centre.sum(), list(sources.values()), allow_unused=True)
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
    black, white = contract.input_rule.value_range
    paths = {
        path: _plain(gradient, source)[: contract.img_channel]
        for (path, source), gradient in zip(sources.items(), found, strict=True)
    }
    return CentreGradient(paths, bool(((centre == black) | (centre == white)).any()))


def _plain(gradient: Tensor | None, source: Tensor) -> Gradient:
    gradient = torch.zeros_like(source) if gradient is None else gradient
    return np.asarray(gradient[0].float().cpu().numpy())


@dataclass(frozen=True)
class ReceptiveField:
    """The effective receptive field of a network: means over images of gradients summed over input channels, (H, W).

    Args:
        absolute: of |G|. A deblurring filter has strong negative lobes, which count.
        positive: of max(G, 0), as is usual for classifiers.
        without_skip: of |G| after subtracting 1 at the centre of the channels that a global residual adds to the
            output; None for networks without one, or whose output is their input.
        images: number of images.
    """

    absolute: Map
    positive: Map
    without_skip: Map | None
    images: int


def field_of(gradients: Sequence[Gradient], residual_channels: int | None, name: str = 'the network') -> ReceptiveField:
    """Average the gradients of several images.

    Args:
        gradients: (C, H, W) each, of :func:`centre_gradient`; at least one.
        residual_channels: the last so many image channels are added to the output; None if none are.
        name: of the network, for the message.

    Raises:
        DataError: no gradients.
        ArgumentError: they are zero or not finite.
    """
    if not gradients:
        raise DataError(f'{name}: no images for its receptive field')
    absolute, positive = (np.mean([_summed(form(g)) for g in gradients], 0) for form in (np.abs, _positive))
    if not np.isfinite(absolute).all() or not absolute.any():
        state = 'is zero everywhere' if np.isfinite(absolute).all() else 'is not finite'
        raise ArgumentError(
            f'{name}: the gradient of the centre pixel {state}, so it has no receptive field; are its weights '
            'trained, and does its output depend on the image?'
        )
    without = None
    if residual_channels is not None:
        without = np.mean([_summed(np.abs(_minus_skip(g, residual_channels))) for g in gradients], 0)
        if not without.any():
            logger.info('%s: its output is its input, so there is nothing beside the skip', name)
            without = None
    return ReceptiveField(absolute, positive, without, len(gradients))


def _summed(values: Gradient) -> Map:
    """Sum over the channels, in double precision."""
    return np.asarray(values.sum(0, dtype=np.float64))


def _positive(gradient: Gradient) -> Gradient:
    return np.asarray(np.maximum(gradient, 0))


def _minus_skip(gradient: Gradient, channels: int) -> Gradient:
    rest = np.array(gradient)
    rest[-channels:, gradient.shape[1] // 2, gradient.shape[2] // 2] -= 1
    return rest
