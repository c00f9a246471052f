"""The raw store gives the samples of the files it was made of, and the command packs and unpacks without loss."""

from __future__ import annotations

import json
import pickle
import re
import resource
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
import torch

from basicsr.data import build_dataset, collate
from basicsr.data.stores.base import FolderStore
from basicsr.data.stores.lmdb import LmdbStore, write_lmdb
from basicsr.data.stores.opening import unpack
from basicsr.data.stores.raw import RawStore, write_raw
from basicsr.images.files import imread
from basicsr.masks import gray_from_masks, read_masks, write_label_map
from basicsr.utils.errors import DataError, ImageFileError, MaskError
from tests.helpers.project import ROOT

RAW = {'type': 'raw'}
NAMES = ('a.1', 'a.2', 'photo (1)', 'sub/ü')


@pytest.fixture
def root(tmp_path):
    """Pairs of 8 and 16 bits, label maps with few and with many ids, gray pictures."""
    rng = np.random.default_rng(1)
    for number, name in enumerate(NAMES):
        for folder in ('gt', 'lq', 'masks', 'gray'):
            (tmp_path / folder / name).parent.mkdir(parents=True, exist_ok=True)
        for folder in ('gt', 'lq'):
            image = rng.integers(0, 65536 if number == 1 else 256, (20, 24, 3), np.uint16)
            cv2.imwrite(str(tmp_path / folder / f'{name}.png'), image.astype(np.uint8 if number != 1 else np.uint16))
        labels = rng.integers(0, 7, (2, 20, 24)) * (1 if number < 3 else 1000)
        write_label_map(tmp_path / 'masks' / f'{name}.png', labels)
        masks = rng.random((3, 20, 24)) < 0.5
        cv2.imwrite(str(tmp_path / 'gray' / f'{name}.png'), gray_from_masks(masks))
    return tmp_path


