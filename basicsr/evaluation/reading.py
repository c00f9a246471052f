"""Read the images of an evaluation ahead, and group those that are restored together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from basicsr.inference.restoring import WHOLE_ON_CPU
from basicsr.utils.errors import BasicsrError
from basicsr.utils.ordered import in_order


def read_ahead(
    dataset: Any, indices: Sequence[int], reader: ThreadPoolExecutor, ahead: int
) -> Iterator[tuple[int, dict[str, Any] | Exception]]:
    """Return index and sample, or the error of an image that cannot be read.

    Args:
        dataset: of the samples.
        indices: of the samples to read.
        reader: its threads read.
        ahead: number of samples that are read while one is in use.
    """

    def read(index: int) -> tuple[int, dict[str, Any] | Exception]:
        try:
            return index, dataset[index]
        except (BasicsrError, OSError) as error:
            return index, error

    return in_order(lambda index: reader.submit(read, index), indices, ahead)


def grouped(read: Iterable[tuple[int, Any]], most: int, device: torch.device) -> Iterator[list[tuple[int, Any]]]:
    """Return images of the same form that follow each other, so that they can be restored together.

    Args:
        read: from :func:`read_ahead`.
        most: images in a group; an error comes alone.
        device: of the network.
    """
    group: list[tuple[int, Any]] = []
    for index, item in read:
        alone = isinstance(item, Exception)
        if group and (alone or _form(item) != _form(group[0][1])):
            yield group
            group = []
        group.append((index, item))
        if alone or len(group) == most or _is_large(group, device):
            yield group
            group = []
    if group:
        yield group


def _form(item: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple((key, item[key].shape, item[key].dtype) for key in ('lq', 'gt', 'kernel') if key in item)


def _is_large(group: list[tuple[int, Any]], device: torch.device) -> bool:
    """Return whether a CPU, where running out of memory raises no error, restores the next image better alone."""
    height, width = group[0][1]['lq'].shape[-2:]
    return device.type == 'cpu' and height * width * (len(group) + 1) > WHOLE_ON_CPU
