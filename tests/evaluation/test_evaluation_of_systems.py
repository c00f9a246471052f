"""The option files of LaKDNet, RSS-T and the pair on real pairs, in the layouts and bits of their data sets."""

from __future__ import annotations

import csv
import importlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from basicsr.archs import build_network
from basicsr.data.blur_kernels import convolved
from basicsr.data.exposure import to_uint8
from basicsr.deconvolution.kernels import kernel_image
from basicsr.images.files import imread, imwrite
from basicsr.inference.deblurrer import Deblurrer
from basicsr.metrics import Record, build_metric
from basicsr.options import load_options
from basicsr.reporting import read_report
from basicsr.weights.files import save_weights
from tests.helpers.project import ROOT
from tests.helpers.scenes import scene
from tests.helpers.tiny_pairs import TINY as PAIR

evaluate = importlib.import_module('basicsr.test').main
train = importlib.import_module('basicsr.train').main
TINY = ['network_g:dim=4', 'network_g:num_blocks=[1,1,1,1]']
TINY_PAIR = [f'network_g:{part}={json.dumps(PAIR[part])}' for part in ('analysis', 'synthesis')]
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
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))  # no weights for LPIPS
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
    assert len(report.rows) == 2 and report.groups == ()
    for label in ('psnr_float', 'ssim_skimage'):
        assert report.rows[1].scores[label] == pytest.approx(build_metric({'type': label})(record).value, abs=1e-4)
        assert report.rows[1].input_scores[label] < 60  # the centre image stands for doing nothing
    assert 'lpips' in [definition.label for definition in report.definitions]
    assert all('lpips' not in row.scores for row in report.rows)
    assert 'scored: lpips' in next(Path('results').glob('*/summary.md')).read_text()


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


def test_dpdd_indoor_and_outdoor(tmp_path, monkeypatch, photos, capsys):
    """With the label files that people have: positions from 1, in natural order (9, 10, 11)."""
    monkeypatch.chdir(tmp_path)
    root = tmp_path / 'datasets' / 'DPDD'
    for number, (lq, gt) in zip((9, 10, 11), (*photos, photos[0]), strict=True):
        for folder, image in (('source', lq), ('target', gt)):
            save(root / 'test_c' / folder / f'{folder}{number}.png', image)
    np.save(root / 'indoor_labels.npy', np.array([3, 1]))
    np.save(root / 'outdoor_labels.npy', np.array([2]))
    options = {'type': 'LaKDNet', 'dim': 4, 'num_blocks': [1] * 4, 'mix_kernel_size': [9] * 4}
    published(options, tmp_path / 'experiments/published/LaKDNet/train_on_dpdd_s.pth')
    report = run('DPDD/LaKDNet_S.yml', TINY, monkeypatch)
    assert [row.group for row in report.rows] == ['indoor', 'outdoor', 'indoor']
    scores = [row.scores['psnr_float'] for row in report.rows]
    assert report.average('psnr_float', 'indoor').mean == pytest.approx((scores[0] + scores[2]) / 2)
    assert report.average('psnr_float', 'outdoor').mean == pytest.approx(scores[1])
    assert report.average('psnr_float').mean == pytest.approx(sum(scores) / 3)
    lines = {line.split('  ')[0]: line.split() for line in capsys.readouterr().out.splitlines()}
    assert lines['LaKDNet_S-DPDD, indoor'][2:4] == ['2', f'{(scores[0] + scores[2]) / 2:.2f}']
    assert lines['LaKDNet_S-DPDD, outdoor'][2:4] == ['1', f'{scores[1]:.2f}']
    assert lines['blurred input, outdoor'][3:5] == ['1', f'{report.rows[1].input_scores["psnr_float"]:.2f}']
    lines = list(csv.DictReader(next(Path('results').glob('*/*.csv')).open(newline='')))
    assert [line['group'] for line in lines] == ['indoor', 'outdoor', 'indoor']


def test_gopro_with_the_pair(tmp_path, monkeypatch, photos):
    """The photos cut to odd sizes; the kernel is found in each of them."""
    monkeypatch.chdir(tmp_path)
    for number, pair in enumerate(photos):
        for kind, image in zip(('input', 'target'), pair, strict=True):
            save(tmp_path / f'datasets/GoPro/test/{kind}/{number}.png', image[:101, : 90 + number])
    torch.manual_seed(0)
    net = build_network(PAIR).eval()
    path = tmp_path / 'experiments/pretrained_models/analysis_synthesis.pth'
    path.parent.mkdir(parents=True)
    save_weights(path, net)
    report = run('GoPro/AnalysisSynthesis.yml', TINY_PAIR, monkeypatch)
    lq, gt = (image[:101, :91] for image in photos[1])
    with torch.no_grad():
        output = net(torch.from_numpy(lq.astype(np.float32) / 255).permute(2, 0, 1)[None])
    rounded = (output[0] * 255).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    expected = build_metric({'type': 'psnr'})(Record(output_uint8=rounded, gt=gt)).value
    assert report.rows[1].scores['psnr'] == pytest.approx(expected, abs=1e-3)
    assert report.rows[1].input_scores['psnr'] == pytest.approx(
        build_metric({'type': 'psnr'})(Record(output_uint8=lq, gt=gt)).value
    )
    shown = sorted(Path('results').rglob('*_kernel.png'))
    assert len(shown) == len(photos)
    found = Deblurrer(net, device='cpu', guard='off').deblur(lq).kernel
    assert np.abs(imread(shown[1], channels=1)[..., 0].astype(int) - kernel_image(found)).max() <= 1


