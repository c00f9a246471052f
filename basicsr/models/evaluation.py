"""Restoring and scoring the images of a data set: reading, network and metrics overlap, processes share the images."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from basicsr.data import collate, to_floats
from basicsr.metrics import Metric, Record, Score
from basicsr.metrics.arrays import unit_float
from basicsr.options.schema_train import ValOptions
from basicsr.training.distributed import Processes
from basicsr.utils.errors import BasicsrError, MetricError
from basicsr.utils.image import same_depth, tensor2img

Array = NDArray[Any]
_WAITING = 2  # images whose metrics are being computed while the network goes on


@dataclass(frozen=True)
class Evaluated:
    """One image after the network and the metrics.

    Args:
        index: position in the data set.
        name: of the image within its data set, sub-folders included, without extension.
        record: input, output and ground truth.
        labels: label map (L, H, W), or the gray picture (1, H, W); None without masks.
        scores: of the output, by label; empty without ground truth.
        input_scores: of the blurred input, by label.
        seconds: the network took.
        tile: side of the tiles; None for the whole image, 0 for the original's grid.
        group: of the image within its data set; empty without groups.
        kernel: (h, w) float32, the blur kernel that the network found; None by networks that find none.
    """

    index: int
    name: str
    record: Record
    labels: Array | None = None
    scores: Mapping[str, Score] = field(default_factory=dict)
    input_scores: Mapping[str, Score] = field(default_factory=dict)
    seconds: float = 0.0
    tile: int | None = None
    group: str = ''
    kernel: Array | None = None


@dataclass(frozen=True)
class Unreadable:
    """An image that cannot be read.

    Args:
        index: position in the data set.
        name: of the image.
        error: what is wrong.
    """

    index: int
    name: str
    error: Exception


def evaluate(
    model: Any,
    dataset: Any,
    metrics: Mapping[str, Metric],
    processes: Processes,
    options: ValOptions,
    with_input: bool = False,
) -> Generator[Evaluated | Unreadable, None, None]:
    """The images that are this process's share, in order: image k is done by process k mod world.

    The next image is read and the last ones are scored while the network works. Scores are computed from the output
    in float32 and from its rounding, whatever arithmetic the network uses.

    Args:
        model: with ``restore``, as ``ImageRestorationModel``.
        dataset: of :func:`basicsr.data.build_dataset`, for the phase 'val' or 'test'.
        metrics: by label; images without ground truth are not scored, nor are metrics that are ``missing``.
        processes: this process among those of the job.
        options: how images are cut, and how many there are.
        with_input: score the blurred input as well ("do nothing"), by the metrics that look at output and ground truth.

    Yields:
        one result for each image; images that cannot be read are results too.

    Raises:
        MetricError: an output cannot be scored (NaN).
    """
    metrics = {label: metric for label, metric in metrics.items() if not metric.missing}
    indices = range(processes.rank, images_of(dataset, options), processes.world)
    waiting: deque[Future[Evaluated]] = deque()
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(_WAITING) as scorer:
        coming = reader.submit(dataset.__getitem__, indices[0]) if indices else None
        for place, index in enumerate(indices):
            assert coming is not None  # noqa: S101 - for the type checker
            current = coming
            if place + 1 < len(indices):
                coming = reader.submit(dataset.__getitem__, indices[place + 1])
            try:
                item = current.result()
            except (BasicsrError, OSError) as error:
                yield from (waiting.popleft().result() for _ in range(len(waiting)))
                yield Unreadable(index, name_of(dataset, index), error)
                continue
            done = _restore(model, collate([item]), index, dataset, processes.device, options)
            waiting.append(scorer.submit(_score, done, metrics, with_input))
            if len(waiting) > _WAITING:
                yield waiting.popleft().result()
        yield from (future.result() for future in waiting)


def images_of(dataset: Any, options: ValOptions) -> int:
    """How many images are evaluated: all, or ``val.max_images``."""
    return min(len(dataset), options.max_images or len(dataset))


def name_of(dataset: Any, index: int) -> str:
    """The name of an image within its data set; a number for data that are made."""
    names = getattr(dataset, 'names', None)
    return str(names[index]) if names is not None else f'{index:06d}'


def _restore(
    model: Any, batch: dict[str, Any], index: int, dataset: Any, device: torch.device, options: ValOptions
) -> Evaluated:
    floats = to_floats(batch, device, gray_masks=model.prior == 'gray')
    _wait_for(device)
    start = time.perf_counter()
    restored = model.restore(floats, options)
    _wait_for(device)
    seconds = time.perf_counter() - start
    labels = batch['masks'][0].numpy() if 'masks' in batch else None
    record = record_of(batch, restored.image)
    groups = getattr(dataset, 'groups', ())
    return Evaluated(
        index,
        name_of(dataset, index),
        record,
        labels,
        seconds=seconds,
        tile=restored.tile,
        group=groups[index] if groups else '',
        kernel=None if restored.kernel is None else restored.kernel[0].float().cpu().numpy(),
    )


def record_of(batch: Mapping[str, Any], output: torch.Tensor) -> Record:
    """What metrics see of the only image of a batch.

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


def _score(done: Evaluated, metrics: Mapping[str, Metric], with_input: bool) -> Evaluated:
    record = done.record
    if record.gt is None:
        return done
    try:
        scores = {label: metric(record) for label, metric in metrics.items()}
    except MetricError as error:
        raise MetricError(f'{done.name}: {error}') from error
    input_scores = {}
    if with_input and record.lq is not None:
        nothing = Record(output=unit_float(record.lq, 'lq'), output_uint8=record.lq, gt=record.gt)
        input_scores = {label: metric(nothing) for label, metric in metrics.items() if 'lq' not in metric.reads}
    return replace(done, scores=scores, input_scores=input_scores)


def _wait_for(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
