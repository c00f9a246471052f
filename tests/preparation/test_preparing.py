"""Preparing GoPro for the option files: all stages, killed and resumed, with broken files, on a full disk."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from basicsr.archs import build_network
from basicsr.data import build_dataset
from basicsr.data.stores.lmdb import LmdbStore
from basicsr.images.files import imread
from basicsr.masks import gray_from_masks, masks_from_gray, masks_from_label_map, read_masks
from basicsr.options import load_options
from basicsr.preflight import check_paths
from basicsr.preparation.benchmark_sets import SETS
from basicsr.preparation.checks.data_sets import check_data_sets
from basicsr.preparation.checks.folders import folders_of_options
from basicsr.preparation.dataset_record import locked_folder, read_dataset_record
from basicsr.preparation.pipeline import hints, prepare
from basicsr.preparation.plan import Plan, PredeblurNetwork
from basicsr.preparation.stages.predeblur import ImageRestorer
from basicsr.utils.errors import ArgumentError, DataError, OutputError
from basicsr.weights.files import save_weights
from tests.helpers.preparations import call
from tests.helpers.project import ROOT

SCRIPT = ROOT / 'scripts' / 'prepare_data.py'
SMALL = {'type': 'felzenszwalb', 'max_pixels': 20000, 'min_size': 20}
TINY = {'type': 'NAFNet', 'width': 2, 'enc_blk_nums': [1], 'dec_blk_nums': [1]}
ALL = ['convert', 'crops', 'predeblur', 'masks', 'group', 'lmdb']


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but LMDB data, whose pages depend on history."""
    files = sorted(path for path in folder.rglob('*') if path.is_file() and path.suffix != '.mdb')
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def lay_out(root, shared_data, files):
    """Real pairs under other names."""
    for path, name in files.items():
        for kind, side in (('blur', 'input'), ('sharp', 'target')):
            (root / path.format(kind)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(shared_data / 'pairs' / side / f'{name}.png', root / path.format(kind))
    return root


@pytest.fixture
def full_size(shared_data, tmp_path):
    """GOPRO_Large with two training pairs of 1280x720 and one of 320x180, and one test pair."""
    files = {
        'train/GOPR0372_07_00/{}/000047.png': 'gopro_GOPR0372_07_00-000047',
        'train/GOPR0372_07_00/{}/000110.png': 'gopro_GOPR0372_07_00-000110',
        'train/x2 grün x4/{}/000001.png': 'reds_train000_000',
        'test/GOPR0384_11_00/{}/000001.png': 'gopro_istanbul',
    }
    return lay_out(tmp_path / 'GOPRO_Large', shared_data, files)


@pytest.fixture
def raw(shared_data, tmp_path):
    """The same with pictures of 320x180, each of which is one crop."""
    files = {
        'train/GOPR0372_07_00/{}/000047.png': 'reds_train000_000',
        'train/GOPR0372_07_00/{}/000110.png': 'reds_train001_000',
        'train/x2 grün x4/{}/000001.png': 'reds_test000_013',
        'test/GOPR0384_11_00/{}/000001.png': 'reds_test001_009',
    }
    return lay_out(tmp_path / 'GOPRO_Large', shared_data, files)


@pytest.fixture
def weights(tmp_path):
    """A network that brightens: its output is told from its input."""
    torch.manual_seed(0)
    net = build_network(TINY)
    net.ending.weight.data *= 0.1
    net.ending.bias.data += 0.2
    save_weights(tmp_path / 'tiny.pth', net)
    return tmp_path / 'tiny.pth'


@pytest.mark.slow
def test_gopro_comes_out_as_the_option_files_want_it(full_size, weights, tmp_path, monkeypatch):
    out = tmp_path / 'datasets' / 'GoPro'
    plan = Plan(
        SETS['gopro'],
        out,
        full_size,
        allow_partial=True,
        generator=SMALL,
        network=PredeblurNetwork(TINY, weights, device='cpu'),
    )
    report = prepare(plan, ALL)
    assert not report.failed and hints(plan, ALL) == []
    assert 'train crops: 34 made, 0 kept, 0 failed' in report.lines
    record = read_dataset_record(out)
    assert record['stages']['predeblur']['train']['settings']['network'] == TINY
    assert len(record['stages']['predeblur']['train']['settings']['weights_sha256']) == 64
    assert record['stages']['masks']['train']['settings']['made_of'] == {'masks': 'predeblurred'}
    assert record['stages']['masks']['test']['settings']['made_of'] == {
        'masks': 'input',
        'masks_predeblurred': 'predeblurred',
    }

    # pre-deblurred images are the network's output, and nothing but masks is made of them
    blurred, restored = (imread(out / 'train' / name / 'x2 grün x4-000001.png') for name in ('input', 'predeblurred'))
    assert (restored.astype(int) - blurred).mean() > 40
    names = {path.name for path in (out / 'train' / 'blur_crops').iterdir()}
    assert len(names) == 17 and 'x2 grün x4-000001_s001.png' in names and 'GOPR0372_07_00-000110_s008.png' in names
    for folder in ('sharp_crops', 'grouped_masks_crops', 'blur_predeblur_mask_crops'):
        assert {path.name for path in (out / 'train' / folder).iterdir()} == names
    gray, labels = (
        read(out / 'train' / folder / 'GOPR0372_07_00-000047_s006.png')
        for folder, read in (('blur_predeblur_mask_crops', imread), ('grouped_masks_crops', read_masks))
    )
    whole = masks_from_label_map(read_masks(out / 'train' / 'masks' / 'GOPR0372_07_00-000047.png'))
    np.testing.assert_array_equal(gray[:, :, 0], gray_from_masks(whole)[208:, 256:768])
    np.testing.assert_array_equal(masks_from_label_map(labels), [m for m in whole[:, :, 208:, 256:768] if m.any()])

    # test images: regions from the blurred image, gray pictures from either, by name
    test = {name: out / 'test' / name / 'GOPR0384_11_00-000001.png' for name in ('grouped_masks', 'input_mask')}
    test['predicted'] = out / 'test' / 'input_predict_mask' / 'GOPR0384_11_00-000001.png'
    regions = masks_from_label_map(read_masks(test['grouped_masks']))
    np.testing.assert_array_equal(imread(test['input_mask'])[:, :, 0], gray_from_masks(regions))
    predicted = masks_from_label_map(read_masks(out / 'test' / 'masks_predeblurred' / 'GOPR0384_11_00-000001.png'))
    np.testing.assert_array_equal(imread(test['predicted'])[:, :, 0], gray_from_masks(predicted))
    assert (imread(test['predicted']) != imread(test['input_mask'])).any()

    # the option files, as they are
    monkeypatch.chdir(tmp_path)
    for name, count in (('NAFNet', None), ('CAT', 1), ('MAP', 1), ('SAMDeblur', 1)):
        options = load_options(ROOT / 'options' / 'train' / 'GoPro' / f'{name}.yml')
        check_paths(options)
        train, val = (build_dataset(options.datasets[phase], phase=phase) for phase in ('train', 'val'))
        assert (len(train), len(val)) == (17, 1)
        item = train[0]
        assert item['lq'].shape == item['gt'].shape == (3, 256, 256)
        assert ('masks' in item) == (count is not None) and val[0]['lq'].shape == (3, 720, 1280)
        checked = check_data_sets(folders_of_options(options.as_dict()['datasets']))
        assert [fault for done in checked for fault in done.faults] == []
        assert [done.folders.expected for done in checked] == [17, 1]

    # and once more as LMDB
    assert {path.name for path in (out / 'train').glob('*.lmdb')} == {
        f'{name}.lmdb' for name in ('blur_crops', 'sharp_crops', 'grouped_masks_crops', 'blur_predeblur_mask_crops')
    }
    assert LmdbStore(out / 'train' / 'grouped_masks_crops.lmdb').keys == sorted(name[:-4] for name in names)
    block = {
        'type': 'PairedImageMaskDataset',
        **{
            f'dataroot_{kind}': str(out / 'test' / f'{name}.lmdb')
            for kind, name in (('gt', 'target'), ('lq', 'input'), ('mask', 'input_predict_mask'))
        },
    }
    item = build_dataset({**block, 'io_backend': {'type': 'lmdb'}})[0]
    np.testing.assert_array_equal(item['masks'][0].numpy(), imread(test['predicted'])[:, :, 0])

    before = contents(out)
    report = prepare(plan, ALL)
    assert all(': 0 made' in line for line in report.lines if ' made, ' in line)
    assert contents(out) == before


def test_masks_from_the_blurred_images_and_in_the_originals_format(raw, tmp_path):
    out = tmp_path / 'out'
    plan = Plan(SETS['gopro'], out, raw, masks_from='blurred', original_masks=True, generator=SMALL, allow_partial=True)
    prepare(plan)
    assert not (out / 'train' / 'predeblurred').exists() and not (out / 'test' / 'input_predict_mask').exists()
    assert '--force_yml datasets:val:dataroot_mask=' + str(out / 'test' / 'input_mask') in hints(plan, ['group'])[0]
    name = 'GOPR0384_11_00-000001'
    masks = masks_from_label_map(read_masks(out / 'test' / 'masks' / f'{name}.png'))
    gray = gray_from_masks(masks, 'reference')
    np.testing.assert_array_equal(imread(out / 'test' / 'input_mask' / f'{name}.png')[:, :, 0], gray)
    with np.load(out / 'test' / 'grouped_masks' / f'{name}.npz') as file:
        assert file.files == ['masks'] and file['masks'].dtype == bool
        np.testing.assert_array_equal(file['masks'], masks_from_gray(gray))
    assert len(list((out / 'train' / 'grouped_masks_crops').glob('*.npz'))) == 3
    # the other format into the same folder: only on demand, and then it is the only one
    with pytest.raises(DataError, match=r'format: original .*label_map'):
        prepare(Plan(SETS['gopro'], out, masks_from='blurred', generator=SMALL), ['group'])
    prepare(Plan(SETS['gopro'], out, masks_from='blurred', generator=SMALL, force=True), ['group'])
    assert {path.suffix for path in (out / 'train' / 'grouped_masks_crops').iterdir()} == {'.png'}


@pytest.mark.slow
def test_each_stage_alone_and_in_its_order(raw, weights, tmp_path):
    out = tmp_path / 'out'
    plan = Plan(SETS['gopro'], out, raw, allow_partial=True, generator=SMALL)
    with pytest.raises(DataError, match=r'--predeblur-opt .* --predeblur-weights'):
        prepare(plan)
    assert not out.exists()
    with pytest.raises(DataError, match=r"'crops' .*'convert'"):
        prepare(plan, ['crops'])
    with pytest.raises(DataError, match='--root'):
        prepare(Plan(SETS['gopro'], out), ['convert'])
    with pytest.raises(ArgumentError, match="'crop'"):
        prepare(plan, ['crop'])
    prepare(plan, ['convert'])
    with pytest.raises(DataError, match=r"'masks' .*'predeblur'"):
        prepare(plan, ['masks'])
    network = PredeblurNetwork(TINY, weights, device='cpu')
    steps = Plan(SETS['gopro'], out, generator=SMALL, network=network)  # no root: nothing is converted
    for stage in ('group', 'masks'):
        with pytest.raises(DataError, match=f"'{stage}' .*'"):
            prepare(steps, [stage])
    for stage in ALL[1:]:
        prepare(steps, [stage])
    at_once = Plan(SETS['gopro'], tmp_path / 'other', raw, allow_partial=True, generator=SMALL, network=network)
    prepare(at_once, ALL)
    assert contents(out) == contents(tmp_path / 'other')


def test_other_settings_never_mix(raw, weights, tmp_path):
    out = tmp_path / 'out'

    def plan(**more):
        return Plan(SETS['gopro'], out, raw, allow_partial=True, generator=SMALL, masks_from='blurred', **more)

    prepare(plan(), ['convert', 'crops', 'masks'])
    with pytest.raises(DataError, match=r'size: 512 .*256'):
        prepare(plan(crop=(256, 256)), ['crops'])
    with pytest.raises(DataError, match=r"stage 'masks' .*generator"):
        prepare(Plan(SETS['gopro'], out, masks_from='blurred'), ['masks'])
    prepare(plan(crop=(256, 256), force=True), ['crops'])
    assert imread(out / 'train' / 'blur_crops' / 'GOPR0372_07_00-000047_s001.png').shape == (180, 256, 3)
    other = build_network(TINY)
    save_weights(tmp_path / 'other.pth', other)
    for file in (weights, tmp_path / 'other.pth'):
        with_network = Plan(SETS['gopro'], out, network=PredeblurNetwork(TINY, file, device='cpu'))
        if file == weights:
            prepare(with_network, ['predeblur'])
            continue
        with pytest.raises(DataError, match='weights_sha256'):
            prepare(with_network, ['predeblur'])


def test_what_force_began_is_finished_without_it(raw, weights, tmp_path, monkeypatch):
    out = tmp_path / 'out'
    prepare(Plan(SETS['gopro'], out, raw, allow_partial=True), ['convert'])
    first = Plan(SETS['gopro'], out, network=PredeblurNetwork(TINY, weights, device='cpu'))
    prepare(first, ['predeblur'])
    save_weights(tmp_path / 'other.pth', build_network(TINY))
    network = PredeblurNetwork(TINY, tmp_path / 'other.pth', device='cpu')
    disk_full_after(1, monkeypatch, 'train/predeblurred')
    with pytest.raises(OutputError):
        prepare(Plan(SETS['gopro'], out, network=network, force=True), ['predeblur'])
    monkeypatch.undo()
    # sizes agree, contents would not
    prepare(Plan(SETS['gopro'], out, parts=('train',), network=network), ['predeblur'])
    prepare(Plan(SETS['gopro'], out, parts=('test',), network=network, force=True), ['predeblur'])
    fresh = Plan(SETS['gopro'], tmp_path / 'fresh', raw, allow_partial=True, network=network)
    prepare(fresh, ['convert', 'predeblur'])
    assert contents(out) == contents(tmp_path / 'fresh')


def test_a_network_that_needs_masks_cannot_come_before_them(raw, tmp_path):
    block = {**TINY, 'type': 'SegNAFNet', 'seg_channel': 2}
    save_weights(tmp_path / 'seg.pth', build_network(block))
    plan = Plan(
        SETS['gopro'], tmp_path / 'out', raw, allow_partial=True, network=PredeblurNetwork(block, tmp_path / 'seg.pth')
    )
    prepare(plan, ['convert'])
    with pytest.raises(DataError, match=r'SegNAFNet .*masks'):
        prepare(plan, ['predeblur'])
    gone = Plan(SETS['gopro'], tmp_path / 'out', network=PredeblurNetwork(TINY, tmp_path / 'gone.pth'))
    with pytest.raises(DataError, match=r'gone\.pth: '):
        prepare(gone, ['predeblur'])


@pytest.mark.parametrize('link', ['hard', 'symbolic'])
def test_links_instead_of_copies(raw, tmp_path, link):
    plan = Plan(SETS['gopro'], tmp_path / 'out', raw, allow_partial=True, link=link)
    prepare(plan, ['convert', 'crops'])
    source = raw / 'test' / 'GOPR0384_11_00' / 'blur' / '000001.png'
    target = tmp_path / 'out' / 'test' / 'input' / 'GOPR0384_11_00-000001.png'
    assert target.samefile(source) and target.is_symlink() == (link == 'symbolic')
    assert 'test convert: 0 made, 1 kept, 0 failed' in prepare(plan, ['convert']).lines


def test_a_hard_link_to_another_disk_is_refused_with_advice(raw, tmp_path, monkeypatch):
    def refuse(source, target):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(source), None, str(target))

    monkeypatch.setattr(os, 'link', refuse)
    with pytest.raises(OutputError, match=r'--link copy .*symbolic'):
        prepare(Plan(SETS['gopro'], tmp_path / 'out', raw, allow_partial=True, link='hard'), ['convert'])


