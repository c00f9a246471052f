"""scripts/make_masks.py as people run it: killed and resumed, in shards, with a broken photo, with Segment Anything."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from basicsr.masks import read_masks
from tests.helpers.mask_generators import OPEN
from tests.helpers.project import ROOT

SCRIPT = ROOT / 'scripts' / 'make_masks.py'


@pytest.fixture
def photos(tmp_path):
    """Twelve pictures of a few coloured blocks each."""
    folder = tmp_path / 'photos'
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(12):
        blocks = rng.integers(0, 256, (6, 8, 3)).astype(np.uint8)
        Image.fromarray(blocks).resize((160, 120), Image.Resampling.NEAREST).save(folder / f'photo {index:02}.png')
    return folder


def command(photos, output, *more):
    return [sys.executable, str(SCRIPT), '--input', str(photos), '--output', str(output), *more]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.glob('*.png')}


@pytest.mark.slow
def test_several_processes_make_the_same_files(photos, tmp_path):
    for folder, more in (('one', ()), ('several', ('--workers', '2', '--batch-size', '5'))):
        done = subprocess.run(command(photos, tmp_path / folder, *more), capture_output=True, text=True, check=True)
        assert '12 made, 0 kept, 0 failed' in done.stdout
    assert contents(tmp_path / 'one') == contents(tmp_path / 'several')


@pytest.mark.slow
def test_killed_and_resumed_and_sharded_runs_make_the_same_files(photos, tmp_path):
    whole = subprocess.run(command(photos, tmp_path / 'whole'), capture_output=True, text=True, check=True)
    assert '12 made, 0 kept, 0 failed' in whole.stdout
    assert 'coverage 100.0 %' in whole.stdout
    expected = contents(tmp_path / 'whole')
    assert len(expected) == 12

    killed = subprocess.Popen(command(photos, tmp_path / 'killed'), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    limit = time.monotonic() + 60
    while not list(tmp_path.glob('killed/*.png')) and time.monotonic() < limit:
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    before = contents(tmp_path / 'killed')
    assert before.items() <= expected.items()  # whatever is there is whole
    resumed = subprocess.run(command(photos, tmp_path / 'killed'), capture_output=True, text=True, check=True)
    assert f'{12 - len(before)} made, {len(before)} kept' in resumed.stdout
    assert contents(tmp_path / 'killed') == expected

    ranks = [{**os.environ, 'RANK': str(rank), 'WORLD_SIZE': '2'} for rank in range(2)]  # as torchrun sets them
    parts = [
        subprocess.Popen(command(photos, tmp_path / 'parts'), env=env, stdout=subprocess.PIPE, text=True)
        for env in ranks
    ]
    printed = [part.communicate()[0] for part in parts]
    assert all('6 made, 0 kept, 0 failed' in text for text in printed)
    assert contents(tmp_path / 'parts') == expected


@pytest.mark.slow
def test_a_broken_photo_sets_the_exit_code_and_the_rest_is_done(photos, tmp_path):
    (photos / 'photo 03.png').write_bytes(b'')
    done = subprocess.run(command(photos, tmp_path / 'masks'), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert '11 made, 0 kept, 1 failed' in done.stdout
    assert 'photo 03.png' in done.stdout
    assert '0 bytes' in done.stdout
    assert len(contents(tmp_path / 'masks')) == 11


@pytest.mark.slow
@pytest.mark.parametrize(
    ('more', 'message'),
    [
        (['--generator', 'felzenswalb'], "'felzenszwalb'"),
        (['--generator', 'sam'], "'checkpoint'"),
        (['--generator', 'sam', '--checkpoint', 'gone.pth'], 'gone.pth'),
        (['--set', 'scale'], 'key=value'),
        (['--set', 'scale=[1'], "'[1'"),
        (['--set', 'skale=3'], "'scale'"),
        (['--shard', '2/2'], '2/2'),
        (['--shard', 'half'], 'i/n'),
    ],
)
def test_wrong_arguments_are_answered_without_a_traceback(photos, tmp_path, more, message):
    done = subprocess.run(command(photos, tmp_path / 'masks', *more), capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert message in done.stderr
    assert 'Traceback' not in done.stderr


def masks_by_sam(photos, output, checkpoint, *more, **options):
    """The script in a process of its own, where ``vit_b`` is the tiny network."""
    settings = [f'{key}={value}' for key, value in {'model': 'vit_b', **OPEN}.items()]
    arguments = ['--generator', 'sam', '--checkpoint', str(checkpoint), '--device', 'cpu', '--set', *settings, *more]
    whole = command(photos, output, *arguments)
    started = [whole[0], '-m', 'tests.helpers.tiny_sam', *whole[1:]]
    return subprocess.Popen(started, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def finished(process):
    """What a run printed; it must have gone well."""
    printed, complaints = process.communicate()
    assert process.returncode == 0, complaints
    return printed


@pytest.mark.slow
def test_segment_anything_killed_resumed_and_sharded_makes_the_same_files(photos, tmp_path, tiny_sam):
    names = sorted(path.name for path in photos.iterdir())
    assert '12 made, 0 kept, 0 failed' in finished(masks_by_sam(photos, tmp_path / 'whole', tiny_sam))
    expected = contents(tmp_path / 'whole')
    assert sorted(expected) == names
    assert len(set(expected.values())) == 12
    for name in names:
        labels = read_masks(tmp_path / 'whole' / name, (120, 160))
        assert len(np.unique(labels[labels > 0])) >= 20
        assert len(labels) > 1  # they overlap

    killed = masks_by_sam(photos, tmp_path / 'killed', tiny_sam)
    limit = time.monotonic() + 120
    while not list(tmp_path.glob('killed/*.png')) and killed.poll() is None and time.monotonic() < limit:
        time.sleep(0.002)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    before = contents(tmp_path / 'killed')
    assert 0 < len(before) < 12
    assert before.items() <= expected.items()
    resumed = finished(masks_by_sam(photos, tmp_path / 'killed', tiny_sam))
    assert f'{12 - len(before)} made, {len(before)} kept' in resumed
    assert contents(tmp_path / 'killed') == expected

    shards = [masks_by_sam(photos, tmp_path / 'parts', tiny_sam, '--shard', f'{index}/2') for index in range(2)]
    assert all('6 made, 0 kept, 0 failed' in finished(shard) for shard in shards)
    assert contents(tmp_path / 'parts') == expected
    record = [(tmp_path / folder / 'masks.json').read_bytes() for folder in ('whole', 'killed', 'parts')]
    assert len(set(record)) == 1
    assert not [path for path in tmp_path.rglob('*') if path.is_file() and path.suffix not in ('.png', '.json', '.pth')]


@pytest.mark.slow
def test_masks_in_bfloat16_do_not_mix_with_others(photos, tmp_path, tiny_sam):
    finished(masks_by_sam(photos, tmp_path / 'masks', tiny_sam, 'dtype=bf16', '--shard', '0/12'))
    assert len(contents(tmp_path / 'masks')) == 1
    other = masks_by_sam(photos, tmp_path / 'masks', tiny_sam)
    _, complaints = other.communicate()
    assert other.returncode != 0
    assert '(dtype ' in complaints


@pytest.mark.slow
def test_a_checkpoint_of_another_size_is_answered_without_a_traceback(photos, tmp_path, tiny_sam):
    arguments = ['--generator', 'sam', '--checkpoint', str(tiny_sam), '--device', 'cpu', '--set', 'model=vit_b']
    done = subprocess.run(command(photos, tmp_path / 'masks', *arguments), capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert re.search(r'sam\.pth .*vit_b .*model', done.stderr)
    assert 'Traceback' not in done.stderr
    assert not (tmp_path / 'masks').exists()
