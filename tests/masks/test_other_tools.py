"""Masks as other tools write them are read wherever masks are read; what is wrong in them is named with its index."""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from basicsr.data import build_dataset
from basicsr.data.stores.base import FolderStore
from basicsr.data.stores.lmdb import LmdbStore, write_lmdb
from basicsr.masks import label_map_from_masks, masks_from_label_map, read_masks, write_label_map
from basicsr.masks.converting import convert_masks
from basicsr.masks.files import SUFFIXES, find_mask_file
from basicsr.masks.making import make_masks
from basicsr.masks.mask_images import GrayImages
from basicsr.masks.run_lengths import mask_of_runs
from basicsr.photos.runs import masks_in
from basicsr.utils.errors import MaskError
from tests.helpers.bad_files import READ_MASKS, memory_of
from tests.helpers.mask_generators import Halves
from tests.helpers.other_tools import (
    FORMS,
    RNG,
    code_of,
    overlapping,
    rectangles,
    runs,
    runs_of,
    spoil_folder,
    text_of,
    write_folder,
    write_json,
)
from tests.helpers.project import SHARED, Script, require

OF_LAYERS = [form for form in FORMS if form not in ('palette', 'black and white')]


@pytest.mark.parametrize('form', FORMS)
def test_regions_are_those_of_the_masks_in_their_order(form, tmp_path):
    masks = rectangles()
    FORMS[form](tmp_path, masks)
    path = find_mask_file(tmp_path, 'p')
    labels = read_masks(path, (64, 96))
    assert np.array_equal(masks_from_label_map(labels)[:, 0], masks)
    assert set(np.unique(labels)) == {0, 1, 2, 3}
    with pytest.raises(MaskError, match=r'\(64, 96\).*\(64, 95\)'):
        read_masks(path, (64, 95))


@pytest.mark.parametrize('form', OF_LAYERS)
def test_masks_that_overlap_go_to_layers(form, tmp_path):
    masks = overlapping()
    FORMS[form](tmp_path, masks)
    labels = read_masks(find_mask_file(tmp_path, 'p'))
    assert np.array_equal(labels, label_map_from_masks(masks)) and len(labels) > 1


def test_ten_is_behind_two(tmp_path):
    """PNG numbers are numbers and no words."""
    masks = np.eye(12, dtype=bool).reshape(12, 3, 4)
    write_folder(tmp_path, masks)
    assert read_masks(tmp_path / 'p').ravel().tolist() == list(range(1, 13))


def test_the_cases_that_people_reported():
    cases = SHARED / 'cases' / '15-masks-of-others'
    if not cases.is_dir():
        pytest.skip('the folder of cases is not there')
    gray = np.asarray(Image.open(cases / 'gray8' / 'p.png'))
    expected = np.stack([gray == value for value in (1, 2, 3)])
    for name in ('amg', 'json', 'palette', 'onebit', 'npy', 'npz3', 'npzarr0', 'logits'):
        labels = read_masks(find_mask_file(cases / name, 'p'), gray.shape)
        assert np.array_equal(masks_from_label_map(labels)[:, 0], expected), name


def test_white_areas_are_regions_the_largest_first(tmp_path):
    white = np.zeros((30, 40), bool)
    white[1:4, 1:4] = white[10:20, 10:30] = white[0:3, 30:33] = True
    white[20, 30] = True  # touches a corner only
    Image.fromarray(white).save(tmp_path / 'p.png')
    labels = read_masks(tmp_path / 'p.png')[0]
    assert [labels[12, 12], labels[0, 31], labels[2, 2], labels[20, 30]] == [1, 2, 3, 4]
    Image.fromarray(white & False).save(tmp_path / 'q.png')
    assert not read_masks(tmp_path / 'q.png').any()


