"""Translate keys and types that only option files of the original repositories have."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from basicsr.utils.problems import Problem


@dataclass(frozen=True)
class Key:
    """A key that only the originals have; ``*`` in the path matches any key."""

    path: tuple[str, ...]
    meaning: str
    refused: tuple[str, tuple[Any, ...]] | None = None
    """Why a value is an error, and the allowed values."""
    becomes: tuple[str, ...] | None = None
    """Keys beside it that get its value instead; None keeps the key."""


@dataclass(frozen=True)
class Renamed:
    """A type that has a different name in this package."""

    path: tuple[str, ...]
    old: str
    new: str
    why: str


KEYS = (
    Key(
        ('scale',),
        'ignored: images are restored at their own size',
        ('images are restored at their own size, without upscaling; remove the key', (1, None)),
    ),
    Key(('num_gpu',), '0 uses the CPU; other numbers are ignored, one process uses one device'),
    Key(('grouped_masks',), 'ignored: the masks come from the data set'),
    Key(('datasets', '*', 'use_shuffle'), 'ignored: training data are always shuffled, others never'),
    Key(
        ('val', 'metrics', '*', 'input_order'),
        'ignored: images are always scored in the order HWC',
        ('images are scored in the order HWC; remove the key', ('HWC',)),
        becomes=(),
    ),
    Key(
        ('train', 'mixup'),
        'ignored: false is the only supported value',
        ('mixup calls a method that the original never had; remove the key', (False, None)),
    ),
    # Restormer
    Key(('datasets', '*', 'geometric_augs'), 'read as use_flip and use_rot', becomes=('use_flip', 'use_rot')),
    *(
        Key(('datasets', '*', name), 'ignored: the size and number of crops do not change during training', becomes=())
        for name in ('mini_batch_sizes', 'iters', 'gt_sizes')
    ),
    Key(
        ('train', 'mixing_augs', 'mixup'),
        'ignored: false is the only supported value',
        ('mixup is not supported; set it to false', (False, None)),
    ),
    Key(('train', 'mixing_augs'), 'ignored: images are not mixed', becomes=()),
    Key(('train', 'scheduler', 'eta_mins'), 'read as eta_min, one rate per period', becomes=('eta_min',)),
    Key(('val', 'window_size'), 'ignored: the network pads images to the size it needs', becomes=()),
)

TYPES = (
    Renamed(('train', 'scheduler', 'type'), 'TrueCosineAnnealingLR', 'CosineAnnealingLR', 'the two are the same'),
    Renamed(
        ('train', 'scheduler', 'type'),
        'CosineAnnealingRestartCyclicLR',
        'CosineAnnealingRestartLR',
        'the latter takes one eta_min per period as well',
    ),
    Renamed(('datasets', '*', 'type'), 'Dataset_PairedImage', 'PairedImageDataset', 'it reads the same pairs'),
    Renamed(('datasets', '*', 'io_backend', 'type'), 'memcached', 'disk', 'files are read from disk'),
    Renamed(('val', 'metrics', '*', 'type'), 'calculate_psnr', 'psnr', 'metrics have short names'),
    Renamed(('val', 'metrics', '*', 'type'), 'calculate_ssim', 'ssim', 'metrics have short names'),
)

MODE_NOTICE = "mode: the file has keys or types of the original and does not set mode, so it runs as 'mode: reference'"


def translate(data: dict[str, Any]) -> tuple[dict[str, Any], list[str], list[Problem]]:
    """Rename the original's types and keys, and set ``mode`` if any of them is used.

    Args:
        data: the content of an option file, of any shape; left unchanged.

    Returns:
        the new options, one notice for each key or type of the original, and the problems with unsupported values.
    """
    data = copy.deepcopy(data)
    notices: dict[str, None] = {}
    problems = []
    for key in KEYS:
        for location, parent in _matches(data, key.path):
            value = parent[location[-1]]
            if key.refused and not any(value == allowed for allowed in key.refused[1]):
                problems.append(Problem(location, key.refused[0]))
                del parent[location[-1]]
            elif key.becomes is not None:
                parent |= dict.fromkeys(key.becomes, parent.pop(location[-1]))
            notices[f'{".".join(key.path)}: {key.meaning}'] = None
    for name in TYPES:
        for location, parent in _matches(data, name.path):
            if parent[location[-1]] == name.old:
                notices[f"{'.'.join(name.path)}: '{name.old}' is read as '{name.new}': {name.why}"] = None
                parent[location[-1]] = name.new
    if notices and 'mode' not in data:
        data['mode'] = 'reference'
        notices[MODE_NOTICE] = None
    return data, list(notices), problems


def _matches(
    data: Any, path: tuple[str, ...], above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Yield the full location and the parent of every key that matches the path."""
    if not isinstance(data, dict):
        return
    for key in list(data) if path[0] == '*' else [path[0]] if path[0] in data else []:
        if len(path) == 1:
            yield (*above, key), data
        else:
            yield from _matches(data[key], path[1:], (*above, key))
