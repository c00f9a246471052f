"""What is wrong with an option file of LaKDNet, RSS-T or the pair, or with the data behind it: one message each."""

from __future__ import annotations

import importlib
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from basicsr.archs import build_network
from basicsr.images.files import imwrite
from basicsr.utils.console import run
from tests.helpers.project import ROOT

evaluate = importlib.import_module('basicsr.test').main
train = importlib.import_module('basicsr.train').main
DEFOCUS = {'type': 'LaKDNet', 'dim': 4, 'num_blocks': [1] * 4, 'mix_kernel_size': [9] * 4}
DUAL = {**DEFOCUS, 'inp_channels': 9, 'dual_pixel_task': True}
RSST = {'type': 'RSST', 'base_channel': 4, 'win_size': [4, 16], 'trans_type': 'rsst', 'depths': [1] * 8}
SMALL = ['network_g:dim=4', 'network_g:num_blocks=[1,1,1,1]']
SMALL_RSST = ['network_g:base_channel=4', 'network_g:depths=[1,1,1,1,1,1,1,1]']
NINE = ['network_g:inp_channels=9', 'network_g:dual_pixel_task=true']
THREE = ['network_g:inp_channels=3', 'network_g:dual_pixel_task=false']
WEIGHTS = 'path:pretrain_network_g=net.pth'
VIEWS = ('test_c/source', 'test_l/source', 'test_r/source', 'test_c/target')


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """Run a shipped option file in an empty folder; the message that it ends with."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))

    def message(file: str, *force: str) -> str:
        main = train if file.startswith('train') else evaluate
        capsys.readouterr()
        assert run(lambda: main(['-opt', str(ROOT / 'options' / file), '--force_yml', *force])) == 1
        return capsys.readouterr().err

    return message


def save(path: str, dtype: type = np.uint8, size: tuple[int, int] = (16, 24)) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    imwrite(Path(path), np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (*size, 3), dtype=dtype))


def dpdd(network: dict, dtype: type = np.uint16) -> None:
    for folder in VIEWS:
        for number in (9, 10):
            save(f'datasets/DPDD/{folder}/{number}.png', dtype)
    torch.save(build_network(network).state_dict(), 'net.pth')


def grr(part: str) -> None:
    for number in range(3):
        for kind in ('RSGR', 'GS'):
            save(f'datasets/GRR_real/{part}/s1/{kind}/PNG/{number:04}.png', size=(64, 128))
    torch.save({'params': build_network(RSST).state_dict()}, 'net.pth')


def test_networks_and_data_of_other_views(refused):
    dpdd(DUAL)
    message = refused('test/DPDD/LaKDNet_S.yml', *SMALL, *NINE, WEIGHTS)
    assert 'LaKDNet' in message and '(B, 9, H, W)' in message
    dpdd(DEFOCUS)
    message = refused('test/DPDD/LaKDNet_S_dual.yml', *SMALL, *THREE, WEIGHTS)
    assert '(B, 3, H, W)' in message and '(1, 9, 16, 24)' in message
    assert 'dual_pixel_task: true' in message


def test_files_of_other_bits(refused):
    dpdd(DUAL, np.uint8)
    message = refused('test/DPDD/LaKDNet_S_dual.yml', *SMALL, WEIGHTS)
    assert re.search(r'test_l/source/9\.png: .*\b8 .*\b16\b', message)
    dpdd(DEFOCUS)
    message = refused('test/DPDD/LaKDNet_S.yml', *SMALL, WEIGHTS, 'datasets:test:bits=8')
    assert re.search(r'9\.png: .*\b16 .*\b8\b.*high_byte', message)


def test_a_view_that_is_not_there(refused):
    dpdd(DUAL)
    Path('datasets/DPDD/test_l/source/9.png').unlink()
    message = refused('test/DPDD/LaKDNet_S_dual.yml', *SMALL, WEIGHTS)
    assert re.search(r'\b1 left \(datasets/DPDD/test_l/source\), 2 right', message)
    assert 'datasets/DPDD/test_l/source (1): 9' in message
    shutil.rmtree('datasets/DPDD/test_r')
    message = refused('test/DPDD/LaKDNet_S_dual.yml', *SMALL, WEIGHTS)
    assert re.search(r'datasets\.test\.dataroot_right: .*datasets/DPDD/test_r/source', message)


@pytest.mark.slow
def test_sequences_that_are_not_complete(refused):
    grr('test')
    Path('datasets/GRR_real/test/s1/GS/PNG/0001.png').unlink()
    message = refused('test/GRR_real/RSST.yml', *SMALL_RSST, WEIGHTS)
    assert re.search(r's1 .*\b2 .*GS .*\b3 .*RSGR.* GS \(1\): 0001', message)
    Path('datasets/GRR_real/test/s1/RSGR/PNG/0001.png').unlink()
    message = refused('test/GRR_real/RSST.yml', *SMALL_RSST, WEIGHTS)
    assert '(1): s1/1' in message and 'allow_gaps: true' in message


@pytest.mark.parametrize('key', ['use_rot', 'use_vflip'])
def test_augmentations_that_break_the_order_of_the_rows(refused, key):
    grr('train')
    message = refused('train/GRR_real/RSST.yml', f'datasets:train:{key}=true')
    assert f'datasets.train.{key}: ' in message and 'false' in message


def test_crops_that_the_windows_do_not_divide(refused):
    grr('train')
    grr('validate')
    small = ['datasets:train:gt_size=60', 'train:total_iter=1', 'datasets:train:num_worker_per_gpu=0']
    message = refused('train/GRR_real/RSST.yml', *SMALL_RSST, *small, 'num_gpu=0', 'logger:use_tb_logger=false')
    assert 'padding' in message and '60×60' in message


@pytest.mark.parametrize(
    ('file', 'force', 'message'),
    [
        ('GoPro/LaKDNet_S.yml', ['mix_kernel_size=[7,7,8,7]'], r'mix_kernel_size .*odd.*\[7, 7, 8, 7\]'),
        (
            'GoPro/AnalysisSynthesis.yml',
            ['synthesis={type: SynthesisNet, max_kernel_size: [87,87]}'],
            r'max_kernel_size .*\[85, 85\] .*analysis.*\[87, 87\] .*synthesis',
        ),
        (
            'GoPro/AnalysisSynthesis.yml',
            [
                'analysis={type: AnalysisNet, max_kernel_size: [84,84]}',
                'synthesis={type: SynthesisNet, max_kernel_size: [84,84]}',
            ],
            r'max_kernel_size .*odd.*\[84, 84\]',
        ),
    ],
)
def test_kernels_that_cannot_work(refused, file, force, message):
    text = refused(f'test/{file}', *(f'network_g:{item}' for item in force))
    assert re.search(message, text) and '.yml:' in text  # file and line
