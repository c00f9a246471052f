"""A training that is resumed with changed settings uses them from its next step on, and keeps what it has learnt."""

from __future__ import annotations

import math
import re
import shutil

import pytest
import torch

from basicsr.training import advance, build_optimizer, build_scheduler
from basicsr.utils.errors import CheckpointError, OptionError, WeightsError
from tests.helpers import training_runs as runs

PLAIN = {'type': 'PlainUNet', 'width': 2, 'levels': 1}
WANTED = ('--auto_resume', '--force_yml', 'path:resume_with_changes=true')
COSINE = {'type': 'CosineAnnealingLR', 'T_max': 4, 'eta_min': 1e-7}
STEPS = {'type': 'MultiStepLR', 'milestones': [100], 'gamma': 0.5}
OLD = {'type': 'AdamW', 'lr': 1e-3, 'betas': [0.9, 0.9], 'weight_decay': 0.01}
NEW = {'type': 'AdamW', 'lr': 2e-3, 'betas': [0.5, 0.5], 'weight_decay': 0.1, 'eps': 1e-6}


def content(roots, optimizer=OLD, schedule=COSINE, total_iter=4, **changes):
    """A short training of a small network without masks; it validates nothing."""
    data = {
        'datasets__train__type': 'PairedImageDataset',
        'datasets__train__dataroot_lq': roots['dataroot_lq'],
        'datasets__train__dataroot_gt': roots['dataroot_gt'],
        'logger__save_checkpoint_freq': 1,
        'network_g': PLAIN,
        'train__optim_g': optimizer,
        'train__scheduler': schedule,
        'train__total_iter': total_iter,
        'train__use_grad_clip': False,
    }
    made = runs.options(roots, **{**data, **changes})
    del made['datasets']['train']['dataroot_mask']
    del made['datasets']['val']
    return made


def rates(optimizer, schedule, total_iter, warmup_iter=-1):
    """What a fresh optimizer and schedule use, by iteration."""
    fresh = build_optimizer([torch.zeros(1, requires_grad=True)], optimizer)
    scheduler = build_scheduler(fresh, schedule, total_iter)
    found = {}
    for iteration in range(1, total_iter + 1):
        advance(fresh, scheduler, iteration, warmup_iter)
        found[iteration] = fresh.param_groups[0]['lr']
    return found


def logged(folder):
    return {line['iter']: line['lr'] for line in runs.log_of(folder) if 'lr' in line}


def state_of(folder, iteration):
    path = folder / 'experiments' / 'run' / 'training_states' / f'{iteration}.state'
    return torch.load(path, weights_only=True)


def group_of(folder, iteration):
    return state_of(folder, iteration)['optimizers'][0]['param_groups'][0]


def test_the_example_that_was_reported(tmp_path, roots):
    assert runs.train(tmp_path, content(roots)) == 0
    new = content(roots, NEW, {**COSINE, 'T_max': 8}, 8)
    assert runs.train(tmp_path, new, *WANTED) == 0
    expected = {i: 1e-7 + (2e-3 - 1e-7) * (1 + math.cos(math.pi * (i - 1) / 8)) / 2 for i in range(5, 9)}
    found = logged(tmp_path)
    assert {i: found[i] for i in expected} == pytest.approx(expected, rel=1e-12)
    assert [found[i] for i in expected] == pytest.approx([1.000e-03, 6.174e-04, 2.930e-04, 7.622e-05], rel=1e-3)
    group = group_of(tmp_path, 8)
    assert (group['initial_lr'], group['weight_decay'], group['eps']) == (2e-3, 0.1, 1e-6)
    assert list(group['betas']) == [0.5, 0.5]
    assert state_of(tmp_path, 8)['schedulers'][0]['T_max'] == 8


def test_milestones_that_were_reported(tmp_path, roots):
    assert runs.train(tmp_path, content(roots, schedule=STEPS, total_iter=2)) == 0
    new = content(roots, schedule={**STEPS, 'milestones': [4, 6]}, total_iter=8)
    assert runs.train(tmp_path, new, *WANTED) == 0
    assert list(logged(tmp_path).values())[2:] == pytest.approx([1e-3, 1e-3, 5e-4, 5e-4, 2.5e-4, 2.5e-4], rel=1e-12)


