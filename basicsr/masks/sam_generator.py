"""The automatic mask generator of Segment Anything (arXiv 2304.02643) with the settings of SAM-Deblur."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from basicsr.masks.generator import MaskGenerator
from basicsr.masks.label_map import label_map_from_masks
from basicsr.masks.sam.automatic import FastAutomaticMasks
from basicsr.utils.device import fast_bfloat16, select_device, warn_of_slow_bfloat16
from basicsr.utils.errors import OptionError, WeightsError
from basicsr.utils.files import sha256_of
from basicsr.utils.registry import MASK_GENERATOR_REGISTRY
from basicsr.utils.signature import File, NotNegative, Positive
from basicsr.weights.files import Weights, load_weights, read_weights

_THREADS_OF_GPU = 3  # one for the network, one that reads, one that writes
_BY_PACKAGE = ('crop_n_layers', 'min_mask_region_area')  # only the package's generator has these


@MASK_GENERATOR_REGISTRY.register(name='sam')
class SamGenerator(MaskGenerator):
    """Overlapping masks from a grid of points, best predicted overlap first, with the defaults of SAM-Deblur.

    Args:
        checkpoint: weights of Segment Anything, ``sam_vit_h_4b8939.pth`` or those of a smaller network.
        model: network of the checkpoint: vit_h, vit_l, vit_b, or auto to detect it.
        device: auto, cpu, cuda, cuda:1 or mps.
        channel_order: ``rgb``, as in training of the network, or ``bgr``, as in SAM-Deblur.
        points_per_side: the square root of the number of points of the grid.
        points_per_batch: points decoded at once; smaller values need less memory.
        pred_iou_thresh: masks with a smaller predicted overlap are dropped.
        stability_score_thresh: masks with a smaller stability score are dropped.
        box_nms_thresh: of two masks whose boxes overlap more, the worse one is dropped.
        crop_n_layers: number of scales of additional crops of the photo.
        min_mask_region_area: in pixels; smaller holes and islands are removed.
        dtype: ``fp32`` gives the masks of the ``segment-anything`` package; ``bf16`` is faster on a GPU or a processor
            with AMX or AVX512-BF16, and slightly changes outlines; ``auto`` is bf16 if it is faster.

    The package's generator processes crops and small regions; otherwise a faster one gives the same result
    (:class:`~basicsr.masks.sam.automatic.FastAutomaticMasks`).

    Raises:
        WeightsError: the checkpoint cannot be read, or is of a different size.
        OptionError: an unavailable device, or bf16 with crops or the removal of small regions.
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
        import torch
        from segment_anything import SamAutomaticMaskGenerator, sam_model_registry

        weights = read_weights(checkpoint, param_key=None)
        model = (_size_of(weights) or 'vit_h') if model == 'auto' else model
        network = sam_model_registry[model]()
        try:
            load_weights(network, weights)
        except WeightsError as error:
            held = _size_of(weights)
            advice = f'it contains {held}: set model: {held}' if held else 'check `model`'
            raise WeightsError(f'{checkpoint} is not a {model} of Segment Anything; {advice}. {error}') from error
        thresholds: dict[str, Any] = {
            'points_per_side': points_per_side,
            'pred_iou_thresh': pred_iou_thresh,
            'stability_score_thresh': stability_score_thresh,
            'box_nms_thresh': box_nms_thresh,
            'crop_n_layers': crop_n_layers,
            'min_mask_region_area': min_mask_region_area,
        }
        self._bgr, self._lock = channel_order == 'bgr', threading.Lock()
        network = network.eval().to(select_device(device))
        self.threads = 1 if network.device.type == 'cpu' else _THREADS_OF_GPU
        by_package = any(thresholds[key] > 0 for key in _BY_PACKAGE)
        half = dtype == 'bf16' or (dtype == 'auto' and not by_package and fast_bfloat16(network.device))
        if dtype == 'bf16':
            warn_of_slow_bfloat16(network.device, 'dtype: bf16')
        if half and by_package:
            raise OptionError('dtype: bf16 needs crop_n_layers: 0 and min_mask_region_area: 0; use fp32')
        if by_package:
            self._generator: Any = SamAutomaticMaskGenerator(network, points_per_batch=points_per_batch, **thresholds)
        else:
            own = {key: value for key, value in thresholds.items() if key not in _BY_PACKAGE}
            own['dtype'] = torch.bfloat16 if half else torch.float32
            self._generator = FastAutomaticMasks(network, points_per_batch=points_per_batch, **own)
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
        """Make as few layers as the overlaps need; ids in the generator's order, 1 is the best."""
        return self.all_of([image])[0]

    def all_of(self, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.integer[Any]]]:
        """Return the label maps of several photos, which are encoded together."""
        ordered = [np.ascontiguousarray(image[..., ::-1]) if self._bgr else image for image in images]
        with self._lock:  # the label maps are made while the network works for another thread
            if isinstance(self._generator, FastAutomaticMasks):
                planes = [found.planes for found in self._generator.generate_all(ordered)]
            else:
                planes = [self._planes(image) for image in ordered]
        return [label_map_from_masks(each) for each in planes]

    def _planes(self, image: NDArray[np.uint8]) -> NDArray[np.bool_]:
        planes = [mask['segmentation'] for mask in self._generator.generate(image)]
        return np.array(planes, np.bool_).reshape(-1, *image.shape[:2])

    @property
    def settings(self) -> dict[str, Any]:
        """Thresholds, network, channel order and the hash of the weights."""
        return dict(self._settings)


def _size_of(weights: Weights) -> Literal['vit_b', 'vit_l', 'vit_h'] | None:
    """Return the published network of a file, by the width of its image encoder."""
    patches = weights.state.get('image_encoder.patch_embed.proj.weight')
    sizes: dict[int, Literal['vit_b', 'vit_l', 'vit_h']] = {768: 'vit_b', 1024: 'vit_l', 1280: 'vit_h'}
    return None if patches is None else sizes.get(len(patches))
