"""Label maps for training: small types, few numbers of layers, errors by name; the draws of the network."""

from __future__ import annotations

import pytest
import torch

from basicsr.archs.map_unit import drop_masks
from basicsr.data.training_masks import drop_in_data
from basicsr.utils.errors import MaskError

SEEDS = torch.tensor([4, 2**62])
NAMES = ['a.png', 'b.png']


def labels_of(count, layers=1, dtype=torch.int32, step=1):
    """Two maps with ``count`` ids, unique over the layers, and zeros."""
    each = -(-count // layers)
    labels = torch.arange(2 * layers * 40 * 40).view(2, layers, 40, 40) % (each + 1)
    labels = labels + each * torch.arange(layers).view(1, -1, 1, 1) * (labels > 0)
    return (labels * step).to(dtype)


@pytest.mark.parametrize('share', [0.0, 0.5, 1.0])
@pytest.mark.parametrize(
    ('count', 'dtype', 'step', 'expected'),
    [
        (7, torch.uint8, 1, torch.uint8),
        (255, torch.int32, 1, torch.uint8),
        (255, torch.int32, 10**6, torch.uint8),
        (255, torch.uint16, 200, torch.uint8),
        (900, torch.int32, 7, torch.int16),
    ],
)
def test_ids_are_renumbered_and_dropped_as_by_the_network(share, count, dtype, step, expected):
    labels = labels_of(count, 1, dtype, step)
    found = drop_in_data(labels, SEEDS, share, NAMES)
    assert found.dtype == expected
    wanted = drop_masks(labels.long(), share, SEEDS)
    assert torch.equal(found > 0, wanted > 0)
    for one, two in zip(found.long(), wanted, strict=True):  # the same partition, in the same order
        pairs = torch.unique(torch.stack([one.flatten(), two.flatten()]), dim=1)
        assert pairs.shape[1] == len(one.unique()) == len(two.unique())
        assert bool((pairs[1].diff() > 0).all())


@pytest.mark.parametrize(('layers', 'expected'), [(1, 1), (2, 4), (4, 4), (5, 8), (8, 8), (9, 16)])
def test_few_numbers_of_layers(layers, expected):
    labels = labels_of(3 * layers, layers, torch.uint8)
    found = drop_in_data(labels, SEEDS, 0.0, NAMES)
    assert found.shape == (2, expected, 40, 40)
    assert torch.equal(found[:, :layers], labels) and not found[:, layers:].any()


def test_bad_ids_are_named():
    labels = labels_of(6, 2)
    labels[1, 1, 0, :5] = 1
    with pytest.raises(MaskError, match=r'b\.png: an id occurs in two layers'):
        drop_in_data(labels, SEEDS, 0.5, NAMES)
    with pytest.raises(MaskError, match='-3'):
        drop_in_data(-3 * labels_of(1), SEEDS, 0.5, NAMES)
