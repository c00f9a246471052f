"""Every benchmark in every layout that people have, imitated with real pairs: recognised, converted, checked, read."""

from __future__ import annotations

import re
import shutil

import cv2
import numpy as np
import pytest

from basicsr.data import build_dataset
from basicsr.data.stores.lmdb import LmdbStore, write_lmdb
from basicsr.data.stores.opening import unpack
from basicsr.images.files import imread
from basicsr.preparation.benchmark_sets import SETS, benchmark_set
from basicsr.preparation.checks.data_sets import check_data_sets
from basicsr.preparation.checks.folders import folders_of_root
from basicsr.preparation.dataset_record import read_dataset_record
from basicsr.preparation.layouts import find_benchmark
from basicsr.preparation.pipeline import prepare
from basicsr.preparation.plan import Plan
from basicsr.preparation.standin import make_standin
from basicsr.utils.errors import ArgumentError, DataError

J = 'RealBlur-J_ECC_IMCORR_centroid_itensity_ref'
R = 'RealBlur-R_BM3D_ECC_IMCORR_centroid_itensity_ref'
SMALL = {'type': 'felzenszwalb', 'max_pixels': 10000, 'min_size': 20}
# (set, layout): blurred file, sharp file, part and new name of each pair
TREES = {
    ('gopro', 'original'): [
        ('GOPRO_Large/train/GOPR0372_07_00/blur/000047.png', 'sharp/000047.png', 'train', 'GOPR0372_07_00-000047'),
        ('GOPRO_Large/train/GOPR0372_07_01/blur/000047.png', 'sharp/000047.png', 'train', 'GOPR0372_07_01-000047'),
        ('GOPRO_Large/test/GOPR0384_11_00/blur/000001.png', 'sharp/000001.png', 'test', 'GOPR0384_11_00-000001'),
    ],
    ('gopro', 'flattened'): [
        ('GoPro/train/input/GOPR0372_07_00-000047.png', 'target', 'train', 'GOPR0372_07_00-000047'),
        ('GoPro/test/input/GOPR0384_11_00-000001.png', 'target', 'test', 'GOPR0384_11_00-000001'),
    ],
    ('gopro', 'blur-sharp'): [
        ('train/blur/GOPR0372_07_00-000047.png', 'sharp', 'train', 'GOPR0372_07_00-000047'),
        ('test/blur/GOPR0384_11_00-000001.png', 'sharp', 'test', 'GOPR0384_11_00-000001'),
    ],
    ('realblur-j', 'original'): [
        (f'{J}/scene001/blur/blur_1.png', 'gt/gt_1.png', 'test', 'RealBlur-J-scene001-gt_1'),
        (f'{J}/scene244_reflect/blur/blur_10.png', 'gt/gt_10.png', 'test', 'RealBlur-J-scene244_reflect-gt_10'),
    ],
    ('realblur-r', 'original'): [
        (f'RealBlur/{R}/scene001/blur/blur_1.png', 'gt/gt_1.png', 'test', 'RealBlur-R-scene001-gt_1'),
        (f'RealBlur/{R}/scene002/blur/blur_1.png', 'gt/gt_1.png', 'test', 'RealBlur-R-scene002-gt_1'),
    ],
    ('realblur-j', 'flattened'): [('test/input/scene001-1.png', 'target', 'test', 'scene001-1')],
    ('realblur-r', 'flattened'): [('RealBlur_R/input/scene001_blur_1.png', 'target', 'test', 'scene001_blur_1')],
    ('reds', 'original'): [
        ('val/val_blur/000/00000000.png', 'val_sharp/000/00000000.png', 'val', '000_00000000'),
        ('val/val_blur/001/00000000.png', 'val_sharp/001/00000000.png', 'val', '001_00000000'),
    ],
    ('reds', 'flattened-clips'): [('val_blur/000_00000000.png', 'val_sharp', 'val', '000_00000000')],
    ('reds', 'flattened'): [('REDS/val/input/000_00000000.png', 'target', 'val', '000_00000000')],
    ('reds300', 'original'): [
        ('val/val_blur_jpeg/000/00000009.jpg', 'val_sharp/000/00000009.png', 'val', '000_00000009'),
        ('val/val_blur_jpeg/000/00000019.jpg', 'val_sharp/000/00000019.png', 'val', '000_00000019'),
    ],
    ('reds300', 'nafnet'): [('val/blur_300/000_00000009.jpg', 'sharp_300/000_00000009.png', 'val', '000_00000009')],
    ('reloblur', 'original'): [
        ('dataset/test/scene1/00/00_blur.png', '00_sharp.png', 'test', 'scene1-00-00'),
        ('dataset/test/scene1/01/00_blur.png', '00_sharp.png', 'test', 'scene1-01-00'),
    ],
    ('reloblur', 'flattened'): [('test/input/a.png', 'target', 'test', 'a')],
    ('hide', 'original'): [
        ('HIDE_dataset/test/test-close-ups/1fromGOPR0950.png', 'GT', 'test', '1fromGOPR0950'),
        ('HIDE_dataset/test/test-long-shot/2fromGOPR1096.png', 'GT', 'test', '2fromGOPR1096'),
    ],
    ('hide', 'flattened'): [('HIDE/input/1fromGOPR0950.png', 'target', 'test', '1fromGOPR0950')],
}


