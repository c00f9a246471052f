"""The contract between a network and the code that trains, runs, tiles, describes or exports it.

A network declares its inputs and outputs in plain attributes, all of them optional. A module of another project with
``forward(x)`` needs none of them. Read them with :func:`contract_of`; only ``weights``, a package below this one, reads
``mask_value`` and ``options`` itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from basicsr.archs.input_rule import InputRule
from basicsr.utils.errors import ArgumentError

Prior = Literal['none', 'gray', 'regions']
KernelRole = Literal['none', 'finds', 'takes']
Tiles = tuple[Tensor, Callable[[Tensor], Any], InputRule]


@dataclass(frozen=True)
class Contract:
    """The inputs and outputs of a network. Each field is an attribute of that name on the network, or its default.

    Args:
        input_rule: sizes, padding, value range and receptive field; by default any size, [0, 1], global.
        tile_rule: the same for tiles; by default ``input_rule`` if there is one, else tiles start at multiples of 64,
            a multiple of the strides of most networks.
        img_channel: image channels; by default those of the first convolution if they are 1 or 3, else 3.
        in_channels: channels of the first argument of ``forward``; ``img_channel`` by default, and with region masks.
            Without ``img_channel``, it is ignored unless the first convolution has as many: it may count features.
        out_channels: channels of the result; ``img_channel`` by default. Without ``img_channel``, it is ignored unless
            it is 1 or 3.
        prior_kind: ``regions`` for region masks as second argument (the default if ``forward`` has the parameter
            ``masks``), ``gray`` for the gray masks of the CAT method as last channel, or ``none``.
        takes_seeds: ``forward`` has the parameter ``mask_seeds``, for mask dropout.
        mask_value: weight of a covered pixel; None if the network has no such weight.
        kernel_role: ``finds`` a blur kernel (``fixed_for(lq)`` returns the network with that of the whole image),
            ``takes`` one as second argument (``kernel_size``), or ``none``.
        returns_image: the result is an image, or a list with the image as last element; False for a part of a network.
        bf16_safe: the PSNR between results in bfloat16 and float32 is known to exceed 50 dB.
        options: ``type`` and arguments, stored by ``build_network``; empty for other networks.
    """

    input_rule: InputRule
    tile_rule: InputRule
    img_channel: int
    in_channels: int
    out_channels: int
    prior_kind: Prior
    takes_seeds: bool
    mask_value: float | None
    kernel_role: KernelRole
    returns_image: bool
    bf16_safe: bool
    options: dict[str, Any]


def contract_of(net: nn.Module) -> Contract:
    """Read the contract of a network: its attributes, and defaults for those it lacks."""
    parameters = _parameters(net)
    prior: Any = getattr(net, 'prior_kind', 'regions' if 'masks' in parameters else 'none')
    declared = getattr(net, 'input_rule', None)
    rule = declared or InputRule()
    channels, in_channels, out_channels = _channels(net)
    options: Any = getattr(net, 'options', None)
    return Contract(
        input_rule=rule,
        tile_rule=getattr(net, 'tile_rule', declared or InputRule(multiple=(64, 64))),
        img_channel=channels,
        in_channels=channels if prior == 'regions' else in_channels,
        out_channels=out_channels,
        prior_kind=prior,
        takes_seeds='mask_seeds' in parameters,
        mask_value=getattr(net, 'mask_value', None),
        kernel_role=getattr(net, 'kernel_role', 'none'),
        returns_image=getattr(net, 'returns_image', True),
        bf16_safe=getattr(net, 'bf16_safe', False),
        options=options if isinstance(options, dict) else {},
    )


def restored(output: Any) -> Tensor:
    """Return the restored image of a network's output: the tensor itself, or the last of several.

    Raises:
        ArgumentError: the output is neither.
    """
    if isinstance(output, (list, tuple)) and output:
        output = output[-1]
    if not isinstance(output, Tensor):
        raise ArgumentError(f'the network returned a {type(output).__name__}; expected an image or a list of images')
    return output


def for_tiles(net: nn.Module, lq: Tensor, masks: Any, padded: bool) -> Tiles:
    """Return the tensor to cut tiles from, the function that restores a batch of tiles, and the rule of their sizes.

    A network whose tiles need more than their own pixels (the prior or the kernel of the whole image) has its own
    method ``for_tiles(lq, masks, padded)``.

    Args:
        net: in evaluation mode.
        lq: (1, C, H, W).
        masks: of the image; None for networks without masks.
        padded: pad the image by the rule first.

    Raises:
        ArgumentError: masks are missing, or the network takes masks and has no method ``for_tiles``.
    """
    own: Any = getattr(net, 'for_tiles', None)
    if own is not None:
        return own(lq, masks, padded)
    if masks is not None:
        raise ArgumentError(f'{type(net).__name__} takes masks, but has no method for_tiles: it cannot restore tiles')
    rule = contract_of(net).input_rule
    return rule.pad(lq) if padded else lq, net, rule


def export_obstacle(net: nn.Module) -> str | None:
    """Return why a network cannot be exported (``not_exportable`` of one of its parts); None if it can."""
    if not contract_of(net).returns_image:
        return f'{type(net).__name__} returns no image; export the network that contains it'
    reasons = (getattr(part, 'not_exportable', None) for part in net.modules())
    reason = next((reason for reason in reasons if reason), None)
    return None if reason is None else f'{type(net).__name__} cannot be exported with {reason}'


def _parameters(net: nn.Module) -> tuple[str, ...]:
    try:
        return tuple(inspect.signature(net.forward).parameters)
    except ValueError:  # traced modules have no signature
        return ()


def _channels(net: nn.Module) -> tuple[int, int, int]:
    """Return the channels of the image, the input and the output; ``in_channels`` elsewhere may count features."""
    first = next((part.in_channels for part in net.modules() if isinstance(part, nn.Conv2d)), 3)
    declared: Any = getattr(net, 'img_channel', None)
    image = declared or (first if first in (1, 3) else 3)
    taken, given = getattr(net, 'in_channels', image), getattr(net, 'out_channels', image)
    return image, taken if declared or taken == first else image, given if declared or given in (1, 3) else image
