"""Rows of several processes, and which pictures stay."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from basicsr.images.files import decode_image, imread
from basicsr.metrics import Record
from basicsr.reporting import ImageRow, KeptImages, RowWriter, join, read_report
from basicsr.reporting.images import FULL, encode, encode_error_map, error_colours, full_images, thumbnails
from basicsr.utils.errors import OptionError, ReportError, ShapeError
from tests.helpers.reports import DEFINITIONS, FACTS, add, evaluate, labels_of, record_of

GAINS = [1.0, -5.0, 0.5, 3.0, -0.5, -9.0, 2.0, 0.0, 1.5, 2.5, -3.5]
FEW = KeptImages(best=2, worst=1, collapsed=2, others=0)


def kept(report) -> list[int]:
    return [row.index for row in report.rows if 'output' in row.images]


@pytest.mark.parametrize('ranks', [1, 2, 3, 13])
def test_any_number_of_processes_makes_the_same_report(ranks, tmp_path):
    alone = evaluate(tmp_path / 'alone', GAINS, images=FEW)
    together = evaluate(tmp_path / 'together', GAINS, images=FEW, ranks=ranks)
    assert together == alone
    assert read_report(tmp_path / 'together' / 'GoPro.json') == alone
    assert [row.index for row in together.rows] == list(range(len(GAINS)))
    names = [
        {path.relative_to(folder) for path in folder.rglob('*')}
        for folder in (tmp_path / 'alone', tmp_path / 'together')
    ]
    assert names[0] == names[1]
    assert not (tmp_path / 'together' / '.parts').exists()


def test_collapsed_best_and_worst_images_keep_full_images(tmp_path):
    report = evaluate(tmp_path, GAINS, images=FEW)
    # collapsed: 5 and 1 lost most, 10 exceeds the limit of 2; best: 3 and 9; worst of those not collapsed: 4
    assert kept(report) == [1, 3, 4, 5, 9]
    for row in report.rows:
        assert {'input_thumb', 'output_thumb', 'target_thumb'} <= set(row.images)
        assert all((tmp_path / path).is_file() for path in row.images.values())
    named = {path for row in report.rows for path in row.images.values()}
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob('pictures/*/*')} == named


@pytest.mark.parametrize(
    ('more', 'indices'),
    [
        ({'collapsed': None}, [1, 3, 4, 5, 9, 10]),
        ({'collapsed': 0, 'worst': 0, 'best': 1}, [3]),
        ({'collapsed': 0, 'worst': 0, 'best': 0, 'others': 4}, [0, 2, 5, 8]),
        ({'others': 99}, list(range(11))),
    ],
)
def test_how_many_is_asked_for(more, indices, tmp_path):
    assert kept(evaluate(tmp_path, GAINS, images=replace(FEW, **more))) == indices


@pytest.mark.slow
def test_the_disk_never_holds_many_more_full_images_than_stay(tmp_path):
    most = 0
    with RowWriter(tmp_path, 'GoPro', DEFINITIONS, 40, KeptImages(best=2, worst=2, others=0)) as rows:
        for index in range(40):  # ever better: each image is among the best when it comes
            add(rows, index, scores={'psnr': 25.0 + index}, input_scores={'psnr': 25.0})
            most = max(most, len(list(tmp_path.rglob('*_output.png'))))
    assert most == 4


def test_pictures_of_an_earlier_run_are_removed(tmp_path):
    evaluate(tmp_path, GAINS, images=FEW)
    report = evaluate(tmp_path, GAINS[:3], images=FEW)
    named = {path for row in report.rows for path in row.images.values()}
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob('pictures/*/*')} == named


def test_no_pictures_are_written_unless_asked_for(tmp_path):
    report = evaluate(tmp_path, GAINS, images=None)
    assert not any(row.images for row in report.rows)
    assert not (tmp_path / 'pictures').exists()


def test_pictures_hold_every_pixel(tmp_path):
    report = evaluate(tmp_path, [1.0], images=KeptImages())
    shown, row = record_of(0), report.rows[0]
    assert set(row.images) >= set(FULL) - {'kernel'}  # this network finds none
    for kind, key in (('input', 'lq'), ('output', 'output_uint8'), ('target', 'gt')):
        assert np.array_equal(imread(tmp_path / row.images[kind]), shown.array(key))
    assert imread(tmp_path / row.images['output_thumb']).shape == (60, 90, 3)


def test_a_picture_of_any_name_gets_a_plain_file_name(tmp_path):
    names = ['<img src=x onerror=alert(1)>', 'a/b', 'a b', '図', '\udcff', 'x' * 400]
    report = evaluate(tmp_path, [1.0] * 6, names=names)
    assert [row.name for row in report.rows] == [*names[:4], '\\udcff', names[5]]
    for row in report.rows:
        for path in row.images.values():
            assert (tmp_path / path).is_file()
            assert path.isascii()
            assert not set(path) & set(' <>&"\'#%?=()')
            assert path.count('/') == 2


def test_16_bit_and_gray_images_are_shown_in_8_bits_and_colours(tmp_path):
    gray = np.full((20, 30, 1), 257 * 100, np.uint16)
    with RowWriter(tmp_path, 'GoPro', DEFINITIONS, 1, KeptImages()) as rows:
        row = rows.add(ImageRow(0, 'x', 20, 30), Record(output_uint8=gray, lq=gray))
    assert (imread(tmp_path / row.images['output']) == 100).all()
    assert imread(tmp_path / row.images['output']).shape == (20, 30, 3)
    assert {'target', 'error', 'masks', 'target_thumb'}.isdisjoint(row.images)
    assert row.scores == {}


def test_the_error_map_shows_amplified_differences_in_even_colours():
    gt = np.full((2, 3, 3), 100, np.uint8)
    output = gt.copy()
    output[0, 1], output[0, 2, 1], output[1, 0] = 96, 116, 255
    shown = decode_image(encode_error_map(output, gt, 8), 'error', channels=3)
    colours = error_colours()
    for place, level in (((0, 0), 0), ((0, 1), 32), ((0, 2), 128), ((1, 0), 255)):
        assert np.array_equal(shown[place], colours[level]), place
    data = full_images(Record(output_uint8=output, lq=output, gt=gt), None, None, KeptImages(amplify=8))['error'][1]
    assert np.array_equal(decode_image(data, 'error', channels=3), shown)
    brightness = colours @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(brightness) > -0.5).all()
    assert brightness[0] < 5
    assert brightness[-1] > 200


def test_masks_are_tints_that_lie_over_any_picture():
    suffix, data = full_images(record_of(0), labels_of(), None, KeptImages())['masks']
    tints = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert (suffix, tints.shape) == ('.png', (60, 90, 4))
    assert (tints[:, 50:, 3] == 0).all()
    assert set(np.unique(tints[:, :40, 3])) <= {89, 255}


@pytest.mark.parametrize(('kind', 'exact'), [('png', True), ('webp', True), ('jpg', False)])
def test_picture_formats(kind, exact):
    image = record_of(3).gt
    read = cv2.cvtColor(cv2.imdecode(np.frombuffer(encode(image, kind), np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert np.array_equal(read, image) == exact
    smooth = np.repeat(np.linspace(0, 255, 60)[:, None, None], 90, 1).repeat(3, 2).astype(np.uint8)
    read = cv2.imdecode(np.frombuffer(encode(smooth, kind), np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(read.astype(int) - smooth).max() <= (0 if exact else 8)


def test_thumbnails_keep_the_shape_and_never_grow():
    tall = np.zeros((900, 300, 3), np.uint8)
    for image, size in ((tall, (320, 107)), (tall[:10, :4], (10, 4)), (tall[:, :1], (320, 1))):
        data = thumbnails(Record(output_uint8=image, lq=image), 320)['output_thumb'][1]
        assert cv2.imdecode(np.frombuffer(data, np.uint8), 1).shape[:2] == size


def test_what_does_not_fit_is_refused(tmp_path):
    shown = record_of(0)
    with pytest.raises(ShapeError, match=r'59 x 90.* 60 x 90'):
        full_images(replace(shown, gt=shown.gt[1:]), labels_of(), None, KeptImages())
    with pytest.raises(ShapeError, match='float32'):
        thumbnails(replace(shown, lq=shown.lq.astype(np.float32)), 320)
    for wrong in ({'best': -1}, {'format': 'gif'}, {'amplify': 0}, {'thumbnail': 2}, {'collapsed': -1}):
        with pytest.raises(OptionError):
            KeptImages(**wrong)


def test_skipped_images_are_named_and_in_no_average(tmp_path):
    with RowWriter(tmp_path, 'GoPro', DEFINITIONS, 2) as rows:
        rows.skip('b', 'cut off')
        add(rows, 1, 'a', scores={'psnr': 30.0})
    report = join(tmp_path, FACTS, 'GoPro', DEFINITIONS, 2)
    assert report.skipped == {'b': 'cut off'}
    assert report.average('psnr').count == 1


def lines_of(folder: Path, rank: int) -> list[str]:
    return (folder / '.parts' / f'GoPro.rank{rank}.jsonl').read_text().splitlines(keepends=True)


def write_parts(folder: Path, indices: list[list[int]]) -> None:
    for rank, own in enumerate(indices):
        with RowWriter(folder, 'GoPro', DEFINITIONS, 4, rank=rank) as rows:
            for index in own:
                add(rows, index, f'image{index}', scores={'psnr': float('inf')})


def test_rows_are_on_the_disk_as_they_come(tmp_path):
    with RowWriter(tmp_path, 'GoPro', DEFINITIONS, 4) as rows:
        add(rows, 0, 'image0', scores={'psnr': 30.0})
        assert json.loads(lines_of(tmp_path, 0)[0])['row']['scores'] == {'psnr': 30.0}


@pytest.mark.parametrize(
    ('indices', 'ranks', 'message'),
    [
        ([[0, 2], [1, 3]], 3, 'rank 2 '),
        ([[0, 2], [1, 2, 3]], 2, "'image2'"),
        ([[0, 2], [3]], 2, r'\b3 .*\b0 .*\b4\b.*\[1\]'),
    ],
)
def test_missing_and_double_images_are_errors(indices, ranks, message, tmp_path):
    write_parts(tmp_path, indices)
    with pytest.raises(ReportError, match=message):
        join(tmp_path, FACTS, 'GoPro', DEFINITIONS, 4, ranks=ranks)


def test_a_process_that_stopped_is_named(tmp_path):
    write_parts(tmp_path, [[0, 2], [1, 3]])
    part, lines = tmp_path / '.parts' / 'GoPro.rank1.jsonl', lines_of(tmp_path, 1)
    for content, message in (
        (lines[:2], r'\b2\b'),
        (lines[:1] + lines[2:], r'\b1\b'),
        (lines[0][:40], 'damaged'),
    ):
        part.write_text(''.join(content))
        with pytest.raises(ReportError, match=f'rank 1.*{message}') as caught:
            join(tmp_path, FACTS, 'GoPro', DEFINITIONS, 4, ranks=2)
        assert 'rank 1' in str(caught.value)
    part.write_text(''.join(lines))
    assert len(join(tmp_path, FACTS, 'GoPro', DEFINITIONS, 4, ranks=2).rows) == 4


def test_an_error_in_the_loop_leaves_no_finished_part(tmp_path):
    with pytest.raises(ZeroDivisionError), RowWriter(tmp_path, 'GoPro', DEFINITIONS, 1) as rows:
        add(rows, 0, 'image0')
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ReportError, match='rank 0 wrote no rows'):
        join(tmp_path, FACTS, 'GoPro', DEFINITIONS, 1)


def test_a_full_disk_leaves_no_folder_of_rows(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.ENOSPC, 'No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr(Path, 'open', refuse)
        with pytest.raises(OSError, match='No space'):
            RowWriter(tmp_path, 'GoPro', DEFINITIONS, 1)
    assert list(tmp_path.iterdir()) == []


def test_parts_of_an_earlier_larger_run_do_not_count(tmp_path):
    write_parts(tmp_path, [[0], [1], [2, 3]])
    write_parts(tmp_path, [[0, 2], [1, 3]])
    report = join(tmp_path, FACTS, 'GoPro', DEFINITIONS, 4, ranks=2)
    assert [row.index for row in report.rows] == [0, 1, 2, 3]
    assert not (tmp_path / '.parts').exists()
