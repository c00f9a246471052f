"""Random blur kernels, and the data set of photos blurred with one kernel each."""

from __future__ import annotations

import csv
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from basicsr.data import build_dataset, collate, to_floats
from basicsr.data.blur_kernels import RandomKernels, convolved, disc, rasterised
from basicsr.data.exposure import light_of
from basicsr.data.motion import random_walk, straight_path
from basicsr.images.files import imread
from basicsr.preparation.kernel_sets import visible_size, write_kernels
from basicsr.utils.errors import ArgumentError, BasicsrError, DataError, OutputError, ShapeError
from tests.helpers.scenes import scene, write_images

pytestmark = pytest.mark.numeric


@pytest.fixture
def photos(tmp_path) -> str:
    return write_images(tmp_path / 'photos', {f'p{n}': scene(160, 200, n) for n in range(3)})


def centre_of(kernel: np.ndarray) -> np.ndarray:
    middle = np.arange(len(kernel)) - len(kernel) // 2
    return np.array([middle @ kernel.sum(1), middle @ kernel.sum(0)]) / kernel.sum()


def test_a_path_of_whole_pixels_becomes_equal_values():
    kernel = rasterised(np.array([[0.0, 0.0], [0.0, 4.0]]), 7)
    # four pixels long: three inner pixels get a quarter each, the ends half of one
    assert kernel[3] == pytest.approx([0, 0.125, 0.25, 0.25, 0.25, 0.125, 0], abs=1e-3)
    assert kernel.sum() == pytest.approx(1)


def test_a_point_between_pixels_is_divided_by_its_distances():
    path = np.array([[0.0, 0.0], [0.0, 0.0], [1.0, 0.5], [1.0, 0.5]])  # rests at two places, mean (0.5, 0.25)
    still = rasterised(np.repeat(path, 50, axis=0), 5)
    assert centre_of(still) == pytest.approx([0, 0], abs=1e-9)
    assert still[1:4, 1:4].sum() == pytest.approx(1)
    # (-0.5, -0.25) gives 1/2 · 3/4 to the middle, and so does (0.5, 0.25)
    assert still[2, 2] == pytest.approx(0.375, abs=0.01)


def test_a_disc_has_the_area_of_its_radius():
    kernel = disc(6.0, 21)
    assert 1 / kernel.max() == pytest.approx(np.pi * 36, rel=0.02)
    assert np.array_equal(kernel, kernel.T)


def test_impulses_bend_a_path_suddenly():
    def sharpest(impulses: int) -> float:
        turns = []
        for seed in range(40):
            steps = np.diff(random_walk(2, np.random.default_rng(seed), 1.0, 1.0, impulses), axis=0)
            steps /= np.linalg.norm(steps, axis=1, keepdims=True)
            turns.append(np.arccos(np.clip((steps[1:] * steps[:-1]).sum(1), -1, 1)).max())
        return float(np.mean(turns))

    assert sharpest(3) > 3 * sharpest(0)


@pytest.mark.parametrize('size', [11, 41, 85])
def test_kernels_are_centred_and_as_large_as_asked_for(size):
    kernels = RandomKernels(size)
    drawn = [kernels.draw(np.random.default_rng([3, number])) for number in range(150)]
    for each in drawn:
        assert each.values.shape == (size, size) and each.values.dtype == np.float32
        assert each.values.min() >= 0 and each.values.sum() == pytest.approx(1, abs=1e-5)
        assert np.abs(centre_of(each.values)).max() < 0.05
    if size > 11:
        sides = [max(visible_size(each.values)) for each in drawn]
        assert min(sides) < 12 and max(sides) > 0.7 * size
        kinds = [each.kind for each in drawn]
        assert kinds.count('shake') > 120 and {'line', 'disc'} < set(kinds)
        assert max(s for s, k in zip(sides, kinds, strict=True) if k != 'shake') < 0.62 * size


