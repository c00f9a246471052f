"""Scores of a network on a validation set, its images shared by all processes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from basicsr.data.bad_images import first_sample
from basicsr.evaluation.scoring import Evaluated, Unreadable, evaluate, images_of
from basicsr.images.files import imwrite
from basicsr.masks.pictures import eight_bits, overlay
from basicsr.metrics import Accumulator, Metric, build_metric
from basicsr.options import Options
from basicsr.options.schema_train import ValOptions
from basicsr.training.distributed import Processes
from basicsr.training.loggers import RunLog
from basicsr.utils.errors import OptionError

logger = logging.getLogger(__name__)


def validate(
    model: Any,
    dataset: Any,
    metrics: Mapping[str, Metric],
    processes: Processes,
    options: ValOptions | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    show: Callable[[Evaluated], None] = lambda result: None,
) -> dict[str, float] | None:
    """Mean scores over a data set.

    Args:
        model: restores batches.
        dataset: of pairs.
        metrics: by label.
        processes: image k is restored by process k mod world.
        options: how many images, how they are cut, and what becomes of those that cannot be read.
        should_stop: asked after every round of images.
        show: gets every image of this process.

    Returns:
        the means over all images by label, the same in every process; None if one of them was to stop.

    Raises:
        BasicsrError: an image cannot be read, or an output not be scored.
    """
    options = options or ValOptions()
    totals = {label: Accumulator(metric) for label, metric in metrics.items()}
    results = evaluate(model, dataset, metrics, processes, options)
    for _ in range(0, images_of(dataset, options), processes.world):
        if any(processes.any(should_stop())):
            results.close()
            return None
        result = next(results, None)
        if isinstance(result, Unreadable):
            if options.on_bad_image == 'raise':
                raise result.error
            logger.warning('validation leaves out %s: %s', result.name, result.error)
        elif result is not None:
            for label, total in totals.items():
                total.add(result.scores[label])
            show(result)
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
        OptionError: a data set lacks what the metrics compare with, or the best network is chosen by a metric that
            cannot be scored here.
    """

    def __init__(
        self, options: Options, datasets: Mapping[str, Any], model: Any, processes: Processes, folder: Path
    ) -> None:
        self._options, self._datasets, self._model = options, dict(datasets), model
        self._processes, self._folder = processes, folder
        self._shown = options.logger.images if options.logger.use_tb_logger else 0
        metrics = {label: build_metric(block, options.val.use_image) for label, block in options.val.metrics.items()}
        self._metrics = {label: metric for label, metric in metrics.items() if not metric.missing}
        for label in metrics.keys() - self._metrics.keys():
            logger.warning('val.metrics.%s is not scored: %s', label, metrics[label].missing)
        best = options.logger.best_metric
        if best is not None and best not in self._metrics:
            raise OptionError(f'logger.best_metric: {best} cannot be scored here: {metrics[best].missing}')
        for key, dataset in self._datasets.items():
            item = first_sample(dataset, options.val.on_bad_image == 'skip')
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
        results: list[tuple[str, dict[str, float], dict[int, NDArray[np.uint8]]]] = []
        for key, dataset in self._datasets.items():
            pictures: dict[int, NDArray[np.uint8]] = {}

            def show(result: Evaluated, pictures: dict[int, NDArray[np.uint8]] = pictures) -> None:
                if self._options.val.save_img:
                    path = self._folder / result.name / f'{Path(result.name).name}_{iteration}.png'
                    path.parent.mkdir(parents=True, exist_ok=True)
                    imwrite(path, result.record.array('output_uint8'))
                if result.index < self._shown:
                    pictures[result.index] = picture(result)

            scores = validate(
                self._model, dataset, self._metrics, self._processes, self._options.val, should_stop, show
            )
            if scores is None:
                return None
            results.append((self._options.datasets[key].name, scores, pictures))
        for name, scores, pictures in results:  # an interrupted validation is made up for later, and told of once
            if log is not None:
                log.scores(iteration, name, scores)
            for index in range(self._shown):  # the same pictures for any number of processes
                image = self._processes.from_rank(index % self._processes.world, pictures.get(index))
                if log is not None and image is not None:
                    log.picture(iteration, f'{name}/{index}', image)
        return results[0][1]

    @property
    def chosen_by(self) -> dict[str, Any] | None:
        """What decides which network is best, as plain values: data set, label and metric; None chooses none."""
        label = self._options.logger.best_metric
        if label is None or not self._datasets:
            return None
        first = self._options.datasets[next(iter(self._datasets))].name
        return {'dataset': first, 'label': label, 'metric': self._options.val.metrics[label].as_dict()}

    def is_better(self, score: float, best: float | None) -> bool:
        """Whether a score of ``logger.best_metric`` is better than the best so far."""
        metric = self._metrics[self._options.logger.best_metric or '']
        return best is None or (score > best if metric.higher_is_better else score < best)


def picture(result: Evaluated) -> NDArray[np.uint8]:
    """Input, output, target and the regions over the input, side by side: (H, W, 3) uint8 RGB."""
    record = result.record
    shown = [image for image in (record.lq, record.output_uint8, record.gt) if image is not None]
    channels = record.array('output_uint8').shape[2]
    parts = [eight_bits(image[..., -channels:]) for image in shown]  # several views: the last one
    if result.labels is not None:
        parts.append(overlay(parts[0], result.labels))
    return np.concatenate(parts, 1)
