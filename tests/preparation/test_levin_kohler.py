"""The benchmarks of Levin and Köhler: files of the authors, views along a path, kernels, scores."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from basicsr.data import build_dataset
from basicsr.data.blur_kernels import convolved
from basicsr.images.files import imread, imwrite
from basicsr.preparation.benchmark_sets import benchmark_set
from basicsr.preparation.checks.data_sets import check_data_sets
from basicsr.preparation.checks.folders import folders_of_root
from basicsr.preparation.layouts import check_counts, find_benchmark
from basicsr.preparation.levin_files import read_levin
from basicsr.preparation.pipeline import prepare
from basicsr.preparation.plan import Plan
from basicsr.utils.errors import ArgumentError, DataError, ImageFileError
from tests.helpers.scenes import scene

KERNEL = np.zeros((7, 7))
KERNEL[1, 2:5], KERNEL[2:6, 4] = 0.1, 0.15
KERNEL[1, 2] = 0.2


def levin_arrays(seed: int = 0) -> dict[str, np.ndarray]:
    """Arrays as in the authors' files: values 0 to 1, and the kernel of a correlation."""
    sharp = scene(40, 50, seed)[..., 0] / 255
    wide = np.pad(sharp, 3, 'edge').astype(np.float32)[..., None]
    return {
        'x': sharp,
        'y': convolved(wide, KERNEL.astype(np.float32))[..., 0].astype(np.float64),
        'f': KERNEL[::-1, ::-1],
    }


@pytest.fixture
def levin(tmp_path):
    root = tmp_path / 'raw' / 'LevinEtalCVPR09Data'
    root.mkdir(parents=True)
    for im, flit in ((5, 1), (5, 2), (8, 8)):
        savemat(root / f'im0{im}_flit0{flit}.mat', levin_arrays(im + flit))
    return root


def test_the_files_of_levin_become_images_and_kernels(levin, tmp_path):
    benchmark, out = benchmark_set('levin'), tmp_path / 'Levin'
    with pytest.raises(DataError, match=r'test: found 3 pairs, expected 32'):
        prepare(Plan(benchmark, out, tmp_path / 'raw'), ['convert'])
    report = prepare(Plan(benchmark, out, tmp_path / 'raw', allow_partial=True), ['convert'])
    assert report.lines[-1] == 'test convert: 3 made, 0 kept, 0 failed' and 'original layout' in report.lines[0]
    assert (
        prepare(Plan(benchmark, out, tmp_path / 'raw', allow_partial=True), ['convert'])
        .lines[-1]
        .endswith('0 made, 3 kept, 0 failed')
    )
    arrays = levin_arrays(6)
    for folder, name in (('input', 'y'), ('target', 'x')):
        image = imread(out / 'test' / folder / 'im05_flit01.png')
        assert np.array_equal(image[..., 0], np.rint(arrays[name].clip(0, 1) * 255))
    block = {
        'type': 'PairedImageDataset',
        'dataroot_gt': str(out / 'test/target'),
        'dataroot_lq': str(out / 'test/input'),
    }
    item = build_dataset({**block, 'dataroot_kernel': str(out / 'test/kernels')})[0]
    assert item['kernel'].numpy() == pytest.approx(KERNEL, abs=1e-6)
    light = item['gt'].permute(1, 2, 0).numpy().astype(np.float32)
    assert (
        np.abs(convolved(light, item['kernel'].numpy()) - item['lq'].permute(1, 2, 0).numpy()[3:-3, 3:-3]).max() < 1.1
    )
    (checked,) = check_data_sets(folders_of_root(out), workers=1)
    assert {fault.kind for fault in checked.faults} <= {'count'}


def test_kernels_are_checked_with_the_images(levin, tmp_path):
    benchmark, out = benchmark_set('levin'), tmp_path / 'Levin'
    prepare(Plan(benchmark, out, tmp_path / 'raw', allow_partial=True), ['convert'])
    kernels = out / 'test' / 'kernels'
    (kernels / 'im05_flit02.npy').unlink()
    np.save(kernels / 'im05_flit01.npy', np.zeros((5, 5)))
    (folders,) = folders_of_root(out)
    (checked,) = check_data_sets([folders])
    found = {(fault.kind, Path(fault.file).name) for fault in checked.faults}
    assert found == {('missing', 'im05_flit02.npy'), ('unreadable', 'im05_flit01.npy')}
    shutil.rmtree(kernels)
    (checked,) = check_data_sets(folders_of_root(out))
    assert [fault.kind for fault in checked.faults] == ['missing'] * 3