def test_a_kernel_takes_less_than_five_milliseconds():
    kernels, times = RandomKernels(85), []
    for number in range(60):
        start = time.process_time()
        kernels.draw(np.random.default_rng(number))
        times.append(time.process_time() - start)
    assert np.median(times) < 0.005


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'size': 40}, 'must be odd'),
        ({'size': 9}, 'at least 11'),
        ({'size': 21, 'extent': (9.0, 30.0)}, 'ascending range from above 0 to 21'),
        ({'shares': {'shake': 0.0}}, 'not all 0'),
        ({'shares': {'file': 1.0}}, 'needs kernel files'),
        ({'shares': {'zigzag': 1.0}}, 'shares of shake'),
    ],
)
def test_wrong_settings_are_refused(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        RandomKernels(**arguments)


def test_kernels_of_files(tmp_path):
    np.save(tmp_path / 'a.npy', np.eye(5))
    drawn = RandomKernels(11, files=tmp_path).draw(np.random.default_rng(0))
    assert (drawn.kind, drawn.source) == ('file', str(tmp_path / 'a.npy'))
    assert np.array_equal(drawn.values[3:8, 3:8], np.eye(5, dtype=np.float32) / 5)
    for values, message in (
        (np.ones((13, 13)), 'a.npy: a kernel of 13×13 exceeds the size 11×11'),
        (np.zeros((5, 5)), 'a.npy: .*not negative, some of them above 0'),
        (-np.ones((5, 5)), 'a.npy: .*not negative'),
    ):
        np.save(tmp_path / 'a.npy', values)
        with pytest.raises(DataError, match=message):
            RandomKernels(11, files=tmp_path)
    (tmp_path / 'a.npy').unlink()
    with pytest.raises(DataError, match='no kernel files'):
        RandomKernels(11, files=tmp_path)


def test_kernels_of_files_are_centred(tmp_path):
    corner = np.zeros((7, 7))
    corner[0, 5:] = 1, 3
    np.save(tmp_path / 'corner.npy', corner)
    values = RandomKernels(15, files=tmp_path).draw(np.random.default_rng(0)).values
    assert values.shape == (15, 15) and values[7, 6:8].tolist() == [0.25, 0.75]
    wide = np.zeros((11, 11))
    wide[0, 0], wide[10, 10] = 9, 1
    np.save(tmp_path / 'corner.npy', wide)
    with pytest.raises(DataError, match=r'corner\.npy: .* 11×11'):
        RandomKernels(11, files=tmp_path)
    values = RandomKernels(21, files=tmp_path).draw(np.random.default_rng(0)).values
    assert values[9, 9] == pytest.approx(0.9) and values[19, 19] == pytest.approx(0.1)


def test_the_valid_part_of_a_true_convolution():
    light, kernel = np.random.default_rng(0).random((12, 14, 3), np.float32), np.zeros((3, 3), np.float32)
    kernel[0, 2] = 1  # moves the image up and to the right
    assert convolved(light, kernel) == pytest.approx(light[2:, :-2])
    with pytest.raises(ShapeError, match='13×13 is larger than the image'):
        convolved(light, np.full((13, 13), 1 / 169, np.float32))


def test_samples_are_the_photo_blurred_with_their_kernel_in_linear_light(photos):
    block = {'type': 'UniformBlurDataset', 'dataroot_gt': photos, 'kernel_size': 21, 'gt_size': 96, 'length': 6}
    dataset = build_dataset({**block, 'gamma': [2.2, 2.2], 'noise': [0.0, 0.0], 'highlights': 0.0})
    for item in dataset:
        lq, gt = (light_of(item[key].permute(1, 2, 0).numpy(), 2.2) for key in ('lq', 'gt'))
        assert np.abs(convolved(gt, item['kernel'].numpy()) - lq[10:-10, 10:-10]).max() < 0.02  # 8 bits


def test_samples_depend_on_seed_epoch_and_index_alone(photos):
    block = {'type': 'UniformBlurDataset', 'dataroot_gt': [photos], 'kernel_size': 21, 'gt_size': 64, 'length': 4}
    one, two = build_dataset(block), build_dataset(block)
    two[0]
    for key in ('lq', 'gt', 'kernel'):
        assert torch.equal(one[3][key], two[3][key])
    two.set_epoch(1)
    assert not torch.equal(one[3]['kernel'], two[3]['kernel'])
    batch = to_floats(collate([one[0], one[1]]), 'cpu')
    assert batch['kernel'].shape == (2, 21, 21) and batch['kernel'].dtype == torch.float32
    with pytest.raises(IndexError):
        one[4]


def test_photos_smaller_than_sample_and_kernel_are_named(photos):
    block = {'type': 'UniformBlurDataset', 'dataroot_gt': photos, 'kernel_size': 85, 'gt_size': 128}
    with pytest.raises(DataError, match='at least 212 pixels per side'):
        build_dataset(block)
    with pytest.raises(BasicsrError, match='must be odd'):
        build_dataset({**block, 'kernel_size': 84})


def test_a_photo_of_one_colour_is_named(tmp_path):
    folder = write_images(tmp_path, {'gray': np.full((90, 90, 3), 77, np.uint8)})
    dataset = build_dataset({'type': 'UniformBlurDataset', 'dataroot_gt': folder, 'kernel_size': 11, 'gt_size': 64})
    with pytest.raises(DataError, match=r'gray.png: 54 parts of this photo have one colour'):
        dataset[0]


def test_a_set_of_kernels_with_table_and_sheet(tmp_path):
    sheet = write_kernels(RandomKernels(21), 9, 5, tmp_path / 'set')
    assert imread(sheet).shape[1] == 8 * 128
    with (tmp_path / 'set' / 'kernels.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9
    for number, row in enumerate(rows):
        kernel = np.load(tmp_path / 'set' / row['file'])
        again = RandomKernels(21).draw(np.random.default_rng([5, number]))
        assert np.array_equal(kernel, again.values) and row['kind'] == again.kind
        assert (int(row['height']), int(row['width'])) == visible_size(kernel)
    with pytest.raises(OutputError, match='exists'):
        write_kernels(RandomKernels(21), 9, 5, tmp_path / 'set')
    with pytest.raises(ArgumentError, match='at least 1 kernel'):
        write_kernels(RandomKernels(21), 0, 5, tmp_path / 'other')
    assert not Path(tmp_path / 'other').exists()


def test_a_straight_path_is_a_line():
    kernel = rasterised(straight_path(8.0, np.pi / 2, 3), 11)
    assert visible_size(kernel)[0] in (9, 10) and visible_size(kernel)[1] == 1
