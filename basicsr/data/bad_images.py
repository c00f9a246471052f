"""Replace images that cannot be read during training."""

from __future__ import annotations

import contextlib
from typing import Any

from torch.utils.data import Dataset

from basicsr.utils.errors import BasicsrError, DataError

_TRIES = 50


def first_sample(dataset: Any, skip_bad: bool) -> dict[str, Any]:
    """Return the first sample of a data set.

    Args:
        dataset: with integer indices.
        skip_bad: skip samples that cannot be read.

    Raises:
        BasicsrError: (or OSError) neither it nor the samples after it can be read.
    """
    tries = min(_TRIES, len(dataset)) if skip_bad else 1
    for index in range(tries - 1):
        with contextlib.suppress(BasicsrError, OSError):
            return dict(dataset[index])
    return dict(dataset[tries - 1])


class SkipBadImages(Dataset[dict[str, Any]]):
    """A data set in which the next readable sample replaces one that cannot be read.

    Items have one more key, ``skipped``: the errors of the skipped samples, '' if there are none.

    Args:
        dataset: data set whose samples may fail.
    """

    def __init__(self, dataset: Dataset[dict[str, Any]]) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return the sample, or the next readable one.

        Raises:
            DataError: many consecutive samples cannot be read; the folder may be missing.
        """
        problems: list[str] = []
        for offset in range(min(_TRIES, len(self))):
            try:
                return {**self.dataset[(index + offset) % len(self)], 'skipped': '; '.join(problems)}
            except (BasicsrError, OSError) as error:
                problems.append(str(error))
        raise DataError(f'{len(problems)} samples in a row cannot be read; is the data set complete? {problems[-1]}')
