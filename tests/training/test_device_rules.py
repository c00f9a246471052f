"""What a training does by device, shown without one: precisions, TF32, memory formats, fused and skipped steps."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from basicsr.data import collate, to_floats
from basicsr.models import build_model
from basicsr.options import load_options
from basicsr.training.checkpoints import Checkpoint
from basicsr.training.distributed import Processes
from basicsr.training.ema import MovingAverage
from basicsr.training.optimizers import build_optimizer
from basicsr.training.precision import Arithmetic, step_unless
from basicsr.training.randomness import seed_everything
from basicsr.training.resuming import continue_exactly
from basicsr.training.scheduling import build_scheduler
from basicsr.utils.device import prefers_channels_last, require_bfloat16, tf32, to_device
from basicsr.utils.errors import OptionError
from tests.helpers import training_runs as runs
from tests.helpers.host_waits import BlockingCopies
from tests.training.test_host_waits import items

CUDA = torch.device('cuda')
SGD = {'type': 'SGD', 'lr': 0.5, 'momentum': 0.9}
ADAMW = {'type': 'AdamW', 'lr': 0.5}


@pytest.fixture
def deterministic():
    """Deterministic algorithms, in which torch fills new memory with NaN unless told otherwise."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def capability(monkeypatch):
    """Set the compute capability of GPUs."""
    return lambda *numbers: monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda device: numbers)


@pytest.mark.usefixtures('deterministic')
@pytest.mark.parametrize('block', [SGD, {**SGD, 'nesterov': True}, {**SGD, 'dampening': 0.5}, ADAMW])
def test_steps_after_a_skipped_first_one_are_those_without_it(block):
    weights = [nn.Parameter(torch.tensor([1.0, 2.0])) for _ in range(2)]
    optimizers = [build_optimizer([weight], block, fuse=True) for weight in weights]
    weights[0].grad = torch.full((2,), math.nan)
    step_unless(torch.tensor(1.0), optimizers[0])
    assert weights[0].tolist() == [1, 2]
    for gradient in ([0.5, -1.0], [0.25, 4.0]):
        for weight, optimizer in zip(weights, optimizers, strict=True):
            weight.grad = torch.tensor(gradient)
            step_unless(torch.tensor(0.0), optimizer)
    assert weights[1].isfinite().all() and weights[1].tolist() != [1, 2]
    assert torch.equal(*weights)


def test_deterministic_trainings_do_not_fill_new_memory():
    fill = torch.utils.deterministic.fill_uninitialized_memory
    try:
        seed_everything(0, deterministic=True)
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.utils.deterministic.fill_uninitialized_memory
    finally:
        torch.utils.deterministic.fill_uninitialized_memory = fill
        seed_everything(0)


def test_optimizers_are_fused_where_they_can_skip_steps_on_the_device():
    elsewhere = nn.Parameter(torch.zeros(2, device='meta'))
    here = nn.Parameter(torch.zeros(2))
    for params in ([elsewhere], [{'params': [here]}, {'params': [elsewhere]}]):
        assert not build_optimizer(params, ADAMW, fuse=True).defaults.get('fused')
    for params in ([here], [{'params': [here]}]):
        assert build_optimizer(params, ADAMW, fuse=True).defaults['fused']
    assert not build_optimizer([here], {**ADAMW, 'foreach': True}, fuse=True).defaults['fused']


@pytest.mark.parametrize('was_fused', [False, True])
def test_a_step_is_skipped_after_resuming_a_checkpoint_of_another_device(was_fused):
    """The groups of the checkpoint say how its device stepped."""
    weights = [nn.Parameter(torch.tensor([1.0, 2.0])) for _ in range(2)]
    before, after = (
        build_optimizer([weight], {**ADAMW, 'fused': fused})
        for weight, fused in zip(weights, (was_fused, not was_fused), strict=True)
    )
    schedule = {'type': 'CosineAnnealingLR', 'T_max': 9}
    weights[0].grad = torch.ones(2)
    before.step()
    state = {'optimizers': [before.state_dict()], 'schedulers': [build_scheduler(before, schedule).state_dict()]}
    continue_exactly(after, build_scheduler(after, schedule), Checkpoint(1, Path('x'), {}, None, state))
    assert after.param_groups[0]['fused'] == (not was_fused)
    weights[1].grad = torch.full((2,), math.nan)
    step_unless(torch.tensor(1.0), after)
    assert weights[1].tolist() == [1, 2]
    weights[1].grad = torch.ones(2)
    step_unless(torch.tensor(0.0), after)
    assert (weights[1] < torch.tensor([1.0, 2.0])).all()
    assert after.state[weights[1]]['step'] == 2