def test_run_lengths_are_those_of_pycocotools():
    require('pycocotools')
    from pycocotools import mask as coco

    for share in (0.0, 0.1, 0.5, 1.0):
        mask = np.asarray(RNG.random((37, 53)) < share)
        theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
        code = {'size': [37, 53], 'counts': theirs['counts'].decode()}
        assert np.array_equal(mask_of_runs(code, 'x'), mask)
        assert code['counts'] == text_of(runs_of(mask))
    wide = np.zeros((900, 1100), bool)
    wide[:, 300:301] = True  # long runs, large differences of both signs
    theirs = coco.encode(np.asfortranarray(wide.astype(np.uint8)))
    assert np.array_equal(mask_of_runs({'size': [900, 1100], 'counts': theirs['counts'].decode()}, 'x'), wide)


# --- wherever masks are read


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / 'photos'
    (folder / 'sub').mkdir(parents=True)
    for name in ('p.png', 'sub/q.r.png'):
        Image.fromarray(RNG.integers(0, 256, (64, 96, 3)).astype(np.uint8)).save(folder / name)
    return folder


@pytest.mark.parametrize('form', FORMS)
def test_data_sets_and_data_bases_read_them(form, photos, tmp_path):
    masks = tmp_path / 'masks'
    (masks / 'sub').mkdir(parents=True)
    (masks / 'masks.json').write_text('{"settings": {}}')  # a record, no masks
    FORMS[form](masks, rectangles())
    FORMS[form](masks / 'sub', rectangles()[::-1] if form in OF_LAYERS else rectangles(), 'q.r')
    store = FolderStore(masks, SUFFIXES)
    assert sorted(map(store.stem, store.keys)) == ['p', 'sub/q.r']
    block = {
        'type': 'PairedImageGroupMaskDataset',
        **{f'dataroot_{name}': str(photos) for name in ('gt', 'lq')},
        'dataroot_mask': str(masks),
    }
    items = [build_dataset(block)[index] for index in range(2)]
    expected = rectangles()
    assert np.array_equal(masks_from_label_map(items[0]['masks'].numpy())[:, 0], expected)
    second = expected[::-1] if form in OF_LAYERS else expected
    assert np.array_equal(masks_from_label_map(items[1]['masks'].numpy())[:, 0], second)
    write_lmdb(masks, tmp_path / 'masks.lmdb', 'masks')
    packed = LmdbStore(tmp_path / 'masks.lmdb')
    assert sorted(packed.keys) == ['p', 'sub/q.r']
    for key in packed.keys:
        assert np.array_equal(packed.labels(key), store.labels(next(k for k in store.keys if store.stem(k) == key)))
    assert masks_in(masks, photos / 'p.png') == find_mask_file(masks, 'p')
    assert masks_in(masks, photos / 'sub/q.r.png', Path('sub')) == find_mask_file(masks / 'sub', 'q.r')


@pytest.mark.parametrize('form', FORMS)
def test_they_are_converted_once(form, photos, tmp_path):
    source, target = tmp_path / 'theirs', tmp_path / 'ours'
    (source / 'sub').mkdir(parents=True)
    FORMS[form](source, rectangles())
    FORMS[form](source / 'sub', rectangles(), 'q.r')
    first = convert_masks(source, target, photos, [GrayImages(tmp_path / 'gray')])
    assert (first.made, first.kept, first.failed, first.masks) == (2, 0, {}, [3, 3])
    for name in ('p', 'sub/q.r'):
        labels = read_masks(target / f'{name}.png', (64, 96))
        assert np.array_equal(masks_from_label_map(labels)[:, 0], rectangles())
        assert (tmp_path / 'gray' / f'{name}.png').is_file()
    assert convert_masks(source, target).kept == 2
    content = (target / 'p.png').read_bytes()
    (target / 'p.png').write_bytes(content[:-20])
    again = convert_masks(source, target)
    assert (again.made, again.kept) == (1, 1) and (target / 'p.png').read_bytes() == content
    if form == 'amg':
        shutil.rmtree(source / 'p')
    FORMS[form](source, rectangles()[:2])  # others now
    assert convert_masks(source, target).made == 1
    assert read_masks(target / 'p.png').max() == 2


