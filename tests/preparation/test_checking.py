"""Checking data sets: every kind of fault is found, by file name, and what is right is called right."""

from __future__ import annotations

import json
import re
import shutil

import cv2
import numpy as np
import pytest

from basicsr.data.stores.lmdb import write_lmdb
from basicsr.images.files import imread
from basicsr.masks import read_masks, write_label_map
from basicsr.preparation.benchmark_sets import SETS
from basicsr.preparation.checks.data_sets import check_data_sets
from basicsr.preparation.checks.folders import folders_of_options, folders_of_root
from basicsr.preparation.checks.report import report_markdown, write_check_report
from basicsr.preparation.pipeline import prepare
from basicsr.preparation.plan import Plan
from basicsr.utils.errors import DataError
from tests.helpers.preparations import call
from tests.helpers.project import ROOT

SCRIPT = ROOT / 'scripts' / 'check_data.py'
NAMES = [
    f'reds_{part}00{scene}_0{frame}' for part, scene, frame in (('test', 0, 13), ('test', 1, '09'), ('train', 0, '00'))
]
NAMES += ['reds_train001_000', 'reds_test000_020']


@pytest.fixture
def prepared(shared_data, tmp_path):
    """Five real test pairs with masks, prepared as HIDE."""
    for side in ('input', 'target'):
        (tmp_path / 'raw' / 'test' / side).mkdir(parents=True)
        for name in NAMES:
            shutil.copy(shared_data / 'pairs' / side / f'{name}.png', tmp_path / 'raw' / 'test' / side)
    plan = Plan(
        SETS['hide'],
        tmp_path / 'HIDE',
        tmp_path / 'raw',
        allow_partial=True,
        generator={'type': 'felzenszwalb', 'max_pixels': 20000, 'min_size': 20},
    )
    prepare(plan)
    return tmp_path / 'HIDE' / 'test'


def faults(root, **more):
    return [
        (fault.kind, fault.file, fault.text)
        for done in check_data_sets(folders_of_root(root), **more)
        for fault in done.faults
    ]


def test_a_whole_set_is_called_whole(prepared, shared_data):
    checked = check_data_sets(folders_of_root(prepared.parent))
    assert len(checked) == 1 and checked[0].faults == []
    assert checked[0].sizes == {'320x180': 5}
    with (shared_data / 'pairs.csv').open(encoding='utf-8') as file:
        columns = file.readline().strip().split(',')
        rows = [dict(zip(columns, line.split(','), strict=False)) for line in file]
    known = {row['file'].removesuffix('.png'): float(row['psnr_input_vs_target_db']) for row in rows}
    np.testing.assert_allclose(checked[0].psnr, [known[name] for name in sorted(NAMES)], atol=1e-3)
    masks = [read_masks(prepared / 'grouped_masks' / f'{name}.png') for name in sorted(NAMES)]
    assert [facts.regions for facts in checked[0].masks(0)] == [labels.max() for labels in masks]
    assert {facts.coverage for facts in checked[0].masks(0)} == {1.0}
    assert all(facts.explained > facts.turned for facts in checked[0].masks(0))
    assert len(checked[0].masks(1)) == 5  # the gray pictures


@pytest.mark.parametrize('deep', ['input', 'target'])
def test_a_pair_of_different_depths_is_whole_and_measured(prepared, deep):
    before = check_data_sets(folders_of_root(prepared.parent))[0].psnr
    for path in (prepared / deep).iterdir():
        cv2.imwrite(str(path), cv2.imread(str(path)).astype(np.uint16) * 257)
    (checked,) = check_data_sets(folders_of_root(prepared.parent))
    assert checked.faults == []
    np.testing.assert_allclose(checked.psnr, before, atol=1e-4)  # of float32


