"""The experiment on the mask prior: its arms, its data, its statistics, and one run from data to page."""

from __future__ import annotations

import csv
import json
import re
import shutil

import numpy as np
import pytest
import torch

from basicsr.archs import build_network
from basicsr.data import build_dataset
from basicsr.images.files import imwrite
from basicsr.options import load_options
from basicsr.reporting import scene_estimate, sign_flip_p_value
from basicsr.utils.errors import BasicsrError, DataError, ReportError
from benchmarks.prior import page
from benchmarks.prior.__main__ import RESULTS, main
from benchmarks.prior.arms import ARMS, SEEDS, Run, all_runs, first_weights, network_block, options_of
from benchmarks.prior.figure import Bar, draw
from benchmarks.prior.preparing import exchanged, scenes_of
from benchmarks.prior.running import complete
from benchmarks.prior.scenes import Crop, Motion, blurred, merged
from tests.helpers.project import ROOT


def test_runs_are_those_of_the_plan():
    runs = all_runs()
    assert len(runs) == len({run.name for run in runs}) == 36
    assert {run.arm.number for run in runs} == set(range(1, 11))
    assert {run.arm.number for run in runs if run.length == 'long'} == {1, 4, 7, 9, 10}
    assert {run.arm.number for run in runs if run.length == 'short'} == {1, 2, 3, 4, 5, 6, 8}
    assert [run.name for run in runs[:5]] == [f'arm{n:02d}-long-seed0' for n in (4, 7, 1, 9, 10)]


def test_arms_differ_by_what_their_titles_say(tmp_path):
    kinds = {}
    for arm in ARMS.values():
        net = build_network(network_block(arm))
        options = options_of(Run(arm, arm.lengths[0], 0), tmp_path, tmp_path / 'start.pth', 100)
        train = options['datasets']['train']
        kinds[arm.number] = type(net).__name__, getattr(net, 'mask_value', None), train.get('dataroot_mask', '')[-15:]
        assert {key: options[key] for key in ('manual_seed', 'train', 'logger')} == {
            key: options_of(Run(ARMS[1], 'short', 0), tmp_path, tmp_path / 'start.pth', 100)[key]
            for key in ('manual_seed', 'train', 'logger')
        }
    masks = {number: kind[2].rpartition('masks_')[2].removesuffix('.raw') for number, kind in kinds.items()}
    assert {n: kind[0] for n, kind in kinds.items()} == {1: 'NAFNetLocal', 2: 'NAFNetLocal'} | dict.fromkeys(
        range(3, 11), 'SAMDeblur'
    )
    assert [masks[n] for n in (1, 3, 4, 6, 7, 8, 9, 10)] == ['', *['true'] * 2, 'one', 'other', *['true'] * 2, 'other']
    assert kinds[8][1] == 1 / 255 and kinds[4][1] == kinds[9][1] == 1
    dropouts = {n: build_network(network_block(ARMS[n])).mask_dropout_in_data for n in (3, 4, 8, 9)}
    assert dropouts == {3: 0.0, 4: 0.5, 8: 0.5, 9: 0.5}
    assert build_network(network_block(ARMS[9])).energies is not None
    assert build_network(network_block(ARMS[4])).energies is None


@pytest.mark.parametrize('number', [2, 4, 9])
def test_arms_of_a_seed_start_with_the_same_weights(number):
    plain, net = first_weights(ARMS[1], 3).state_dict(), first_weights(ARMS[number], 3).state_dict()
    for key, value in plain.items():
        own = net[key if key in net else f'backbone.{key}']
        assert torch.equal(own[:, :3] if own.shape != value.shape else own, value), key
    other = first_weights(ARMS[1], 4).state_dict()
    assert not torch.equal(plain['intro.weight'], other['intro.weight'])


def test_an_arm_with_energies_starts_as_the_one_without_masks():
    lq, labels = torch.rand(1, 3, 96, 96), torch.randint(1, 4, (1, 1, 96, 96))
    plain, net = first_weights(ARMS[1], 0).eval(), first_weights(ARMS[9], 0).eval()
    torch.testing.assert_close(net(lq, labels), plain(lq), rtol=0, atol=1e-6)


