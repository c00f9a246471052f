"""PSNR, SSIM and MCR: the original's numbers, independent implementations, and bad input."""

from __future__ import annotations

import csv
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from basicsr.images.files import imread
from basicsr.metrics import (
    build_metric,
    calculate_mcr,
    calculate_psnr,
    calculate_ssim,
    channel_mixing_matrix,
    gaussian_taps,
    is_collapsed,
    luma_of_bgr,
    mode_collapse_rate,
)
from basicsr.metrics.on_device import on_device
from basicsr.metrics.ssim import mean_in_bands, ssim_map
from basicsr.metrics.ssim_device import ssim_map_on
from basicsr.utils.errors import MetricError
from benchmarks.transcriptions_metrics import gaussian_cube, psnr_numpy, ssim_3d_dense

pytestmark = pytest.mark.numeric

LUMA = {'test_y_channel': True}
FLAT = {'ssim3d': False}
COLUMNS = {
    'psnr': (calculate_psnr, {}),
    'psnr_crop4': (calculate_psnr, {'crop_border': 4}),
    'psnr_y': (calculate_psnr, LUMA),
    'psnr_y_crop4': (calculate_psnr, {**LUMA, 'crop_border': 4}),
    'ssim3d': (calculate_ssim, {}),
    'ssim3d_float64': (calculate_ssim, {}),
    'ssim3d_crop4': (calculate_ssim, {'crop_border': 4}),
    'ssim3d_crop4_float64': (calculate_ssim, {'crop_border': 4}),
    'ssim2d': (calculate_ssim, FLAT),
    'ssim2d_crop4': (calculate_ssim, {**FLAT, 'crop_border': 4}),
    'ssim_y': (calculate_ssim, LUMA),
    'ssim_y_crop4': (calculate_ssim, {**LUMA, 'crop_border': 4}),
    'ssim_y_valid_upstream_basicsr': (calculate_ssim, {**LUMA, 'luma_border': 'valid'}),
    'ssim_gray2d': (calculate_ssim, FLAT),
    'ssim3d_gray': (calculate_ssim, {}),
    'skimage_ssim_gaussian': (calculate_ssim, FLAT),
    'skimage_psnr': (calculate_psnr, {}),
    'tensor01_psnr': (calculate_psnr, {}),
    'tensor01_ssim3d': (calculate_ssim, {}),
    'tensor01_ssim2d': (calculate_ssim, FLAT),
}


def random_pair(shape=(24, 31, 3), dtype=np.uint8, seed=0):
    rng = np.random.default_rng(seed)
    top = np.iinfo(dtype).max
    clean = rng.integers(0, top, shape, dtype=dtype, endpoint=True)
    noisy = np.clip(clean + rng.normal(0, top / 20, shape), 0, top)
    return noisy.astype(dtype), clean


def prepared(column: str, image: np.ndarray):
    if 'gray' in column:
        return image[..., 1]
    if column.startswith('tensor01'):
        return torch.from_numpy(image.transpose(2, 0, 1) / np.float32(255))
    return image


@pytest.mark.vectors
@pytest.mark.parametrize('data_range', [None, 'guess'])
@pytest.mark.parametrize('column', COLUMNS)
def test_pairs_score_as_in_the_original(vector, column, data_range):
    case = vector('metrics', 'image_pairs')
    index = case.meta['columns'].index(column)
    function, options = COLUMNS[column]
    for row, name in enumerate(case.meta['rows']):
        img = prepared(column, case[f'in/{name}/img'])
        gt = prepared(column, case[f'in/{name.split("_")[0]}/gt'])
        value = function(img, gt, **options, data_range=data_range)
        expected = case['out/values'][row, index]
        assert value == pytest.approx(expected, rel=0, abs=case.meta['atol_per_column'][index]), name


@pytest.mark.vectors
def test_every_column_of_the_vector_is_tested(vector):
    elsewhere = {'skimage_ssim_default'}  # tests/metrics/test_records.py
    assert set(vector('metrics', 'image_pairs').meta['columns']) == set(COLUMNS) | elsewhere