SYSTEMS = {
    'LaKDNet': ('GoPro/LaKDNet_S.yml', TINY, ['path:param_key=params']),
    'RSST': ('GRR_real/RSST.yml', TINY_RSST, []),
    'pair': ('GoPro/AnalysisSynthesis.yml', TINY_PAIR, []),
}


@pytest.mark.slow
@pytest.mark.parametrize('name', SYSTEMS)
def test_a_network_trained_on_real_pairs_is_evaluated(tmp_path, monkeypatch, photos, name):
    """The shipped file trains, the shipped file evaluates what it left behind: better than where it started."""
    monkeypatch.chdir(tmp_path)
    file, small, more = SYSTEMS[name]
    for number, (lq, gt) in enumerate(photos):
        for part in ('train', 'validate', 'test'):
            save(tmp_path / f'datasets/GRR_real/{part}/seq1/RSGR/PNG/{number}.png', lq)
            save(tmp_path / f'datasets/GRR_real/{part}/seq1/GS/PNG/{number}.png', gt)
        for folder, image in (('train/blur_crops', lq), ('train/sharp_crops', gt)):
            save(tmp_path / 'datasets/GoPro' / folder / f'{number}.png', image)
        for folder, image in (('test/input', lq), ('test/target', gt)):
            save(tmp_path / 'datasets/GoPro' / folder / f'{number}.png', image)
    recipe = [
        'datasets:train:gt_size=128',
        'datasets:train:batch_size_per_gpu=2',
        'datasets:train:num_worker_per_gpu=0',
        'train:total_batch_size=2',
        'train:stages=null',
        'train:optim_g:lr=3e-3',
        'train:scheduler={type: CosineAnnealingLR, T_max: 80}',
        'train:use_grad_clip=false',
        'val:val_freq=80',
        'logger:use_tb_logger=false',
    ]
    experiment = load_options(ROOT / 'options' / 'train' / file).name
    weights = [f'path:pretrain_network_g=experiments/{experiment}/models/net_g_latest.pth', *more]

    def mean_psnr(*force: str) -> float:
        arguments = ['-opt', str(ROOT / 'options' / 'train' / file), '--force_yml', *small, *recipe, *force]
        assert train(arguments) == 0
        report = run(file, [*small, *weights], monkeypatch)
        assert len(report.rows) == 2
        mean = report.average('psnr').mean
        assert mean is not None
        return mean

    before = mean_psnr('train:total_iter=1')
    shutil.rmtree('experiments')
    assert mean_psnr('train:total_iter=80') > before + 2


def test_levin_and_koehler_with_the_pair(tmp_path, monkeypatch):
    """Scores over the best shift; kernels of different sizes; the error ratio with its figure."""
    monkeypatch.chdir(tmp_path)
    for number, side in enumerate((5, 9)):
        kernel = np.zeros((side, side), np.float32)
        kernel[side // 2] = 1 / side
        wide = scene(70 + side - 1, 80 + side - 1, number)
        lq = to_uint8(convolved(wide.astype(np.float32) / 255, kernel))
        for name in ('Levin', 'Kohler'):
            save(tmp_path / f'datasets/{name}/test/input/{number}.png', lq)
            save(tmp_path / f'datasets/{name}/test/target/{number}.png', wide[side // 2 :][:70, side // 2 :][:, :80])
        (tmp_path / 'datasets/Levin/test/kernels').mkdir(exist_ok=True)
        np.save(tmp_path / f'datasets/Levin/test/kernels/{number}.npy', kernel)
    torch.manual_seed(0)
    save_weights(tmp_path / 'pair.pth', build_network(PAIR))
    force = [*TINY_PAIR, 'path:pretrain_network_g=pair.pth', 'path:param_key=params', 'val:batch_size=2']
    report = run('Levin/AnalysisSynthesis.yml', force, monkeypatch)
    assert {'psnr_shift', 'ssim_shift', 'error_ratio', 'similarity'} <= set(report.rows[0].scores)
    for row in report.rows:
        assert row.scores['error_ratio'] > row.input_scores['error_ratio'] > 1  # an untrained network
        assert 0 < row.scores['similarity'] <= 1 and 'similarity' not in row.input_scores
    assert next(Path('results').rglob('Levin_error_ratio.svg')).read_text(encoding='utf-8').startswith('<svg')
    shutil.rmtree('results')
    koehler = run('Kohler/AnalysisSynthesis.yml', force, monkeypatch)
    assert set(koehler.rows[0].scores) == {'psnr_shift', 'ssim_shift', 'psnr', 'ssim', 'mcr'}
