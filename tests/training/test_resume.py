"""A training that was stopped, killed or cut off continues as if nothing had happened, or says why it cannot."""

from __future__ import annotations

import os
import random
import re
import resource
import shutil
import signal
import time

import pytest
import torch

from basicsr.models.image_restoration_model import ImageRestorationModel
from basicsr.training.checkpoints import CheckpointFolder
from basicsr.utils.errors import BasicsrError, CheckpointError, OptionError, UnsafeWeightsError, WeightsError
from tests.helpers import training_runs as runs

pytestmark = pytest.mark.numeric

VARIANTS = {
    'fp32': {},
    'bf16, average, accumulation': {
        'train__precision': 'bf16',
        'train__ema_decay': 0.9,
        'datasets__train__batch_size_per_gpu': 2,
    },
    'fp16': {'train__precision': 'fp16', 'train__max_bad_steps': 20},
    'dropout in the network, unclipped, warm-up': {
        'network_g': {'type': 'DropoutUNet', 'width': 4, 'levels': 1},
        'train__use_grad_clip': False,
        'train__warmup_iter': 5,
    },
    'other optimizer and schedule': {
        'train__optim_g': {'type': 'SGD', 'lr': 1e-3, 'momentum': 0.9},
        'train__scheduler': {'type': 'MultiStepLR', 'milestones': [2, 4, 6], 'gamma': 0.5},
        'train__total_batch_size': 3,
    },
    'generated data': {
        'datasets': {
            key: {'name': key, 'type': 'SyntheticBlurDataset', 'length': 6, 'gt_size': 16, 'path_length': 2.0, **more}
            for key, more in (('train', {'batch_size_per_gpu': 4, 'num_worker_per_gpu': 0}), ('val', {}))
        }
    },
}


@pytest.fixture(scope='module', autouse=True)
def dropout_net():
    """A network whose dropout draws from torch's own generator."""
    from basicsr.archs.unet_arch import PlainUNet
    from basicsr.utils.registry import ARCH_REGISTRY

    class DropoutUNet(PlainUNet):
        """PlainUNet with dropout on its input."""

        def forward(self, lq, masks):
            return super().forward(torch.nn.functional.dropout(lq, 0.2, self.training))

    ARCH_REGISTRY.get('PlainUNet')
    ARCH_REGISTRY.register(DropoutUNet, name='DropoutUNet')
    yield
    ARCH_REGISTRY._entries.pop('DropoutUNet')


def stop_in_step(patch, *steps):
    original = ImageRestorationModel.train_step

    def train_step(model, *batches):
        if model.iteration + 1 in steps:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(model, *batches)

    patch.setattr(ImageRestorationModel, 'train_step', train_step)


@pytest.mark.parametrize('variant', VARIANTS)
def test_stopped_and_continued_equals_uninterrupted(tmp_path, roots, monkeypatch, variant):
    content = runs.options(roots, **VARIANTS[variant])
    assert runs.train(tmp_path / 'whole', content) == 0
    for steps in ((1, 2), (5,)):  # in the middle of an epoch, and where one ends
        with monkeypatch.context() as patch:
            stop_in_step(patch, *steps)
            torch.rand(7)  # the state of this process's generators is no part of a training
            workers = 2 if steps == (5,) else 0
            content['datasets']['train']['num_worker_per_gpu'] = workers
            assert runs.train(tmp_path / 'parts', content, '--auto_resume') == 75
    content['datasets']['train']['num_worker_per_gpu'] = 0
    assert runs.train(tmp_path / 'parts', content, '--auto_resume') == 0
    assert runs.log_of(tmp_path / 'parts') == runs.log_of(tmp_path / 'whole')
    whole, parts = (runs.result_of(tmp_path / name) for name in ('whole', 'parts'))
    assert len(whole) > 100
    assert runs.differences(whole, parts) == []


def test_the_comparison_would_notice(tmp_path, roots):
    first, second = runs.options(roots), runs.options(roots, manual_seed=4)
    for name, content in (('first', first), ('second', second)):
        assert runs.train(tmp_path / name, content) == 0
    assert runs.log_of(tmp_path / 'first') != runs.log_of(tmp_path / 'second')
    different = runs.differences(*(runs.result_of(tmp_path / name) for name in ('first', 'second')))
    assert '.network.params.intro.weight' in different
    assert '.state.generators.0' in different
    assert '.state.optimizers.0.state.0.exp_avg' in different