def test_a_source_that_was_replaced_is_copied_again(raw, tmp_path):
    plan = Plan(SETS['gopro'], tmp_path / 'out', raw, allow_partial=True)
    prepare(plan, ['convert'])
    source = raw / 'test' / 'GOPR0384_11_00' / 'blur' / '000001.png'
    cv2.imwrite(str(source), cv2.imread(str(source))[::-1])  # of the same size in pixels
    assert 'test convert: 1 made, 0 kept, 0 failed' in prepare(plan, ['convert']).lines
    target = tmp_path / 'out' / 'test' / 'input' / 'GOPR0384_11_00-000001.png'
    assert target.read_bytes() == source.read_bytes()


def test_a_set_that_lies_in_its_place_already_is_verified_only(raw, tmp_path):
    prepare(Plan(SETS['gopro'], tmp_path / 'out', raw, allow_partial=True), ['convert'])
    (tmp_path / 'out' / 'dataset.json').unlink()
    before = contents(tmp_path / 'out')
    plan = Plan(SETS['gopro'], tmp_path / 'out', tmp_path / 'out', allow_partial=True)
    report = prepare(plan, ['convert', 'crops'])
    assert 'train convert: 0 made, 3 kept, 0 failed' in report.lines
    after = contents(tmp_path / 'out')
    assert before.items() <= after.items()
    # the original tree unpacked into the folder of the result
    shutil.copytree(raw, tmp_path / 'both')
    plan = Plan(SETS['gopro'], tmp_path / 'both', tmp_path / 'both', allow_partial=True)
    prepare(plan, ['convert'])
    assert 'train convert: 0 made, 3 kept, 0 failed' in prepare(plan, ['convert']).lines


