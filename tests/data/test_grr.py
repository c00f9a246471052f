"""Global-reset-release data: sequences, what breaks them, and augmentations that keep the order of the rows."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from basicsr.data import build_dataset
from basicsr.images.files import imread, imwrite
from basicsr.options import load_options
from basicsr.utils.errors import ArgumentError, DataError, OptionError
from tests.helpers.grr_frames import write


@pytest.fixture
def root(tmp_path):
    write(tmp_path, 'seq2', [8, 9, 10], digits=1)
    write(tmp_path, 'seq1', [0, 1])
    return tmp_path


def frames(root, **more):
    return build_dataset({'type': 'GRRDataset', 'dataroot': str(root), **more})


def test_sequences_by_name_and_frames_by_number(root):
    dataset = frames(root)
    assert dataset.names == ['seq1/0000', 'seq1/0001', 'seq2/8', 'seq2/9', 'seq2/10']
    item = dataset[4]
    for key, kind in (('lq', 'RSGR'), ('gt', 'GS')):
        path = root / 'seq2' / kind / 'PNG' / '10.png'
        assert np.array_equal(item[key].permute(1, 2, 0).numpy(), imread(path))
        assert item[f'{key}_path'] == str(path)


def test_training_mirrors_and_reverses_colours_of_both_and_nothing_else(root):
    dataset = frames(root, phase='train')
    plain = frames(root)[0]
    seen = set()
    for epoch in range(24):
        dataset.set_epoch(epoch)
        item = dataset[0]
        for mirrored in (False, True):
            for reversed_ in (False, True):
                dims = [dim for dim, used in ((2, mirrored), (0, reversed_)) if used]
                if all(torch.equal(item[key], plain[key].flip(dims)) for key in ('lq', 'gt')):
                    seen.add((mirrored, reversed_))
    assert len(seen) == 4
    dataset = frames(root, phase='train', use_flip=False, use_channels=False, gt_size=4)
    whole = plain['lq'].permute(1, 2, 0).numpy()
    patch = dataset[0]['lq'].permute(1, 2, 0).numpy()
    windows = np.lib.stride_tricks.sliding_window_view(whole, (4, 4, 3)).reshape(-1, 4, 4, 3)
    assert sum(np.array_equal(window, patch) for window in windows) == 1


def test_only_the_png_folders_count_and_sequences_sort_by_their_names(root):
    imwrite(root / 'seq1' / 'RSGR' / 'RAW' / '0007.png', np.zeros((8, 10, 3), np.uint8))
    write(root, 'seq1-b', [3])  # as a path it would come before seq1/
    assert frames(root).names[:3] == ['seq1/0000', 'seq1/0001', 'seq1-b/0003']


def test_of_16_bits_the_upper_ones_are_read(root):
    deep = np.random.default_rng(0).integers(0, 65536, (8, 10, 3), dtype=np.uint16)
    imwrite(root / 'seq1' / 'RSGR' / 'PNG' / '0000.png', deep)
    item = frames(root)[0]
    assert item['lq'].dtype == torch.uint8
    assert np.array_equal(item['lq'].permute(1, 2, 0).numpy(), deep >> 8)


def test_frame_counts_that_differ_are_an_error(root):
    (root / 'seq2' / 'GS' / 'PNG' / '9.png').unlink()
    (root / 'seq1' / 'RSGR' / 'PNG' / '0001.png').unlink()
    with pytest.raises(DataError) as caught:
        frames(root)
    message = str(caught.value)
    assert re.search(r'seq2 .*\b2 .*GS .*\b3 .*RSGR.* GS \(1\): 9', message)
    assert re.search(r'seq1 .*\b1 .*RSGR .*\b2 .*GS.* RSGR \(1\): 0001', message)
    assert 'allow_gaps' not in message  # which would not help


def test_a_gap_is_an_error_unless_it_is_allowed(root):
    for kind in ('RSGR', 'GS'):
        (root / 'seq2' / kind / 'PNG' / '9.png').unlink()
    with pytest.raises(DataError, match=r'\(1\): seq2/9\n.*allow_gaps: true'):
        frames(root)
    assert frames(root, allow_gaps=True).names[2:] == ['seq2/8', 'seq2/10']


def test_names_that_are_no_numbers_and_empty_folders(root, tmp_path):
    for kind in ('RSGR', 'GS'):
        folder = root / 'seq1' / kind / 'PNG'
        (folder / '0000.png').rename(folder / 'a.png')
    with pytest.raises(DataError, match=r'number \(1\): seq1/a'):
        frames(root)
    with pytest.raises(DataError, match=r'seq1/RSGR: .*<sequence>/RSGR/PNG'):
        frames(root / 'seq1' / 'RSGR')


@pytest.mark.parametrize('key', ['use_rot', 'use_vflip'])
def test_augmentations_that_change_the_order_of_the_rows_are_refused(root, tmp_path, key):
    message = f'{key}: .*false.*True'
    with pytest.raises(ArgumentError, match=message):
        frames(root, **{key: True})
    assert len(frames(root, **{key: False})) == 5
    (tmp_path / 'x.yml').write_text(
        f'name: x\nmode: default\nnetwork_g: {{type: PlainUNet}}\n'
        f'datasets: {{test: {{name: t, type: GRRDataset, dataroot: {root}, {key}: true}}}}\n'
    )
    with pytest.raises(OptionError, match=rf'x\.yml:4: datasets.test.{message}'):
        load_options(tmp_path / 'x.yml')
