"""Row-dependent blur: how long each row is exposed, how bright it is, and what moves during the exposure."""

from __future__ import annotations

import numpy as np
import pytest

from basicsr.data.camera_shake import CameraShake
from basicsr.data.exposure import light_of
from basicsr.data.row_exposure import RowExposure, frames_of_clip, frames_of_photo
from basicsr.utils.errors import ArgumentError, ShapeError

RNG = np.random.default_rng(0)


def clip_of(frames=8, height=21, width=24):
    return [RNG.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(frames)]


def moving_line():
    """A vertical line that moves two pixels to the right in each of 12 frames."""
    frames = np.zeros((12, 31, 40, 3), np.uint8)
    for number, frame in enumerate(frames):
        frame[:, 5 + 2 * number] = 255
    return list(frames)


def definition(light, exposure, rows):
    """The sums of the definition, frame by frame and row by row."""
    blurred, sharp = np.zeros_like(light[0], np.float64), np.zeros_like(light[0], np.float64)
    for row in range(rows):
        time = exposure.first + (exposure.last - exposure.first) * row / max(1, rows - 1)
        for number, frame in enumerate(light):
            blurred[row] += np.clip(time - number, 0, 1) * frame[row] / time
    for number, frame in enumerate(light):
        sharp += np.clip(exposure.first - number, 0, 1) * frame / exposure.first
    return blurred, sharp


@pytest.mark.parametrize(('first', 'last'), [(1, 8), (2.5, 7.3), (0.4, 0.8), (3, 3), (7.9, 8)])
@pytest.mark.parametrize('height', [21, 1, 2])
def test_every_row_integrates_its_own_time(first, last, height):
    clip, exposure = clip_of(height=height), RowExposure(first, last)
    light = [light_of(frame, 2.2) for frame in clip]
    got = exposure.integrate(frames_of_clip(clip, 2.2), height)
    for result, expected in zip(got, definition(light, exposure, height), strict=True):
        np.testing.assert_allclose(result, expected, atol=1e-6)


@pytest.mark.parametrize(('first', 'last'), [(1, 8), (2.5, 7.3), (0.4, 0.8), (3, 3), (1.6, 1.7)])
def test_the_target_in_the_middle_of_the_exposure_of_each_row(first, last):
    clip = clip_of()
    exposure = RowExposure(first, last, target='row_centre', gamma=1.0)
    _, sharp = exposure.integrate(frames_of_clip(clip, 1.0), 21)
    for row, time in enumerate(np.linspace(first, last, 21)):
        begin, end = (time - first) / 2, (time + first) / 2
        shares = [max(0, min(end, number + 1) - max(begin, number)) / first for number in range(8)]
        expected = sum(share * frame[row] / 255 for share, frame in zip(shares, clip, strict=True))
        np.testing.assert_allclose(sharp[row], expected, atol=1e-6)


def test_a_target_in_the_middle_is_where_the_blurred_image_is():
    clip = moving_line()
    lq, gt = RowExposure(1, 12, target='row_centre', gamma=1.0).integrate(frames_of_clip(clip, 1.0), 31)
    lq_centre, gt_centre = ((image[..., 0] * np.arange(40)).sum(1) / image[..., 0].sum(1) for image in (lq, gt))
    assert np.abs(lq_centre - gt_centre).max() < 0.2
    assert gt_centre[-1] - gt_centre[0] == pytest.approx(11, abs=0.1)  # half the way


def test_equal_times_are_the_blur_of_a_global_shutter():
    clip = clip_of()
    blurred, sharp = RowExposure(4, 4).integrate(frames_of_clip(clip, 1.0), 21)
    np.testing.assert_allclose(blurred, np.mean(clip[:4], axis=0) / 255, atol=1e-6)
    np.testing.assert_allclose(blurred, sharp, atol=1e-6)


@pytest.mark.parametrize('gamma', [1.0, 2.2])
def test_a_scene_at_rest_stays_as_it_is(gamma):
    still = clip_of(1) * 8
    for exposure in (RowExposure(1.3, 7.7, gamma=gamma), RowExposure(1.3, 7.7, target='first_frame', gamma=gamma)):
        lq, gt = exposure.expose(frames_of_clip(still, gamma), 21, RNG)
        assert np.array_equal(lq, still[0])
        assert np.array_equal(gt, still[0])


