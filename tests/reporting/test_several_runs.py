"""Several runs compared with the first one: scenes, intervals, corrected p-values, tables and charts."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from basicsr.reporting import Report, compare_runs, write_runs_page, write_tables
from basicsr.reporting.scenes import scene_of, scenes_of
from basicsr.reporting.several_tables import gain_chart, runs_notes, runs_table, scene_table
from basicsr.reporting.tables import Table, summaries
from basicsr.utils.errors import ReportError
from tests.helpers.reports import DEFINITIONS, FACTS, evaluate, report, row

FRAMES = [f'clip{scene}_{frame:06d}' for scene in range(6) for frame in range(2)]


def run_of(name: str, values: list[float], names: list[str] | None = None) -> Report:
    rows = tuple(row(index, value, name=(names or FRAMES)[index]) for index, value in enumerate(values))
    return Report(replace(FACTS, run=name, network=name), 'GoPro', DEFINITIONS, rows)


REFERENCE = run_of('plain', [27.0] * 12)
BETTER = run_of('better', [28.0, 28.0] * 6)
MIXED = run_of('mixed', [28.0, 27.5, 26.0, 27.0, 28.0, 29.0, 27.0, 27.0, 27.5, 27.5, 26.0, 26.5])


@pytest.mark.parametrize(
    ('name', 'scene'),
    [
        ('GOPR0384_11_00-000001', 'GOPR0384_11_00'),
        ('000_00000012', '000'),
        ('RealBlur-J-scene001-gt_1', 'RealBlur-J-scene001'),
        ('scene9_ap3', 'scene9'),
        ('clips/000004', 'clips'),
        ('day/first/left', 'day/first'),
        ('1P0A0917', '1P0A0917'),
        ('10fromGOPR1033', '10fromGOPR1033'),
    ],
)
def test_scenes_are_names_without_the_number_of_the_frame(name, scene):
    assert scene_of(name) == scene


def test_few_scenes_are_not_used_unless_they_are_asked_for():
    names = ['a_1', 'a_2', 'b_1', 'b_2']
    assert scenes_of(names, 'name') == {'a': [0, 1], 'b': [2, 3]}
    assert list(scenes_of(names)) == list(scenes_of(names, 'image')) == names
    with pytest.raises(ReportError, match="'folder'"):
        scenes_of(names, 'folder')  # type: ignore[arg-type]


def test_each_scene_counts_once_and_p_values_are_corrected_together():
    (done,) = compare_runs([[REFERENCE, BETTER, MIXED]], ['psnr'])
    better, mixed = done.changes
    assert (better.run, better.estimate.mean, better.estimate.low, better.estimate.high) == ('better', 1, 1, 1)
    assert better.estimate.scenes == 6
    assert better.estimate.p_value == 2 / 64
    assert better.adjusted == 4 / 64  # the smaller of two
    scenes = [0.75, -0.5, 1.5, 0.0, 0.5, -0.75]
    assert mixed.estimate.mean == pytest.approx(sum(scenes) / 6)
    assert mixed.estimate.low < 0 < mixed.estimate.high
    assert mixed.adjusted == mixed.estimate.p_value > better.adjusted
    (alone,) = compare_runs([[REFERENCE, BETTER]], ['psnr'])
    assert alone.changes[0].adjusted == 2 / 64
    both = compare_runs([[REFERENCE, BETTER], [REFERENCE, BETTER]], ['psnr'])  # two data sets, one family
    assert [one.changes[0].adjusted for one in both] == [4 / 64, 4 / 64]


def test_scenes_of_unequal_length_weigh_the_same():
    names = ['a_1', 'a_2', 'a_3', 'b_1']
    runs = [run_of(name, values, names) for name, values in (('x', [27.0] * 4), ('y', [28.0, 28.0, 28.0, 24.0]))]
    (done,) = compare_runs([runs], ['psnr'], scenes='name')
    assert done.changes[0].estimate.mean == -1.0
    (done,) = compare_runs([runs], ['psnr'], scenes='image')
    assert done.changes[0].estimate.mean == 0.0
    assert done.scenes == ()


def test_the_tables_show_differences_and_scenes():
    (done,) = compare_runs([[REFERENCE, BETTER, MIXED]])
    table = runs_table(done)
    assert table.rows[0] == ('plain', 'PSNR, dB', '27.00', '', '', '', '', '')
    assert table.rows[1] == (
        'better', 'PSNR, dB', '28.00', '+1.000', '+1.000 to +1.000', '0.0312', '0.1875', '12 : 0'
    )  # fmt: skip
    assert len(table.rows) == 9
    scenes = scene_table(done)
    assert scenes is not None
    assert scenes.head == ('scene', 'images', 'blurred input', 'plain', 'better - plain', 'mixed - plain')
    assert scenes.rows[0][:5] == ('clip0', '2', '25.00', '27.00', '+1.000')
    assert re.fullmatch(r'\+0\.750 \(\+0\.500 to \+1\.000\)', scenes.rows[0][5])
    assert '6 scenes' in runs_notes(done, 6)[0] and '6 tests' in runs_notes(done, 6)[0]


def test_images_perfect_in_one_run_are_left_out_and_noted():
    values = [28.0] * 11 + [math.inf]
    (done,) = compare_runs([[REFERENCE, run_of('inf', values)]], ['psnr'])
    assert done.changes[0].estimate.mean == 1.0
    assert any('inf, psnr: 1 image excluded' in note for note in runs_notes(done, 1))


def test_frames_of_few_scenes_have_no_p_value_and_a_note():
    names = [f'clip_{frame:06d}' for frame in range(12)]
    (done,) = compare_runs([[run_of(name, [value] * 12, names) for name, value in (('a', 27.0), ('b', 28.0))]])
    assert {row[5:7] for row in runs_table(done).rows} == {('', '')} and done.pairs[0].too_few_scenes == 1
    assert '1 scene,' in runs_notes(done, 0)[1] and ' test' not in runs_notes(done, 0)[0]
    (asked,) = compare_runs([[REFERENCE, BETTER, MIXED]], scenes='image')
    assert not asked.pairs[0].too_few_scenes and not math.isnan(asked.changes[0].adjusted)


def test_one_scene_has_no_interval():
    (done,) = compare_runs([[run_of('a', [27.0], ['x']), run_of('b', [28.0], ['x'])]], ['psnr'])
    assert runs_table(done).rows[1][3:7] == ('+1.000', '', '1.0000', '1.0000')
    assert not done.changes[0].difference.is_clear
    assert 'over 1 image,' in runs_notes(done, 1)[0] and 'below 1.' in runs_notes(done, 1)[1]


def test_the_smallest_p_value_is_said_where_it_hides_findings():
    (done,) = compare_runs([[REFERENCE, BETTER]])  # six scenes
    assert 'below 0.031' in runs_notes(done, 3)[1]
    assert not any('below' in note for note in runs_notes(done, 1))


def test_a_score_without_comparable_images_is_left_out_with_a_note():
    infinite = run_of('never', [math.inf] * 12)
    infinite = replace(infinite, rows=tuple(replace(r, scores=r.scores | {'ssim': 0.5}) for r in infinite.rows))
    (done,) = compare_runs([[REFERENCE, BETTER, infinite]])
    assert [(change.run, change.definition.label) for change in done.changes] == [
        ('better', 'psnr'), ('better', 'ssim'), ('never', 'ssim'), ('better', 'mcr'), ('never', 'mcr'),
    ]  # fmt: skip
    assert any(note.startswith('never, psnr: not compared') for note in runs_notes(done, 5))


def test_the_mean_of_the_reference_is_its_own_in_any_order():
    lacking = run_of('x', [28.0] * 11 + [math.inf])
    reference = run_of('ref', [26.0] * 11 + [38.0])
    for runs in ([reference, lacking, BETTER], [reference, BETTER, lacking]):
        (done,) = compare_runs([runs], ['psnr'])
        assert runs_table(done).rows[0][2] == '27.00'


def test_averages_show_scores_and_baselines_of_all_runs():
    one = replace(BETTER, rows=tuple(replace(r, scores={'psnr': r.scores['psnr']}) for r in BETTER.rows))
    two = replace(MIXED, rows=tuple(replace(r, baselines={'mask': {'ssim': 0.25}}) for r in MIXED.rows))
    table = summaries([one, two], ['one', 'two'])
    assert table.head[:4] == ('', 'images', 'PSNR, dB', 'SSIM 3-D')
    assert [row[:4] for row in table.rows] == [
        ('blurred input', '12', '25.00', '0.625'),
        ('mask', '12', '', '0.250'),
        ('one', '12', '28.00', ''),
        ('two', '12', '27.25', '0.681'),
    ]


def test_runs_that_do_not_fit_are_refused():
    with pytest.raises(ReportError, match='two runs'):
        compare_runs([[REFERENCE]])
    with pytest.raises(ReportError, match=r"'lpips'.*'psnr'"):
        compare_runs([[REFERENCE, BETTER]], ['lpips'])
    with pytest.raises(ReportError, match='different images'):
        compare_runs([[REFERENCE, BETTER, report([30.0])]])


def test_equal_names_are_numbered():
    (done,) = compare_runs([[REFERENCE, replace(BETTER, facts=REFERENCE.facts), MIXED]], ['psnr'])
    assert done.names == ('plain (1)', 'plain (2)', 'mixed')


def test_latex_is_escaped():
    table = Table(('', 'loss > 3 dB, %'), (('a_b & {c}', '-0.5 (-1 to +2)'), ('x-1', '1.0'), ('[e*]', '*')))
    assert table.latex().splitlines() == [
        r'\begin{tabular}{lr}',
        r'\toprule',
        r' & loss $>$ 3 dB, \% \\',
        r'\midrule',
        r'a\_b \& \{c\} & $-$0.5 ($-$1 to +2) \\',
        r'x-1 & 1.0 \\',
        r'{[}e*] & {*} \\',
        r'\bottomrule',
        r'\end{tabular}',
    ]


def test_the_chart_has_a_point_for_each_image_and_run():
    (done,) = compare_runs([[REFERENCE, BETTER]], ['psnr'])
    drawn = gain_chart(done)
    assert drawn is not None
    paths = [path.get('d', '') for path in ElementTree.fromstring(drawn).iter('{http://www.w3.org/2000/svg}path')]
    assert sorted(path.count('h0') for path in paths)[-2:] == [12, 12]
    without = [
        replace(run, rows=tuple(replace(one, input_scores={}) for one in run.rows)) for run in (REFERENCE, BETTER)
    ]
    assert gain_chart(compare_runs([without], ['psnr'])[0]) is None


def test_files_and_page_of_three_runs(tmp_path):
    reports = [
        evaluate(tmp_path / name, [gain, gain + 1, gain - 1], replace(FACTS, run=name))
        for name, gain in (('a', 0.5), ('<b>', 1.0), ('c', 2.0))
    ]
    done = compare_runs([reports])
    page = tmp_path / 'new' / 'all.html'
    files = write_tables(page, done)
    assert [path.name for path in files] == ['all_GoPro_gain.svg', 'all.md', 'all.tex']
    assert (page.parent / 'all.md').read_text().count('| \\<b\\> |') == 4
    folders = [tmp_path / name for name in ('a', '<b>', 'c')]
    text = write_runs_page(page, folders, done).read_text()
    assert '../%3Cb%3E/pictures/' in text and '../c/pictures/' in text
    assert text.count('<svg') == 1 and '<b>' not in text.split('<body>')[1].split('<script')[0]
    with pytest.raises(ReportError, match='data set'):
        write_runs_page(page, folders, [])
