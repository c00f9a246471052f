"""What becomes of an image that cannot be read in the middle of a training."""

from __future__ import annotations

import contextlib
from typing import Any

from torch.utils.data import Dataset

from basicsr.utils.errors import BasicsrError, DataError

_TRIES = 50


def first_sample(dataset: Any, skip_bad: bool) -> dict[str, Any]:
    """The first sample of a data set.

    Args:
        dataset: with integer indices.
        skip_bad: pass over those that cannot be read.

    Raises:
        BasicsrError: (or OSError) it cannot be read, nor can those after it.
    """
    tries = min(_TRIES, len(dataset)) if skip_bad else 1
    for index in range(tries - 1):
        with contextlib.suppress(BasicsrError, OSError):
            return dict(dataset[index])
    return dict(dataset[tries - 1])


class SkipBadImages(Dataset[dict[str, Any]]):
    """Another sample takes the place of one that cannot be read: the next one that can.

    Items have one more key, ``skipped``: what was wrong with the samples passed over, '' for none.

    Args:
        dataset: whose samples may fail.
    """

    def __init__(self, dataset: Dataset[dict[str, Any]]) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The sample, or the next one that can be read.

        Raises:
            DataError: many in a row cannot be read; the folder may be gone.
        """
        problems: list[str] = []
        for offset in range(min(_TRIES, len(self))):
            try:
                return {**self.dataset[(index + offset) % len(self)], 'skipped': '; '.join(problems)}
            except (BasicsrError, OSError) as error:
                problems.append(str(error))
        raise DataError(f'{len(problems)} samples in a row cannot be read; is the data set still there? {problems[-1]}')
