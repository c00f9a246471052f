"""Scores of a network on a validation set, its images shared by all processes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from basicsr.data import collate, to_floats
from basicsr.masks.pictures import overlay
from basicsr.metrics import Accumulator, Metric, build_metric
from basicsr.models.evaluation import record_of
from basicsr.options import Options
from basicsr.training.distributed import Processes
from basicsr.training.loggers import RunLog
from basicsr.utils.errors import OptionError
from basicsr.utils.image import imwrite, tensor2img

logger = logging.getLogger(__name__)


def validate(
    model: Any,
    dataset: Any,
    metrics: Mapping[str, Metric],
    processes: Processes,
    max_images: int | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    show: Callable[[int, Mapping[str, Any], torch.Tensor], None] = lambda number, batch, output: None,
) -> dict[str, float] | None:
    """Mean scores over a data set.

    Args:
        model: restores batches.
        dataset: of pairs.
        metrics: by label.
        processes: image k is restored by process k mod world.
        max_images: only so many, the first.
        should_stop: asked after every round of images.
        show: gets each image's number, batch and output.

    Returns:
        the means over all images by label, the same in every process; None if one of them was to stop.
    """
    count = min(len(dataset), max_images or len(dataset))
    totals = {label: Accumulator(metric) for label, metric in metrics.items()}
    for start in range(0, count, processes.world):
        if any(processes.any(should_stop())):
            return None
        number = start + processes.rank
        if number < count:
            batch = collate([dataset[number]])
            floats = to_floats(batch, processes.device, gray_masks=model.prior == 'gray')
            output = model.restore(floats)
            record = record_of(batch, output)
            for total in totals.values():
                total.update(record)
            show(number, batch, output)
    for total in totals.values():
        total.sync()
    return {label: total.compute() for label, total in totals.items()}


class Validation:
    """The validation sets of an option file, and what becomes of their scores.

    Args:
        options: whose ``val``, ``logger`` and data sets are used.
        datasets: by key; those that are there are validated, in this order.
        model: restores batches.
        processes: this process among those of the job.
        folder: of the pictures that ``val.save_img`` asks for.

    Raises:
        OptionError: a data set lacks what the metrics compare with.
    """

    def __init__(
        self, options: Options, datasets: Mapping[str, Any], model: Any, processes: Processes, folder: Path
    ) -> None:
        self._options, self._datasets, self._model = options, dict(datasets), model
        self._processes, self._folder = processes, folder
        metrics = {label: build_metric(block) for label, block in options.val.metrics.items()}
        self._metrics = {label: metric for label, metric in metrics.items() if not metric.missing}
        for label in metrics.keys() - self._metrics.keys():
            logger.warning('val.metrics.%s is not scored: %s', label, metrics[label].missing)
        for key, dataset in self._datasets.items():
            item = dataset[0]
            for label, metric in self._metrics.items():
                if 'gt' in metric.reads and 'gt' not in item:
                    raise OptionError(f'val.metrics.{label}: datasets.{key} has no ground truth to compare with')

    def is_due(self, iteration: int) -> bool:
        """Whether the option file asks for a validation after that step."""
        val, train = self._options.val, self._options.train
        last = train is not None and iteration == train.total_iter
        due = iteration % val.val_freq == 0 or last or (iteration == 1 and val.validate_first)
        return due and bool(self._datasets)

    def run(self, iteration: int, log: RunLog | None, should_stop: Callable[[], bool]) -> dict[str, float] | None:
        """Validate on every set and log the scores.

        Args:
            iteration: training steps done.
            log: of the first process.
            should_stop: asked after every round of images.

        Returns:
            the scores on the first set; None if it was to stop.
        """
        results = []
        for key, dataset in self._datasets.items():
            name = self._options.datasets[key].name

            def show(number: int, batch: Mapping[str, Any], output: torch.Tensor, name: str = name) -> None:
                if self._options.val.save_img:
                    stem = Path(batch['lq_path'][0]).stem
                    path = self._folder / stem / f'{stem}_{iteration}.png'
                    path.parent.mkdir(parents=True, exist_ok=True)
                    imwrite(path, tensor2img(output, rgb2bgr=False))
                if log is not None and number // self._processes.world < self._options.logger.images:
                    log.picture(iteration, f'{name}/{number}', picture(batch, output, self._model.prior))

            scores = validate(
                self._model, dataset, self._metrics, self._processes, self._options.val.max_images, should_stop, show
            )
            if scores is None:
                return None
            if log is not None:
                log.scores(iteration, name, scores)
            results.append(scores)
        return results[0]

    def is_better(self, score: float, best: float | None) -> bool:
        """Whether a score of ``logger.best_metric`` is better than the best so far."""
        metric = self._metrics[self._options.logger.best_metric or '']
        return best is None or (score > best if metric.higher_is_better else score < best)


def picture(batch: Mapping[str, Any], output: torch.Tensor, prior: str) -> NDArray[np.uint8]:
    """Input, output, target and the regions over the input, side by side: (H, W, 3) uint8 RGB."""
    parts = [_eight_bits(batch['lq'][:, -output.shape[1] :]), tensor2img(output, rgb2bgr=False)]
    if 'gt' in batch:
        parts.append(_eight_bits(batch['gt']))
    parts = [np.repeat(part[..., None], 3, 2) if part.ndim == 2 else part for part in parts]
    if prior == 'regions':
        parts.append(overlay(parts[0], batch['masks'][0].numpy()))
    return np.concatenate(parts, 1)


def _eight_bits(image: torch.Tensor) -> NDArray[np.uint8]:
    shown: NDArray[np.uint8] = tensor2img(to_floats({'lq': image}, 'cpu')['lq'], rgb2bgr=False)
    return shown