def sharp_path(blurred, rest):
    """Where the sharp file lies: ``rest`` counts from the folder that differs; a folder alone keeps the file name."""
    if rest == 'GT':
        return f'HIDE_dataset/GT/{blurred.split("/")[-1]}'
    parts = blurred.split('/')
    rest = rest if '.' in rest else f'{rest}/{parts[-1]}'
    return '/'.join([*parts[: len(parts) - rest.count('/') - 1], rest])


@pytest.fixture
def tree(shared_data, tmp_path):
    """``tree(set, layout)`` lays real pairs out so, and returns the folder and (part, name, original) of each."""

    def lay_out(key, layout):
        root, pairs = tmp_path / 'raw', []
        originals = sorted((shared_data / 'pairs' / 'input').glob('reds_*.png'))[::9]
        for number, (blurred, rest, part, name) in enumerate(TREES[key, layout]):
            original = originals[number].name
            for side, path in (('input', blurred), ('target', sharp_path(blurred, rest))):
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                image = cv2.imread(str(shared_data / 'pairs' / side / original))
                if key == 'reloblur':
                    image = cv2.resize(image, (538, 359))
                if path.endswith('.jpg') or key == 'reloblur':
                    cv2.imwrite(str(root / path), image)
                else:
                    shutil.copy(shared_data / 'pairs' / side / original, root / path)
            pairs.append((part, name, root / blurred, root / sharp_path(blurred, rest)))
        if (key, layout) in (('realblur-j', 'original'), ('realblur-r', 'original')):
            top = root if key == 'realblur-j' else root / 'RealBlur'
            lines = [f'{gt.relative_to(top)} {lq.relative_to(top)} \n' for _, _, lq, gt in pairs]
            (top / f'RealBlur_{key[-1].upper()}_test_list.txt').write_text(''.join(lines))
        return root, pairs

    return lay_out


def test_every_layout_has_a_tree():
    layouts = {(key, layout.name) for key, benchmark in SETS.items() for layout in benchmark.layouts}
    others = {(key, 'original') for key in ('dpdd', 'lfdof', 'grr_real')}  # in test_archives.py, test_grr_sets.py
    others |= {pair for pair in layouts if pair[0] in ('levin', 'kohler')}  # in test_levin_kohler.py
    assert layouts - set(TREES) - others == {('reds300', 'flattened-clips'), ('reds300', 'flattened')}  # as reds