def test_every_run_is_a_valid_option_file(tmp_path):
    import yaml

    for run in (Run(arm, arm.lengths[0], 1) for arm in ARMS.values()):
        file = tmp_path / f'{run.name}.yml'
        file.write_text(yaml.safe_dump(options_of(run, tmp_path, tmp_path / 'x.pth', 30)))
        assert load_options(file).name == run.name


def test_regions_merge_with_the_neighbour_of_the_most_similar_colour():
    labels = np.array([[5, 5, 5, 7, 2, 2]]).repeat(4, 0)
    image = np.zeros((4, 6, 3), np.uint8)
    image[:, 3], image[:, 4:] = 90, 100
    assert merged(labels, image, 2).tolist()[0] == [2, 2, 2, 1, 1, 1]
    assert merged(labels, image, 9).tolist()[0] == [2, 2, 2, 3, 1, 1]
    assert merged(labels, image, 1).max() == 1


def test_regions_move_on_their_own_and_the_crop_stays_the_same():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (64, 64, 3), np.uint8)
    labels = np.ones((64, 64), np.uint8)
    labels[:, 32:] = 2
    for seed in range(4):
        lq, gt = blurred(Crop(image, labels), 16, Motion(noise=0.0), np.random.default_rng(seed))
        assert np.array_equal(gt, image[16:48, 16:48])
        change = np.abs(lq.astype(int) - gt).mean((0, 2))
        assert change[[0, -1]].max() > 3  # one moves at least
    still = Motion(lengths=(0.0, 0.0), noise=0.0)
    assert np.array_equal(blurred(Crop(image, labels), 16, still, rng)[0], image[16:48, 16:48])
    noise = [blurred(Crop(image, labels), 16, Motion(gamma=g, noise=0.0), np.random.default_rng(1)) for g in (1.0, 2.2)]
    assert 0 < np.abs(noise[0][0].astype(int) - noise[1][0]).mean() < 60  # the same motion, another exponent


def test_masks_are_exchanged_between_scenes_with_as_many_regions():
    labels = [np.full((2, 2), count, np.uint8) for count in (2, 2, 3, 3, 2, 2)]
    partners = exchanged(labels, ['a'] * 6, ['x', 'x', 'x', 'y', 'y', 'z'])
    assert sorted(partners) == list(range(6))
    assert all(labels[a].max() == labels[b].max() for a, b in enumerate(partners))
    assert partners[2] == 3 and {partners[0], partners[1]} == {4, 5}
    with pytest.raises(DataError, match=r'3 of 4'):
        exchanged([labels[0]] * 4, ['a'] * 4, ['x', 'x', 'x', 'y'])


def results(gains):
    """Results of all long runs: two scenes of validation, one real one; gains in dB of arms over 20 dB."""
    runs = {}
    for (arm, seed), gain in gains.items():
        scores = {
            'same': {'a': [20 + gain, 22 + gain], 'b': [30 + 2 * gain]},
            'longer': {'a': [18 + gain], 'b': [19]},
            'gamma': {'a': [20 + gain], 'b': [21]},
            'real': {'r': [25 - gain]},
        }
        content = {'training_loss': -24.0, 'test_loss': -23.5, 'scores': scores, 'steps': 5}
        runs[arm, 'long', seed] = {**content, 'arm': arm, 'length': 'long', 'seed': seed}
    return page.Results(runs, {}, {})


