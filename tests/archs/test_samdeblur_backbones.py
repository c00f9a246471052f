"""The mask prior before other networks: vectors of Algorithm 1 and of the networks, both written plainly."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.helpers.backbone_vectors import CASES, FOLDER, inputs, network, transcribed

pytestmark = pytest.mark.numeric

NAMES = ['nafnet', 'lakdnet', 'rsst', 'analysis_synthesis']


def stored(name: str) -> torch.Tensor:
    with np.load(FOLDER / f'{name}.npz', allow_pickle=False) as file:
        return torch.from_numpy(file['out/restored'])


@pytest.mark.parametrize('name', NAMES)
def test_the_vectors_are_what_the_formulas_give(name):
    assert sorted(CASES) == sorted(NAMES)
    torch.testing.assert_close(transcribed(name), stored(name), rtol=0, atol=1e-9)


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
@pytest.mark.parametrize('name', NAMES)
def test_samdeblur_around_a_network(name, dtype):
    lq, labels = inputs(name)
    with torch.no_grad():
        output = network(name).to(dtype)(lq.to(dtype), labels)
    result = output if isinstance(output, torch.Tensor) else output[-1]
    expected = stored(name)
    tolerance = {torch.float64: 1e-9, torch.float32: 1e-5}[dtype] * float(expected.abs().max())
    torch.testing.assert_close(result.double(), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize('name', NAMES)
def test_the_prior_matters_in_the_vectors(name):
    lq, labels = inputs(name)
    with torch.no_grad():
        output = network(name)(lq, torch.zeros_like(labels))
    result = output if isinstance(output, torch.Tensor) else output[-1]
    assert (result - stored(name)).abs().mean() > 1e-3 * stored(name).abs().mean()
