"""LMDB in the original's layout, there and back, in every process."""

from __future__ import annotations

import pickle
import struct

import cv2
import lmdb
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from basicsr.data import build_dataset, collate
from basicsr.data.stores.base import FolderStore
from basicsr.data.stores.lmdb import LmdbStore, write_lmdb
from basicsr.data.stores.lmdb_pages import check_pages
from basicsr.masks.files import write_label_map
from basicsr.utils.errors import DataError, ImageFileError

LMDB = {'type': 'lmdb'}
NAMES = ('a.1', 'a.2', 'photo (1)', 'sub/ü')


@pytest.fixture
def folders(tmp_path):
    """Four pairs with label maps, and the same as data bases; the two blocks."""
    rng = np.random.default_rng(1)
    for name in NAMES:
        for folder in ('gt', 'lq', 'masks'):
            (tmp_path / folder / name).parent.mkdir(parents=True, exist_ok=True)
        for folder in ('gt', 'lq'):
            cv2.imwrite(str(tmp_path / folder / f'{name}.png'), rng.integers(0, 256, (20, 24, 3), np.uint8))
        write_label_map(tmp_path / 'masks' / f'{name}.png', rng.integers(0, 7, (2, 20, 24)))
    for folder in ('gt', 'lq'):
        assert write_lmdb(tmp_path / folder, tmp_path / f'{folder}.lmdb') == 4
    write_lmdb(tmp_path / 'masks', tmp_path / 'masks.lmdb', 'masks')

    def block(suffix=''):
        roots = {'gt': 'gt', 'lq': 'lq', 'mask': 'masks'}
        return {
            'type': 'PairedImageGroupMaskDataset',
            **{f'dataroot_{key}': str(tmp_path / f'{root}{suffix}') for key, root in roots.items()},
        }

    return tmp_path, block(), {**block('.lmdb'), 'io_backend': LMDB}


def test_samples_are_those_of_the_folders(folders):
    root, disk, data_base = folders
    one, other = build_dataset(disk), build_dataset(data_base)
    assert len(one) == len(other) == 4
    for mine, theirs in zip(one, other, strict=True):
        for key in ('lq', 'gt', 'masks', 'mask_seed'):
            assert torch.equal(torch.as_tensor(mine[key]), torch.as_tensor(theirs[key]))
    assert [item['lq_path'] for item in other] == [str(root / 'lq.lmdb' / f'{name}.png') for name in NAMES]


def test_the_layout_is_the_originals(folders, tmp_path):
    root, *_ = folders
    assert {path.name for path in (root / 'lq.lmdb').iterdir()} == {'data.mdb', 'lock.mdb', 'meta_info.txt'}
    assert (root / 'lq.lmdb' / 'meta_info.txt').read_text(encoding='utf-8').splitlines() == [
        f'{name}.png (20,24,3) 1' for name in NAMES
    ]
    stacks = np.random.default_rng(2).random((3, 1, 5, 6)) < 0.5
    (tmp_path / 'npz').mkdir()
    np.savez_compressed(tmp_path / 'npz' / 'x.y.npz', masks=stacks)
    write_lmdb(tmp_path / 'npz', tmp_path / 'npz.lmdb', 'masks')
    assert (tmp_path / 'npz.lmdb' / 'meta_info.txt').read_text() == 'x.y.npz (3, 1, 5, 6)\n'
    store = LmdbStore(tmp_path / 'npz.lmdb')
    assert store.keys == ['x.y']
    assert store.read('x.y') == (tmp_path / 'npz' / 'x.y.npz').read_bytes()


def test_a_data_base_of_the_original_is_read(tmp_path):
    image = np.random.default_rng(3).integers(0, 256, (6, 8, 3), np.uint8)
    with lmdb.open(str(tmp_path / 'x.lmdb'), map_size=1 << 20) as environment, environment.begin(write=True) as put:
        put.put(b'GOPR0372_07_00-000047', cv2.imencode('.png', image)[1].tobytes())
    (tmp_path / 'x.lmdb' / 'meta_info.txt').write_text('GOPR0372_07_00-000047.png (6,8,3) 1\n')
    dataset = build_dataset({'type': 'SingleImageDataset', 'dataroot_lq': str(tmp_path / 'x.lmdb'), 'io_backend': LMDB})
    np.testing.assert_array_equal(dataset[0]['lq'].permute(1, 2, 0).flip(2), image)


@pytest.mark.slow
@pytest.mark.parametrize('method', ['fork', 'spawn'])
def test_workers_read_it_after_the_main_process_has(folders, method):
    *_, data_base = folders
    dataset = build_dataset(data_base)
    here = [dataset[i]['lq'] for i in range(4)]
    loader = DataLoader(dataset, num_workers=1, multiprocessing_context=method, collate_fn=collate)
    for mine, batch in zip(here, loader, strict=True):
        assert torch.equal(mine, batch['lq'][0])
    assert torch.equal(dataset[1]['lq'], here[1])


