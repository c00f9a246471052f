"""Errors for bad input; each message says what is wrong, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from basicsr.utils.installation import with_commands


class BasicsrError(Exception):
    """Base class of every error below, which distinguishes bad input from bugs.

    Messages name the commands of a clone; in an installed package, their text has those of the package.
    """

    def __str__(self) -> str:
        return with_commands(super().__str__())


class UnknownNameError(BasicsrError, KeyError):
    """A registry has no entry with this name."""

    def __str__(self) -> str:  # KeyError would print the quoted repr of the message
        return str(self.args[0])


class ArgumentError(BasicsrError, TypeError):
    """The arguments of a ``type:`` block do not fit the class that it names."""


class OptionError(BasicsrError, ValueError):
    """An option file, or several keys of it, cannot be used.

    Args:
        problems: one message, or one line per problem.

    Attributes:
        problems: those lines.
    """

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__('\n'.join(self.problems))


class ShapeError(BasicsrError, ValueError):
    """A tensor or array has the wrong number of dimensions, channels or pixels."""


class MaskError(BasicsrError, ValueError):
    """Masks do not fit the image, or are not a valid label map or mask stack."""


class MetricError(BasicsrError, ValueError):
    """The input of a metric cannot be scored (shapes differ, NaN, unknown value range)."""


class ImageFileError(BasicsrError, OSError):
    """A file is not an image that can be read."""


class DataError(BasicsrError, ValueError):
    """A data set cannot be read: files are missing, ambiguous, or do not belong together."""


class ReportError(BasicsrError, ValueError):
    """A report of an evaluation cannot be written or read, or two reports cannot be compared."""


class OutputError(DataError):
    """No file can be written: the disk is full, or the folder is not writable."""


class WeightsError(BasicsrError, RuntimeError):
    """A network file cannot be read, or does not belong to the network."""


class CheckpointError(BasicsrError, RuntimeError):
    """A checkpoint cannot be written, or cannot be continued from."""


class TrainingError(BasicsrError, RuntimeError):
    """Training cannot continue: too many steps that are not finite, or another process has failed."""


class UnsafeWeightsError(WeightsError):
    """A network file contains pickled objects other than tensors and plain values; it was not loaded."""


def some_of(names: Sequence[str], shown: int = 20) -> str:
    """Return the first names of a list, with commas, and the number of further names."""
    more = f' and {len(names) - shown} more' if len(names) > shown else ''
    return ', '.join(names[:shown]) + more


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return the hint ``; did you mean 'x'?`` for the valid name closest to ``name``, or an empty string."""
    valid = list(valid)
    lowered = {candidate.lower(): candidate for candidate in valid}
    close = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
    return f"; did you mean '{lowered[close[0]]}'?" if close else ''