def test_rows_collect_light_in_proportion_to_their_time():
    still = [np.full((11, 4, 3), 21, np.uint8)] * 8
    for brightness, reference in (('first_row', 2), ('last_row', 8)):
        exposure = RowExposure(2, 8, brightness, gamma=1.0)
        lq, gt = exposure.expose(frames_of_clip(still, 1.0), 11, RNG)
        assert np.array_equal(lq[:, 0, 0], np.rint(21 * np.linspace(2, 8, 11) / reference))
        assert np.array_equal(gt, np.full_like(gt, np.rint(21 * 2 / reference)))
    bright = [np.full((11, 4, 3), 200, np.uint8)] * 8
    lq, gt = RowExposure(2, 8, 'first_row').expose(frames_of_clip(bright, 2.2), 11, RNG)
    assert lq[-1].min() == 255
    assert gt.max() == 200


def test_a_moving_point_leaves_a_longer_trace_further_down():
    clip = moving_line()
    lq, gt = RowExposure(1, 12, gamma=1.0).expose(frames_of_clip(clip, 1.0), 31, RNG)
    traces = (lq[..., 0] > 0).sum(1)
    assert (traces[0], traces[-1]) == (1, 12)
    assert (np.diff(traces.astype(int)) >= 0).all()
    assert np.array_equal(gt, clip[0])
    assert (lq[:, :5] == 0).all()  # no skew: every row starts at the same place


def test_linear_light_and_gray_values_are_averaged_differently():
    clip = [np.zeros((2, 1, 3), np.uint8), np.full((2, 1, 3), 255, np.uint8)]
    assert RowExposure(2, 2, gamma=1.0).expose(frames_of_clip(clip, 1.0), 2, RNG)[0][0, 0, 0] == 128
    assert RowExposure(2, 2).expose(frames_of_clip(clip, 2.2), 2, RNG)[0][0, 0, 0] == round(255 * 0.5 ** (1 / 2.2))


def test_noise_is_weaker_in_rows_that_are_exposed_longer():
    still = [np.full((64, 400, 3), 128, np.uint8)] * 8
    for brightness in ('mean', 'last_row'):
        exposure = RowExposure(1, 8, brightness, gamma=1.0, noise=0.01)
        lq, gt = exposure.expose(frames_of_clip(still, 1.0), 64, np.random.default_rng(1))
        spread, level = lq.std((1, 2)), lq.mean((1, 2))
        assert spread[-8:].mean() / level[-8:].mean() < 0.7 * spread[:8].mean() / level[:8].mean()
        assert gt.std() == 0
    same = [exposure.expose(frames_of_clip(still, 1.0), 64, np.random.default_rng(1))[0] for _ in range(2)]
    assert np.array_equal(*same)


def test_portrait_and_landscape_both_count_rows():
    clip = clip_of(height=40, width=8)
    tall, _ = RowExposure(1, 8).integrate(frames_of_clip(clip, 1.0), 40)
    turned = [np.ascontiguousarray(frame.transpose(1, 0, 2)) for frame in clip]
    wide, _ = RowExposure(1, 8).integrate(frames_of_clip(turned, 1.0), 8)
    np.testing.assert_allclose(tall[-1], np.mean(clip, axis=0)[-1] / 255, atol=1e-6)
    np.testing.assert_allclose(wide[-1], np.mean(turned, axis=0)[-1] / 255, atol=1e-6)
    assert np.abs(tall - wide.transpose(1, 0, 2)).max() > 0.1


def test_a_photo_is_blurred_more_further_down_and_not_in_its_first_frame():
    rng = np.random.default_rng(3)
    photo = rng.random((80, 90, 3), np.float32)
    shake = CameraShake((80, 90), 12.0, rng)
    window = (10, 20, 64, 48)
    frames = frames_of_photo(photo, shake, 13, window)
    inside = photo[10:74, 20:68]
    np.testing.assert_allclose(frames(0, 0), inside, atol=1e-4)
    np.testing.assert_allclose(frames(7, 30), frames(7, 0)[30:], atol=1e-3)
    blurred, sharp = RowExposure(1, 13).integrate(frames, 64)
    np.testing.assert_allclose(sharp, inside, atol=1e-4)
    error = np.abs(blurred - inside).mean((1, 2))
    assert error[0] < 1e-4
    assert error[-16:].mean() > 1.2 * error[4:12].mean()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [((0, 4), 'above 0'), ((5, 4), '5 and 4 frames'), ((1, float('inf')), 'at least as long')],
)
def test_impossible_times_are_refused(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        RowExposure(*arguments)
    for wrong in ({'gamma': 0.0}, {'gamma': np.nan}, {'noise': np.nan}, {'noise': np.inf}):
        with pytest.raises(ArgumentError, match='gamma'):
            RowExposure(1, 2, **wrong)


def test_frames_of_different_sizes_are_refused():
    clip = clip_of(3)
    clip[2] = clip[2][:-1]
    with pytest.raises(ShapeError, match=r'frame 2 .*\(20, 24, 3\).*\(21, 24, 3\)'):
        frames_of_clip(clip, 2.2)
