"""The networks that the page offers."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from basicsr.app.facts import NetworkFacts
from basicsr.inference.deblurrer import Deblurrer
from basicsr.inference.pretrained import DEFAULT, FOLDER, SUFFIXES, find_weights, load_network, named_weights
from basicsr.utils.errors import OptionError, WeightsError

LINES = {
    DEFAULT: (
        'shake and motion',
        'The bundled network, trained on photos with simulated camera shake and moving objects.',
    ),
    'analysis_synthesis': ('one blur kernel', 'Estimates the blur kernel of the whole photo and deconvolves with it.'),
}
"""What known networks are for, and one line about them."""


class Networks:
    """Network files by name, in the order of the page.

    Args:
        model: a network file or the name of one, which comes first; None puts the bundled network first.
        weights: folder of named networks; None as in ``named_weights``.

    Attributes:
        files: network files by name; empty if there are none, see ``problem``.
        problem: message about missing networks.

    Raises:
        WeightsError: no such network.
    """

    def __init__(self, model: str | None = None, weights: Path | None = None) -> None:
        self.files = _files(model, weights)
        self.problem = '' if self.files else _no_network(weights)

    @property
    def first(self) -> str | None:
        """Name of the network to choose at first; None without any."""
        return next(iter(self.files), None)

    def path(self, name: str, own: dict[str, Path] | None = None) -> Path:
        """Return the file of a network.

        Args:
            name: of the network.
            own: further networks by name.

        Raises:
            OptionError: no such network.
        """
        known = {**(own or {}), **self.files}
        if not isinstance(name, str) or name not in known:
            raise OptionError(f'Network: {name!r} is unknown; choose one of {", ".join(known)}')
        return known[name]


def method_of(name: str) -> str:
    """Return the method that the command line uses with a network."""
    return 'auto' if name == DEFAULT else 'network'


def line_of(name: str, facts: NetworkFacts) -> str:
    """Return one line about a network."""
    uses = ', uses masks' if facts.takes_masks else ', estimates the blur kernel' if facts.finds_kernel else ''
    what = f'{facts.kind}, {_number(facts.parameters)} parameters{uses}.'
    return f'{LINES[name][1]} {what}' if name in LINES else what


def choices_of(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return networks with what they are for, where it is known, and their names."""
    return [(f'{name}: {LINES[name][0]}' if name in LINES else name, name) for name in names]


@lru_cache(32)
def facts_of(path: Path) -> NetworkFacts:
    """Return the properties of the network in a file.

    Raises:
        WeightsError: the file cannot be read, or its network does not map an RGB image to an RGB image.
    """
    if not path.is_file():
        raise WeightsError(f'{path} does not exist any more; choose another network')
    deblurrer = Deblurrer(load_network(path), name=path.stem, device='cpu', dtype='fp32')
    number = sum(weight.numel() for weight in deblurrer.net.parameters())
    kind = type(deblurrer.net).__name__
    return NetworkFacts(deblurrer.takes_masks, slider_value(deblurrer), deblurrer.finds_kernel, kind, number)


def slider_value(deblurrer: Deblurrer) -> float | None:
    """Return the weight of a masked pixel, rounded like the slider of the page; None if masks have no weight."""
    return None if deblurrer.mask_value is None else round(float(deblurrer.mask_value), 3)


def _number(count: int) -> str:
    return f'{count / 1e6:.1f} million' if count >= 1e5 else f'{count:,}'


def _files(model: str | None, weights: Path | None) -> dict[str, Path]:
    known = named_weights(weights)
    if model is not None:
        path = find_weights(model)
        same = (name for name, other in known.items() if other.resolve() == path.resolve())
        first = next(same, path.name if path.stem in known else path.stem)
        return {first: path, **{name: other for name, other in known.items() if name != first}}
    return dict(sorted(known.items(), key=lambda item: item[0] != DEFAULT))


def _no_network(weights: Path | None) -> str:
    try:
        find_weights(None)
        what = f'{weights or FOLDER} contains no network file ({", ".join(SUFFIXES)})'
    except WeightsError as error:
        what = str(error)
    return f'No network found: {what}; or pass one with --model FILE.'
