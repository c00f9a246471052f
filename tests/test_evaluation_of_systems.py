"""The option files of LaKDNet and RSS-T evaluate real pairs, in the layouts and with the bits of their data sets."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch

from basicsr.archs import build_network
from basicsr.metrics import Record, build_metric
from basicsr.reporting import read_report
from basicsr.utils.image import imread, imwrite
from tests.conftest import ROOT

evaluate = importlib.import_module('basicsr.test').main
TINY = ['network_g:dim=4', 'network_g:num_blocks=[1,1,1,1]']
TINY_RSST = ['network_g:base_channel=4', 'network_g:depths=[1,1,1,1,1,1,1,1]']


@pytest.fixture
def photos(shared_data):
    """Two real pairs (blurred, sharp), 128×128."""
    folder = shared_data / 'pairs_small'
    names = sorted(path.name for path in (folder / 'input').iterdir())[:2]
    return [(imread(folder / 'input' / name), imread(folder / 'target' / name)) for name in names]


def save(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    imwrite(path, image)


def run(file: str, force: list[str], monkeypatch: pytest.MonkeyPatch):
    """``test.py`` on a shipped option file; the report of its only data set."""
    path = ROOT / 'options' / 'test' / file
    monkeypatch.setattr('sys.argv', ['test.py', '-opt', str(path), '--force_yml', *force])
    assert evaluate() == 0
    return read_report(next(Path('results').glob('*/*.json')))


def published(options: dict, path: Path, key: str | None = None, prefix: str = '') -> torch.nn.Module:
    """A network whose weights are written in the form that the authors' files have."""
    torch.manual_seed(0)
    net = build_network(options).eval()
    state = {f'{prefix}{name}': value for name, value in net.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state if key is None else {key: state, 'best_psnr': 1.0}, path)
    return net


@pytest.mark.parametrize('dual', [False, True])
def test_dpdd(tmp_path, monkeypatch, photos, dual):
    monkeypatch.chdir(tmp_path)
    root = tmp_path / 'datasets' / 'DPDD'
    for number, (lq, gt) in enumerate(photos, 9):
        for folder, image in (
            ('test_c/source', lq),
            ('test_l/source', lq),
            ('test_r/source', gt),
            ('test_c/target', gt),
        ):
            deep = image.astype(np.uint16) * 256 + 77  # 16 bits whose upper byte is the photo
            save(root / folder / f'{folder[5]}{folder[7]}{number}.png', deep)
    name = 'LaKDNet_S_dual' if dual else 'LaKDNet_S'
    options = {'type': 'LaKDNet', 'dim': 4, 'num_blocks': [1] * 4, 'mix_kernel_size': [9] * 4}
    options |= {'inp_channels': 9, 'dual_pixel_task': True} if dual else {}
    weights = 'train_on_dpdd_dual_s' if dual else 'train_on_dpdd_s'
    net = published(options, tmp_path / f'experiments/published/LaKDNet/{weights}.pth')
    report = run(f'DPDD/{name}.yml', TINY, monkeypatch)
    lq, gt = photos[1]
    deep_lq, deep_gt = (image.astype(np.uint16) * 256 + 77 for image in photos[1])
    views = [lq] if not dual else [deep_lq, deep_gt, deep_lq]
    white = 65535 if dual else 255
    x = torch.from_numpy(np.concatenate(views, 2).astype(np.float32) / np.float32(white)).permute(2, 0, 1)[None]
    with torch.no_grad():
        output = net(x)[0].permute(1, 2, 0).numpy()
    record = Record(output=output, gt=deep_gt if dual else gt)
    assert len(report.rows) == 2
    for label in ('psnr_float', 'ssim_skimage'):
        assert report.rows[1].scores[label] == pytest.approx(build_metric({'type': label})(record).value, abs=1e-4)
        assert report.rows[1].input_scores[label] < 60  # the centre image stands for doing nothing


def test_lfdof(tmp_path, monkeypatch, photos):
    monkeypatch.chdir(tmp_path)
    root = tmp_path / 'datasets' / 'LFDOF' / 'test_data'
    (lq, gt), (other_lq, _) = photos
    save(root / 'ground_truth' / 'a.png', gt)
    save(root / 'input' / 'a_ap1.png', lq)
    save(root / 'input' / 'a_ap2.png', other_lq)
    options = {'type': 'LaKDNet', 'dim': 4, 'num_blocks': [1] * 4, 'mix_kernel_size': [9] * 4}
    published(options, tmp_path / 'experiments/published/LaKDNet/train_on_lfdof_s.pth')
    report = run('LFDOF/LaKDNet_S.yml', TINY, monkeypatch)
    assert [row.name for row in report.rows] == ['a_ap1', 'a_ap2']


def test_grr_real(tmp_path, monkeypatch, photos):
    monkeypatch.chdir(tmp_path)
    for number, (lq, gt) in enumerate(photos):
        for kind, image in (('RSGR', lq), ('GS', gt)):
            save(tmp_path / f'datasets/GRR_real/test/seq1/{kind}/PNG/{number:04}.png', image[:100, :90])
    options = {'type': 'RSST', 'base_channel': 4, 'win_size': [4, 16], 'trans_type': 'rsst', 'depths': [1] * 8}
    net = published(options, tmp_path / 'checkpoint.ckpt', 'model', 'module.')
    force = [*TINY_RSST, 'path:pretrain_network_g=checkpoint.ckpt', 'path:param_key=model']
    report = run('GRR_real/RSST.yml', force, monkeypatch)
    lq, gt = (image[:100, :90] for image in photos[0])
    with torch.no_grad():
        output = (
            net(torch.from_numpy(lq.astype(np.float32) / 255).permute(2, 0, 1)[None])[-1][0].permute(1, 2, 0).numpy()
        )
    record = Record(output=output, gt=gt)
    assert [row.name for row in report.rows] == ['seq1/0000', 'seq1/0001']
    assert report.rows[0].scores['psnr_rsst'] == pytest.approx(
        build_metric({'type': 'psnr_rsst'})(record).value, abs=1e-3
    )
    bottom = build_metric({'type': 'ssim_rsst', 'rows': 'bottom'})(record).value
    assert report.rows[0].scores['ssim_bottom'] == pytest.approx(bottom, abs=1e-4)