SCHEDULES = {
    'cosine': {'type': 'TrueCosineAnnealingLR', 'T_max': 12, 'eta_min': 1e-6},
    'warm-up and cosine': {'type': 'WarmupCosineLR', 'warmup': 4, 'eta_min': 1e-6},
    'multi-step': {'type': 'MultiStepLR', 'milestones': [2, 5, 9], 'gamma': 0.3},
    'multi-step restarts': {
        'type': 'MultiStepRestartLR', 'milestones': [2, 9], 'restarts': [0, 7], 'restart_weights': [1, 0.5]
    },
    'cosine restarts': {'type': 'CosineAnnealingRestartLR', 'periods': [6, 6], 'restart_weights': [1, 0.5]},
    'line': {'type': 'LinearLR'},
}  # fmt: skip


@pytest.mark.parametrize('warmup_iter', [-1, 6])
@pytest.mark.parametrize('name', SCHEDULES)
def test_rates_are_those_of_a_fresh_training_after_several_changes(tmp_path, roots, name, warmup_iter):
    first = content(roots, total_iter=3, train__warmup_iter=2)
    second = content(roots, {**OLD, 'lr': 5e-4}, STEPS, 5)
    third = content(roots, NEW, SCHEDULES[name], 12, train__warmup_iter=warmup_iter)
    assert runs.train(tmp_path, first) == 0
    assert runs.train(tmp_path, second, *WANTED) == 0
    assert runs.train(tmp_path, third, *WANTED) == 0
    expected = {
        **rates(OLD, COSINE, 3, 2),
        **{i: rate for i, rate in rates({**OLD, 'lr': 5e-4}, STEPS, 5).items() if i > 3},
        **{i: rate for i, rate in rates(NEW, SCHEDULES[name], 12, warmup_iter).items() if i > 5},
    }
    assert logged(tmp_path) == expected


def test_moments_go_on_under_the_new_settings(tmp_path, roots):
    """One step after the change, by AdamW's own formula: m = b1 m + (1 - b1) g, v likewise, t counts on."""
    assert runs.train(tmp_path, content(roots)) == 0
    before = state_of(tmp_path, 4)['optimizers'][0]['state']
    old_weights = torch.load(tmp_path / 'experiments/run/models/net_g_4.pth', weights_only=True)['params']
    assert runs.train(tmp_path, content(roots, NEW, {**COSINE, 'T_max': 8}, 5), *WANTED) == 0
    after = state_of(tmp_path, 5)['optimizers'][0]['state']
    new_weights = torch.load(tmp_path / 'experiments/run/models/net_g_5.pth', weights_only=True)['params']
    lr, (b1, b2) = group_of(tmp_path, 5)['lr'], NEW['betas']
    assert before.keys() == after.keys()
    for number, (old, new) in enumerate(zip(old_weights.values(), new_weights.values(), strict=True)):
        gradient = (after[number]['exp_avg'].double() - b1 * before[number]['exp_avg'].double()) / (1 - b1)
        second = b2 * before[number]['exp_avg_sq'].double() + (1 - b2) * gradient.square()
        torch.testing.assert_close(after[number]['exp_avg_sq'].double(), second, rtol=1e-4, atol=1e-12)
        assert after[number]['step'] == 5
        mean, square = (
            after[number]['exp_avg'].double() / (1 - b1**5),
            after[number]['exp_avg_sq'].double() / (1 - b2**5),
        )
        step = lr * mean / (square.sqrt() + NEW['eps'])
        expected = old.double() * (1 - lr * NEW['weight_decay']) - step
        torch.testing.assert_close(new.double(), expected, rtol=1e-6, atol=1e-7)


