"""Count the images whose masks were made or kept, and write the label maps."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from basicsr.masks.files import write_label_map
from basicsr.utils.errors import BasicsrError

logger = logging.getLogger(__name__)


@dataclass
class Summary:
    """The result of :func:`~basicsr.masks.making.make_masks`.

    Args:
        made: number of images whose masks were made.
        kept: number of images whose existing masks were kept.
        failed: images without masks, by file, with the reason.
        masks: number of masks of each image.
        coverage: share of pixels of each image in at least one mask.
        seconds: time for each image whose masks were made.
    """

    made: int = 0
    kept: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    masks: list[int] = field(default_factory=list)
    coverage: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @contextmanager
    def attempt(self, name: Path | str) -> Iterator[None]:
        """Count an image as failed if the block raises an error of this package."""
        try:
            yield
        except BasicsrError as error:
            self.fail([name], error)

    def fail(self, names: Iterable[Path | str], error: Exception) -> None:
        """Count images as failed."""
        for name in names:
            logger.warning('%s: no masks: %s', name, error)
            self.failed[str(name)] = str(error)

    def keep_or_make(
        self,
        path: Path,
        kept: NDArray[Any] | None,
        stamp: str,
        make: Callable[[], NDArray[Any]],
        spent: float = 0.0,
    ) -> tuple[NDArray[Any], bool]:
        """Count the label map (L, H, W) of an image; make and write it if there is none.

        Args:
            path: the file.
            kept: its content, from :func:`~basicsr.masks.making.finished`; None to make it.
            stamp: stamp of the file; changes with the masks.
            make: returns the label map.
            spent: seconds that were already spent on it.

        Returns:
            the label map, and whether it was made.
        """
        labels, start = kept, time.perf_counter()
        if labels is None:
            labels = make()
            path.parent.mkdir(parents=True, exist_ok=True)
            write_label_map(path, labels, stamp)
            self.seconds.append(time.perf_counter() - start + spent)
        made = kept is None
        self.made, self.kept = self.made + made, self.kept + (not made)
        self.masks.append(len(np.unique(labels[labels > 0])))
        self.coverage.append(float((labels > 0).any(0).mean()))
        return labels, made

    def add(self, other: Summary) -> None:
        """Add the images of another summary."""
        self.made, self.kept = self.made + other.made, self.kept + other.kept
        self.failed |= other.failed
        self.masks += other.masks
        self.coverage += other.coverage
        self.seconds += other.seconds

    def text(self) -> str:
        """Return a few lines to print."""
        lines = [f'{self.made} made, {self.kept} kept, {len(self.failed)} failed']
        if self.masks:
            low, high = min(self.masks), max(self.masks)
            mean, covered = sum(self.masks) / len(self.masks), 100 * sum(self.coverage) / len(self.coverage)
            lines.append(f'masks per image {mean:.1f} ({low} to {high}), coverage {covered:.1f} %')
        if self.seconds:
            lines.append(f'{sum(self.seconds) / len(self.seconds):.2f} s per generated image')
        return '\n'.join([*lines, *(f'failed: {name}: {reason}' for name, reason in self.failed.items())])
