"""The endless stream of training batches, and its position for resuming."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
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
    """Training batches on the device, step by step.

    Args:
        dataset: of :func:`basicsr.data.build_dataset`.
        opt: options of the data set; ``batch_size_per_gpu`` is that of ``batching``.
        batching: the split of a step's samples.
        processes: this process among those of the job.
        seed: of the order of samples.
        skip_bad: replace unreadable images by others; otherwise they are an error.
        gray_masks: whether masks are gray masks.

    Attributes:
        epoch: number of the epoch.
        consumed: samples of the epoch used so far, over all processes.
        skipped: number of unreadable samples of this process.
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
        """Number of complete steps per epoch."""
        return int(self._sampler.total) // self._batching.total

    def resume_at(self, epoch: int, consumed: int) -> None:
        """Continue within an epoch, or with the next epoch if this one is now shorter.

        Args:
            epoch: number of the epoch.
            consumed: samples of the epoch used so far, over all processes.
        """
        if consumed > int(self._sampler.total):  # the data set is smaller than that of the checkpoint
            logger.warning('an epoch now has %d samples, the checkpoint used %d; continuing with the next epoch',
                           self._sampler.total, consumed)  # fmt: skip
            epoch, consumed = epoch + 1, 0
        self.epoch, self.consumed = epoch, consumed

    def steps(self) -> Generator[list[dict[str, Any]], None, None]:
        """Yield the batches of each step.

        Raises:
            BasicsrError: a sample cannot be read; the message contains its path.
        """
        if not self.steps_per_epoch:
            samples = len(self._dataset)  # type: ignore[arg-type]
            raise DataError(
                f'the training set has {samples} samples, fewer than one global batch ({self._batching.total})'
            )
        while True:
            self._sampler.set_epoch(self.epoch, self.consumed)
            if hasattr(self._dataset, 'set_epoch'):
                self._dataset.set_epoch(self.epoch)
            group: list[dict[str, Any]] = []
            for batch in self._batches():
                for problem in filter(None, batch.get('skipped', ())):
                    self.skipped += 1
                    logger.warning('skipped (%d so far): %s', self.skipped, problem)
                group.append(batch)
                if len(group) == self._batching.accumulation:
                    self.consumed += self._batching.total
                    yield group
                    group = []
            self.epoch, self.consumed = self.epoch + 1, 0

    def close(self) -> None:
        """Stop the worker processes."""
        workers: Any = getattr(self._loader, '_iterator', None)
        if hasattr(workers, '_shutdown_workers'):
            workers._shutdown_workers()

    def _batches(self) -> Iterator[dict[str, Any]]:
        """Yield the batches of one epoch as floats on the device."""
        try:
            yield from prefetch(self._loader, self._device, self._mode, self._gray_masks)
        except BasicsrError as error:
            raise type(error)(_without_traceback(str(error))) from error


def _without_traceback(text: str) -> str:
    """Return the message of an error without the traceback added by worker processes."""
    marker = 'Original Traceback (most recent call last):'
    if marker not in text:
        return text
    last = [line for line in text.splitlines() if line.startswith('basicsr.')][-1:]
    return last[0].split(': ', 1)[-1] if last else text
