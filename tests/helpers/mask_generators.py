"""Mask generators for tests: a fixed partition, and a tiny Segment Anything."""

from __future__ import annotations

import numpy as np

from basicsr.masks import (
    MaskGenerator,
)


class Halves(MaskGenerator):
    """Left and right half: a third party's generator in a few lines."""

    name = 'halves'

    def __init__(self, share: float = 0.5) -> None:
        self.share = share
        self.calls = 0

    def label_map(self, image):
        self.calls += 1
        labels = np.ones((1, *image.shape[:2]), np.int32)
        labels[:, :, int(self.share * image.shape[1]) :] = 2
        return labels

    @property
    def settings(self):
        return {'type': self.name, 'share': self.share}


OPEN = {'pred_iou_thresh': -1e9, 'stability_score_thresh': -1.0, 'box_nms_thresh': 1.0, 'points_per_side': 4}
