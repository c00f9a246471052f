"""Schedules and optimizers: the original's learning rates, warm-up, saving and restoring, and bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from basicsr.training import advance, build_optimizer, build_scheduler
from basicsr.training.scheduling import catch_up
from basicsr.utils.errors import ArgumentError, UnknownNameError
from basicsr.utils.registry import OPTIMIZER_REGISTRY, SCHEDULER_REGISTRY

pytestmark = pytest.mark.numeric

BLOCKS = [
    {'type': 'TrueCosineAnnealingLR', 'T_max': 200, 'eta_min': 1e-7},
    {'type': 'CosineAnnealingLR', 'T_max': 150},
    {'type': 'MultiStepLR', 'milestones': [40, 90], 'gamma': 0.5},
    {'type': 'MultiStepRestartLR', 'milestones': [40, 90], 'restarts': [0, 60], 'restart_weights': [1, 0.5]},
    {'type': 'CosineAnnealingRestartLR', 'periods': [50, 150], 'restart_weights': [1, 0.5], 'eta_min': 1e-7},
    {'type': 'WarmupCosineLR', 'warmup': 20, 'eta_min': 1e-7},
    {'type': 'ConstantCosineLR', 'constant': 20, 'eta_min': 1e-7},
    {'type': 'LinearLR'},
    {'type': 'VibrateLR'},
]


def sgd(rate: float = 1e-3) -> torch.optim.Optimizer:
    groups = [{'params': [torch.zeros(1, requires_grad=True)], 'lr': rate * factor} for factor in (1, 2)]
    return build_optimizer(groups, {'type': 'SGD', 'lr': rate})


def rates(optimizer, scheduler, iterations, warmup_iter: int = -1) -> dict[int, float]:
    """The rate of the first group in force during each iteration."""
    result = {}
    for iteration in iterations:
        advance(optimizer, scheduler, iteration, warmup_iter)
        result[iteration] = optimizer.param_groups[0]['lr']
        if iteration <= 2:
            optimizer.step()  # torch warns if a schedule is stepped before its optimizer
    return result


@pytest.mark.slow
@pytest.mark.vectors
def test_true_cosine_as_in_the_original(vector):
    case = vector('sam_deblur', 'lr_true_cosine')
    for setting in case.meta['cases']:
        optimizer = sgd(setting['base_lr'])
        block = {'type': 'TrueCosineAnnealingLR', 'T_max': setting['T_max'], 'eta_min': setting['eta_min']}
        scheduler = build_scheduler(optimizer, block)
        found = rates(optimizer, scheduler, range(1, setting['iterations'][-1] + 1), setting['warmup_iter'])
        expected = case[f'out/{setting["name"]}']
        np.testing.assert_allclose([found[i] for i in setting['iterations']], expected, **case.tolerance)


@pytest.mark.vectors
def test_other_schedules_as_in_the_original(vector):
    case = vector('sam_deblur', 'lr_other_schedules')
    assert len(case.meta['cases']) == 4
    for setting in case.meta['cases']:
        optimizer = sgd(setting['base_lr'])
        scheduler = build_scheduler(optimizer, {'type': setting['name'], **setting['kwargs']})
        expected = case[f'out/{setting["name"]}']
        found = rates(optimizer, scheduler, range(1, len(expected) + 1))
        np.testing.assert_allclose(list(found.values()), expected, **case.tolerance, err_msg=setting['name'])


def test_every_registered_schedule_is_tested():
    assert {block['type'] for block in BLOCKS} == set(SCHEDULER_REGISTRY.names())


@pytest.mark.parametrize('warmup_iter', [-1, 30])
@pytest.mark.parametrize('block', BLOCKS, ids=lambda block: block['type'])
def test_a_restored_schedule_goes_on_as_if_it_had_not_stopped(block, warmup_iter, tmp_path):
    optimizer = sgd()
    expected = rates(optimizer, build_scheduler(optimizer, block, 200), range(1, 201), warmup_iter)
    for stop in (20, 45, 110):
        first = sgd()
        scheduler = build_scheduler(first, block, 200)
        rates(first, scheduler, range(1, stop + 1), warmup_iter)
        state = {'optimizer': first.state_dict(), 'scheduler': scheduler.state_dict()}
        torch.save(state, tmp_path / 'state')

        state = torch.load(tmp_path / 'state', weights_only=True)
        second = sgd(0.5)
        scheduler = build_scheduler(second, block, 200)
        second.step()
        scheduler.load_state_dict(state['scheduler'])
        second.load_state_dict(state['optimizer'])
        rest = rates(second, scheduler, range(stop + 1, 201), warmup_iter)
        assert rest == {iteration: expected[iteration] for iteration in rest}


@pytest.mark.parametrize('warmup_iter', [-1, 30])
@pytest.mark.parametrize('block', BLOCKS, ids=lambda block: block['type'])
def test_a_new_schedule_catches_up_with_one_that_came_all_the_way(block, warmup_iter):
    optimizer = sgd()
    expected = rates(optimizer, build_scheduler(optimizer, block, 200), range(1, 201), warmup_iter)
    for done in (0, 1, 20, 45, 110):
        optimizer = sgd()
        scheduler = build_scheduler(optimizer, block, 200)
        catch_up(optimizer, scheduler, done, warmup_iter)
        rest = rates(optimizer, scheduler, range(done + 1, 201), warmup_iter)
        assert rest == {iteration: expected[iteration] for iteration in rest}


@pytest.mark.parametrize('block', BLOCKS, ids=lambda block: block['type'])
def test_each_group_follows_its_own_rate(block):
    optimizer = sgd()
    scheduler = build_scheduler(optimizer, {**block, 'eta_min': 0.0} if 'eta_min' in block else block, 200)
    for iteration in range(1, 190):
        advance(optimizer, scheduler, iteration)
        optimizer.step()
        first, second = (group['lr'] for group in optimizer.param_groups)
        assert second == pytest.approx(2 * first, rel=1e-12)


def test_warm_up_is_a_line_and_needs_no_schedule():
    optimizer = sgd()
    found = rates(optimizer, None, range(1, 9), warmup_iter=5)
    assert list(found.values()) == pytest.approx([2e-4, 4e-4, 6e-4, 8e-4, 1e-3, 1e-3, 1e-3, 1e-3], rel=1e-12)
    assert rates(sgd(), None, [1, 2]) == {1: 1e-3, 2: 1e-3}
    with pytest.raises(ValueError, match='0'):
        advance(optimizer, None, 0)


def test_the_length_comes_from_the_loop_unless_the_block_has_one():
    for block, expected in (({'type': 'LinearLR'}, 0.5e-3), ({'type': 'LinearLR', 'total_iter': 20}, 0.75e-3)):
        optimizer = sgd()
        copy = dict(block)
        assert rates(optimizer, build_scheduler(optimizer, block, 10), range(1, 7))[6] == pytest.approx(expected)
        assert block == copy


def test_the_last_period_and_the_line_hold_their_end():
    optimizer = sgd()
    scheduler = build_scheduler(optimizer, {'type': 'CosineAnnealingRestartLR', 'periods': [4], 'eta_min': 1e-6})
    assert rates(optimizer, scheduler, range(1, 9))[8] == pytest.approx(1e-6)
    optimizer = sgd()
    assert rates(optimizer, build_scheduler(optimizer, {'type': 'LinearLR', 'total_iter': 4}), range(1, 9))[8] == 0


@pytest.mark.parametrize(
    ('block', 'error', 'message'),
    [
        ({'type': 'CosineAnnealing'}, UnknownNameError, 'CosineAnnealing'),
        ({'T_max': 10}, ArgumentError, 'type'),
        ({'type': 'TrueCosineAnnealingLR'}, ArgumentError, 'T_max'),
        ({'type': 'TrueCosineAnnealingLR', 'T_max': 10, 'eta_mim': 0}, ArgumentError, 'eta_min'),
        ({'type': 'MultiStepLR', 'milestones': [3], 'restarts': [0, 2]}, ArgumentError, r'\b2 restarts .*\b1\b'),
        (
            {'type': 'CosineAnnealingRestartLR', 'periods': [5, 9], 'restart_weights': [1]},
            ArgumentError,
            r'\b2 periods .*\b1\b',
        ),
        ({'type': 'CosineAnnealingRestartLR', 'periods': []}, ArgumentError, 'periods'),
        ({'type': 'CosineAnnealingRestartLR', 'periods': [5, 9]}, ArgumentError, '14.* total_iter 100'),
        ({'type': 'VibrateLR'}, ArgumentError, '160'),
    ],
)
def test_wrong_blocks_are_refused(block, error, message):
    with pytest.raises(error, match=message):
        build_scheduler(sgd(), block, 100)


def test_periods_last_until_the_step_before_the_last_iteration():
    """Iteration i runs after i - 1 steps, so the 100th needs 99."""
    block = {'type': 'CosineAnnealingRestartLR'}
    for last in (51, 50, 49):
        build_scheduler(sgd(), {**block, 'periods': [50, last]}, 100)
    with pytest.raises(ArgumentError, match=r'98.* total_iter 100'):
        build_scheduler(sgd(), {**block, 'periods': [50, 48]}, 100)


def test_a_schedule_without_a_length_is_refused():
    with pytest.raises(ArgumentError, match='LinearLR: total_iter'):
        build_scheduler(sgd(), {'type': 'LinearLR'})


@pytest.mark.parametrize('name', ['AdamW', 'Adam', 'SGD', 'Adamax', 'NAdam', 'RAdam', 'RMSprop'])
def test_optimizers_of_torch_minimise(name):
    block = {'type': name, 'lr': 0.01, 'weight_decay': 0}
    assert OPTIMIZER_REGISTRY.check(block)[1] == []
    weight = torch.ones(3, requires_grad=True)
    optimizer = build_optimizer(iter([weight]), block)
    assert type(optimizer) is getattr(torch.optim, name)
    for _ in range(20):
        optimizer.zero_grad()
        weight.square().sum().backward()
        optimizer.step()
    assert weight.detach().square().sum() < 2.7


def test_the_published_block_and_a_mistyped_one():
    weight = [torch.ones(1, requires_grad=True)]
    block = {'type': 'AdamW', 'lr': 1e-3, 'weight_decay': 1e-3, 'betas': [0.9, 0.9]}
    defaults = build_optimizer(weight, block).defaults
    assert (defaults['weight_decay'], tuple(defaults['betas']), defaults['eps']) == (1e-3, (0.9, 0.9), 1e-8)
    with pytest.raises(ArgumentError, match='weight_decay'):
        build_optimizer(weight, {**block, 'weight_decy': 0.0})
    with pytest.raises(ArgumentError, match='lr'):
        build_optimizer(weight, {**block, 'lr': 'fast'})
    with pytest.raises(UnknownNameError, match="'Adam'"):
        build_optimizer(weight, {'type': 'AdamV'})


def test_each_period_may_have_its_own_lowest_rate():
    rates = [3e-4]
    optimizer = build_optimizer([torch.zeros(1, requires_grad=True)], {'type': 'SGD', 'lr': rates[0]})
    block = {'type': 'CosineAnnealingRestartLR', 'periods': [4, 6], 'eta_min': [3e-4, 1e-6]}
    scheduler = build_scheduler(optimizer, block, 10)
    for _ in range(10):
        optimizer.step()
        scheduler.step()
        rates += scheduler.get_last_lr()
    cosine = 1e-6 + (3e-4 - 1e-6) * 0.5 * (1 + np.cos(np.pi * np.arange(1, 7) / 6))
    np.testing.assert_allclose(rates, [3e-4] * 5 + list(cosine), rtol=1e-12)
    with pytest.raises(ArgumentError, match='eta_min'):
        build_scheduler(optimizer, {**block, 'eta_min': [1e-6]}, 10)


def test_a_constant_rate_then_a_cosine():
    optimizer = sgd()
    scheduler = build_scheduler(optimizer, {'type': 'ConstantCosineLR', 'constant': 30, 'eta_min': 1e-6}, 100)
    found = rates(optimizer, scheduler, range(1, 121))
    assert found[1] == found[31] == 1e-3 > found[32]
    assert found[66] == pytest.approx((1e-3 + 1e-6) / 2)  # half of the 70 steps after the constant ones
    assert found[101] == found[120] == pytest.approx(1e-6)
