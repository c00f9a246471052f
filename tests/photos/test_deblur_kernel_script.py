"""scripts/deblur_kernel.py as people run it: names, sizes, depths, what fails, the kernel beside the picture."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from basicsr.archs import build_network
from basicsr.deconvolution.kernels import save_kernel
from basicsr.images.files import imread, imwrite
from basicsr.inference.deblurrer import Deblurrer
from basicsr.photos import runs as photo_runs
from basicsr.weights.files import save_weights
from tests.helpers.project import ROOT, Script, Vector, find_vector
from tests.helpers.tiny_pairs import TINY, TOPIC, pipeline

SCRIPT = ROOT / 'scripts' / 'deblur_kernel.py'


@pytest.fixture
def place(tmp_path):
    """A network that changes pictures a little, and three photos with a kernel of 7 × 9 in them."""
    torch.manual_seed(0)
    save_weights(tmp_path / 'net.pth', build_network(TINY))
    folder = tmp_path / 'photos'
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, size in (('b.png', (41, 60)), ('a.JPG', (50, 33)), ('b.bmp', (30, 30))):
        imwrite(folder / name, rng.integers(0, 256, (*size, 3), dtype=np.uint8))
    (folder / 'notes.txt').write_text('no photo')
    (folder / 'deeper').mkdir()
    return tmp_path


def run(place: Path, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), '-w', 'net.pth', *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=place, env={**os.environ, **environment}, check=False
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.slow
@pytest.mark.vectors
def test_the_picture_is_the_originals(vector, tmp_path):
    case = vector(TOPIC, 'pipeline_odd')
    save_weights(tmp_path / 'net.pth', pipeline(case))
    imwrite(tmp_path / 'photo.png', case['in/image_rgb_u8'])
    done = run(tmp_path, '-i', 'photo.png', '-o', 'sharp', '--save-kernel')
    assert done.returncode == 0, done.stderr
    assert names(tmp_path / 'sharp') == ['photo_deblurred.png', 'photo_kernel.npy', 'photo_kernel.png']
    off = np.abs(imread(tmp_path / 'sharp/photo_deblurred.png').astype(int) - case['out/deblurred_u8'])
    assert off.max() <= 1 and (off > 0).mean() <= 0.005
    kernel = np.load(tmp_path / 'sharp/photo_kernel.npy')
    assert kernel.dtype == np.float32
    np.testing.assert_allclose(kernel, case['out/kernel'][0], rtol=0, atol=1e-4 * case['out/kernel'].max())
    shown = imread(tmp_path / 'sharp/photo_kernel.png')
    assert shown.shape == (21, 21, 1) and shown.max() == 255
    assert np.abs(shown[..., 0] - 255 * kernel / kernel.max()).max() <= 0.51


@pytest.mark.vectors
def test_the_originals_crop_can_be_asked_for(vector):
    case = vector(TOPIC, 'pipeline_reference_crop')
    net = pipeline(case)
    net.analysis.analysis_crop = 'reference'
    result = Deblurrer(net, device='cpu', guard='off').deblur(case['in/image_rgb_u8'])
    off = np.abs(result.image.astype(int) - case['out/deblurred_u8'])
    assert off.max() <= 1 and (off > 0).mean() <= 0.005


@pytest.mark.slow
def test_a_folder_keeps_names_and_sizes(place):
    done = run(place, '-i', 'photos', '-o', 'new/sharp', '-s', '', '--save-kernel')
    assert done.returncode == 0, done.stderr
    kernels = [
        'a_kernel.npy',
        'a_kernel.png',
        'b.bmp_kernel.npy',
        'b.bmp_kernel.png',
        'b.png_kernel.npy',
        'b.png_kernel.png',
    ]
    assert names(place / 'new/sharp') == sorted(['a.JPG', 'b.bmp', 'b.png', *kernels])
    for name in ('a.JPG', 'b.bmp', 'b.png'):
        photo, result = imread(place / 'photos' / name), imread(place / 'new/sharp' / name)
        assert photo.shape == result.shape and not np.array_equal(photo, result)
    assert '3 of 3 in ' in done.stdout and 'new/sharp' in done.stdout and done.stderr == ''


@pytest.mark.slow
def test_side_by_side_has_the_photo_on_the_left(place):
    assert run(place, '-i', 'photos/b.png', '-o', 'plain').returncode == 0
    assert run(place, '-i', 'photos/b.png', '-o', 'both', '-sbs', '-s', '_x').returncode == 0
    both = imread(place / 'both/b_x.png')
    photo, result = imread(place / 'photos/b.png'), imread(place / 'plain/b_deblurred.png')
    assert np.array_equal(both[-len(photo) :, :60], photo) and np.array_equal(both[-len(photo) :, -60:], result)


@pytest.mark.slow
def test_what_is_there_is_kept_unless_asked(place):
    assert run(place, '-i', 'photos/b.png', '-o', 'sharp').returncode == 0
    result = place / 'sharp/b_deblurred.png'
    result.write_bytes(b'mine')
    again = run(place, '-i', 'photos/b.png', '-o', 'sharp')
    assert again.returncode == 0 and re.search(r'b_deblurred\.png .*--overwrite', again.stderr)
    assert result.read_bytes() == b'mine'
    more = run(place, '-i', 'photos/b.png', '-o', 'sharp', '--save-kernel')
    assert more.returncode == 1 and 'b_kernel.npy ' in more.stderr
    assert run(place, '-i', 'photos/b.png', '-o', 'sharp', '--save-kernel', '--overwrite').returncode == 0
    assert imread(result).shape[2] == 3 and names(place / 'sharp') == [
        'b_deblurred.png',
        'b_kernel.npy',
        'b_kernel.png',
    ]


@pytest.mark.slow
def test_gray_transparent_and_16_bit_photos(place):
    rng = np.random.default_rng(1)
    colours = rng.integers(0, 256, (31, 34, 3), dtype=np.uint8)
    cv2.imwrite(str(place / 'gray.png'), colours[..., 0])
    cv2.imwrite(str(place / 'alpha.png'), np.dstack([colours, colours[..., 0] | 1]))
    cv2.imwrite(str(place / 'deep.png'), colours.astype(np.uint16) * 257)
    cv2.imwrite(str(place / 'plain.png'), colours)
    for name in ('gray', 'alpha', 'deep', 'plain'):
        assert run(place, '-i', f'{name}.png', '-o', 'sharp').returncode == 0
    results = {name: imread(place / f'sharp/{name}_deblurred.png') for name in ('gray', 'alpha', 'deep', 'plain')}
    assert results['gray'].shape == (31, 34, 1)  # stays gray
    assert all(results[name].shape == (31, 34, 3) for name in ('alpha', 'deep', 'plain'))
    assert np.array_equal(results['alpha'], results['plain'])
    assert results['deep'].dtype == np.uint16
    assert np.abs(results['deep'] / 257 - results['plain']).max() <= 0.51  # scaled, not taken for 0..255


@pytest.mark.slow
def test_what_cannot_be_deblurred_is_named_and_the_rest_is_done(place):
    (place / 'photos/broken.png').write_bytes(b'\x89PNG\r\n')
    imwrite(place / 'photos/little.png', np.zeros((5, 40, 3), np.uint8))
    done = run(place, '-i', 'photos', '-o', 'sharp')
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert 'broken.png' in done.stderr and 'little.png: 5×40 pixels' in done.stderr
    assert names(place / 'sharp') == ['a_deblurred.JPG', 'b_deblurred.bmp', 'b_deblurred.png']
    assert '3 of 5 in ' in done.stdout


def test_a_photo_that_the_memory_or_the_disk_cannot_hold_does_not_end_the_run(place, monkeypatch, capsys):
    save = photo_runs.save_photo

    def full(path, photo):
        if path.name.startswith('a_'):
            raise OSError(errno.ENOSPC, 'No space left on device', str(path))
        if path.suffix == '.bmp':
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        return save(path, photo)

    monkeypatch.setattr(photo_runs, 'save_photo', full)
    script = Script('deblur_kernel.py', monkeypatch, place)
    assert script('-w', 'net.pth', '-i', 'photos', '-o', 'x', '-s', '_y') == 1
    said = capsys.readouterr()
    assert f'a_y.JPG: {os.strerror(errno.ENOSPC)}' in said.err and 'memory' in said.err
    assert names(place / 'x') == ['b_y.png'] and '1 of 3 in ' in said.out


@pytest.mark.slow
@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['-i', 'gone', '-o', 'x'], 'gone: '),
        (['-i', 'photos/deeper', '-o', 'x'], 'photos/deeper'),
        (['-i', 'photos', '-o', 'photos', '-s', ''], 'a.JPG'),
        (['-i', 'photos', '-o', 'x', '-amis', '300', '300', '300'], '300, 300, 300'),
        (['-i', 'photos', '-o', 'x', '-amis', '5'], 'max_input_size 5×5 '),
        (['-i', 'photos', '-o', 'x', '-w', 'gone.pth'], 'gone.pth '),
        (['-i', 'photos', '-o', 'x', '-w', 'photos/notes.txt'], 'notes.txt'),
        (['-i', 'photos', '-o', 'x', '-w', 'unet.pth'], 'scripts/convert_checkpoint.py'),
        (['-i', 'photos', '-o', 'x', '--device', 'gpu'], "'gpu'"),
        (['-i', 'photos', '-o', 'net.pth'], 'net.pth'),
    ],
)
def test_bad_input_is_explained_and_nothing_is_written(place, arguments, message):
    save_weights(place / 'unet.pth', build_network({'type': 'PlainUNet', 'width': 4}))
    before = names(place / 'photos')
    done = run(place, *arguments)
    assert done.returncode == 1 and message in done.stderr and 'Traceback' not in done.stderr, done.stderr
    assert not (place / 'x').exists() and names(place / 'photos') == before


@pytest.mark.slow
def test_a_limit_changes_the_kernel_only_where_it_crops(place):
    photo = imread(place / 'photos/b.png')
    deblurrer = Deblurrer.load(place / 'net.pth', device='cpu', guard='off')
    whole = deblurrer.deblur(photo).kernel
    deblurrer.net.analysis.limit_input([100, 100])
    assert np.array_equal(deblurrer.deblur(photo).kernel, whole)
    deblurrer.net.analysis.limit_input(24)
    assert not np.allclose(deblurrer.deblur(photo).kernel, whole)
    assert run(place, '-i', 'photos/b.png', '-o', 'x', '-amis', '24', '--save-kernel').returncode == 0
    np.testing.assert_allclose(np.load(place / 'x/b_kernel.npy'), deblurrer.deblur(photo).kernel, rtol=1e-4)


def test_tiles_give_the_whole_photo(place):
    photo = np.random.default_rng(2).integers(0, 256, (170, 140, 3), dtype=np.uint8)
    whole, tiled = (
        Deblurrer.load(place / 'net.pth', device='cpu', guard='off', tile=tile).deblur(photo) for tile in (None, 120)
    )
    assert np.array_equal(whole.kernel, tiled.kernel)
    assert np.abs(whole.image.astype(int) - tiled.image).max() <= 1


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != 'linux', reason='puts a viewer for Linux in place')
def test_plot_shows_photo_and_result_or_says_that_it_cannot(place):
    viewer = place / 'bin' / 'xdg-open'
    viewer.parent.mkdir()
    viewer.write_text(f'#!/bin/sh\nexec /bin/cp "$1" {place}/shown.png\n')
    viewer.chmod(0o755)
    done = run(place, '-i', 'photos/b.png', '-o', 'x', '-p', PATH=str(viewer.parent))
    assert done.returncode == 0, done.stderr
    for _ in range(100):
        if (place / 'shown.png').exists() and (place / 'shown.png').stat().st_size:
            break
        __import__('time').sleep(0.05)
    shown = imread(place / 'shown.png')
    photo, result = imread(place / 'photos/b.png'), imread(place / 'x/b_deblurred.png')
    assert np.array_equal(shown[-len(photo) :, :60], photo) and np.array_equal(shown[-len(photo) :, -60:], result)
    done = run(place, '-i', 'photos/b.png', '-o', 'y', '-p', PATH=str(place / 'nothing'))
    assert done.returncode == 0 and 'viewer' in done.stderr


def test_a_kernel_of_zeros_is_a_black_picture(tmp_path):
    save_kernel(tmp_path / 'k', np.zeros((5, 7), np.float32))
    assert imread(tmp_path / 'k.png').shape == (5, 7, 1) and imread(tmp_path / 'k.png').max() == 0
    assert np.load(tmp_path / 'k.npy').shape == (5, 7)


@pytest.mark.slow
@pytest.mark.vectors
@pytest.mark.parametrize('name', ['Blurry2_6.png', 'people_03_kernel_02.png', 'coke.jpg'])
def test_the_real_photos_go_through(name, shared_data, tmp_path):
    """With weights of the tiny pipeline: every step runs at full size, and the result is finite and varied."""
    path = shared_data / 'blurry' / 'analysis_synthesis' / name
    save_weights(tmp_path / 'net.pth', pipeline(Vector(find_vector(TOPIC, 'pipeline_odd.npz'))))
    done = run(tmp_path, '-i', path, '-o', 'sharp', '--save-kernel')
    assert done.returncode == 0, done.stderr
    result = imread(tmp_path / 'sharp' / f'{path.stem}_deblurred{path.suffix}')
    assert result.shape == imread(path).shape and result.dtype == np.uint8 and result.std() > 5
    kernel = np.load(tmp_path / 'sharp' / f'{path.stem}_kernel.npy')
    assert kernel.shape == (21, 21) and kernel.dtype == np.float32 and np.isfinite(kernel).all() and kernel.min() >= 0
    assert kernel.sum() == pytest.approx(1, abs=1e-3)
    assert imread(tmp_path / 'sharp' / f'{path.stem}_kernel.png').shape == (21, 21, 1)
