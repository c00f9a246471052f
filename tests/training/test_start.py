"""What a training says at its start and at its end, and what is left of one that fails before its first step."""

from __future__ import annotations

import re
import sys

import pytest
import torch

from basicsr.models import fitting
from basicsr.models.image_restoration_model import ImageRestorationModel
from basicsr.options import load_options
from basicsr.training import build_optimizer, build_scheduler
from basicsr.training.precision import Arithmetic
from basicsr.training.schedule_remarks import schedule_remarks
from basicsr.utils import device
from basicsr.utils.errors import BasicsrError, DataError, OptionError, TrainingError
from tests.helpers import training_runs as runs
from tests.helpers.project import ROOT

NO_MEMORY = 'CUDA out of memory. Tried to allocate 2.00 GiB\nsecond line'


def remarks(block, total_iter, warmup_iter=-1):
    optimizer = build_optimizer([torch.zeros(1, requires_grad=True)], {'type': 'SGD', 'lr': 1e-3})
    return schedule_remarks(build_scheduler(optimizer, block, total_iter), total_iter, warmup_iter)


@pytest.mark.parametrize(
    ('block', 'total_iter', 'said'),
    [
        ({'type': 'TrueCosineAnnealingLR', 'T_max': 4}, 4, None),
        ({'type': 'TrueCosineAnnealingLR', 'T_max': 3}, 4, None),  # the last iteration has the lowest rate
        ({'type': 'TrueCosineAnnealingLR', 'T_max': 2}, 4, 'rises again'),
        ({'type': 'CosineAnnealingLR', 'T_max': 40}, 4, 'does not finish'),
        ({'type': 'MultiStepLR', 'milestones': [2, 3]}, 4, None),
        ({'type': 'MultiStepLR', 'milestones': [4, 100]}, 4, 'never falls'),
        ({'type': 'MultiStepLR', 'milestones': [2, 100]}, 4, r'\[100\] are not below total_iter 4'),
        (
            {'type': 'MultiStepRestartLR', 'milestones': [2], 'restarts': [0, 5], 'restart_weights': [1, 1]},
            4,
            'restarts',
        ),
        ({'type': 'CosineAnnealingRestartLR', 'periods': [2, 2]}, 4, None),
        ({'type': 'CosineAnnealingRestartLR', 'periods': [2, 9]}, 4, 'sum of periods 11 is more'),
        ({'type': 'WarmupCosineLR', 'warmup': 2}, 4, None),
        ({'type': 'WarmupCosineLR', 'warmup': 4}, 4, 'the warm-up does not end'),
        ({'type': 'WarmupCosineLR', 'warmup': 1, 'total_iter': 2}, 4, 'stays at 1e-06'),
        ({'type': 'LinearLR'}, 4, None),
        ({'type': 'LinearLR', 'total_iter': 2}, 4, 'the learning rate is 0'),
        ({'type': 'LinearLR', 'total_iter': 9}, 4, 'does not finish'),
        ({'type': 'VibrateLR'}, 200, None),
        ({'type': 'VibrateLR', 'total_iter': 160}, 200, 'continue'),
    ],
)
def test_a_schedule_of_another_length_than_the_training_is_pointed_out(block, total_iter, said):
    found = remarks(block, total_iter)
    assert (found == []) == (said is None)
    if said is not None:
        assert len(found) == 1
        assert re.search(said, found[0])


def test_a_warm_up_that_does_not_end_is_pointed_out():
    block = {'type': 'CosineAnnealingLR', 'T_max': 4}
    assert remarks(block, 4, 4) == []
    (text,) = remarks(block, 4, 5)
    assert 'warmup_iter 5' in text


def test_the_remark_stands_at_the_start_of_the_training_and_in_its_log(tmp_path, recipe, caplog):
    assert runs.train(tmp_path, recipe(train__scheduler__T_max=2, train__total_iter=4)) == 0
    (text,) = [line for line in caplog.messages if 'T_max 2' in line]
    assert 'train.scheduler' in text
    assert text in (tmp_path / 'experiments/run/log/run.log').read_text()
    caplog.clear()
    assert runs.train(tmp_path / 'trial', recipe(), '--debug') == 0  # two steps of any recipe
    assert 'train.scheduler' not in caplog.text


