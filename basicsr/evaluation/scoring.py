"""Restore and score the images of a data set; reading, network and metrics overlap, and processes share the images."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from basicsr.data import collate, to_floats
from basicsr.data.bad_images import first_sample
from basicsr.evaluation.reading import grouped, read_ahead
from basicsr.images.arrays import Array
from basicsr.images.files import imwrite, same_depth, tensor2img
from basicsr.inference.baselines import Run
from basicsr.metrics import Metric, Record
from basicsr.metrics.arrays import unit_float
from basicsr.metrics.mcr import COLLAPSED
from basicsr.models import ImageRestorationModel
from basicsr.models.data_fit import require_fit
from basicsr.options import Options
from basicsr.options.schema_train import ValOptions
from basicsr.reporting import ImageRow
from basicsr.training.distributed import Processes
from basicsr.utils.device import free_memory, is_out_of_memory, tf32
from basicsr.utils.errors import MetricError
from basicsr.utils.measure import timed

logger = logging.getLogger(__name__)

_MOST_READERS, _MOST_SCORERS = 4, 8


@dataclass(frozen=True)
class ScoredImage:
    """One restored image with its scores.

    Args:
        row: name, scores and all else that a report lists.
        record: input, output and ground truth.
        labels: label map (L, H, W), or the gray mask (1, H, W); None without masks.
        kernel: (h, w) float32, the blur kernel estimated by the network; None if it estimates none.
        baselines: results of other methods by name, float32 (H, W, C) in [0, 1].
    """

    row: ImageRow
    record: Record
    labels: Array | None = None
    kernel: Array | None = None
    baselines: Mapping[str, Array] = field(default_factory=dict)

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
        require_fit(model, f'datasets.{key}', dataset, samples[key])
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
    baselines: Mapping[str, Run] = MappingProxyType({}),
) -> Generator[ScoredImage | Unreadable, None, None]:
    """Restore and score the images of this process in order; process k mod world takes image k.

    While the network restores an image, the next ones are read and the previous ones are scored, by the threads of
    :func:`helpers_of`. GPUs do not round to TF32. Metrics see the output in float32 and its rounded form, whatever the
    precision of the network.

    Args:
        model: with ``restore``, as ``ImageRestorationModel``.
        dataset: of :func:`basicsr.data.build_dataset`, for the phase 'val' or 'test'.
        metrics: by label; images without ground truth are not scored, and metrics that are ``missing`` are ignored.
        processes: this process among those of the job.
        options: tiling, number of images, and the policy for unreadable images.
        with_input: also score the blurred input.
        baselines: also score these methods, by name; they run one image after the other.

    Yields:
        one result per image. With ``on_bad_image: skip``, unreadable images are results, too.

    Raises:
        BasicsrError: (or OSError) an image cannot be read, with ``on_bad_image: raise``.
        MetricError: an output cannot be scored (NaN).
    """
    metrics = {label: metric for label, metric in metrics.items() if not metric.missing}
    indices = range(processes.rank, images_of(dataset, options), processes.world)
    with_floats = processes.device.type == 'cpu' or any(metric.reads_floats for metric in metrics.values())
    readers, scorers = helpers_of(processes)
    waiting: deque[Future[ScoredImage]] = deque()
    with tf32(False), ThreadPoolExecutor(readers) as reader, ThreadPoolExecutor(scorers) as scorer:
        read = read_ahead(dataset, indices, reader, readers)
        for group in grouped(read, options.batch_size, processes.device):
            index, item = group[0]
            if isinstance(item, Exception):
                yield from (waiting.popleft().result() for _ in range(len(waiting)))
                if options.on_bad_image == 'raise':
                    raise item
                yield Unreadable(name_of(dataset, index), item)
                continue
            for restored in _restore(model, group, dataset, processes.device, options, with_floats):
                if baselines and restored.record.gt is not None:
                    restored = with_baselines(restored, baselines)
                waiting.append(scorer.submit(_score, restored, metrics, with_input))
            while len(waiting) > scorers:
                yield waiting.popleft().result()
        yield from (future.result() for future in waiting)


def helpers_of(processes: Processes) -> tuple[int, int]:
    """Return the number of threads that read images, and that score them.

    Few where the network needs the CPUs. Beside a GPU, one reads for two CPUs of the process, at most 4, and one scores
    for each CPU, at most 8: each of them holds images.
    """
    if processes.device.type == 'cpu':
        return 1, 2
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    own = cpus // max(1, min(processes.world, torch.cuda.device_count()))
    return max(1, min(_MOST_READERS, own // 2)), max(2, min(_MOST_SCORERS, own))


def images_of(dataset: Any, options: ValOptions) -> int:
    """Return the number of images to evaluate: all, or ``val.max_images``."""
    return min(len(dataset), options.max_images or len(dataset))


def name_of(dataset: Any, index: int) -> str:
    """Return the name of an image within its data set; its number for generated images."""
    names = getattr(dataset, 'names', None)
    return str(names[index]) if names is not None else f'{index:06d}'


def _restore(
    model: Any,
    group: list[tuple[int, Any]],
    dataset: Any,
    device: torch.device,
    options: ValOptions,
    with_floats: bool,
) -> Iterator[ScoredImage]:
    """Restore images of the same form together; one by one if they do not fit into memory together."""
    batch = collate([item for _, item in group])
    floats = to_floats(batch, device, gray_masks=model.prior == 'gray')
    how = options if len(group) == 1 else options.model_copy(update={'tile': None})
    try:
        restored, seconds = timed(lambda: model.restore(floats, how), device)
    except (RuntimeError, MemoryError) as error:
        if len(group) == 1 or not is_out_of_memory(error):
            raise
        restored = None
    if restored is None:  # outside the handler, where the error no longer holds tensors
        del batch, floats
        free_memory(device)
        for one in group:
            yield from _restore(model, [one], dataset, device, options, with_floats)
        return
    groups = getattr(dataset, 'groups', ())
    for place, (index, item) in enumerate(group):
        image = restored.image[place : place + 1]
        row = ImageRow(
            index,
            name_of(dataset, index),
            height=image.shape[-2],
            width=image.shape[-1],
            seconds=seconds / len(group),
            tiled=restored.tile is not None,
            group=groups[index] if groups else '',
        )
        labels = np.asarray(item['masks']) if 'masks' in item else None
        kernel = None if restored.kernel is None else restored.kernel[place].float().cpu().numpy()
        # Filters are bound by memory: GPUs of CUDA are faster even in float64. Those of Apple have no float64.
        record = record_of(batch, image, with_floats, place, str(device) if device.type == 'cuda' else 'cpu')
        record = replace(record, kernel=kernel)
        yield ScoredImage(row, record, labels, kernel)


def record_of(
    batch: Mapping[str, Any], output: torch.Tensor, with_floats: bool = True, place: int = 0, device: str = 'cpu'
) -> Record:
    """Return the input of the metrics for an image of a batch.

    Args:
        batch: of :func:`basicsr.data.collate`, integers.
        output: (1, C, H, W) float, of that image. It is rounded on its device.
        with_floats: also copy the output before rounding; otherwise, the record says whether it is finite.
        place: of the image in the batch.
        device: where costly metrics are computed.
    """
    lq, gt = (batch[key][place].permute(1, 2, 0).numpy() if key in batch else None for key in ('lq', 'gt'))
    lq = None if lq is None else lq[..., -output.shape[1] :]  # of several views the last is the image itself
    if lq is not None and gt is not None:
        lq, gt = same_depth(lq, gt)
    depth = np.uint16 if lq is not None and lq.dtype == np.uint16 else np.uint8
    rounded = tensor2img(output, rgb2bgr=False, out_type=depth)
    return Record(
        output=output[0].permute(1, 2, 0).float().cpu().numpy() if with_floats else None,
        finite=with_floats or bool(output.isfinite().all()),
        output_uint8=rounded[:, :, None] if rounded.ndim == 2 else rounded,
        gt=gt,
        lq=lq,
        true_kernel=batch['kernel'][place].numpy() if 'kernel' in batch else None,
        device=device,
    )


def with_baselines(image: ScoredImage, baselines: Mapping[str, Run]) -> ScoredImage:
    """Deblur the blurred input of an image by other methods."""
    lq = unit_float(image.record.array('lq'), 'lq').astype(np.float32)
    return replace(image, baselines={name: run(lq).image.clip(0, 1) for name, run in baselines.items()})


def _score(image: ScoredImage, metrics: Mapping[str, Metric], with_input: bool) -> ScoredImage:
    record = image.record
    if record.gt is None:
        return image
    try:
        scores = {label: metric(record) for label, metric in metrics.items()}
        baseline = _scores_of_input(record, metrics) if with_input and record.lq is not None else {}
        others = {name: _scores_of(output, record, metrics) for name, output in image.baselines.items()}
    except MetricError as error:
        raise MetricError(f'{image.row.name}: {error}') from error
    marks = [f'{label}: {mark}' for label, score in scores.items() for mark in score.marks if mark != COLLAPSED]
    values = {label: score.value for label, score in scores.items()}
    row = replace(image.row, scores=values, input_scores=baseline, marks=tuple(marks), baselines=others)
    return replace(image, row=row, baselines={})


def _scores_of_input(record: Record, metrics: Mapping[str, Metric]) -> dict[str, float]:
    """Score the blurred input as if it were the output."""
    lq, scored = record.array('lq'), {label: metric for label, metric in metrics.items() if metric.scores_input}
    floats = unit_float(lq, 'lq') if any(metric.reads_floats for metric in scored.values()) else None
    unchanged = replace(record, output=floats, output_uint8=lq, kernel=None, finite=True)
    return {label: metric(unchanged).value for label, metric in scored.items()}


def _scores_of(output: Array, record: Record, metrics: Mapping[str, Metric]) -> dict[str, float]:
    """Score the result of another method, float32 (H, W, C) in [0, 1], by all metrics that need no estimated kernel."""
    dtype = record.array('lq').dtype
    rounded = np.rint(output * np.float32(np.iinfo(dtype).max)).astype(dtype)
    other = replace(record, output=output, output_uint8=rounded, kernel=None, finite=True)
    return {label: metric(other).value for label, metric in metrics.items() if 'kernel' not in metric.reads}