@pytest.mark.parametrize('link', ['copy', 'hard', 'symbolic'])
def test_no_file_becomes_a_link_to_itself(raw, tmp_path, link):
    out = tmp_path / 'out'
    prepare(Plan(SETS['gopro'], out, raw, allow_partial=True), ['convert'])
    (out / 'dataset.json').unlink()
    before = contents(out)
    prepare(Plan(SETS['gopro'], out, out, allow_partial=True, link=link, force=True), ['convert'])
    assert before.items() <= contents(out).items()


@pytest.mark.slow
def test_broken_files_are_named_and_the_rest_is_done(raw, tmp_path):
    sequence = raw / 'train' / 'GOPR0372_07_00'
    good = (sequence / 'blur' / '000047.png').read_bytes()
    for number in range(1, 4):
        for kind in ('blur', 'sharp'):
            shutil.copy(raw / 'train' / 'x2 grün x4' / kind / '000001.png', sequence / kind / f'00000{number}.png')
    (sequence / 'blur' / '000001.png').write_bytes(good[:9000])
    (sequence / 'sharp' / '000002.png').write_bytes(b'')
    cv2.imwrite(str(sequence / 'sharp' / '000003.png'), np.zeros((180, 321, 3), np.uint8))
    long = 'ü' * 123  # 246 bytes: as a folder it fits, with the frame behind it no more
    for kind in ('blur', 'sharp'):
        shutil.copytree(raw / 'train' / 'x2 grün x4' / kind, raw / 'train' / long / kind)
    arguments = ['gopro', '--root', raw, '--out', tmp_path / 'out', '--allow-partial', '--masks-from', 'blurred']
    done = subprocess.run(
        [sys.executable, SCRIPT, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert 'Traceback' not in done.stderr
    assert 'train convert: 3 made, 0 kept, 4 failed' in done.stdout
    failed = [line for line in done.stdout.splitlines() if line.startswith('failed: ')]
    assert len(failed) == 4
    for file, reason in (('000001.png', 'cut off'), ('000002.png', '0 bytes'), ('000003.png', '(180, 321)')):
        assert any(file in line and reason in line for line in failed)
    assert any(long in line and 'too long' in line for line in failed)
    assert 'train crops: 6 made' in done.stdout
    record = read_dataset_record(tmp_path / 'out')['stages']['convert']['train']
    assert {'000001.png', '000002.png', '000003.png'} <= set(record['failed'])
    assert not [path for path in (tmp_path / 'out').rglob('*') if '00000' in path.name and 'GOPR0372' in path.name]
    # mended, and run again
    for number in range(1, 4):
        for kind in ('blur', 'sharp'):
            shutil.copy(raw / 'train' / 'x2 grün x4' / kind / '000001.png', sequence / kind / f'00000{number}.png')
    plan = Plan(SETS['gopro'], tmp_path / 'out', raw, allow_partial=True)
    assert 'train convert: 3 made, 3 kept, 1 failed' in prepare(plan, ['convert']).lines


def disk_full_after(files, monkeypatch, folder):
    """Writing to a folder fails after so many files, as on a full disk."""
    real, written = os.fsync, []

    def fsync(number):
        if folder in str(Path(f'/proc/self/fd/{number}').readlink()):
            written.append(number)
            if len(written) > files:
                raise OSError(errno.ENOSPC, 'No space left on device')
        real(number)

    monkeypatch.setattr(os, 'fsync', fsync)


@pytest.mark.skipif(not Path('/proc/self/fd').exists(), reason='needs /proc')
@pytest.mark.parametrize(
    ('folder', 'stage'),
    [
        ('train/input', 'convert'),
        ('train/sharp_crops', 'crops'),
        ('train/masks', 'masks'),
        ('train/grouped_masks_crops', 'group'),
        ('train/blur_predeblur_mask_crops', 'group'),
    ],
)
def test_a_full_disk_stops_with_the_name_of_the_file_and_goes_on_later(raw, tmp_path, monkeypatch, folder, stage):
    stages = ['convert', 'crops', 'masks', 'group']
    plan = Plan(SETS['gopro'], tmp_path / 'out', raw, allow_partial=True, masks_from='blurred', generator=SMALL)
    disk_full_after(2, monkeypatch, str(tmp_path / 'out' / folder))
    with pytest.raises(OutputError, match=f'{folder}.*No space left on device'):
        prepare(plan, stages)
    monkeypatch.undo()
    assert not list((tmp_path / 'out').rglob('.*.part'))
    assert len(list((tmp_path / 'out' / folder).glob('*.png'))) <= 2
    assert 'files' not in read_dataset_record(tmp_path / 'out')['stages'][stage]['train']
    prepare(plan, stages)
    whole = Plan(SETS['gopro'], tmp_path / 'whole', raw, allow_partial=True, masks_from='blurred', generator=SMALL)
    prepare(whole, stages)
    assert contents(tmp_path / 'out') == contents(tmp_path / 'whole')


@pytest.mark.slow
@pytest.mark.parametrize('workers', [1, 2])
def test_a_full_disk_through_the_command(raw, tmp_path, workers):
    resource = pytest.importorskip('resource')
    arguments = [str(SCRIPT), 'gopro', '--root', str(raw), '--out', str(tmp_path / 'out'), '--allow-partial']
    code = (
        f'import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (70000, {resource.RLIM_INFINITY}));'
        'sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name="__main__")'
    )
    if workers == 2:
        arguments += ['--workers', '2']
    stages = ['--stages', 'convert']
    command = [sys.executable, '-c', code, *arguments, *stages]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert 'File too large' in done.stderr and '.png' in done.stderr
    assert 'Traceback' not in done.stderr
    assert not list((tmp_path / 'out').rglob('.*.part'))
    assert not [path for path in (tmp_path / 'out').rglob('GOPR*.png') if path.stat().st_size > 70000]


def test_an_output_that_cannot_be_written(raw, tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(OutputError, match='file/out: '):
        prepare(Plan(SETS['gopro'], tmp_path / 'file' / 'out', raw, allow_partial=True), ['convert'])


def test_one_run_at_a_time(raw, tmp_path):
    pytest.importorskip('fcntl')
    plan = Plan(SETS['gopro'], tmp_path / 'out', raw, allow_partial=True)
    with locked_folder(tmp_path / 'out'), pytest.raises(DataError, match='prepare_data'):
        prepare(plan, ['convert'])
    prepare(plan, ['convert'])
    assert {path.name for path in (tmp_path / 'out').iterdir()} == {'dataset.json', 'train', 'test'}


def test_a_damaged_record_is_named(raw, tmp_path):
    (tmp_path / 'out').mkdir()
    for text in ('{', '[]', '{"stages": 3}', '[' * 100_000):
        (tmp_path / 'out' / 'dataset.json').write_text(text)
        with pytest.raises(DataError, match=r'dataset\.json'):
            prepare(Plan(SETS['gopro'], tmp_path / 'out', raw, allow_partial=True), ['convert'])


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['gopr'], "'gopro'"),
        (['gopro'], 'GoPro from https://'),
        (['gopro', '--masks-from', 'blurred'], 'needs --root'),
        (['gopro', '--root', 'gone', '--masks-from', 'blurred'], 'gone: '),
        (['gopro', '--root', '.', '--masks-from', 'blurred'], 'GoPro'),
        (['gopro', '--parts', 'val'], 'val, only train, test'),
        (['hide', '--root', '.', '--cat-test', 'predeblurred'], 'blurred'),
        (['hide', '--root', '.', '--blur', 'blur'], "'blur'"),
        (['gopro', '--root', '.', '--predeblur-weights', 'x.pth'], '--predeblur-opt'),
        (['gopro', '--root', '.', '--workers', '0'], 'workers'),
        (['gopro', '--root', '.', '--generator', 'felzenswalb'], "'felzenszwalb'"),
    ],
)
def test_wrong_arguments_are_answered_without_a_traceback(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert call(SCRIPT, arguments, monkeypatch) == 1
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_dry_run_writes_nothing(raw, tmp_path, monkeypatch, capsys):
    arguments = ['gopro', '--root', str(raw), '--out', str(tmp_path / 'out'), '--masks-from', 'blurred', '--dry-run']
    assert call(SCRIPT, arguments, monkeypatch) == 1
    assert re.search(r'\b3 .*\b2103\b', capsys.readouterr().err)
    assert call(SCRIPT, [*arguments, '--allow-partial'], monkeypatch) == 0
    printed = capsys.readouterr().out
    assert re.search(r'GoPro: 3 train .*\b1 test .*original', printed) and '  train crops' in printed
    assert 'test crops' not in printed and 'predeblur' not in printed
    assert not (tmp_path / 'out').exists()


@pytest.mark.slow
def test_killed_again_and_again_gives_what_one_run_gives(shared_data, tmp_path):
    raw = tmp_path / 'raw'
    for number, path in enumerate(sorted((shared_data / 'pairs' / 'input').glob('reds_*.png'))[:20]):
        part = 'test' if number < 4 else 'train'
        for kind, side in (('blur', 'input'), ('sharp', 'target')):
            folder = raw / part / 'GOPR0001_00_00' / kind
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(shared_data / 'pairs' / side / path.name, folder / f'{number:06}.png')
    stages = ['--stages', 'convert', 'crops', 'masks', 'group', 'lmdb']
    common = [sys.executable, str(SCRIPT), 'gopro', '--root', str(raw), '--allow-partial', '--masks-from', 'blurred']
    common += [*stages, '--crop-size', '128', '--crop-step', '64']
    whole = subprocess.run([*common, '--out', str(tmp_path / 'whole')], capture_output=True, text=True, check=True)
    assert 'train crops: 256 made' in whole.stdout
    out = tmp_path / 'killed'
    for folder in ('train/input', 'train/blur_crops', 'train/masks', 'train/grouped_masks_crops'):
        run = subprocess.Popen(
            [*common, '--out', str(out), '--workers', '2'], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        limit = time.monotonic() + 60
        while run.poll() is None and time.monotonic() < limit and not any((out / folder).glob('*.png')):
            time.sleep(0.01)
        assert run.poll() is None, f'was done before {folder}'
        run.send_signal(signal.SIGKILL)
        run.communicate(timeout=30)  # its pipes close when its workers have ended too
        expected = contents(tmp_path / 'whole')
        for name, data in contents(out).items():
            if not Path(name).name.startswith('.') and name != 'dataset.json':
                assert data == expected[name], name  # whatever is there is whole
    (out / 'train' / 'input' / '.0123456789abcdef.part').write_bytes(b'half')
    done = subprocess.run([*common, '--out', str(out), '--workers', '2'], capture_output=True, text=True, check=True)
    assert 'train convert: 0 made, 16 kept, 0 failed' in done.stdout
    assert contents(out) == contents(tmp_path / 'whole')
    json.loads((out / 'dataset.json').read_text(encoding='utf-8'))


def test_pre_deblurring_is_evaluation_of_the_whole_image(shared_data, tmp_path):
    torch.manual_seed(0)
    block = {**TINY, 'type': 'NAFNetLocal', 'train_size': [1, 3, 64, 64]}
    net = build_network(block)
    for parameter in net.parameters():
        parameter.data.normal_(0, 0.1)
    save_weights(tmp_path / 'local.pth', net)
    source, target = shared_data / 'pairs' / 'input' / 'reds_train000_000.png', tmp_path / 'out' / 'a.png'
    restore = ImageRestorer(PredeblurNetwork(block, tmp_path / 'local.pth', device='cpu'))
    assert restore(source, target) and not restore(source, target) and restore(source, target, again=True)
    cv2.imwrite(str(target), np.zeros((8, 8, 3), np.uint8))  # whole, but of another image
    assert restore(source, target)
    lq = torch.from_numpy(imread(source)).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        output = net.eval()(lq)[0].clamp(0, 1).mul(255).round().permute(1, 2, 0)
    np.testing.assert_array_equal(imread(target), output.numpy().astype(np.uint8))
    assert not restore.net.training
