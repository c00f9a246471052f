"""From a ``type:`` block of an option file to a metric, under our names or those of BasicSR."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from basicsr.metrics.arrays import Image, InputOrder, swap_red_and_blue, to_hwc, unit_float
from basicsr.metrics.metric import Metric
from basicsr.metrics.record import Record
from basicsr.utils.errors import MetricError
from basicsr.utils.registry import METRIC_REGISTRY, BlockLike, plain_block

METRIC_OF_FUNCTION = {'calculate_psnr': 'psnr', 'calculate_ssim': 'ssim', 'calculate_mcr': 'mcr'}


def build_metric(opt: BlockLike, rounded: bool = True) -> Metric:
    """Build the metric that a block names; the block is left as it is.

    Args:
        opt: ``type`` ('psnr', 'ssim', ..., or 'calculate_psnr' etc. as BasicSR's files write) and keyword arguments.
        rounded: what metrics score that can do both and whose block says nothing about it: rounded images, or outputs
            before that (``val.use_image: false``).

    Raises:
        ArgumentError: missing ``type``, unknown or unfit arguments.
        UnknownNameError: no metric of that name.
        MetricError: a registered function that has no metric class, or ``input_order: CHW`` (records are HWC).

    Example:
        >>> build_metric({'type': 'calculate_ssim', 'crop_border': 0, 'test_y_channel': False}).variant
        'SSIM 3-D'
    """
    options = plain_block(opt, 'metric')
    name = options.get('type')
    if name in METRIC_OF_FUNCTION:
        options['type'] = METRIC_OF_FUNCTION[name]
        if options.pop('input_order', 'HWC') != 'HWC':
            raise MetricError(f'{name}: images of an evaluation are HWC; remove input_order from its block')
    elif name is not None and not _is_metric_class(METRIC_REGISTRY.get(name)):
        raise MetricError(f"'{name}' is a function without a metric class; it can be used by calculate_metric only")
    name = options.get('type')
    if not rounded and name is not None and 'rounded' in inspect.signature(METRIC_REGISTRY.get(name)).parameters:
        options.setdefault('rounded', False)
    metric: Metric = METRIC_REGISTRY.build(options)
    return metric


def calculate_metric(data: Mapping[str, Any] | Record, opt: BlockLike) -> float:
    """Score one image, as BasicSR's function of that name.

    Args:
        data: a Record, or a dict with ``img``, ``img2`` and, where the metric needs it, ``lq``: arrays or tensors in
            any form that ``calculate_psnr`` takes, three channels in BGR order (it matters for luma only).
        opt: ``type`` and keyword arguments; it is left as it is.

    Returns:
        the score in the metric's unit.

    Raises:
        ArgumentError: missing ``type``, unknown or unfit arguments.
        UnknownNameError: no metric of that name.
        MetricError: the images cannot be scored.

    Example:
        >>> import numpy as np
        >>> images = {'img': np.zeros((8, 8, 3), np.uint8), 'img2': np.full((8, 8, 3), 9, np.uint8)}
        >>> round(calculate_metric(images, {'type': 'calculate_psnr', 'crop_border': 0}), 3)
        29.046
    """
    if isinstance(data, Record):
        return build_metric(opt)(data).value
    _require_images(data, ('img', 'img2'))
    opt = plain_block(opt, 'metric')
    name = opt.get('type')
    if name is not None and not _is_metric_class(METRIC_REGISTRY.get(name)):
        if 'lq' in inspect.signature(METRIC_REGISTRY.get(name)).parameters:
            _require_images(data, ('lq',))
            return float(METRIC_REGISTRY.build(opt, **data))
        return float(METRIC_REGISTRY.build(opt, **{key: image for key, image in data.items() if key != 'lq'}))
    options = dict(opt)
    record = record_of_images(**data, input_order=options.pop('input_order', 'HWC'))
    return build_metric(options)(record).value


def record_of_images(img: Image, img2: Image, lq: Image | None = None, input_order: InputOrder = 'HWC') -> Record:
    """Make a record of images in BasicSR's form.

    Args:
        img: output, BGR if it has three channels, 8 bit, 16 bit or float in [0, 1].
        img2: ground truth.
        lq: blurred input.
        input_order: 'HWC' or 'CHW', of three-dimensional arrays.

    Raises:
        MetricError: something is not an image.
    """
    output = swap_red_and_blue(to_hwc(img, input_order, 'img'))
    return Record(
        output=unit_float(output, 'img'),
        output_uint8=output,
        gt=swap_red_and_blue(to_hwc(img2, input_order, 'img2')),
        lq=None if lq is None else swap_red_and_blue(to_hwc(lq, input_order, 'lq')),
    )


def _require_images(data: Mapping[str, Any], keys: tuple[str, ...]) -> None:
    for key in keys:
        if data.get(key) is None:
            raise MetricError(
                f"the data of a metric lack '{key}'; pass img (output), img2 (ground truth), lq (blurred)"
            )


def _is_metric_class(entry: Any) -> bool:
    return inspect.isclass(entry) and issubclass(entry, Metric)