@pytest.mark.parametrize('workers', [1, pytest.param(2, marks=pytest.mark.slow)])
def test_all_faults_are_listed_by_name(prepared, workers):
    a, b, c, d, e = (f'{name}.png' for name in sorted(NAMES))
    (prepared / 'input' / a).write_bytes((prepared / 'input' / a).read_bytes()[:20000])
    (prepared / 'target' / b).write_bytes(b'')
    cv2.imwrite(str(prepared / 'target' / c), np.zeros((180, 321, 3), np.uint8))
    (prepared / 'grouped_masks' / d).unlink()
    write_label_map(prepared / 'grouped_masks' / e, np.ones((1, 181, 320), np.int32))
    (prepared / 'input_mask' / e).write_bytes(b'\x89PNG')
    np.savez(prepared / 'grouped_masks' / 'nobody.npz', masks=np.ones((1, 1, 4, 4), bool))
    shutil.copy(prepared / 'input_mask' / d, prepared / 'target' / 'lonely.png')
    found = faults(prepared.parent, workers=workers)
    expected = [
        ('unreadable', prepared / 'input' / a, 'cut off'),
        ('unreadable', prepared / 'target' / b, '0 bytes'),
        ('size', prepared / 'input' / c, r'\(180, 320\).*\(180, 321\)'),
        ('mask', prepared / 'input' / d, str(prepared / 'grouped_masks')),
        ('size', prepared / 'grouped_masks' / e, r'\(181, 320\).*\(180, 320\)'),
        ('unreadable', prepared / 'input_mask' / e, 'damaged'),
        ('mask', prepared / 'grouped_masks' / 'nobody.npz', 'image'),
        ('missing', prepared / 'target' / 'lonely.png', 'blurred'),
    ]
    assert len(found) == len(expected)
    for kind, file, text in expected:
        assert [bool(re.search(text, words)) for k, f, words in found if (k, f) == (kind, str(file))] == [True], (
            kind,
            file,
        )


def test_a_pair_that_vanished_is_missed(prepared):
    for folder in ('input', 'target', 'grouped_masks', 'input_mask'):
        (prepared / folder / f'{NAMES[0]}.png').unlink()
    (found,) = faults(prepared.parent)
    assert found[0] == 'count' and re.search(r'\b4 .*\b5\b', found[2])
    (prepared.parent / 'dataset.json').unlink()  # without the record the set is known by its name
    (found,) = faults(prepared.parent)
    assert re.search(r'\b4 .*\b2025\b', found[2])
    prepared.parent.rename(prepared.parents[1] / 'mine')
    assert faults(prepared.parents[1] / 'mine') == []


CHANGES = {
    'mirrored': lambda labels: labels[:, :, ::-1],
    'by 180 degrees': lambda labels: labels[:, ::-1, ::-1],
    'by 90 degrees': lambda labels: np.rot90(labels, axes=(1, 2)),
}


@pytest.mark.parametrize('change', [*CHANGES, 'of other images'])
def test_masks_that_do_not_belong_to_their_images(prepared, change):
    files = sorted((prepared / 'grouped_masks').glob('*.png'))
    masks = [read_masks(path) for path in files]
    if change == 'by 90 degrees':  # that fits square images only
        for path in [*prepared.glob('input*/*.png'), *prepared.glob('target/*.png')]:
            cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[:180, :180])
        masks = [labels[:, :180, :180] for labels in masks]
    changed = list(map(CHANGES[change], masks)) if change in CHANGES else masks[1:] + masks[:1]
    for path, labels in zip(files, [*changed[:2], *masks[2:]], strict=True):
        write_label_map(path, labels)
    assert faults(prepared.parent) == []  # two of five: some images are symmetric
    for path, labels in zip(files, changed, strict=True):
        write_label_map(path, labels)
    (found,) = faults(prepared.parent)
    assert found[:2] == ('mask', str(prepared / 'grouped_masks')) and 'flipped' in found[2]


def test_duplicates_within_and_across_parts(prepared):
    a, b = (prepared / 'input' / f'{name}.png' for name in sorted(NAMES)[:2])
    shutil.copytree(prepared, prepared.parent / 'train')
    for path in (prepared.parent / 'train').glob('*/*.png'):
        if path.stem != sorted(NAMES)[4]:
            path.unlink()
    shutil.copy(a, b)
    found = [fault for fault in faults(prepared.parent) if fault[0] == 'duplicate']
    train = prepared.parent / 'train'
    name = f'{sorted(NAMES)[4]}.png'
    assert sorted((*fault[:2], fault[2].split()[-1]) for fault in found) == sorted(
        [
            ('duplicate', str(a), str(b)),
            ('duplicate', str(train / 'input' / name), str(prepared / 'input' / name)),
            ('duplicate', str(train / 'target' / name), str(prepared / 'target' / name)),
        ]
    )


def test_an_image_that_is_not_blurred(prepared):
    shutil.copy(prepared / 'target' / f'{NAMES[1]}.png', prepared / 'input')
    (found,) = faults(prepared.parent)
    assert found[0] == 'content' and f'{NAMES[1]}.png' in found[1]


def test_quick_decodes_a_sample_and_names_all(prepared, monkeypatch):
    monkeypatch.setattr('basicsr.preparation.checks.data_sets.QUICK', 2)
    path = prepared / 'input' / f'{sorted(NAMES)[1]}.png'
    path.write_bytes(path.read_bytes()[:20000])
    shutil.copy(prepared / 'target' / f'{sorted(NAMES)[3]}.png', prepared / 'target' / f'{sorted(NAMES)[1]}.png')
    checked = check_data_sets(folders_of_root(prepared.parent), quick=True)
    assert [item.decode for item in checked[0].items] == [True, False, True, False, True]
    assert [fault.kind for fault in checked[0].faults] == ['duplicate']
    assert re.search(r'Quick.*\b2 pairs', report_markdown(checked, 'x'))
    assert {fault[0] for fault in faults(prepared.parent)} == {'duplicate', 'unreadable'}


