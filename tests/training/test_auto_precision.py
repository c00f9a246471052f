"""``train.precision: auto`` takes bf16 only where it is faster, and a resumed training keeps the choice."""

from __future__ import annotations

import pytest
import torch

from basicsr.data import collate, to_floats
from basicsr.models import build_model
from basicsr.options import load_options
from basicsr.training import auto_precision
from basicsr.training.auto_precision import measured_precision
from basicsr.training.distributed import Processes
from tests.helpers import training_runs as runs
from tests.training.test_host_waits import items


@pytest.fixture
def seconds(monkeypatch):
    """Set the seconds of each precision, and count the measurements."""
    taken = {'fp32': 1.0, 'bf16': 0.5}
    counts = {'fp32': 0, 'bf16': 0}

    def timed(loss, precision, device):
        loss().backward()
        counts[precision] += 1
        return taken[precision]

    monkeypatch.setattr(auto_precision, 'fast_bfloat16', lambda device: True)
    monkeypatch.setattr(auto_precision, '_timed', timed)
    return taken, counts


@pytest.mark.parametrize(('half', 'expected'), [(0.5, 'bf16'), (0.97, 'fp32'), (4.0, 'fp32')])
def test_the_faster_one_is_chosen_and_nothing_else_changes(seconds, half, expected):
    taken, counts = seconds
    taken['bf16'] = half
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1), torch.nn.BatchNorm2d(3), torch.nn.Dropout()).train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    torch.manual_seed(0)
    state = torch.get_rng_state()
    assert measured_precision(net, lambda: net(torch.rand(2, 3, 4, 4)).mean(), torch.device('cpu')) == expected
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert counts['fp32'] == counts['bf16'] >= 3


def test_what_is_measured_is_compiled_if_the_steps_are(tmp_path, recipe, seconds, monkeypatch):
    calls = []

    def compiled(net, **how):
        return lambda *inputs: calls.append(how) or net(*inputs)

    monkeypatch.setattr(torch, 'compile', compiled)
    content = recipe(train__precision='auto', train__compile=True)
    model = build_model(load_options(runs.write_options(tmp_path, content)))
    batch = to_floats(collate(items(), 0.5), 'cpu')
    model.choose_precision(batch)
    assert len(calls) == sum(seconds[1].values()) > 0
    model.train_step(batch)
    assert len(calls) == sum(seconds[1].values()) + 1


class OneOfTwo(Processes):
    """A process of a job of two, in which the first one chose bf16, or this one is the first."""

    def __init__(self, rank):
        super().__init__(rank, 2)

    def from_first(self, value):
        return value if self.is_first else 1


@pytest.mark.parametrize('rank', [0, 1])
def test_the_first_process_measures_for_all_without_the_others(tmp_path, recipe, seconds, monkeypatch, rank):
    model = build_model(load_options(runs.write_options(tmp_path, recipe(train__precision='auto'))))
    model.processes = OneOfTwo(rank)
    monkeypatch.setattr(model, '_forward', None)  # it would wait for the other process
    model.choose_precision(to_floats(collate(items(), 0.5), 'cpu'))
    assert model.arithmetic.precision == 'bf16' and not model.chooses_precision
    assert bool(seconds[1]['bf16']) == (rank == 0)


def test_without_bf16_units_nothing_is_measured(seconds, monkeypatch):
    monkeypatch.setattr(auto_precision, 'fast_bfloat16', lambda device: False)
    net = torch.nn.Conv2d(3, 3, 1)
    assert measured_precision(net, lambda: net(torch.rand(1, 3, 4, 4)).mean(), torch.device('cpu')) == 'fp32'
    assert seconds[1] == {'fp32': 0, 'bf16': 0}


def test_a_resumed_training_keeps_the_choice(tmp_path, recipe, seconds, caplog):
    taken, counts = seconds
    network = {
        'type': 'SAMDeblur',
        'backbone': {'type': 'NAFNet', 'width': 4, 'enc_blk_nums': [1], 'dec_blk_nums': [1]},
    }
    content = recipe(train__precision='auto', network_g=network, val__validate_first=False)
    assert runs.train(tmp_path / 'whole', content) == 0
    assert 'train.precision: auto chose bf16' in caplog.text and 'on cpu in bf16' in caplog.text
    whole = runs.result_of(tmp_path / 'whole')
    measured = dict(counts)
    parts = tmp_path / 'whole' / 'experiments' / 'run'
    for path in [*parts.glob('models/*'), *parts.glob('training_states/*')]:
        if not path.stem.endswith('3'):
            path.unlink()
    taken['bf16'] = 9.0  # would now lose
    caplog.clear()
    assert runs.train(tmp_path / 'whole', content, '--auto_resume') == 0
    assert counts == measured and 'on cpu in bf16' in caplog.text
    assert runs.differences(whole, runs.result_of(tmp_path / 'whole')) == []


def test_networks_that_are_not_known_to_be_accurate_stay_in_fp32(tmp_path, recipe, seconds, caplog):
    content = recipe(train__precision='auto', network_g={'type': 'PlainUNet', 'width': 4}, train__total_iter=1)
    content['datasets']['train'] |= {'type': 'PairedImageDataset'}
    content['datasets']['val'] |= {'type': 'PairedImageDataset'}
    for key in ('train', 'val'):
        content['datasets'][key].pop('dataroot_mask', None)
    assert runs.train(tmp_path, content) == 0
    assert 'on cpu in fp32' in caplog.text and seconds[1]['bf16'] == 0