def test_a_plain_resume_after_a_changed_one_is_exact(tmp_path, roots):
    old, new = content(roots), content(roots, NEW, {**STEPS, 'milestones': [5]}, 8, train__warmup_iter=6)
    assert runs.train(tmp_path / 'whole', old) == 0
    shutil.copytree(tmp_path / 'whole', tmp_path / 'parts')
    assert runs.train(tmp_path / 'whole', new, *WANTED) == 0
    parts = tmp_path / 'parts'
    assert runs.train(parts, new, *WANTED, 'train:total_iter=6') == 0
    with pytest.raises(OptionError, match=r'train\.total_iter: 6 -> 8'):
        runs.train(parts, new, '--auto_resume')
    assert runs.train(parts, new, *WANTED) == 0
    for path in ('training_states/8.state', 'models/net_g_8.pth'):
        (parts / 'experiments/run' / path).unlink()  # as if the job had been killed after step 7
    (parts / 'experiments/run/models/net_g_latest.pth').unlink()
    assert runs.train(parts, new, '--auto_resume') == 0
    assert logged(parts) == logged(tmp_path / 'whole')
    assert runs.differences(runs.result_of(parts), runs.result_of(tmp_path / 'whole')) == []


def test_without_a_change_the_switch_changes_nothing(tmp_path, roots):
    same = content(roots, train__warmup_iter=3, schedule=SCHEDULES['multi-step restarts'], total_iter=8)
    assert runs.train(tmp_path / 'whole', same) == 0
    shutil.copytree(tmp_path / 'whole', tmp_path / 'parts')
    folder = tmp_path / 'parts' / 'experiments' / 'run'
    for number in range(5, 9):
        (folder / f'training_states/{number}.state').unlink()
    assert runs.train(tmp_path / 'parts', same, *WANTED) == 0
    assert runs.differences(runs.result_of(tmp_path / 'parts'), runs.result_of(tmp_path / 'whole')) == []


@pytest.mark.parametrize(
    ('before', 'now', 'said'),
    [
        (OLD, {'type': 'Adamax', 'lr': 1e-3}, 'AdamW .*Adamax'),
        (OLD, {'type': 'Adam', 'lr': 1e-3}, r'AdamW .*Adam\b'),
        (OLD, {**OLD, 'amsgrad': True}, 'AdamW .*max_exp_avg_sq'),
        ({'type': 'RMSprop', 'lr': 1e-3}, {'type': 'RMSprop', 'lr': 1e-3, 'centered': True}, 'RMSprop .*grad_avg'),
    ],
)
def test_moments_of_another_kind_start_at_zero_and_are_announced(tmp_path, roots, caplog, before, now, said):
    assert runs.train(tmp_path, content(roots, before)) == 0
    assert runs.train(tmp_path, content(roots, now, total_iter=6), *WANTED) == 0
    assert re.search(said, caplog.text)
    for kept in state_of(tmp_path, 6)['optimizers'][0]['state'].values():
        assert kept.get('step', 2) == 2  # the two steps since


def test_moments_that_are_no_longer_needed_are_dropped(tmp_path, roots, caplog):
    assert runs.train(tmp_path, content(roots, {**OLD, 'amsgrad': True})) == 0
    assert runs.train(tmp_path, content(roots, total_iter=5), *WANTED) == 0
    kept = state_of(tmp_path, 5)['optimizers'][0]['state'][0]
    assert set(kept) == {'step', 'exp_avg', 'exp_avg_sq'}
    assert kept['step'] == 5
    assert not [r for r in caplog.records if r.levelname == 'WARNING' and 'AdamW' in r.getMessage()]


def test_another_network_is_an_error_that_says_what_to_do(tmp_path, roots):
    assert runs.train(tmp_path, content(roots)) == 0
    with pytest.raises(WeightsError, match=r'PlainUNet.*\n  width: 2 .*\b3\b'):
        runs.train(tmp_path, content(roots, network_g={**PLAIN, 'width': 3}), *WANTED)
    own = content(roots, network_g={**PLAIN, 'levels': 2}, path__ignore_resume_networks=['network_g'])
    with pytest.raises(CheckpointError, match=r'parameters.*path\.pretrain_network_g'):
        runs.train(tmp_path, own, *WANTED)


