"""Several processes train what one would, validate every image once, stop together, and fail together."""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from basicsr.data import build_dataset
from basicsr.evaluation.validation import validate
from basicsr.metrics import build_metric
from basicsr.models import build_model
from basicsr.options import load_options
from basicsr.options.schema_train import ValOptions
from basicsr.train import Training
from basicsr.training import distributed, watch
from basicsr.training.batches import TrainingData
from basicsr.training.batching import share_batch
from basicsr.training.distributed import start_processes
from basicsr.training.launching import first_host
from basicsr.training.stages import Stage
from basicsr.utils.errors import OptionError
from tests.helpers import training_runs as runs
from tests.helpers.project import ROOT


def ten_steps(options_file: Path, dtype: torch.dtype, at_once: int, result: Path) -> None:
    """Train ten steps of 4 samples, and validate 5 and 2 images; in one process or several."""
    options = load_options(options_file)
    with start_processes('pytorch' if 'RANK' in os.environ else 'none', 'cpu') as processes:
        torch.manual_seed(0)
        model = build_model(options, processes=processes, dtype=dtype)
        with torch.no_grad():
            for net in (model.net, model.ema.net):
                generator = torch.Generator().manual_seed(1)
                for name, parameter in net.named_parameters():
                    if name.endswith(('beta', 'gamma')):  # zero in a fresh network, which would hide its blocks
                        parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
        train, val = (build_dataset(options.datasets[key], phase=key, seed=3) for key in ('train', 'val'))
        data = TrainingData(
            [train], options.datasets['train'], [Stage(share_batch(4, at_once, processes.world))], processes, seed=3
        )
        losses = []
        for _, batches in zip(range(10), data.steps(), strict=False):
            losses.append(processes.mean(model.train_step(*batches).losses)['l_pix'])
        metrics = {'psnr': build_metric({'type': 'psnr'}), 'mcr': build_metric({'type': 'mcr'})}
        scores = [validate(model, val, metrics, processes, ValOptions(max_images=count)) for count in (5, 2, None)]
        if processes.is_first:
            state = {'net': model.net.state_dict(), 'average': model.ema.net.state_dict()}
            torch.save({**state, 'losses': losses, 'scores': scores}, result)


@pytest.mark.slow
@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_processes_compute_what_one_does(tmp_path, roots, dtype, tolerance):
    content = runs.options(
        roots, train__ema_decay=0.9, train__optim_g__lr=1e-4, train__scheduler__T_max=20, network_g__mask_dropout=0.5
    )
    file = runs.write_options(tmp_path, content)
    ten_steps(file, dtype, 4, tmp_path / 'one')
    one = torch.load(tmp_path / 'one', weights_only=True)
    start = build_model(load_options(file)).net.state_dict()
    assert any(bool((one['net'][name] - start[name]).abs().max() > 100 * tolerance) for name in start)
    for world, at_once in ((2, 2), (2, 1)) if dtype == torch.float64 else ((2, 2),):
        runs.call_on_ranks(ten_steps, world, file, dtype, at_once, tmp_path / 'many')
        many = torch.load(tmp_path / 'many', weights_only=True)
        assert many['losses'] == pytest.approx(one['losses'], rel=tolerance, abs=tolerance)
        for part in ('net', 'average'):
            for name, expected in one[part].items():
                torch.testing.assert_close(many[part][name], expected, rtol=0, atol=tolerance)
        for first, second in zip(one['scores'], many['scores'], strict=True):
            assert second == pytest.approx(first, rel=1e-4)


def five_scores(options_file: Path, result: Path) -> None:
    """Validate 5, 2 and all images; every process writes what it got."""
    options = load_options(options_file)
    with start_processes('pytorch' if 'RANK' in os.environ else 'none', 'cpu') as processes:
        torch.manual_seed(0)
        model = build_model(options, processes=processes)
        val = build_dataset(options.datasets['val'], phase='val')
        metrics = {'psnr': build_metric({'type': 'psnr'}), 'mcr': build_metric({'type': 'mcr'})}
        scores = [validate(model, val, metrics, processes, ValOptions(max_images=count)) for count in (5, 2, None)]
        stopped = validate(
            model, val, metrics, processes, ValOptions(max_images=5), lambda: processes.rank == processes.world - 1
        )
        torch.save({'scores': scores, 'stopped': stopped}, result.with_suffix(f'.{processes.rank}'))


