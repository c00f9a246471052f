"""Metrics as an evaluation uses them: records, option blocks, sums over images and processes, files."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from basicsr.images.files import imread, tensor2img
from basicsr.metrics import (
    Accumulator,
    Record,
    Score,
    average,
    build_metric,
    calculate_metric,
    calculate_psnr,
    calculate_ssim,
)
from basicsr.utils.errors import ArgumentError, ImageFileError, MetricError, ShapeError, UnknownNameError
from basicsr.utils.registry import METRIC_REGISTRY

ROOT = Path(__file__).resolve().parents[2]
NAMES = ('psnr', 'ssim', 'ssim_2d', 'ssim_y', 'mcr', 'psnr_float', 'ssim_skimage', 'psnr_realblur', 'ssim_realblur')


def record(seed: int = 0, size: tuple[int, int] = (40, 48)) -> Record:
    rng = np.random.default_rng(seed)
    gt = cv2.GaussianBlur(rng.integers(0, 256, (*size, 3), dtype=np.uint8), (0, 0), 2)
    gt = cv2.normalize(gt, None, 0, 255, cv2.NORM_MINMAX)
    output = (gt / 255 + rng.normal(0, 0.02 * (seed + 1), gt.shape)).astype(np.float32)
    rounded = (output.clip(0, 1) * 255).round().astype(np.uint8)
    return Record(output=output, output_uint8=rounded, gt=gt, lq=cv2.GaussianBlur(gt, (0, 0), 1))


@pytest.mark.parametrize('name', NAMES)
def test_every_metric_scores_a_record_and_names_what_is_missing(name):
    metric = build_metric({'type': name})
    score = metric(record())
    assert metric.name == name
    assert np.isfinite(score.value)
    assert metric.unit in ('dB', '', '%')
    assert metric.higher_is_better == (name != 'mcr')
    assert metric.variant
    for field in metric.reads:
        rest = {key: getattr(record(), key) for key in metric.reads if key != field}
        with pytest.raises(MetricError, match=f"{name} .*'{field}'"):
            metric(Record(**rest))


def test_psnr_before_rounding_clamps_the_output():
    gt = np.repeat(np.array([[[0], [255]]], np.uint8), 3, axis=2)
    output = np.repeat(np.array([[[-3.0], [0.5]]], np.float32), 3, axis=2)
    assert build_metric({'type': 'psnr_float'})(Record(output=output, gt=gt)).value == pytest.approx(9.0309, abs=1e-4)
    output[0, 1] = 7
    assert build_metric({'type': 'psnr_float'})(Record(output=output, gt=gt)).marks == ('infinite',)


@pytest.mark.parametrize('name', ['psnr', 'ssim', 'ssim_y'])
def test_records_are_rgb_where_the_functions_are_bgr(name):
    one = record()
    function = calculate_psnr if name == 'psnr' else calculate_ssim
    bgr = (one.output_uint8[..., ::-1], one.gt[..., ::-1])
    options = {} if name == 'ssim_y' else {'test_y_channel': True}
    assert build_metric({'type': name, **options})(one).value == function(*bgr, test_y_channel=True)


@pytest.mark.parametrize(
    ('ours', 'original'),
    [
        ({'type': 'psnr'}, {'type': 'calculate_psnr', 'crop_border': 0, 'test_y_channel': False}),
        ({'type': 'psnr', 'crop_border': 3}, {'type': 'calculate_psnr', 'crop_border': 3, 'input_order': 'HWC'}),
        ({'type': 'ssim'}, {'type': 'calculate_ssim', 'crop_border': 0, 'test_y_channel': False}),
        ({'type': 'ssim_2d'}, {'type': 'calculate_ssim', 'crop_border': 0, 'ssim3d': False}),
        ({'type': 'ssim_y'}, {'type': 'calculate_ssim', 'crop_border': 0, 'test_y_channel': True}),
        ({'type': 'mcr', 'threshold': 1}, {'type': 'calculate_mcr', 'threshold': 1}),
    ],
)
def test_both_names_of_a_metric_agree_on_records_and_dicts(ours, original):
    one = record(3)
    images = {'img': one.output_uint8[..., ::-1], 'img2': one.gt[..., ::-1], 'lq': one.lq[..., ::-1]}
    values = [calculate_metric(data, opt) for data in (one, images) for opt in (ours, original)]
    assert values == pytest.approx([values[0]] * 4, rel=1e-12)
    planes = {key: image.transpose(2, 0, 1) for key, image in images.items()}
    assert calculate_metric(planes, {**ours, 'input_order': 'CHW'}) == pytest.approx(values[0], rel=1e-12)


def test_option_blocks_are_checked_and_left_as_they_are():
    opt = {'type': 'calculate_psnr', 'crop_border': 0, 'input_order': 'HWC'}
    copy = dict(opt)
    build_metric(opt)
    calculate_metric(record(), opt)
    assert opt == copy
    with pytest.raises(ArgumentError, match='crop_border'):
        build_metric({'type': 'psnr', 'crop_boarder': 4})
    with pytest.raises(ArgumentError, match='expected'):
        build_metric({'type': 'ssim', 'crop_border': 'four'})
    with pytest.raises(ArgumentError, match='type'):
        build_metric({'crop_border': 4})
    with pytest.raises(UnknownNameError, match='psnr'):
        build_metric({'type': 'psnrr'})
    with pytest.raises(MetricError, match='HWC'):
        build_metric({'type': 'calculate_psnr', 'input_order': 'CHW'})
    with pytest.raises(MetricError, match='img2'):
        calculate_metric({'img': record().gt}, {'type': 'psnr'})
    with pytest.raises(MetricError, match="'lq'"):
        calculate_metric({'img': record().gt, 'img2': record().gt}, {'type': 'calculate_mcr'})
    images = ('img', 'img2', 'lq')
    assert METRIC_REGISTRY.check({'type': 'calculate_ssim', 'data_range': 'guess'}, images)[1] == []


def test_nan_in_the_output_is_found_although_rounding_hides_it():
    one = record()
    broken = one.output.copy()
    broken[3, 4, 1] = np.nan
    with pytest.raises(MetricError, match=r'output .* 1 NaN'):
        build_metric({'type': 'psnr'})(Record(output=broken, output_uint8=one.output_uint8, gt=one.gt))


@pytest.mark.vectors
def test_defocus_metrics_as_in_lakdnet(vector):
    case = vector('lakdnet', 'metrics')
    tolerance = case.meta['tolerance']
    for index in range(3):
        one = Record(output=case[f'in/pred_{index}'], gt=case[f'in/gt_{index}'])
        psnr, ssim = (build_metric({'type': name})(one).value for name in ('psnr_float', 'ssim_skimage'))
        assert psnr == pytest.approx(case['out/psnr'][index], abs=tolerance['psnr_atol'])
        assert ssim == pytest.approx(case['out/ssim'][index], abs=tolerance['ssim_atol'])


@pytest.mark.vectors
def test_scikit_image_defaults(vector):
    case = vector('metrics', 'image_pairs')
    column = case.meta['columns'].index('skimage_ssim_default')
    for row, name in enumerate(case.meta['rows']):
        img, gt = case[f'in/{name}/img'], case[f'in/{name.split("_")[0]}/gt']
        value = build_metric({'type': 'ssim_skimage'})(Record(output=img / 255, gt=gt)).value
        assert value == pytest.approx(case['out/values'][row, column], abs=case.meta['atol_per_column'][column])


def test_an_average_ignores_missing_scores_and_counts_infinite_ones():
    one = record()
    same = Record(output_uint8=one.gt, gt=one.gt)
    metric = build_metric({'type': 'psnr'})
    assert metric(same).marks == ('infinite',)
    total = average([metric(one).value, None, metric(same).value])
    assert (total.count, total.infinite, total.mean) == (2, 1, float('inf'))
    assert average([]).mean is None


def test_a_collapse_is_a_mark_on_the_score():
    gt = record().gt
    bad, good = (Record(output_uint8=output, gt=gt, lq=record().lq) for output in (255 - gt, gt))
    metric = build_metric({'type': 'mcr'})
    assert [(score.value, score.marks) for score in map(metric, (bad, good))] == [(100.0, ('collapsed',)), (0.0, ())]


@pytest.mark.vectors
def test_tensor2img_as_in_the_original(vector):
    case = vector('metrics', 'tensor2img')
    rgb, half, gray = (torch.from_numpy(case[f'in/{name}']) for name in ('rgb', 'half', 'gray'))
    np.testing.assert_array_equal(tensor2img(rgb), case['out/rgb_bgr'])
    np.testing.assert_array_equal(tensor2img(rgb, rgb2bgr=False), case['out/rgb_rgb'])
    np.testing.assert_array_equal(tensor2img(half), case['out/half'])
    np.testing.assert_array_equal(tensor2img([gray, gray[0, 0]])[1], case['out/gray'])


def test_tensor2img_ranges_and_errors():
    values = torch.tensor([[-2.0, 0.0, 1.0, float('nan')]])
    assert tensor2img(values, min_max=(-1, 1)).tolist() == [[0, 128, 255, 0]]
    assert tensor2img(values.bfloat16(), out_type=np.uint16).tolist() == [[0, 0, 65535, 0]]
    assert tensor2img(values / 2, out_type=np.float32).tolist() == [[0.0, 0.0, 0.5, 0.0]]
    with pytest.raises(ShapeError, match='list'):
        tensor2img(torch.zeros(2, 3, 4, 4))
    with pytest.raises(ShapeError, match=r'\(2, 4, 4\)'):
        tensor2img(torch.zeros(2, 4, 4))


def test_images_are_read_as_rgb_with_their_depth(tmp_path):
    rng = np.random.default_rng(0)
    for dtype in (np.uint8, np.uint16):
        rgb = rng.integers(0, np.iinfo(dtype).max, (5, 7, 3), dtype=dtype)
        cv2.imwrite(str(tmp_path / 'rgb.png'), rgb[..., ::-1])
        cv2.imwrite(str(tmp_path / 'gray.png'), rgb[..., 0])
        cv2.imwrite(str(tmp_path / 'alpha.png'), np.dstack([rgb[..., ::-1], rgb[..., :1]]))
        np.testing.assert_array_equal(imread(tmp_path / 'rgb.png'), rgb)
        np.testing.assert_array_equal(imread(tmp_path / 'gray.png'), rgb[..., :1])
        np.testing.assert_array_equal(imread(tmp_path / 'alpha.png'), rgb)
        np.testing.assert_array_equal(imread(tmp_path / 'gray.png', channels=3), rgb[..., [0, 0, 0]])
        assert imread(tmp_path / 'rgb.png', channels=1).shape == (5, 7, 1)


@pytest.mark.parametrize(
    'kind', ['missing', 'folder', 'empty', 'text', 'cut.png', 'cut.jpg', 'flipped.png', 'float.tiff']
)
def test_files_that_are_no_images_are_named(kind, tmp_path):
    path = tmp_path / kind
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    if kind == 'folder':
        path.mkdir()
    elif kind == 'float.tiff':
        cv2.imwrite(str(path), image.astype(np.float32))
    elif kind != 'missing':
        data = b'' if kind == 'empty' else b'no image'
        if '.' in kind:
            data = cv2.imencode(path.suffix, image)[1].tobytes()
            middle = len(data) // 2
            flipped = data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :]
            data = data[:middle] if kind.startswith('cut') else flipped
        path.write_bytes(data)
    with pytest.raises(ImageFileError, match=re.escape(str(path))):
        imread(path)


def test_the_gain_over_the_input_is_never_infinite():
    rng = np.random.default_rng(0)
    gt = rng.integers(0, 256, (12, 16, 3)).astype(np.uint8)
    worse = np.where(gt > 127, gt - 9, gt + 9).astype(np.uint8)
    gray = np.concatenate([worse, worse[..., :1]], axis=2)  # with the plane of the CAT method
    better = np.where(gt > 127, gt - 3, gt + 3).astype(np.uint8)
    metric = build_metric({'type': 'psnr_gain'})
    assert metric(Record(output_uint8=better, gt=gt, lq=gray)).value == pytest.approx(20 * np.log10(3))
    rounding = 20 * np.log10(255) + 10 * np.log10(12)
    assert metric(Record(output_uint8=gt, gt=gt, lq=gt)).value == 0
    assert metric(Record(output_uint8=worse, gt=gt, lq=gt)).value == pytest.approx(20 * np.log10(255 / 9) - rounding)


@pytest.mark.parametrize('name', NAMES)
def test_an_accumulator_is_the_plain_mean(name):
    metric = build_metric({'type': name})
    records = [record(seed) for seed in range(4)]
    whole, half = Accumulator(metric), Accumulator(metric)
    scores = [whole.update(one).value for one in records[:2]]
    scores += [half.update(one).value for one in records[2:]]
    whole.merge(half.state())
    assert whole.count == 4
    assert whole.average == average(reversed(scores)) and whole.sum == whole.average.sum
    assert whole.compute() == pytest.approx(np.mean(scores), rel=1e-14)


def test_an_accumulator_counts_marks():
    one = record()
    same = Record(output_uint8=one.gt, gt=one.gt)
    total = Accumulator(build_metric({'type': 'psnr'}))
    total.update(one)
    assert total.update(same).marks == ('infinite',)
    assert total.marks == {'infinite': 1}
    assert total.compute() == float('inf')


def test_an_accumulator_refuses_what_would_spoil_the_mean():
    total = Accumulator(build_metric({'type': 'psnr'}))
    with pytest.raises(MetricError, match=r'psnr: .*image'):
        total.compute()
    with pytest.raises(MetricError, match=r'psnr: .*NaN'):
        total.add(Score(float('nan')))
    with pytest.raises(MetricError, match='strange'):
        total.add(Score(1.0, ('strange',)))
    with pytest.raises(MetricError, match='strange'):
        total.merge([Score(1.0, ('strange',))])
    assert total.count == 0


WORKER = """
import sys
import torch.distributed as dist
from basicsr.metrics import Accumulator, Score, build_metric
from basicsr.utils.errors import MetricError
rank, world, file = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
dist.init_process_group('gloo', init_method=f'file://{file}', rank=rank, world_size=world)
total = Accumulator(build_metric({'type': 'psnr_realblur'}))
for index in range(5):
    if index % 2 == rank:
        total.add(Score(20.0 + index ** 2, ('not_aligned',) if index > 2 else ()))
total.sync()
try:
    total.sync()
except MetricError:
    print(total.count, total.compute(), total.marks['not_aligned'], total.marks['infinite'])
dist.destroy_process_group()
"""


@pytest.mark.slow
@pytest.mark.parametrize('world', [2, 3])
def test_sums_and_counts_add_over_processes(world, tmp_path):
    """The third of three processes has no image."""
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'GLOO_SOCKET_IFNAME': 'lo'}
    command = [sys.executable, '-c', WORKER]
    processes = [
        subprocess.Popen(
            [*command, str(rank), str(world), str(tmp_path / 'store')],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]
    for process in processes:
        output, errors = process.communicate(timeout=100)
        assert output.split() == ['5', '26.0', '2', '0'], errors