def test_it_can_be_pickled_while_open(folders):
    _, disk, data_base = folders
    for block in (disk, data_base):
        dataset = build_dataset(block)
        expected = dataset[2]['masks']
        assert torch.equal(pickle.loads(pickle.dumps(dataset))[2]['masks'], expected)


def test_unequal_keys_are_refused(folders, tmp_path):
    root, _, data_base = folders
    (root / 'masks' / 'a.1.png').unlink()
    (root / 'masks' / 'a.2.png').rename(root / 'masks' / 'extra.png')
    write_lmdb(root / 'masks', root / 'fewer.lmdb', 'masks')
    with pytest.raises(DataError, match=r'fewer\.lmdb \(2\): a\.1, a\.2\n.*\(1\): extra'):
        build_dataset({**data_base, 'dataroot_mask': str(root / 'fewer.lmdb')})
    (root / 'lq' / 'a.1.png').unlink()
    write_lmdb(root / 'lq', root / 'lq2.lmdb')
    with pytest.raises(DataError, match=r'lq2\.lmdb \(1\): a\.1'):
        build_dataset({**data_base, 'dataroot_lq': str(root / 'lq2.lmdb')})


def test_damaged_ones_are_refused(folders):
    root, *_ = folders
    for wrong, message in ((root / 'lq', r"lq: .*'\.lmdb'"), (root / 'no.lmdb', r'no\.lmdb: .*data\.mdb')):
        with pytest.raises(DataError, match=message):
            LmdbStore(wrong)
    meta = root / 'lq.lmdb' / 'meta_info.txt'
    lines = meta.read_text(encoding='utf-8')
    meta.write_text(lines + 'ghost.png (1,1,3) 1\n', encoding='utf-8')
    with pytest.raises(DataError, match=r"lq\.lmdb: .*'ghost'.*meta_info\.txt"):
        LmdbStore(root / 'lq.lmdb').read('ghost')
    for text, message in (
        ('\n', r'meta_info\.txt: .*files'),
        (lines * 2, r'meta_info\.txt: .*twice'),
        ('/ (1,1,3) 1', 'name'),
    ):
        meta.write_text(text, encoding='utf-8')
        with pytest.raises(DataError, match=message):
            LmdbStore(root / 'lq.lmdb')
    meta.write_bytes(b'\xff\xfe.png (1,1,3) 1\n')
    with pytest.raises(DataError, match=r'meta_info\.txt: .*UTF-8'):
        LmdbStore(root / 'lq.lmdb')
    meta.unlink()
    with pytest.raises(DataError, match=r'lq\.lmdb: .*meta_info\.txt'):
        LmdbStore(root / 'lq.lmdb')
    (root / 'gt.lmdb' / 'data.mdb').write_bytes(b'no data base')
    with pytest.raises(DataError, match=r'gt\.lmdb: .*MDB_INVALID'):
        LmdbStore(root / 'gt.lmdb').read('a.1')


@pytest.mark.parametrize('share', [0.2, 0.6, 0.99])
def test_one_that_was_cut_off_is_refused_before_it_is_read(folders, share):
    root, *_ = folders
    data = root / 'gt.lmdb' / 'data.mdb'
    whole = data.read_bytes()
    data.write_bytes(whole[: max(8192, int(share * len(whole)))])
    with pytest.raises(DataError, match=rf'data\.mdb: .*{data.stat().st_size} .*{len(whole)} '):
        LmdbStore(root / 'gt.lmdb').read('a.1')


@pytest.mark.parametrize(
    ('place', 'value', 'message'),
    [
        (40, struct.pack('<I', 0), 'first page'),  # of the last transaction: the size of pages
        (40, struct.pack('<I', 3000), 'first page'),
        (92, b'\x04', 'first page'),  # flags
        (94, b'\x07', 'page [0-9]+ makes no sense'),  # depth of the tree
        (128, struct.pack('<Q', 10**6), 'refers to page 1000000'),  # its root
        (136, struct.pack('<Q', 10**6), 'cut off'),  # the last page
        (24, struct.pack('<Q', 4096), 'first page'),  # its address
        (32, struct.pack('<Q', 8192), 'limit of 8192'),  # its largest size
        (144, struct.pack('<Q', 2**40 + 3), 'first page'),  # the number of the transaction, odd on an even page
        *((place, struct.pack('<Q', 77), 'as many') for place in (96, 104, 112, 120)),  # pages and keys of the tree
        (48, struct.pack('<Q', 77), 'as many'),  # and of the other one
        (80, struct.pack('<Q', 10**6), 'refers to page 1000000'),  # its root
    ],
)
def test_a_first_page_that_lies_is_refused(folders, place, value, message):
    """The library would read memory that it does not have, which ends the process."""
    root, *_ = folders
    data = root / 'gt.lmdb' / 'data.mdb'
    content = bytearray(data.read_bytes())
    for page in (0, 4096):
        content[page + place : page + place + len(value)] = value
    data.write_bytes(content)
    with pytest.raises(DataError, match=rf'data\.mdb: .*{message}'):
        LmdbStore(root / 'gt.lmdb').read('a.1')


