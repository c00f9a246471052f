"""Records, tables and files of an evaluation."""

from __future__ import annotations

import csv
import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest

from basicsr.metrics import Average, Record, average, build_metric
from basicsr.reporting import (
    MCR,
    Report,
    definition_of,
    facts_of_run,
    read_report,
    read_reports,
    summary_table,
    write_report,
    write_summary,
)
from basicsr.reporting.files import file_stem
from basicsr.reporting.tables import summary_markdown
from basicsr.utils.errors import ReportError
from tests.helpers.reports import DEFINITIONS, FACTS, report, row

NASTY = [
    '<img src=x onerror=alert(1)>',
    'a"b, c',
    "d'e;f",
    'line\nbreak',
    'Ünïcødé 図',
    'per%20cent #1 ?x=y&z',
    '=1+1',
    '../up',
]


def test_averages_are_plain_means_over_images():
    values = [30.1, 27.3, 41.25, 19.999]
    ours = report(values).average('psnr')
    assert (ours.count, ours.sum) == (4, math.fsum(values))
    assert ours.mean == pytest.approx(np.mean(values), abs=1e-12)


def test_sums_do_not_depend_on_the_order_of_images():
    rng = np.random.default_rng(0)
    values = (rng.standard_normal(1000) * 10.0 ** rng.integers(-8, 9, 1000)).tolist()
    assert average(values).sum == average(reversed(values)).sum == math.fsum(values)


def test_mode_collapse_is_counted_and_inputs_never_collapse():
    done = report([30.0, 21.9, 22.0, 10.0])
    assert done.collapsed == ('image1', 'image3')
    assert done.average(MCR) == Average(200.0, 4)
    assert done.input_average(MCR) == Average(0.0, 4)
    assert [one.collapsed for one in done.rows] == [False, True, False, True]
    assert replace(done.rows[1], scores={}).collapsed is None


def test_perfect_images_are_counted_and_make_the_mean_infinite():
    assert average([30.0, math.inf, None]) == Average(math.inf, 2, 1)
    assert 'inf (1 infinite)' in summary_table(report([30.0, math.inf])).text()
    assert average([]).mean is None


def test_a_gain_needs_both_scores():
    assert row(0, 27.5, before=25.0).gain('psnr') == 2.5
    assert row(0, 27.5).gain('lpips') is None
    assert row(0, math.inf, before=math.inf).gain('psnr') is None


def test_rows_must_have_names_of_their_own_and_defined_labels():
    with pytest.raises(ReportError, match="'same'"):
        Report(FACTS, 'GoPro', DEFINITIONS, (row(0, 30, name='same'), row(1, 30, name='same')))
    with pytest.raises(ReportError, match=r"definition.*'ssim'"):
        Report(FACTS, 'GoPro', DEFINITIONS[:1], (row(0, 30),))


def test_definitions_tell_variants_apart():
    ssim, luma = (definition_of('x', build_metric({'type': name})) for name in ('ssim', 'ssim_y'))
    assert (ssim.variant, ssim.decimals, ssim.higher_is_better) == ('SSIM 3-D', 3, True)
    assert luma.variant == 'SSIM luma, reference border'
    assert '255 for 8 bits' in ssim.data_range
    assert definition_of('x', build_metric({'type': 'psnr', 'data_range': 1.0})).data_range == '1.0'
    assert definition_of(MCR, build_metric({'type': 'mcr', 'threshold': 2})).settings['threshold'] == '2'


def test_facts_name_the_checkpoint_by_its_content(tmp_path):
    (tmp_path / 'net.pth').write_bytes(b'abc')
    facts = facts_of_run('x', 'Net', checkpoint=tmp_path / 'net.pth')
    assert facts.checkpoint_sha256 == 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
    assert facts.date.endswith('+00:00')
    assert {'basicsr', 'python', 'torch', 'numpy'} <= set(facts.versions)
    assert facts_of_run('x', 'Net').checkpoint_sha256 == ''


def full_report() -> Report:
    rows = [
        row(
            i,
            20 + i / 3,
            before=25.0 + 0.1 * i,
            name=name,
            seconds=0.1 * i,
            tiled=i == 2,
            images={'output': 'a/b.png'},
            group=('', 'indoor')[i % 2],
        )
        for i, name in enumerate(NASTY)
    ]
    rows[1] = replace(rows[1], scores={'psnr': math.inf, 'ssim': 1.0, MCR: 0.0}, marks=('psnr: infinite', 'b: c'))
    rows[3] = replace(rows[3], scores={}, input_scores={}, seconds=None)
    rows[4] = replace(rows[4], scores={'psnr': -math.inf, 'ssim': math.nan, MCR: 100.0})
    return Report(FACTS, 'a/b <c>', DEFINITIONS, tuple(rows), {'gone.png': 'cut off'}, 32)


