"""Every registered network at its smallest, with inputs."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from basicsr.archs import build_network
from tests.helpers.tiny_pairs import TINY_ANALYSIS, TINY_SYNTHESIS

LEVELS = {'width': 4, 'enc_blk_nums': [1, 1], 'dec_blk_nums': [1, 1]}


SMALL: dict[str, dict[str, Any]] = {
    'NAFNet': LEVELS,
    'NAFNetLocal': {**LEVELS, 'train_size': [1, 3, 16, 16]},
    'SegNAFNet': LEVELS,
    'SegNAFNetLocal': {**LEVELS, 'train_size': [1, 3, 16, 16]},
    'PhotoUNet': {'width': 4, 'blocks': [1, 1, 1]},
    'PlainUNet': {'width': 4},
    'SAMDeblur': {'backbone': {'type': 'NAFNet', **LEVELS}},
    'LaKDNet': {'dim': 4, 'num_blocks': [1, 1, 1, 1], 'mix_kernel_size': [3, 3, 5, 3]},
    'RSST': {'base_channel': 4, 'win_size': [2, 4], 'trans_type': 'rsst', 'depths': [2, 1, 1, 1, 1, 1, 1, 1]},
    'AnalysisNet': {key: value for key, value in TINY_ANALYSIS.items() if key != 'type'},
    'SynthesisNet': {key: value for key, value in TINY_SYNTHESIS.items() if key != 'type'},
    'AnalysisSynthesisNet': {'analysis': TINY_ANALYSIS, 'synthesis': TINY_SYNTHESIS},
}


MASK_GUIDED = ['SegNAFNet', 'SegNAFNetLocal', 'SAMDeblur']


def small(name: str, seed: int = 0, **more: Any) -> nn.Module:
    """A small network with random residual scales and last layers: fresh ones are zero and hide every branch."""
    torch.manual_seed(seed)
    net = build_network({'type': name, **SMALL[name], **more})
    for key, parameter in net.named_parameters():
        if key.endswith(('beta', 'gamma')) or (key.endswith('weight') and not parameter.any()):
            nn.init.normal_(parameter, 0, 0.3)
    return net.eval()


def result_of(output: torch.Tensor | list[torch.Tensor]) -> torch.Tensor:
    """The restored image: what a network returns, or the last of several."""
    return output if isinstance(output, torch.Tensor) else output[-1]


def inputs(name: str, height: int, width: int, batch: int = 2) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(1)
    lq = torch.rand(batch, 3, height, width)
    if name in ('AnalysisNet', 'SynthesisNet'):
        lq = lq * 255
    if name == 'SynthesisNet':
        return lq, torch.rand(batch, *TINY_SYNTHESIS['max_kernel_size']) / 30
    if name not in MASK_GUIDED:
        return (lq,)
    return lq, torch.randint(0, 5, (batch, 1, height, width))
