"""The endless stream of training batches, and its position for resuming."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from torch.utils.data import Dataset

from basicsr.data import build_dataloader, collate, to_floats
from basicsr.data.bad_images import SkipBadImages
from basicsr.data.prefetch import prefetch
from basicsr.training.distributed import Processes
from basicsr.training.stages import Stage
from basicsr.utils.device import free_memory
from basicsr.utils.errors import BasicsrError, DataError
from basicsr.utils.loader_options import LoaderOptions

logger = logging.getLogger(__name__)


class TrainingData:
    """Training batches on the device, step by step.

    Args:
        datasets: the training set of each stage, of :func:`basicsr.data.build_dataset`.
        opt: options of the data set; ``batch_size_per_gpu`` is that of the stage.
        stages: of the training; the last one does not end.
        processes: this process among those of the job.
        seed: of the order of samples.
        skip_bad: replace unreadable images by others; otherwise they are an error.
        gray_masks: whether masks are gray masks.
        mask_dropout: fraction of the masks to drop; None leaves that to the network.

    Attributes:
        done: number of steps done.
        epoch: number of the epoch.
        consumed: samples of the epoch used so far, over all processes.
        skipped: number of unreadable samples of this process.
    """

    def __init__(
        self,
        datasets: Sequence[Dataset[Any]],
        opt: LoaderOptions,
        stages: Sequence[Stage],
        processes: Processes,
        seed: int,
        skip_bad: bool = False,
        gray_masks: bool = False,
        mask_dropout: float | None = None,
    ) -> None:
        self._datasets, self._opt, self._stages = datasets, opt, stages
        self._processes, self._seed, self._skip_bad = processes, seed, skip_bad
        self._gray_masks, self._mask_dropout = gray_masks, mask_dropout
        self.done = self.epoch = self.consumed = self.skipped = 0
        self._enter(0)

    @property
    def stage(self) -> Stage:
        """The present stage."""
        return self._stages[self._number]

    @property
    def steps_per_epoch(self) -> int:
        """Number of complete steps per epoch, with the batch size of the present stage."""
        return int(self._sampler.total) // self.stage.batching.total

    def resume_at(self, done: int, epoch: int, consumed: int) -> None:
        """Continue within an epoch, or with the next epoch if this one is now shorter.

        Args:
            done: number of steps done.
            epoch: number of the epoch.
            consumed: samples of the epoch used so far, over all processes.
        """
        self._enter(next((n for n, stage in enumerate(self._stages) if done <= stage.end), len(self._stages) - 1))
        if consumed > int(self._sampler.total):  # the data set is smaller than that of the checkpoint
            logger.warning('an epoch now has %d samples, the checkpoint used %d; continuing with the next epoch',
                           self._sampler.total, consumed)  # fmt: skip
            epoch, consumed = epoch + 1, 0
        self.done, self.epoch, self.consumed = done, epoch, consumed

    def steps(self) -> Generator[list[dict[str, Any]], None, None]:
        """Yield the batches of each step.

        A new stage continues the epoch with the samples that it has not used yet.

        Raises:
            BasicsrError: a sample cannot be read; the message contains its path.
        """
        while True:
            with closing(self._steps_of_stage()) as steps:
                while not self._ended:
                    batches = next(steps)
                    self.done += 1
                    self.consumed += self.stage.batching.total
                    yield batches
            self._enter(self._number + 1)
            logger.info('from step %d on: %s', self.done + 1, self.stage)

    def example(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """Return a batch of copies of one sample on the device: as many as in training, but two at most on a CPU."""
        at_once, device = self.stage.batching.at_once, self._processes.device
        count = at_once if device.type == 'cuda' else min(2, at_once)
        return to_floats(collate([item] * count, self._mask_dropout), device, self._gray_masks)

    def close(self) -> None:
        """Stop the worker processes."""
        workers: Any = getattr(self._loader, '_iterator', None)
        if hasattr(workers, '_shutdown_workers'):
            workers._shutdown_workers()

    @property
    def _ended(self) -> bool:
        """Whether the present stage is done, and another one follows."""
        return self._number + 1 < len(self._stages) and self.done >= self.stage.end

    def _enter(self, number: int) -> None:
        """Load the samples of a stage from now on."""
        if hasattr(self, '_loader'):
            self.close()
            free_memory(self._processes.device)  # that of smaller patches is in pieces
        self._number = number
        self._dataset: Any = self._datasets[number]
        batching = self.stage.batching
        self._loader = build_dataloader(
            SkipBadImages(self._dataset) if self._skip_bad else self._dataset,
            self._opt.model_copy(update={'batch_size_per_gpu': batching.at_once}),
            'train',
            self._processes.world,
            self._processes.rank,
            self._seed,
            batching.per_process,
            self._processes.device,
            self._mask_dropout,
        )
        self._sampler: Any = self._loader.sampler

    def _steps_of_stage(self) -> Generator[list[dict[str, Any]], None, None]:
        """Yield the batches of each step of the present stage, without end."""
        batching = self.stage.batching
        if not self.steps_per_epoch:
            samples = len(self._dataset)
            raise DataError(f'the training set has {samples} samples, fewer than one global batch ({batching.total})')
        while True:
            if self.consumed >= self._sampler.length * self._sampler.ratio:  # the previous stage used all samples
                self.epoch, self.consumed = self.epoch + 1, 0
            self._sampler.set_epoch(self.epoch, self.consumed)
            if hasattr(self._dataset, 'set_epoch'):
                self._dataset.set_epoch(self.epoch)
            group: list[dict[str, Any]] = []
            for batch in self._batches():
                for problem in filter(None, batch.get('skipped', ())):
                    self.skipped += 1
                    logger.warning('skipped (%d so far): %s', self.skipped, problem)
                group.append(batch)
                if len(group) == batching.accumulation:
                    yield group
                    group = []
            self.epoch, self.consumed = self.epoch + 1, 0

    def _batches(self) -> Iterator[dict[str, Any]]:
        """Yield the batches of one epoch as floats on the device."""
        try:
            yield from prefetch(self._loader, self._processes.device, self._opt.prefetch_mode, self._gray_masks)
        except BasicsrError as error:
            raise type(error)(_without_traceback(str(error))) from error


def _without_traceback(text: str) -> str:
    """Return the message of an error without the traceback added by worker processes."""
    marker = 'Original Traceback (most recent call last):'
    if marker not in text:
        return text
    last = [line for line in text.splitlines() if line.startswith('basicsr.')][-1:]
    return last[0].split(': ', 1)[-1] if last else text
