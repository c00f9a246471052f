"""Generated training pairs: what moves where, what it uncovers, and that every sample can be made again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scipy.ndimage import convolve

from basicsr.data.dead_leaves import Layer, dead_leaves, region_map
from basicsr.data.exposure import add_noise
from basicsr.data.motion import (
    shake_path,
    straight_path,
)
from basicsr.data.region_blur import render, render_photo
from basicsr.data.synthetic_blur_dataset import SyntheticBlurDataset
from basicsr.images.files import imread
from basicsr.masks.generator import build_generator
from basicsr.utils.errors import ArgumentError, DataError, ImageFileError, ShapeError
from basicsr.utils.registry import DATASET_REGISTRY
from tests.helpers.blur_kernels import kernel_of_path

pytestmark = pytest.mark.numeric


def photo(height: int = 150, width: int = 170) -> np.ndarray:
    """Smooth blobs of colour with texture, as (H, W, 3) uint8."""
    rng = np.random.default_rng(5)
    coarse = cv2.resize(rng.uniform(30, 220, (6, 7, 3)), (width, height), interpolation=cv2.INTER_NEAREST)
    return np.clip(coarse + rng.normal(0, 12, coarse.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / 'photos' / 'sub'
    folder.mkdir(parents=True)
    for name, size in (('a.b.png', (150, 170)), ('small.png', (40, 200))):
        cv2.imwrite(str(folder / name), photo(*size)[..., ::-1])
    return folder.parent


def square(colour: tuple[int, int, int], side: int, top: int, left: int) -> Layer:
    return Layer(np.full((side, side, 3), colour, np.uint8), np.ones((side, side), np.float32), top, left)


@pytest.mark.parametrize('gamma', [1.0, 2.2])
def test_a_scene_at_rest_is_sharp(gamma: float) -> None:
    layers, _ = dead_leaves(60, 70, np.random.default_rng(0), margin=5)
    lq, gt = render(layers, (60, 70), [np.zeros((7, 2))] * len(layers), np.zeros((7, 2)), gamma=gamma)
    np.testing.assert_array_equal(lq, gt)
    sharp = photo()
    labels = build_generator({'type': 'felzenszwalb'})(sharp)[0]
    lq, gt = render_photo(sharp, labels, {number: np.zeros((3, 2)) for number in np.unique(labels)}, gamma=gamma)
    np.testing.assert_array_equal(lq, sharp)
    np.testing.assert_array_equal(gt, sharp)


@pytest.mark.parametrize('angle', [0.0, np.pi / 2, 0.7])
@pytest.mark.parametrize('how', ['region', 'camera', 'both'])
def test_one_moving_region_is_a_convolution(angle: float, how: str) -> None:
    sharp, path = photo(), straight_path(9.3, angle, 11)
    labels = np.ones(sharp.shape[:2], np.int32)
    own = {'region': path, 'camera': np.zeros_like(path), 'both': path / 2}[how]
    lq, gt = render_photo(sharp, labels, {1: own}, path - own, gamma=1.0, margin=10)
    expected = convolve(sharp.astype(float), kernel_of_path(path)[..., None])[10:-10, 10:-10]
    assert np.abs(lq - expected).max() <= 0.51
    np.testing.assert_array_equal(gt, sharp[10:-10, 10:-10])


def test_a_convolution_in_linear_light() -> None:
    sharp, path = photo(), shake_path(12.0, np.random.default_rng(3), 13)
    lq, _ = render_photo(sharp, np.zeros(sharp.shape[:2], int), {}, path, gamma=2.2, margin=14)
    expected = 255 * convolve((sharp / 255) ** 2.2, kernel_of_path(path)[..., None]) ** (1 / 2.2)
    assert np.abs(lq - expected[14:-14, 14:-14]).max() <= 0.51


def test_what_a_front_layer_uncovers_is_the_layer_behind() -> None:
    front, back = square((200, 0, 0), 20, 10, 10), square((0, 90, 0), 40, 0, 0)
    path = straight_path(8, 0.0, 9)
    lq, gt = render([front, back], (40, 40), [path, None], gamma=1.0)
    assert (gt[10:30, 10:30] == (200, 0, 0)).all()
    assert (gt[:10] == (0, 90, 0)).all()
    for column in range(40):
        covered = np.mean([10 <= column - shift < 30 for shift in range(-4, 5)])
        expected = np.rint([200 * covered, 90 * (1 - covered), 0])
        np.testing.assert_array_equal(lq[20, column], expected)


def test_the_back_layer_moves_behind_the_front_one() -> None:
    stripes = np.zeros((40, 60, 3), np.uint8)
    stripes[:, ::2] = 255
    back = Layer(stripes, np.ones((40, 60), np.float32), 0, -10)
    lq, _ = render([square((7, 8, 9), 20, 10, 10), back], (40, 40), [None, straight_path(1, 0.0, 3)], gamma=1.0)
    assert (lq[10:30, 10:30] == (7, 8, 9)).all()
    assert set(np.unique(lq[:9])) == {85, 170}  # half a pixel to either side: a sixth, four sixths and a sixth


def test_no_hole_opens_where_regions_of_a_photo_part() -> None:
    labels = np.ones((60, 60), np.int32)
    labels[:, 30:] = 2
    sharp = np.where(labels[..., None] == 1, (200, 60, 60), (60, 60, 200)).astype(np.uint8)
    apart = {1: np.array([[0, -6.0], [0, 0], [0, -6.0]]), 2: np.array([[0, 6.0], [0, 0], [0, 6.0]])}
    for paths in (apart, {1: apart[1]}, {2: apart[2]}):
        lq, gt = render_photo(sharp, labels, paths, gamma=1.0)
        np.testing.assert_array_equal(gt, sharp)
        assert (lq[..., 1] == 60).all()
        assert (np.abs(lq[..., 0].astype(int) + lq[..., 2] - 260) <= 1).all()


def test_a_static_region_beside_a_moving_one_stays_sharp() -> None:
    sharp = photo(60, 60)
    labels = np.zeros((60, 60), np.int32)
    labels[20:40, 20:40] = 5
    lq, _ = render_photo(sharp, labels, {5: straight_path(6, 0.0, 7)}, gamma=2.2)
    np.testing.assert_array_equal(lq[:, :16], sharp[:, :16])
    np.testing.assert_array_equal(lq[:19], sharp[:19])
    assert np.abs(lq[22:38, 24:36].astype(int) - sharp[22:38, 24:36]).mean() > 3


def test_motion_keeps_the_light() -> None:
    front, back = square((240, 180, 30), 16, 22, 22), square((20, 20, 20), 80, -10, -10)
    path = shake_path(15, np.random.default_rng(1), 17)
    lq, gt = render([front, back], (60, 60), [path, None], gamma=2.2)
    light = [((image / 255) ** 2.2).sum((0, 1)) for image in (lq, gt)]
    np.testing.assert_allclose(light[0], light[1], rtol=0.01)
    assert (lq.astype(float).sum((0, 1)) > 1.01 * gt.astype(float).sum((0, 1)))[:2].all()  # as gray values it grows


def test_region_map_is_what_one_sees() -> None:
    size = 90, 110
    for edge in (0.0, 1.0):
        layers, labels = dead_leaves(*size, np.random.default_rng(7), margin=20, edge=edge)
        blocked, inside, colours = np.zeros(size, bool), np.zeros(size, bool), []
        for number, layer in enumerate(layers, start=1):
            solid, touched = (
                region_map([replace(layer, alpha=alpha.astype(np.float32))], size)[0] > 0
                for alpha in (layer.alpha == 1, layer.alpha > 0)
            )
            inside |= solid & ~blocked
            blocked |= touched
            colours.append(replace(layer, image=np.full_like(layer.image, (number % 16 * 16, number // 16 * 16, 9))))
        _, gt = render(colours, size, [None] * len(layers), gamma=1.0)
        same_colour = (gt[..., 0] == labels[0] % 16 * 16) & (gt[..., 1] == labels[0] // 16 * 16)
        assert labels.shape == (1, *size)
        assert labels.min() >= 1
        assert len(np.unique(labels)) > 5
        assert inside.mean() > (0.999 if edge == 0 else 0.6)
        assert same_colour[inside].all()  # away from soft edges


def test_the_background_fills_the_scene_and_all_sizes_work() -> None:
    for size in ((1, 1), (7, 33), (64, 20)):
        layers, labels = dead_leaves(*size, np.random.default_rng(2), coverage=0.5)
        assert labels.shape == (1, *size)
        assert (layers[-1].alpha == 1).all()
    with pytest.raises(ArgumentError, match='radii'):
        dead_leaves(8, 8, np.random.default_rng(0), radii=(0.0, 4.0))


def test_small_shapes_are_more_frequent_as_r_to_the_minus_3() -> None:
    from basicsr.data.dead_leaves import _radius

    rng = np.random.default_rng(0)
    radii = np.array([_radius(rng, 8, 64) for _ in range(20000)])
    assert radii.min() >= 8
    assert radii.max() <= 64
    expected = (8**-2 - 16**-2) / (8**-2 - 64**-2)
    assert abs((radii < 16).mean() - expected) < 0.01


def test_noise_has_the_stated_strength() -> None:
    rng = np.random.default_rng(0)
    for value, expected in ((0.0, 0.5), (0.5, 1.0), (1.0, 1.5)):
        noise = add_noise(np.full((200, 200, 3), value, np.float32), 0.02, rng) - value
        assert abs(noise.mean()) < 1e-3
        np.testing.assert_allclose(noise.std(), 0.02 * expected**0.5, rtol=0.02)
    gray = square((128, 128, 128), 100, 0, 0)
    lq, gt = render([gray], (100, 100), [None], noise_std=0.02, rng=rng)
    np.testing.assert_allclose(lq.astype(float).std(), 255 * 0.02, rtol=0.03)
    assert (gt == 128).all()
    with pytest.raises(ArgumentError, match='rng'):
        render([gray], (9, 9), [None], noise_std=0.02)


def test_samples_of_photos(photos: Path) -> None:
    dataset = SyntheticBlurDataset(str(photos), share_photos=1.0, gt_size=64, length=12)
    names = set()
    for item in (dataset[i] for i in range(12)):
        names.add(Path(item['gt_path']).name)
        assert item['lq_path'] == item['gt_path']
        assert item['lq'].dtype == item['gt'].dtype == torch.uint8
        assert item['lq'].shape == item['gt'].shape == (3, 64, 64)
        assert item['masks'].shape == (1, 64, 64)
        assert torch.unique(item['masks']).tolist() == list(range(1, int(item['masks'].max()) + 1))
        if item['gt_path'].endswith('small.png'):
            continue
        sharp = imread(item['gt_path'])
        match = cv2.matchTemplate(sharp, np.ascontiguousarray(item['gt'].permute(1, 2, 0).numpy()), cv2.TM_SQDIFF)
        row, column = np.unravel_index(match.argmin(), match.shape)
        np.testing.assert_array_equal(item['gt'].permute(1, 2, 0), sharp[row : row + 64, column : column + 64])
    assert names == {'a.b.png', 'small.png'}


def test_share_of_photos_and_moving_regions(photos: Path) -> None:
    dataset = SyntheticBlurDataset(str(photos), share_photos=0.3, gt_size=16, length=200, masks='none')
    items = [dataset[i] for i in range(200)]
    made = [item['gt_path'].startswith('dead_leaves:0/0/') for item in items]
    assert 0.6 < np.mean(made) < 0.8
    assert all((item['masks'] == 1).all() for item, leaves in zip(items, made, strict=True) if not leaves)
    still = SyntheticBlurDataset(moving_share=0.0, shake_length=0.0, noise=(0.0, 0.0), gt_size=64)
    assert torch.equal(still[3]['lq'], still[3]['gt'])
    moving = SyntheticBlurDataset(moving_share=1.0, gt_size=64)
    assert (moving[3]['lq'].float() - moving[3]['gt'].float()).abs().mean() > 2


def test_kernels_blur_what_would_be_at_rest(tmp_path: Path) -> None:
    np.save(tmp_path / 'k.npy', np.ones((1, 9)))
    dataset = SyntheticBlurDataset(
        kernel_files=[str(tmp_path / 'k.npy')], moving_share=0.0, noise=(0.0, 0.0), gamma=1.0, gt_size=64
    )
    item = dataset[0]
    expected = convolve(item['gt'].double().numpy(), np.ones((1, 1, 9)) / 9)[..., 5:-5]
    assert np.abs(item['lq'].numpy()[..., 5:-5] - expected).max() <= 0.51 + 1


def test_a_sample_depends_on_seed_epoch_and_index_alone(photos: Path) -> None:
    def build(seed: int = 0) -> SyntheticBlurDataset:
        return SyntheticBlurDataset(str(photos), gt_size=32, length=8, seed=seed)

    first, again = build(), build()
    again[5], again[2]
    assert same(first[6], again[6])
    assert not same(first[6], first[5])
    assert not same(first[6], build(seed=1)[6])
    loaders = [torch.utils.data.DataLoader(build(), None, num_workers=workers) for workers in (0, 2)]
    for one, two in zip(*loaders, strict=True):
        assert same(one, two)
    with pytest.raises(IndexError):
        first[8]


def test_a_range_of_gamma_gives_each_sample_its_own(tmp_path: Path) -> None:
    """Stripes of black and white, moved far: their mean is gray 0.5 if gray values are averaged, lighter else."""
    stripes = np.tile(np.repeat(np.array([0, 255], np.uint8), 4), (128, 16))
    cv2.imwrite(str(tmp_path / 'stripes.png'), stripes)
    still = {'moving_share': 1.0, 'straight_share': 1.0, 'directions': [0.0], 'path_range': (16.0, 16.0)}
    quiet = {'shake_length': 0.0, 'noise': (0.0, 0.0), 'masks': 'none', 'gt_size': 48, 'length': 40}

    def grays(gamma: float | tuple[float, float]) -> np.ndarray:
        dataset = SyntheticBlurDataset(str(tmp_path), 1.0, gamma=gamma, **still, **quiet)
        return np.array([item['lq'].numpy().mean() / 255 for item in (dataset[i] for i in range(40))])

    assert np.abs(grays(1.0) - 0.5).max() < 0.02
    light = 0.5 ** (1 / 2.2)
    assert np.abs(grays(2.2) - light).max() < 0.02
    assert np.array_equal(grays((2.2, 2.2)), grays(2.2))
    between = grays((1.0, 2.2))
    assert between.min() < 0.55
    assert between.max() > light - 0.05
    assert np.std(between) > 0.03


def test_smoother_paths_turn_less() -> None:
    """The distance between the ends of a path beside its length, over many paths."""

    def reach(smoothness: float) -> float:
        rng = np.random.default_rng(0)
        paths = [shake_path(20.0, rng, 33, smoothness) for _ in range(200)]
        return float(np.mean([np.linalg.norm(path[-1] - path[0]) for path in paths]))

    assert reach(0.1) < reach(0.3) < reach(1.0)
    winding, arcs = (SyntheticBlurDataset(gt_size=32, length=2, smoothness=(s, s)) for s in (0.1, 1.0))
    assert not same(winding[0], arcs[0])
    default, ranged = SyntheticBlurDataset(gt_size=32), SyntheticBlurDataset(gt_size=32, smoothness=(0.3, 0.3))
    assert same(default[3], ranged[3])


def test_epochs_differ_also_for_workers_that_live_on() -> None:
    dataset = SyntheticBlurDataset(gt_size=16, length=4)
    loader = torch.utils.data.DataLoader(dataset, None, num_workers=1, persistent_workers=True)
    zero = list(loader)
    dataset.set_epoch(1)
    one = list(loader)
    assert [item['gt_path'] for item in one] == [f'dead_leaves:0/1/{i}' for i in range(4)]
    assert not any(same(a, b) for a, b in zip(zero, one, strict=True))
    dataset.set_epoch(0)
    assert all(same(a, dataset[i]) for i, a in enumerate(zero))


def test_bad_input(photos: Path, tmp_path: Path) -> None:
    (tmp_path / 'empty').mkdir()
    with pytest.raises(DataError, match='empty: '):
        SyntheticBlurDataset(str(tmp_path / 'empty'))
    with pytest.raises(DataError, match='missing: '):
        SyntheticBlurDataset(str(tmp_path / 'missing'))
    (tmp_path / 'empty' / 'broken.png').write_bytes(b'not a png')
    with pytest.raises(ImageFileError, match=r'broken\.png'):
        SyntheticBlurDataset(str(tmp_path / 'empty'), share_photos=1.0)[0]
    for name in ('share_photos', 'straight_share', 'moving_share'):
        for share in (-0.1, 1.1):
            with pytest.raises(ArgumentError, match=name):
                SyntheticBlurDataset(**{name: share})
            with pytest.raises(ArgumentError, match=name):
                DATASET_REGISTRY.build({'type': 'SyntheticBlurDataset', name: share})
    for arguments in ({'noise': (0.2, 0.1)}, {'length': 0}, {'gamma': 0.0}, {'path_length': -1.0}, {'masks': 'x'}):
        with pytest.raises(ArgumentError):
            SyntheticBlurDataset(**arguments)
    for name in ('gamma', 'smoothness'):
        for limits in ((0.0, 1.0), (2.0, 1.0), (1.0,)):
            with pytest.raises(ArgumentError, match=name):
                SyntheticBlurDataset(**{name: limits})
    with pytest.raises(ShapeError, match='margin'):
        render_photo(photo(), np.ones((3, 3), np.int32), {})
    with pytest.raises(ShapeError, match='shape'):
        render([square((0, 0, 0), 9, 0, 0)], (9, 9), [np.zeros((3, 2))], np.zeros((5, 2)))
    with pytest.raises(ShapeError, match='opaque'):
        render([Layer(photo(9, 9), np.zeros((9, 9), np.float32))], (9, 9), [None])


def test_it_is_built_from_an_option_block(photos: Path) -> None:
    block = {'type': 'SyntheticBlurDataset', 'dataroot_gt': str(photos), 'noise': [0, 0.02], 'gt_size': 32}
    dataset = DATASET_REGISTRY.build({**block, 'generator': {'type': 'felzenszwalb', 'scale': 50}, 'share_photos': 1})
    assert dataset.generator.scale == 50
    assert dataset[0]['masks'].shape == (1, 32, 32)
    with pytest.raises(ArgumentError, match='scal'):
        DATASET_REGISTRY.build({**block, 'generator': {'type': 'felzenszwalb', 'scal': 50}})


def same(one: dict, two: dict) -> bool:
    keys = ('lq', 'gt', 'masks')
    return one['mask_seed'] == two['mask_seed'] and all(torch.equal(one[key], two[key]) for key in keys)


@pytest.mark.parametrize(('direction', 'across'), [(90.0, 0), (0.0, 1), (180.0, 1)])
def test_straight_paths_of_given_direction_and_length(photos: Path, direction: float, across: int) -> None:
    one_way = {'straight_share': 1.0, 'moving_share': 1.0, 'shake_length': 0.0, 'noise': (0.0, 0.0), 'gamma': 1.0}
    dataset = SyntheticBlurDataset(
        str(photos), 1.0, 6, 30, masks='none', directions=[direction], path_range=(7.0, 7.0), **one_way
    )
    for index in range(len(dataset)):
        item = dataset[index]
        lq, gt = (item[key].permute(1, 2, 0).numpy().astype(float) for key in ('lq', 'gt'))
        kernel = kernel_of_path(straight_path(7.0, np.deg2rad(direction), 9))
        assert kernel.sum(across).max() > 0.99  # all of it in one column, or row
        inner = slice(6, -6)
        assert np.abs(lq - convolve(gt, kernel[..., None]))[inner, inner].max() <= 0.51


def test_lengths_and_directions_come_from_the_given_ones() -> None:
    rng = np.random.default_rng(0)
    dataset = SyntheticBlurDataset(
        moving_share=1.0, straight_share=1.0, shake_length=0.0, directions=(-5, 85), path_range=(9, 11)
    )
    paths, _, _ = dataset._draw_motion(300, rng)
    spans = np.array([path[-1] - path[0] for path in paths if path is not None])
    lengths, angles = np.linalg.norm(spans, axis=1), np.rad2deg(np.arctan2(spans[:, 0], spans[:, 1]))
    assert len(spans) == 300
    assert 9 <= lengths.min() < 9.1 and 10.9 < lengths.max() <= 11
    assert {round(float(angle), 6) for angle in angles} == {-5.0, 85.0}
    assert 0.3 < (angles < 0).mean() < 0.7


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'path_range': (0.0, 3.0)}, 'path_range'),
        ({'path_range': (5.0, 4.0)}, 'path_range'),
        ({'directions': []}, 'directions'),
    ],
)
def test_directions_and_ranges_that_make_no_sense(arguments: dict, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        SyntheticBlurDataset(**arguments)


def test_pictures_as_they_come_from_jpeg_files() -> None:
    """The worse the quality, the farther from what was exposed; the sharp picture stays as it is."""
    plain = SyntheticBlurDataset(length=1, gt_size=64, seed=3)[0]
    errors = []
    for quality in (95, 60, 10):
        stored = SyntheticBlurDataset(length=1, gt_size=64, seed=3, jpeg=(quality, quality))[0]
        assert torch.equal(stored['gt'], plain['gt'])
        errors.append(float((stored['lq'].float() - plain['lq'].float()).square().mean()))
    assert 0 < errors[0] < errors[1] < errors[2]
    drawn = [SyntheticBlurDataset(length=9, gt_size=64, seed=3, jpeg=(10, 95))[i]['lq'] for i in (0, 0)]
    assert torch.equal(*drawn)


@pytest.mark.parametrize('jpeg', [(0, 50), (60, 101), (80, 70)])
def test_jpeg_qualities_that_make_no_sense(jpeg: tuple[int, int]) -> None:
    with pytest.raises(ArgumentError, match='jpeg'):
        SyntheticBlurDataset(length=1, jpeg=jpeg)


def test_numbers_of_numpy_are_numbers():
    dataset = SyntheticBlurDataset(length=np.int64(3), gt_size=32, shake_length=np.float32(2))
    assert len(dataset) == 3