@pytest.mark.slow
def test_validation_averages_are_exact_for_any_remainder(tmp_path, roots):
    file = runs.write_options(tmp_path, runs.options(roots))
    five_scores(file, tmp_path / 'one')
    one = torch.load(tmp_path / 'one.0', weights_only=True)
    assert len({scores['psnr'] for scores in one['scores']}) == 3
    for world in (2, 3):
        runs.call_on_ranks(five_scores, world, file, tmp_path / f'of{world}')
        for rank in range(world):
            got = torch.load(tmp_path / f'of{world}.{rank}', weights_only=True)
            assert got['stopped'] is None  # one process is told to stop, all do
            for expected, scores in zip(one['scores'], got['scores'], strict=True):
                assert scores == pytest.approx(expected, rel=1e-12)


def signal_in_step_5() -> None:
    runs.in_step(5, 1, lambda batches: signal.raise_signal(signal.SIGUSR1))


def frozen_in_step_5() -> None:
    watch.SILENT_AFTER = 3
    runs.in_step(5, 1, lambda batches: os.kill(os.getpid(), signal.SIGSTOP))


def nan_in_step_5() -> None:
    runs.in_step(5, 1, lambda batches: batches[0]['gt'].fill_(math.nan))


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all_and_the_rest_is_the_same(tmp_path, roots):
    content = runs.options(roots, train__ema_decay=0.9, network_g__mask_dropout=0.5)
    assert runs.ends(runs.start_ranks(tmp_path / 'whole', content, 2)) == [0, 0]
    stopped = runs.start_ranks(tmp_path / 'parts', content, 2, prepare=signal_in_step_5)
    assert runs.ends(stopped) == [75, 75]
    assert (tmp_path / 'parts/experiments/run/training_states/5.state').is_file()
    assert runs.ends(runs.start_ranks(tmp_path / 'parts', content, 2, '--auto_resume')) == [0, 0]
    assert runs.log_of(tmp_path / 'parts') == runs.log_of(tmp_path / 'whole')
    whole, parts = (runs.result_of(tmp_path / name) for name in ('whole', 'parts'))
    assert '.state.generators.1' in whole
    assert runs.differences(whole, parts) == []
    assert runs.train(tmp_path / 'parts', content, '--auto_resume') == 0  # one process instead of two


@pytest.mark.slow
def test_a_bad_loss_in_one_process_is_skipped_in_all(tmp_path, roots):
    content = runs.options(roots)
    assert runs.ends(runs.start_ranks(tmp_path, content, 2, prepare=nan_in_step_5)) == [0, 0]
    (line,) = [line for line in (tmp_path / 'output_0.txt').read_text().splitlines() if 'skipped' in line]
    assert re.search(r'step 5 .*l_pix', line)
    assert line.count('/lq/') == 2  # those of the other process
    result = torch.load(tmp_path / 'experiments/run/models/net_g_latest.pth', weights_only=True)['params']
    assert all(bool(torch.isfinite(tensor).all()) for tensor in result.values())


@pytest.mark.slow
@pytest.mark.parametrize('broken', [1, 6])  # met first by one process, or by the other
def test_an_error_in_one_process_ends_the_others_with_its_message(tmp_path, broken):
    roots = runs.write_pairs(tmp_path / 'pairs')
    (tmp_path / 'pairs' / 'lq' / f'{broken}.png').write_bytes(b'')
    content = runs.options(roots, val__val_freq=100, val__validate_first=False, train__total_iter=100)
    codes = runs.ends(runs.start_ranks(tmp_path, content, 2))
    assert sorted(codes) == [1, 4]
    outputs = [(tmp_path / f'output_{rank}.txt').read_text() for rank in (0, 1)]
    failed = codes.index(1)
    for output in outputs:
        assert f'lq{os.sep}{broken}.png: ' in output
        assert 'Traceback' not in output
    assert f'rank {failed}: ' in outputs[1 - failed]


