"""Blur kernels: estimate them without weights, deconvolve with them, and tell when that helps."""

from basicsr.deconvolution.functions import BlurAssessment, assess_blur, deconvolve, estimate_kernel
from basicsr.deconvolution.kernels import read_kernel, save_kernel

__all__ = ['BlurAssessment', 'assess_blur', 'deconvolve', 'estimate_kernel', 'read_kernel', 'save_kernel']