def test_the_scale_of_fp16_stays_finite():
    arithmetic = Arithmetic('fp16', torch.device('cpu'))
    arithmetic.load_state_dict({'scale': 2.0**127, '_growth_tracker': 1999})
    good, bad = torch.tensor(False), torch.tensor(True)
    arithmetic.update(good, good)
    assert arithmetic.state_dict()['scale'] == 2.0**127
    arithmetic.update(good, bad)
    assert arithmetic.state_dict()['scale'] == 2.0**126


class _Dtypes(TorchDispatchMode):
    """Collect the dtypes of all results."""

    def __init__(self):
        super().__init__()
        self.found = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.found |= {one.dtype for one in torch.utils._pytree.tree_leaves(result) if isinstance(one, torch.Tensor)}
        return result


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_averages_need_no_float64_and_are_the_same_with_a_flag(dtype):
    """Apple GPUs have no float64."""
    net = nn.Linear(3, 2).to(dtype)
    plain, flagged = MovingAverage(net, 0.999), MovingAverage(net, 0.999)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(1)
    plain.update()
    with _Dtypes() as dtypes:
        flagged.update(torch.tensor(0.0))
    assert torch.float64 not in dtypes.found or dtype == torch.float64
    torch.testing.assert_close(flagged.net.state_dict(), plain.net.state_dict(), rtol=1e-6, atol=1e-7)
    before = {key: value.clone() for key, value in flagged.net.state_dict().items()}
    flagged.update(torch.tensor(1.0))
    torch.testing.assert_close(flagged.net.state_dict(), before, rtol=0, atol=0)


def test_only_copies_to_cuda_do_not_block():
    mode = FakeTensorMode()
    with mode, BlockingCopies() as copies:
        assert to_device(torch.rand(3), CUDA, torch.float16).dtype == torch.float16
    assert copies.found == []
    with mode, BlockingCopies() as copies:
        to_device(torch.rand(3), torch.device('meta'))
    assert len(copies.found) == 1


@pytest.mark.parametrize(
    ('numbers', 'expected'),
    [
        ((6, 1), (False, False, False, False)),
        ((7, 5), (True, False, False, False)),
        ((8, 6), (True, True, False, False)),
        ((9, 0), (True, True, False, False)),
    ],
)
def test_memory_formats_by_device_and_dtype(capability, numbers, expected):
    capability(*numbers)
    with tf32(True):
        found = [prefers_channels_last(CUDA, dtype) for dtype in (torch.float16, torch.float32, torch.float64)]
    with tf32(False):
        assert prefers_channels_last(CUDA, torch.bfloat16) == expected[0]
        found.insert(2, prefers_channels_last(CUDA, torch.float32))
    assert tuple(found) == expected
    assert prefers_channels_last(torch.device('cpu'), torch.float32)
    assert not prefers_channels_last(torch.device('mps'), torch.float32)


def test_validation_in_bf16_needs_a_gpu_that_has_it(tmp_path, recipe, capability):
    capability(7, 5)
    options = load_options(runs.write_options(tmp_path, recipe(val__precision='bf16')))
    with pytest.raises(OptionError, match=r"val\.precision.*'fp32'"):
        build_model(options, processes=Processes(device=CUDA))
    capability(8, 0)
    require_bfloat16(CUDA, 'val.precision', "'fp32'")


@pytest.mark.parametrize('enabled', [True, False, None])
def test_tf32_holds_for_the_whole_step_and_no_longer(tmp_path, recipe, enabled):
    def flags():
        return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32

    model = build_model(load_options(runs.write_options(tmp_path, recipe(train__tf32=enabled))))
    seen = []
    model.net.register_forward_pre_hook(lambda *given: seen.append(flags()))
    next(model.net.parameters()).register_hook(lambda gradient: seen.append(flags()))
    before = flags()
    model.train_step(to_floats(collate(items(), 0.5), 'cpu'))
    assert seen == [before if enabled is None else (enabled, enabled)] * 2
    assert flags() == before
