"""Image quality metrics, as functions of two images and as classes that score records."""

from basicsr.metrics.accumulator import Accumulator
from basicsr.metrics.arrays import luma_of_bgr
from basicsr.metrics.average import Average, average
from basicsr.metrics.best_shift import (
    calculate_kernel_similarity,
    calculate_psnr_best_shift,
    calculate_ssim_best_shift,
    find_best_shift,
)
from basicsr.metrics.build import build_metric, calculate_metric
from basicsr.metrics.gaussian import channel_mixing_matrix, gaussian_taps
from basicsr.metrics.mcr import calculate_mcr, is_collapsed, mode_collapse_rate
from basicsr.metrics.metric import Metric, Score
from basicsr.metrics.psnr import calculate_psnr
from basicsr.metrics.realblur import Alignment, align, psnr_realblur, ssim_realblur
from basicsr.metrics.record import Record
from basicsr.metrics.ssim import calculate_ssim

__all__ = [
    'Accumulator',
    'Alignment',
    'Average',
    'Metric',
    'Record',
    'Score',
    'align',
    'average',
    'build_metric',
    'calculate_kernel_similarity',
    'calculate_mcr',
    'calculate_metric',
    'calculate_psnr',
    'calculate_psnr_best_shift',
    'calculate_ssim',
    'calculate_ssim_best_shift',
    'channel_mixing_matrix',
    'find_best_shift',
    'gaussian_taps',
    'is_collapsed',
    'luma_of_bgr',
    'mode_collapse_rate',
    'psnr_realblur',
    'ssim_realblur',
]