@pytest.mark.vectors
def test_special_cases_as_in_the_original(vector):
    case = vector('metrics', 'special_cases')
    a, b = case['in/a'], case['in/b']
    black, ones, nine = (np.full((16, 18, 3), value, np.uint8) for value in (0, 1, 9))
    six_a, six_b = np.concatenate([a, b], axis=2), np.concatenate([b, a[::-1]], axis=2)
    chw = {'input_order': 'CHW', 'crop_border': 2}  # the vector's values are those with this border
    cases = {
        'identical_psnr': calculate_psnr(a, a, data_range='guess'),
        'identical_ssim3d': calculate_ssim(a, a, data_range='guess'),
        'identical_ssim2d': calculate_ssim(a, a, **FLAT, data_range='guess'),
        'black_vs_nine_psnr': calculate_psnr(black, nine, data_range='guess'),
        'nine_vs_black_psnr': calculate_psnr(nine, black, data_range='guess'),
        'ones_vs_nine_psnr': calculate_psnr(ones, nine, data_range='guess'),
        'black_vs_nine_ssim3d': calculate_ssim(black, nine, data_range='guess'),
        'nine_vs_black_ssim3d': calculate_ssim(nine, black, data_range='guess'),
        'black_vs_nine_psnr_y': calculate_psnr(black, nine, **LUMA, data_range='guess'),
        'six_channel_psnr': calculate_psnr(six_a, six_b, data_range='guess'),
        'six_channel_ssim3d': calculate_ssim(six_a, six_b, data_range='guess'),
        'chw_order_psnr': calculate_psnr(a.transpose(2, 0, 1), b.transpose(2, 0, 1), **chw),
        'chw_order_ssim3d': calculate_ssim(a.transpose(2, 0, 1), b.transpose(2, 0, 1), **chw),
        'small_12x11_ssim3d': calculate_ssim(a[:12, :11], b[:12, :11]),
        'small_12x11_ssim2d': calculate_ssim(a[:12, :11], b[:12, :11], **FLAT),
        # a bright, almost flat patch: the original's float32 is off by 6e-4 here, more than the vector allows for
        'small_5x6_ssim3d': ssim_3d_dense(a[:5, :6], b[:5, :6], dtype=torch.float32),
        'bgr_order_ssim3d': calculate_ssim(a, b),
        'bgr_order_ssim_y': calculate_ssim(a, b, **LUMA),
        'rgb_order_ssim3d': calculate_ssim(a[..., ::-1], b[..., ::-1]),
        'rgb_order_ssim_y': calculate_ssim(a[..., ::-1], b[..., ::-1], **LUMA),
    }
    assert calculate_ssim(a[:5, :6], b[:5, :6]) == pytest.approx(ssim_3d_dense(a[:5, :6], b[:5, :6]), abs=1e-10)
    assert set(cases) == set(case.meta['names'])
    for name, expected, atol in zip(case.meta['names'], case['out/values'], case.meta['atol_per_name'], strict=True):
        assert cases[name] == pytest.approx(expected, rel=0, abs=atol), name


@pytest.mark.vectors
def test_window_as_in_the_original(vector):
    case = vector('metrics', 'gaussian_kernel')
    np.testing.assert_allclose(gaussian_taps(), case['out/k1'], **case.tolerance)
    np.testing.assert_allclose(gaussian_cube()[0, 0].numpy(), case['out/k3'], **case.tolerance)
    np.testing.assert_allclose(channel_mixing_matrix(3), case['out/channel_mix'], **case.tolerance)


@pytest.mark.vectors
def test_luma_as_in_the_original(vector):
    case = vector('metrics', 'y_channel')
    np.testing.assert_allclose(luma_of_bgr(case['in/bgr']), case['out/y'], **case.tolerance)


@pytest.mark.vectors
def test_mode_collapse_as_defined(vector):
    case = vector('metrics', 'mcr')
    blurred, output = case['in/psnr_blurred'], case['in/psnr_output']
    decisions = [is_collapsed(a, b) for a, b in zip(blurred.tolist(), output.tolist(), strict=True)]
    assert decisions == case['out/collapsed'].tolist()
    assert mode_collapse_rate(blurred, output) == case['out/mcr_percent'].item()


