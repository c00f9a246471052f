"""Networks with known results for Deblurrer."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from basicsr.archs import build_network
from basicsr.archs.input_rule import InputRule
from basicsr.masks.generator import MaskGenerator

NETWORK = {'type': 'SegNAFNet', 'width': 4, 'seg_channel': 2, 'enc_blk_nums': [1, 1], 'dec_blk_nums': [1, 1]}


def network(block=NETWORK, residual=0.02, seed=0):
    """One that changes pictures a little, and differently under other masks."""
    torch.manual_seed(seed)
    net = build_network(block).eval()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith(('beta', 'gamma')):
                parameter.normal_(0, 0.3)
        if hasattr(net, 'ending'):
            net.ending.weight.normal_().mul_(residual)
    return net


class Thirds(MaskGenerator):
    """Three vertical stripes; counts how often it is asked."""

    name = 'thirds'

    def __init__(self):
        self.asked = []

    def label_map(self, image):
        self.asked.append(image)
        height, width = image.shape[:2]
        return np.broadcast_to(np.arange(width) * 3 // width + 1, (1, height, width))

    @property
    def settings(self):
        return {'type': self.name}


class Moody(nn.Module):
    """Leaves pictures alone, but collapses as it is told to."""

    input_rule = InputRule(halo=0)
    img_channel = in_channels = 3

    def __init__(self, collapses):
        super().__init__()
        self.collapses = collapses
        self.calls = 0

    def forward(self, lq):
        self.calls += 1
        output = lq.clone()
        if self.collapses(lq):
            output[..., :64, :64] = 1 - lq[..., :64, :64].round()
        return output
