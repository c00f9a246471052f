"""Segment Anything (arXiv 2304.02643): its automatic mask generator with the settings of SAM-Deblur."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from basicsr.masks.generator import MaskGenerator
from basicsr.masks.label_map import label_map_from_masks
from basicsr.masks.sam.automatic import AutomaticMasks, FastAutomaticMasks
from basicsr.utils.device import fast_bfloat16, select_device, warn_of_slow_bfloat16
from basicsr.utils.errors import OptionError, WeightsError
from basicsr.utils.files import sha256_of
from basicsr.utils.registry import MASK_GENERATOR_REGISTRY
from basicsr.utils.signature import File, NotNegative, Positive
from basicsr.weights.files import Weights, load_weights, read_weights


@MASK_GENERATOR_REGISTRY.register(name='sam')
class SamGenerator(MaskGenerator):
    """Overlapping masks from a grid of points, best predicted overlap first; the defaults are the original's.

    Args:
        checkpoint: weights of Segment Anything, ``sam_vit_h_4b8939.pth`` or a smaller one.
        model: which network the checkpoint holds: vit_h, vit_l or vit_b; auto looks.
        device: auto, cpu, cuda, cuda:1 or mps.
        channel_order: ``rgb``, which the network was trained with, or ``bgr``, which the original fed it.
        points_per_side: the grid has the square of so many points.
        points_per_batch: points decoded at once; fewer need less memory.
        pred_iou_thresh: masks whose predicted overlap is smaller are dropped.
        stability_score_thresh: masks that change more with the cut-off are dropped.
        box_nms_thresh: of masks whose boxes overlap more, the better one stays.
        crop_n_layers: also look at crops of the photo, on so many scales.
        min_mask_region_area: smaller holes and islands are removed, in pixels.
        dtype: ``fp32`` gives the masks of the ``segment-anything`` package; ``bf16`` is faster where the processor has
            AMX or AVX512-BF16, or on a GPU, and moves outlines a little; ``auto`` is bf16 where it is faster.

    Crops and the removal of small regions are left to the package's own generator; all else is made faster here, with
    the same result (:class:`~basicsr.masks.sam.automatic.FastAutomaticMasks`).

    Raises:
        WeightsError: the checkpoint cannot be read, or is of another size.
        OptionError: no such device, or bf16 together with crops or the removal of small regions.
    """

    name: ClassVar[str] = 'sam'

    def __init__(
        self,
        checkpoint: File,
        model: Literal['vit_h', 'vit_l', 'vit_b', 'auto'] = 'vit_h',
        device: str = 'auto',
        channel_order: Literal['rgb', 'bgr'] = 'rgb',
        points_per_side: Positive = 32,
        points_per_batch: Positive = 64,
        pred_iou_thresh: float = 0.88,
        stability_score_thresh: float = 0.95,
        box_nms_thresh: float = 0.7,
        crop_n_layers: NotNegative = 0,
        min_mask_region_area: NotNegative = 0,
        dtype: Literal['fp32', 'bf16', 'auto'] = 'fp32',
    ) -> None:
        from segment_anything import sam_model_registry

        weights = read_weights(checkpoint, param_key=None)
        model = (_size_of(weights) or 'vit_h') if model == 'auto' else model
        network = sam_model_registry[model]()
        try:
            load_weights(network, weights)
        except WeightsError as error:
            held = _size_of(weights)
            advice = f'it holds {held}: set model: {held}' if held else 'does `model` say its size?'
            raise WeightsError(f'{checkpoint} is no {model} of Segment Anything; {advice}. {error}') from error
        thresholds: dict[str, Any] = {
            'points_per_side': points_per_side,
            'pred_iou_thresh': pred_iou_thresh,
            'stability_score_thresh': stability_score_thresh,
            'box_nms_thresh': box_nms_thresh,
            'crop_n_layers': crop_n_layers,
            'min_mask_region_area': min_mask_region_area,
        }
        self._bgr = channel_order == 'bgr'
        network = network.eval().to(select_device(device))
        by_package = crop_n_layers > 0 or min_mask_region_area > 0
        half = dtype == 'bf16' or (dtype == 'auto' and not by_package and fast_bfloat16(network.device))
        if dtype == 'bf16':
            warn_of_slow_bfloat16(network.device, 'dtype: bf16')
        if half and by_package:
            raise OptionError('dtype: bf16 goes with crop_n_layers: 0 and min_mask_region_area: 0 only; use fp32')
        make = _package_generator if by_package else _own_generator
        self._generator = make(network, points_per_batch, thresholds, half)
        self._settings = {
            'type': self.name,
            'model': model,
            'checkpoint': sha256_of(Path(checkpoint)),
            'channel_order': channel_order,
            **thresholds,
            **({'dtype': 'bf16'} if half else {}),
            'segment-anything': version('segment-anything'),
        }

    def label_map(self, image: NDArray[np.uint8]) -> NDArray[np.integer[Any]]:
        """As few layers as the overlaps need; ids in the generator's order, 1 the best."""
        found = self._generator.generate(np.ascontiguousarray(image[..., ::-1]) if self._bgr else image)
        if isinstance(found, AutomaticMasks):
            return label_map_from_masks(found.planes)
        planes = [mask['segmentation'] for mask in found]
        return label_map_from_masks(np.array(planes, np.bool_).reshape(-1, *image.shape[:2]))

    @property
    def settings(self) -> dict[str, Any]:
        """Thresholds, network, channel order and the hash of the weights."""
        return dict(self._settings)


def _size_of(weights: Weights) -> Literal['vit_b', 'vit_l', 'vit_h'] | None:
    """The published network that a file holds, by the width of its image encoder."""
    patches = weights.state.get('image_encoder.patch_embed.proj.weight')
    sizes: dict[int, Literal['vit_b', 'vit_l', 'vit_h']] = {768: 'vit_b', 1024: 'vit_l', 1280: 'vit_h'}
    return None if patches is None else sizes.get(len(patches))


def _own_generator(network: Any, points_per_batch: int, thresholds: dict[str, Any], half: bool) -> Any:
    import torch

    wanted = {key: value for key, value in thresholds.items() if key not in ('crop_n_layers', 'min_mask_region_area')}
    dtype = torch.bfloat16 if half else torch.float32
    return FastAutomaticMasks(network, points_per_batch=points_per_batch, dtype=dtype, **wanted)


def _package_generator(network: Any, points_per_batch: int, thresholds: dict[str, Any], half: bool) -> Any:
    from segment_anything import SamAutomaticMaskGenerator

    return SamAutomaticMaskGenerator(network, points_per_batch=points_per_batch, **thresholds)
