"""scripts/make_masks.py as people run it: killed and resumed, in shards, with a broken photo, with Segment Anything."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from basicsr.masks import read_masks
from tests.conftest import ROOT
from tests.test_masks import OPEN, tiny_sam  # noqa: F401 - a fixture

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


def test_killed_and_resumed_and_sharded_runs_make_the_same_files(photos, tmp_path):
    whole = subprocess.run(command(photos, tmp_path / 'whole'), capture_output=True, text=True, check=True)
    assert '12 made, 0 there already, 0 failed' in whole.stdout
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
    assert f'{12 - len(before)} made, {len(before)} there already' in resumed.stdout
    assert contents(tmp_path / 'killed') == expected

    ranks = [{**os.environ, 'RANK': str(rank), 'WORLD_SIZE': '2'} for rank in range(2)]  # as torchrun sets them
    parts = [
        subprocess.Popen(command(photos, tmp_path / 'parts'), env=env, stdout=subprocess.PIPE, text=True)
        for env in ranks
    ]
    printed = [part.communicate()[0] for part in parts]
    assert all('6 made, 0 there already, 0 failed' in text for text in printed)
    assert contents(tmp_path / 'parts') == expected


def test_a_broken_photo_sets_the_exit_code_and_the_rest_is_done(photos, tmp_path):
    (photos / 'photo 03.png').write_bytes(b'')
    done = subprocess.run(command(photos, tmp_path / 'masks'), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert '11 made, 0 there already, 1 failed' in done.stdout
    assert 'photo 03.png' in done.stdout
    assert '0 bytes' in done.stdout
    assert len(contents(tmp_path / 'masks')) == 11


@pytest.mark.parametrize(
    ('more', 'message'),
    [
        (['--generator', 'felzenswalb'], "did you mean 'felzenszwalb'"),
        (['--generator', 'sam'], "needs the key 'checkpoint'"),
        (['--generator', 'sam', '--checkpoint', 'gone.pth'], 'gone.pth does not exist'),
        (['--set', 'scale'], 'write it as key=value'),
        (['--set', 'skale=3'], "did you mean 'scale'"),
        (['--shard', '2/2'], 'shard 2/2 does not exist'),
        (['--shard', 'half'], 'is not i/n'),
    ],
)
def test_wrong_arguments_are_answered_without_a_traceback(photos, tmp_path, more, message):
    done = subprocess.run(command(photos, tmp_path / 'masks', *more), capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert message in done.stderr
    assert 'Traceback' not in done.stderr


def test_segment_anything_through_the_script(photos, tmp_path, tiny_sam, monkeypatch, capsys):  # noqa: F811
    settings = [f'{key}={value}' for key, value in {'model': 'vit_b', **OPEN}.items()]
    arguments = ['--generator', 'sam', '--checkpoint', str(tiny_sam), '--device', 'cpu', '--shard', '0/6']
    monkeypatch.setattr(sys, 'argv', [*command(photos, tmp_path / 'masks', *arguments)[1:], '--set', *settings])
    monkeypatch.setattr(sys, 'path', list(sys.path))
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(SCRIPT), run_name='__main__')
    assert stop.value.code == 0
    assert '2 made' in capsys.readouterr().out
    for name in ('photo 00.png', 'photo 06.png'):
        labels = read_masks(tmp_path / 'masks' / name, (120, 160))
        assert len(np.unique(labels)) > 20
