"""Two runs compared image by image."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from basicsr.metrics import build_metric
from basicsr.reporting import (
    Report,
    bootstrap_interval,
    compare,
    compare_runs,
    definition_of,
    write_report,
)
from basicsr.reporting.several_tables import runs_notes, runs_table
from basicsr.utils.errors import ReportError
from tests.helpers.project import ROOT
from tests.helpers.reports import DEFINITIONS, FACTS, evaluate, report, row

OTHER = replace(FACTS, run='run b', network='NetB')
SKEWED = np.random.default_rng(1).exponential(1.0, 60) - 0.8


@pytest.mark.parametrize(
    ('method', 'low', 'high'),
    [
        ('bca', 0.05481306388146559, 0.7957766060532656),
        ('percentile', 0.011019596256878225, 0.6955667172695632),
    ],
)
def test_intervals_are_those_of_the_formulas(method, low, high):
    """Computed once from Efron and Tibshirani's formulas 14.9 to 14.15 (1993), on the same resampled means."""
    assert bootstrap_interval(SKEWED, method=method) == (pytest.approx(low, abs=1e-12), pytest.approx(high, abs=1e-12))


def test_with_too_few_resamples_for_bca_the_interval_is_that_of_percentiles():
    assert bootstrap_interval([0.0, 0.0, 100.0], resamples=1) == (100 / 3, 100 / 3)


def test_bca_follows_the_skewness():
    bca, plain = bootstrap_interval(SKEWED, method='bca'), bootstrap_interval(SKEWED, method='percentile')
    assert bca[0] > plain[0] + 0.01
    assert bca[1] > plain[1] + 0.01


def test_intervals_cover_the_mean_as_often_as_they_say():
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(300):
        low, high = bootstrap_interval(rng.normal(0.1, 1, 80), 0.8, resamples=500, seed=int(rng.integers(1 << 30)))
        hits += low < 0.1 < high
    assert 0.72 < hits / 300 < 0.87


def test_the_seed_decides_and_chunks_do_not_matter(monkeypatch):
    first = bootstrap_interval(SKEWED, seed=3)
    assert bootstrap_interval(SKEWED, seed=3) == first != bootstrap_interval(SKEWED, seed=4)
    monkeypatch.setattr('basicsr.reporting.statistics._CHUNK', 700)
    assert bootstrap_interval(SKEWED, seed=3) == first


def test_values_without_spread_have_no_interval():
    assert bootstrap_interval([0.5, 0.5, 0.5]) == (0.5, 0.5)
    assert bootstrap_interval([7.0]) == (7.0, 7.0)
    for wrong in ({'values': []}, {'values': [1.0, math.nan]}, {'values': [1.0, 2.0], 'confidence': 95}):
        with pytest.raises(ReportError):
            bootstrap_interval(**wrong)


def test_differences_are_paired_by_name():
    first = report([30.0, 20.0, 27.0, 25.0])
    second = report([30.5, 26.0, 27.0, 24.0], OTHER)
    second = replace(second, rows=second.rows[::-1])
    psnr = compare(first, second).difference('psnr')
    assert (psnr.count, psnr.wins, psnr.ties, psnr.losses) == (4, 2, 1, 1)
    assert (psnr.first, psnr.second, psnr.estimate.mean) == (25.5, 26.875, 1.375)
    assert psnr.estimate.low < 1.375 < psnr.estimate.high
    assert not psnr.is_clear
    mcr = compare(first, second).difference('mcr')
    assert (mcr.estimate.mean, mcr.wins, mcr.losses) == (-25.0, 1, 0)  # lower is better


def test_a_small_steady_gain_is_clear():
    rng = np.random.default_rng(0)
    values = rng.normal(28, 3, 200)
    gain = compare(report(list(values)), report(list(values + rng.normal(0.05, 0.1, 200)), OTHER)).difference('psnr')
    assert gain.is_clear
    assert gain.estimate.high - gain.estimate.low < 0.04