def test_comparisons_by_hand():
    found = results({(4, 0): 1.0, (4, 1): 0.5, (7, 0): 0.5, (7, 1): 0.4, (1, 0): 0.0})
    inside = page.difference(found, 4, 7, page.PLACES['in distribution'])
    # scene a: 0.5 and 0.1, mean 0.3; scene b: twice
    by_hand = scene_estimate([[0.5, 1.0], [0.1, 0.2]])
    assert inside.mean == pytest.approx(0.45)
    assert (inside.low, inside.high) == pytest.approx((by_hand.low, by_hand.high))
    assert (inside.low, inside.high) == pytest.approx((0.3, 0.6))
    assert inside.by_seed == pytest.approx((0.75, 0.15)) and inside.scenes == 2
    assert inside.p_value == sign_flip_p_value([0.3, 0.6]) == 0.5
    outside = page.difference(found, 4, 1, page.PLACES['out of distribution'])
    # a scene in two sets counts once: a +1, b 0, r -1
    assert outside.mean == pytest.approx(0) and outside.scenes == 3 and outside.by_seed == pytest.approx((0,))
    assert page.difference(found, 9, 10, ['same']) is None
    # no other secondary comparison is known yet: all six count in the correction
    p_value = sign_flip_p_value([1.0, 0.0, -1.0])
    assert page.comparisons(found).rows[2][0] == '4 − 1, out of distribution'
    assert page.comparisons(found).rows[2][3:5] == (f'{p_value:.2g}', '1')
    assert page.comparisons(found).rows[1][4] == f'{min(1, 6 * sign_flip_p_value([1.0, 2.0])):.3g}'
    assert page.sets_table(found).rows[0][:3] == ('4 − 7', '+0.450 (+0.300 to +0.600)', '+0.150 (+0.000 to +0.300)')
    text = page.comparisons(found).markdown()
    assert '| 4 − 7, in distribution (primary) | +0.450 |' in text
    assert '| 9 − 10, in distribution |  |' in text
    assert page.sets_table(found).rows[4][:2] == ('7 − 1 (not planned)', '+0.750 (+0.500 to +1.000)')
    blurred = {'training_loss': -25.2, 'test_loss': -25.4, 'scores': {}}
    table = page.arms_table(page.Results(found.runs, blurred, {}), 'long')
    assert [row[-4:] for row in table.rows[:2]] == [('-25.40', '-0.20', '0.00', ''), ('-23.50', '0.50', '0.70', '')]
    short = {(arm, 'short', seed): run for (arm, _, seed), run in results({(3, 0): 1.0, (1, 0): 0.5}).runs.items()}
    row = page.short_table(page.Results(short, {}, {})).rows[2]
    assert row == ('3 MAP, true masks', '+0.750 (+0.500 to +1.000)', '', '+0.000 (-0.500 to +0.500)', '', *[''] * 4)


def test_a_training_with_other_options_is_not_taken_over(tmp_path):
    run = Run(ARMS[1], 'short', 0)
    (tmp_path / 'work/experiments' / run.name / 'models').mkdir(parents=True)
    (tmp_path / 'work/options').mkdir()
    for options in (None, options_of(run, tmp_path / 'work/data', tmp_path / 'start.pth', 20)):
        if options is not None:
            (tmp_path / 'work/options' / f'{run.name}.yml').write_text(json.dumps(options))
        with pytest.raises(BasicsrError, match=f'{run.name}.*other options'):
            complete(run, tmp_path / 'work', tmp_path / 'results', 1440)


def test_the_page_says_when_it_is_incomplete(tmp_path):
    file = tmp_path / 'prior.md'
    file.write_text('# T\n\n<!-- results: x -->\nold\n<!-- end of results -->\n\nend\n')
    page.write_page(tmp_path / 'none', file)
    text = file.read_text()
    assert 'So far: 0 of 36 runs' in text and 'old' not in text and text.endswith('end\n')
    page.write_page(tmp_path / 'none', file)
    assert file.read_text() == text
    file.write_text('# no marks')
    with pytest.raises(ReportError, match='marks'):
        page.write_page(tmp_path / 'none', file)
    (tmp_path / 'arm04-long-seed0.json').write_text('{"arm": 7}')
    with pytest.raises(ReportError, match='arm04'):
        page.read_results(tmp_path)


def test_the_figure_shows_intervals_at_their_place():
    image = draw([Bar('a < b', 'm & n', 0.1, -0.1, 0.3, (0.0, 0.2), strong=True), Bar('c', '', 0.0, 0.0, 0.0)])
    assert 'a &lt; b' in image and 'm &amp; n' in image and image.count('<circle') == 2
    (zero,) = re.findall(r'd="M([\d.]+) [^"]*" stroke="#444444"', image)
    squares = [float(x) for x in re.findall(r'd="M([\d.]+) \d+v10"', image)]
    assert squares[0] > squares[1] == float(zero)


def test_the_committed_page_is_that_of_the_committed_results(tmp_path):
    docs = shutil.copytree(ROOT / 'docs', tmp_path / 'docs')
    page.write_page(RESULTS, docs / 'prior.md')
    assert (docs / 'prior.md').read_text() == (ROOT / 'docs/prior.md').read_text(), 'python -m benchmarks.prior collect'
    if page.bars(page.read_results(RESULTS)):
        assert (docs / page.FIGURE).read_text() == (ROOT / 'docs' / page.FIGURE).read_text()


