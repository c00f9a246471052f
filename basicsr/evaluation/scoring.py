"""Restore and score the images of a data set; reading, network and metrics overlap, and processes share the images."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Generator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from basicsr.data import collate, to_floats
from basicsr.data.bad_images import first_sample
from basicsr.images.arrays import Array
from basicsr.images.files import imwrite, same_depth, tensor2img
from basicsr.metrics import Metric, Record
from basicsr.metrics.arrays import unit_float
from basicsr.metrics.mcr import COLLAPSED
from basicsr.models import ImageRestorationModel
from basicsr.options import Options
from basicsr.options.schema_train import ValOptions
from basicsr.reporting import ImageRow
from basicsr.training.distributed import Processes
from basicsr.utils.errors import BasicsrError, MetricError

logger = logging.getLogger(__name__)

_WAITING = 2  # images whose metrics are computed while the network restores the next ones


@dataclass(frozen=True)
class ScoredImage:
    """One restored image with its scores.

    Args:
        row: name, scores and all else that a report lists.
        record: input, output and ground truth.
        labels: label map (L, H, W), or the gray mask (1, H, W); None without masks.
        kernel: (h, w) float32, the blur kernel estimated by the network; None if it estimates none.
    """

    row: ImageRow
    record: Record
    labels: Array | None = None
    kernel: Array | None = None

    def save(self, path: Path) -> None:
        """Write the rounded output; create the folder if needed."""
        path.parent.mkdir(parents=True, exist_ok=True)
        imwrite(path, self.record.array('output_uint8'))


@dataclass(frozen=True)
class Unreadable:
    """An image that cannot be read.

    Args:
        name: of the image.
        error: the reason.
    """

    name: str
    error: Exception


def samples_that_fit(model: ImageRestorationModel, options: Options, datasets: Mapping[str, Any]) -> dict[str, Any]:
    """Return the first readable sample of each data set, after checking that it has the masks that the network needs.

    Args:
        model: of the option file.
        options: with the policies for unreadable images.
        datasets: by key.

    Raises:
        OptionError: a data set does not fit the network.
        BasicsrError: (or OSError) an image cannot be read.
    """
    samples = {}
    for key, dataset in datasets.items():
        train = options.train if key == 'train' else None
        policy = options.val.on_bad_image if train is None else train.on_bad_image
        samples[key] = first_sample(dataset, policy == 'skip')
        model.require_fit(f'datasets.{key}', dataset, samples[key])
    return samples


def warn_of_missing(metrics: Mapping[str, Metric]) -> None:
    """Log the metrics that cannot be computed on this machine."""
    for label, metric in metrics.items():
        if metric.missing:
            logger.warning('val.metrics.%s is not scored: %s', label, metric.missing)


def evaluate(
    model: Any,
    dataset: Any,
    metrics: Mapping[str, Metric],
    processes: Processes,
    options: ValOptions,
    with_input: bool = False,
) -> Generator[ScoredImage | Unreadable, None, None]:
    """Restore and score the images of this process in order; process k mod world takes image k.

    While the network restores an image, the next one is read and the previous ones are scored. Metrics see the output
    in float32 and its rounded form, whatever the precision of the network.

    Args:
        model: with ``restore``, as ``ImageRestorationModel``.
        dataset: of :func:`basicsr.data.build_dataset`, for the phase 'val' or 'test'.
        metrics: by label; images without ground truth are not scored, and metrics that are ``missing`` are ignored.
        processes: this process among those of the job.
        options: tiling, number of images, and the policy for unreadable images.
        with_input: also score the blurred input, as the baseline.

    Yields:
        one result per image. With ``on_bad_image: skip``, unreadable images are results, too.

    Raises:
        BasicsrError: (or OSError) an image cannot be read, with ``on_bad_image: raise``.
        MetricError: an output cannot be scored (NaN).
    """
    metrics = {label: metric for label, metric in metrics.items() if not metric.missing}
    indices = range(processes.rank, images_of(dataset, options), processes.world)
    waiting: deque[Future[ScoredImage]] = deque()
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(_WAITING) as scorer:
        reading = deque(reader.submit(dataset.__getitem__, index) for index in indices[:1])
        for place, index in enumerate(indices, 1):
            reading.extend(reader.submit(dataset.__getitem__, following) for following in indices[place : place + 1])
            try:
                item = reading.popleft().result()
            except (BasicsrError, OSError) as error:
                yield from (waiting.popleft().result() for _ in range(len(waiting)))
                if options.on_bad_image == 'raise':
                    raise
                yield Unreadable(name_of(dataset, index), error)
                continue
            restored = _restore(model, collate([item]), index, dataset, processes.device, options)
            waiting.append(scorer.submit(_score, restored, metrics, with_input))
            if len(waiting) > _WAITING:
                yield waiting.popleft().result()
        yield from (future.result() for future in waiting)


def images_of(dataset: Any, options: ValOptions) -> int:
    """Return the number of images to evaluate: all, or ``val.max_images``."""
    return min(len(dataset), options.max_images or len(dataset))


def name_of(dataset: Any, index: int) -> str:
    """Return the name of an image within its data set; its number for generated images."""
    names = getattr(dataset, 'names', None)
    return str(names[index]) if names is not None else f'{index:06d}'


def _restore(
    model: Any, batch: dict[str, Any], index: int, dataset: Any, device: torch.device, options: ValOptions
) -> ScoredImage:
    floats = to_floats(batch, device, gray_masks=model.prior == 'gray')
    _synchronize(device)
    start = time.perf_counter()
    restored = model.restore(floats, options)
    _synchronize(device)
    seconds = time.perf_counter() - start
    groups = getattr(dataset, 'groups', ())
    row = ImageRow(
        index,
        name_of(dataset, index),
        height=restored.image.shape[-2],
        width=restored.image.shape[-1],
        seconds=seconds,
        tiled=restored.tile is not None,
        group=groups[index] if groups else '',
    )
    labels = batch['masks'][0].numpy() if 'masks' in batch else None
    kernel = None if restored.kernel is None else restored.kernel[0].float().cpu().numpy()
    return ScoredImage(row, record_of(batch, restored.image), labels, kernel)


def record_of(batch: Mapping[str, Any], output: torch.Tensor) -> Record:
    """Return the input of the metrics for a batch of one image.

    Args:
        batch: of :func:`basicsr.data.collate`, integers.
        output: (1, C, H, W) float.
    """
    lq, gt = (batch[key][0].permute(1, 2, 0).numpy() if key in batch else None for key in ('lq', 'gt'))
    lq = None if lq is None else lq[..., -output.shape[1] :]  # of several views the last is the image itself
    if lq is not None and gt is not None:
        lq, gt = same_depth(lq, gt)
    depth = np.uint16 if lq is not None and lq.dtype == np.uint16 else np.uint8
    rounded = tensor2img(output, rgb2bgr=False, out_type=depth)
    return Record(
        output=output[0].permute(1, 2, 0).float().cpu().numpy(),
        output_uint8=rounded[:, :, None] if rounded.ndim == 2 else rounded,
        gt=gt,
        lq=lq,
    )


def _score(image: ScoredImage, metrics: Mapping[str, Metric], with_input: bool) -> ScoredImage:
    record = image.record
    if record.gt is None:
        return image
    try:
        scores = {label: metric(record) for label, metric in metrics.items()}
    except MetricError as error:
        raise MetricError(f'{image.row.name}: {error}') from error
    baseline = {}
    if with_input and record.lq is not None:
        unchanged = Record(unit_float(record.lq, 'lq'), record.lq, record.gt, record.lq)
        baseline = {label: metric(unchanged).value for label, metric in metrics.items() if metric.scores_input}
    marks = [f'{label}: {mark}' for label, score in scores.items() for mark in score.marks if mark != COLLAPSED]
    values = {label: score.value for label, score in scores.items()}
    return replace(image, row=replace(image.row, scores=values, input_scores=baseline, marks=tuple(marks)))


def _synchronize(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
