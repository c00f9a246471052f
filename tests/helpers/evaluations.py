"""Pairs and a network file for evaluations."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from basicsr.archs import build_network
from basicsr.masks import write_label_map
from basicsr.weights.files import save_weights

NETWORK = {'type': 'SegNAFNet', 'width': 4, 'seg_channel': 2, 'enc_blk_nums': [1], 'dec_blk_nums': [1]}


def write_pairs(folder: Path, names, gray='input_mask', size=(36, 44)):
    """Blurred and sharp noise with label maps and gray pictures."""
    rng = np.random.default_rng(0)
    for kind in ('input', 'target', 'grouped_masks', gray):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for name in names:
        sharp = cv2.resize(rng.integers(0, 256, (9, 11, 3), np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(folder / 'target' / f'{name}.png'), sharp)
        cv2.imwrite(str(folder / 'input' / f'{name}.png'), cv2.blur(sharp, (3, 1)))
        write_label_map(folder / 'grouped_masks' / f'{name}.png', rng.integers(1, 5, (1, *size)))
        cv2.imwrite(str(folder / gray / f'{name}.png'), rng.integers(0, 9, size, np.uint8))


def write_network(path: Path, block, residual=0.02, seed=0):
    """A network that changes its input a little."""
    torch.manual_seed(seed)
    net = build_network(block)
    torch.nn.init.normal_(net.ending.weight)
    net.ending.weight.data *= residual
    path.parent.mkdir(parents=True, exist_ok=True)
    save_weights(path, net)
