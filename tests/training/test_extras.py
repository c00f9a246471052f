"""What a training can do beside training: compile, tell wandb, announce its batch, choose the best, show pictures."""

from __future__ import annotations

import errno
import json
import os
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from basicsr.evaluation import validation
from basicsr.models.image_restoration_model import ImageRestorationModel
from basicsr.options import load_options
from basicsr.training import loggers
from basicsr.training.batching import share_batch
from basicsr.training.board import Board
from basicsr.training.distributed import start_processes
from basicsr.utils.errors import OptionError
from tests.helpers import training_runs as runs
from tests.helpers.project import ROOT


@pytest.mark.slow
def test_a_compiled_network_trains_the_same(tmp_path, recipe, monkeypatch):
    """By torch's tracing alone: the compiler behind it would take minutes here."""
    whole = torch.compile
    compiled = []

    def trace(module, **how):
        compiled.append(module)
        return whole(module, backend='aot_eager', **how)

    content = recipe(train__total_iter=3, train__scheduler__T_max=3, train__ema_decay=0.9)
    assert runs.train(tmp_path / 'eager', content) == 0
    monkeypatch.setattr(torch, 'compile', trace)
    content['train']['compile'] = True
    assert runs.train(tmp_path / 'compiled', content) == 0
    assert len(compiled) == 1
    eager, other = (runs.log_of(tmp_path / name) for name in ('eager', 'compiled'))
    for one, two in zip(eager, other, strict=True):
        one.pop('dataset', None), two.pop('dataset', None)
        assert two == pytest.approx(one, rel=1e-4)
    first, second = (runs.result_of(tmp_path / name, 3) for name in ('eager', 'compiled'))
    assert first.keys() == second.keys()  # no names of a wrapper


class FakeRun:
    """What wandb.init returns."""

    def __init__(self, **arguments):
        self.arguments, self.logged, self.finished = arguments, [], False

    def log(self, values, step):
        self.logged.append((step, values))

    def finish(self):
        self.finished = True


@pytest.fixture
def wandb(monkeypatch):
    fake = types.ModuleType('wandb')
    fake.runs = []

    def init(**arguments):
        fake.runs.append(FakeRun(**arguments))
        return fake.runs[-1]

    fake.init = init
    monkeypatch.setitem(sys.modules, 'wandb', fake)
    return fake


def test_wandb_hears_of_steps_and_scores(tmp_path, recipe, wandb):
    content = recipe(logger__wandb={'project': 'deblurring', 'resume_id': 'abc'}, train__total_iter=4)
    assert runs.train(tmp_path, content) == 0
    (run,) = wandb.runs
    told = {key: run.arguments[key] for key in ('project', 'name', 'id', 'resume')}
    assert told == {'project': 'deblurring', 'name': 'run', 'id': 'abc', 'resume': 'must'}
    assert run.arguments['config']['train']['optim_g']['lr'] == 1e-3
    assert run.finished
    steps = {step: values for step, values in run.logged if 'lr' in values}
    log = {line['iter']: line for line in runs.log_of(tmp_path) if 'lr' in line}
    assert list(steps) == [1, 2, 3, 4]
    assert steps[3]['losses/l_pix'] == log[3]['l_pix']
    assert [step for step, values in run.logged if 'metrics/small-val/psnr' in values] == [1, 4]


def test_wandb_without_a_project_is_left_alone_and_missing_it_is_said(tmp_path, recipe, wandb, monkeypatch):
    assert runs.train(tmp_path, recipe(logger__wandb={'resume_id': 'abc'}, train__total_iter=1)) == 0
    assert wandb.runs == []
    monkeypatch.setitem(sys.modules, 'wandb', None)
    with pytest.raises(OptionError, match='wandb'):
        runs.train(tmp_path / 'b', recipe(logger__wandb={'project': 'x'}))


@pytest.mark.parametrize('published', [None, 16, 32])
def test_a_departure_from_the_recipe_is_announced_where_one_is_followed(published):
    for total in (16, 32):
        said = f'published recipe uses {published}' in str(share_batch(total, 4, 2, published))
        assert said == (published is not None and published != total)


@pytest.mark.parametrize(
    ('file', 'published'),
    [('GoPro/SAMDeblur', 32), ('GoPro/NAFNet', 32), ('Quickstart/SAMDeblur', None), ('Synthetic/small', None)],
)
def test_the_files_that_follow_the_paper_say_so(file, published):
    train = load_options(ROOT / f'options/train/{file}.yml').train
    assert train.published_batch_size == published
    assert published in (None, train.total_batch_size)


