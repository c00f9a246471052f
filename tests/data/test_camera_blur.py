"""Blur as cameras make it: shake as homographies, motion between frames, and the data set of both."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from basicsr.data import build_dataset
from basicsr.data.camera_shake import CameraShake, expose, smooth_path
from basicsr.data.exposure import gray_of, light_of, to_uint8
from basicsr.data.frame_motion import FramePair, times_of
from basicsr.metrics import calculate_psnr
from basicsr.utils.errors import ArgumentError, BasicsrError, DataError
from tests.helpers.scenes import scene, write_images

pytestmark = pytest.mark.numeric

SIZE = (240, 320)


@pytest.fixture
def photos(tmp_path) -> str:
    return write_images(tmp_path / 'photos', {f'p{n}': scene(180, 240, n) for n in range(3)})


@pytest.fixture
def clips(tmp_path) -> str:
    large = scene(300, 400, 7)
    frames = {f'walk_{n:02d}': large[20 : 20 + 200, 5 * n : 5 * n + 260] for n in range(4)}
    return write_images(tmp_path / 'clips', frames)


def test_a_path_is_zero_in_the_middle_and_on_average():
    for seed in range(20):
        path = smooth_path(6, np.random.default_rng(seed), 0.1 + 0.05 * seed)
        assert np.abs(path[32]).max() == 0
        assert np.abs(path.mean(0)).max() < 1e-12


def test_a_smoother_path_turns_less():
    def turning(smoothness: float) -> float:
        steps = [np.diff(smooth_path(2, np.random.default_rng(n), smoothness), axis=0) for n in range(30)]
        cosines = [(a[1:] * a[:-1]).sum(1) / np.prod(np.linalg.norm([a[1:], a[:-1]], axis=2), 0) for a in steps]
        return float(np.mean(np.arccos(np.clip(np.concatenate(cosines), -1, 1))))

    assert turning(0.1) > 2 * turning(1.0)


@pytest.mark.parametrize('length', [0.0, 0.5, 7.0, 60.0])
@pytest.mark.parametrize('translation_only', [False, True])
def test_paths_have_the_length_that_was_asked_for(length, translation_only):
    grid = np.stack(np.meshgrid(*(np.linspace(0, side - 1, 5) for side in SIZE), indexing='ij'), -1).reshape(-1, 2)
    for seed in range(5):
        shake = CameraShake(SIZE, length, np.random.default_rng(seed), translation_only)
        lengths = shake.path_length(grid)
        assert lengths.mean() == pytest.approx(length, rel=0.01, abs=1e-9)
        if translation_only:
            assert np.ptp(lengths) < 1e-6


def test_blur_differs_from_corner_to_corner():
    corners = np.array([(0, 0), (0, 319), (239, 0), (239, 319)], float)
    spreads = []
    for seed in range(20):
        lengths = CameraShake(SIZE, 20.0, np.random.default_rng(seed)).path_length(corners)
        spreads.append(np.ptp(lengths) / lengths.mean())
    assert np.median(spreads) > 0.1


def test_translation_is_the_mean_of_shifted_images():
    image = cv2.GaussianBlur(scene(*SIZE), (0, 0), 2)
    shake = CameraShake(SIZE, 10.0, np.random.default_rng(1), translation_only=True)
    window = (60, 80, 100, 120)
    samples = shake.samples_for(np.array([(60.0, 80.0)]))
    shifts = shake.homographies(samples)[:, :2, 2]  # of K · plane · K^-1: (right, down)
    expected = np.zeros((100, 120, 3))
    for right, down in shifts:
        moved = cv2.warpAffine(
            image.astype(np.float32), np.float64([[1, 0, right], [0, 1, down]]), SIZE[::-1],
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        )  # fmt: skip
        expected += moved[60:160, 80:200] / samples
    assert np.abs(expose(image.astype(np.float32), shake, window) - expected).max() < 0.5


def test_a_flat_image_stays_flat_and_a_still_camera_changes_nothing():
    flat = np.full((*SIZE, 3), 0.25, np.float32)
    shaken = expose(flat, CameraShake(SIZE, 30.0, np.random.default_rng(0)), (0, 0, *SIZE))
    assert np.abs(shaken - 0.25).max() < 1e-5
    light = light_of(scene(*SIZE), 2.2)
    still = expose(light, CameraShake(SIZE, 0.0, np.random.default_rng(0)), (10, 20, 50, 60))
    assert np.abs(still - light[10:60, 20:80]).max() < 1e-5


def test_highlights_leave_streaks_that_averaged_gray_values_would_not():
    image = np.zeros((*SIZE, 3), np.uint8)
    image[118:122, 158:162] = 255
    shake = CameraShake(SIZE, 30.0, np.random.default_rng(3), translation_only=True)
    window = (60, 80, 120, 160)
    plain, bright = (gray_of(expose(light_of(image, 2.2, gain), shake, window), 2.2) for gain in (1.0, 6.0))
    assert plain.max() < bright.max() <= 1
    assert bright.sum() > 1.5 * plain.sum()
    same = light_of(np.full((2, 2, 3), 100, np.uint8), 2.2)
    assert (light_of(np.full((2, 2, 3), 100, np.uint8), 2.2, 6.0) == same).all()  # dark pixels keep their light


def test_frames_between_two_frames_of_a_pan():
    large = scene(260, 400)
    first, second = large[20:220, 40:340], large[20:220, 52:352]  # 12 pixels to the right
    pair = FramePair(first, second)
    lights = light_of(first, 2.0), light_of(second, 2.0)
    window = (40, 60, 120, 160)
    assert pair.agreement(window) > 0.99
    (middle,) = pair.between(lights, np.array([0.5]), window)
    assert calculate_psnr(to_uint8(gray_of(middle, 2.0)), large[60:180, 106:266]) > 32
    times = times_of(1.0, 12.0)
    assert times.mean() == pytest.approx(0.5)
    blurred = gray_of(pair.between(lights, times, window).mean(0), 2.0)
    light = light_of(large, 2.0)
    expected = gray_of(np.mean([light[60:180, 100 + k : 260 + k] for k in range(13)], axis=0), 2.0)
    assert calculate_psnr(to_uint8(blurred), to_uint8(expected)) > 32


def test_a_thing_before_a_still_background_is_seen_whole_in_the_middle():
    background, thing = scene(200, 300, 1), scene(60, 60, 2)

    def frame(left: int) -> np.ndarray:
        image = background.copy()
        image[70:130, left : left + 60] = thing
        return image

    pair = FramePair(frame(100), frame(112))
    (middle,) = pair.between((light_of(frame(100), 1.0), light_of(frame(112), 1.0)), np.array([0.5]), (0, 0, 200, 300))
    result, expected = to_uint8(gray_of(middle, 1.0)), frame(106)
    assert calculate_psnr(result[75:125, 112:160], expected[75:125, 112:160]) > 30
    assert calculate_psnr(result[:60], expected[:60]) > 40
    assert calculate_psnr(result, expected) > 22  # covered and uncovered pixels at the sides included


def test_frames_of_different_things_do_not_agree():
    assert FramePair(scene(120, 160, 1), scene(120, 160, 2)).agreement((0, 0, 120, 160)) < 0.3


def shift_between(sharp: np.ndarray, blurred: np.ndarray) -> np.ndarray:
    """(down, right) by which the second of two images is displaced, least squares, in pixels."""
    a, b = (
        cv2.GaussianBlur(cv2.cvtColor(x, cv2.COLOR_RGB2GRAY).astype(np.float64), (0, 0), 3) for x in (sharp, blurred)
    )
    shift, inner = np.zeros(2), (slice(24, -24), slice(24, -24))
    for _ in range(15):
        matrix = np.array([[1, 0, shift[1]], [0, 1, shift[0]]])
        moved = cv2.warpAffine(a, matrix, a.shape[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        gradients = np.stack([g[inner].ravel() for g in np.gradient(moved)], axis=1)
        shift = shift + np.linalg.lstsq(gradients, (b - moved)[inner].ravel(), rcond=None)[0]
    return shift


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['shake', 'motion', 'kernel'])
def test_blurred_and_sharp_are_not_shifted_on_average(kind, photos, clips):
    block = {'dataroot_photos': photos, 'dataroot_clips': clips, 'kinds': {kind: 1}, 'length': 100, 'gt_size': 128}
    plain = {'noise': [0, 0], 'jpeg': None, 'highlights': 0.0, 'path_length': [0, 120], 'candidates': 1}
    dataset = build_dataset({'type': 'CameraBlurDataset', **block, **plain})
    pairs = [dataset.make(index) for index in range(100)]
    shifts = np.array([shift_between(pair.gt, pair.lq) for pair in pairs])
    print(kind, 'median length of the shift', np.median(np.linalg.norm(shifts, axis=1)))
    assert np.abs(shifts.mean(0)).max() < 0.1
    assert np.median(np.linalg.norm(shifts, axis=1)) < 0.2
    assert np.mean([pair.extent for pair in pairs]) > 2  # they are blurred


def test_samples_depend_on_seed_epoch_and_index_alone(photos, clips):
    block = {
        'type': 'CameraBlurDataset',
        'dataroot_photos': photos,
        'dataroot_clips': clips,
        'length': 6,
        'gt_size': 64,
    }
    first, second = build_dataset(block), build_dataset(block)
    forwards = [first[index] for index in range(6)]
    for index in (5, 2, 0):
        again = second[index]
        assert (again['lq'] == forwards[index]['lq']).all()
        assert (again['gt'] == forwards[index]['gt']).all()
        assert again['mask_seed'] == forwards[index]['mask_seed']
    second.set_epoch(1)
    assert any((second[index]['lq'] != forwards[index]['lq']).any() for index in range(6))
    assert forwards[0]['lq'].shape == (3, 64, 64)
    with pytest.raises(IndexError):
        first[6]


def test_sharp_pictures_come_back_unchanged_and_shares_are_kept(photos, clips):
    block = {
        'type': 'CameraBlurDataset',
        'dataroot_photos': photos,
        'dataroot_clips': clips,
        'length': 200,
        'gt_size': 32,
    }
    dataset = build_dataset({**block, 'kinds': {'sharp': 1, 'kernel': 3}})
    pairs = [dataset.make(index) for index in range(200)]
    sharp = [pair for pair in pairs if pair.kind == 'sharp']
    assert len(sharp) == pytest.approx(50, abs=20)  # three standard deviations
    assert all((pair.lq == pair.gt).all() for pair in sharp)
    assert any((pair.lq != pair.gt).any() for pair in pairs if pair.kind == 'kernel')


def test_whole_images_and_reduced_ones(photos):
    block = {
        'type': 'CameraBlurDataset',
        'dataroot_photos': photos,
        'gt_size': None,
        'length': 2,
        'kinds': {'shake': 1},
    }
    for pair in map(build_dataset({**block, 'short_side': [90, 120]}).make, range(2)):
        assert 90 <= min(pair.gt.shape[:2]) <= 120
        assert pair.gt.shape[1] / pair.gt.shape[0] == pytest.approx(240 / 180, abs=0.02)
    reduced = build_dataset({**block, 'short_side': [90, 120], 'reduce_to': [64, 36]}).make(0)
    assert reduced.lq.shape == reduced.gt.shape == (36, 64, 3)


def test_masks_of_frames_follow_the_motion(tmp_path, clips):
    masks = tmp_path / 'masks'
    for n in range(4):
        mask = np.zeros((200, 260, 3), np.uint8)
        mask[:, 130 - 5 * n :] = 255
        write_images(masks, {f'walk_{n:02d}': mask})
    block = {'type': 'CameraBlurDataset', 'dataroot_clips': clips, 'dataroot_clip_masks': str(masks), 'length': 8}
    for item in build_dataset({**block, 'kinds': {'motion': 1}, 'gt_size': 96}):
        assert item['masks'].shape == (1, 96, 96)
        assert set(item['masks'].unique().tolist()) <= {1, 2}
    whole = {'gt_size': None, 'short_side': [200, 200], 'reduce_to': [64, 36], 'exposure': [0.2, 0.4]}
    reduced = build_dataset({**block, 'kinds': {'motion': 1}, **whole})[0]
    assert reduced['masks'].shape == (1, 36, 64)
    assert set(reduced['masks'].unique().tolist()) == {1, 2}  # the edge of the mask is inside the frame


def refused(error: type[BasicsrError], *words: str, **arguments) -> None:
    with pytest.raises(error) as caught:
        build_dataset({'type': 'CameraBlurDataset', **arguments})
    for word in words:
        assert word in str(caught.value)


def test_bad_sources_are_refused_by_name(tmp_path, photos, clips):
    refused(ArgumentError, 'dataroot_photos')
    refused(DataError, 'p0.png', 'p2.png', '240×180', dataroot_photos=photos, gt_size=200)
    alone = write_images(tmp_path / 'alone', {'walk_01': scene(64, 64)})
    refused(DataError, alone, dataroot_clips=alone, gt_size=32)
    gap = write_images(tmp_path / 'gap', {'walk_01': scene(64, 64), 'walk_03': scene(64, 64)})
    refused(DataError, gap, dataroot_clips=gap, gt_size=32)
    uneven = write_images(tmp_path / 'uneven', {'walk_01': scene(64, 64), 'walk_02': scene(64, 70)})
    dataset = build_dataset(
        {'type': 'CameraBlurDataset', 'dataroot_clips': uneven, 'kinds': {'motion': 1}, 'gt_size': 32}
    )
    with pytest.raises(DataError, match=r'walk_01\.png.*walk_02\.png.*64×64.*70×64'):
        dataset.make(0)
    (tmp_path / 'broken').mkdir()
    (tmp_path / 'broken' / 'p.png').write_bytes(b'\x89PNG\r\n')
    refused(DataError, 'p.png', dataroot_photos=str(tmp_path / 'broken'), gt_size=32)
    blurred = {f'walk_{n}': cv2.GaussianBlur(scene(120, 120), (0, 0), 8) for n in range(2)}
    soft = write_images(tmp_path / 'soft', blurred)
    block = {'type': 'CameraBlurDataset', 'dataroot_clips': soft, 'kinds': {'motion': 1}, 'gt_size': 64}
    with pytest.raises(DataError, match=r'soft .*60 '):
        build_dataset(block).make(0)


@pytest.mark.parametrize(
    'arguments',
    [
        {'kinds': {'motion': 1}},
        {'kinds': {'shake': 0}},
        {'kinds': {'shake': -1, 'sharp': 2}},
        {'path_length': [5, 1]},
        {'gamma': [0, 1]},
        {'jpeg': [50, 101]},
        {'exposure': [-0.1, 1]},
        {'short_side': [700, 500]},
    ],
)
def test_arguments_that_make_no_sense(photos, arguments):
    refused(ArgumentError, next(iter(arguments)), dataroot_photos=photos, **arguments)
