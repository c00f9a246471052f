"""What an evaluation leaves behind: one row an image, one report a data set and run."""

from __future__ import annotations

import inspect
import math
import platform
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

from basicsr.metrics import Average, Metric, average
from basicsr.utils.errors import ReportError
from basicsr.utils.files import sha256_of
from basicsr.version import __version__

MCR = 'mcr'
"""The label of the mode collapse rate, whose scores are the rows' ``collapsed``."""

_PACKAGES = ('torch', 'numpy', 'opencv-python-headless', 'scikit-image')


@dataclass(frozen=True)
class Definition:
    """What stands behind a label of a table, so that nobody compares what cannot be compared.

    Args:
        label: key in the rows' scores, as the option file calls the metric.
        variant: what exactly is computed: 'SSIM 3-D'.
        unit: 'dB', '%' or empty.
        decimals: digits after the point in tables.
        higher_is_better: which direction is an improvement.
        text: one sentence.
        data_range: the distance between black and white, in words.
        settings: arguments of the metric, as text.
        missing: why nothing was scored (an optional package, weights); empty if it was.
    """

    label: str
    variant: str
    unit: str = ''
    decimals: int = 4
    higher_is_better: bool = True
    text: str = ''
    data_range: str = ''
    settings: Mapping[str, str] = field(default_factory=dict)
    missing: str = ''


def definition_of(label: str, metric: Metric) -> Definition:
    """Describe a metric for the reports.

    Args:
        label: key in the rows' scores; ``MCR`` for the mode collapse rate, whatever the option file calls it.
        metric: what computed the scores.
    """
    settings = {key: str(value) for key, value in vars(metric).items() if not key.startswith('_')}
    data_range = settings.get('data_range', 'None')
    by_type = 'by the type of the image: 255 for 8 bits, 65535 for 16 bits, 1 for floats'
    return Definition(
        label=label,
        variant=metric.variant,
        unit=metric.unit,
        decimals=metric.decimals,
        higher_is_better=metric.higher_is_better,
        text=' '.join((inspect.getdoc(metric) or metric.variant).split('\n\n')[0].split()).replace('``', ''),
        data_range=by_type if data_range == 'None' else data_range,
        settings=settings,
        missing=metric.missing,
    )


@dataclass(frozen=True)
class ImageRow:
    """One image of an evaluation.

    Args:
        index: position in the data set, from 0.
        name: names the image within its data set, sub-folders included; any characters.
        height: pixels.
        width: pixels.
        scores: of the output, by label; empty without ground truth.
        input_scores: of the blurred input ("do nothing"), by label; labels may be missing.
        seconds: the network took; None if it was not measured.
        tiled: whether the image was cut into tiles.
        marks: what a reader should know, as 'psnr_realblur: not_aligned'.
        pictures: files by kind (``FULL`` and ``THUMBNAILS`` of ``pictures.py``), relative to the result folder, with
            forward slashes.
        group: of the images that it is scored with apart from the others ('indoor'); empty without groups.
    """

    index: int
    name: str
    height: int
    width: int
    scores: Mapping[str, float] = field(default_factory=dict)
    input_scores: Mapping[str, float] = field(default_factory=dict)
    seconds: float | None = None
    tiled: bool = False
    marks: tuple[str, ...] = ()
    pictures: Mapping[str, str] = field(default_factory=dict)
    group: str = ''

    @property
    def collapsed(self) -> bool | None:
        """Whether the output is much worse than the input (MCR); None if it was not scored."""
        return self.scores[MCR] > 0 if MCR in self.scores else None

    def gain(self, label: str) -> float | None:
        """Output's score minus the input's; None if either is missing or both are infinite."""
        if label not in self.scores or label not in self.input_scores:
            return None
        difference = self.scores[label] - self.input_scores[label]
        return None if math.isnan(difference) else difference