def test_perfect_images_are_no_difference_and_one_sided_ones_are_left_out():
    first, second = report([30.0, math.inf, 28.0]), report([31.0, math.inf, math.inf], OTHER)
    psnr = compare(first, second).difference('psnr')
    assert (psnr.count, psnr.estimate.mean, psnr.ties, psnr.left_out) == (2, 0.5, 1, ('image2',))
    assert re.search(r'psnr: 1\b', ' '.join(runs_notes(*compare_runs([[first, second]]), 1)))
    equal = compare(report([math.inf] * 2), report([math.inf] * 2, OTHER)).difference('psnr')
    assert (equal.count, equal.first, equal.second, equal.estimate.mean) == (2, math.inf, math.inf, 0.0)
    with pytest.raises(ReportError, match=r'GoPro.*run a.*run b.*finite'):
        psnr = [replace(one, scores={'psnr': 30.0}) for one in report([30.0]).rows]
        compare(report([math.inf]), replace(report([30.0], OTHER), rows=tuple(psnr)))


def test_other_images_are_listed():
    first, second = report([30.0, 29.0]), report([30.0] * 14, OTHER)
    with pytest.raises(ReportError, match=r"'run b': 'image10', .*\b2\b"):
        compare(first, second)
    renamed = replace(first, rows=(first.rows[0], replace(first.rows[1], name='x')))
    with pytest.raises(ReportError, match=r"'run a': 'image1'.*'run b': 'x'"):
        compare(first, replace(renamed, facts=OTHER))


def test_scores_of_other_meaning_or_other_pictures_are_not_compared():
    first = report([30.0, 29.0])
    luma = (definition_of('psnr', build_metric({'type': 'psnr', 'test_y_channel': True})), *DEFINITIONS[1:])
    with pytest.raises(ReportError, match=r"'psnr'.* PSNR .* PSNR luma"):
        compare(first, report([30.0, 29.0], OTHER, luma))
    cropped = (definition_of('psnr', build_metric({'type': 'psnr', 'crop_border': 4})), *DEFINITIONS[1:])
    with pytest.raises(ReportError, match=r"'psnr'.*4"):
        compare(first, report([30.0, 29.0], OTHER, cropped))
    rows = (first.rows[0], replace(first.rows[1], input_scores={'psnr': 24.0}))
    with pytest.raises(ReportError, match=r"'psnr'.*'image1'"):
        compare(first, replace(first, facts=OTHER, rows=rows))


def test_runs_without_scores_cannot_be_compared():
    rows = tuple(replace(row, scores={}, input_scores={}) for row in report([30.0]).rows)
    photos = Report(FACTS, 'photos', DEFINITIONS, rows)
    with pytest.raises(ReportError, match='score'):
        compare(photos, photos)
    with pytest.raises(ReportError, match='images'):
        compare(report([]), report([]))


def test_the_table_names_runs_by_what_tells_them_apart():
    first, second = report([30.0, 28.0]), report([31.0, 29.0])
    for facts, names in (
        (OTHER, ('run a', 'run b')),
        (replace(FACTS, run='run b'), ('run a', 'run b')),
        (FACTS, ('run a (1)', 'run a (2)')),
    ):
        (done,) = compare_runs([[first, replace(second, facts=facts)]])
        assert tuple(row[0] for row in runs_table(done).rows[:2]) == names


