"""basicsr/test.py and table1.py as people run them: scores, shares of processes, what is refused, shipped options."""

from __future__ import annotations

import gc
import importlib
import json
import math
import os
import subprocess
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
import yaml

from basicsr.evaluation.scoring import evaluate as score_all
from basicsr.evaluation.scoring import helpers_of, record_of
from basicsr.evaluation.testing import metrics_of
from basicsr.images.files import imread
from basicsr.inference.baselines import Outcome, deconvolved_by_richardson_lucy, sharpened
from basicsr.inference.restoring import Restored
from basicsr.metrics import Metric, Score, build_metric, calculate_psnr, calculate_ssim
from basicsr.options import load_options
from basicsr.options.schema_train import ValOptions
from basicsr.reporting import read_report
from basicsr.reporting.published import METHODS, SETS, published_scores
from basicsr.training.distributed import Processes
from basicsr.utils.errors import DataError, MetricError, OptionError, WeightsError
from basicsr.utils.measure import timed
from basicsr.weights.files import read_weights
from tests.helpers.evaluations import NETWORK, write_network, write_pairs
from tests.helpers.project import ROOT

evaluate = importlib.import_module('basicsr.test').main


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Five pairs, a network and an option file, in the working directory."""
    monkeypatch.chdir(tmp_path)
    write_pairs(tmp_path / 'data', [f'image {i}' for i in range(5)])
    write_network(tmp_path / 'net.pth', NETWORK)
    options = {
        'name': 'trial',
        'datasets': {
            'test': {
                'name': 'noise',
                'type': 'PairedImageGroupMaskDataset',
                'dataroot_gt': 'data/target',
                'dataroot_lq': 'data/input',
                'dataroot_mask': 'data/grouped_masks',
            }
        },
        'network_g': NETWORK,
        'path': {'pretrain_network_g': 'net.pth'},
        'val': {
            'save_img': True,
            'metrics': {'psnr': {'type': 'psnr'}, 'ssim': {'type': 'ssim'}, 'm': {'type': 'mcr'}},
        },
    }
    (tmp_path / 'trial.yml').write_text(yaml.safe_dump(options))
    return tmp_path


def test_baselines_are_scored_by_the_code_of_the_benchmark(place, capsys):
    assert evaluate(['-opt', 'trial.yml', '--baselines', 'usm', 'rl', '--output', 'with']) == 0
    report = read_report(place / 'with/noise.json')
    assert report.baselines == ('unsharp mask', 'Richardson-Lucy')
    for name, method in (('unsharp mask', sharpened), ('Richardson-Lucy', deconvolved_by_richardson_lucy)):
        for row in report.rows:
            gt, lq = (imread(place / 'data' / kind / f'{row.name}.png') for kind in ('target', 'input'))
            output = np.rint(method(lq.astype(np.float32) / 255).clip(0, 1) * 255).astype(np.uint8)
            assert row.baselines[name]['psnr'] == pytest.approx(calculate_psnr(output, gt, 0), abs=1e-9)
            assert row.baselines[name]['mcr'] == 0
    lines = [
        line.split('  ')[0]
        for line in capsys.readouterr().out.splitlines()
        if line.startswith(('bl', 'un', 'Ri', 'tr'))
    ]
    assert lines == ['blurred input', 'unsharp mask', 'Richardson-Lucy', 'trial']
    head = (place / 'with/noise.csv').read_text().splitlines()[0].split(',')
    assert head[-4:] == ['psnr_unsharp_mask', 'ssim_unsharp_mask', 'psnr_richardson-lucy', 'ssim_richardson-lucy']
    assert evaluate(['-opt', 'trial.yml']) == 0
    assert read_report(place / 'results/trial/noise.json').baselines == ()


def test_all_baselines_run_on_16_bit_images(place):
    for kind in ('input', 'target'):
        for path in (place / 'data' / kind).iterdir():
            cv2.imwrite(str(path), cv2.imread(str(path)).astype(np.uint16) * 257)
    assert evaluate(['-opt', 'trial.yml', '--baselines', '--force_yml', 'val:max_images=1']) == 0
    (row,) = read_report(place / 'results/trial/noise.json').rows
    assert set(row.baselines) == {'unsharp mask', 'Richardson-Lucy', 'blur kernels'}
    assert row.baselines['blur kernels'] == row.input_scores  # too small for kernels, so unchanged
    assert sharpened(np.full((9, 9, 1), 0.5, np.float32)).shape == (9, 9, 1)
    flat = deconvolved_by_richardson_lucy(np.full((9, 9, 1), 0.5, np.float32))
    assert flat == pytest.approx(np.full((9, 9, 1), 0.5), abs=1e-3)


def test_scores_are_those_of_the_pictures_written(place, capsys):
    assert evaluate(['-opt', 'trial.yml']) == 0
    report = read_report(place / 'results/trial/noise.json')
    assert [row.name for row in report.rows] == [f'image {i}' for i in range(5)]
    for row in report.rows:
        output = imread(place / 'results/trial/visualization/noise' / f'{row.name}.png')
        gt, lq = (imread(place / 'data' / kind / f'{row.name}.png') for kind in ('target', 'input'))
        assert row.scores['psnr'] == pytest.approx(calculate_psnr(output, gt, 0), abs=1e-9)
        assert row.scores['ssim'] == pytest.approx(calculate_ssim(output, gt, 0), abs=1e-9)
        assert row.input_scores['psnr'] == pytest.approx(calculate_psnr(lq, gt, 0), abs=1e-9)
        assert row.collapsed == (row.input_scores['psnr'] - row.scores['psnr'] > 3)
        assert row.seconds > 0 and not row.tiled
    assert report.facts.checkpoint_sha256 and (report.facts.run, report.facts.network) == ('trial', 'SegNAFNet')
    table = capsys.readouterr().out
    mean = np.mean([row.scores['psnr'] for row in report.rows])
    assert f'{mean:.2f}' in table and 'blurred input' in table and 'results/trial/gallery.html' in table
    assert (place / 'results/trial/gallery.html').is_file() and (place / 'results/trial/summary.md').is_file()


def test_images_restored_together_score_as_alone(place):
    write_pairs(place / 'data', ['large'], size=(40, 72))
    for folder, more in (('alone', []), ('together', ['--force_yml', 'val:batch_size=4'])):
        assert evaluate(['-opt', 'trial.yml', '--output', folder, *more]) == 0
    alone, together = (read_report(place / folder / 'noise.json') for folder in ('alone', 'together'))
    assert [row.name for row in together.rows] == [row.name for row in alone.rows]
    for one, other in zip(alone.rows, together.rows, strict=True):
        assert (other.height, other.width) == (one.height, one.width)
        for label, value in one.scores.items():
            assert other.scores[label] == pytest.approx(value, abs=1e-3)


def test_images_that_do_not_fit_together_are_restored_one_by_one():
    class Small:
        prior, calls, held = 'none', [], []

        def restore(self, batch, options):
            self.calls.append(len(batch['lq']))
            if len(batch['lq']) > 1:
                large = torch.zeros(1000)
                self.held.append(weakref.ref(large))
                raise torch.OutOfMemoryError('CUDA out of memory')
            gc.collect()
            assert all(held() is None for held in self.held)  # the error no longer holds what did not fit
            return Restored(batch['lq'])

    items = [{key: torch.full((3, 16, 20), value, dtype=torch.uint8) for key in ('lq', 'gt')} for value in range(5)]
    items[3] = {key: torch.zeros((3, 20, 16), dtype=torch.uint8) for key in ('lq', 'gt')}
    model, options = Small(), ValOptions(batch_size=3)
    metrics = {'psnr': build_metric({'type': 'psnr'})}
    found = list(score_all(model, items, metrics, Processes(), options))
    assert [image.row.index for image in found] == [0, 1, 2, 3, 4]
    assert model.calls == [3, 1, 1, 1, 1, 1] and all(image.row.scores['psnr'] == math.inf for image in found)


def test_the_seconds_of_a_gpu_are_those_of_the_network(monkeypatch):
    """Events on the stream of the network; nobody waits for the metrics of other images on other streams."""
    log = []

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self, stream):
            log.append(f'record on {stream}')

        def synchronize(self):
            log.append('wait')

        def elapsed_time(self, end):
            return 250.0

    monkeypatch.setattr(torch.cuda, 'current_stream', lambda device: f'stream of {device}')
    monkeypatch.setattr(torch.cuda, 'Event', Event)
    monkeypatch.setattr(torch.cuda, 'synchronize', lambda device=None: log.append('wait for all'))
    assert timed(lambda: log.append('network') or 7, torch.device('cuda:1')) == (7, 0.25)
    assert log == ['record on stream of cuda:1', 'network', 'record on stream of cuda:1', 'wait']
    result, seconds = timed(lambda: 7, torch.device('cpu'))
    assert result == 7 and seconds >= 0


def test_floats_of_the_input_are_computed_for_the_metrics_that_read_them():
    class Notes(Metric):
        name, variant, seen = 'notes', 'notes', []

        def score(self, record):
            self.seen.append(record.output is not None)
            return Score(1.0)

    class Floats(Notes):
        reads, seen = ('output', 'gt'), []

    model = SimpleNamespace(prior='none', restore=lambda batch, options: Restored(batch['lq']))
    items = [{key: torch.zeros((3, 16, 20), dtype=torch.uint8) for key in ('lq', 'gt')}]
    for metrics, expected in (([Notes()], [False]), ([Notes(), Floats()], [True])):
        Notes.seen.clear()
        named = {str(number): metric for number, metric in enumerate(metrics)}
        assert len(list(score_all(model, items, named, Processes(), ValOptions(), with_input=True))) == 1
        assert Notes.seen[1:] == expected


def test_baselines_have_all_scores_but_that_of_the_estimated_kernel(place):
    metrics = {'psnr': {'type': 'psnr'}, 'gain': {'type': 'psnr_gain'}, 'best': {'type': 'psnr_best_shift'}}
    metrics['best'] |= {'crop_border': 6}
    force = yaml.safe_dump(metrics, default_flow_style=True, width=10**6).strip()
    assert evaluate(['-opt', 'trial.yml', '--baselines', 'usm', '--force_yml', f'val:metrics={force}']) == 0
    for row in read_report(place / 'results/trial/noise.json').rows:
        scores = row.baselines['unsharp mask']
        assert set(scores) == {'psnr', 'gain', 'best', 'ssim', 'mcr'}
        assert scores['gain'] == pytest.approx(scores['psnr'] - row.input_scores['psnr'])
        assert 'gain' not in row.input_scores  # always 0


def test_baselines_of_images_with_kernels_have_error_ratios():
    class Net:
        prior = 'none'

        def restore(self, batch, options):
            return Restored(batch['lq'], kernel=torch.full((1, 5, 5), 0.04))

    rng = torch.Generator().manual_seed(0)
    images = {key: torch.randint(0, 256, (3, 48, 56), dtype=torch.uint8, generator=rng) for key in ('lq', 'gt')}
    item = {**images, 'kernel': torch.full((5, 5), 0.04)}
    types = {'ratio': 'error_ratio', 'kernel': 'kernel_similarity'}
    metrics = {label: build_metric({'type': kind}) for label, kind in types.items()}
    how = {'with_input': True, 'baselines': {'same': lambda image: Outcome(image, 'input')}}
    (done,) = score_all(Net(), [item], metrics, Processes(), ValOptions(), **how)
    assert done.row.scores['kernel'] == pytest.approx(1)
    assert done.row.baselines['same'] == done.row.input_scores == {'ratio': pytest.approx(done.row.scores['ratio'])}


@pytest.mark.parametrize('options', [{'tile': 64}, {'grids': True, 'crop_size_h': 64, 'crop_size_w': 64}])
def test_tiles_and_batches_contradict(options):
    with pytest.raises(ValueError, match='batch_size'):
        ValOptions(batch_size=2, **options)


@pytest.mark.parametrize('deep', ['target', 'input'])
def test_a_pair_of_different_depths_is_scored_as_one_of_sixteen_bits(place, deep):
    """What check_data accepts: v / 255 = 257 v / 65535."""
    assert evaluate(['-opt', 'trial.yml', '--output', 'eight']) == 0
    for path in (place / 'data' / deep).iterdir():
        cv2.imwrite(str(path), cv2.imread(str(path)).astype(np.uint16) * 257)
    assert evaluate(['-opt', 'trial.yml', '--output', 'mixed']) == 0
    eight, mixed = (read_report(place / folder / 'noise.json') for folder in ('eight', 'mixed'))
    for before, after in zip(eight.rows, mixed.rows, strict=True):
        assert after.input_scores['psnr'] == pytest.approx(before.input_scores['psnr'], abs=1e-9)
        assert after.input_scores['ssim'] == pytest.approx(before.input_scores['ssim'], abs=1e-6)
        output = imread(place / 'mixed/visualization/noise' / f'{after.name}.png')
        gt = imread(place / 'data/target' / f'{after.name}.png')
        gt = gt if gt.dtype == np.uint16 else gt.astype(np.uint16) * 257
        assert output.dtype == np.uint16
        assert after.scores['psnr'] == pytest.approx(calculate_psnr(output, gt, 0), abs=1e-9)
        assert after.scores['psnr'] == pytest.approx(before.scores['psnr'], abs=0.05)  # rounded to 8 bits or to 16


@pytest.mark.parametrize(
    ('listed', 'labels'),
    [
        ({}, ['psnr', 'ssim', 'mcr']),
        ({'psnr': {'type': 'psnr'}, 'ssim': {'type': 'ssim'}}, ['psnr', 'ssim', 'mcr']),
        ({'rate': {'type': 'mcr', 'threshold': 1.0}, 'y': {'type': 'ssim_y'}}, ['mcr', 'y', 'psnr', 'ssim']),
        ({'p': {'type': 'calculate_psnr', 'crop_border': 4}}, ['p', 'ssim', 'mcr']),
        ({'psnr': {'type': 'psnr_float'}}, ['psnr', 'psnr_default', 'ssim', 'mcr']),
    ],
    ids=lambda value: '-'.join(value),
)
def test_psnr_ssim_and_mcr_are_always_reported(place, capsys, listed, labels):
    options = yaml.safe_load(Path('trial.yml').read_text())
    options |= {'mode': 'default', 'val': {'metrics': listed, 'max_images': 2}}
    Path('trial.yml').write_text(yaml.safe_dump(options))
    assert evaluate(['-opt', 'trial.yml']) == 0
    report = read_report(place / 'results/trial/noise.json')
    assert [definition.label for definition in report.definitions] == labels
    for label in labels:
        assert report.average(label).count == report.input_average(label).count == 2
    ours = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith(('trial', 'blurred'))]
    assert [line[0] for line in ours] == ['blurred', 'trial'] and ours[1][1] == '2'
    rates = [' '.join(line) for line in ours]
    assert '0.00 (0 of 2)' in rates[0] and ' of 2)' in rates[1]


def test_metrics_that_are_added_follow_the_mode_of_the_option_file(place):
    for mode, data_range in (('default', None), ('reference', 'guess')):
        options = load_options(place / 'trial.yml', [f'mode={mode}', 'val:metrics={}', 'val:use_image=false'])
        metrics = metrics_of(options)
        assert [metrics[name].data_range for name in ('psnr', 'ssim', 'mcr')] == [data_range] * 3
        assert metrics['psnr'].variant == 'PSNR before rounding'


def test_the_label_of_the_mode_collapse_rate_is_its_own(place, caplog):
    """A table would show another metric under it as shares of collapsed images."""
    for more in ([], ['val:metrics:rate:type=mcr']):
        options = load_options(place / 'trial.yml', ['val:metrics:mcr:type=psnr', *more])
        with pytest.raises(OptionError, match=r'val\.metrics\.mcr: .*psnr'):
            metrics_of(options)
    options = load_options(place / 'trial.yml', ['val:metrics:n:type=mcr', 'val:metrics:n:threshold=1.0'])
    assert metrics_of(options)['mcr'].threshold == 1.0
    assert 'val.metrics.n: ' in caplog.text


def test_a_collapse_is_counted_and_named(place):
    write_network(place / 'net.pth', NETWORK, residual=3.0)
    assert evaluate(['-opt', 'trial.yml', '--force_yml', 'val:max_images=3', 'val:save_img=false']) == 0
    report = read_report(place / 'results/trial/noise.json')
    assert [row.collapsed for row in report.rows] == [True] * 3
    assert '100.00 (3 of 3)' in (place / 'results/trial/summary.md').read_text()
    assert not (place / 'results/trial/visualization').exists()


@pytest.mark.slow
@pytest.mark.parametrize('world', [2, 3])
def test_processes_share_the_images_and_agree_with_one(place, world):
    assert evaluate(['-opt', 'trial.yml', '--output', 'alone']) == 0
    command = [
        '-m',
        'torch.distributed.run',
        '--standalone',
        f'--nproc_per_node={world}',
        str(ROOT / 'basicsr/test.py'),
    ]
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''}
    done = subprocess.run(
        [sys.executable, *command, '-opt', 'trial.yml', '--launcher', 'pytorch', '--output', 'shared'],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    one, many = (read_report(place / folder / 'noise.json') for folder in ('alone', 'shared'))
    assert [(row.index, row.scores, row.input_scores) for row in one.rows] == [
        (row.index, row.scores, row.input_scores) for row in many.rows
    ]
    assert done.stdout.count('blurred input') == 1
    assert len(list((place / 'shared/visualization/noise').iterdir())) == 5


@pytest.mark.slow
def test_more_processes_than_images(place):
    command = ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2', str(ROOT / 'basicsr/test.py')]
    options = ['-opt', 'trial.yml', '--launcher', 'pytorch', '--force_yml', 'val:max_images=1']
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''}
    subprocess.run([sys.executable, *command, *options], env=environment, check=True, capture_output=True)
    assert len(read_report(place / 'results/trial/noise.json').rows) == 1


def test_an_image_that_cannot_be_read_stops_or_is_left_out(place, capsys):
    (place / 'data/input/image 2.png').write_bytes(b'\x89PNG\r\n')
    with pytest.raises(OSError, match=r'input/image 2\.png'):
        evaluate(['-opt', 'trial.yml'])
    assert not (place / 'results/trial/noise.json').exists()
    assert evaluate(['-opt', 'trial.yml', '--force_yml', 'val:on_bad_image=skip']) == 1
    report = read_report(place / 'results/trial/noise.json')
    assert [row.index for row in report.rows] == [0, 1, 3, 4]
    assert list(report.skipped) == ['image 2']
    assert 'skipped: image 2: ' in capsys.readouterr().out


def test_the_very_first_image_may_be_left_out(place):
    (place / 'data/input/image 0.png').write_bytes(b'')
    assert evaluate(['-opt', 'trial.yml', '--force_yml', 'val:on_bad_image=skip', 'val:save_img=false']) == 1
    report = read_report(place / 'results/trial/noise.json')
    assert [row.index for row in report.rows] == [1, 2, 3, 4]
    assert list(report.skipped) == ['image 0'] and report.average('psnr').count == 4


def test_images_without_ground_truth_are_restored_but_not_scored(place):
    single = '{name: noise, type: SingleImageDataset, dataroot_lq: data/input, dataroot_mask: data/grouped_masks}'
    assert evaluate(['-opt', 'trial.yml', '--force_yml', f'datasets={{test: {single}}}']) == 0
    report = read_report(place / 'results/trial/noise.json')
    assert all(row.scores == {} and row.collapsed is None for row in report.rows)
    assert len(list((place / 'results/trial/visualization/noise').iterdir())) == 5


def test_tiles_are_marked_and_grids_work(place):
    for force, tiled in (
        ('val:tile=400', False),
        ('val:grids=true val:crop_size_h=20 val:crop_size_w_ratio=0.5', True),
    ):
        assert evaluate(['-opt', 'trial.yml', '--force_yml', *force.split()]) == 0
        assert {row.tiled for row in read_report(place / 'results/trial/noise.json').rows} == {tiled}


def test_what_cannot_be_evaluated_is_refused(place):
    def refused(error, match, *force):
        with pytest.raises(error, match=match):
            evaluate(['-opt', 'trial.yml', '--force_yml', *force])

    refused(OptionError, r'pretrain_network_g: no weights', 'path:pretrain_network_g=null')
    refused(OptionError, 'no such file: x.pth', 'path:pretrain_network_g=x.pth')
    train = '{train: {name: b, type: SyntheticBlurDataset}}'
    refused(OptionError, 'nothing to evaluate', f'datasets={train}')
    plain = '{name: b, type: PairedImageDataset, dataroot_gt: data/target, dataroot_lq: data/input}'
    refused(OptionError, 'needs region masks', f'datasets={{test: {plain}}}')
    write_network(place / 'net.pth', NETWORK, residual=float('nan'))
    refused(WeightsError, 'NaN', 'val:max_images=2')
    write_network(place / 'net.pth', NETWORK)
    for path in (place / 'data/input').iterdir():
        path.unlink()
    refused(DataError, 'data/input: no files of type', 'val:max_images=1')


def test_the_mask_value_of_the_file_counts_where_the_options_name_none(place):
    write_network(place / 'net.pth', {**NETWORK, 'mask_value': 0.25})
    assert read_weights(place / 'net.pth').mask_value == 0.25
    assert evaluate(['-opt', 'trial.yml', '--force_yml', 'val:max_images=1']) == 0
    with pytest.raises(Exception, match='mask_value'):
        evaluate(['-opt', 'trial.yml', '--force_yml', 'network_g:mask_value=1.0'])


# the shipped option files

GRAY = {'GoPro': 'input_predict_mask'}
FOLDERS = {'GoPro': 'GoPro/test', 'RealBlurJ': 'RealBlurJ/test', 'REDS': 'REDS/val', 'ReLoBlur': 'ReLoBlur/test'}
SMALL = ['network_g:width=4', 'network_g:enc_blk_nums=[1]', 'network_g:dec_blk_nums=[1]']


@pytest.fixture
def stand_ins(tmp_path, monkeypatch):
    """Every data set with two pictures, and every network of the table, small."""
    monkeypatch.chdir(tmp_path)
    for dataset, folder in FOLDERS.items():
        write_pairs(tmp_path / 'datasets' / folder, ['a', 'b'], GRAY.get(dataset, 'input_mask'))
    for seed, method in enumerate(METHODS):
        block = load_options(ROOT / f'options/test/REDS/{method}.yml', SMALL).network_g.as_dict()
        write_network(tmp_path / 'experiments' / f'{method}-GoPro/models/net_g_latest.pth', block, seed=seed)
    return tmp_path


@pytest.mark.parametrize('dataset', SETS)
def test_shipped_files_run_with_what_training_leaves_behind(stand_ins, dataset):
    for method in METHODS:
        file = ROOT / f'options/test/{dataset}/{method}.yml'
        options = load_options(file)
        local = 'Local' if dataset == 'GoPro' else ''
        assert options.network_g.type == ('NAFNet' if method in ('NAFNet', 'CAT') else 'SegNAFNet') + local
        train = load_options(ROOT / f'options/train/GoPro/{method}.yml')
        assert options.path.pretrain_network_g == f'experiments/{train.name}/models/net_g_latest.pth'
        same = {'width', 'enc_blk_nums', 'dec_blk_nums', 'middle_blk_num', 'seg_channel', 'mask'}
        wanted, found = (o.network_g.arguments for o in (train, options))
        assert {k: v for k, v in wanted.items() if k in same} == {k: v for k, v in found.items() if k in same}
        assert evaluate(['-opt', str(file), '--force_yml', *SMALL]) == 0
        (report,) = (stand_ins / 'results' / f'{method}-{dataset}').glob('*.json')
        labels = {definition.label for definition in read_report(report).definitions}
        aligned = {'psnr_realblur', 'ssim_realblur'} if dataset == 'RealBlurJ' else set()
        assert labels == {'psnr', 'ssim', 'ssim_2d', 'mcr'} | aligned
    whole = load_options(ROOT / f'options/test/{dataset}.yml')
    assert whole.as_dict() == load_options(ROOT / f'options/test/{dataset}/SAMDeblur.yml').as_dict()


@pytest.mark.slow
def test_table1_puts_ours_beside_the_paper_and_marks_what_is_missing(stand_ins, monkeypatch):
    (stand_ins / 'experiments/CAT-GoPro/models/net_g_latest.pth').unlink()
    command = [sys.executable, str(ROOT / 'scripts/table1.py'), '--sets', 'REDS', 'GoPro', '--force_yml', *SMALL]
    for folder in (stand_ins / 'datasets/GoPro/test/input').iterdir():
        folder.unlink()
    (stand_ins / 'datasets/GoPro/test/input').rmdir()
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=stand_ins)
    lines = {tuple(line.split()[:2]): line for line in done.stdout.splitlines() if line.startswith(('REDS', 'GoPro'))}
    assert 'no weights / 26.65' in lines['REDS', 'CAT'] and 'no data / 32.83' in lines['GoPro', 'SAMDeblur']
    (row,) = (stand_ins / 'results/SAMDeblur-REDS').glob('*.json')
    mean = read_report(row).average('psnr').mean
    assert f'{mean:.2f} / 26.93 ({mean - 26.93:+.2f})' in lines['REDS', 'SAMDeblur']
    assert (stand_ins / 'results/table1.md').read_text().count('\n') == 10
    subprocess.run([*command, 'val:max_images=1'], capture_output=True, check=True, cwd=stand_ins)
    assert len(read_report(row).rows) == 1  # another number of images
    subprocess.run(command, capture_output=True, check=True, cwd=stand_ins)
    assert len(read_report(row).rows) == 2
    before = row.stat().st_mtime_ns
    subprocess.run(command, capture_output=True, check=True, cwd=stand_ins)
    assert row.stat().st_mtime_ns == before  # read, not made again
    block = load_options(ROOT / 'options/test/REDS/SAMDeblur.yml', SMALL).network_g.as_dict()
    write_network(stand_ins / 'experiments/SAMDeblur-GoPro/models/net_g_latest.pth', block, seed=9)
    subprocess.run(command, capture_output=True, check=True, cwd=stand_ins)
    assert row.stat().st_mtime_ns > before  # other weights
    done = subprocess.run([*command[:2], '--sets', 'REDSS'], capture_output=True, text=True, check=False, cwd=stand_ins)
    assert done.returncode == 1 and 'unknown REDSS; known: GoPro' in done.stderr


def test_published_scores_are_those_of_the_results_page():
    page = (ROOT / 'docs/results.md').read_text(encoding='utf-8')
    rows = [line.split('|') for line in page.splitlines() if line.count(' / 0.') >= 4 and '.yml' in line]
    assert len(rows) == 4
    for method, row in zip(METHODS, rows, strict=True):
        for dataset, cell in zip(SETS, row[3:7], strict=True):
            values = [float(text.strip().rstrip(' %')) for text in cell.split('/')]
            assert list(published_scores(method, dataset).values()) == values
    assert json.dumps(published_scores('CAT', 'ReLoBlur')) == '{"psnr": 29.77, "ssim": 0.882, "mcr": 58.73}'


def test_the_csv_has_a_line_an_image(place):
    assert evaluate(['-opt', 'trial.yml', '--force_yml', 'val:save_img=false']) == 0
    assert len((place / 'results/trial/noise.csv').read_text().splitlines()) == 1 + 5


def test_a_record_without_floats_has_the_same_rounded_output_and_knows_of_nan():
    batch = {'gt': torch.randint(0, 256, (1, 3, 8, 9), dtype=torch.uint8)}
    output = torch.rand(1, 3, 8, 9) * 1.2 - 0.1
    output[0, 0, 0, :4] = torch.tensor([0.5, 1.5, 2.5, 254.5]) / 255  # half to even
    with_floats, without = (record_of(batch, output, floats) for floats in (True, False))
    assert without.output is None and np.array_equal(with_floats.output_uint8, without.output_uint8)
    expected = np.rint(np.clip(output[0].numpy(), 0, 1).astype(np.float32) * np.float32(255)).transpose(1, 2, 0)
    assert np.array_equal(without.output_uint8, expected)
    metric = build_metric({'type': 'psnr'})
    assert metric(with_floats).value == metric(without).value
    output[0, 0, 0, 0] = torch.nan
    for floats in (True, False):
        with pytest.raises(MetricError, match='NaN'):
            metric(record_of(batch, output, floats))


def test_gpus_have_more_helpers_than_cpus(monkeypatch):
    monkeypatch.setattr('os.sched_getaffinity', lambda pid: set(range(32)), raising=False)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 8)
    assert helpers_of(Processes()) == (1, 2)
    assert helpers_of(Processes(world=8, device=torch.device('cuda'))) == (2, 4)
    assert helpers_of(Processes(device=torch.device('cuda'))) == (4, 8)