def test_average_seed_and_batch_of_the_new_recipe_are_used(tmp_path, roots):
    first = content(roots, train__ema_decay=0.9)
    assert runs.train(tmp_path, first) == 0
    models = tmp_path / 'experiments' / 'run' / 'models'
    old = torch.load(models / 'net_g_4.pth', weights_only=True)['params_ema']
    other = content(roots, total_iter=5, train__ema_decay=0.5, manual_seed=4, train__total_batch_size=3)
    copy = tmp_path / 'copy'
    shutil.copytree(tmp_path / 'experiments', copy / 'experiments')
    assert runs.train(tmp_path, other, *WANTED) == 0
    new = torch.load(models / 'net_g_5.pth', weights_only=True)
    for name, average in new['params_ema'].items():
        torch.testing.assert_close(average, 0.5 * old[name] + 0.5 * new['params'][name], rtol=1e-6, atol=1e-7)
    state = state_of(tmp_path, 5)
    assert state['recipe']['manual_seed'] == 4
    assert state['consumed'] == 3  # all seven pairs were used in two steps of four, so an epoch begins
    other['manual_seed'] = 3
    assert runs.train(copy, other, *WANTED) == 0
    assert runs.log_of(copy)[-1]['l_pix'] != runs.log_of(tmp_path)[-1]['l_pix']
    assert not torch.equal(state_of(copy, 5)['generators'][0], state['generators'][0])


def test_an_epoch_that_became_shorter_is_over(tmp_path, roots, caplog):
    long = content(roots, datasets__train__dataset_enlarge_ratio=10)
    assert runs.train(tmp_path, long) == 0
    assert state_of(tmp_path, 4)['consumed'] == 16
    assert runs.train(tmp_path, content(roots, total_iter=5), *WANTED) == 0
    assert re.search(r'epoch .*\b8 samples', caplog.text)
    assert (state_of(tmp_path, 5)['epoch'], state_of(tmp_path, 5)['consumed']) == (1, 4)


def test_the_best_by_another_metric_is_chosen_afresh(tmp_path, roots, caplog):
    changes = {
        'datasets__val': {'name': 'v', 'type': 'PairedImageDataset', **roots},
        'val__metrics': {'psnr': {'type': 'psnr'}, 'ssim': {'type': 'ssim'}},
        'val__val_freq': 2,
        'logger__best_metric': 'psnr',
    }
    first = content(roots, **changes)
    first['datasets']['val'] = {k: v for k, v in changes['datasets__val'].items() if k != 'dataroot_mask'}
    assert runs.train(tmp_path, first) == 0
    best = tmp_path / 'experiments' / 'run' / 'models' / 'net_g_best.pth'
    assert state_of(tmp_path, 4)['best'] > 1
    best.unlink()
    first['logger']['best_metric'] = 'ssim'
    first['train'] = {**first['train'], 'total_iter': 6}
    assert runs.train(tmp_path, first, *WANTED) == 0
    assert 'different metric' in caplog.text
    assert best.is_file()
    assert 0 < state_of(tmp_path, 6)['best'] <= 1


def test_a_checkpoint_whose_settings_are_not_those_of_its_recipe_is_pointed_out(tmp_path, roots, caplog):
    """As version 0.1 left them after a resume with changes."""
    assert runs.train(tmp_path, content(roots)) == 0
    path = tmp_path / 'experiments' / 'run' / 'training_states' / '4.state'
    state = torch.load(path, weights_only=True)
    state['recipe']['train']['optim_g'].update(NEW)
    state['recipe']['train']['scheduler']['T_max'] = 8
    state['recipe']['train']['total_iter'] = 8
    torch.save(state, path)
    new = content(roots, NEW, {**COSINE, 'T_max': 8}, 8)
    shutil.copytree(tmp_path, tmp_path / 'again', ignore=shutil.ignore_patterns('again'))
    assert runs.train(tmp_path, new, '--auto_resume') == 0
    for key in ('initial_lr 0.001', 'weight_decay 0.01', 'betas [0.9, 0.9]', 'T_max 4', 'eps 1e-08'):
        assert f' {key}, ' in caplog.text
    assert group_of(tmp_path, 8)['initial_lr'] == 1e-3
    assert runs.train(tmp_path / 'again', new, *WANTED) == 0
    assert group_of(tmp_path / 'again', 8)['initial_lr'] == 2e-3