def test_converted_masks_and_made_ones_do_not_mix(photos, tmp_path):
    source, target = tmp_path / 'theirs', tmp_path / 'ours'
    source.mkdir()
    write_json(source, rectangles())
    make_masks(photos, target, Halves())
    with pytest.raises(MaskError, match=r'ours .*\(share, type '):
        convert_masks(source, target)
    assert convert_masks(source, target, force=True).made == 1
    with pytest.raises(MaskError, match=r'theirs: .*folder'):
        convert_masks(source, source)
    with pytest.raises(MaskError, match=r'gone .*folder'):
        convert_masks(tmp_path / 'gone', target)
    (source / 'p.npy').write_bytes(b'')
    with pytest.raises(MaskError, match=r'theirs: several .*: p$'):
        convert_masks(source, target)


def test_the_script_converts(photos, tmp_path, monkeypatch, capsys):
    (tmp_path / 'theirs').mkdir()
    write_folder(tmp_path / 'theirs', rectangles())
    script = Script('make_masks.py', monkeypatch, tmp_path)
    assert script('--from', 'theirs', '--output', 'ours') == 0
    assert np.array_equal(masks_from_label_map(read_masks('ours/p.png'))[:, 0], rectangles())
    assert script('--from', 'theirs', '--output', 'ours', '--input', 'photos', '--overlay', 'shown') == 1
    out = capsys.readouterr().out
    assert '0 made, 1 kept, 1 failed' in out and 'sub/q.r.png' in out and Path('shown/p.jpg').is_file()
    with pytest.raises(SystemExit):
        script('--output', 'ours')
    with pytest.raises(MaskError, match='--input'):
        script('--from', 'theirs', '--output', 'ours', '--gray', 'gray')


# --- what is wrong


def spoiled_json(change):
    masks = [{'segmentation': code_of(mask), 'id': index} for index, mask in enumerate(rectangles())]
    change(masks)
    return json.dumps(masks)


WRONG_JSON = {
    'does not add up': (lambda m: runs(m, 1).append(5), 'mask 1'),
    'negative run': (lambda m: runs(m, 2).__setitem__(slice(0, 2), [runs(m, 2)[0] + 9, -9]), 'mask 2'),
    'no numbers': (lambda m: runs(m, 0).__setitem__(0, 1.5), 'mask 0'),
    'text cut off': (lambda m: m[1]['segmentation'].update(counts='Pi`'), 'mask 1'),
    'text of others': (lambda m: m[1]['segmentation'].update(counts='\u00e9 '), 'mask 1'),
    'text does not add up': (lambda m: m[1]['segmentation'].update(counts='100'), 'mask 1'),
    'another size': (lambda m: m[2].update(segmentation=code_of(np.ones((9, 8), bool))), 'mask 2'),
    'a lying size': (lambda m: m[1]['segmentation'].update(size=[100_000, 100_000]), 'mask 1'),
    'a size of words': (lambda m: m[1]['segmentation'].update(size=['64', 96]), 'mask 1'),
    'empty': (lambda m: m[2].update(segmentation=code_of(np.zeros((64, 96), bool))), 'mask 2'),
    'negative id': (lambda m: m[1].update(id=-1), '-1'),
    'repeated id': (lambda m: m[2].update(id=0), 'id 0'),
    'polygon': (lambda m: m[0].update(segmentation=[[0, 0, 5, 5, 9, 0]]), 'mask 0'),
    'no code': (lambda m: m[1].update(segmentation=7), 'mask 1'),
}


@pytest.mark.parametrize('name', WRONG_JSON)
def test_wrong_run_lengths_are_named(name, tmp_path):
    change, said = WRONG_JSON[name]
    (tmp_path / 'p.json').write_text(spoiled_json(change))
    with pytest.raises(MaskError, match=r'p\.json') as caught:
        read_masks(tmp_path / 'p.json')
    assert said in str(caught.value)


@pytest.mark.parametrize(
    'content', ['', '{', '[', 'null', '[]', '{}', '[1]', '{"annotations": 7}', '{"images": []}', '[' * 100_000]
)
def test_other_json_is_refused(content, tmp_path):
    (tmp_path / 'p.json').write_text(content)
    with pytest.raises(MaskError, match=r'p\.json'):
        read_masks(tmp_path / 'p.json')


