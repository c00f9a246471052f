"""Blur larger than the largest kernel: kernels are estimated on a smaller copy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from basicsr.data.camera_shake import CameraShake, shaken_photo
from basicsr.data.exposure import to_uint8
from basicsr.deconvolution.blind import SIZES
from basicsr.deconvolution.photos import find_blur, with_kernels
from basicsr.images.files import imread
from basicsr.metrics import calculate_psnr_best_shift
from basicsr.preparation.synthetic_sets import photo_file

pytestmark = [pytest.mark.numeric, pytest.mark.slow]


def test_blur_larger_than_a_kernel_is_undone_on_a_smaller_copy():
    gt = imread(photo_file('astronaut'), channels=3)
    shake = CameraShake(gt.shape[:2], 85.0, np.random.default_rng(0), translation_only=True)
    lq = shaken_photo(gt, shake)
    planes = torch.from_numpy(lq).permute(2, 0, 1) / 255
    blur = find_blur(planes)
    assert blur.scale == 0.5 and len(blur.used) == 1
    assert blur.used[0].kernel.shape[-1] <= SIZES[-1][-1]
    result = to_uint8(with_kernels(planes, blur).permute(1, 2, 0).numpy())
    before, after = (calculate_psnr_best_shift(image, gt, max_shift=12, crop_border=20) for image in (lq, result))
    assert after > before + 2
