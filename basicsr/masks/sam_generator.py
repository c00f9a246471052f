"""Segment Anything (arXiv 2304.02643): its automatic mask generator with the settings of SAM-Deblur."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from basicsr.masks.generator import MaskGenerator
from basicsr.masks.label_map import label_map_from_masks
from basicsr.utils.device import select_device
from basicsr.utils.errors import WeightsError
from basicsr.utils.files import file_hash
from basicsr.utils.registry import MASK_GENERATOR_REGISTRY
from basicsr.utils.signature import NotNegative, Positive
from basicsr.utils.weights import load_weights, read_weights


@MASK_GENERATOR_REGISTRY.register(name='sam')
class SamGenerator(MaskGenerator):
    """Overlapping masks from a grid of points, best predicted overlap first; the defaults are the original's.

    Args:
        checkpoint: weights of Segment Anything, ``sam_vit_h_4b8939.pth`` or a smaller one.
        model: which network the checkpoint holds: vit_h, vit_l or vit_b.
        device: auto, cpu, cuda, cuda:1 or mps.
        channel_order: ``rgb``, which the network was trained with, or ``bgr``, which the original fed it.
        points_per_side: the grid has the square of so many points.
        points_per_batch: points decoded at once; fewer need less memory.
        pred_iou_thresh: masks whose predicted overlap is smaller are dropped.
        stability_score_thresh: masks that change more with the cut-off are dropped.
        box_nms_thresh: of masks whose boxes overlap more, the better one stays.
        crop_n_layers: also look at crops of the photo, on so many scales.
        min_mask_region_area: smaller holes and islands are removed, in pixels.
    """

    name: ClassVar[str] = 'sam'

    def __init__(
        self,
        checkpoint: str,
        model: Literal['vit_h', 'vit_l', 'vit_b'] = 'vit_h',
        device: str = 'auto',
        channel_order: Literal['rgb', 'bgr'] = 'rgb',
        points_per_side: Positive = 32,
        points_per_batch: Positive = 64,
        pred_iou_thresh: float = 0.88,
        stability_score_thresh: float = 0.95,
        box_nms_thresh: float = 0.7,
        crop_n_layers: NotNegative = 0,
        min_mask_region_area: NotNegative = 0,
    ) -> None:
        from segment_anything import SamAutomaticMaskGenerator, sam_model_registry

        weights = read_weights(checkpoint, param_key=None)
        network = sam_model_registry[model]()
        try:
            load_weights(network, weights)
        except WeightsError as error:
            raise WeightsError(
                f'{checkpoint} is no {model} of Segment Anything; does `model` say its size? {error}'
            ) from error
        thresholds = {
            'points_per_side': points_per_side,
            'pred_iou_thresh': pred_iou_thresh,
            'stability_score_thresh': stability_score_thresh,
            'box_nms_thresh': box_nms_thresh,
            'crop_n_layers': crop_n_layers,
            'min_mask_region_area': min_mask_region_area,
        }
        self._bgr = channel_order == 'bgr'
        self._generator = SamAutomaticMaskGenerator(
            network.eval().to(select_device(device)), points_per_batch=points_per_batch, **thresholds
        )
        self._settings = {
            'type': self.name,
            'model': model,
            'checkpoint': file_hash(Path(checkpoint)),
            'channel_order': channel_order,
            **thresholds,
            'segment-anything': version('segment-anything'),
        }

    def label_map(self, image: NDArray[np.uint8]) -> NDArray[np.integer[Any]]:
        """As few layers as the overlaps need; ids in the generator's order, 1 the best."""
        import torch

        with torch.inference_mode():
            found = self._generator.generate(np.ascontiguousarray(image[..., ::-1]) if self._bgr else image)
        if not found:
            return np.zeros((1, *image.shape[:2]), np.int32)
        return label_map_from_masks(np.stack([mask['segmentation'] for mask in found]).astype(np.bool_))

    @property
    def settings(self) -> dict[str, Any]:
        """Thresholds, network, channel order and the hash of the weights."""
        return dict(self._settings)