@pytest.mark.parametrize(
    ('name', 'said'),
    [
        *[(name, r'p/1\.png') for name in ('missing', 'another size', 'empty', 'gray', 'colour', 'cut off')],
        *[('negative', r'metadata\.csv.*-1'), ('repeated', r'metadata\.csv.* 1 '), ('words', r'metadata\.csv.*one')],
        *[
            ('negative file', r'/-1\.png'),
            ('repeated file', r'/1\.png.*01\.png|01\.png.*1\.png'),
            ('no number', r'one\.png'),
        ],
        ('nothing', r'/p: '),
    ],
)
def test_wrong_folders_are_named(name, said, tmp_path):
    write_folder(tmp_path, rectangles())
    spoil_folder(tmp_path, name)
    with pytest.raises(MaskError, match=said):
        read_masks(tmp_path / 'p')


def test_wrong_stacks_are_named(tmp_path):
    empty = rectangles()
    empty[1] = False
    header = (
        b"\x93NUMPY\x01\x00F\x00{'descr': '|b1', 'fortran_order': False, 'shape': (3, 100000, 100000), }".ljust(79)
        + b'\n'
    )
    np.save(tmp_path / 'object.npy', np.array([object()], object), allow_pickle=True)
    bad = {
        'empty': (empty, 'mask 1'),
        'values': ((rectangles() * 7).astype(np.uint8), 'mask 0'),
        'float': (rectangles().astype(np.float32), 'float32'),
        'labels': (np.arange(12).reshape(3, 4), 'int64'),
        'columns': (np.asfortranarray(rectangles()), 'column'),
    }
    for name, (array, said) in bad.items():
        for path, save in ((tmp_path / f'{name}.npy', np.save), (tmp_path / f'{name}.npz', np.savez)):
            save(path, array)
            with pytest.raises(MaskError, match=path.name) as caught:
                read_masks(path)
            assert said in str(caught.value)
    whole = (tmp_path / 'empty.npy').read_bytes()
    np.save(tmp_path / 'good.npy', rectangles())
    good = (tmp_path / 'good.npy').read_bytes()
    files = {
        'cut.npy': good[:-100],
        'head.npy': whole[:40],
        'more.npy': good + bytes(10),
        'lying.npy': header + bytes(50),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    for name in (*files, 'object.npy'):
        with pytest.raises(MaskError, match=name):
            read_masks(tmp_path / name)


@pytest.mark.skipif(sys.platform != 'linux', reason='reads how much memory a process took')
def test_bombs_are_refused_in_little_memory(tmp_path):
    full = {'size': [8000, 8000], 'counts': [0, 64 * 10**6]}
    (tmp_path / 'overlap.json').write_text(json.dumps([{'segmentation': full}] * 20))
    large = {'size': [1_000_000, 1_000_000], 'counts': [0, 10**12]}
    (tmp_path / 'large.json').write_text(json.dumps([{'segmentation': large}]))
    header = (
        b"\x93NUMPY\x01\x00F\x00{'descr': '|b1', 'fortran_order': False, 'shape': (4000, 1000, 1000), }".ljust(79)
        + b'\n'
    )
    for name, value in (('zeros', b'\0'), ('ones', b'\1')):
        with (
            zipfile.ZipFile(tmp_path / f'{name}.npz', 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
            archive.open('masks.npy', 'w', force_zip64=True) as file,
        ):
            file.write(header)
            for _ in range(20):  # as much as is looked at
                file.write(value * 10**7)
    assert memory_of(READ_MASKS, tmp_path) < 1024


def test_label_maps_of_our_own_are_read_whatever_follows_them(tmp_path):
    labels = RNG.integers(0, 5, (2, 8, 9))
    write_label_map(tmp_path / 'a.png', labels)
    with (tmp_path / 'a.png').open('ab') as file:
        file.write(bytes(5000))
    assert np.array_equal(read_masks(tmp_path / 'a.png'), labels)