def same(a: object, b: object) -> bool:
    return repr(a) == repr(b)  # NaN equals itself there, and floats show all digits


def test_a_report_reads_back_into_the_same_records(tmp_path):
    written = full_report()
    path, _ = write_report(tmp_path / 'new' / 'folder', written)
    assert same(read_report(path), written)
    assert [item.dataset for item in read_reports(path.parent)] == ['a/b <c>']
    assert {item.name for item in path.parent.iterdir()} == {path.name, path.with_suffix('.csv').name}


def test_json_is_strict_and_says_what_its_nulls_are(tmp_path):
    path, _ = write_report(tmp_path, full_report())

    def refuse(name: str) -> float:
        raise AssertionError(name)

    tree = json.loads(path.read_text(encoding='utf-8'), parse_constant=refuse)
    assert tree['report']['rows'][1]['scores']['psnr'] is None
    assert tree['not_finite']['/report/rows/1/scores/psnr'] == 'inf'
    assert tree['not_finite']['/report/rows/4/scores/ssim'] == 'nan'
    assert tree['averages']['output']['mcr'] == {'sum': 600.0, 'count': 7, 'infinite': 0, 'mean': 600 / 7}
    assert tree['averages']['blurred input']['psnr']['count'] == 7


def test_csv_has_stable_columns_and_reads_back_to_the_same_numbers(tmp_path):
    written = full_report()
    _, path = write_report(tmp_path, written)
    for cells, item in zip(csv.DictReader(path.open(encoding='utf-8', newline='')), written.rows, strict=True):
        for label in ('psnr', 'ssim'):
            for column, scores in ((label, item.scores), (f'{label}_input', item.input_scores)):
                assert cells[column] == (repr(scores[label]) if label in scores else '')
        assert cells['collapsed'] == {None: '', True: 'true', False: 'false'}[item.collapsed]
        assert (cells['marks'], cells['group']) == ('; '.join(item.marks), item.group)
    lines = list(csv.reader(path.open(encoding='utf-8', newline='')))
    assert ','.join(lines[0]) == (
        'index,name,width,height,seconds,tiled,collapsed,marks,group,psnr,psnr_input,ssim,ssim_input'
    )
    assert lines[1][:8] == ['0', NASTY[0], '6', '4', '0.0', 'false', 'true', '']
    assert [line[1] for line in lines[1:]] == NASTY
    assert path.read_bytes().count(b'\r\n') == len(NASTY) + 1


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'{', 'damaged'),
        (b'[' * 100_000, 'damaged'),
        (b'\xff\xfe\0', 'damaged'),
        (b'[1]', 'report'),
        (b'{"format": "basicsr report 1"}', 'damaged'),
        (b'{"format": "basicsr report 1", "not_finite": {"/x/y": "inf"}, "report": {}}', 'damaged'),
        (b'{"format": "basicsr report 1", "not_finite": {}, "report": {"facts": {"run": "x"}}}', 'dataset'),
    ],
)
def test_damaged_reports_are_refused_by_name(content, message, tmp_path):
    (tmp_path / 'x.json').write_bytes(content)
    with pytest.raises(ReportError, match=message) as caught:
        read_report(tmp_path / 'x.json')
    assert 'x.json' in str(caught.value)


def test_a_report_with_a_damaged_number_of_decimals_is_refused(tmp_path):
    path, _ = write_report(tmp_path, report([30.0]))
    content = path.read_text()
    changed = re.sub(r'"decimals": \d+', '"decimals": 4000000000', content)
    assert changed != content
    path.write_text(changed)
    with pytest.raises(ReportError, match='decimals'):
        read_report(path)


def test_folders_without_reports_are_refused(tmp_path):
    with pytest.raises(ReportError, match=r'gone .*folder'):
        read_reports(tmp_path / 'gone')
    (tmp_path / 'other.json').write_text('{"a": 1}')
    with pytest.raises(ReportError, match='reports'):
        read_reports(tmp_path)
    with pytest.raises(ReportError, match=r'gone\.json'):
        read_report(tmp_path / 'gone.json')


def test_an_older_report_survives_a_full_disk(tmp_path, monkeypatch):
    path, table = write_report(tmp_path, report([30.0]))
    before = path.read_bytes(), table.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('basicsr.utils.files.os.fsync', full)
    with pytest.raises(OSError, match='No space left'):
        write_report(tmp_path, report([31.0]))
    with pytest.raises(OSError, match='No space left'):
        write_summary(tmp_path, [report([31.0])])
    assert (path.read_bytes(), table.read_bytes()) == before
    assert len(list(tmp_path.iterdir())) == 2


