"""The content of reports: one row per image, one report per data set and run."""

from __future__ import annotations

import contextlib
import inspect
import math
import platform
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Annotated

from pydantic import Field

from basicsr.metrics import Average, Metric, average
from basicsr.utils.errors import ReportError, some_of
from basicsr.utils.files import sha256_of
from basicsr.version import __version__

MCR = 'mcr'
"""The label of the mode collapse rate."""

_PACKAGES = ('torch', 'numpy', 'opencv-python-headless', 'scikit-image')


@dataclass(frozen=True)
class Definition:
    """The definition of a score; only scores with the same definition can be compared.

    Args:
        label: key in the rows' scores, from the option file.
        variant: exact name of the metric: 'SSIM 3-D'.
        unit: 'dB', '%' or empty.
        decimals: number of decimals in tables.
        higher_is_better: whether a larger score is better.
        text: description in one sentence.
        data_range: distance between black and white, as text.
        settings: arguments of the metric, as text.
        missing: reason why nothing was scored (optional package, weights); empty if it was.
        cumulative: whether reports draw its cumulative histogram.
    """

    label: str
    variant: str
    unit: str = ''
    decimals: Annotated[int, Field(ge=0, le=20)] = 4
    higher_is_better: bool = True
    text: str = ''
    data_range: str = ''
    settings: Mapping[str, str] = field(default_factory=dict)
    missing: str = ''
    cumulative: bool = False


def definition_of(label: str, metric: Metric) -> Definition:
    """Return the definition of a metric.

    Args:
        label: key in the rows' scores; always ``MCR`` for the mode collapse rate.
        metric: of the scores.
    """
    settings = {key: str(value) for key, value in vars(metric).items() if not key.startswith('_')}
    data_range = settings.get('data_range', 'None')
    by_type = 'by the type of the image: 255 for 8 bits, 65535 for 16 bits, 1 for floats'
    same = ('variant', 'unit', 'decimals', 'higher_is_better', 'missing', 'cumulative')
    return Definition(
        label,
        **{name: getattr(metric, name) for name in same},
        text=' '.join((inspect.getdoc(metric) or metric.variant).split('\n\n')[0].split()).replace('``', ''),
        data_range=by_type if data_range == 'None' else data_range,
        settings=settings,
    )


@dataclass(frozen=True)
class ImageRow:
    """One image of an evaluation.

    Args:
        index: position in the data set, from 0.
        name: of the image within its data set, with sub-folders; any characters.
        height: pixels.
        width: pixels.
        scores: of the output, by label; empty without ground truth.
        input_scores: of the blurred input (the baseline), by label; labels may be missing.
        seconds: time of the network; None if not measured.
        tiled: whether the image was processed in tiles.
        marks: remarks for readers, such as 'psnr_realblur: not_aligned'.
        images: files by kind (``FULL`` and ``THUMBNAILS`` of ``images.py``), relative to the result folder,
            with forward slashes.
        group: name of the group of images with separate averages ('indoor'); empty without groups.
        baselines: scores of other methods by their name and label.
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
    images: Mapping[str, str] = field(default_factory=dict)
    group: str = ''
    baselines: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def collapsed(self) -> bool | None:
        """Whether the output is much worse than the input (MCR); None if it was not scored."""
        return self.scores[MCR] > 0 if MCR in self.scores else None

    @property
    def all_scores(self) -> tuple[Mapping[str, float], ...]:
        """Scores of the output, of the blurred input and of the baselines."""
        return self.scores, self.input_scores, *self.baselines.values()

    def gain(self, label: str) -> float | None:
        """Return the output's score minus the input's; None if one is missing or both are infinite."""
        if label not in self.scores or label not in self.input_scores:
            return None
        difference = self.scores[label] - self.input_scores[label]
        return None if math.isnan(difference) else difference


@dataclass(frozen=True)
class RunFacts:
    """The information needed to reproduce a report.

    Args:
        run: name of the run, as in ``results/<run>``.
        network: name of the network in tables.
        options: the option file.
        checkpoint: path of the network file; empty without one.
        checkpoint_sha256: hash of its content; empty without one.
        date: ISO 8601, UTC.
        device: that computed the outputs.
        versions: of Python and of libraries that affect scores.
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
    """Collect the facts of a run, with hash, date and versions.

    Args:
        run: name of the run.
        network: name of the network.
        options: path of the option file.
        checkpoint: network file; read once for its hash.
        device: ``str(torch.device)``, or a longer description.

    Raises:
        OSError: the checkpoint cannot be read.
    """
    versions = {'basicsr': __version__, 'python': platform.python_version()}
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):  # OpenCV has several distributions
            versions[package] = metadata.version(package)
    file, date = ('', ''), datetime.now(timezone.utc).isoformat(timespec='seconds')
    if checkpoint is not None:
        file = checkpoint.as_posix(), sha256_of(checkpoint)
    return RunFacts(run, network, options, *file, date, device, versions)


@dataclass(frozen=True)
class Report:
    """The scores of one run on one data set.

    Args:
        facts: about the run.
        dataset: name of the data set.
        definitions: of all labels, in the order of table columns.
        rows: in data set order.
        skipped: reasons of images that could not be evaluated, by name; averages do not include them.
        error_scale: difference (of 255) shown brightest in error maps; None without images.

    Raises:
        ReportError: two rows have the same name, or a label has no definition.
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
            raise ReportError(f'{self.dataset}: {listed(twice)} are names of several images; names must be unique')
        known = {definition.label for definition in self.definitions}
        used = (label for row in self.rows for each in row.all_scores for label in each)
        unknown = set(used) - known - {MCR}
        if unknown:
            raise ReportError(f'{self.dataset}: scores without definition: {listed(sorted(unknown))}')

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels except the mode collapse rate, in the order of the columns."""
        return tuple(definition.label for definition in self.definitions if definition.label != MCR)

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups with separate averages, in the order of the rows."""
        return tuple(dict.fromkeys(row.group for row in self.rows if row.group))

    def members(self, group: str | None = None) -> tuple[ImageRow, ...]:
        """Return the rows of a group; None returns all."""
        return tuple(row for row in self.rows if group in (None, row.group))

    def average(self, label: str, group: str | None = None) -> Average:
        """Return the average of the outputs, of all images or a group."""
        return average(row.scores.get(label) for row in self.members(group))

    def input_average(self, label: str, group: str | None = None) -> Average:
        """Return the average of the blurred inputs, of all images or a group."""
        return average(row.input_scores.get(label) for row in self.members(group))

    @property
    def baselines(self) -> tuple[str, ...]:
        """Names of the other methods that were scored, in the order of the rows."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row.baselines))

    def baseline_average(self, name: str, label: str, group: str | None = None) -> Average:
        """Return the average of a baseline, of all images or a group."""
        return average(row.baselines.get(name, {}).get(label) for row in self.members(group))

    @property
    def collapsed(self) -> tuple[str, ...]:
        """Names of the collapsed images."""
        return tuple(row.name for row in self.rows if row.collapsed)


def ranking_label(definitions: Iterable[Definition]) -> str | None:
    """Return the label that ranks images: the first in dB, otherwise the first except the mode collapse rate."""
    labels = [item for item in definitions if item.label != MCR]
    return next((item.label for item in [*(item for item in labels if item.unit == 'dB'), *labels]), None)


def listed(names: Iterable[str]) -> str:
    """Return names for a message: the first ten, and the number of further ones."""
    return some_of([repr(name) for name in names], 10)
