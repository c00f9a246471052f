"""Vectors of SAMDeblur around networks that its authors never tried, from the formulas written plainly.

``python -m tests.helpers.backbone_vectors`` writes tests/fixtures/samdeblur_backbones/. Inputs have closed forms and
weights have seeds, so the files are small; results come from benchmarks/transcriptions*.py in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from basicsr.archs import build_network
from benchmarks import transcriptions, transcriptions_pair, transcriptions_rsst
from tests.helpers.project import ROOT
from tests.helpers.tiny_pairs import TINY

FOLDER = ROOT / 'tests' / 'fixtures' / 'samdeblur_backbones'
CASES: dict[str, tuple[dict[str, Any], Any, tuple[int, int]]] = {
    'nafnet': (
        {'type': 'NAFNet', 'width': 4, 'enc_blk_nums': [1, 1], 'dec_blk_nums': [1, 1]},
        transcriptions.nafnet,
        (29, 38),
    ),
    'lakdnet': (
        {'type': 'LaKDNet', 'dim': 4, 'num_blocks': [1, 1, 1, 1], 'mix_kernel_size': [3, 3, 5, 7]},
        transcriptions.lakdnet,
        (29, 38),
    ),
    'rsst': (  # a size without padding, which attention would have to be told of
        {'type': 'RSST', 'base_channel': 4, 'win_size': [2, 4], 'trans_type': 'rsst', 'depths': [2] * 8},
        transcriptions_rsst.rsst,
        (32, 64),
    ),
    'analysis_synthesis': (TINY, transcriptions_pair.analysis_synthesis, (29, 38)),
}
"""Backbone, its formula, image size."""


def network(name: str) -> Any:
    """SAMDeblur around a small backbone, its parameters random numbers of a generator whose stream never changes."""
    net = build_network({'type': 'SAMDeblur', 'backbone': CASES[name][0]}).double().eval()
    for number, (key, parameter) in enumerate(sorted(net.named_parameters())):
        values = torch.from_numpy(np.random.RandomState(number).standard_normal(parameter.shape))
        gain = 2 if name == 'analysis_synthesis' else 1 / 3  # it has no norms and no residual that keep values in range
        if 'pre_seg' in key and name == 'rsst':
            gain = 100  # a prior that is seen beside the numbers of the rows
        scale = (gain / parameter[0].numel()) ** 0.5 if parameter.dim() > 1 else 0.1
        centre = 1.0 if ('norm' in key and key.endswith('weight')) or 'mul_bias' in key else 0.0
        parameter.data = centre + scale * values
    return net


def inputs(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Two images (2, 3, H, W) in [0, 1] and label maps (2, 2, H, W): regions that overlap, and pixels in none."""
    height, width = CASES[name][2]
    y, x = np.mgrid[:height, :width]
    image = [
        0.5 + 0.3 * np.sin(0.3 * x + 0.5 * c + b) + 0.2 * np.cos(0.9 * y * (1 + 0.1 * c) - b)
        for b in range(2)
        for c in range(3)
    ]
    cells = (y // 7 * 3 + x // 9) % 5
    discs = np.where((y - height // 2) ** 2 + (x - width // 3) ** 2 < 90, 5, 0) + np.where(y > height - 4, 6, 0)
    labels = np.stack([np.stack([cells, discs]), np.stack([cells.max() - cells, np.where(discs == 5, 7, 0)])])
    return torch.from_numpy(np.stack(image).reshape(2, 3, height, width)), torch.from_numpy(labels)


def transcribed(name: str) -> torch.Tensor:
    """Algorithm 1 and the backbone written plainly, (2, 3, H, W) float64."""
    net, (lq, labels) = network(name), inputs(name)
    masks = []
    for layers in labels:
        ids = [int(k) for k in layers.unique() if k > 0]
        masks.append(torch.stack([(layers == k).any(0, keepdim=True).double() for k in ids]))
    with torch.no_grad():
        return transcriptions.sam_deblur(net, lambda x: CASES[name][1](net.backbone, x), lq, masks)


if __name__ == '__main__':
    FOLDER.mkdir(exist_ok=True)
    for case in CASES:
        np.savez_compressed(FOLDER / f'{case}.npz', **{'out/restored': transcribed(case).numpy()})