@pytest.mark.slow
def test_killed_at_any_moment_and_continued_equals_uninterrupted(tmp_path, roots):
    content = runs.options(
        roots,
        train__total_iter=24,
        train__scheduler__T_max=24,
        train__precision='bf16',
        train__ema_decay=0.9,
        datasets__train__batch_size_per_gpu=2,
        datasets__train__num_worker_per_gpu=2,
        logger__save_checkpoint_freq=2,
        logger__keep_checkpoints=2,
        val__val_freq=5,
    )
    assert runs.ends([runs.start(tmp_path / 'whole', content)]) == [0]
    folder, rng = tmp_path / 'killed', random.Random(0)
    for renamed in (1, 3, 4, 8):  # before a network file, or the training state beside it, gets its name
        process = runs.start(folder, content, '--auto_resume', prepare=runs.KillAt(renamed))
        assert runs.ends([process]) == [-signal.SIGKILL]
    for _ in range(4):
        process = runs.start(folder, content, '--auto_resume')
        time.sleep(rng.uniform(0.2, 2.0))
        process.kill()
        process.join()
    assert runs.ends([runs.start(folder, content, '--auto_resume')]) == [0], (folder / 'output.txt').read_text()
    assert runs.log_of(folder) == runs.log_of(tmp_path / 'whole')
    assert runs.differences(runs.result_of(folder, 24), runs.result_of(tmp_path / 'whole', 24)) == []
    assert not list(folder.rglob('*.part'))


def test_half_broken_and_mixed_pairs_are_skipped_and_named(tmp_path, roots, caplog):
    content = runs.options(roots, logger__save_checkpoint_freq=1)
    assert runs.train(tmp_path, content) == 0
    expected, log = runs.result_of(tmp_path), runs.log_of(tmp_path)
    folder = tmp_path / 'experiments' / 'run'
    models, states = folder / 'models', folder / 'training_states'
    (states / '8.state').unlink()  # the network alone
    (models / 'net_g_7.pth').unlink()  # the state alone
    (states / '6.state').write_bytes((states / '6.state').read_bytes()[:1000])  # cut off
    shutil.copy(models / 'net_g_4.pth', models / 'net_g_5.pth')  # of another iteration
    broken = torch.load(models / 'net_g_4.pth', weights_only=True)
    broken['params']['intro.weight'][0] = float('nan')
    torch.save(broken, models / 'net_g_4.pth')
    (states / 'notes.state').write_text('mine')
    (states / '.0123456789abcdef.part').write_text('left by a kill')
    assert runs.train(tmp_path, content, '--auto_resume') == 0
    for name, reason in (
        ('net_g_8.pth', 'state'),
        ('7.state', 'missing'),
        ('6.state', 'damaged'),
        ('5.state', 'belong together'),
        ('net_g_4.pth', 'NaN'),
    ):
        assert any(name in line and reason in line for line in caplog.messages), name
    assert any(line.endswith('3.state') and 'continuing' in line for line in caplog.messages)
    assert runs.log_of(tmp_path) == log
    assert runs.differences(runs.result_of(tmp_path), expected) == []
    assert (states / 'notes.state').is_file()
    assert not list(folder.rglob('*.part'))


def test_a_finished_training_has_nothing_left_to_do(tmp_path, roots):
    content = runs.options(roots)
    assert runs.train(tmp_path, content) == 0
    log, latest = runs.log_of(tmp_path), tmp_path / 'experiments' / 'run' / 'models' / 'net_g_latest.pth'
    latest.unlink()
    assert runs.train(tmp_path, content, '--auto_resume') == 0
    assert runs.log_of(tmp_path) == log
    assert latest.is_file()


def test_a_state_that_is_named_is_continued_in_another_experiment(tmp_path, roots):
    content = runs.options(roots)
    assert runs.train(tmp_path, content) == 0
    state = tmp_path / 'experiments' / 'run' / 'training_states' / '3.state'
    again = runs.options(roots, name='again', path__resume_state=str(state))
    assert runs.train(tmp_path, again) == 0
    assert runs.differences(runs.result_of(tmp_path), runs.result_of(tmp_path, name='again')) == []
    assert runs.log_of(tmp_path, 'again')[0]['iter'] == 4
    with pytest.raises(OptionError, match=r'experiments/again'):
        runs.train(tmp_path, again)
    own = runs.options(roots, path__resume_state=str(state))
    before = runs.log_of(tmp_path)
    assert runs.train(tmp_path, own) == 0
    assert runs.log_of(tmp_path) == before