@pytest.mark.slow
@pytest.mark.parametrize(('prepare', 'reason'), [(runs.killed_in_step_5, 'killed?'), (frozen_in_step_5, 'silent')])
def test_a_process_that_is_gone_ends_the_others(tmp_path, roots, prepare, reason):
    processes = runs.start_ranks(tmp_path, runs.options(roots), 2, prepare=prepare)
    processes[0].join(60)
    assert processes[0].exitcode == 4
    processes[1].kill()
    assert runs.ends(processes) == [4, -signal.SIGKILL]
    assert reason in (tmp_path / 'output_0.txt').read_text()


@pytest.mark.slow
def test_torchrun_restarts_where_the_last_checkpoint_is(tmp_path, roots):
    content = runs.options(roots, logger__save_checkpoint_freq=2)
    assert runs.ends(runs.start_ranks(tmp_path / 'whole', content, 2)) == [0, 0]
    file = runs.write_options(tmp_path / 'killed', content)
    script = tmp_path / 'script.py'
    script.write_text(
        'import os, sys\n'
        f'sys.path.insert(0, {str(ROOT)!r})\n'
        'from basicsr.train import main\n'
        'if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":\n'
        '    from tests.helpers.training_runs import killed_in_step_5\n'
        '    killed_in_step_5()\n'
        'sys.exit(main())\n'
    )
    torchrun = ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2', '--max-restarts=1']
    arguments = ['--launcher', 'pytorch', '-opt', str(file), '--auto_resume']
    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(
        [sys.executable, *torchrun, str(script), *arguments],
        cwd=tmp_path / 'killed',
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert 'experiments/run/training_states/4.state' in done.stderr
    assert runs.log_of(tmp_path / 'killed') == runs.log_of(tmp_path / 'whole')
    assert runs.differences(runs.result_of(tmp_path / 'killed'), runs.result_of(tmp_path / 'whole')) == []


def handled_by_torchrun() -> list[tuple[str, list[str]]]:
    """Signals that stop a job of torchrun, and the arguments that this takes."""
    text = (Path(torch.__file__).parent / 'distributed' / 'run.py').read_text()
    more = [('SIGUSR1', ['--signals-to-handle=SIGTERM,SIGINT,SIGUSR1'])] if '--signals-to-handle' in text else []
    return [('SIGTERM', []), *more]


@pytest.mark.slow
@pytest.mark.parametrize(('name', 'arguments'), handled_by_torchrun())
def test_a_signal_to_torchrun_saves(tmp_path, roots, name, arguments):
    """As docs/training.md says."""
    content = runs.options(roots, train__total_iter=100_000, train__scheduler__T_max=100_000)
    content['val'] |= {'val_freq': 100_000, 'validate_first': False}
    content['logger'] |= {'save_checkpoint_freq': 100_000}
    file = runs.write_options(tmp_path, content)
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2', *arguments]
    command += [str(ROOT / 'basicsr' / 'train.py'), '--launcher', 'pytorch', '-opt', str(file)]
    log = tmp_path / 'experiments' / 'run' / 'log' / 'run.jsonl'
    with (tmp_path / 'output.txt').open('w') as output:
        job = subprocess.Popen(
            command, cwd=tmp_path, env={**os.environ, 'OMP_NUM_THREADS': '1'}, stdout=output, stderr=output
        )
        end = time.monotonic() + 100
        while not log.is_file() and job.poll() is None and time.monotonic() < end:
            time.sleep(0.2)
        job.send_signal(getattr(signal, name))
        job.wait(60)
    states = list((tmp_path / 'experiments' / 'run' / 'training_states').glob('*.state'))
    assert len(states) == 1, (tmp_path / 'output.txt').read_text()
    assert name in (tmp_path / 'output.txt').read_text()


def speak(folder: Path) -> None:
    """Every process says something to the others."""
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'):
        os.environ[{'RANK': 'SLURM_PROCID', 'WORLD_SIZE': 'SLURM_NTASKS', 'LOCAL_RANK': 'SLURM_LOCALID'}[name]] = (
            os.environ.pop(name)
        )
    port = int(os.environ.pop('MASTER_PORT'))
    os.environ.pop('MASTER_ADDR')
    os.environ['SLURM_NODELIST'] = 'localhost'
    with start_processes('slurm', 'cpu', port) as processes:
        texts = processes.gather_text(f'I am {processes.rank}' * (processes.rank + 1))
        numbers = processes.mean({'a': processes.rank, 'b': 4.0})
        flags = processes.any(processes.rank == 1, False)
        first = processes.from_first(processes.rank + 7)
        (folder / str(processes.rank)).write_text(repr((texts, numbers, flags, first)))


@pytest.mark.slow
def test_slurm_processes_find_each_other_and_talk(tmp_path):
    runs.call_on_ranks(speak, 2, tmp_path)
    expected = repr((['I am 0', 'I am 1I am 1'], {'a': 0.5, 'b': 4.0}, (True, False), 7))
    assert [(tmp_path / name).read_text() for name in '01'] == [expected] * 2


@pytest.mark.parametrize(
    ('nodes', 'host'),
    [('gpu[03-05,9],login', 'gpu03'), ('alpha,beta', 'alpha'), ('n1', 'n1'), ('rack[2-3]-a', 'rack2-a')],
)
def test_the_first_host_of_a_slurm_list(nodes, host):
    assert first_host(nodes) == host


@pytest.mark.parametrize(('launcher', 'start'), [('pytorch', 'torchrun'), ('slurm', 'srun')])
def test_a_launcher_that_did_not_launch(monkeypatch, launcher, start):
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'SLURM_PROCID'):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(OptionError, match=start):
        start_processes(launcher)