def make_store(*arguments, **options):
    return subprocess.run(
        [sys.executable, str(ROOT / 'scripts' / 'make_store.py'), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def block(root, kind, suffix='', **more):
    mask = {'PairedImageMaskDataset': 'gray', 'PairedImageGroupMaskDataset': 'masks'}[kind]
    roots = {'gt': 'gt', 'lq': 'lq', 'mask': mask}
    paths = {f'dataroot_{key}': str(root / f'{folder}{suffix}') for key, folder in roots.items()}
    return {'type': kind, **paths, **more}


def pack(root, ending='.raw'):
    for folder, kind in (('gt', 'images'), ('lq', 'images'), ('masks', 'masks'), ('gray', 'gray')):
        done = make_store('--input', root / folder, '--output', root / f'{folder}{ending}', '--kind', kind)
        assert done.returncode == 0, done.stderr
        assert re.fullmatch(rf'{root / folder}{ending}: 4 .* {root / folder}\n', done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize('ending', ['.raw', '.lmdb'])
def test_samples_are_those_of_the_folders_in_every_phase(root, ending):
    pack(root, ending)
    for kind in ('PairedImageGroupMaskDataset', 'PairedImageMaskDataset'):
        for phase in ('test', 'train'):
            disk = build_dataset(block(root, kind, phase=phase, gt_size=16, seed=4))
            packed = build_dataset(
                block(root, kind, ending, phase=phase, gt_size=16, seed=4, io_backend={'type': ending[1:]})
            )
            for mine, theirs in zip(disk, packed, strict=True):
                for key in ('lq', 'gt', 'masks'):
                    assert torch.equal(mine[key].int(), theirs[key].int()), key
                    assert mine[key].dtype == theirs[key].dtype
                assert mine['mask_seed'] == theirs['mask_seed']
            assert packed[3]['lq_path'].endswith(f'lq{ending}/sub/ü' + ('' if ending == '.raw' else '.png'))


@pytest.mark.slow
def test_unpacking_gives_the_files_back(root):
    pack(root)
    for folder in ('gt', 'masks', 'gray'):
        back = root / f'{folder}_back'
        assert make_store('--input', root / f'{folder}.raw', '--output', back).returncode == 0
        for name in NAMES:
            old, new = root / folder / f'{name}.png', back / f'{name}.png'
            if folder == 'masks' and name == 'sub/ü':  # ids above 255 are renumbered, regions stay
                assert np.array_equal(read_masks(new) * 1000, read_masks(old))
            elif folder == 'masks':
                assert np.array_equal(read_masks(new), read_masks(old))
            else:
                assert np.array_equal(imread(new), imread(old)) and imread(new).dtype == imread(old).dtype
    assert make_store('--input', root / 'masks', '--output', root / 'm.lmdb', '--kind', 'masks').returncode == 0
    assert make_store('--input', root / 'm.lmdb', '--output', root / 'm_back').returncode == 0
    for name in NAMES:
        assert (root / 'm_back' / f'{name}.png').read_bytes() == (root / 'masks' / f'{name}.png').read_bytes()
    assert make_store('--input', root / 'm.lmdb', '--output', root / 'm.raw', '--kind', 'masks').returncode == 0
    assert (root / 'm.raw' / 'data.bin').read_bytes() == (root / 'masks.raw' / 'data.bin').read_bytes()


@pytest.mark.slow
def test_it_can_be_sent_to_workers_and_changes_nothing(root):
    pack(root)
    dataset = build_dataset(block(root, 'PairedImageGroupMaskDataset', '.raw', io_backend=RAW))
    before = (root / 'lq.raw' / 'data.bin').read_bytes()
    item = dataset[0]
    item['lq'].zero_()
    item['masks'].zero_()
    again = pickle.loads(pickle.dumps(dataset))[0]
    assert again['lq'].any() and again['masks'].any()
    assert (root / 'lq.raw' / 'data.bin').read_bytes() == before
    assert len(pickle.dumps(dataset)) < 20000
    with pytest.raises(ValueError, match='read-only'):
        RawStore(root / 'lq.raw').image('a.1')[0] = 0
    loader = torch.utils.data.DataLoader(dataset, num_workers=1, collate_fn=collate)
    assert [batch['lq_path'][0].rsplit('/', 1)[1] for batch in loader] == ['a.1', 'a.2', 'photo (1)', 'ü']


@pytest.mark.slow
def test_gray_and_colours(root):
    pack(root)
    store = RawStore(root / 'gray.raw')
    assert store.image('a.1').shape == (20, 24, 1)
    assert np.array_equal(store.image('a.1', 3), np.repeat(store.image('a.1'), 3, axis=2))
    with pytest.raises(DataError, match=r'lq\.raw/a\.1: .*RGB'):
        RawStore(root / 'lq.raw').image('a.1', 1)
    with pytest.raises(DataError, match=r'lq\.raw.*images.*masks'):
        RawStore(root / 'lq.raw').labels('a.1')
    for read in (RawStore(root / 'masks.raw').labels, RawStore(root / 'gray.raw').gray):
        with pytest.raises(MaskError, match=r'raw/a\.1: .*\(20, 24\) pixels .*\(24, 20\)'):
            read('a.1', (24, 20))


@pytest.mark.slow
def test_damaged_stores_are_refused(root):
    pack(root)
    index = root / 'lq.raw' / 'index.json'
    content = json.loads(index.read_text(encoding='utf-8'))
    data = root / 'lq.raw' / 'data.bin'
    first = next(iter(content['entries']))
    for change, message in (
        ({'format': 'x'}, 'format'),
        ({'kind': 'x'}, 'kind'),
        ({'entries': {}}, 'entries'),
        ({'entries': {first: [0, 'object', [1, 1, 1]]}}, f'entries.{first}'),
        ({'entries': {first: [content['bytes'], 'uint8', [1, 1, 1]]}}, first),
        ({'entries': {first: [-8, 'uint8', [1, 1, 1]]}}, first),
        ({'bytes': 7}, f'{first}'),
    ):
        index.write_text(json.dumps({**content, **change}))
        with pytest.raises(DataError, match=message):
            RawStore(root / 'lq.raw')
    index.write_text('{')
    with pytest.raises(DataError, match=r'index\.json: damaged'):
        RawStore(root / 'lq.raw')
    index.write_text(json.dumps(content))
    with data.open('ab') as file:
        file.truncate(100)
    with pytest.raises(DataError, match=r'data\.bin: '):
        RawStore(root / 'lq.raw')
    with pytest.raises(DataError, match=r'gt/index\.json: '):
        RawStore(root / 'gt')
    with pytest.raises(DataError, match=r'gt\.raw.*io_backend: \{type: raw\}'):
        FolderStore(root / 'gt.raw')


@pytest.mark.slow
def test_names_in_a_store_cannot_lead_out_of_the_folder(root):
    pack(root)
    for wrong in ('../../evil', '/tmp/evil', 'a/../../evil'):
        index = root / 'lq.raw' / 'index.json'
        content = json.loads(index.read_text(encoding='utf-8'))
        content['entries'] = {wrong: next(iter(content['entries'].values()))}
        index.write_text(json.dumps(content))
        with pytest.raises(DataError, match='outside'):
            unpack(RawStore(root / 'lq.raw'), root / 'out')
        assert not (root / 'out').exists()
    make_store('--input', root / 'gt', '--output', root / 'gt.lmdb')
    meta = root / 'gt.lmdb' / 'meta_info.txt'
    meta.write_text('../evil.png (20,24,3) 1\n')
    done = make_store('--input', root / 'gt.lmdb', '--output', root / 'out2')
    assert done.returncode == 1 and '../evil.png' in done.stderr
    assert not (root / 'out2').exists()


@pytest.mark.slow
def test_nothing_half_done_remains(root):
    before = sorted(path.name for path in root.iterdir())
    (root / 'lq' / 'z.png').write_bytes(b'\x89PNG\r\n')
    with pytest.raises(ImageFileError, match=r'z\.png'):
        write_raw(FolderStore(root / 'lq'), root / 'lq.raw', 'images', threads=2)
    assert sorted(path.name for path in root.iterdir()) == before
    for arguments, message in (
        (('--input', root / 'gt', '--output', root / 'gt2'), str(root / 'gt2')),
        (('--input', root / 'none', '--output', root / 'x.raw'), f'{root / "none"}: '),
        (('--input', root / 'masks', '--output', root / 'm.lmdb'), '--kind masks'),
        (('--input', root / 'gt', '--output', '/proc/x.raw'), '/proc/'),
        (('--input', root / 'gt', '--output', root / 'gt' / 'a.1.png' / 'x.raw'), 'a.1.png'),
    ):
        done = make_store(*arguments)
        assert (done.returncode, done.stdout) == (1, '') and message in done.stderr
        assert 'Traceback' not in done.stderr
    assert make_store('--input', root / 'gt', '--output', root / 'gt.raw').returncode == 0
    assert f'{root / "gt.raw"}: ' in make_store('--input', root / 'gt', '--output', root / 'gt.raw').stderr


@pytest.mark.slow
@pytest.mark.parametrize('ending', ['.raw', '.lmdb'])
def test_a_full_disk_leaves_nothing(root, ending):
    before = sorted(path.name for path in root.iterdir())

    def small_files_only():  # the system call fails as on a full disk
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    done = make_store('--input', root / 'gt', '--output', root / f'gt{ending}', preexec_fn=small_files_only)
    assert done.returncode == 1
    assert f'gt{ending}' in done.stderr and 'Traceback' not in done.stderr
    assert sorted(path.name for path in root.iterdir()) == before


@pytest.mark.slow
def test_lmdb_store_keeps_names_with_dots(root):
    make_store('--input', root / 'gt', '--output', root / 'gt.lmdb')
    assert LmdbStore(root / 'gt.lmdb').keys == sorted(NAMES)


def test_threads_may_be_the_first_to_read_an_lmdb(tmp_path):
    """It may be opened once in a process only."""
    (tmp_path / 'images').mkdir()
    cv2.imwrite(str(tmp_path / 'images' / 'a.png'), np.full((5, 6, 3), 7, np.uint8))
    for number in range(20):
        target = tmp_path / f'{number}.lmdb'
        write_lmdb(tmp_path / 'images', target)
        store, start = LmdbStore(target), threading.Barrier(8)

        def first(_: int, store: LmdbStore = store, start: threading.Barrier = start) -> bytes:
            start.wait()
            return store.read('a')

        with ThreadPoolExecutor(8) as pool:
            assert len(set(pool.map(first, range(8)))) == 1