def test_kernels_must_be_complete_and_are_not_for_training(levin, tmp_path):
    out = tmp_path / 'Levin'
    prepare(Plan(benchmark_set('levin'), out, levin, allow_partial=True), ['convert'])
    block = {
        'type': 'PairedImageDataset',
        'dataroot_gt': str(out / 'test/target'),
        'dataroot_lq': str(out / 'test/input'),
    }
    block['dataroot_kernel'] = str(out / 'test/kernels')
    with pytest.raises(ArgumentError, match='dataroot_kernel: kernels are for val and test'):
        build_dataset(block, phase='train')
    (out / 'test/kernels/im05_flit02.npy').unlink()
    with pytest.raises(DataError, match=r'no kernel for 1 of 3 images: .*im05_flit02\.npy'):
        build_dataset(block)


def test_broken_files_of_levin_are_named(tmp_path):
    path = tmp_path / 'im05_flit01.mat'
    path.write_bytes(b'MATLAB 5.0 MAT-file' + bytes(200))
    with pytest.raises(ImageFileError, match=r'im05_flit01.mat: (cannot be read|has no array)'):
        read_levin(path)
    for change, error in (
        ({'f': np.zeros((5, 5))}, 'im05_flit01.mat: f: .*some of them above 0'),
        ({'f': np.ones((4, 5))}, 'im05_flit01.mat: f: .*odd h and w'),
        ({'x': np.zeros((9, 9))}, r'y has shape \(40, 50\) and x \(9, 9\)'),
    ):
        savemat(path, levin_arrays() | change)
        with pytest.raises(DataError, match=error):
            read_levin(path)
    savemat(path, {'x': np.zeros((5, 5))})
    with pytest.raises(ImageFileError, match="has no array 'y'"):
        read_levin(path)


def test_the_layout_of_selfdeblur_shares_its_sharp_images(tmp_path):
    for name in (
        'im1_kernel1_img',
        'im1_kernel2_img',
        'im2_kernel1_img',
        'gt/im1',
        'gt/im2',
        'gt/kernel1',
        'gt/kernel2',
    ):
        (tmp_path / 'levin' / 'gt').mkdir(parents=True, exist_ok=True)
        imwrite(tmp_path / 'levin' / f'{name}.png', scene(255, 255)[..., :1])
    found = find_benchmark(benchmark_set('levin'), tmp_path, ['test'])
    assert found.layout.name == 'selfdeblur'
    pairs = [(pair.stem, pair.lq.name, pair.gt.name) for pair in found.pairs['test']]
    assert pairs == [
        ('im1_kernel1', 'im1_kernel1_img.png', 'im1.png'),
        ('im1_kernel2', 'im1_kernel2_img.png', 'im1.png'),
        ('im2_kernel1', 'im2_kernel1_img.png', 'im2.png'),
    ]


def test_the_middle_view_of_koehler(tmp_path):
    for folder in ('BlurryImages', 'GroundTruth'):
        (tmp_path / folder).mkdir()
    for shake in (1, 12):
        imwrite(tmp_path / 'BlurryImages' / f'Blurry3_{shake}.png', scene(800, 800))
        for view in range(1, 12):
            imwrite(tmp_path / 'GroundTruth' / f'GroundTruth3_{shake}_{view}.png', scene(8, 8, view))
    benchmark = benchmark_set('kohler')
    found = find_benchmark(benchmark, tmp_path, ['test'])
    assert [(pair.stem, pair.gt.name) for pair in found.pairs['test']] == [
        ('Blurry3_1', 'GroundTruth3_1_6.png'),
        ('Blurry3_12', 'GroundTruth3_12_6.png'),
    ]
    assert check_counts(benchmark, found, allow_partial=True) == ['test: found 2 pairs, expected 48']