def write_sources(root):
    """Photos of squares, and frames with a moving object: four scenes of each in both splits."""
    rng = np.random.default_rng(0)
    rows = []
    for split in ('train', 'val'):
        for number in range(4):
            for kind in ('sharp', 'davis/frames'):
                image = rng.integers(0, 256, (36, 36, 3), np.uint8).repeat(8, 0).repeat(8, 1)
                name = f'{kind}/{split}{number}__00001.png'
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                imwrite(root / name, image)
                scene = f'{kind}{split}{number}'
                rows.append({'file': name, 'scene': scene, 'split': split})
                if kind != 'sharp':
                    mask = np.zeros((288, 288, 1), np.uint8)
                    mask[100:190, 100:190] = 255
                    (root / 'davis/masks').mkdir(parents=True, exist_ok=True)
                    imwrite(root / 'davis/masks' / f'{split}{number}__00001.png', mask)
    with (root / 'index.csv').open('w', newline='') as file:
        writer = csv.DictWriter(file, ['file', 'scene', 'split'])
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.slow
def test_from_photos_to_the_page(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr('benchmarks.prior.preparing.PER_PHOTO', 2)
    monkeypatch.setattr('benchmarks.prior.preparing.PER_SEQUENCE', 2)
    monkeypatch.setattr('benchmarks.prior.preparing.TEST_MOTIONS', {'same': Motion(), 'longer': Motion((14.0, 24.0))})
    monkeypatch.setattr('benchmarks.prior.scenes.REGIONS', (2, 2))
    monkeypatch.setattr('benchmarks.prior.running._TRAINING_IMAGES', 4)
    write_sources(tmp_path / 'photos')
    where = ['--work', str(tmp_path / 'work'), '--results', str(tmp_path / 'results')]
    assert main(['prepare', *where, '--training', str(tmp_path / 'photos'), '--count', '16']) == 0
    data = tmp_path / 'work/data'
    assert set(scenes_of(data / 'train').values()).isdisjoint(scenes_of(data / 'same').values())
    counts = {}
    for kind in ('true', 'other', 'one', 'felzenszwalb'):
        block = {'type': 'PairedImageGroupMaskDataset', 'io_backend': {'type': 'raw'}}
        for key, name in (('gt', 'sharp'), ('lq', 'blur'), ('mask', f'masks_{kind}')):
            block[f'dataroot_{key}'] = str(data / 'same' / f'{name}.raw')
        dataset = build_dataset(block, phase='test')
        counts[kind] = [int(dataset[index]['masks'].max()) for index in range(len(dataset))]
    assert counts['true'] == counts['other'] == [2] * 16 and counts['one'] == [1] * 16
    assert main(['sheet', *where, '--output', str(tmp_path / 'sheet.png')]) == 0
    arms = ['2', '4', '9']
    run = ['run', *where, '--arm', *arms, '--seed', '0', '--steps', '4']
    assert main(run) == 0
    written = {path.name: path.stat().st_mtime_ns for path in (tmp_path / 'results').glob('arm*.json')}
    assert sorted(written) == [f'arm{n}-seed0.json' for n in ('02-short', '04-long', '04-short', '09-long')]
    first = json.loads((tmp_path / 'results/arm04-long-seed0.json').read_text())
    assert first['steps'] == 4 and first['options']['manual_seed'] == 0 and first['versions']
    assert {name: sum(map(len, own.values())) for name, own in first['scores'].items()} == {'same': 16, 'longer': 16}
    assert np.isfinite([first['training_loss'], first['test_loss'], first['last_training_loss']]).all()
    assert main(run) == 0  # finished runs are kept
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / 'results').glob('arm*.json')} == written
    capsys.readouterr()
    assert main(['list', *where]) == 0
    assert capsys.readouterr().out.count('finished') == 4
    file = tmp_path / 'prior.md'
    file.write_text('<!-- results: x -->\n<!-- end of results -->\n')
    assert main(['collect', *where, '--output', str(file)]) == 0
    assert 'So far: 4 of 36' in file.read_text() and (tmp_path / page.FIGURE).is_file()
    assert len(SEEDS) == 3
