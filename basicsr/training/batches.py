"""The endless stream of training batches, and its position, which is all that resuming needs."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Mapping
from typing import Any

from torch.utils.data import Dataset

from basicsr.data import build_dataloader
from basicsr.data.bad_images import SkipBadImages
from basicsr.data.prefetch import prefetch
from basicsr.training.batching import Batching
from basicsr.training.distributed import Processes
from basicsr.utils.errors import BasicsrError, DataError
from basicsr.utils.loader_options import LoaderOptions

logger = logging.getLogger(__name__)


class TrainingData:
    """Batches on the device, step by step, epoch by epoch.

    Args:
        dataset: of :func:`basicsr.data.build_dataset`.
        opt: its data set options; ``batch_size_per_gpu`` is that of ``batching``.
        batching: how many samples a step has.
        processes: this process among those of the job.
        seed: of the order.
        skip_bad: whether another image takes the place of one that cannot be read; otherwise training ends there.
        gray_masks: whether masks are gray pictures.

    Attributes:
        epoch: number of the pass.
        consumed: samples of it, of all processes together, that were handed out.
        skipped: samples of this process that could not be read.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        opt: LoaderOptions,
        batching: Batching,
        processes: Processes,
        seed: int,
        skip_bad: bool = False,
        gray_masks: bool = False,
    ) -> None:
        self._dataset, self._batching, self._device = dataset, batching, processes.device
        self._gray_masks = gray_masks
        self._mode = opt.prefetch_mode
        self._loader = build_dataloader(
            SkipBadImages(dataset) if skip_bad else dataset,
            opt.model_copy(update={'batch_size_per_gpu': batching.at_once}),
            'train',
            processes.world,
            processes.rank,
            seed,
            batching.per_process,
            processes.device,
        )
        self._sampler: Any = self._loader.sampler
        self.epoch = self.consumed = self.skipped = 0

    @property
    def steps_per_epoch(self) -> int:
        """Whole steps in one pass."""
        return int(self._sampler.total) // self._batching.total

    def resume_at(self, epoch: int, consumed: int) -> None:
        """Go on in the middle of a pass, or with the next one if this one has no such place any more.

        Args:
            epoch: number of the pass.
            consumed: samples of it that are done, of all processes together.
        """
        if consumed > int(self._sampler.total):  # fewer samples than the checkpoint had
            logger.warning('an epoch has %d samples now, of which %d would be done; going on with the next epoch',
                           self._sampler.total, consumed)  # fmt: skip
            epoch, consumed = epoch + 1, 0
        self.epoch, self.consumed = epoch, consumed

    def steps(self) -> Generator[list[dict[str, Any]], None, None]:
        """The batches of each step from here on.

        Raises:
            BasicsrError: a sample cannot be read; the message names its file.
        """
        if not self.steps_per_epoch:
            raise DataError(f'{len(self._dataset)} samples make no step of {self._batching.total}')  # type: ignore[arg-type]
        while True:
            self._sampler.set_epoch(self.epoch, self.consumed)
            if hasattr(self._dataset, 'set_epoch'):
                self._dataset.set_epoch(self.epoch)
            group: list[dict[str, Any]] = []
            for batch in self._batches():
                self._note_skipped(batch)
                group.append(batch)
                if len(group) == self._batching.accumulation:
                    self.consumed += self._batching.total
                    yield group
                    group = []
            self.epoch, self.consumed = self.epoch + 1, 0

    def close(self) -> None:
        """End the worker processes."""
        workers: Any = getattr(self._loader, '_iterator', None)
        if hasattr(workers, '_shutdown_workers'):
            workers._shutdown_workers()

    def _batches(self) -> Iterator[dict[str, Any]]:
        """One pass over the loader, as floats on the device."""
        try:
            yield from prefetch(self._loader, self._device, self._mode, self._gray_masks)
        except BasicsrError as error:
            raise type(error)(_own_words(str(error))) from error

    def _note_skipped(self, batch: Mapping[str, Any]) -> None:
        for problem in filter(None, batch.get('skipped', ())):
            self.skipped += 1
            logger.warning('skipped (%d so far): %s', self.skipped, problem)


def _own_words(text: str) -> str:
    """The message of an error without the traceback that a worker process puts before it."""
    marker = 'Original Traceback (most recent call last):'
    if marker not in text:
        return text
    last = [line for line in text.splitlines() if line.startswith('basicsr.')][-1:]
    return last[0].split(': ', 1)[-1] if last else text