def test_no_option_file_that_comes_along_has_a_schedule_of_another_length():
    files = [path for path in (ROOT / 'options' / 'train').glob('*/*.yml') if path.parent.name != '_base_']
    assert len(files) > 10
    for path in files:
        train = load_options(path).train
        assert remarks(train.scheduler, train.total_iter, train.warmup_iter) == [], path


def fail_in_first_step(patch):
    def train_step(model, *batches):
        raise DataError('broken')

    patch.setattr(ImageRestorationModel, 'train_step', train_step)


@pytest.mark.parametrize('where', ['options', 'network', 'data set', 'metric', 'weights', 'first batch', 'first step'])
def test_a_start_that_fails_leaves_nothing_behind(tmp_path, recipe, monkeypatch, where):
    content = recipe(logger__use_tb_logger=True)
    wrong = recipe(logger__use_tb_logger=True)
    with monkeypatch.context() as patch:
        if where == 'options':
            wrong['train']['total_batch_size'] = 0
        if where == 'network':
            wrong['network_g'] = {'type': 'NAFNet', 'width': 4, 'mask': True}
        if where == 'data set':
            wrong['datasets']['train']['dataroot_lq'] = str(tmp_path / 'gone')
        if where == 'metric':
            wrong['val']['metrics'] = {'ssim': {'type': 'psnr', 'crop': 1}}
        if where == 'weights':
            (tmp_path / 'w.pth').write_bytes(b'junk')
            wrong['path'] = {'pretrain_network_g': str(tmp_path / 'w.pth')}
        if where == 'first batch':
            folder = runs.write_pairs(tmp_path / 'broken')
            for name in range(1, 7):
                (tmp_path / 'broken' / 'lq' / f'{name}.png').write_bytes(b'')
            wrong['datasets']['train'] |= folder
        if where == 'first step':
            fail_in_first_step(patch)
        with pytest.raises(BasicsrError):
            runs.train(tmp_path, wrong)
    assert not (tmp_path / 'experiments' / 'run').exists()
    assert runs.train(tmp_path, content) == 0  # the corrected command is no second experiment


def test_a_failed_continuation_in_another_experiment_leaves_nothing_behind(tmp_path, recipe, monkeypatch):
    assert runs.train(tmp_path, recipe(train__total_iter=4, train__scheduler__T_max=4)) == 0
    state = tmp_path / 'experiments' / 'run' / 'training_states' / '3.state'
    more = recipe(name='more', train__total_iter=4, train__scheduler__T_max=4, path__resume_state=str(state))
    with monkeypatch.context() as patch, pytest.raises(DataError):
        fail_in_first_step(patch)
        runs.train(tmp_path, more)
    assert sorted(path.name for path in (tmp_path / 'experiments').iterdir()) == ['run']
    assert runs.train(tmp_path, more) == 0


def test_a_missing_logger_is_known_before_the_first_step(tmp_path, recipe, monkeypatch):
    monkeypatch.setitem(sys.modules, 'torch.utils.tensorboard', None)
    fail_in_first_step(monkeypatch)
    with pytest.raises(OptionError, match='use_tb_logger'):
        runs.train(tmp_path, recipe(logger__use_tb_logger=True))
    assert not (tmp_path / 'experiments').exists()


def always_overflow(patch):
    def limit_gradient(model):
        return torch.tensor(torch.inf)

    patch.setattr(ImageRestorationModel, '_clip_gradient', limit_gradient)


