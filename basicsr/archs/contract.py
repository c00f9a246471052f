"""The contract between a network and the code that trains, runs, tiles, describes or exports it.

A network declares its inputs and outputs in plain attributes, all of them optional. A module of another project with
``forward(x)`` needs none of them. Read them with :func:`contract_of`; only ``weights``, a package below this one, reads
``mask_value`` and ``options`` itself.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, jit, nn

from basicsr.archs.input_rule import InputRule
from basicsr.archs.row_channel import row_numbers
from basicsr.utils.device import is_out_of_memory
from basicsr.utils.errors import ArgumentError, ShapeError

Prior = Literal['none', 'gray', 'regions']
KernelRole = Literal['none', 'finds', 'takes']
Tiles = tuple[Tensor, Callable[[Tensor], Any], InputRule]


@dataclass(frozen=True)
class Contract:
    """The inputs and outputs of a network. Each field is an attribute of that name on the network, or its default.

    Args:
        input_rule: sizes, padding, value range and receptive field; by default any size, [0, 1], global; see
            :func:`restore` for networks that need certain sizes and do not declare them.
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
        mask_dropout_in_data: fraction of the masks that data sets drop in training; ``mask_seeds`` is then DROPPED
            (``mask_dropout.py``). None if the network itself drops them, as the seeds say.
        mask_value: weight of a covered pixel; None if the network has no such weight.
        kernel_role: ``finds`` a blur kernel (``fixed_for(lq)`` returns the network with that of the whole image),
            ``takes`` one as second argument (``kernel_size``), or ``none``.
        row_channel: the network counts the rows of its input; ``forward(x, first_row=numbers)``, or what ``for_tiles``
            returns if the network has it, continues the count in a part of an image.
        returns_image: the result is an image, or a list with the image as last element; False for a part of a network.
        block_types: classes of its blocks, which do not contain each other: activation checkpointing
            (``activation_checkpointing.py``) keeps their inputs only. Those of its parts are included.
        adds_image: the result is the image (its last ``out_channels`` channels) plus what the network computes.
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
    mask_dropout_in_data: float | None
    mask_value: float | None
    kernel_role: KernelRole
    row_channel: bool
    returns_image: bool
    block_types: tuple[type[nn.Module], ...]
    adds_image: bool
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
        mask_dropout_in_data=getattr(net, 'mask_dropout_in_data', None),
        mask_value=getattr(net, 'mask_value', None),
        kernel_role=getattr(net, 'kernel_role', 'none'),
        row_channel=getattr(net, 'row_channel', False),
        returns_image=getattr(net, 'returns_image', True),
        block_types=tuple(dict.fromkeys(kind for part in net.modules() for kind in getattr(part, 'block_types', ()))),
        adds_image=getattr(net, 'adds_image', False),
        bf16_safe=getattr(net, 'bf16_safe', False),
        options=options if isinstance(options, dict) else {},
    )


def restored(output: Any, name: str = 'the network') -> Tensor:
    """Return the restored image of a network's output: the tensor itself, or the last of several.

    Args:
        output: of the network.
        name: of the network, for the message.

    Raises:
        ArgumentError: the output is neither.
    """
    if isinstance(output, (list, tuple)) and output:
        output = output[-1]
    if not isinstance(output, Tensor):
        raise ArgumentError(f'{name} returned a {type(output).__name__}; expected an image or a list of images')
    return output


def padding_rule(contract: Contract) -> InputRule:
    """Return the rule for padding the images of a network that declares no ``input_rule``."""
    return replace(contract.tile_rule, padding='reflect')


def restore(net: nn.Module, lq: Tensor, masks: Any = None) -> Tensor:
    """Run a network on images and return the restored images.

    If a network without masks fails or changes the size, it runs once more, on padded images: it may need multiples of
    its strides. They are padded by its ``input_rule``, or by reflection to multiples of 64 if it declares none.

    Args:
        net: the network.
        lq: (B, C, H, W).
        masks: of the images; None for networks without masks.

    Returns:
        (B, C, H, W).

    Raises:
        ArgumentError: as :func:`restored`.
        ShapeError: the output has a different size, or a network without ``input_rule`` cannot process the images.
            Errors of other networks stay as they are.
    """
    declared, name, reason = getattr(net, 'input_rule', None), type(net).__name__, ''
    cause: Exception | None = None
    for rule in (InputRule(), declared or padding_rule(contract_of(net)))[: 2 if masks is None else 1]:
        if (image := rule.pad(lq)) is lq and reason:
            break
        try:
            output = restored(net(image) if masks is None else net(image, masks), name)
        except (RuntimeError, ValueError, AssertionError) as error:
            if is_out_of_memory(error):
                raise
            traceback.clear_frames(error.__traceback__)  # they hold the tensors of this run
            cause, reason = cause or error, reason or str(error)
        else:
            if output.shape[-2:] == image.shape[-2:]:
                return rule.crop(output, *lq.shape[-2:])
            reason = reason or f'its output has shape {tuple(output.shape)}'
    if declared and cause:
        raise cause
    raise ShapeError(
        f'{name} does not restore images of shape {tuple(lq.shape)}: {reason}. The output, or the last of several, '
        'must be an image of the same size. If the network needs certain sizes or channels, declare them: input_rule '
        '= InputRule(multiple=(8, 8)), img_channel, prior_kind (basicsr/archs/contract.py)'
    ) from cause


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
    contract, own = contract_of(net), getattr(net, 'for_tiles', None)
    if own is None and masks is not None:
        raise ArgumentError(f'{type(net).__name__} takes masks, but has no method for_tiles: it cannot restore tiles')
    rule = contract.input_rule
    if own is not None:
        whole, restoring, tile_rule = own(lq, masks, padded)
    else:
        whole, tile_rule = rule.pad(lq) if padded else lq, rule
        restoring = net if contract.row_channel else partial(restore, net)
    if not contract.row_channel:
        return whole, restoring, tile_rule
    # tiles further down continue the count of the rows, as in the whole image with its padding
    top = 0 if padded else rule.offset(*rule.padded_size(*lq.shape[-2:]), *lq.shape[-2:])[0]
    rows = row_numbers(whole, whole.new_full((1, 1, 1, 1), top))
    return torch.cat([whole, rows], 1), partial(_restore_rows, restoring), tile_rule


def _restore_rows(restoring: Callable[..., Any], tiles: Tensor) -> Any:
    """Restore tiles whose last channel is the number of each row."""
    return restoring(tiles[:, :-1], first_row=tiles[:, -1:, :1, :1])


def export_obstacle(net: nn.Module) -> str | None:
    """Return why a network cannot be exported (``not_exportable`` of a part, or TorchScript); None if it can."""
    if not contract_of(net).returns_image:
        return f'{type(net).__name__} returns no image; export the network that contains it'
    reasons = [getattr(part, 'not_exportable', None) for part in net.modules()]
    if any(isinstance(part, jit.RecursiveScriptModule) for part in net.modules()):  # type: ignore[attr-defined]
        reasons.append('TorchScript parts (torch.jit.script); use the original modules')
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