@pytest.mark.vectors
def test_psnr_of_the_real_pairs_equals_their_table(shared_data):
    rows = list(csv.DictReader((shared_data / 'pairs.csv').read_text().splitlines()))
    assert len(rows) == 62
    for row in rows:
        images = [imread(shared_data / 'pairs' / kind / row['file']) for kind in ('input', 'target')]
        assert f'{calculate_psnr(*images):.4f}' == row['psnr_input_vs_target_db'], row['file']


def test_an_almost_black_image_is_scored_by_its_dtype_unless_the_guess_is_asked_for():
    black, nine = np.zeros((16, 18, 3), np.uint8), np.full((16, 18, 3), 9, np.uint8)
    assert calculate_psnr(black, nine) == pytest.approx(29.0460, abs=1e-4)
    assert calculate_psnr(black, nine, data_range='guess') == pytest.approx(-19.0849, abs=1e-4)


@pytest.mark.parametrize('size', [(720, 1280, 3), (7, 5, 3), (33, 17, 1), (20, 30, 5)])
def test_psnr_equals_its_transcription(size):
    noisy, clean = random_pair(size)
    assert calculate_psnr(noisy, clean) == pytest.approx(psnr_numpy(noisy, clean), rel=1e-14)


def test_psnr_is_exact_at_the_extremes():
    black, white = np.zeros((2160, 3840, 3), np.uint8), np.full((2160, 3840, 3), 255, np.uint8)
    assert calculate_psnr(black, white) == 0.0
    assert calculate_psnr(black[:9, :9].astype(np.uint16), white[:9, :9].astype(np.uint16) * 257) == 0.0


@pytest.mark.parametrize('size', [(20, 23, 3), (3, 4, 3), (16, 9, 1), (13, 12, 2), (12, 14, 7)])
def test_separable_ssim_equals_the_dense_window(size):
    noisy, clean = random_pair(size)
    assert calculate_ssim(noisy, clean) == pytest.approx(ssim_3d_dense(noisy, clean), rel=0, abs=1e-10)


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_2d_ssim_and_psnr_equal_scikit_image(dtype):
    noisy, clean = random_pair((40, 52, 3), dtype)
    peak = np.iinfo(dtype).max
    gaussian = {'gaussian_weights': True, 'sigma': 1.5, 'use_sample_covariance': False}
    expected = structural_similarity(noisy, clean, channel_axis=2, data_range=peak, **gaussian)
    assert calculate_ssim(noisy, clean, ssim3d=False) == pytest.approx(expected, abs=1e-5)
    expected = peak_signal_noise_ratio(clean, noisy, data_range=peak)
    assert calculate_psnr(noisy, clean) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize('size', [(40, 57, 3), (7, 5, 3), (33, 20, 1), (20, 24, 6)], ids=str)
def test_the_map_of_gpus_equals_that_of_cpus(size, dtype):
    rng = np.random.default_rng(0)
    peak = {np.uint8: 255, np.uint16: 65535, np.float32: 1.0}[dtype]
    first, second = ((peak * rng.random(size)).astype(dtype) for _ in range(2))
    for volume in (True, False):
        here = ssim_map(first, second, peak, volume)
        there = ssim_map_on('cpu', first, second, peak, volume, gaussian_taps()).numpy()
        assert np.abs(here - there).max() < 1e-9  # of differences of squares up to 65535²


@pytest.mark.parametrize('border', [0, 5])
def test_ssim_in_bands_of_rows_is_that_of_the_whole_map(border):
    first, second = random_pair((67, 40, 3))
    for volume in (True, False):
        expected = ssim_map(first, second, 255, volume)[border : 67 - border, border : 40 - border].mean()
        for rows in (1, 7, 66, 67, 100):
            value = mean_in_bands(lambda a, b: ssim_map(a, b, 255, volume), first, second, border, rows)  # noqa: B023
            assert value == pytest.approx(expected, abs=1e-12)
    assert calculate_ssim(first, second, device='cpu:0') == pytest.approx(calculate_ssim(first, second), abs=1e-12)


