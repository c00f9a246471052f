"""Validation during training, with the images shared by all processes."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from basicsr.evaluation.scoring import ScoredImage, Unreadable, evaluate, images_of, warn_of_missing
from basicsr.masks.mask_images import eight_bits, overlay
from basicsr.metrics import Metric, average, build_metric
from basicsr.options import Options
from basicsr.options.schema_train import ValOptions
from basicsr.training.distributed import Processes
from basicsr.training.loggers import RunLog
from basicsr.utils.errors import MetricError, OptionError

logger = logging.getLogger(__name__)


def validate(
    model: Any,
    dataset: Any,
    metrics: Mapping[str, Metric],
    processes: Processes,
    options: ValOptions | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    show: Callable[[ScoredImage], None] = lambda image: None,
) -> dict[str, float] | None:
    """Return the mean scores over a data set.

    Args:
        model: restores batches.
        dataset: of pairs.
        metrics: by label.
        processes: process k mod world restores image k.
        options: number of images, tiling, and the policy for unreadable images.
        should_stop: called after every round of images.
        show: called with every image of this process.

    Returns:
        the means over all images by label, the same in every process; None if ``should_stop`` returned True in one.

    Raises:
        BasicsrError: an image cannot be read, or an output cannot be scored.
    """
    options = options or ValOptions()
    rounds = range(0, images_of(dataset, options), processes.world)
    scores = torch.full((len(metrics), len(rounds)), math.nan, dtype=torch.float64)  # NaN for images not scored
    results = evaluate(model, dataset, metrics, processes, options)
    for place, _ in enumerate(rounds):
        if any(processes.any(should_stop())):
            results.close()
            return None
        result = next(results, None)
        if isinstance(result, Unreadable):
            logger.warning('validation skips %s: %s', result.name, result.error)
        elif result is not None:
            values = [result.row.scores[label] for label in metrics]
            if any(map(math.isnan, values)):
                raise MetricError(f'{result.row.name}: a score is NaN: {dict(result.row.scores)}')
            scores[:, place] = torch.tensor(values, dtype=torch.float64)
            show(result)
    gathered = torch.cat(processes.gather(scores), 1).tolist() if metrics else []
    means = {}
    for label, values in zip(metrics, gathered, strict=True):
        mean = average(value for value in values if not math.isnan(value)).mean
        if mean is None:
            raise MetricError(f'{label}: no image was scored; is the data set empty?')
        means[label] = mean
    return means


class Validation:
    """The validation sets of an option file, and the selection of the best network.

    Args:
        options: uses ``val``, ``logger`` and the data sets.
        datasets: by key, in the order of validation.
        samples: the first sample of each data set.
        model: restores batches.
        processes: this process among those of the job.
        folder: for the images of ``val.save_img``.

    Attributes:
        pending: whether a validation is due and was not finished.
        best: the best score of ``logger.best_metric`` so far; None before the first one.

    Raises:
        OptionError: a data set has no ground truth for a metric, or ``logger.best_metric`` cannot be computed here.
    """

    def __init__(
        self,
        options: Options,
        datasets: Mapping[str, Any],
        samples: Mapping[str, Any],
        model: Any,
        processes: Processes,
        folder: Path,
    ) -> None:
        self._options, self._datasets, self._model = options, dict(datasets), model
        self._processes, self._folder = processes, folder
        self._shown = options.logger.images if options.logger.use_tb_logger else 0
        self.pending = False
        self.best: float | None = None
        metrics = {label: build_metric(block, options.val.use_image) for label, block in options.val.metrics.items()}
        warn_of_missing(metrics)
        self._metrics = {label: metric for label, metric in metrics.items() if not metric.missing}
        best = options.logger.best_metric
        if best is not None and best not in self._metrics:
            raise OptionError(f'logger.best_metric: {best} cannot be scored here: {metrics[best].missing}')
        for key in self._datasets:
            for label, metric in self._metrics.items():
                if 'gt' in metric.reads and 'gt' not in samples[key]:
                    raise OptionError(f'val.metrics.{label}: datasets.{key} has no ground truth to compare with')

    def is_due(self, iteration: int) -> bool:
        """Return whether the option file asks for a validation after that step."""
        val, train = self._options.val, self._options.train
        last = train is not None and iteration == train.total_iter
        due = iteration % val.val_freq == 0 or last or (iteration == 1 and val.validate_first)
        return due and bool(self._datasets)

    def run(self, iteration: int, log: RunLog | None, should_stop: Callable[[], bool]) -> bool | None:
        """Validate on every set and log the scores.

        Args:
            iteration: training steps done.
            log: of the first process.
            should_stop: called after every round of images.

        Returns:
            whether the network is the best so far; None if ``should_stop`` interrupted the validation.
        """
        self.pending = True
        results: list[tuple[str, dict[str, float], dict[int, NDArray[np.uint8]]]] = []
        for key, dataset in self._datasets.items():
            images: dict[int, NDArray[np.uint8]] = {}

            def show(image: ScoredImage, images: dict[int, NDArray[np.uint8]] = images) -> None:
                name, index = image.row.name, image.row.index
                if self._options.val.save_img:
                    image.save(self._folder / name / f'{Path(name).name}_{iteration}.png')
                if index < self._shown:
                    images[index] = panel(image)

            scores = validate(
                self._model, dataset, self._metrics, self._processes, self._options.val, should_stop, show
            )
            if scores is None:
                return None
            results.append((self._options.datasets[key].name, scores, images))
        self.pending = False
        for name, scores, images in results:  # not earlier: an interrupted validation is repeated, and logged once
            if log is not None:
                log.scores(iteration, name, scores)
            for index in range(self._shown):  # the same images for any number of processes
                image = self._processes.from_rank(index % self._processes.world, images.get(index))
                if log is not None and image is not None:
                    log.image(iteration, f'{name}/{index}', image)
        return bool(results) and self._is_best(results[0][1])

    def _is_best(self, scores: Mapping[str, float]) -> bool:
        """Return whether scores on the first set are the best so far, and keep them if so."""
        label = self._options.logger.best_metric
        if label is None:
            return False
        score, higher = scores[label], self._metrics[label].higher_is_better
        if self.best is not None and not (score > self.best if higher else score < self.best):
            return False
        self.best = score
        return True

    @property
    def _criterion(self) -> dict[str, Any] | None:
        """The criterion that selects the best network, as plain values: data set, label and metric."""
        label = self._options.logger.best_metric
        if label is None or not self._datasets:
            return None
        first = self._options.datasets[next(iter(self._datasets))].name
        return {'dataset': first, 'label': label, 'metric': self._options.val.metrics[label].as_dict()}

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint, as plain values."""
        return {'best': self.best, 'best_metric': self._criterion, 'validation_pending': self.pending}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state of a checkpoint; if the criterion changed, start the selection over."""
        self.pending, self.best = bool(state.get('validation_pending')), state.get('best')
        if self.best is not None and state.get('best_metric', self._criterion) != self._criterion:
            logger.warning('the best network so far was selected by a different metric; starting the selection over')
            self.best = None


def panel(image: ScoredImage) -> NDArray[np.uint8]:
    """Return input, output, target and the regions over the input, side by side: (H, W, 3) uint8 RGB."""
    record = image.record
    shown = [array for array in (record.lq, record.output_uint8, record.gt) if array is not None]
    channels = record.array('output_uint8').shape[2]
    parts = [eight_bits(array[..., -channels:]) for array in shown]  # several views: the last one
    if image.labels is not None:
        parts.append(overlay(parts[0], image.labels))
    return np.concatenate(parts, 1)
