"""Find the network that a state dict belongs to: files of other projects do not name it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_module_registration_hook

from basicsr.archs import build_network
from basicsr.archs.recognition import ParameterShapes, recognise
from basicsr.utils.errors import BasicsrError, WeightsError, some_of
from basicsr.weights.files import differences


def network_of(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the block that rebuilds the network of a state dict with ``build_network``.

    All networks of this project are recognised under their published names. Arguments that names and shapes do not
    show keep their defaults or published values:

    * ``NAFNet`` and ``NAFNetLocal`` have the same parameters, as have ``SegNAFNet`` and ``SegNAFNetLocal``; the
      first one is returned. One input channel in addition to the image is the gray mask (``mask: true``), although it
      may be the row channel (``row_channel: true``), several are a prior (``prior_channels``).
    * ``mask_value`` is omitted: ``load_weights`` reads it from the file, or assumes 1/255.
    * LaKDNet is dual-pixel if it has three times as many input as output channels; ``clip_output`` keeps its default.
    * RSST: the table of relative positions has (2h - 1)(2w - 1) entries for windows of h × w. A square window is
      preferred, then the wide window with sides that are powers of two (as the published 4 × 16), then the wide window
      closest to a square. ``qk_scale``, ``row_unit`` and ``zero_init`` keep their defaults.
    * AnalysisNet alone: ``max_kernel_size`` and the limits of its input keep their defaults. In AnalysisSynthesisNet,
      the synthesis shows the number of values of the kernel: a square if possible, else the wide kernel closest to it.
    * Mask dropout and all other arguments for training keep their defaults.

    Args:
        state: parameters by name, without prefixes of wrappers (as from ``read_weights``).

    Returns:
        ``{'type': ..., **arguments}``.

    Raises:
        WeightsError: no known network has these parameters.
    """
    block = recognise(ParameterShapes({key: tuple(value.shape) for key, value in state.items()}))
    try:
        found = differences(described_network(block, len(state)).state_dict(), state)
    except (BasicsrError, RuntimeError, OverflowError) as error:  # impossible sizes
        found = [str(error)]
    if found:
        advice = f'{some_of(found, 4)}. Name the network in an option file'
        raise WeightsError(f'the parameters resemble {block["type"]}, but do not fit it: {advice}')
    return block


def described_network(block: Mapping[str, Any], parameters: int) -> nn.Module:
    """Build the network that a file describes on the meta device: a damaged file may ask for any amount of memory.

    Args:
        block: ``type`` and arguments.
        parameters: number of parameters in the file, which limits the number of modules.

    Raises:
        UnknownNameError: no such network.
        ArgumentError: wrong arguments.
        RuntimeError: the network has far more modules than the file has parameters, or impossible sizes.
    """
    with torch.device('meta'), _at_most(1000 + 10 * parameters):
        return build_network(block)


@contextmanager
def _at_most(modules: int) -> Iterator[None]:
    """Raise RuntimeError as soon as this thread has put more modules into others."""
    thread, left = threading.get_ident(), modules

    def count(*_: Any) -> None:
        nonlocal left
        left -= threading.get_ident() == thread
        if left < 0:
            raise RuntimeError(f'it has more than {modules} modules, far more than the file has parameters')

    handle = register_module_module_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()
