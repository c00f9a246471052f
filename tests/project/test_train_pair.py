"""docs/train_pair.md: its commands, with small photos, kernels and networks."""

from __future__ import annotations

import json
import re
import shlex

import numpy as np
import pytest
import torch

from basicsr.archs import build_network
from basicsr.archs.analysis_synthesis_arch import AnalysisSynthesisNet
from basicsr.data.blur_kernels import convolved
from basicsr.data.exposure import to_uint8
from basicsr.images.files import imread
from basicsr.inference.pretrained import load_network
from basicsr.weights.files import save_weights
from benchmarks.pair import SIGMAS, best_gaussian
from benchmarks.pair import main as pair_benchmark
from tests.helpers.doc_pages import commands_of
from tests.helpers.project import ROOT, run_python
from tests.helpers.scenes import scene, write_images
from tests.helpers.tiny_pairs import TINY

SMALLER = (
    'network_g:analysis:n_levels=2 network_g:analysis:conv_block_n_features=4 network_g:analysis:conv_block_size=1 '
    'network_g:analysis:cc_num_of_in_features=3 network_g:synthesis:n_levels=2 '
    'network_g:synthesis:conv_block_n_features=4 datasets:train:gt_size=64 datasets:val:gt_size=64 '
    'datasets:val:length=2 datasets:train:batch_size_per_gpu=2 train:total_batch_size=2 train:total_iter=2 '
    'train:scheduler:T_max=2 train:warmup_iter=-1 datasets:train:num_worker_per_gpu=0 logger:print_freq=1'
)


@pytest.mark.slow
def test_the_commands_lead_from_photos_to_a_pair_and_its_kernels(tmp_path):
    for part, seed in (('train', 0), ('val', 10)):
        folder = tmp_path / 'datasets/Photos/sources' / part / 'photos'
        write_images(folder, {f'p{n}': scene(300, 320, seed + n) for n in range(2)})
    for name in ('basicsr', 'scripts', 'options', 'docs', 'benchmarks'):
        (tmp_path / name).symlink_to(ROOT / name)
    commands = commands_of('train_pair.md')
    assert len(commands) == 5
    for command in commands:
        words = shlex.split(command)[1:]
        words += ['--force_yml', *SMALLER.split()] if 'basicsr/train.py' in words else []
        words += ['--count', '3', '--classical', '1'] if 'benchmarks.pair' in words else []
        done = run_python(words, tmp_path)
        assert done.returncode == 0, f'{command}\n{done.stdout}\n{done.stderr}'
    assert isinstance(load_network(tmp_path / 'experiments/pair_3/models/net_g_latest.pth'), AnalysisSynthesisNet)
    assert re.search(r'\| network \| 3 \| 0\.\d{3} ', done.stdout)
    assert re.search(r'\| one Gaussian \| 3 \| 0\.\d{3} \(sigma ', done.stdout)
    assert imread(tmp_path / 'results/pair_kernels.png').shape[0] > 300
    assert imread(tmp_path / 'results/kernels/kernels.png').shape[1] == 1024


def test_the_best_gaussian():
    middle = np.arange(21) - 10
    kernels = [np.exp(-(middle[:, None] ** 2 + middle**2) / (2 * sigma**2)) for sigma in SIGMAS[[10, 10, 20]]]
    one, sigma, each = best_gaussian(kernels)
    assert each == pytest.approx(1, abs=1e-6) and SIGMAS[9] < sigma < SIGMAS[21] and 0.8 < one < 1


@pytest.mark.slow
def test_real_pairs_are_scored_with_and_without_true_kernels(tmp_path, capsys):
    torch.manual_seed(0)
    save_weights(tmp_path / 'pair.pth', build_network(TINY))
    kernel = np.full((1, 7), 1 / 7)
    for folder in ('known', 'unknown'):
        wide = scene(96, 102, 3)
        write_images(tmp_path / folder / 'target', {'a': wide[:, 3:-3]})
        lq = to_uint8(
            convolved(np.pad(wide, ((3, 3), (0, 0), (0, 0))) / np.float32(255), np.pad(kernel, ((3, 3), (0, 0))))
        )
        write_images(tmp_path / folder / 'input', {'a': lq})
    (tmp_path / 'known' / 'kernels').mkdir()
    np.save(tmp_path / 'known' / 'kernels' / 'a.npy', kernel)
    folders = [str(tmp_path / name) for name in ('known', 'unknown')]
    assert pair_benchmark([str(tmp_path / 'pair.pth'), '--pairs', *folders, '--json', str(tmp_path / 'r.json')]) == 0
    known, unknown = (json.loads((tmp_path / 'r.json').read_text())[folder][0] for folder in folders)
    assert known['scores']['true'] > known['scores']['input'] + 3
    assert known['scores']['input'] == pytest.approx(unknown['scores']['input']) and 'true' not in unknown['scores']
    assert known['similarity']['classical'] > 0.6 and unknown['similarity']['classical'] is None
    text = capsys.readouterr().out
    assert text.count('| classical estimator, deconvolved |') == 2 and text.count('| true kernel, deconvolved |') == 1
