"""Explain why a network file does not fit: different arguments, and matching option files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from basicsr.archs.contract import contract_of
from basicsr.interchange.recognising import described_network, network_of
from basicsr.utils.errors import BasicsrError, OptionError, WeightsError
from basicsr.utils.installation import OPTION_FILES
from basicsr.utils.registry import ARCH_REGISTRY
from basicsr.utils.signature import parameters_of
from basicsr.weights.files import Weights, load_weights

PlainBlock = dict[str, Any]
Shapes = dict[str, tuple[int, ...]]

_NAMED = 3  # option files in an error message
_MOST = 10_000  # parameters of a network by name


def load_or_explain(
    net: nn.Module, weights: Weights, strict: bool = True, adopt_mask_value: bool = False, evaluating: bool = False
) -> None:
    """Load the parameters of a file into a network, as :func:`~basicsr.weights.files.load_weights`.

    Args:
        net: of ``build_network``.
        weights: of a file.
        strict: see ``load_weights``.
        adopt_mask_value: see ``load_weights``.
        evaluating: list option files for tests first, otherwise those for training.

    Raises:
        WeightsError: they do not fit. If the network of the file is known, the message lists different arguments and
            matching shipped option files, otherwise names and shapes.
    """
    try:
        load_weights(net, weights, strict, adopt_mask_value)
    except WeightsError as error:
        text = explanation(net, weights, evaluating)
        if text is None:
            raise
        raise WeightsError(text) from error


def explanation(net: nn.Module, weights: Weights, evaluating: bool = False) -> str | None:
    """Explain why the parameters of a file do not fit a network; return None if they fit or nothing is known.

    Args:
        net: of ``build_network``.
        weights: of a file.
        evaluating: see :func:`load_or_explain`.
    """
    own = contract_of(net).options
    found = {key: tuple(value.shape) for key, value in weights.state.items()}
    theirs = _network_of(weights, found)
    if theirs is None or 'type' not in own or shapes_of(own) == found:
        return None
    differing = '\n  '.join(_differences(own, theirs))
    text = f'{weights.path} does not fit {type(net).__name__}: the arguments differ\n  {differing}'
    files = list(_files_of(found, _kind(theirs), evaluating))
    if files:
        text += f'\nMatching option files: {", ".join(files[:_NAMED])}'
    return text


def shapes_of(block: PlainBlock) -> Shapes | None:
    """Return the shapes of a network's parameters by name; None if it cannot be built."""
    try:
        state = described_network(block, _MOST).state_dict()
    except (BasicsrError, RuntimeError, OverflowError, ValueError):
        return None
    return {key: tuple(value.shape) for key, value in state.items()}


def _network_of(weights: Weights, found: Shapes) -> PlainBlock | None:
    """Return the block of a file's network, from the file or its parameters; None if they contradict each other."""
    try:
        block: PlainBlock | None = weights.network or network_of(weights.state)
    except WeightsError:
        return None
    return block if block is not None and shapes_of(block) == found else None


def _differences(own: PlainBlock, theirs: PlainBlock) -> Iterator[str]:
    """Yield one line per different argument that affects the parameters."""
    if _kind(own) != _kind(theirs):
        yield f'type: {theirs["type"]} in the file, {own["type"]} in the options'
        return
    mine, others = _arguments(own), _arguments(theirs)
    for key in (key for key in mine if key in others):
        here, there = mine[key], others[key]
        if here != there and shapes_of(_with(own, key, there)) != shapes_of(own):
            yield f'{".".join(key)}: {_shown(there)} in the file, {_shown(here)} in the options'


def _arguments(block: Mapping[str, Any], above: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Return all arguments of a block and its nested blocks, with defaults, and lists as tuples."""
    parameters = parameters_of(ARCH_REGISTRY.get(block['type']))
    values = {name: p.default for name, p in parameters.items() if p.default is not p.empty}
    found: dict[tuple[str, ...], Any] = {}
    for key, value in {**values, **block}.items():
        if isinstance(value, Mapping) and 'type' in value:
            found |= _arguments(value, (*above, key))
        elif above or key != 'type':
            place = (*above, key)
            found[place] = tuple(value) if isinstance(value, list) else value
    return found


def _with(block: PlainBlock, key: tuple[str, ...], value: Any) -> PlainBlock:
    """Return a block with a different value of a (nested) key."""
    first, *rest = key
    return {**block, first: _with(block.get(first) or {}, tuple(rest), value) if rest else value}


def _shown(value: Any) -> str:
    return str(list(value)) if isinstance(value, tuple) else str(value)


def _kind(block: PlainBlock) -> str:
    """Return the network's name; its Local variant has the same parameters."""
    return str(block['type']).removesuffix('Local')


def _files_of(found: Shapes, kind: str, evaluating: bool) -> Iterator[str]:
    """Yield the shipped option files with a network of these parameters."""
    from basicsr.options import load_options

    known: dict[str, bool] = {}
    phases = ('test', 'train') if evaluating else ('train', 'test')
    for path in (path for phase in phases for path in sorted((OPTION_FILES / phase).rglob('*.yml'))):
        if path.parent.name == '_base_':
            continue
        try:
            block = load_options(path).network_g.as_dict()
        except OptionError:
            continue
        text = repr(block)
        if text not in known:
            known[text] = _kind(block) == kind and shapes_of(block) == found
        if known[text]:
            yield path.relative_to(OPTION_FILES.parent).as_posix()
