"""Check before a run that all paths exist and that everything in the options can be built."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from basicsr.options.paths import Location, paths_of_block
from basicsr.options.schema import Options
from basicsr.options.schema_train import TrainOptions
from basicsr.utils.errors import BasicsrError, OptionError
from basicsr.utils.installation import OPTION_FILES
from basicsr.utils.signature import PathMark


def check_paths(options: Options) -> None:
    """Check that every file and folder in the options exists.

    Raises:
        OptionError: all missing paths, each with its position.
    """
    problems = []
    for location, kind, path in _paths_of(options, ()):
        found = {'folder': Path(path).is_dir, 'file': Path(path).is_file}.get(kind)
        if found is not None and not found():
            position = options.position(location)
            where = f'{position}: ' if position else ''
            seen_from = '' if Path(path).is_absolute() else f' (relative to {Path.cwd()})'
            key = '.'.join(map(str, location))
            text = f'{where}{key}: no such {kind}: {path}{seen_from}{_how_to_get(path)}'
            problems.append((position is None or not position.line, position, text))
    if problems:
        raise OptionError(text for *_, text in sorted(problems, key=lambda problem: problem[:2]))


def _how_to_get(path: str) -> str:
    """Return how to get the files that our own option files use; an empty string for other files."""
    parts = Path(path).parts
    if parts[:1] == ('datasets',):
        return '; docs/data.md explains how to prepare it'
    if parts[:1] != ('experiments',) or len(parts) < 3:
        return ''
    for file in sorted((OPTION_FILES / 'train').glob('*/*.yml')):
        if re.search(rf'^name: *{re.escape(parts[1])} *(#.*)?$', file.read_text(encoding='utf-8'), re.MULTILINE):
            shown = file.relative_to(file.parents[3]).as_posix()
            return (
                f'; `python basicsr/train.py -opt {shown}` creates it, or set a different file with --force_yml '
                'path:pretrain_network_g=FILE'
            )
    return ''


def _paths_of(section: BaseModel, above: Location) -> Iterator[tuple[Location, str, str]]:
    """Yield location, kind ('file', 'folder', or 'any' if it need not exist) and value of every path in a section."""
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        marks = [mark for mark in field.metadata if isinstance(mark, PathMark)]
        if marks and value is not None:
            yield (*above, name), marks[0].kind, value
        for key, inner in value.items() if isinstance(value, dict) else [(None, value)]:
            if isinstance(inner, BaseModel):
                yield from _paths_of(inner, (*above, name) if key is None else (*above, name, key))
    kind = getattr(section, 'kind', None)
    if kind is not None:
        block = {'type': getattr(section, 'type', None), **(section.model_extra or {})}
        yield from ((above + place, what, path) for place, what, path in paths_of_block(kind, block))


def build_on_paper(options: Options) -> None:
    """Build network, losses, metrics, optimizer and schedule of an option file on the meta device, without files.

    This finds contradictions between keys, such as different numbers of levels, and values such as a negative rate.

    Raises:
        OptionError: every block that cannot be built, with its position and the reason.
    """
    import torch

    from basicsr.archs import build_network
    from basicsr.archs.activation_checkpointing import checkpoint_activations
    from basicsr.losses import build_loss
    from basicsr.metrics import build_metric
    from basicsr.training import build_optimizer, build_scheduler

    problems: list[str] = []

    def attempt(key: tuple[str, ...], build: Callable[[], Any]) -> Any:
        try:
            return build()
        except (BasicsrError, ValueError, TypeError, RuntimeError) as error:
            position = options.position(key)
            problems.append(f'{position}: {".".join(key)}: {error}' if position else f'{".".join(key)}: {error}')
            return None

    with torch.device('meta'):
        net = attempt(('network_g',), lambda: build_network(options.network_g))
    for label, metric in options.val.metrics.items():
        attempt(('val', 'metrics', label), lambda metric=metric: build_metric(metric, options.val.use_image))  # type: ignore[misc]
    if options.train is not None:
        train = options.train
        if net is not None:
            attempt(('train', 'stages'), lambda: _require_sizes(net, train))
            if train.activation_checkpointing:
                attempt(('train', 'activation_checkpointing'), lambda: checkpoint_activations(net))
        for name, loss in (('pixel_opt', train.pixel_opt), ('perceptual_opt', train.perceptual_opt)):
            if loss is not None:
                attempt(('train', name), lambda loss=loss: build_loss(loss))  # type: ignore[misc]
        weights = [torch.zeros(1, requires_grad=True)]
        optimizer = attempt(('train', 'optim_g'), lambda: build_optimizer(weights, train.optim_g))
        if optimizer is not None:
            attempt(('train', 'scheduler'), lambda: build_scheduler(optimizer, train.scheduler, train.total_iter))
    if problems:
        raise OptionError(problems)


def _require_sizes(net: Any, train: TrainOptions) -> None:
    """Refuse patches that the network would pad: they would teach it the padding."""
    from basicsr.archs.contract import contract_of

    rule = contract_of(net).input_rule
    for number, stage in enumerate(train.stages or ()):
        if rule.padded_size(stage.gt_size, stage.gt_size) != (stage.gt_size, stage.gt_size):
            (rows, columns), least = rule.multiple, max(rule.minimum)
            raise OptionError(
                f'gt_size {stage.gt_size} of stage {number + 1}: {type(net).__name__} would pad these patches; choose '
                f'a multiple of {math.lcm(rows, columns)}, at least {least}'
            )