def test_pages_that_lie_are_refused(tmp_path):
    """Two hundred changed bytes in pages of keys: each is refused, or changes no more than the bytes of a key."""
    (tmp_path / 'lq').mkdir()
    for index in range(300):
        cv2.imwrite(str(tmp_path / 'lq' / f'{index:04}.png'), np.full((2, 2, 3), index % 256, np.uint8))
    cv2.imwrite(str(tmp_path / 'lq' / 'large.png'), np.random.default_rng(0).integers(0, 256, (90, 90, 3), np.uint8))
    write_lmdb(tmp_path / 'lq', tmp_path / 'a.lmdb')
    data = tmp_path / 'a.lmdb' / 'data.mdb'
    content = data.read_bytes()
    pages = [page for page in range(2, len(content) // 4096) if content[4096 * page + 10] in (1, 2)]
    assert len(pages) > 3
    rng, refused = np.random.default_rng(0), 0
    for _ in range(200):
        page = 4096 * int(rng.choice(pages))
        changed = bytearray(content)
        changed[page + int(rng.integers(10, 80))] ^= int(rng.integers(1, 256))
        data.write_bytes(changed)
        try:
            check_pages(data)
        except DataError as error:
            refused += 'damaged' in str(error)
    assert refused > 60  # the others change an older page, or the order of keys
    data.write_bytes(content)
    check_pages(data)


def test_names_are_counted_in_bytes(tmp_path):
    (tmp_path / 'lq' / ('ä' * 120) / ('ö' * 120)).mkdir(parents=True)
    name = f'{"ä" * 120}/{"ö" * 120}/{"ü" * 20}.png'  # 262 letters
    cv2.imencode('.png', np.zeros((2, 2), np.uint8))[1].tofile(tmp_path / 'lq' / name)
    with pytest.raises(DataError, match='511 bytes'):
        write_lmdb(tmp_path / 'lq', tmp_path / 'lq.lmdb')


def test_writing_leaves_nothing_half_done(folders):
    root, *_ = folders
    before = sorted(root.iterdir())
    with pytest.raises(DataError, match=r'gt\.lmdb: .*exists'):
        write_lmdb(root / 'lq', root / 'gt.lmdb')
    with pytest.raises(DataError, match=r"data: .*'\.lmdb'"):
        write_lmdb(root / 'lq', root / 'data')
    (root / 'lq' / 'z.png').write_bytes(b'\x89PNG')
    with pytest.raises(ImageFileError, match=r'z\.png'):
        write_lmdb(root / 'lq', root / 'new.lmdb')
    (root / 'lq' / 'a.1.jpg').write_bytes(b'x')
    with pytest.raises(DataError, match=r'lq: .*key: a\.1'):
        write_lmdb(root / 'lq', root / 'new.lmdb')
    assert sorted(root.iterdir()) == before


def test_it_grows_as_needed(monkeypatch, tmp_path):
    monkeypatch.setattr('basicsr.data.stores.lmdb._FIRST_MAP_SIZE', 1 << 15)
    (tmp_path / 'many').mkdir()
    noise = np.random.default_rng(4).integers(0, 256, (100, 100, 3), np.uint8)
    for number in range(5):
        cv2.imwrite(str(tmp_path / 'many' / f'{number}.png'), noise)
    write_lmdb(tmp_path / 'many', tmp_path / 'many.lmdb')
    store = LmdbStore(tmp_path / 'many.lmdb')
    for key in store.keys:
        decoded = cv2.imdecode(np.frombuffer(store.read(key), np.uint8), cv2.IMREAD_COLOR)
        np.testing.assert_array_equal(decoded, noise)


def test_a_replaced_data_base_is_opened_again(folders):
    root, *_ = folders
    store = LmdbStore(root / 'lq.lmdb')
    assert store.read('a.1') != LmdbStore(root / 'gt.lmdb').read('a.1')
    (root / 'lq.lmdb').rename(root / 'old.lmdb')
    write_lmdb(root / 'gt', root / 'lq.lmdb')
    assert store.read('a.1') == LmdbStore(root / 'gt.lmdb').read('a.1')


def test_links_to_a_folder_above_end(tmp_path):
    (tmp_path / 'a').mkdir()
    (tmp_path / 'a' / 'x.png').write_bytes(b'x')
    (tmp_path / 'a' / 'up').symlink_to(tmp_path)
    (tmp_path / 'linked').symlink_to(tmp_path / 'a')
    (tmp_path / 'again').symlink_to(tmp_path / 'a')
    assert FolderStore(tmp_path / 'linked').keys == ['x.png']
    assert FolderStore(tmp_path).keys == ['a/x.png', 'again/x.png', 'linked/x.png']
