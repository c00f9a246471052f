"""The network that comes with the repository: small, safe to read, and no photo gets worse by it on average."""

from __future__ import annotations

import csv
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from basicsr import Deblurrer
from basicsr.data import build_dataset
from basicsr.images.files import imread
from basicsr.inference.pretrained import find_weights
from basicsr.metrics import calculate_psnr, mode_collapse_rate
from basicsr.preparation.synthetic_sets import photo_file
from tests.helpers.project import ROOT

pytestmark = pytest.mark.numeric

Pair = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope='module')
def deblurrer() -> Deblurrer:
    return Deblurrer.load(device='cpu', dtype='fp32', method='network')


def scores(deblurrer: Deblurrer, pairs: list[Pair]) -> tuple[list[float], list[float]]:
    """PSNR of the blurred pictures, and of what the network makes of them."""
    done = [deblurrer.deblur(lq) for lq, _ in pairs]
    assert not any(result.warning for result in done)
    before = [calculate_psnr(lq, gt) for lq, gt in pairs]
    return before, [calculate_psnr(result.image, gt) for result, (_, gt) in zip(done, pairs, strict=True)]


def test_it_is_small_and_stored_in_half_precision():
    path = find_weights()
    assert path.name == 'photo_unet.safetensors'
    assert path.stat().st_size <= 5_000_000
    with safe_open(path, framework='pt') as file:
        assert {file.get_tensor(key).dtype for key in file.keys()} == {torch.float16}  # noqa: SIM118


def test_it_is_loaded_in_single_precision(deblurrer):
    assert {parameter.dtype for parameter in deblurrer.net.parameters()} == {torch.float32}
    assert deblurrer.net.options['type'] == 'PhotoUNet'
    assert not deblurrer.takes_masks


def test_photos_that_it_has_not_seen_get_better(deblurrer, tmp_path):
    """Those of the quick start's test, of which none was in its training."""
    import shutil

    for name in ('astronaut', 'chelsea', 'coffee'):
        shutil.copy(photo_file(name), tmp_path)
    block = {'type': 'SyntheticBlurDataset', 'dataroot_gt': str(tmp_path), 'share_photos': 1.0, 'length': 6}
    shaken = {'gt_size': 192, 'shake_length': 12.0, 'moving_share': 0.0, 'masks': 'none', 'seed': 5}
    items = [build_dataset({**block, **shaken}, phase='val')[i] for i in range(6)]
    pairs = [tuple(item[key].permute(1, 2, 0).numpy() for key in ('lq', 'gt')) for item in items]
    before, after = scores(deblurrer, pairs)
    assert statistics.fmean(after) > statistics.fmean(before) + 0.2
    assert mode_collapse_rate(before, after) == 0


@pytest.mark.parametrize('name', ['astronaut', 'chelsea', 'coffee'])
def test_sharp_photos_hardly_change(name, deblurrer):
    photo = imread(photo_file(name), channels=3)[:384, :384]
    assert calculate_psnr(deblurrer(photo), photo) > 37


def centre(image: np.ndarray, side: int = 384) -> np.ndarray:
    top, left = (max(0, (length - side) // 2) for length in image.shape[:2])
    return image[top : top + side, left : left + side]


@pytest.mark.slow
@pytest.mark.parametrize('folder', ['pairs', 'kohler'])
def test_no_group_of_real_pairs_gets_worse(folder, deblurrer, shared_data):
    with (shared_data / f'{folder}.csv').open(encoding='utf-8') as file:
        rows = list(csv.DictReader(file))
    groups: dict[str, list[Path]] = {}
    for row in rows:
        groups.setdefault(row['group'], []).append(Path(row['file']))
    assert groups
    for group, files in groups.items():
        chosen = files[:: max(1, len(files) // 4)]
        pairs = [
            tuple(centre(imread(shared_data / folder / part / name, channels=3)) for part in ('input', 'target'))
            for name in chosen
        ]
        before, after = scores(deblurrer, pairs)
        assert statistics.fmean(after) >= statistics.fmean(before), group
        assert mode_collapse_rate(before, after) == 0, group


@pytest.mark.slow
def test_the_command_on_real_blurry_photos(shared_data, tmp_path):
    """All of them are done, none collapses, and each result looks like its photo: small changes, and some."""
    photos = sorted(path for path in (shared_data / 'blurry').rglob('*') if path.suffix in ('.png', '.jpg'))
    assert len(photos) == 20
    words = [
        str(ROOT / 'basicsr' / 'deblur.py'),
        '-i',
        *map(str, photos),
        '-o',
        str(tmp_path / 'out'),
        '--device',
        'cpu',
    ]
    words += ['--method', 'network', '--mask-cache', 'none', '--contact-sheet', str(tmp_path / 'sheet.jpg')]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert '20 of 20 in' in done.stdout
    assert 'collapse' not in done.stderr
    for path in photos:
        before, after = (
            imread(file, channels=3).astype(float) for file in (path, *tmp_path.glob(f'out/{path.stem}_*'))
        )
        assert before.shape == after.shape
        change = float(np.sqrt(np.square(after - before).mean()))
        assert 0.1 < change < 12, path.name
        assert -3 < after.mean() - before.mean() < 1, path.name  # means of light are brighter than means of gray values
    assert imread(tmp_path / 'sheet.jpg').shape[0] > 20 * 200
