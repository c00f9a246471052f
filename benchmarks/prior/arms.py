"""The ten arms of the experiment, their runs, and the option file of each run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from basicsr.archs import build_network
from basicsr.utils.errors import ArgumentError

Length = Literal['long', 'short']
Masks = Literal['none', 'true', 'other', 'felzenszwalb', 'one']
Prior = Literal['none', 'gray', 'linear', 'energies']

SEEDS = (0, 1, 2)
SIDE, BATCH = 96, 4
STEPS: dict[Length, int] = {'long': 4_800, 'short': 1_440}
"""Training steps, the same for all arms of a length."""
BACKBONE: dict[str, Any] = {
    'type': 'NAFNetLocal',
    'width': 16,
    'enc_blk_nums': [1, 1, 1],
    'middle_blk_num': 1,
    'dec_blk_nums': [1, 1, 1],
    'train_size': [1, 3, SIDE, SIDE],
}
_DATASETS = {'none': 'PairedImageDataset', 'gray': 'PairedImageMaskDataset'}


@dataclass(frozen=True)
class Arm:
    """One arm.

    Args:
        number: in tables.
        title: what it is.
        prior: of the network: none, the gray mask of CAT, or region means of linear features or of energies.
        masks: the store of masks that it is trained and tested with.
        mask_dropout: fraction of the masks to drop in training.
        mask_value: weight of a covered pixel.
        lengths: of its runs.
    """

    number: int
    title: str
    prior: Prior
    masks: Masks
    mask_dropout: float = 0.5
    mask_value: float = 1.0
    lengths: tuple[Length, ...] = ('short',)


ARMS = {
    arm.number: arm
    for arm in (
        Arm(1, 'no masks', 'none', 'none', lengths=('long', 'short')),
        Arm(2, 'CAT, true masks', 'gray', 'true'),
        Arm(3, 'MAP, true masks', 'linear', 'true', mask_dropout=0.0),
        Arm(4, 'MAP + dropout, true masks (the paper)', 'linear', 'true', lengths=('long', 'short')),
        Arm(5, 'arm 4 with felzenszwalb', 'linear', 'felzenszwalb'),
        Arm(6, 'arm 4 with one region', 'linear', 'one'),
        Arm(7, 'arm 4 with masks of another photo', 'linear', 'other', lengths=('long',)),
        Arm(8, 'arm 4 with mask_value 1/255', 'linear', 'true', mask_value=1 / 255),
        Arm(9, 'energies + dropout, true masks', 'energies', 'true', lengths=('long',)),
        Arm(10, 'arm 9 with masks of another photo', 'energies', 'other', lengths=('long',)),
    )
}


@dataclass(frozen=True)
class Run:
    """One training."""

    arm: Arm
    length: Length
    seed: int

    @property
    def name(self) -> str:
        """Return the name of its experiment and of its result file."""
        return f'arm{self.arm.number:02d}-{self.length}-seed{self.seed}'


def all_runs() -> list[Run]:
    """Return all runs, those that answer most first."""
    order = [(4, 'long'), (7, 'long'), (1, 'long'), (9, 'long'), (10, 'long')]
    order += [(number, 'short') for number in (1, 4, 3, 2, 5, 6, 8)]
    return [
        Run(ARMS[number], length, seed)
        for part in (order[:5], order[5:])
        for seed in SEEDS
        for number, length in part
        if length in ARMS[number].lengths
    ]


def network_block(arm: Arm) -> dict[str, Any]:
    """Return the network of an arm as a block of an option file."""
    if arm.prior == 'none':
        return dict(BACKBONE)
    if arm.prior == 'gray':
        return {**BACKBONE, 'mask': True}
    block = {'type': 'SAMDeblur', 'backbone': dict(BACKBONE), 'prior_channels': 2}
    return {
        **block,
        'mask_dropout': arm.mask_dropout,
        'mask_value': arm.mask_value,
        'prior_features': arm.prior,
    }


def dataset_block(arm: Arm, folder: Path) -> dict[str, Any]:
    """Return the data set of an arm.

    Args:
        arm: whose masks it reads.
        folder: of prepared stores.
    """
    block: dict[str, Any] = {
        'name': folder.name,
        'type': _DATASETS.get(arm.prior, 'PairedImageGroupMaskDataset'),
        'dataroot_gt': str(folder / 'sharp.raw'),
        'dataroot_lq': str(folder / 'blur.raw'),
        'io_backend': {'type': 'raw'},
    }
    if arm.prior == 'gray':
        block['dataroot_mask'] = str(folder / f'gray_{arm.masks}.raw')
    elif arm.prior != 'none':
        block['dataroot_mask'] = str(folder / f'masks_{arm.masks}.raw')
    return block


def options_of(run: Run, data: Path, start: Path, steps: int) -> dict[str, Any]:
    """Return the option file of a run.

    Args:
        run: the run.
        data: folder of the prepared data.
        start: file of the first weights, see :func:`first_weights`.
        steps: number of training steps.
    """
    training = {'gt_size': SIDE, 'batch_size_per_gpu': BATCH, 'num_worker_per_gpu': 0}
    return {
        'mode': 'default',
        'name': run.name,
        'manual_seed': run.seed,
        'num_gpu': 0,
        'datasets': {'train': {**dataset_block(run.arm, data / 'train'), **training}},
        'network_g': network_block(run.arm),
        'path': {'pretrain_network_g': str(start)},
        'train': {
            'total_iter': steps,
            'total_batch_size': BATCH,
            'optim_g': {'type': 'AdamW', 'lr': 2e-3, 'weight_decay': 1e-3, 'betas': [0.9, 0.9]},
            'scheduler': {'type': 'CosineAnnealingLR', 'T_max': steps, 'eta_min': 1e-6},
            'pixel_opt': {'type': 'PSNRLoss'},
            'grad_clip_norm': 1.0,
        },
        'logger': {
            'print_freq': max(1, min(10, steps // 2)),
            'save_checkpoint_freq': max(1, min(500, steps // 2)),
            'keep_checkpoints': 1,
            'use_tb_logger': False,
        },
    }


def first_weights(arm: Arm, seed: int) -> nn.Module:
    """Return the network of an arm before training: all arms of a seed share the weights of the network without prior.

    Only the weights of the prior, and those of its channels in the first layer, differ.

    Raises:
        ArgumentError: the networks have less in common than this.
    """
    torch.manual_seed(seed)
    plain = build_network(BACKBONE).state_dict()
    torch.manual_seed(seed)
    net = build_network(network_block(arm))
    weights = net.state_dict()
    own = {key: key if key in weights else f'backbone.{key}' for key in plain}
    for key, value in plain.items():
        weights[own[key]] = _with_first(weights[own[key]], value)
    net.load_state_dict(weights)
    return net


def _with_first(weights: Tensor, first: Tensor) -> Tensor:
    """Replace the first input channels of a layer."""
    if weights.shape == first.shape:
        return first
    if weights.shape[0] != first.shape[0] or weights.shape[2:] != first.shape[2:]:
        raise ArgumentError(f'{tuple(weights.shape)} does not contain {tuple(first.shape)}')
    return torch.cat([first, weights[:, first.shape[1] :]], 1)
