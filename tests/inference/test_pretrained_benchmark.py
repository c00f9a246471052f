"""benchmarks.pretrained: its numbers on two small pairs, its table, and bad arguments."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from basicsr.inference.baselines import build_methods
from basicsr.metrics import calculate_psnr, calculate_psnr_best_shift, calculate_ssim, calculate_ssim_best_shift
from basicsr.utils.console import run
from benchmarks.photo_methods import change_of_light, measured
from benchmarks.pretrained import ROUNDING, main
from tests.helpers.scenes import scene

pytestmark = pytest.mark.numeric
METHODS = 'input', 'usm', 'rl', 'network'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pairs of two groups: a photo moved by two pixels, and a blurred one."""
    sharp = scene(64, 80, 3)
    moved = np.roll(sharp, (2, -1), axis=(0, 1))
    blurred = cv2.GaussianBlur(sharp, (0, 0), 1.2)
    for part, images in (('input', (moved, blurred)), ('target', (sharp, sharp))):
        (tmp_path / 'pairs' / part).mkdir(parents=True)
        for name, image in zip(('moved', 'soft'), images, strict=True):
            Image.fromarray(image).save(tmp_path / 'pairs' / part / f'{name}.png')
    (tmp_path / 'pairs.csv').write_text('file,group\nmoved.png,still\nsoft.png,blur\n')
    return tmp_path / 'pairs'


def rows_of(path: Path) -> dict[tuple[str, str], dict[str, str]]:
    with path.open(encoding='utf-8', newline='') as file:
        return {(row['file'], row['method']): row for row in csv.DictReader(file)}


def test_the_numbers_of_each_image_and_method(folder, tmp_path, capsys):
    table = tmp_path / 'scores.csv'
    words = ['--methods', ','.join(METHODS), '--border', '9', '--max-shift', 'still=2', '--csv', str(table)]
    assert main([str(folder), *words]) == 0
    rows = rows_of(table)
    assert set(rows) == {(name, method) for name in ('moved.png', 'soft.png') for method in METHODS}
    assert {row['group'] for row in rows.values()} == {'still', 'blur'}

    moved = rows['moved.png', 'input']
    assert float(moved['psnr']) < 30
    assert (float(moved['psnr_shift']), float(moved['ssim_shift'])) == (ROUNDING, 1)
    soft = rows['soft.png', 'input']
    images = [np.asarray(Image.open(folder / part / 'soft.png')) for part in ('input', 'target')]
    assert float(soft['psnr']) == float(soft['psnr_shift']) == calculate_psnr(*images, 9)
    assert float(soft['ssim']) == float(soft['ssim_shift']) == calculate_ssim(*images, 9)
    for name, method in rows:
        row, before = rows[name, method], rows[name, 'input']
        assert float(row['gain']) == pytest.approx(float(row['psnr_shift']) - float(before['psnr_shift']), abs=1e-9)
        assert float(row['psnr_shift']) >= float(row['psnr'])
        assert row['chosen'] == method
        assert row['guard'] == ''
        assert 0 <= float(row['light']) <= float(row['light_windows']) + 1 < 5
        assert float(row['seconds']) >= 0
        assert float(row['memory']) > 50 or sys.platform != 'linux'
    for row in (moved, soft):
        assert float(row['gain']) == float(row['light']) == float(row['light_windows']) == 0
    assert all(float(rows['soft.png', method]['gain']) > 0.05 for method in ('usm', 'rl'))
    assert all(float(rows['moved.png', method]['gain']) < -3 for method in ('usm', 'rl', 'network'))

    lines = [line.split(' | ') for line in capsys.readouterr().out.splitlines() if line.startswith('| ')]
    assert len({len(cells) for cells in lines}) == 1
    assert [(cells[0], cells[1]) for cells in lines[1:]] == [(f'| {g}', m) for g in ('blur', 'still') for m in METHODS]
    still = dict(zip(METHODS, lines[5:], strict=True))
    assert (still['input'][2], still['input'][6], still['input'][7]) == ('1', '0', '0.00')
    assert (still['usm'][6], still['usm'][7]) == ('1', '100.00')


def test_by_default_nothing_is_cropped_or_moved(folder, tmp_path):
    table = tmp_path / 'scores.csv'
    assert main([str(folder), '--csv', str(table), '--every', '2']) == 0
    rows = rows_of(table)
    assert set(rows) == {('moved.png', 'input'), ('moved.png', 'network')}
    images = [np.asarray(Image.open(folder / part / 'moved.png')) for part in ('input', 'target')]
    assert float(rows['moved.png', 'input']['psnr_shift']) == calculate_psnr(*images)


def test_one_shift_for_all_groups(folder, tmp_path):
    table = tmp_path / 'scores.csv'
    assert main([str(folder), '--methods', 'input', '--border', '5', '--max-shift', '4', '--csv', str(table)]) == 0
    for (name, _), row in rows_of(table).items():
        images = [np.asarray(Image.open(folder / part / name)) for part in ('input', 'target')]
        assert float(row['psnr_shift']) == min(calculate_psnr_best_shift(*images, 4, 5), ROUNDING)
        assert float(row['ssim_shift']) == calculate_ssim_best_shift(*images, 4, 5)


def test_no_kernel_is_used_on_a_sharp_photo():
    image = scene(96, 96, 0).astype(np.float32) / 255
    methods = build_methods(['kernel', 'auto', 'kernel'], None, device='cpu')
    assert list(methods) == ['kernel', 'auto']
    for method, chosen in zip(methods.values(), ('photo', 'network'), strict=True):
        done, seconds, _ = measured(method, image)
        assert (done.chosen, done.image.dtype, done.image.shape) == (chosen, np.float32, image.shape)
        assert done.explanation
        assert seconds > 0
        assert np.abs(done.image - image).max() < (1e-6 if chosen == 'photo' else 0.05)


def test_light_is_measured_before_rounding():
    before = np.full((130, 70, 3), 0.5, np.float32)
    after = before.copy()
    after[:64, :64] += 0.4 / 255
    after[64:128, :64] -= 0.4 / 255
    whole, windows = change_of_light(before, after)
    assert whole == pytest.approx(0, abs=1e-4)
    assert windows == pytest.approx(0.4, abs=1e-4)
    assert change_of_light(before[:20], before[:20] + np.float32(2 / 255)) == pytest.approx((2, 2), abs=1e-4)


@pytest.mark.parametrize(
    ('words', 'named'),
    [
        ('--methods input,magic', 'magic'),
        ('--methods', 'methods'),
        ('--border 3 --max-shift 4', '--border 3'),
        ('--border 9 --max-shift still=2,levin=6', 'levin'),
        ('--border 9 --max-shift few', 'few'),
        ('--border 32', '64×80'),
        ('--border -1', '--border'),
        ('--weights missing.pth', 'missing.pth'),
    ],
)
def test_bad_arguments_end_before_any_work(folder, tmp_path, capsys, words, named):
    table = tmp_path / 'scores.csv'
    given = words.split() if words != '--methods' else ['--methods', '']
    assert run(lambda: main([str(folder), *given, '--csv', str(table)])) == 1
    out, err = capsys.readouterr()
    assert named in err
    assert (out, err.count('\n')) == ('', 1)
    assert not table.exists()


def test_a_folder_without_pairs_is_named(tmp_path, capsys):
    assert run(lambda: main([str(tmp_path)])) == 1
    assert str(tmp_path) in capsys.readouterr().err
    for part in ('blur', 'sharp'):
        (tmp_path / part).mkdir()
    assert run(lambda: main([str(tmp_path)])) == 1
    assert str(tmp_path) in capsys.readouterr().err