def test_the_best_network_by_a_metric_that_is_missing_is_refused_at_once(tmp_path, recipe, monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    content = recipe(val__metrics={'lpips': {'type': 'lpips'}, 'psnr': {'type': 'psnr'}}, logger__best_metric='lpips')
    with pytest.raises(OptionError, match=r'logger\.best_metric: lpips '):
        runs.train(tmp_path, content)
    assert not list(tmp_path.rglob('*.state'))
    content['logger']['best_metric'] = 'psnr'
    assert runs.train(tmp_path, content) == 0
    assert all('lpips' not in line for line in runs.log_of(tmp_path))


def test_the_best_network_by_a_metric_that_falls(tmp_path, recipe, monkeypatch):
    scores = iter([3.0, 1.0, 2.0])
    monkeypatch.setattr(validation, 'validate', lambda *arguments: {'mcr': next(scores)})
    content = recipe(val__metrics={'mcr': {'type': 'mcr'}}, logger__best_metric='mcr')
    assert runs.train(tmp_path, content) == 0
    best = torch.load(tmp_path / 'experiments/run/models/net_g_best.pth', weights_only=True)
    assert best['iter'] == 4  # validated after steps 1, 4 and 8


def test_two_validation_sets_need_two_names(tmp_path, recipe):
    content = recipe()
    content['datasets']['val_2'] = dict(content['datasets']['val'])
    with pytest.raises(OptionError, match=r"datasets\.val_2\.name: 'small-val'"):
        load_options(runs.write_options(tmp_path, content))


def test_an_interrupted_validation_of_two_sets_is_told_of_once(tmp_path, recipe, monkeypatch):
    content = recipe()
    content['datasets']['val_2'] = {**content['datasets']['val'], 'name': 'other'}
    assert runs.train(tmp_path / 'whole', content) == 0
    original, calls = ImageRestorationModel.restore, []

    def restore(model, *arguments):
        calls.append(model.iteration)
        if calls.count(4) == 4:  # the first image of the second set
            os.kill(os.getpid(), 15)
        return original(model, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(ImageRestorationModel, 'restore', restore)
        assert runs.train(tmp_path / 'stopped', content) == 75
    assert runs.train(tmp_path / 'stopped', content, '--auto_resume') == 0
    assert runs.log_of(tmp_path / 'stopped') == runs.log_of(tmp_path / 'whole')


def pictures_of(folder: Path) -> dict[str, list[tuple[int, bytes]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / 'experiments/run/log/tensorboard'))
    events.Reload()
    return {
        tag: [(event.step, event.encoded_image_string) for event in events.Images(tag)]
        for tag in events.Tags()['images']
    }


def test_the_time_that_remains_is_that_of_this_run(tmp_path, monkeypatch, caplog):
    caplog.set_level('INFO')
    clock = [1000.0]
    monkeypatch.setattr(loggers, 'time', types.SimpleNamespace(monotonic=lambda: clock[0]))
    with loggers.RunLog(tmp_path, 'run', total_iter=100, start=40) as log:
        clock[0] += 20  # ten steps, so far
        log.step(50, 1, {'l_pix': 1.0}, 1e-3, 0.5, 2.0, 0.25)
    assert 'eta: 0:01:40 time: 2.000 data: 0.250' in caplog.text


def test_the_time_of_a_step_and_what_of_it_is_waiting(monkeypatch):
    clock = iter([0.0, 1.0, 3.0, 4.0, 7.0, 9.0, 10.0])
    monkeypatch.setattr(loggers, 'time', types.SimpleNamespace(perf_counter=lambda: next(clock)))
    timer = loggers.Timer()
    for means in (None, (3.5, 1.0), (3.0, 2.0)):
        timer.data_is_here()
        timer.step_is_done()
        assert means is None or timer.means() == means


@pytest.mark.slow
def test_tensorboard_forgets_what_came_after_the_checkpoint(tmp_path, recipe):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    content = recipe(logger__use_tb_logger=True)
    assert runs.train(tmp_path, content) == 0
    for later in (6, 8):
        (tmp_path / f'experiments/run/training_states/{later}.state').unlink()
    time.sleep(1.1)  # files of one second are read in the order of their names
    assert runs.train(tmp_path, content, '--auto_resume') == 0
    events = EventAccumulator(str(tmp_path / 'experiments/run/log/tensorboard'))
    events.Reload()
    assert [event.step for event in events.Scalars('losses/l_pix')] == list(range(1, 9))


def test_tensorboard_on_a_full_disk_names_its_folder_without_a_traceback(tmp_path, monkeypatch, capfd):
    from tensorboard.summary.writer.record_writer import RecordWriter

    def refuse(*_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    board = Board(tmp_path / 'tensorboard', 0)
    board.open()
    monkeypatch.setattr(RecordWriter, 'write', refuse)
    with pytest.raises(OSError, match='No space') as caught:
        for iteration in range(10**6):  # its thread writes later
            board.scalars(iteration, {'loss': 1.0})
    assert caught.value.filename == str(tmp_path / 'tensorboard')
    with pytest.raises(OSError, match='tensorboard'):
        board.close()
    board.close()
    assert 'Traceback' not in capfd.readouterr().err


@pytest.mark.skipif(not Path('/dev/full').exists(), reason='needs the device of Linux that is always full')
def test_a_log_on_a_full_disk_names_its_file(tmp_path, capfd):
    log = tmp_path / 'log'
    log.mkdir()
    (log / 'run.log').symlink_to('/dev/full')
    with loggers.RunLog(tmp_path, 'run', 8) as run:
        run.scores(1, 'small', {'psnr': 30.0})  # the text is lost, the numbers are not
    assert json.loads((log / 'run.jsonl').read_text())['psnr'] == 30.0
    (log / 'run.jsonl').unlink()
    (log / 'run.jsonl').symlink_to('/dev/full')
    with pytest.raises(OSError, match='No space') as caught, loggers.RunLog(tmp_path, 'run', 8) as run:
        run.scores(1, 'small', {'psnr': 30.0})
    assert caught.value.filename == str(log / 'run.jsonl')
    assert 'Traceback' not in capfd.readouterr().err


@pytest.mark.slow
def test_the_pictures_of_a_validation_are_the_same_for_any_number_of_processes(tmp_path, recipe):
    content = recipe(logger__use_tb_logger=True, logger__images=3, val__max_images=5, train__total_iter=1)
    assert runs.train(tmp_path / 'one', content) == 0
    one = pictures_of(tmp_path / 'one')
    assert sorted(one) == ['small-val/0', 'small-val/1', 'small-val/2']
    assert runs.ends(runs.start_ranks(tmp_path / 'two', content, 2)) == [0, 0]
    two = pictures_of(tmp_path / 'two')
    assert sorted(two) == sorted(one)
    for tag, pictures in one.items():
        first, second = (decoded(images[0][1]) for images in (pictures, two[tag]))
        assert [step for step, _ in two[tag]] == [step for step, _ in pictures] == [1]
        assert np.abs(first.astype(int) - second).max() <= 1


def decoded(data: bytes) -> np.ndarray:
    import cv2

    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def hand_over(folder: Path) -> None:
    """An image of one process arrives in all; one that is not there as well."""
    with start_processes('pytorch', 'cpu') as processes:
        image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
        for owner in (0, 1, 2):
            got = processes.from_rank(owner, image + owner if processes.rank == owner else None)
            assert got is not None and np.array_equal(got, image + owner)
        turned = processes.from_rank(1, image.transpose(1, 0, 2))
        assert turned is not None and np.array_equal(turned, image.transpose(1, 0, 2))
        assert processes.from_rank(2, None) is None
        (folder / str(processes.rank)).touch()


@pytest.mark.slow
def test_an_image_goes_from_one_process_to_the_others(tmp_path):
    runs.call_on_ranks(hand_over, 3, tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


def train_under_slurm(folder: Path, file: Path) -> None:
    """As srun starts it: every process knows its place from Slurm's variables alone."""
    from basicsr.train import main

    for name, theirs in (('RANK', 'PROCID'), ('WORLD_SIZE', 'NTASKS'), ('LOCAL_RANK', 'LOCALID')):
        os.environ[f'SLURM_{theirs}'] = os.environ.pop(name)
    os.environ.pop('MASTER_ADDR')
    os.environ['SLURM_STEP_NODELIST'] = '127.0.0.1'
    os.chdir(folder)
    port = os.environ.pop('MASTER_PORT')
    arguments = ['--launcher', 'slurm', '--auto_resume', '--force_yml', f'dist_params:port={port}']
    assert main(['-opt', str(file), *arguments]) == 0


@pytest.mark.slow
def test_slurm_trains_as_torchrun_does(tmp_path, recipe):
    content = recipe()
    assert runs.ends(runs.start_ranks(tmp_path / 'torchrun', content, 2)) == [0, 0]
    file = runs.write_options(tmp_path / 'slurm', content)
    runs.call_on_ranks(train_under_slurm, 2, tmp_path / 'slurm', file)
    assert runs.log_of(tmp_path / 'slurm') == runs.log_of(tmp_path / 'torchrun')
    assert runs.differences(runs.result_of(tmp_path / 'slurm'), runs.result_of(tmp_path / 'torchrun')) == []


def test_an_evaluation_says_that_there_is_a_moving_average(tmp_path, recipe, caplog):
    from basicsr.models import build_model

    assert runs.train(tmp_path, recipe(train__ema_decay=0.5, train__total_iter=2)) == 0
    file = tmp_path / 'experiments/run/models/net_g_latest.pth'
    content = recipe(path__pretrain_network_g=str(file))
    del content['train'], content['datasets']['train']
    told = 'path:param_key=params_ema'
    for key, expected in (('params', True), ('params_ema', False)):
        caplog.clear()
        content['path']['param_key'] = key
        model = build_model(load_options(runs.write_options(tmp_path, content)))
        saved = torch.load(file, weights_only=True)[key]
        assert all(torch.equal(saved[name], value) for name, value in model.net.state_dict().items())
        assert (told in caplog.text) == expected


def test_profile_writes_a_trace_and_ten_lines(tmp_path, recipe, caplog):
    assert runs.train(tmp_path, recipe(val__validate_first=False), '--profile') == 0
    trace = json.loads((tmp_path / 'experiments/run/profile/trace.json').read_text())
    assert any('convolution' in str(event.get('name')) for event in trace['traceEvents'])
    (text,) = [message for message in caplog.messages if message.startswith('profile of 4 steps')]
    lines = text.splitlines()[1:-1]
    assert len(lines) == 10
    times = [float(line.split()[0]) for line in lines]
    assert times == sorted(times, reverse=True) and times[0] > 0
