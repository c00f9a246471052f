"""Files find their partners by name, complete or with one error that lists what is missing."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest

from basicsr.data import build_dataset
from basicsr.data.pairing import find_pairs
from basicsr.data.stores.base import FolderStore
from basicsr.utils.errors import ArgumentError, BasicsrError, DataError


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b'x')


def pair(tmp_path, **arguments):
    return find_pairs(FolderStore(tmp_path / 'gt'), FolderStore(tmp_path / 'lq'), **arguments)


def test_names_with_dots_sub_folders_and_other_extensions(tmp_path, caplog):
    touch(tmp_path / 'gt', 'b/x.1.png', 'a.JPG', 'ü 1.tiff', '.hidden.png', '.git/y.png', 'notes.txt')
    touch(tmp_path / 'lq', 'b/x.1.jpg', 'a.png', 'ü 1.bmp', 'b/.x.1.png')
    caplog.set_level('INFO')
    assert pair(tmp_path) == [('a.JPG', 'a.png'), ('b/x.1.png', 'b/x.1.jpg'), ('ü 1.tiff', 'ü 1.bmp')]
    assert re.fullmatch(rf'3 .*stem.* {tmp_path / "gt"}\W.* {tmp_path / "lq"}', caplog.messages[0])


def test_a_name_template_reaches_into_sub_folders(tmp_path):
    touch(tmp_path / 'gt', 's/a.png', 'b.png')
    touch(tmp_path / 'lq', 's/a_blur.png', 'b_blur.png')
    assert pair(tmp_path, filename_tmpl='{}_blur') == [('b.png', 'b_blur.png'), ('s/a.png', 's/a_blur.png')]
    with pytest.raises(ArgumentError, match='filename_tmpl'):
        pair(tmp_path, filename_tmpl='blur')


def test_what_is_missing_on_either_side_is_listed_up_to_twenty(tmp_path):
    touch(tmp_path / 'gt', 'both.png', *(f'g{n:02}.png' for n in range(25)))
    touch(tmp_path / 'lq', 'both.png', 'only_lq.png')
    with pytest.raises(DataError) as caught:
        pair(tmp_path)
    message = str(caught.value)
    assert f'{tmp_path / "lq"} (25): g00, g01' in message
    assert re.search(r'g19 .*\b5\b', message) and 'g20' not in message
    assert '(1): only_lq' in message


@pytest.mark.parametrize('side', ['gt', 'lq'])
def test_two_files_of_one_stem_are_refused(tmp_path, side):
    for folder in ('gt', 'lq'):
        touch(tmp_path / folder, 'a.png', 'b.png')
    touch(tmp_path / side, 'a.jpg')
    with pytest.raises(DataError, match=r'\ba\.jpg.*\ba\.png'):
        pair(tmp_path)


def test_empty_and_absent_folders_are_refused(tmp_path):
    touch(tmp_path / 'gt', 'readme.txt')
    with pytest.raises(DataError, match=r'\.png.*\.jpg'):
        pair(tmp_path)
    with pytest.raises(DataError, match='nowhere: '):
        FolderStore(tmp_path / 'nowhere')
    touch(tmp_path / 'x.lmdb', 'data.mdb')
    with pytest.raises(DataError, match=r'io_backend: \{type: lmdb\}'):
        FolderStore(tmp_path / 'x.lmdb')


def test_a_list_chooses_and_orders(tmp_path):
    for folder in ('gt', 'lq'):
        touch(tmp_path / folder, 'a.1.png', 'b.png', 'c/d.png')
    names = tmp_path / 'list.txt'
    names.write_text('c/d.png (4,4,3) 1\n\na.1.png\n')
    chosen = [('c/d.png', 'c/d.png'), ('a.1.png', 'a.1.png')]
    assert pair(tmp_path, meta_info_file=names) == chosen
    assert pair(tmp_path, pairing='list', meta_info_file=str(names)) == chosen
    names.write_text('e.png\nb.png\n')
    with pytest.raises(DataError, match=r'gt \(1\): e\n.*lq \(1\): e'):
        pair(tmp_path, meta_info_file=names)
    for text, problem in (('', r'list\.txt.*empty'), ('b.png\nb.png', r'list\.txt.*once')):
        names.write_text(text)
        with pytest.raises(DataError, match=problem):
            pair(tmp_path, meta_info_file=names)
    with pytest.raises(DataError, match=r'no\.txt'):
        pair(tmp_path, meta_info_file=tmp_path / 'no.txt')
    for wrong in ({'pairing': 'list'}, {'pairing': 'natural_order', 'meta_info_file': names}):
        with pytest.raises(ArgumentError):
            pair(tmp_path, **wrong)


def test_pairs_are_in_the_order_of_stems(tmp_path):
    for folder in ('gt', 'lq'):
        touch(tmp_path / folder, 'a.png', 'a-b.png')  # the order of whole file names is the other one
    assert pair(tmp_path) == [('a.png', 'a.png'), ('a-b.png', 'a-b.png')]


def test_a_list_written_on_windows(tmp_path):
    for folder in ('gt', 'lq'):
        touch(tmp_path / folder, 'c/d.png', 'e.png')
    names = tmp_path / 'list.txt'
    names.write_text('c\\d.png\r\n')
    assert pair(tmp_path, meta_info_file=names) == [('c/d.png', 'c/d.png')]


def test_natural_order_sorts_numbers_by_value_and_needs_equal_counts(tmp_path):
    touch(tmp_path / 'gt', 'gt_10.png', 'Gt_9.png', 'a.png')
    touch(tmp_path / 'lq', 'blur_2.png', 'blur_11.png', 'Blur_1.png')
    found = pair(tmp_path, pairing='natural_order')
    assert found == [('a.png', 'Blur_1.png'), ('Gt_9.png', 'blur_2.png'), ('gt_10.png', 'blur_11.png')]
    touch(tmp_path / 'lq', 'blur_12.png')
    with pytest.raises(DataError, match=r'gt .*\b3 .*lq .*\b4\b'):
        pair(tmp_path, pairing='natural_order')


@pytest.fixture
def roots(tmp_path):
    """Two small pairs with label maps; the block of a data set on them."""
    images = np.random.default_rng(0).integers(0, 256, (2, 12, 16, 3), np.uint8)
    for folder in ('gt', 'lq', 'masks'):
        (tmp_path / folder).mkdir()
    for name, image in zip('ab', images, strict=True):
        cv2.imwrite(str(tmp_path / 'gt' / f'{name}.png'), image)
        cv2.imwrite(str(tmp_path / 'lq' / f'{name}.png'), image)
        cv2.imwrite(str(tmp_path / 'masks' / f'{name}.png'), image[..., 0])
    return tmp_path, {
        'type': 'PairedImageGroupMaskDataset',
        **{
            f'dataroot_{key}': str(tmp_path / folder) for key, folder in (('gt', 'gt'), ('lq', 'lq'), ('mask', 'masks'))
        },
    }


def test_missing_masks_are_named_with_the_command_that_makes_them(roots):
    folder, block = roots
    (folder / 'masks' / 'b.png').unlink()
    command = f'python scripts/make_masks.py --input {folder / "lq"} --output {folder / "masks"}'
    with pytest.raises(DataError) as caught:
        build_dataset(block)
    assert f'{folder / "masks"} (1): b' in str(caught.value)
    assert command in str(caught.value)
    (folder / 'masks' / 'a.png').unlink()
    with pytest.raises(DataError) as caught:
        build_dataset(block)
    assert command in str(caught.value)
    with pytest.raises(DataError, match=r'make_masks\.py .*masks_label_maps --gray .*/masks'):
        build_dataset({**block, 'type': 'PairedImageMaskDataset'})


def test_masks_in_two_forms_are_refused_and_others_may_lie_beside(roots):
    folder, block = roots
    touch(folder / 'masks', 'masks.json', 'c.png', 'overlay/a.png')
    assert len(build_dataset(block)) == 2
    touch(folder / 'masks', 'a.npz')
    with pytest.raises(DataError, match=r'\ba\.\w+.*\ba\.\w+'):
        build_dataset(block)


def cut(path):
    path.write_bytes(path.read_bytes()[:-30])


def other_size(path):
    cv2.imwrite(str(path), np.zeros((12, 15), np.uint8))


def wrong_key(path):
    path.unlink()
    np.savez(path.with_suffix('.npz'), regions=np.ones((1, 1, 12, 16), bool))


@pytest.mark.parametrize(
    ('damage', 'file', 'message'),
    [
        (cut, 'lq/a.png', r'lq/a\.png: .*cut off'),
        (lambda path: path.write_bytes(b''), 'gt/a.png', r'gt/a\.png: .*empty'),
        (lambda path: path.write_bytes(b'text'), 'gt/a.png', r'gt/a\.png: damaged'),
        (lambda path: path.unlink(), 'gt/a.png', r'gt/a\.png: .*No such file'),
        (other_size, 'gt/a.png', r'lq/a\.png .*\(12, 16, 3\) .*gt/a\.png .*\(12, 15, 3\)'),
        (cut, 'masks/a.png', r'masks/a\.png: damaged'),
        (other_size, 'masks/a.png', r'masks/a\.png: .*\(12, 15\).*\(12, 16\)'),
    ],
)
def test_bad_files_are_named(roots, damage, file, message):
    folder, block = roots
    dataset = build_dataset(block)
    damage(folder / file)
    with pytest.raises(BasicsrError, match=message):
        dataset[0]
    assert dataset[1]['lq_path'] == str(folder / 'lq' / 'b.png')


def test_a_stack_under_another_key_is_named(roots):
    folder, block = roots
    wrong_key(folder / 'masks' / 'a.png')
    with pytest.raises(BasicsrError, match=r"masks/a\.npz: .*'masks'.*regions"):
        build_dataset(block)[0]


def test_arguments_that_make_no_sense_are_refused(roots):
    _, block = roots
    for wrong in (
        {'mean': [0.5, 0.5, 0.5], 'std': [1, 1, 1]},
        {'phase': 'training'},
        {'gt_size': 0},
        {'io_backend': {'type': 'memcached'}},
        {'channels': 4},
        {'pairing': 'all'},
        {'dataroot': 'x'},
    ):
        with pytest.raises(ArgumentError):
            build_dataset({**block, **wrong})
    with pytest.raises(ArgumentError, match='phase'):
        build_dataset({'type': 'SingleImageDataset', 'dataroot_lq': block['dataroot_lq'], 'phase': 'train'})
    without = {key: value for key, value in block.items() if key != 'dataroot_mask'}
    with pytest.raises(ArgumentError, match="'dataroot_mask'"):
        build_dataset(without)
    assert len(build_dataset({**without, 'type': 'PairedImageDataset', 'name': 'x'})) == 2
