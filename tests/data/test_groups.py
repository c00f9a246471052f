"""Images that are scored apart: the files that name them, and what is wrong with such files."""

from __future__ import annotations

import logging
import re

import numpy as np
import pytest

from basicsr.data import build_dataset
from basicsr.data.image_groups import read_groups
from basicsr.images.files import imwrite
from basicsr.utils.errors import DataError

NAMES = ['a10', 'a9', 's/b']


def test_positions_count_from_one_in_natural_order(tmp_path):
    np.save(tmp_path / 'in.npy', np.array([1, 3]))
    (tmp_path / 'out.txt').write_text('a10.png\n\n')
    files = {'indoor': str(tmp_path / 'in.npy'), 'outdoor': str(tmp_path / 'out.txt')}
    assert read_groups(files, NAMES) == ('outdoor', 'indoor', 'indoor')
    (tmp_path / 'out.txt').write_text('s/b\r\n')
    np.save(tmp_path / 'in.npy', np.array([2], np.uint8))
    assert read_groups(files, NAMES) == ('indoor', '', 'outdoor')


def test_names_in_text_files_may_have_the_extension_of_an_image_and_no_other(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    (tmp_path / 'in.txt').write_text('a10.PNG\ns/b.5\n')
    assert read_groups({'indoor': '~/in.txt'}, ['a10', 's/b.5', 's/b']) == ('indoor', 'indoor', '')


def test_without_the_files_there_are_no_groups_but_a_line(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, 'basicsr'):
        assert read_groups({'indoor': str(tmp_path / 'in.npy')}, NAMES) == ()
        assert re.search(r'\(indoor\).*in\.npy', caplog.text)
        caplog.clear()
        assert read_groups(None, NAMES) == read_groups({}, NAMES) == ()
        assert not caplog.text


@pytest.mark.parametrize(
    ('labels', 'message'),
    [
        (np.array([1, 4]), r'in\.npy .*\(1\): 4'),
        (np.array([0]), r'in\.npy .*\(1\): 0'),
        (np.array([1]), r'out\.txt .*\(1\): a9'),
        (np.array([1.0]), r'in\.npy: .*float64 \(1,\)'),
        (np.array([[1]]), r'in\.npy: .*int64 \(1, 1\)'),
        (np.array(['a9'], object), r'in\.npy: .*Python objects'),
    ],
)
def test_groups_that_do_not_fit_are_errors(tmp_path, labels, message):
    np.save(tmp_path / 'in.npy', labels, allow_pickle=True)
    (tmp_path / 'out.txt').write_text('a9\n')
    with pytest.raises(DataError, match=message):
        read_groups({'indoor': str(tmp_path / 'in.npy'), 'outdoor': str(tmp_path / 'out.txt')}, NAMES)


def test_one_file_of_two_is_an_error(tmp_path):
    (tmp_path / 'out.txt').write_text('nobody\n')
    with pytest.raises(DataError) as caught:
        read_groups({'indoor': str(tmp_path / 'in.npy'), 'outdoor': str(tmp_path / 'out.txt')}, NAMES)
    assert f'(1): {tmp_path / "in.npy"}' in str(caught.value) and 'nobody' in str(caught.value)
    (tmp_path / 'in.npy').write_bytes(b'')
    with pytest.raises(DataError, match=r'in\.npy: '):
        read_groups({'indoor': str(tmp_path / 'in.npy')}, NAMES)


def test_data_sets_have_them(tmp_path):
    for folder in ('lq', 'gt', 'left', 'right'):
        (tmp_path / folder).mkdir()
        for name in ('x9', 'x10'):
            imwrite(tmp_path / folder / f'{name}.png', np.zeros((8, 8, 3), np.uint16))
    np.save(tmp_path / 'in.npy', np.array([2]))
    roots = {'dataroot_lq': str(tmp_path / 'lq'), 'dataroot_gt': str(tmp_path / 'gt')}
    groups = {'groups': {'indoor': str(tmp_path / 'in.npy')}}
    single = build_dataset({'type': 'PairedImageDataset', **roots, **groups})
    assert dict(zip(single.names, single.groups, strict=True)) == {'x9': '', 'x10': 'indoor'}
    views = {f'dataroot_{side}': str(tmp_path / side) for side in ('left', 'right')}
    assert build_dataset({'type': 'DualPixelDataset', **roots, **views, **groups}).groups == ('', 'indoor')
    assert build_dataset({'type': 'PairedImageDataset', **roots}).groups == ()