def test_a_device_scores_one_image_at_a_time():
    inside, most = [], []

    def compute(device):
        inside.append(device)
        most.append(len(inside))
        time.sleep(0.01)
        inside.remove(device)
        return device

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: on_device('cpu:0', compute), range(12)))
        assert found == ['cpu:0'] * 12 and max(most) == 1
        barrier = threading.Barrier(2)  # on the CPU, nobody waits
        assert list(pool.map(lambda _: on_device('cpu', lambda _: barrier.wait(30) >= 0), range(2))) == [True, True]


def test_a_device_without_memory_leaves_the_image_to_the_cpu(monkeypatch):
    first, second = random_pair((24, 30, 3))
    asked = []

    def full(device, *_):
        asked.append(device)
        raise torch.OutOfMemoryError('CUDA out of memory')

    monkeypatch.setattr('basicsr.metrics.ssim_device.ssim_map_on', full)
    assert calculate_ssim(first, second, device='cpu:0') == calculate_ssim(first, second)
    assert asked == ['cpu:0']

    def wrong(device):
        raise RuntimeError(f'a bug on {device}')

    with pytest.raises(RuntimeError, match='bug'):
        on_device('cpu:0', wrong)


@pytest.mark.parametrize('name', ['psnr', 'ssim', 'ssim_2d'])
def test_metrics_before_rounding_say_that_they_read_floats(name):
    assert not build_metric({'type': name}).reads_floats
    assert build_metric({'type': name}, rounded=False).reads_floats
    assert build_metric({'type': 'psnr_float'}).reads_floats


def test_luma_ssim_takes_the_range_it_is_given():
    noisy, clean = random_pair((40, 52, 3))
    gaussian = {'gaussian_weights': True, 'sigma': 1.5, 'use_sample_covariance': False}
    lumas = [luma_of_bgr(image)[..., 0] for image in (noisy, clean)]
    for peak in (20.0, 1000.0):
        value = calculate_ssim(noisy, clean, **LUMA, luma_border='valid', data_range=peak)
        assert value == pytest.approx(structural_similarity(*lumas, data_range=peak, **gaussian), abs=1e-5)
        assert abs(value - calculate_ssim(noisy, clean, **LUMA, luma_border='valid')) > 1e-4


def test_the_same_image_in_every_form_scores_the_same():
    noisy, clean = random_pair()
    expected = calculate_ssim(noisy, clean, crop_border=2)
    for form in (
        lambda image: torch.from_numpy(image.transpose(2, 0, 1).copy()),
        lambda image: torch.from_numpy(image.transpose(2, 0, 1).copy())[None],
        lambda image: np.asfortranarray(image),
        lambda image: np.pad(image, 3)[3:-3, 3:-3, 3:-3],
    ):
        assert calculate_ssim(form(noisy), form(clean), crop_border=2) == expected
        assert calculate_psnr(form(noisy), form(clean)) == calculate_psnr(noisy, clean)


def test_mcr_of_one_image():
    noisy, clean = random_pair((20, 20, 3))
    better, worse = clean.copy(), noisy // 2
    better[0, 0, 0] ^= 1
    with_mask = np.concatenate([noisy, noisy[..., :1]], axis=2)
    assert calculate_mcr(worse, clean, noisy) == 100.0
    assert calculate_mcr(worse, clean, with_mask) == 100.0
    assert calculate_mcr(better, clean, noisy) == 0.0
    assert calculate_mcr(noisy, clean, clean) == 100.0
    assert calculate_mcr(clean, clean, clean) == 0.0
    assert calculate_mcr(worse, clean, noisy, threshold=40.0) == 0.0


def test_mcr_leaves_the_border_of_output_and_input_out():
    noisy, clean = random_pair((20, 20, 3))
    framed = np.pad(clean[4:-4, 4:-4], ((4, 4), (4, 4), (0, 0)))  # perfect inside, black outside
    assert calculate_mcr(framed, clean, noisy) == 100.0
    assert calculate_mcr(framed, clean, noisy, crop_border=4) == 0.0
    assert calculate_mcr(noisy, clean, framed) == 0.0
    assert calculate_mcr(noisy, clean, framed, crop_border=4) == 100.0