def test_frames_of_one_scene_count_once_between_two_runs():
    """Twelve frames of one scene agree and four single images differ: twelve frames are no twelve images."""
    names = [*(f'long_{frame:06d}' for frame in range(12)), *(f'clip{scene}_000001' for scene in range(5))]
    gains = [1.0] * 12 + [-0.5, 0.25, -1.0, 0.5, -0.25]

    def run(facts, values):
        rows = tuple(
            row(index, value, name=name) for index, (name, value) in enumerate(zip(names, values, strict=True))
        )
        return Report(facts, 'GoPro', DEFINITIONS, rows)

    first, second = run(FACTS, [27.0] * 17), run(OTHER, [27.0 + gain for gain in gains])
    estimate = compare(first, second).difference('psnr').estimate
    assert (estimate.scenes, estimate.mean) == (6, 0.0)
    assert estimate.low < 0 < estimate.high
    by_image = compare(first, second, 'image').difference('psnr')
    assert by_image.estimate.mean == pytest.approx(11 / 17) and by_image.is_clear
    (page,) = compare_runs([[first, second]])
    assert page.changes[0].difference == compare(first, second).difference('psnr')


def run_script(*arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / 'scripts/compare_runs.py', *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=cwd, timeout=300, check=False)


@pytest.mark.slow
def test_the_script_prints_the_table_and_writes_the_gallery(tmp_path):
    evaluate(tmp_path / 'a', [1.0, 2.0, -4.0])
    evaluate(tmp_path / 'b', [1.5, 2.5, 0.0], OTHER)
    for page in ('four.md', 'v0.2'):
        done = run_script(tmp_path / 'a', tmp_path / 'b', '--output', tmp_path / page)
        assert done.returncode == 1 and '.html' in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a', 'b']
    done = run_script(tmp_path / 'a', tmp_path / 'b')
    assert done.returncode == 0, done.stderr
    cells = done.stdout.splitlines()[4].split()
    assert cells[:6] == ['run', 'b', 'PSNR,', 'dB', '26.33', '+1.667']
    page = tmp_path / 'b' / 'compared_with_a.html'
    assert done.stdout.splitlines()[-1] == str(page)
    assert '../a/pictures/GoPro/00000_image0_output.png' in page.read_text(encoding='utf-8')
    elsewhere = tmp_path / 'new folder' / 'page.html'
    done = run_script(
        tmp_path / 'a', tmp_path / 'b', '--output', elsewhere, '--confidence', '0.5', '--dataset', 'GoPro'
    )
    assert '50 % interval' in done.stdout
    assert '../b/pictures/' in elsewhere.read_text(encoding='utf-8')


@pytest.mark.slow
def test_the_documented_commands_run(tmp_path):
    for name, gain in (('NAFNet', 1.0), ('MAP', 1.5), ('SAMDeblur', 2.0)):
        evaluate(tmp_path / 'results' / name, [gain, gain + 1], replace(FACTS, run=name, network=name))
    commands = re.findall(r'^\.venv/bin/python (scripts/.+)$', (ROOT / 'docs/reports.md').read_text(), re.M)
    assert len(commands) == 3
    for command in commands:
        script, *arguments = command.split()
        done = run_script(*arguments, cwd=tmp_path)
        assert (script, done.returncode) == ('scripts/compare_runs.py', 0), done.stderr
    assert (tmp_path / 'results/both.html').is_file()
    for ending in ('.html', '.md', '.tex', '_GoPro_gain.svg'):
        assert (tmp_path / f'results/SAMDeblur/compared_with_NAFNet{ending}').is_file()
    assert 'MAP' in (tmp_path / 'results/four.md').read_text()


@pytest.mark.slow
def test_the_script_says_what_is_missing_without_a_traceback(tmp_path):
    write_report(tmp_path / 'a', report([30.0]))
    write_report(tmp_path / 'b', replace(report([30.0], OTHER), dataset='REDS'))
    for arguments, message in (
        ((tmp_path / 'a', tmp_path / 'gone'), 'gone'),
        ((tmp_path / 'a', tmp_path / 'b'), 'REDS'),
        ((tmp_path / 'a', tmp_path / 'a', '--dataset', 'HIDE'), 'HIDE'),
        ((tmp_path / 'a', tmp_path / 'a', '--confidence', '95'), 'confidence 95.0'),
    ):
        done = run_script(*arguments)
        assert done.returncode == 1
        assert message in done.stderr
        assert 'Traceback' not in done.stderr
