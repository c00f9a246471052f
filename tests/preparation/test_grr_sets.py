"""Data sets with row-dependent blur: GRR_real prepared and checked, and sets made from clips and photos."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest

from basicsr.data import build_dataset
from basicsr.data.exposure import light_of
from basicsr.data.row_exposure import RowExposure
from basicsr.images.files import imread, imwrite
from basicsr.options import load_options
from basicsr.preflight import check_paths
from basicsr.preparation.benchmark_sets import benchmark_set
from basicsr.preparation.checks.data_sets import check_data_sets
from basicsr.preparation.checks.folders import folders_of_options, folders_of_root
from basicsr.preparation.dataset_record import read_dataset_record
from basicsr.preparation.grr_synthesis import GRRPlan, synthesize
from basicsr.preparation.pipeline import prepare
from basicsr.preparation.plan import Plan
from basicsr.preparation.standin import make_standin
from basicsr.utils.errors import ArgumentError, DataError
from tests.helpers.grr_frames import write
from tests.helpers.preparations import call
from tests.helpers.project import ROOT

GRR = benchmark_set('grr_real')


@pytest.fixture
def download(tmp_path):
    """GRR_real with all its sequences, of tiny frames."""
    root = tmp_path / 'raw' / 'GRR_real'
    for part, count in GRR.counts.items():
        for number in range(count):
            write(root / part, f'{part[0]}{number:02}', [0, 1] if number else [3], size=(4, 6))
    return root


def test_grr_real_is_recognised_counted_and_read(download, tmp_path):
    out = tmp_path / 'out' / 'GRR_real'
    report = prepare(Plan(GRR, out, download.parent))  # the usual stages; only one has work
    assert report.failed == {}
    assert (
        '99 train pairs, 13 validate pairs, 13 test pairs (50 train sequences, 7 validate sequences' in report.lines[0]
    )
    assert [line.split(':')[0] for line in report.lines[1:]] == [f'{part} convert' for part in GRR.counts]
    name = 'test/t01/RSGR/PNG/0001.png'
    assert (out / name).read_bytes() == (download / name).read_bytes()
    assert not (out / 'test' / 't01' / 'RSGR' / 'RAW').exists()
    assert read_dataset_record(out)['parts']['train']['complete'] is True
    assert len(build_dataset({'type': 'GRRDataset', 'dataroot': str(out / 'train')})) == 99
    checked = check_data_sets(folders_of_root(out))
    assert [done.folders.name for done in checked] == ['train', 'test', 'validate']
    assert {fault.kind for done in checked for fault in done.faults} <= {'duplicate'}  # tiny frames repeat
    assert [done.folders.expected for done in checked] == [50, 7, 7]


def test_an_incomplete_grr_real_is_refused_by_sequences(download, tmp_path):
    shutil.rmtree(download / 'train' / 't03')
    (download / 'test' / 't01' / 'GS' / 'PNG' / '0001.png').unlink()
    out = tmp_path / 'GRR_real'
    with pytest.raises(DataError) as error:
        prepare(Plan(GRR, out, download))
    assert 'train: found 49 sequences, expected 50' in str(error.value)
    assert re.search(r'1 files without a partner.*t01/RSGR/PNG/0001', str(error.value))
    prepare(Plan(GRR, out, download, allow_partial=True))
    train, test, _ = check_data_sets(folders_of_root(out))
    assert 'PARTIAL: prepared from 49 of 50 sequences' in train.folders.note
    assert all(fault.kind == 'duplicate' for fault in [*train.faults, *test.faults])


def test_faults_of_a_folder_in_place(download):
    folder = download / 'test'
    shutil.rmtree(folder / 't05')
    (folder / 't01' / 'GS' / 'PNG' / '0001.png').unlink()
    for kind in ('RSGR', 'GS'):
        (folder / 't02' / kind / 'PNG' / '0001.png').rename(folder / 't02' / kind / 'PNG' / '0002.png')
    options = {'test': {'type': 'GRRDataset', 'name': 'rows', 'dataroot': str(folder)}}
    (done,) = check_data_sets(folders_of_options(options))
    found = {(fault.kind, fault.file.removeprefix(f'{folder}/')): fault.text for fault in done.faults}
    assert found['count', str(folder)] == 'found 6 sequences, expected 7 (GRR_real)'
    assert 'without a partner in GS' in found['missing', '0001']
    assert found['missing', 't02/1'] == 'these frames are missing'
    options['test']['allow_gaps'] = True
    (done,) = check_data_sets(folders_of_options(options))
    assert 't02/1' not in str(done.faults)


def test_a_stand_in_has_the_layout_of_grr_real(tmp_path):
    make_standin(GRR, tmp_path / 'GRR_real', count=2, size=(32, 48))
    for part in GRR.parts:
        assert build_dataset({'type': 'GRRDataset', 'dataroot': str(tmp_path / 'GRR_real' / part)}).names == [
            'STANDIN_00/00000001',
            'STANDIN_00/00000002',
        ]


@pytest.fixture
def clips(tmp_path):
    """Two clips of 6 frames; one is portrait, in a sub-folder."""
    rng = np.random.default_rng(0)
    for name, size in (('walk', (12, 16)), ('tall/part', (20, 8))):
        for number in range(6):
            path = tmp_path / 'clips' / name / f'{number + 98:03}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            imwrite(path, rng.integers(0, 256, (*size, 3), dtype=np.uint8))
    return tmp_path / 'clips'


PLAN = RowExposure(1, 4, gamma=1.0)


def test_clips_become_sequences(clips, tmp_path):
    folder = tmp_path / 'GRR_synth' / 'test'
    done = synthesize(GRRPlan(PLAN, clips=[str(clips)], stride=2), folder)
    assert (done.results, done.failed) == ([2, 2], {})
    dataset = build_dataset({'type': 'GRRDataset', 'dataroot': str(folder)})
    assert dataset.names == ['tall-part/000000', 'tall-part/000001', 'walk/000000', 'walk/000001']
    frames = [imread(clips / 'walk' / f'{number:03}.png') for number in range(100, 104)]
    item = dataset[3]
    lq, gt = (item[key].permute(1, 2, 0).numpy() for key in ('lq', 'gt'))
    assert np.array_equal(gt, frames[0]) and np.array_equal(lq[0], frames[0][0])
    assert np.array_equal(lq[-1], np.rint(255 * np.mean([light_of(f, 1.0) for f in frames], axis=0)[-1]).astype(int))
    assert dataset[0]['lq'].shape == (3, 20, 8)
    assert (folder / 'grr_synth.jpg').is_file()
    assert check_data_sets(folders_of_root(folder.parent))[0].faults == []


def test_photos_become_sequences_of_crops(tmp_path):
    rng = np.random.default_rng(0)
    for name in ('a.png', 'b.png'):
        (tmp_path / 'photos').mkdir(exist_ok=True)
        imwrite(tmp_path / 'photos' / name, rng.integers(0, 256, (60, 50, 3), dtype=np.uint8))
    plan = GRRPlan(PLAN, photos=[str(tmp_path / 'photos')], crop=(48, 32), per_photo=2, path_length=(6, 12))
    assert synthesize(plan, tmp_path / 'one').results == [2, 2]
    synthesize(plan, tmp_path / 'two', workers=2)
    files = sorted(path.relative_to(tmp_path / 'one') for path in (tmp_path / 'one').rglob('*.png'))
    assert len(files) == 8
    for file in files:
        assert (tmp_path / 'one' / file).read_bytes() == (tmp_path / 'two' / file).read_bytes()
    lq, gt = (imread(tmp_path / 'one' / 'a' / kind / 'PNG' / '000001.png').astype(int) for kind in ('RSGR', 'GS'))
    assert lq.shape == (48, 32, 3)
    assert np.abs(lq - gt)[:4].mean() < 0.5 * np.abs(lq - gt)[-16:].mean()
    with pytest.raises(DataError, match=r'at least 61 rows and 32 columns.*a.png \(50×60\)'):
        synthesize(GRRPlan(PLAN, photos=[str(tmp_path / 'photos')], crop=(61, 32)), tmp_path / 'three')


def test_a_photo_of_one_colour_fails_alone(tmp_path):
    (tmp_path / 'photos').mkdir()
    imwrite(tmp_path / 'photos' / 'flat.png', np.full((60, 50, 3), 90, np.uint8))
    imwrite(tmp_path / 'photos' / 'noise.png', np.random.default_rng(0).integers(0, 256, (60, 50, 3), dtype=np.uint8))
    done = synthesize(GRRPlan(PLAN, photos=[str(tmp_path / 'photos')], path_length=(6, 12)), tmp_path / 'train')
    assert done.results == [1]
    assert list(done.failed) == ['flat'] and 'flat.png: all pixels have the same colour' in done.failed['flat']


def test_an_interrupted_run_continues_and_other_settings_are_refused(clips, tmp_path):
    plan, folder = GRRPlan(PLAN, clips=[str(clips)]), tmp_path / 'test'
    synthesize(plan, folder)
    before = {path: path.stat().st_mtime_ns for path in (folder / 'walk').rglob('*.png')}
    shutil.rmtree(folder / 'tall-part')
    (folder / '.0123.part' / 'RSGR').mkdir(parents=True)  # of a killed run
    assert synthesize(plan, folder).results == [3, 3]
    assert {path: path.stat().st_mtime_ns for path in (folder / 'walk').rglob('*.png')} == before
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ['tall-part', 'walk']
    with pytest.raises(DataError, match=r'contains other data \(stride differ\)'):
        synthesize(GRRPlan(PLAN, clips=[str(clips)], stride=2), folder)


def gap(walk):
    (walk / '101.png').unlink()


def several_gaps(walk):
    (walk / '101.png').unlink()
    (walk / '100.png').unlink()


def other_size(walk):
    imwrite(walk / '102.png', np.zeros((12, 18, 3), np.uint8))


def without_number(walk):
    (walk / '103.png').rename(walk / 'last.png')


def two_clips(walk):
    (walk / '103.png').rename(walk / 'run_103.png')


def too_short(walk):
    for number in range(98, 101):
        (walk / f'{number:03}.png').unlink()


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (gap, r'walk: 1 frame missing between 100.png and 102.png; .*consecutive'),
        (several_gaps, r'walk: 2 frames missing between 099.png and 102.png'),
        (other_size, r'walk: .*one size, but 098.png has 16×12, 102.png has 18×12'),
        (without_number, r'last.png: the names of the frames'),
        (two_clips, r'walk: several clips in one folder \(098.png, run_103.png\)'),
        (too_short, r'walk: 3 frames; .*needs 4'),
    ],
)
def test_clips_that_cannot_be_used_are_refused(clips, tmp_path, change, message):
    change(clips / 'walk')
    with pytest.raises(DataError, match=message):
        synthesize(GRRPlan(PLAN, clips=[str(clips)]), tmp_path / 'test')
    assert not (tmp_path / 'test').exists()


def test_a_broken_frame_fails_its_sequence_alone(clips, tmp_path):
    (clips / 'walk' / '100.png').write_bytes((clips / 'walk' / '100.png').read_bytes()[:60])
    done = synthesize(GRRPlan(PLAN, clips=[str(clips)]), tmp_path / 'test')
    assert done.results == [3]
    assert list(done.failed) == ['walk'] and '100.png' in done.failed['walk']
    assert not (tmp_path / 'test' / 'walk').exists()


def test_numbers_out_of_range_are_refused():
    for more, message in (
        ({}, 'no input'),
        ({'clips': ['x'], 'stride': 0}, '--stride'),
        ({'photos': ['x'], 'path_length': (3.0, 2.0)}, '--path-length'),
        ({'photos': ['x'], 'path_length': (3.0, float('inf'))}, '--path-length'),
    ):
        with pytest.raises(ArgumentError, match=message):
            GRRPlan(PLAN, **more)


def test_the_command_and_the_option_files_that_read_its_result(clips, tmp_path, monkeypatch, capsys):
    out = tmp_path / 'GRR_synth'
    for part in ('train', 'validate', 'test'):
        flags = ['grr-synth', '--clips', clips, '--out', out, '--part', part, '--exposure', '1', '4']
        assert call(ROOT / 'scripts' / 'prepare_data.py', flags, monkeypatch) == 0
        assert f'6 pairs in 2 sequences in {out / part}' in capsys.readouterr().out
    settings = json.loads((out / 'test' / 'grr_synth.json').read_text())
    assert settings['exposure'] == {
        'first': 1.0, 'last': 4.0, 'brightness': 'mean', 'target': 'first_row', 'gamma': 2.2, 'noise': 0.0
    }  # fmt: skip
    for file, roots in (('GRR_real/RSST', ('train', 'val')), ('GRR_synth/RSST_tiny', ('train', 'val'))):
        force = [f'datasets:{key}:dataroot={out / ("train" if key == "train" else "validate")}' for key in roots]
        options = load_options(ROOT / f'options/train/{file}.yml', force)
        check_paths(options)
        block = options.datasets['train'].as_dict()
        assert len(build_dataset({'type': 'GRRDataset', 'dataroot': block['dataroot']}, phase='train')) == 6
    assert (
        call(ROOT / 'scripts' / 'check_data.py', ['--root', out, '--out', tmp_path / 'checked'], monkeypatch) == 1
    )  # equal parts
    assert 'the same blurred image' in (tmp_path / 'checked' / 'report.md').read_text()
