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
from basicsr.reporting.tables import Table
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
    assert any('inf, psnr: 1 images' in note for note in runs_notes(done, 1))


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
    table = Table(('', 'loss > 3 dB, %'), (('a_b & {c}', '-0.5 (-1 to +2)'), ('x-1', '1.0')))
    assert table.latex().splitlines() == [
        r'\begin{tabular}{lr}',
        r'\toprule',
        r' & loss $>$ 3 dB, \% \\',
        r'\midrule',
        r'a\_b \& \{c\} & $-$0.5 ($-$1 to +2) \\',
        r'x-1 & 1.0 \\',
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