def test_a_training_whose_steps_were_all_skipped_is_no_success(tmp_path, recipe, monkeypatch, caplog):
    content = recipe(train__precision='fp16', train__total_iter=4, train__scheduler__T_max=4)
    latest = tmp_path / 'experiments' / 'run' / 'models' / 'net_g_latest.pth'
    with monkeypatch.context() as patch:
        always_overflow(patch)
        assert runs.train(tmp_path, content) == 3
        assert 'every step was skipped; fp16 overflowed' in caplog.text
        assert not latest.exists()
        assert runs.train(tmp_path, content, '--auto_resume') == 3  # nor is it when there is nothing left to do
    caplog.clear()
    caplog.set_level('INFO')
    more = ('--auto_resume', '--force_yml', 'path:resume_with_changes=true')
    content['train'] |= {'total_iter': 30, 'scheduler': {**content['train']['scheduler'], 'T_max': 30}}
    assert runs.train(tmp_path, content, *more) == 0
    assert latest.is_file()
    state = torch.load(tmp_path / 'experiments/run/training_states/30.state', weights_only=True)
    assert 0 < state['steps_taken'] < 27
    assert f'of 30 steps, {30 - state["steps_taken"]} had no effect' in caplog.text


def test_a_trial_of_fp16_may_end_before_its_scale_is_found(tmp_path, recipe, monkeypatch):
    always_overflow(monkeypatch)
    assert runs.train(tmp_path, recipe(train__precision='fp16'), '--debug') == 0


@pytest.mark.parametrize(('fast', 'said'), [(False, True), (True, False)])
def test_bf16_without_units_for_it_is_pointed_out(tmp_path, recipe, monkeypatch, caplog, fast, said):
    monkeypatch.setattr(device, 'fast_bfloat16', lambda where: fast)
    content = recipe(train__precision='bf16', train__total_iter=1, train__scheduler__T_max=1)
    assert runs.train(tmp_path, content) == 0
    assert ('train.precision: bf16: this CPU has no bf16 units' in caplog.text) == said


def test_bf16_of_the_photo_network_is_pointed_out_as_well(monkeypatch, caplog):
    from basicsr.inference.deblurrer import Deblurrer

    monkeypatch.setattr(device, 'fast_bfloat16', lambda where: False)
    Deblurrer.load(device='cpu', dtype='bf16')
    assert 'no bf16 units' in caplog.text


def test_bf16_that_a_gpu_emulates_is_refused(monkeypatch):
    """Turing and Volta say yes unless they are asked whether they emulate it."""
    cuda = torch.device('cuda')
    emulating = {'native': False}
    monkeypatch.setattr(
        torch.cuda, 'is_bf16_supported', lambda including_emulation=True: including_emulation or emulating['native']
    )
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda where: (8, 0) if emulating['native'] else (7, 5))
    with pytest.raises(OptionError, match='this GPU does not support bf16'):
        Arithmetic('bf16', cuda)
    emulating['native'] = True
    Arithmetic('bf16', cuda)


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
    assert 'with 8 samples at once (CUDA out of memory. Tried to allocate 2.00 GiB)' in text
    changes = f'datasets:train:batch_size_per_gpu={fits} train:total_batch_size=8'
    assert f'--force_yml {changes} ' in text
    monkeypatch.undo()
    found = need_memory_for(monkeypatch, most, error)
    assert runs.train(tmp_path, content, '--force_yml', *changes.split()) == 0  # what it says works
    assert set(found) == {fits}


def test_not_even_one_sample_fits(tmp_path, recipe, monkeypatch):
    need_memory_for(monkeypatch, 0)
    with pytest.raises(TrainingError, match=r'Not even one sample fits: .*datasets\.train\.gt_size'):
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


@pytest.mark.parametrize(
    'text',
    [
        'CUDA out of memory. Tried to allocate 1 GiB',
        'CUDA error: out of memory',
        'MPS backend out of memory (MPS allocated: 18 GB)',
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes",
        'DefaultCPUAllocator: not enough memory: you tried to allocate 4 bytes',
        'cuDNN error: CUDNN_STATUS_NOT_SUPPORTED',
        'CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)',
        'cuFFT error: CUFFT_ALLOC_FAILED',
        'Expected canUse32BitIndexMath(input) && canUse32BitIndexMath(output) to be true',
    ],
)
def test_errors_that_say_that_the_memory_is_full(text):
    assert device.is_out_of_memory(RuntimeError(text))
    assert device.is_out_of_memory(MemoryError())
    assert not device.is_out_of_memory(RuntimeError('a bug'))
    assert not device.is_out_of_memory(ValueError(text))