def test_mode_collapse_edges():
    assert not is_collapsed(28.0, 25.0)
    assert is_collapsed(28.0, 24.999)
    assert not is_collapsed(math.inf, math.inf)
    assert is_collapsed(math.inf, 60.0)
    assert not is_collapsed(20.0, math.inf)
    with pytest.raises(MetricError, match='NaN'):
        is_collapsed(math.nan, 20.0)
    with pytest.raises(MetricError, match='1 and 2'):
        mode_collapse_rate([1.0], [1.0, 2.0])
    with pytest.raises(MetricError, match='0 and 0'):
        mode_collapse_rate([], [])


NAN = np.full((16, 16, 3), np.nan, np.float32)
UNIT = np.full((16, 16, 3), 0.5, np.float32)
EIGHT = np.full((16, 16, 3), 7, np.uint8)


@pytest.mark.parametrize('function', [calculate_psnr, calculate_ssim])
@pytest.mark.parametrize(
    ('first', 'second', 'options', 'message'),
    [
        (NAN, UNIT, {}, r'first image .* 768 NaN'),
        (UNIT, NAN, {}, r'second image .* NaN'),
        (np.where(UNIT > 0, np.inf, UNIT), UNIT, {}, 'first image .* 768'),
        (EIGHT, EIGHT[:15], {}, r'\(16, 16, 3\).*\(15, 16, 3\)'),
        (EIGHT, EIGHT[..., 0], {}, r'\(16, 16, 3\).*\(16, 16, 1\)'),
        (EIGHT, EIGHT, {'crop_border': 8}, 'crop_border 8 .*16 x 16'),
        (EIGHT, EIGHT, {'crop_border': -1}, 'crop_border .*-1'),
        (EIGHT[:0], EIGHT[:0], {}, 'crop_border 0'),
        (UNIT * 255, UNIT * 255, {}, r'second image .*127\.5.*data_range'),
        (UNIT, EIGHT, {}, 'float32 and uint8'),
        (EIGHT.astype(np.int64), EIGHT.astype(np.int64), {}, 'int64 .*data_range'),
        (EIGHT, EIGHT, {'data_range': 0}, 'data_range .*0'),
        (EIGHT, EIGHT, {'data_range': 'geuss'}, 'geuss'),
        (EIGHT, EIGHT, {'input_order': 'WHC'}, 'WHC'),
        (UNIT, UNIT, {'test_y_channel': True}, '8-bit'),
        (EIGHT[..., :2], EIGHT[..., :2], {'test_y_channel': True}, '3 channels.* 2'),
        (torch.zeros(2, 3, 16, 16), torch.zeros(2, 3, 16, 16), {}, 'batch'),
        (EIGHT.tolist(), EIGHT, {}, r'first image .*\blist\b'),
        (EIGHT > 3, EIGHT > 3, {}, r'first image .*\bbool\b'),
        (EIGHT[None], EIGHT[None], {}, r'\(1, 16, 16, 3\)'),
    ],
)
def test_bad_input_is_named(function, first, second, options, message):
    with pytest.raises(MetricError, match=message):
        function(first, second, **options)


def test_bad_input_of_single_metrics():
    with pytest.raises(MetricError, match=r'11 pixels.* 10 x 16'):
        calculate_ssim(EIGHT[:10], EIGHT[:10], ssim3d=False)
    with pytest.raises(MetricError, match=r'11 pixels.* 8 x 8'):
        calculate_ssim(EIGHT, EIGHT, crop_border=4, test_y_channel=True, luma_border='valid')
    with pytest.raises(MetricError, match='luma_border'):
        calculate_ssim(EIGHT, EIGHT, luma_border='same')
    with pytest.raises(MetricError, match=r'\(lq\).*\(15, 16, 3\)'):
        calculate_mcr(EIGHT, EIGHT, EIGHT[:15])
    with pytest.raises(TypeError, match='crop_boarder'):
        calculate_psnr(EIGHT, EIGHT, crop_boarder=4)


def test_inputs_are_left_as_they_are():
    images = [image.astype(np.float64) / 255 for image in random_pair()]
    copies = [image.copy() for image in images]
    calculate_ssim(*images)
    calculate_psnr(*images)
    for image, copy in zip(images, copies, strict=True):
        np.testing.assert_array_equal(image, copy)