@pytest.mark.parametrize(('key', 'layout'), TREES)
def test_each_is_recognised_converted_checked_and_read(tree, tmp_path, key, layout):
    root, pairs = tree(key, layout)
    benchmark, out = benchmark_set(key), tmp_path / 'out'
    with pytest.raises(DataError, match='incomplete') as error:
        prepare(Plan(benchmark, out, root), ['convert'])
    first = pairs[0][0]
    found = sum(part == first for part, *_ in pairs)
    assert re.search(rf'{first}: .*\b{found} .*\b{benchmark.counts[first]}\b', str(error.value))
    assert '--allow-partial' in str(error.value) and benchmark.page in str(error.value)
    assert not out.exists()

    plan = Plan(benchmark, out, root, allow_partial=True, masks_from='blurred', generator=SMALL, crop=(128, 64))
    report = prepare(plan)
    assert not report.failed
    assert f'{layout} layout' in report.lines[0]
    assert any(
        re.match(rf'PARTIAL: {first}: .*\b{found} .*\b{benchmark.counts[first]}$', line) for line in report.lines
    )
    for part, name, lq, gt in pairs:
        assert (out / part / 'input' / f'{name}{lq.suffix}').read_bytes() == lq.read_bytes()
        assert (out / part / 'target' / f'{name}{gt.suffix}').read_bytes() == gt.read_bytes()
    record = read_dataset_record(out)
    for part in benchmark.parts:
        expected = sorted(name for owner, name, *_ in pairs if owner == part)
        assert sorted(path.stem for path in (out / part / 'input').iterdir()) == expected
        entry = record['parts'][part]
        assert entry['pairs'] == entry['found'] == len(expected) and not entry['complete']
        assert entry['sizes'] == {'538x359' if key == 'reloblur' else '320x180': len(expected)}

    checked = check_data_sets(folders_of_root(out))
    assert [fault for done in checked for fault in done.faults] == []
    assert all('PARTIAL' in done.folders.note and done.folders.expected for done in checked)

    part = benchmark.parts[-1]
    roots = {'dataroot_lq': str(out / part / 'input'), 'dataroot_gt': str(out / part / 'target')}
    names = [name for owner, name, *_ in sorted(pairs, key=lambda pair: pair[1]) if owner == part]
    for kind, masks in (('PairedImageGroupMaskDataset', 'grouped_masks'), ('PairedImageMaskDataset', 'input_mask')):
        dataset = build_dataset({'type': kind, **roots, 'dataroot_mask': str(out / part / masks)})
        assert len(dataset) == len(names)
        for name, item in zip(names, dataset, strict=False):
            assert f'/{name}.' in item['lq_path'] and f'/{name}.' in item['gt_path']
            assert item['masks'].shape[1:] == item['lq'].shape[1:] and item['masks'].max() > 3