def test_lmdb(prepared, tmp_path):
    for name, kind in (('input', 'images'), ('target', 'images'), ('grouped_masks', 'masks')):
        write_lmdb(prepared / name, tmp_path / 'packed' / 'test' / f'{name}.lmdb', kind)
    checked = check_data_sets(folders_of_root(tmp_path / 'packed'))
    assert [len(done.items) for done in checked] == [5] and checked[0].faults == []
    assert len(checked[0].masks(0)) == 5


def test_the_data_sets_of_an_option_file(prepared):
    block = {
        'name': 'mine',
        'type': 'PairedImageMaskDataset',
        'dataroot_lq': str(prepared / 'input'),
        'dataroot_gt': str(prepared / 'target'),
        'dataroot_mask': str(prepared / 'input_mask'),
    }
    (done,) = check_data_sets(folders_of_options({'val': block}))
    assert done.faults == [] and done.folders.masks[0][1]
    gone = {**block, 'dataroot_gt': str(prepared / 'gone')}
    found = check_data_sets(folders_of_options({'val': gone}))[0].faults
    assert [fault.text.split(': ')[0] for fault in found] == [str(prepared / 'gone')]
    other = {**block, 'filename_tmpl': '{}_b'}
    found = check_data_sets(folders_of_options({'val': other}))[0].faults
    assert sum('blurred' in fault.text for fault in found) == 5
    listed = prepared / 'list.txt'
    listed.write_text(f'{NAMES[0]}.png\n{NAMES[1]}.png\n')
    (done,) = check_data_sets(folders_of_options({'val': {**block, 'meta_info_file': str(listed)}}))
    assert len(done.items) == 2 and done.faults == []
    with pytest.raises(DataError, match='data set'):
        folders_of_options({'train': {'type': 'SyntheticBlurDataset'}})


def test_the_report_and_the_contact_sheet(prepared, tmp_path):
    checked = check_data_sets(folders_of_root(prepared.parent))
    write_check_report(checked, tmp_path / 'report', 'Check of HIDE', rows=2)
    text = (tmp_path / 'report' / 'report.md').read_text(encoding='utf-8')
    assert '| test/input | 5 | 5 | 5 × 320x180 |' in text and 'faults' in text
    assert re.search('HIDE, PARTIAL: .*5 of 2025 pairs', text)
    data = json.loads((tmp_path / 'report' / 'report.json').read_text(encoding='utf-8'))
    assert data['sets'][0]['pairs'] == 5 and data['sets'][0]['faults'] == []
    sheet = imread(tmp_path / 'report' / 'contact_sheet.jpg')
    assert sheet.shape == (2 * (22 + 180), 4 * 320, 3)
    blurred, sharp, regions = (
        sheet[22 + 30 : 202, 320 * column : 320 * column + 320].astype(int) for column in range(3)
    )
    lq, gt = (imread(prepared / side / f'{sorted(NAMES)[0]}.png')[30:].astype(int) for side in ('input', 'target'))
    assert abs(blurred - lq).mean() < 4 and abs(sharp - gt).mean() < 6
    assert abs(regions - lq).mean() > 15
    assert len(np.unique(sheet[22:202, 960:1280])) > 5


def test_the_command(prepared, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call(SCRIPT, ['--root', prepared.parent], monkeypatch) == 0
    assert 'faults' in capsys.readouterr().out
    assert (tmp_path / 'results' / 'check_data' / 'HIDE' / 'contact_sheet.jpg').is_file()
    (prepared / 'input' / f'{NAMES[0]}.png').write_bytes(b'')
    assert call(SCRIPT, ['--root', prepared.parent, '--out', tmp_path / 'here'], monkeypatch) == 1
    assert f'- unreadable: {prepared / "input" / NAMES[0]}.png: ' in capsys.readouterr().out
    assert (tmp_path / 'here' / 'report.json').is_file()
    for arguments, message in (
        (['--root', tmp_path / 'gone'], f'{tmp_path / "gone"}: '),
        (['--root', tmp_path / 'here'], f'{tmp_path / "here"}'),
        (['-opt', tmp_path / 'gone.yml'], 'gone.yml'),
    ):
        assert call(SCRIPT, arguments, monkeypatch) == 1
        assert message in capsys.readouterr().err
