"""Build metrics from ``type:`` blocks of option files, with our names or those of BasicSR."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, cast

from basicsr.metrics.arrays import ImageLike, InputOrder, swap_red_and_blue, to_hwc, unit_float
from basicsr.metrics.metric import Metric
from basicsr.metrics.record import Record
from basicsr.utils.errors import MetricError
from basicsr.utils.registry import METRIC_REGISTRY, BlockLike, plain_block

METRIC_OF_FUNCTION = {
    'calculate_psnr': 'psnr',
    'calculate_ssim': 'ssim',
    'calculate_mcr': 'mcr',
    'calculate_psnr_best_shift': 'psnr_best_shift',
    'calculate_ssim_best_shift': 'ssim_best_shift',
}


def build_metric(opt: BlockLike, rounded: bool = True) -> Metric:
    """Build the metric of a block; the block is not modified.

    Args:
        opt: ``type`` ('psnr', 'ssim', ..., or 'calculate_psnr' etc. as in BasicSR's files) and keyword arguments.
        rounded: default of metrics that can score both: rounded images, or outputs before rounding
            (``val.use_image: false``).

    Raises:
        ArgumentError: missing ``type``, unknown or invalid arguments.
        UnknownNameError: unknown metric.
        MetricError: a registered function without a metric class, or ``input_order: CHW`` (records are HWC).

    Example:
        >>> build_metric({'type': 'calculate_ssim', 'crop_border': 0, 'test_y_channel': False}).variant
        'SSIM 3-D'
    """
    options = plain_block(opt, 'metric')
    name = options.get('type')
    if name in METRIC_OF_FUNCTION:
        options['type'] = METRIC_OF_FUNCTION[name]
        if options.pop('input_order', 'HWC') != 'HWC':
            raise MetricError(f'{name}: evaluations use HWC images; remove input_order from its block')
    elif name is not None and not _is_metric_class(METRIC_REGISTRY.get(name)):
        raise MetricError(f"'{name}' is a function without a metric class; only calculate_metric supports it")
    name = options.get('type')
    if not rounded and name is not None and 'rounded' in inspect.signature(METRIC_REGISTRY.get(name)).parameters:
        options.setdefault('rounded', False)
    return cast(Metric, METRIC_REGISTRY.build(options))


def calculate_metric(data: Mapping[str, Any] | Record, opt: BlockLike) -> float:
    """Score one image, as BasicSR's function of the same name.

    Args:
        data: a Record, or a dict with ``img``, ``img2`` and, where the metric needs it, ``lq``: arrays or tensors as
            for ``calculate_psnr``, with three channels in BGR order (relevant for luma only).
        opt: ``type`` and keyword arguments; it is not modified.

    Returns:
        the score in the metric's unit.

    Raises:
        ArgumentError: missing ``type``, unknown or invalid arguments.
        UnknownNameError: unknown metric.
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
    record = record_of_images(**data, input_order=opt.pop('input_order', 'HWC'))
    return build_metric(opt)(record).value


def record_of_images(
    img: ImageLike, img2: ImageLike, lq: ImageLike | None = None, input_order: InputOrder = 'HWC'
) -> Record:
    """Create a record from images in BasicSR's format.

    Args:
        img: output, BGR if it has three channels, 8 bit, 16 bit or float in [0, 1].
        img2: ground truth.
        lq: blurred input.
        input_order: 'HWC' or 'CHW', for three-dimensional arrays.

    Raises:
        MetricError: an argument is not an image.
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
            text = 'pass img (output), img2 (ground truth), lq (blurred)'
            raise MetricError(f"the data of a metric have no '{key}'; {text}")


def _is_metric_class(entry: Any) -> bool:
    return inspect.isclass(entry) and issubclass(entry, Metric)