def test_going_back_gives_up_what_came_after(tmp_path, roots, caplog):
    content = runs.options(roots, logger__save_checkpoint_freq=1, logger__keep_checkpoints=3)
    assert runs.train(tmp_path, content) == 0
    folder = tmp_path / 'experiments' / 'run'
    other = {**content, 'path': {'resume_state': str(folder / 'training_states' / '6.state')}}
    other['train'] = {**content['train'], 'total_iter': 7, 'grad_clip_norm': 0.02}
    force = ['--force_yml', 'path:resume_with_changes=true']
    assert runs.train(tmp_path, other, *force) == 0
    names = sorted(path.name for path in (folder / 'training_states').iterdir())
    assert names == ['6.state', '7.state', '7.state.replaced', '8.state.replaced']
    assert '8.state to *.replaced' in caplog.text
    assert runs.log_of(tmp_path)[-1]['iter'] == 7
    other['train']['total_iter'] = 9
    del other['path']
    assert runs.train(tmp_path, other, '--auto_resume', *force) == 0
    assert runs.log_of(tmp_path)[-1]['iter'] == 9
    states = sorted(path.name for path in (folder / 'training_states').glob('*.state'))
    assert states == ['7.state', '8.state', '9.state']


def test_another_recipe_has_to_be_wanted(tmp_path, roots, monkeypatch, caplog):
    with monkeypatch.context() as patch:
        stop_in_step(patch, 5)
        assert runs.train(tmp_path, runs.options(roots)) == 75
    other = runs.options(roots, train__optim_g__lr=5e-4, network_g__mask_dropout=0.0, logger__print_freq=2)
    with pytest.raises(OptionError) as raised:
        runs.train(tmp_path, other, '--auto_resume')
    assert 'train.optim_g.lr: 0.001 -> 0.0005' in str(raised.value)
    assert 'network_g.mask_dropout: 0.5 -> 0.0' in str(raised.value)
    assert 'logger' not in str(raised.value)
    wanted = [*other['path'].items()] if 'path' in other else []
    assert not wanted
    assert runs.train(tmp_path, other, '--auto_resume', '--force_yml', 'path:resume_with_changes=true') == 0
    assert re.search(r'\b5 steps: train\.optim_g\.lr', caplog.text)


def test_the_place_of_the_data_is_no_part_of_the_recipe(tmp_path, roots, monkeypatch):
    with monkeypatch.context() as patch:
        stop_in_step(patch, 5)
        assert runs.train(tmp_path, runs.options(roots)) == 75
    moved = {key: shutil.copytree(path, tmp_path / 'moved' / key) for key, path in roots.items()}
    content = runs.options({key: str(path) for key, path in moved.items()})
    assert runs.train(tmp_path, content, '--auto_resume') == 0


@pytest.mark.parametrize(
    ('content', 'error', 'message'),
    [
        (
            {'epoch': 1, 'iter': 5, 'optimizers': [], 'schedulers': []},
            CheckpointError,
            r'5\.state.*training state',
        ),
        ([1, 2], CheckpointError, r'5\.state.*training state'),
        (b'nothing', WeightsError, r'5\.state .*damaged'),
        (Exception('x'), UnsafeWeightsError, r'5\.state .*pickled'),
    ],
)
def test_foreign_states_are_refused(tmp_path, roots, content, error, message):
    path = tmp_path / '5.state'
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(error, match=message):
        runs.train(tmp_path, runs.options(roots, path__resume_state=str(path)))


@pytest.mark.parametrize(
    ('key', 'value'),
    [('iter', 'x'), ('epoch', None), ('recipe', []), ('generators', 5), ('optimizers', 3), ('pair', 1)],
)
def test_states_with_contents_of_another_kind_are_refused(tmp_path, roots, key, value):
    assert runs.train(tmp_path, runs.options(roots, train__total_iter=1)) == 0
    path = tmp_path / 'experiments' / 'run' / 'training_states' / '1.state'
    torch.save({**torch.load(path, weights_only=True), key: value}, path)
    with pytest.raises(CheckpointError, match=rf'1\.state.*: {key}'):
        runs.train(tmp_path, runs.options(roots, path__resume_state=str(path)))


def test_an_optimizer_of_other_weights_is_refused(tmp_path, roots):
    assert runs.train(tmp_path, runs.options(roots)) == 0
    folder = tmp_path / 'experiments' / 'run'
    path = {
        'resume_state': str(folder / 'training_states' / '6.state'),
        'ignore_resume_networks': ['network_g'],
        'resume_with_changes': True,
    }
    content = runs.options(roots, name='b', path=path, network_g__width=8)
    with pytest.raises(CheckpointError, match=r'6\.state.*shape'):
        runs.train(tmp_path, content)


