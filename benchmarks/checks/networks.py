"""The networks that checks and benchmarks run, tiny or as published, with their transcriptions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from basicsr.archs import build_network
from benchmarks import transcriptions, transcriptions_pair, transcriptions_rsst
from benchmarks.networks import PUBLISHED

LEVELS = {'width': 8, 'enc_blk_nums': [1, 1], 'dec_blk_nums': [1, 1]}
_KERNEL = {'max_kernel_size': [21, 21]}
_TINY_ANALYSIS = {
    **_KERNEL, 'n_levels': 2, 'conv_block_size': 1, 'conv_block_n_features': 8, 'cc_num_of_in_features': 4,
    'n_upsampling_features': 8, 'n_conv_filters_before_output': [4],
}  # fmt: skip
_TINY_SYNTHESIS = {**_KERNEL, 'n_levels': 2, 'conv_block_n_features': 8}
TINY: dict[str, dict[str, Any]] = {
    'NAFNet': {'type': 'NAFNet', **LEVELS},
    'LaKDNet': {'type': 'LaKDNet', 'dim': 8, 'num_blocks': [1, 1, 1, 1]},
    'RSST': {'type': 'RSST', 'base_channel': 8, 'win_size': [2, 4], 'trans_type': 'rsst', 'depths': [2, 1, 1, 1] * 2},
    'AnalysisSynthesisNet': {
        'type': 'AnalysisSynthesisNet',
        'analysis': {'type': 'AnalysisNet', **_TINY_ANALYSIS},
        'synthesis': {'type': 'SynthesisNet', **_TINY_SYNTHESIS},
    },
    'PhotoUNet': {'type': 'PhotoUNet', 'width': 8},
}
FULL: dict[str, dict[str, Any]] = {
    'NAFNet': {'type': 'NAFNet', **PUBLISHED},
    'LaKDNet': {'type': 'LaKDNet', 'dim': 32, 'num_blocks': [8, 12, 12, 16]},
    'RSST': {'type': 'RSST', 'win_size': [4, 16], 'trans_type': 'rsst'},
    'AnalysisSynthesisNet': {'type': 'AnalysisSynthesisNet'},
    'PhotoUNet': {'type': 'PhotoUNet'},
}
PLAIN: dict[str, Callable[[Any, Tensor], Any]] = {
    'NAFNet': transcriptions.nafnet,
    'LaKDNet': transcriptions.lakdnet,
    'RSST': transcriptions_rsst.rsst,
    'AnalysisSynthesisNet': transcriptions_pair.analysis_synthesis,
}


def random_network(block: dict[str, Any], seed: int = 0) -> nn.Module:
    """Return a network with random weights, including residual scales and last layers, whose initial value is zero."""
    torch.manual_seed(seed)
    net = build_network(block)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith(('beta', 'gamma')) or not parameter.any():
                parameter.normal_(0, 0.3 if parameter.dim() != 1 or name.endswith(('beta', 'gamma')) else 0.02)
    return net.eval()
