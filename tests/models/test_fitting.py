"""Training steps that run out of memory name the batch size that fits."""

from __future__ import annotations

import re

import pytest
import torch

from basicsr.models import fitting
from basicsr.models.image_restoration_model import ImageRestorationModel
from basicsr.options import load_options
from basicsr.utils.errors import TrainingError
from tests.helpers import training_runs as runs

NO_MEMORY = 'CUDA out of memory. Tried to allocate 2.00 GiB\nsecond line'


def need_memory_for(patch, most, error=RuntimeError):
    """Forward passes of more samples fail as on a full GPU; returns the sizes that were tried."""
    tried, original = [], ImageRestorationModel.loss_of

    def loss_of(model, batch, net):
        tried.append(len(batch['lq']))
        assert len({len(value) for value in batch.values()}) == 1
        if len(batch['lq']) > most:
            raise error(NO_MEMORY)
        return original(model, batch, net)

    patch.setattr(ImageRestorationModel, 'loss_of', loss_of)
    return tried


@pytest.mark.parametrize('error', [RuntimeError, torch.OutOfMemoryError, MemoryError])
@pytest.mark.parametrize(('most', 'tried'), [(3, [8, 4, 2]), (1, [8, 4, 2, 1])])
def test_a_batch_that_does_not_fit_names_the_one_that_does(tmp_path, recipe, monkeypatch, most, tried, error):
    content = recipe(train__total_batch_size=8, datasets__train__batch_size_per_gpu=8, train__total_iter=2)
    with monkeypatch.context() as patch:
        found = need_memory_for(patch, most, error)
        with pytest.raises(TrainingError) as raised:
            runs.train(tmp_path, content)
        assert found == tried
    text = str(raised.value)
    fits = tried[-1]
    assert re.search(r'\b8 samples.*\(CUDA out of memory\. Tried to allocate 2\.00 GiB\)', text)
    changes = f'datasets:train:batch_size_per_gpu={fits} train:total_batch_size=8'
    assert f'--force_yml {changes} ' in text
    monkeypatch.undo()
    found = need_memory_for(monkeypatch, most, error)
    assert runs.train(tmp_path, content, '--force_yml', *changes.split()) == 0  # what it says works
    assert set(found) == {fits}


def test_not_even_one_sample_fits(tmp_path, recipe, monkeypatch):
    need_memory_for(monkeypatch, 0)
    with pytest.raises(TrainingError, match=r'sample.*datasets\.train\.gt_size'):
        runs.train(tmp_path, recipe())


def test_other_errors_of_a_step_stay_what_they_are(tmp_path, recipe, monkeypatch):
    def train_step(model, *batches):
        raise RuntimeError('a bug')

    monkeypatch.setattr(ImageRestorationModel, 'train_step', train_step)
    with pytest.raises(RuntimeError, match=r'^a bug$'):
        runs.train(tmp_path, recipe())


def test_a_gradient_that_does_not_fit_counts_as_well(tmp_path, recipe, monkeypatch):
    """The memory ends in the backward pass, and not before the optimizer's own part is there."""
    kept = []

    def backward(loss):
        kept.append(loss)
        raise RuntimeError('CUDNN_STATUS_ALLOC_FAILED')

    model = ImageRestorationModel(load_options(runs.write_options(tmp_path, recipe())))
    monkeypatch.setattr(model.arithmetic, 'backward', backward)
    batch = {'lq': torch.rand(4, 3, 16, 16), 'gt': torch.rand(4, 3, 16, 16), 'masks': torch.zeros(4, 1, 16, 16).int()}
    assert fitting.batch_that_fits(model, batch) == 0
    assert len(kept) == 2