def test_data_sets_whose_names_are_alike_get_files_of_their_own():
    stems = {file_stem(name) for name in ('a/b', 'a b', 'a_b', 'a\\b', '', '..', 'x' * 300, 'x' * 299)}
    assert len(stems) == 8
    assert all(0 < len(stem) < 80 and not stem.startswith('.') and '/' not in stem for stem in stems)
    assert file_stem('GoPro') == 'GoPro'


def test_the_table_has_the_blurred_input_beside_the_network():
    lines = summary_table(report([30.0, 21.0, 27.5])).text().splitlines()
    assert lines[0].split('  ')[0] == ''
    assert lines[1].split() == ['blurred', 'input', '3', '25.00', '0.625', '0.00', '(0', 'of', '3)']
    assert lines[2].split() == ['run', 'a', '3', '26.17', '0.654', '33.33', '(1', 'of', '3)']
    assert len({len(line) for line in lines}) == 1


def test_published_values_stand_beside_ours_with_the_difference():
    table = summary_table(report([30.0, 27.0]), {'psnr': 29.0, 'mcr': 0.2})
    named = dict(zip(table.head, table.rows[1], strict=True))
    assert (named['PSNR, dB'], table.rows[1][3:5]) == ('28.50', ('29.00', '-0.50'))
    assert table.rows[0][3:5] == ('', '')
    assert table.rows[1][-2:] == ('0.20', '-0.20')


def test_groups_have_rows_of_their_own():
    rows = tuple(row(i, 30 + i, before=20.0 + i, group=group) for i, group in enumerate(('in', '', 'out', 'in')))
    done = Report(FACTS, 'DPDD', DEFINITIONS, rows)
    table = summary_table(done, {'psnr': 31.0})
    assert [line[:3] for line in table.rows] == [
        ('blurred input', '4', '21.50'),
        ('run a', '4', '31.50'),
        ('blurred input, in', '2', '21.50'),
        ('run a, in', '2', '31.50'),
        ('blurred input, out', '1', '22.00'),
        ('run a, out', '1', '32.00'),
    ]
    assert [line[3:5] for line in table.rows] == [('', ''), ('31.00', '+0.50'), *[('', '')] * 4]
    assert done.groups == ('in', 'out') and report([30.0]).groups == ()


def test_a_metric_that_is_missing_is_named_with_the_reason():
    missing = replace(DEFINITIONS[1], label='lpips', missing='lpips needs torchmetrics')
    done = report([30.0], definitions=(*DEFINITIONS, missing))
    assert re.search('scored: lpips.*torchmetrics', summary_markdown([done]))
    assert 'lpips' not in summary_markdown([report([30.0])])


def test_without_ground_truth_there_are_names_and_no_scores():
    rows = tuple(replace(row(i, 30), scores={}, input_scores={}) for i in range(2))
    table = summary_table(Report(FACTS, 'photos', DEFINITIONS, rows))
    assert table.head == ('', 'images')
    assert table.rows == (('blurred input', '2'), ('run a', '2'))


def test_the_summary_says_what_was_computed_and_how(tmp_path):
    done = full_report()
    text = write_summary(tmp_path, [done, replace(done, dataset='REDS')]).read_text(encoding='utf-8')
    assert text == summary_markdown([done, replace(done, dataset='REDS')])
    assert text.count('| blurred input |') == 2
    for part in ('## REDS', 'SSIM 3-D', 'ab' * 32, 'NetA', 'loss \\> 3 dB', 'threshold=3.0', 'gone.png (cut off)'):
        assert part in text, part
    assert '<img' not in text.replace('\\<img', '')
    assert 'tiles: 1 of 8 ' in text
    assert 'psnr: infinite: 1 of 8 ' in text
    widths = [line.replace('\\|', '').count('|') for line in text.splitlines() if line.startswith('|')]
    assert set(widths) <= {3, 6}


def test_a_real_record_makes_a_row():
    """The labels of a report are those of the metrics, on real arrays."""
    gt = np.full((20, 20, 3), 100, np.uint8)
    record = Record(output_uint8=gt + 9, gt=gt, lq=gt + 3)
    scores = {name: build_metric({'type': name})(record) for name in ('psnr', 'ssim', MCR)}
    assert scores[MCR].marks == ('collapsed',)
    one = replace(row(0, 30.0), scores={name: score.value for name, score in scores.items()})
    assert Report(FACTS, 'x', DEFINITIONS, (one,)).collapsed == ('image0',)


def test_images_without_a_collapse_score_are_in_no_rate():
    done = report([25.0, 26.0])
    rows = tuple(replace(one, scores={'psnr': 25.0}, input_scores={'psnr': 25.0}) for one in done.rows)
    unscored = replace(done, rows=rows)
    assert unscored.input_average('mcr').count == unscored.average('mcr').count == 0
    assert unscored.input_average('psnr').count == 2