def test_a_checkpoint_of_another_network_is_refused(tmp_path, roots):
    assert runs.train(tmp_path, runs.options(roots)) == 0
    state = tmp_path / 'experiments' / 'run' / 'training_states' / '8.state'
    other = runs.options(
        roots, name='b', network_g__width=5, path={'resume_state': str(state), 'resume_with_changes': True}
    )
    with pytest.raises(WeightsError, match=r'SegNAFNet.*\n  width: 4 .*\b5\b'):
        runs.train(tmp_path, other)


def test_weights_of_ones_own_may_replace_those_of_the_state(tmp_path, roots):
    assert runs.train(tmp_path, runs.options(roots)) == 0
    folder = tmp_path / 'experiments' / 'run'
    path = {
        'resume_state': str(folder / 'training_states' / '6.state'),
        'ignore_resume_networks': ['network_g'],
        'pretrain_network_g': str(folder / 'models' / 'net_g_3.pth'),
    }
    assert runs.train(tmp_path, runs.options(roots, name='b', path=path)) == 0
    assert runs.log_of(tmp_path, 'b')[0]['l_pix'] != runs.log_of(tmp_path)[8]['l_pix']


def limit_file_size() -> None:
    """From here on no file may grow beyond 20 KB, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


@pytest.mark.slow
def test_an_error_leaves_no_process_behind(tmp_path):
    roots = runs.write_pairs(tmp_path / 'pairs')
    (tmp_path / 'pairs' / 'lq' / '6.png').write_bytes(b'')
    content = runs.options(roots, val__validate_first=False, datasets__train__num_worker_per_gpu=3)
    assert runs.ends([runs.start(tmp_path, content)], timeout=60) == [1]
    assert '6.png: ' in (tmp_path / 'output.txt').read_text()


@pytest.mark.slow
def test_a_full_disk_is_an_error_and_older_checkpoints_stay(tmp_path, roots, monkeypatch):
    content = runs.options(roots)
    with monkeypatch.context() as patch:
        stop_in_step(patch, 2)
        assert runs.train(tmp_path, content) == 75
    before = {path: path.read_bytes() for path in tmp_path.rglob('*') if path.suffix in ('.pth', '.state')}
    assert len(before) == 2
    assert runs.ends([runs.start(tmp_path, content, '--auto_resume', prepare=limit_file_size)]) == [1]
    output = (tmp_path / 'output.txt').read_text()
    assert 'net_g_3.pth' in output
    assert 'Traceback' not in output
    after = {path: path.read_bytes() for path in tmp_path.rglob('*') if path.suffix in ('.pth', '.state', '.part')}
    assert after == before


def test_a_failed_save_in_any_place_leaves_older_pairs(tmp_path, roots, monkeypatch):
    net = torch.nn.Conv2d(1, 1, 1)
    folder = CheckpointFolder(tmp_path, keep=1)
    state = {'epoch': 0, 'consumed': 0, 'optimizers': [], 'schedulers': [], 'generators': [], 'recipe': {}}
    folder.save(1, net, {}, state)
    with (
        monkeypatch.context() as patch,
        pytest.raises(CheckpointError, match=r'2\.state.*No space'),
    ):
        calls = []

        def save(content, file, original=torch.save):
            calls.append(file)
            if len(calls) == 2:
                try:
                    raise OSError(28, 'No space left on device')
                except OSError:
                    raise RuntimeError('unexpected pos 64 vs 0') from None  # what torch makes of it
            original(content, file)

        patch.setattr(torch, 'save', save)
        folder.save(2, net, {}, state)
    latest = folder.latest()
    assert latest is not None
    assert latest.iteration == 1
    folder.save(3, net, {}, state)
    assert folder.iterations() == [3]


def test_without_a_checkpoint_a_resumed_training_starts_at_the_beginning(tmp_path, roots, caplog):
    caplog.set_level('INFO')
    assert runs.train(tmp_path, runs.options(roots), '--auto_resume') == 0
    assert 'new training' in caplog.text


def test_a_drawn_seed_is_kept(tmp_path, roots, monkeypatch):
    content = runs.options(roots, manual_seed=None)
    with monkeypatch.context() as patch:
        stop_in_step(patch, 5)
        assert runs.train(tmp_path, content) == 75
    seed = runs.result_of(tmp_path, 5)['.state.recipe.manual_seed']
    assert runs.train(tmp_path, content, '--auto_resume') == 0
    whole = runs.options(roots, manual_seed=seed)
    assert runs.train(tmp_path / 'whole', whole) == 0
    assert runs.differences(runs.result_of(tmp_path), runs.result_of(tmp_path / 'whole')) == []


def test_errors_are_of_this_package():
    assert issubclass(CheckpointError, BasicsrError)