def test_the_kinds_of_blur_are_told_apart(tree, tmp_path):
    root, pairs = tree('gopro', 'original')
    for _, _, lq, _ in pairs:
        gamma = lq.parents[1] / 'blur_gamma' / lq.name
        gamma.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(gamma), cv2.imread(str(lq)) // 2)
    plain = Plan(SETS['gopro'], tmp_path / 'plain', root, allow_partial=True)
    gamma = Plan(SETS['gopro'], tmp_path / 'gamma', root, blur='blur_gamma', allow_partial=True)
    for plan in (plain, gamma):
        prepare(plan, ['convert'])
    name = 'train/input/GOPR0372_07_00-000047.png'
    dark, bright = (imread(folder / name).astype(int) for folder in (tmp_path / 'gamma', tmp_path / 'plain'))
    np.testing.assert_array_equal(dark, bright // 2)
    blurs = [read_dataset_record(plan.out)['stages']['convert']['train']['settings']['blur'] for plan in (plain, gamma)]
    assert blurs == ['blur', 'blur_gamma']
    with pytest.raises(DataError, match=r'blur: blur .*blur_gamma'):
        prepare(Plan(SETS['gopro'], tmp_path / 'plain', root, blur='blur_gamma', allow_partial=True), ['convert'])
    with pytest.raises(ArgumentError, match=r"'gamma'.* blur, blur_gamma"):
        Plan(SETS['gopro'], tmp_path, blur='gamma')


def test_a_flattened_layout_does_not_tell_its_blur(tree, tmp_path):
    root, _ = tree('gopro', 'flattened')
    for blur, text in (('', 'kind of blur not told by this layout'), ('blur_gamma', 'blur_gamma, as the command says')):
        out = tmp_path / (blur or 'any')
        prepare(Plan(SETS['gopro'], out, root, blur=blur, allow_partial=True), ['convert'])
        assert read_dataset_record(out)['stages']['convert']['test']['settings']['blur'] == text


def test_reds_and_its_300_frames_are_different_sets(tmp_path):
    make_standin(SETS['reds'], tmp_path / 'raw', count=20, size=(16, 24))
    (tmp_path / 'raw' / 'val_blur').rename(tmp_path / 'raw' / 'val_blur_jpeg')
    for frame in range(1, 21):  # the stand-in begins at 1, REDS at 0
        for folder in ('val_blur_jpeg', 'val_sharp'):
            path = tmp_path / 'raw' / folder / f'{(frame - 1) // 4:03}' / f'{frame:08}.png'
            path.rename(path.with_name(f'{frame - 1:08}.png'))
    names = [pair.stem for pair in find_benchmark(SETS['reds300'], tmp_path / 'raw', ['val']).pairs['val']]
    assert names == ['002_00000009', '004_00000019']
    with pytest.raises(DataError, match='raw: REDS '):
        find_benchmark(SETS['reds'], tmp_path / 'raw', ['val'])
    assert len(find_benchmark(SETS['reds'], tmp_path / 'raw', ['val'], 'blur_jpeg').pairs['val']) == 20
    assert SETS['reds'].folder != SETS['reds300'].folder
    plan = Plan(SETS['reds300'], tmp_path / 'out', tmp_path / 'raw', allow_partial=True)
    prepare(plan, ['convert'])
    with pytest.raises(DataError, match=r'reds300.*--out'):
        other = Plan(SETS['reds'], tmp_path / 'out', tmp_path / 'raw', blur='blur_jpeg', allow_partial=True)
        prepare(other, ['convert'])


@pytest.mark.slow
def test_the_two_resolutions_of_reloblur_never_mix(tmp_path):
    for name, size in (('small', (359, 538)), ('other', (360, 540))):
        make_standin(SETS['reloblur'], tmp_path / name, count=1, size=size)
    small = Plan(SETS['reloblur'], tmp_path / 'out', tmp_path / 'small', allow_partial=True)
    (partial,) = [line for line in prepare(small, ['convert']).lines if 'PARTIAL' in line]
    assert re.match(r'PARTIAL: test: .*\b1 .*\b395$', partial)
    assert read_dataset_record(tmp_path / 'out')['parts']['test']['sizes'] == {'538x359': 1}
    with pytest.raises(DataError, match=r'2152x1436 .*538x359 .*\b1 of 540x360'):
        prepare(Plan(SETS['reloblur'], tmp_path / 'other_out', tmp_path / 'other'), ['convert'])
    shutil.copytree(tmp_path / 'other' / 'test' / 'scene000', tmp_path / 'small' / 'test' / 'scene001')
    with pytest.raises(DataError, match='1 of 538x359, 1 of 540x360'):
        prepare(Plan(SETS['reloblur'], tmp_path / 'mixed', tmp_path / 'small'), ['convert'])


@pytest.mark.slow
def test_whole_sets_are_told_from_parts_of_them(tmp_path):
    make_standin(SETS['gopro'], tmp_path / 'raw', count=1, size=(8, 8))
    for part, count in (('train', 2103), ('test', 1111)):
        for kind in ('blur', 'sharp'):
            source = tmp_path / 'raw' / part / 'STANDIN_00' / kind / '00000001.png'
            for number in range(2, count + 1):
                (source.parent / f'{number:06}.png').symlink_to(source)
    plan = Plan(SETS['gopro'], tmp_path / 'out', tmp_path / 'raw', link='symbolic')
    report = prepare(plan, ['convert'])
    assert not [line for line in report.lines if 'PARTIAL' in line]
    parts = read_dataset_record(tmp_path / 'out')['parts']
    assert {part: entry['complete'] for part, entry in parts.items()} == {'train': True, 'test': True}
    (tmp_path / 'raw' / 'test' / 'STANDIN_00' / 'blur' / '000777.png').unlink()
    with pytest.raises(DataError) as error:
        prepare(plan, ['convert'])
    assert re.search(r'test: .*\b1110 .*\b1111\b', str(error.value))
    assert re.search(r'\b1 .*: test/STANDIN_00/sharp/000777\.png', str(error.value))


@pytest.mark.parametrize('key', SETS)
def test_a_missing_set_names_its_layouts_and_its_page(tmp_path, key):
    (tmp_path / 'photos').mkdir()
    cv2.imwrite(str(tmp_path / 'photos' / 'a.png'), np.zeros((8, 8, 3), np.uint8))
    for root in (tmp_path, tmp_path / 'gone'):
        with pytest.raises(DataError, match=str(root)) as error:
            prepare(Plan(SETS[key], tmp_path / 'out', root), ['convert'])
        assert SETS[key].page in str(error.value)
    with pytest.raises(DataError) as error:
        find_benchmark(SETS[key], tmp_path, SETS[key].parts)
    assert all(f'  {layout.name}: ' in str(error.value) for layout in SETS[key].layouts)
    assert '{' not in str(error.value)


def test_a_set_in_lmdb_is_told_how_to_unpack_and_recognised_then(tree, tmp_path):
    root, pairs = tree('reds300', 'nafnet')
    val = root / 'val'
    for name in ('blur_300', 'sharp_300'):
        write_lmdb(val / name, val / f'{name}.lmdb')
        shutil.rmtree(val / name)
    with pytest.raises(DataError) as caught:
        find_benchmark(benchmark_set('reds300'), root, ['val'])
    assert f'make_store.py --input {val}/blur_300.lmdb --output {val}/blur_300\n' in str(caught.value)
    for name in ('blur_300', 'sharp_300'):
        unpack(LmdbStore(val / f'{name}.lmdb'), val / name)
    found = find_benchmark(benchmark_set('reds300'), root, ['val'])
    assert (found.layout.name, [pair.stem for pair in found.pairs['val']]) == ('nafnet', [pairs[0][1]])


def test_two_copies_of_a_set_are_an_error_unless_one_is_named(tmp_path):
    for name, layout in (('a', 'original'), ('b', 'original'), ('c', 'blur-sharp')):
        make_standin(SETS['gopro'], tmp_path / name, layout, 1, (8, 8))
    with pytest.raises(DataError, match='once') as error:
        find_benchmark(SETS['gopro'], tmp_path, ['train'])
    assert all(f'in {tmp_path / name}' in str(error.value) for name in 'abc')
    assert find_benchmark(SETS['gopro'], tmp_path, ['train'], layout='blur-sharp').folder == tmp_path / 'c'
    assert find_benchmark(SETS['gopro'], tmp_path / 'b', ['train']).folder == tmp_path / 'b'
    with pytest.raises(DataError, match=r"'blur_sharp'.*'blur-sharp'"):
        find_benchmark(SETS['gopro'], tmp_path, ['train'], layout='blur_sharp')
    with pytest.raises(DataError, match=r"'gopro_'.*'gopro'"):
        benchmark_set('gopro_')


def test_training_images_are_never_taken_for_test_images(tmp_path):
    make_standin(SETS['realblur-j'], tmp_path / 'raw', 'flattened', 1, (8, 8), ['train', 'test'])
    found = find_benchmark(SETS['realblur-j'], tmp_path / 'raw', ['test'])
    assert [pair.lq.parts[-3] for pair in found.pairs['test']] == ['test']
    both = find_benchmark(SETS['realblur-j'], tmp_path / 'raw', ['train', 'test'])
    assert {part: len(pairs) for part, pairs in both.pairs.items()} == {'train': 1, 'test': 1}


def test_files_that_an_official_list_names_and_that_are_not_there(tmp_path):
    make_standin(SETS['realblur-j'], tmp_path / 'raw', count=2, size=(8, 8))
    gone = next((tmp_path / 'raw').rglob('blur_02.png'))
    gone.unlink()
    with pytest.raises(DataError, match=r'blur_02\.png .*RealBlur_J_test_list\.txt'):
        prepare(Plan(SETS['realblur-j'], tmp_path / 'out', tmp_path / 'raw'), ['convert'])
    (tmp_path / 'raw' / 'RealBlur_J_test_list.txt').write_text('only_one.png\n')
    with pytest.raises(DataError, match=r'RealBlur_J_test_list\.txt:1: '):
        find_benchmark(SETS['realblur-j'], tmp_path / 'raw', ['test'])


def test_hide_has_more_sharp_images_than_its_test_part(tmp_path):
    make_standin(SETS['hide'], tmp_path / 'raw', count=2, size=(8, 8))
    train = tmp_path / 'raw' / 'GT' / 'of the training part.png'
    shutil.copy(next((tmp_path / 'raw' / 'GT').glob('*.png')), train)
    found = find_benchmark(SETS['hide'], tmp_path / 'raw', ['test'])
    assert len(found.pairs['test']) == 2 and found.alone == []
    train.with_name(found.pairs['test'][0].gt.name).unlink()
    assert len(find_benchmark(SETS['hide'], tmp_path / 'raw', ['test']).alone) == 1


def test_a_stand_in_gets_a_folder_of_its_own(tmp_path):
    files = make_standin(SETS['gopro'], tmp_path / 'raw', count=2, size=(24, 40))
    assert {imread(path).shape for path in files} == {(24, 40, 3)} and len(files) == 4
    assert len({path.read_bytes() for path in files}) == 4
    again = make_standin(SETS['gopro'], tmp_path / 'again', count=2, size=(24, 40))
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in files]
    with pytest.raises(DataError, match=r'raw.*empty'):
        make_standin(SETS['gopro'], tmp_path / 'raw')
    with pytest.raises(DataError, match=r"'orginal'.*'original'"):
        make_standin(SETS['gopro'], tmp_path / 'other', 'orginal')
