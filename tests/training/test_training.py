"""One process trains: what it writes, what it skips, when it stops, and what it refuses."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal

import numpy as np
import pytest
import torch

from basicsr.archs import build_network
from basicsr.models.image_restoration_model import ImageRestorationModel
from basicsr.options import load_options
from basicsr.utils.errors import CheckpointError, DataError, ImageFileError, OptionError
from basicsr.weights.files import load_weights, read_weights
from tests.helpers import training_runs as runs


def during(monkeypatch, step, action):
    """Do something while the training is in its ``step``-th step."""
    original = ImageRestorationModel.train_step

    def train_step(model, *batches):
        if model.iteration + 1 == step:
            action(model, batches)
        return original(model, *batches)

    monkeypatch.setattr(ImageRestorationModel, 'train_step', train_step)


def stop_at(monkeypatch, step, number=signal.SIGTERM):
    during(monkeypatch, step, lambda model, batches: os.kill(os.getpid(), number))


def iterations(tmp_path):
    folder = tmp_path / 'experiments' / 'run'
    networks = {path.stem.removeprefix('net_g_') for path in (folder / 'models').iterdir()}
    states = {path.stem for path in (folder / 'training_states').iterdir()}
    return networks, states


def test_a_training_leaves_logs_and_checkpoints_that_rebuild_its_network(tmp_path, recipe):
    content = recipe(train__ema_decay=0.5, logger__use_tb_logger=True, val__save_img=True)
    assert runs.train(tmp_path, content) == 0
    assert iterations(tmp_path) == ({'3', '6', '8', 'latest'}, {'3', '6', '8'})
    log = runs.log_of(tmp_path)
    assert [line['iter'] for line in log] == [1, 1, 2, 3, 4, 4, 5, 6, 7, 8, 8]
    assert [line['iter'] for line in log if 'psnr' in line] == [1, 4, 8]
    steps = [line for line in log if 'lr' in line]
    assert set(steps[0]) == {'iter', 'epoch', 'l_pix', 'lr', 'grad_norm'}
    assert [line['epoch'] for line in steps] == [0, 0, 1, 1, 2, 2, 3, 3]  # 7 pairs fill two steps of 4
    rates = [1e-7 + (1e-3 - 1e-7) * (1 + math.cos(math.pi * i / 8)) / 2 for i in range(8)]
    assert [line['lr'] for line in steps] == pytest.approx(rates)
    folder = tmp_path / 'experiments' / 'run'
    file = folder / 'models' / 'net_g_latest.pth'
    weights = read_weights(file, 'params_ema')
    net = build_network(weights.network)
    load_weights(net, weights)
    about = torch.load(file, weights_only=True)
    assert about['options']['train']['optim_g']['lr'] == 1e-3
    assert about['options']['manual_seed'] == 3
    assert about['iter'] == 8
    assert about['versions']['torch'] == torch.__version__
    assert len(about['git_commit']) >= 40
    assert any(not torch.equal(about['params'][name], about['params_ema'][name]) for name in about['params'])
    assert sorted(path.name for path in (folder / 'visualization' / '0').iterdir()) == ['0_1.png', '0_4.png', '0_8.png']
    assert (folder / 'log' / 'run.log').read_text().count('l_pix') == 8


def test_tensorboard_has_scalars_and_pictures(tmp_path, recipe):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert runs.train(tmp_path, recipe(logger__use_tb_logger=True, logger__images=2)) == 0
    events = EventAccumulator(str(tmp_path / 'experiments' / 'run' / 'log' / 'tensorboard'))
    events.Reload()
    assert [event.step for event in events.Scalars('losses/l_pix')] == list(range(1, 9))
    assert events.Scalars('losses/l_pix')[4].value == pytest.approx(runs.log_of(tmp_path)[6]['l_pix'])
    assert [event.step for event in events.Scalars('metrics/small-val/psnr')] == [1, 4, 8]
    pictures = events.Images('small-val/1')
    assert [picture.step for picture in pictures] == [1, 4, 8]
    assert (pictures[0].width, pictures[0].height) == (4 * 24, 28)  # input, output, target, regions
    assert 'small-val/2' not in events.Tags()['images']


@pytest.mark.parametrize(('accumulated', 'precision'), [(2, 'fp32'), (4, 'fp32'), (1, 'bf16')])
def test_accumulation_changes_nothing_and_half_precision_little(tmp_path, recipe, accumulated, precision):
    content = recipe(train__total_iter=3, train__scheduler__T_max=3, logger__save_checkpoint_freq=3)
    assert runs.train(tmp_path / 'whole', content) == 0
    content['datasets']['train']['batch_size_per_gpu'] = 4 // accumulated
    content['train']['precision'] = precision
    assert runs.train(tmp_path / 'other', content) == 0
    whole, other = (runs.log_of(tmp_path / name) for name in ('whole', 'other'))
    tolerance = 1e-5 if precision == 'fp32' else 3e-2
    for one, two in zip(whole, other, strict=True):
        numbers = [{k: v for k, v in line.items() if k != 'dataset'} for line in (one, two)]
        assert numbers[1] == pytest.approx(numbers[0], rel=tolerance)
    assert (whole == other) == (precision == 'fp32' and accumulated == 1)  # the precision does something


def test_fp16_finds_its_loss_scale_and_trains(tmp_path, recipe, caplog):
    content = recipe(train__precision='fp16', train__total_iter=16, train__max_bad_steps=2, train__ema_decay=0.1)
    assert runs.train(tmp_path, content) == 0
    overflows = [line for line in caplog.messages if 'fp16 overflowed' in line]
    assert 1 <= len(overflows) < 12  # each one halves the scale; they do not count as bad steps
    state = runs.result_of(tmp_path, 16)
    assert state['.state.scaler.scale'] == 65536 / 2 ** len(overflows)
    assert state['.state.bad_steps'] == 0
    losses = [line['l_pix'] for line in runs.log_of(tmp_path) if 'l_pix' in line]
    assert losses[-1] < losses[0] - 1


def test_the_average_follows_the_weights_and_buffers():
    from basicsr.training.ema import MovingAverage

    net = torch.nn.BatchNorm1d(2)
    average = MovingAverage(net, 0.75)
    with torch.no_grad():
        net.weight.fill_(5)
        net.running_mean.fill_(8)
        net.num_batches_tracked.fill_(6)
    average.update()
    assert average.net.weight.tolist() == [2, 2]  # 0.75 · 1 + 0.25 · 5
    assert average.net.running_mean.tolist() == [2, 2]
    assert average.net.num_batches_tracked == 6


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_stops_after_the_step_with_a_checkpoint(tmp_path, recipe, monkeypatch, number):
    before = [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)]
    stop_at(monkeypatch, 5, number)
    assert runs.train(tmp_path, recipe()) == 75
    assert iterations(tmp_path) == ({'3', '5'}, {'3', '5'})
    assert runs.log_of(tmp_path)[-1]['iter'] == 5
    assert [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)] == before


def test_signals_that_were_blocked_at_the_start_stop_as_well(tmp_path, recipe, monkeypatch):
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        stop_at(monkeypatch, 5, signal.SIGUSR1)
        assert runs.train(tmp_path, recipe()) == 75
        assert signal.SIGUSR1 in signal.pthread_sigmask(signal.SIG_BLOCK, ())  # as it was
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_a_signal_during_validation_postpones_it(tmp_path, recipe, monkeypatch):
    assert runs.train(tmp_path / 'whole', recipe()) == 0
    original = ImageRestorationModel.restore

    def restore(model, *arguments):
        if model.iteration == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(model, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(ImageRestorationModel, 'restore', restore)
        assert runs.train(tmp_path / 'stopped', recipe()) == 75
    assert 'psnr' not in runs.log_of(tmp_path / 'stopped')[-1]
    assert runs.train(tmp_path / 'stopped', recipe(), '--auto_resume') == 0
    assert runs.log_of(tmp_path / 'stopped') == runs.log_of(tmp_path / 'whole')


def poison(value):
    def action(model, batches):
        batches[0]['gt'][0, 0, 0, 0] = value

    return action


@pytest.mark.parametrize('value', [math.nan, math.inf])
def test_a_step_that_is_not_finite_is_skipped_and_its_images_are_named(tmp_path, recipe, monkeypatch, caplog, value):
    kept = []
    during(monkeypatch, 3, poison(value))
    during(
        monkeypatch, 4, lambda model, batches: kept.append({k: v.clone() for k, v in model.net.state_dict().items()})
    )
    during(
        monkeypatch, 3, lambda model, batches: kept.append({k: v.clone() for k, v in model.net.state_dict().items()})
    )
    assert runs.train(tmp_path, recipe()) == 0
    before, after = kept
    assert all(torch.equal(before[name], after[name]) for name in before)
    (line,) = [record.message for record in caplog.records if 'skipped' in record.message]
    assert 'step 3' in line
    assert 'l_pix not finite' in line
    assert line.count('/lq/') == 4
    result = torch.load(tmp_path / 'experiments/run/models/net_g_latest.pth', weights_only=True)['params']
    assert all(bool(torch.isfinite(tensor).all()) for tensor in result.values())
    assert runs.log_of(tmp_path)[3]['l_pix'] == str(value)


def test_many_in_a_row_stop_the_training_with_the_last_good_weights(tmp_path, recipe, monkeypatch, caplog):
    for step in (4, 5):
        during(monkeypatch, step, poison(math.nan))
    assert runs.train(tmp_path, recipe(train__max_bad_steps=2)) == 3
    assert iterations(tmp_path) == ({'3', '5'}, {'3', '5'})
    models = tmp_path / 'experiments' / 'run' / 'models'
    good, last = (torch.load(models / f'net_g_{i}.pth', weights_only=True)['params'] for i in (3, 5))
    assert all(torch.equal(good[name], last[name]) for name in good)
    assert re.search(r'stopped .*\b2 ', caplog.text)


def test_good_steps_between_bad_ones_start_the_count_anew(tmp_path, recipe, monkeypatch):
    for step in (2, 3, 5, 6):
        during(monkeypatch, step, poison(math.nan))
    assert runs.train(tmp_path, recipe(train__max_bad_steps=3)) == 0


@pytest.mark.parametrize('workers', [0, 2])
def test_a_broken_image_ends_the_training_by_name(tmp_path, roots, recipe, workers):
    broken = copy_of(roots, tmp_path)
    (tmp_path / 'lq' / '4.png').write_bytes((tmp_path / 'lq' / '4.png').read_bytes()[:200])
    content = runs.options(broken, val__validate_first=False, datasets__train__num_worker_per_gpu=workers)
    with pytest.raises(ImageFileError, match=r'^\S*lq/4\.png: .*cut off'):
        runs.train(tmp_path / 'run', content)


@pytest.mark.parametrize('workers', [0, 2])
def test_a_broken_image_is_skipped_counted_and_named(tmp_path, roots, caplog, workers):
    broken = copy_of(roots, tmp_path)
    (tmp_path / 'lq' / '4.png').write_bytes(b'')
    content = runs.options(broken, train__on_bad_image='skip', datasets__train__num_worker_per_gpu=workers)
    content['val']['max_images'] = 3  # not the broken one
    assert runs.train(tmp_path / 'run', content) == 0
    lines = [record.message for record in caplog.records if 'skipped (' in record.message]
    assert re.match(r'skipped \(1\b', lines[0])
    assert re.search(r'lq/4\.png: .*empty', lines[0])
    assert len(lines) >= 4  # once an epoch at least


def test_the_very_first_image_may_be_the_broken_one(tmp_path, roots, caplog):
    broken = copy_of(roots, tmp_path)
    (tmp_path / 'lq' / '0.png').write_bytes(b'')
    content = runs.options(broken, train__on_bad_image='skip', val__on_bad_image='skip')
    assert runs.train(tmp_path / 'run', content) == 0
    assert re.search(r'lq/0\.png: .*empty', caplog.text)
    assert [line['iter'] for line in runs.log_of(tmp_path / 'run') if 'psnr' in line] == [1, 4, 8]
    for path in (tmp_path / 'lq').iterdir():
        path.write_bytes(b'')
    with pytest.raises(ImageFileError, match=r'lq/\d\.png: .*empty'):
        runs.train(tmp_path / 'none', content)


@pytest.mark.parametrize('policy', ['raise', 'skip'])
def test_a_data_set_that_disappears(tmp_path, roots, monkeypatch, policy):
    gone = copy_of(roots, tmp_path)
    during(monkeypatch, 3, lambda model, batches: shutil.rmtree(tmp_path / 'lq'))
    content = runs.options(gone, train__on_bad_image=policy, val__validate_first=False)
    text = r'^\S*lq/\S+: ' if policy == 'raise' else r'\b7 samples .*lq/'
    with pytest.raises(DataError, match=text):
        runs.train(tmp_path / 'run', content)


def copy_of(roots, folder):
    for name, path in roots.items():
        shutil.copytree(path, folder / {'dataroot_gt': 'gt', 'dataroot_lq': 'lq', 'dataroot_mask': 'masks'}[name])
    names = {'dataroot_gt': 'gt', 'dataroot_lq': 'lq', 'dataroot_mask': 'masks'}
    return {name: str(folder / short) for name, short in names.items()}


def test_retention_keeps_the_last_pairs_and_the_best(tmp_path, recipe):
    content = recipe(logger__keep_checkpoints=2, logger__best_metric='psnr', logger__save_checkpoint_freq=2)
    assert runs.train(tmp_path, content) == 0
    assert iterations(tmp_path) == ({'6', '8', 'latest', 'best'}, {'6', '8'})
    scores = {line['iter']: line['psnr'] for line in runs.log_of(tmp_path) if 'psnr' in line}
    best = torch.load(tmp_path / 'experiments/run/models/net_g_best.pth', weights_only=True)
    assert best['iter'] == max(scores, key=scores.__getitem__)


def test_an_existing_experiment_is_not_touched(tmp_path, recipe):
    folder = tmp_path / 'experiments' / 'run'
    folder.mkdir(parents=True)
    (folder / 'notes.txt').write_text('mine')
    with pytest.raises(OptionError, match=r'experiments/run.*--auto_resume'):
        runs.train(tmp_path, recipe())
    assert [path.name for path in folder.iterdir()] == ['notes.txt']


def test_an_empty_experiment_is_used(tmp_path, recipe):
    (tmp_path / 'experiments' / 'run' / 'models').mkdir(parents=True)  # as version 0.1 left it after a refused start
    assert runs.train(tmp_path, recipe()) == 0


def test_a_debug_run_is_short_and_has_a_folder_of_its_own(tmp_path, recipe, caplog):
    content = recipe(train__total_iter=200_000, train__total_batch_size=32, datasets__train__num_worker_per_gpu=16)
    for _ in range(2):  # the second one finds the folder of the first
        caplog.clear()
        caplog.set_level('INFO')
        assert runs.train(tmp_path, content, '--debug') == 0
        assert 'test run' in caplog.text
    assert [path.name for path in (tmp_path / 'experiments').iterdir()] == ['run_debug']
    log = runs.log_of(tmp_path, 'run_debug')
    assert [line['iter'] for line in log] == [1, 2, 2]


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'network_g': {'type': 'NAFNet', 'width': 4}}, r'datasets\.train: .*NAFNet '),
        ({'network_g': {'type': 'NAFNet', 'width': 4, 'mask': True}}, r'datasets\.train: .*gray'),
        ({'datasets__train__type': 'PairedImageDataset'}, r'datasets\.train: .*SegNAFNet'),
        ({'datasets__val__type': 'PairedImageDataset'}, r'datasets\.val: PairedImageDataset '),
        ({'datasets__val': {'name': 'x', 'type': 'SingleImageDataset'}}, r'val\.metrics\.psnr: .*ground truth'),
        ({'logger__best_metric': 'ssim'}, "logger.best_metric: 'ssim'"),
        ({'train__optim_g__lr': -1}, 'train.optim_g'),
        ({'train__total_batch_size': 0}, 'total_batch_size'),
        ({'path__resume_state': 'gone.state'}, 'gone.state'),
    ],
)
def test_what_does_not_fit_is_refused_before_training(tmp_path, roots, changes, message):
    content = runs.options(roots, **changes)
    for key, block in content['datasets'].items():
        if block['type'] == 'PairedImageDataset':
            del block['dataroot_mask']
        if block['type'] == 'SingleImageDataset':
            content['datasets'][key] |= {k: roots[k] for k in ('dataroot_lq', 'dataroot_mask')}
    with pytest.raises(OptionError, match=message):
        runs.train(tmp_path, content)
    assert not list(tmp_path.rglob('*.pth'))


def test_an_option_file_for_evaluation_is_refused(tmp_path, recipe):
    content = recipe()
    del content['train'], content['datasets']['train']
    with pytest.raises(OptionError, match=r'datasets\.train'):
        runs.train(tmp_path, content)


def test_terms_of_a_sum_are_told_apart(tmp_path, recipe):
    losses = [{'type': 'L1Loss'}, {'type': 'FFTLoss', 'loss_weight': 0.1}]
    content = recipe(train__pixel_opt={'type': 'WeightedSumLoss', 'losses': losses}, train__total_iter=1)
    assert runs.train(tmp_path, content) == 0
    line = runs.log_of(tmp_path)[0]
    assert line['l_pix'] == pytest.approx(line['l_pix_L1Loss'] + line['l_pix_FFTLoss'])


def test_the_log_is_cut_back_to_the_checkpoint(tmp_path):
    from basicsr.training.loggers import cut_back

    path = tmp_path / 'run.jsonl'
    lines = [json.dumps({'iter': i}) for i in (1, 2, 2, 3)]
    path.write_text('\n'.join(lines) + '\n{"iter": 2, "l_p')
    cut_back(path, 2)
    assert path.read_text() == '\n'.join(lines[:3]) + '\n'


@pytest.mark.parametrize(
    ('total', 'at_most', 'world', 'expected'),
    [(32, 32, 1, (1, 32)), (32, 32, 8, (1, 4)), (32, 5, 2, (4, 4)), (32, 3, 1, (16, 2)), (None, 6, 3, (1, 6))],
)
def test_batches_are_shared_evenly(total, at_most, world, expected):
    from basicsr.training.batching import share_batch

    batching = share_batch(total, at_most, world)
    assert (batching.accumulation, batching.at_once) == expected
    assert batching.accumulation * batching.at_once * world == batching.total
    assert 'published' not in str(batching)


def test_a_batch_that_cannot_be_shared_is_refused():
    from basicsr.training.batching import share_batch

    with pytest.raises(OptionError, match=r'1, 2, 4, 8, 16, 32 processes.* 33'):
        share_batch(32, 32, 3)


def test_generator_states_come_back():
    import random

    from basicsr.training.randomness import generator_states, restore_generators

    def draw():
        return random.gauss(0, 1), np.random.standard_normal(), torch.rand(3).tolist()  # noqa: NPY002

    draw()  # leaves a second normal number in Python's and numpy's generators
    states = generator_states(torch.device('cpu'))
    expected = [draw() for _ in range(3)]
    restore_generators(states, torch.device('cpu'))
    assert [draw() for _ in range(3)] == expected
    with pytest.raises(CheckpointError):
        restore_generators(states[:100], torch.device('cpu'))


def test_a_training_on_a_cpu_leaves_the_gpus_of_its_machine_alone(tmp_path, recipe, monkeypatch):
    """A context on a GPU takes half a gigabyte of it, for every process."""

    import torch._dynamo  # which looks at all functions of torch when it is first used
    from torch.utils.data import DataLoader

    def touched(*arguments, **more):
        raise AssertionError('a GPU was touched')

    made = []
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '0,1')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    hidden = lambda check_available=False: None if not os.environ['CUDA_VISIBLE_DEVICES'] else touched()  # noqa: E731
    monkeypatch.setattr(torch.accelerator, 'current_accelerator', hidden)  # torch's optimizers ask it
    monkeypatch.setattr(torch.cuda, 'is_current_stream_capturing', lambda: False)  # which touches no GPU
    for name in ('get_rng_state', 'set_rng_state', 'current_device', 'synchronize', 'empty_cache'):
        monkeypatch.setattr(torch.cuda, name, touched)
    monkeypatch.setattr(DataLoader, '__init__', spy(DataLoader.__init__, made))
    content = recipe(num_gpu=0, datasets__train__pin_memory=True)
    assert runs.train(tmp_path, content, '--force_yml', 'train:total_iter=3', 'train:scheduler:T_max=3') == 0
    assert runs.train(tmp_path, content, '--auto_resume', '--force_yml', 'path:resume_with_changes=true') == 0
    assert made and not any(options['pin_memory'] for options in made)


def spy(original, seen):
    def init(loader, *arguments, **options):
        seen.append(options)
        return original(loader, *arguments, **options)

    return init


def test_generated_validation_data_have_another_seed(tmp_path, roots, monkeypatch):
    from basicsr.train import Training
    from basicsr.training.distributed import Processes
    from basicsr.training.signals import StopRequest

    leaves = {'type': 'SyntheticBlurDataset', 'length': 4, 'gt_size': 16, 'path_length': 2.0}
    data = {'train': {'name': 'a', **leaves, 'batch_size_per_gpu': 4}, 'val': {'name': 'b', **leaves}}
    options = load_options(
        runs.write_options(tmp_path, runs.options(roots, datasets={**data, 'val_2': {**data['val'], 'name': 'c'}}))
    )
    monkeypatch.chdir(tmp_path)
    training = Training(options, Processes(), StopRequest(), auto_resume=False)
    seeds = [d.seed for d in (training.data._dataset, *training.validation._datasets.values())]
    assert seeds[0] == 3
    assert len(set(seeds)) == 3
