"""What a training says at its start and at its end, and what is left of one that fails before its first step."""

from __future__ import annotations

import re
import sys

import pytest
import torch

from basicsr.models.image_restoration_model import ImageRestorationModel
from basicsr.options import load_options
from basicsr.training import build_optimizer, build_scheduler
from basicsr.training.precision import Arithmetic
from basicsr.training.schedule_remarks import schedule_remarks
from basicsr.utils import device
from basicsr.utils.errors import BasicsrError, DataError, OptionError
from tests.helpers import training_runs as runs
from tests.helpers.project import ROOT


def remarks(block, total_iter, warmup_iter=-1):
    optimizer = build_optimizer([torch.zeros(1, requires_grad=True)], {'type': 'SGD', 'lr': 1e-3})
    return schedule_remarks(build_scheduler(optimizer, block, total_iter), total_iter, warmup_iter)


@pytest.mark.parametrize(
    ('block', 'total_iter', 'said'),
    [
        ({'type': 'TrueCosineAnnealingLR', 'T_max': 4}, 4, None),
        ({'type': 'TrueCosineAnnealingLR', 'T_max': 3}, 4, None),  # the last iteration has the lowest rate
        ({'type': 'TrueCosineAnnealingLR', 'T_max': 2}, 4, 'T_max 2'),
        ({'type': 'CosineAnnealingLR', 'T_max': 40}, 4, 'T_max 40'),
        ({'type': 'MultiStepLR', 'milestones': [2, 3]}, 4, None),
        ({'type': 'MultiStepLR', 'milestones': [4, 100]}, 4, r'\[4, 100\]'),
        ({'type': 'MultiStepLR', 'milestones': [2, 100]}, 4, r'\[100\].* total_iter 4'),
        (
            {'type': 'MultiStepRestartLR', 'milestones': [2], 'restarts': [0, 5], 'restart_weights': [1, 1]},
            4,
            'restarts',
        ),
        ({'type': 'CosineAnnealingRestartLR', 'periods': [2, 2]}, 4, None),
        ({'type': 'CosineAnnealingRestartLR', 'periods': [2, 9]}, 4, 'periods 11 '),
        ({'type': 'WarmupCosineLR', 'warmup': 2}, 4, None),
        ({'type': 'WarmupCosineLR', 'warmup': 4}, 4, 'warm-up'),
        ({'type': 'WarmupCosineLR', 'warmup': 1, 'total_iter': 2}, 4, '1e-06'),
        ({'type': 'ConstantCosineLR', 'constant': 2}, 4, None),
        ({'type': 'ConstantCosineLR', 'constant': 4}, 4, 'rate never falls'),
        ({'type': 'ConstantCosineLR', 'total_iter': 9}, 4, 'total_iter 9'),
        ({'type': 'LinearLR'}, 4, None),
        ({'type': 'LinearLR', 'total_iter': 2}, 4, r'learning rate .*\b0\b'),
        ({'type': 'LinearLR', 'total_iter': 9}, 4, 'total_iter 9'),
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
        assert re.search('skipped.*fp16', caplog.text)
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
    assert f'30 steps, {30 - state["steps_taken"]} ' in caplog.text


def test_a_trial_of_fp16_may_end_before_its_scale_is_found(tmp_path, recipe, monkeypatch):
    always_overflow(monkeypatch)
    assert runs.train(tmp_path, recipe(train__precision='fp16'), '--debug') == 0


@pytest.mark.parametrize(('fast', 'said'), [(False, True), (True, False)])
def test_bf16_without_units_for_it_is_pointed_out(tmp_path, recipe, monkeypatch, caplog, fast, said):
    monkeypatch.setattr(device, 'fast_bfloat16', lambda where: fast)
    content = recipe(train__precision='bf16', train__total_iter=1, train__scheduler__T_max=1)
    assert runs.train(tmp_path, content) == 0
    assert ('train.precision: bf16: ' in caplog.text) == said


def test_bf16_of_the_photo_network_is_pointed_out_as_well(monkeypatch, caplog):
    from basicsr.inference.deblurrer import Deblurrer

    monkeypatch.setattr(device, 'fast_bfloat16', lambda where: False)
    Deblurrer.load(device='cpu', dtype='bf16')
    assert 'bf16' in caplog.text


def test_bf16_that_a_gpu_emulates_is_refused(monkeypatch):
    """Turing and Volta say yes unless they are asked whether they emulate it."""
    cuda = torch.device('cuda')
    emulating = {'native': False}
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda including_emulation=True: True)
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda where: (8, 0) if emulating['native'] else (7, 5))
    with pytest.raises(OptionError, match='bf16'):
        Arithmetic('bf16', cuda)
    emulating['native'] = True
    Arithmetic('bf16', cuda)