def test_torchrun_without_the_launcher(monkeypatch):
    monkeypatch.setenv('WORLD_SIZE', '2')
    monkeypatch.setenv('RANK', '1')
    with pytest.raises(OptionError, match='--launcher pytorch'):
        start_processes('none')


def test_more_processes_than_the_batch_can_be_shared_by(tmp_path, roots, monkeypatch):
    options = load_options(runs.write_options(tmp_path, runs.options(roots)))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OptionError, match='3 processes'):
        Training(options, distributed.Processes(world=3), None, auto_resume=False)
    assert not (tmp_path / 'experiments').exists()


def full_in_step_5() -> None:
    def full(batches) -> None:
        raise RuntimeError('CUDA out of memory. Tried to allocate 2 GiB')

    runs.in_step(5, 1, full)


@pytest.mark.slow
def test_a_process_without_memory_names_the_batch_that_fits_to_all(tmp_path, roots):
    content = runs.options(roots, datasets__train__batch_size_per_gpu=2)
    assert runs.ends(runs.start_ranks(tmp_path, content, 2, prepare=full_in_step_5)) == [4, 1]
    for rank in range(2):
        text = (tmp_path / f'output_{rank}.txt').read_text()
        assert 'datasets:train:batch_size_per_gpu=1 train:total_batch_size=4' in text
        assert 'Traceback' not in text


@pytest.mark.slow
def test_processes_that_fail_at_their_start_leave_no_experiment_behind(tmp_path):
    roots = runs.write_pairs(tmp_path / 'pairs')
    for name in range(1, 7):
        (tmp_path / 'pairs' / 'lq' / f'{name}.png').write_bytes(b'')
    content = runs.options(roots, val__validate_first=False)
    assert set(runs.ends(runs.start_ranks(tmp_path, content, 2))) <= {1, 4}
    assert not (tmp_path / 'experiments' / 'run').exists()