@dataclass(frozen=True)
class RunFacts:
    """What must be known to make a report again.

    Args:
        run: name of the run, as in ``results/<run>``.
        network: name of the network, as tables call it.
        options: the option file.
        checkpoint: path of the network's file; empty if there is none.
        checkpoint_sha256: hash of its content; empty if there is none.
        date: ISO 8601, UTC.
        device: what computed the outputs.
        versions: of Python and the libraries that scores depend on.
    """

    run: str
    network: str = ''
    options: str = ''
    checkpoint: str = ''
    checkpoint_sha256: str = ''
    date: str = ''
    device: str = ''
    versions: Mapping[str, str] = field(default_factory=dict)


def facts_of_run(
    run: str, network: str, options: str = '', checkpoint: Path | None = None, device: str = ''
) -> RunFacts:
    """Collect hash, date and versions.

    Args:
        run: name of the run.
        network: name of the network.
        options: path of the option file.
        checkpoint: file of the network, which is read once for its hash.
        device: as ``str(torch.device)``, or a fuller description.

    Raises:
        OSError: the checkpoint cannot be read.
    """
    return RunFacts(
        run=run,
        network=network,
        options=options,
        checkpoint='' if checkpoint is None else checkpoint.as_posix(),
        checkpoint_sha256='' if checkpoint is None else sha256_of(checkpoint),
        date=datetime.now(timezone.utc).isoformat(timespec='seconds'),
        device=device,
        versions=_versions(),
    )


def _versions() -> dict[str, str]:
    found = {'basicsr': __version__, 'python': platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # OpenCV may be installed under another name
            continue
    return found


@dataclass(frozen=True)
class Report:
    """One data set evaluated by one run.

    Args:
        facts: about the run.
        dataset: name of the data set.
        definitions: of all labels, in the order of the tables' columns.
        rows: in data set order.
        skipped: images that could not be evaluated, by name, with the reason; they are in no average.
        error_scale: the difference (of 255) that the error maps show brightest; None without pictures.

    Raises:
        ReportError: two rows share a name, or a row has a label without definition.
    """

    facts: RunFacts
    dataset: str
    definitions: tuple[Definition, ...]
    rows: tuple[ImageRow, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)
    error_scale: int | None = None

    def __post_init__(self) -> None:
        twice = [name for name, count in Counter(row.name for row in self.rows).items() if count > 1]
        if twice:
            raise ReportError(f'{self.dataset}: {listed(twice)} stand for several images each; names must differ')
        known = {definition.label for definition in self.definitions}
        unknown = {label for row in self.rows for label in (*row.scores, *row.input_scores)} - known - {MCR}
        if unknown:
            raise ReportError(f'{self.dataset}: the rows have scores without definition: {listed(sorted(unknown))}')

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels but that of the mode collapse rate, in the order of the columns."""
        return tuple(definition.label for definition in self.definitions if definition.label != MCR)

    @property
    def main_label(self) -> str | None:
        """What images are ranked by."""
        return ranking_label(self.definitions)

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups that images are scored by, in the order of the rows."""
        return tuple(dict.fromkeys(row.group for row in self.rows if row.group))

    def members(self, group: str | None = None) -> tuple[ImageRow, ...]:
        """The rows of a group; None is all of them."""
        return tuple(row for row in self.rows if group in (None, row.group))

    def average(self, label: str, group: str | None = None) -> Average:
        """Return the average of the outputs, of all images or a group."""
        return average(row.scores.get(label) for row in self.members(group))

    def input_average(self, label: str, group: str | None = None) -> Average:
        """Return the average of the blurred inputs, of all images or a group."""
        return average(row.input_scores.get(label) for row in self.members(group))

    @property
    def collapsed(self) -> tuple[str, ...]:
        """Names of the collapsed images."""
        return tuple(row.name for row in self.rows if row.collapsed)


def ranking_label(definitions: Iterable[Definition]) -> str | None:
    """What images are ranked by: the first label in dB, else the first that is not the mode collapse rate."""
    labels = [item for item in definitions if item.label != MCR]
    return next((item.label for item in [*(item for item in labels if item.unit == 'dB'), *labels]), None)


def listed(names: Iterable[str], most: int = 10) -> str:
    """Names for a message, the first few and how many more there are."""
    names = list(names)
    more = f' and {len(names) - most} more' if len(names) > most else ''
    return ', '.join(repr(name) for name in names[:most]) + more
