"""Automatic masks of Segment Anything from a grid of points: the result of its own generator with less work."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from basicsr.masks.sam.decoder import PromptDecoder
from basicsr.masks.sam.upsampling import RegionUpsampler, Upsampler
from basicsr.utils.device import to_device


@dataclass(frozen=True)
class AutomaticMasks:
    """The masks of a photo, best predicted quality first.

    Args:
        planes: (K, H, W) boolean.
        quality: (K,) float32, predicted overlap with the ground truth.
        stability: (K,) float32, overlap of the masks of a slightly higher and a slightly lower threshold.
        boxes: (K, 4) int64, x0, y0, x1, y1 of the outermost pixels.
        points: (K, 2) float64, x, y of the prompt of each mask, in pixels of the photo.
    """

    planes: NDArray[np.bool_]
    quality: NDArray[np.float32]
    stability: NDArray[np.float32]
    boxes: NDArray[np.int64]
    points: NDArray[np.float64]


class FastAutomaticMasks:
    """``segment_anything.SamAutomaticMaskGenerator`` without crops and without the removal of small regions.

    In float32, masks and their order are the same. Masks are filtered by predicted quality before they are made,
    kept as the network's small logits, and enlarged at the end only if they are kept.

    Args:
        sam: the network, in evaluation mode, on its device.
        points_per_side: the square root of the number of points of the grid.
        points_per_batch: points decoded at once; smaller values need less memory.
        pred_iou_thresh: masks of a lower predicted quality are dropped; 0 or less keeps all.
        stability_score_thresh: masks of a lower stability are dropped; 0 or less keeps all.
        box_nms_thresh: of two masks whose boxes overlap more, the worse one is dropped.
        dtype: torch.bfloat16 for the encoder and all large products of the decoder, or torch.float32.
    """

    def __init__(
        self,
        sam: Any,
        points_per_side: int = 32,
        points_per_batch: int = 64,
        pred_iou_thresh: float = 0.88,
        stability_score_thresh: float = 0.95,
        box_nms_thresh: float = 0.7,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        from segment_anything.utils.transforms import ResizeLongestSide

        self.sam, self.dtype = sam, dtype
        self._resize = ResizeLongestSide(sam.image_encoder.img_size)
        self.decoder = PromptDecoder(sam, dtype)
        self.points_per_batch = points_per_batch
        self.min_quality = pred_iou_thresh if pred_iou_thresh > 0 else -torch.inf
        self.min_stability = stability_score_thresh if stability_score_thresh > 0 else None
        self.box_nms_thresh = box_nms_thresh
        middles = np.linspace(1 / (2 * points_per_side), 1 - 1 / (2 * points_per_side), points_per_side)
        self._grid = np.stack(np.meshgrid(middles, middles), -1).reshape(-1, 2)

    def generate(self, image: NDArray[np.uint8]) -> AutomaticMasks:
        """Make the masks of a photo (H, W, 3) RGB uint8."""
        return self.generate_all([image])[0]

    @torch.no_grad()
    def generate_all(self, images: Sequence[NDArray[np.uint8]]) -> list[AutomaticMasks]:
        """Make the masks of photos (H, W, 3) RGB uint8 of any sizes, which are encoded together."""
        features, sizes = self._encode(images)
        return [self._masks(image, one[None], size) for image, one, size in zip(images, features, sizes, strict=True)]

    def _encode(self, images: Sequence[NDArray[np.uint8]]) -> tuple[Tensor, list[tuple[int, int]]]:
        """Return the features (N, 256, 64, 64) of photos, and their (H, W) in the network's input."""
        device = self.sam.device
        inputs = [
            to_device(torch.from_numpy(self._resize.apply_image(image)).permute(2, 0, 1), device) for image in images
        ]
        batch = torch.stack([self.sam.preprocess(image) for image in inputs])
        with torch.autocast(device.type, self.dtype) if self.dtype != torch.float32 else nullcontext():
            features = self.sam.image_encoder(batch)
        return features, [(image.shape[1], image.shape[2]) for image in inputs]

    def _masks(self, image: NDArray[np.uint8], features: Tensor, input_size: tuple[int, int]) -> AutomaticMasks:
        """Make the masks of a photo with these features."""
        self.decoder.set_image(features)
        height, width = image.shape[:2]
        kind = RegionUpsampler if self.sam.device.type == 'cpu' else Upsampler
        upsampler = kind(self.sam, input_size, (height, width))
        points = self._grid * (width, height)
        scale = input_size[1] / width, input_size[0] / height
        batches = [
            self._stable_masks(torch.from_numpy(points[start:][: self.points_per_batch] * scale), start, upsampler)
            for start in range(0, len(points), self.points_per_batch)
        ]
        logits, quality, stability, boxes, prompt = (torch.cat(parts) for parts in zip(*batches, strict=True))
        kept = self._without_duplicates(boxes, quality)
        return AutomaticMasks(
            upsampler.planes(logits[kept]),
            quality[kept].cpu().numpy(),
            stability[kept].cpu().numpy(),
            boxes[kept].cpu().numpy(),
            points[prompt[kept].cpu().numpy()],
        )

    def _stable_masks(self, points: Tensor, start: int, upsampler: Upsampler) -> tuple[Tensor, ...]:
        """Return logits, quality, stability, boxes and index of the point for the stable masks of a batch of points."""
        found = self.decoder.decode(points, self.min_quality)
        stability, boxes = upsampler.measure(found.logits)
        of_all = found.logits, found.quality, stability, boxes, found.prompt + start
        if self.min_stability is None:
            return of_all
        stable = stability >= self.min_stability
        return tuple(values[stable] for values in of_all)

    def _without_duplicates(self, boxes: Tensor, quality: Tensor) -> Tensor:
        """Return the indices of the masks to keep, best first, by non-maximum suppression of their boxes."""
        from torchvision.ops import batched_nms

        kept: Tensor = batched_nms(boxes.float(), quality, torch.zeros_like(quality), self.box_nms_thresh)
        return kept
