"""DPDD and LFDOF: recognised, counted, checked and read in the folders of their archives."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest

from basicsr.data import build_dataset
from basicsr.images.files import imwrite
from basicsr.options import load_options
from basicsr.preparation.benchmark_sets import benchmark_set
from basicsr.preparation.checks.data_sets import check_data_sets
from basicsr.preparation.checks.folders import folders_of_options, folders_of_root
from basicsr.preparation.pipeline import describe_plan, prepare
from basicsr.preparation.plan import USUAL_STAGES, Plan
from basicsr.preparation.standin import make_standin
from basicsr.utils.errors import DataError
from tests.helpers.project import ROOT


def image(path, seed, dtype=np.uint16, size=(16, 24)):
    path.parent.mkdir(parents=True, exist_ok=True)
    imwrite(path, np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (*size, 3), dtype=dtype))


@pytest.fixture
def dpdd(tmp_path):
    """Two scenes of each part, whose order by name is not that of their numbers; file names as in the archive."""
    root = tmp_path / 'downloads' / 'dd_dp_dataset_png'
    for place, part in enumerate(('train', 'val', 'test')):
        for number in (9, 10):
            for seed, (folder, name) in enumerate(
                (('c/source', f'1P0A{number}'), ('c/target', f'1P0A{number - 1}'),
                 ('l/source', f'1P0A{number}_L'), ('r/source', f'1P0A{number}_R'))
            ):  # fmt: skip
                image(root / f'{part}_{folder}' / f'{name}.png', 100 * place + 10 * number + seed)
    return root


@pytest.fixture
def lfdof(tmp_path):
    root = tmp_path / 'downloads' / 'LFDOF_archive'
    for place, part in enumerate(('train', 'test')):
        for scene in ('a', 'b'):
            image(root / f'{part}_data' / 'ground_truth' / f'{scene}.png', ord(scene) + 500 * place, np.uint8)
            for aperture in (1, 2):
                name = f'{scene}_ap{aperture}.png'
                image(root / f'{part}_data' / 'input' / name, 1000 * aperture + ord(scene) + 500 * place, np.uint8)
    return root


@pytest.mark.parametrize(('key', 'count', 'files'), [('dpdd', 2, 24), ('lfdof', 4, 12)])
def test_an_archive_is_recognised_counted_linked_and_checked(request, tmp_path, key, count, files):
    root, benchmark = request.getfixturevalue(key), benchmark_set(key)
    out = tmp_path / 'datasets' / benchmark.folder
    with pytest.raises(DataError) as error:
        prepare(Plan(benchmark, out, root.parent))
    text = str(error.value)
    for part, expected in benchmark.counts.items():
        assert f'{part}: found {count} pairs, expected {expected}' in text
    assert benchmark.page in text and not out.exists()
    plan = Plan(benchmark, out, root.parent, allow_partial=True, link='symbolic')
    assert [line for line in describe_plan(plan, USUAL_STAGES) if line.startswith('  ')] == [
        f'  {part} convert' for part in benchmark.counts
    ]
    assert not prepare(plan).failed
    names = {path.relative_to(out) for path in out.rglob('*.png')}
    assert names == {path.relative_to(root) for path in root.rglob('*.png')} and len(names) == files
    assert all(path.samefile(root / path.relative_to(out)) for path in out.rglob('*.png'))
    assert all(line.split(': ')[1].startswith('0 made') for line in prepare(plan).lines if 'convert:' in line)
    checked = check_data_sets(folders_of_root(out), workers=1)
    assert [done.faults for done in checked] == [[]] * len(checked)
    assert sum(len(done.items) for done in checked) == (18 if key == 'dpdd' else 8)
    assert all('PARTIAL' in done.folders.note for done in checked)


def test_an_archive_may_be_checked_as_unpacked(dpdd, tmp_path):
    root = tmp_path / 'DPDD'
    dpdd.rename(root)
    checked = check_data_sets(folders_of_root(root), workers=1)
    counts = [fault.text for done in checked for fault in done.faults if fault.kind == 'count']
    assert len(counts) == 9 and counts[0] == 'found 2 pairs, expected 350 (DPDD)'


def test_option_files_read_what_was_prepared(dpdd, lfdof, tmp_path, monkeypatch):
    for key, root in (('dpdd', dpdd), ('lfdof', lfdof)):
        prepare(Plan(benchmark_set(key), tmp_path / 'datasets' / key.upper(), root, allow_partial=True))
    monkeypatch.chdir(tmp_path)
    for file, channels in (('DPDD/LaKDNet_S_dual', 9), ('DPDD/LaKDNet_S', 3), ('LFDOF/LaKDNet_S', 3)):
        options = load_options(ROOT / 'options' / 'train' / f'{file}.yml', ['datasets:train:gt_size=8'])
        for key, block in options.datasets.items():
            dataset = build_dataset(block, phase=key.split('_')[0], seed=0)
            assert len(dataset) == (2 if 'DPDD' in file else 4)
            assert dataset[1]['lq'].shape[0] == channels
        checked = check_data_sets(folders_of_options(options.as_dict()['datasets']), workers=1)
        assert [done.faults for done in checked] == [[]] * len(checked)
        assert [done.folders.expected for done in checked] == [2 if 'DPDD' in file else 4] * len(checked)
        assert len(checked) == (6 if 'dual' in file else 2)


def test_what_does_not_fit_is_named(dpdd, lfdof, tmp_path):
    (dpdd / 'test_l' / 'source' / '1P0A9_L.png').unlink()
    with pytest.raises(DataError, match=r'test_l/source: 1 images, but 2 in .*test_c/source'):
        prepare(Plan(benchmark_set('dpdd'), tmp_path / 'out', dpdd, allow_partial=True))
    image(dpdd / 'test_l' / 'source' / '1P0A9_L.png', 3, size=(16, 23))
    report = prepare(Plan(benchmark_set('dpdd'), tmp_path / 'out', dpdd, allow_partial=True))
    (reason,) = report.failed.values()
    assert re.search(r'1P0A9\.png has \(16, 24\) pixels.*1P0A9_L\.png has \(16, 23\)', reason)
    (lfdof / 'test_data' / 'ground_truth' / 'b.png').unlink()
    with pytest.raises(DataError, match=r'b_ap1'):
        prepare(Plan(benchmark_set('lfdof'), tmp_path / 'out2', lfdof, allow_partial=True))
    shutil.rmtree(lfdof)
    (tmp_path / 'empty').mkdir()
    with pytest.raises(DataError, match=r'no files of type.*\n.*\n.*train\|val\|test_data/input.*\nDownload LFDOF'):
        prepare(Plan(benchmark_set('lfdof'), tmp_path / 'out2', tmp_path / 'empty'))


@pytest.mark.parametrize('key', ['dpdd', 'lfdof'])
def test_stand_ins_have_the_form_of_the_archive(tmp_path, monkeypatch, key):
    benchmark = benchmark_set(key)
    make_standin(benchmark, tmp_path / 'datasets' / benchmark.folder, count=2, size=(16, 24))
    assert [len(done.items) for done in check_data_sets(folders_of_root(tmp_path / 'datasets' / benchmark.folder))] == [
        2
    ] * (9 if key == 'dpdd' else 2)
    monkeypatch.chdir(tmp_path)
    options = load_options(ROOT / 'options' / 'train' / benchmark.folder / 'LaKDNet_S.yml')
    assert len(build_dataset(options.datasets['val'], phase='val')) == 2
