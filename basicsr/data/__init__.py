"""Samples: image pairs with their masks from files, databases or generated blur, cropped and flipped together."""

from __future__ import annotations

from typing import Any, cast

from torch.utils.data import Dataset

from basicsr.data.loading import build_dataloader, collate, to_floats
from basicsr.data.prefetch import prefetch
from basicsr.utils.loader_options import LoaderOptions
from basicsr.utils.registry import DATASET_REGISTRY, BlockLike, plain_block
from basicsr.utils.signature import parameters_of

__all__ = ['DATASET_REGISTRY', 'build_dataloader', 'build_dataset', 'collate', 'prefetch', 'to_floats']


def build_dataset(opt: BlockLike, **arguments: Any) -> Dataset[Any]:
    """Build the data set that ``opt['type']`` names.

    Args:
        opt: ``type`` and the arguments of the class, or one data set of an option file; left unchanged. ``name`` and
            the keys of :class:`~basicsr.utils.loader_options.LoaderOptions` are ignored.
        **arguments: further arguments (``phase``, ``seed``), where the class takes them; the block's own win.

    Raises:
        UnknownNameError: no such data set.
        ArgumentError: the arguments do not fit its signature.
        DataError: files are missing; the message lists them.
    """
    beside = {*LoaderOptions.model_fields, 'name', 'use_shuffle'}
    block = {key: value for key, value in plain_block(opt, 'dataset').items() if key not in beside}
    known = parameters_of(DATASET_REGISTRY.get(block['type'])) if isinstance(block.get('type'), str) else {}
    block = {key: value for key, value in arguments.items() if key in known} | block
    return cast(Dataset[Any], DATASET_REGISTRY.build(block))
