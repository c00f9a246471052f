"""Defocus data: LFDOF's many to one, DPDD in natural order, dual-pixel views, 8 and 16 bits."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from basicsr.data import build_dataset, collate, to_floats
from basicsr.data.pairing import find_pairs
from basicsr.data.sample import Sample
from basicsr.data.stores.base import FolderStore
from basicsr.evaluation.scoring import record_of
from basicsr.images.files import imwrite
from basicsr.utils.errors import DataError, ImageFileError, ShapeError


def write(folder, names, seed=0, dtype=np.uint16, size=(12, 10)):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for name in names:
        imwrite(folder / name, rng.integers(0, np.iinfo(dtype).max, (*size, 3), dtype=dtype))


def in_focus(tmp_path):
    stores = FolderStore(tmp_path / 'gt'), FolderStore(tmp_path / 'lq')
    return find_pairs(*stores, pairing='all_in_focus')


@pytest.mark.vectors
def test_lfdof_pairs(vector, tmp_path):
    case = vector('lakdnet', 'lfdof_pairs')
    for folder, key in (('lq', 'in/input_names'), ('gt', 'in/target_names')):
        (tmp_path / folder).mkdir()
        for name in case[key]:
            (tmp_path / folder / str(name)).write_bytes(b'x')
    expected = dict(zip(map(str, case['in/input_names']), map(str, case['out/gt_names']), strict=True))
    assert {lq: gt for gt, lq in in_focus(tmp_path)} == expected


def test_the_name_of_the_scene_ends_before_the_first_aperture(tmp_path):
    for name in ('lq/a_ap1_ap2.png', 'lq/s/a_ap1.png', 'gt/a.png', 'gt/a_ap1.png', 'gt/s/a.png'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b'x')
    assert in_focus(tmp_path) == [('a.png', 'a_ap1_ap2.png'), ('s/a.png', 's/a_ap1.png')]


def test_a_missing_all_in_focus_image_is_an_error_and_no_shift(tmp_path):
    for name in ('lq/a_ap2.png', 'lq/a_ap9.png', 'lq/b_ap2.png', 'lq/plain.png', 'gt/a.png', 'gt/c.png'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b'x')
    with pytest.raises(DataError) as caught:
        in_focus(tmp_path)
    assert '(1): b_ap2' in str(caught.value)
    assert re.search(r"'_ap' .*\(1\): plain", str(caught.value))


@pytest.fixture
def dpdd(tmp_path):
    """Four folders whose names differ, in numbers that sort differently as text."""
    for seed, (folder, names) in enumerate(
        {
            'target': ['1P0A9.png', '1P0A10.png', '1P0A11.png'],
            'centre': ['x9.png', 'x10.png', 'x11.png'],
            'left': ['x9_L.png', 'x10_L.png', 'x11_L.png'],
            'right': ['x9_R.png', 'x10_R.png', 'x11_R.png'],
        }.items()
    ):
        write(tmp_path / folder, names, seed)
    return tmp_path


def dual(folder, **more):
    roots = {'gt': 'target', 'lq': 'centre', 'left': 'left', 'right': 'right'}
    return build_dataset(
        {'type': 'DualPixelDataset', **{f'dataroot_{key}': str(folder / name) for key, name in roots.items()}, **more}
    )


def pixels(path):
    from basicsr.images.files import imread

    return torch.from_numpy(imread(path)).permute(2, 0, 1)


def test_dual_pixel_samples_are_left_right_centre_in_natural_order(dpdd):
    dataset = dual(dpdd)
    assert dataset.names == ['x9', 'x10', 'x11']
    item = dataset[1]
    assert item['lq'].dtype == torch.uint16
    views = [pixels(dpdd / place) for place in ('left/x10_L.png', 'right/x10_R.png', 'centre/x10.png')]
    assert torch.equal(item['lq'].int(), torch.cat(views).int())
    assert torch.equal(item['gt'].int(), pixels(dpdd / 'target/1P0A10.png').int())
    floats = to_floats(collate([item]), 'cpu')
    assert torch.equal(floats['lq'][0], torch.cat(views).float() / 65535)
    record = record_of(collate([item]), torch.rand(1, 3, 12, 10))
    assert np.array_equal(record.lq, views[2].permute(1, 2, 0).numpy())  # what 'do nothing' is scored with
    assert record.output_uint8.dtype == np.uint16


def test_a_mirrored_dual_pixel_sample_exchanges_its_views():
    rng = np.random.default_rng(0)
    left, right, centre, gt = rng.integers(0, 9, (4, 5, 6, 3), dtype=np.uint16)
    sample = Sample(np.concatenate([left, right, centre], 2), 'lq', gt, 'gt', views=3)
    flipped = sample.flip_horizontally()
    expected = [image[:, ::-1] for image in (right, left, centre)]
    assert np.array_equal(flipped.lq, np.concatenate(expected, 2))
    assert np.array_equal(flipped.gt, gt[:, ::-1])
    assert np.array_equal(flipped.flip_horizontally().lq, sample.lq)
    colours = sample.reverse_channels()
    assert np.array_equal(colours.lq, np.concatenate([image[..., ::-1] for image in (left, right, centre)], 2))
    assert np.array_equal(colours.gt, gt[..., ::-1])
    with pytest.raises(ShapeError, match=r'\(5, 6, 9\) .*\(5, 6, 3\)'):
        Sample(sample.lq, 'lq', gt, 'gt')


def test_training_on_dual_pixel_data_never_exchanges_rows_and_columns(dpdd):
    """Every augmented sample is one of the four that mirroring gives."""
    dataset = dual(dpdd, phase='train', gt_size=64)  # reflected to one size: no crop to find
    whole = dual(dpdd, phase='test').sample(0).padded(64)
    possible = [whole, whole.flip_horizontally(), whole.flip_vertically(), whole.flip_horizontally().flip_vertically()]
    seen = set()
    for epoch in range(24):
        dataset.set_epoch(epoch)
        lq = dataset[0]['lq'].permute(1, 2, 0).numpy()
        seen |= {index for index, sample in enumerate(possible) if np.array_equal(sample.lq, lq)} or {'none'}
    assert seen == {0, 1, 2, 3}


def test_mirroring_of_dual_pixel_data_can_be_switched_off(dpdd):
    dataset = dual(dpdd, phase='train', gt_size=64, use_flip=False, use_vflip=False)
    whole = dual(dpdd, phase='test').sample(0).padded(64)
    for epoch in range(8):
        dataset.set_epoch(epoch)
        assert np.array_equal(dataset[0]['lq'].permute(1, 2, 0).numpy(), whole.lq)


def test_a_missing_view_is_named(dpdd):
    (dpdd / 'left' / 'x10_L.png').unlink()
    with pytest.raises(DataError, match=r'2 left .*, 3 right .*, 3 centre .*, 3 sharp'):
        dual(dpdd)
    for name in ('x9', 'x10', 'x11'):
        (dpdd / 'right' / f'{name}_R.png').rename(dpdd / 'right' / f'{name}.png')
    (dpdd / 'right' / 'x11.png').unlink()
    with pytest.raises(DataError, match=r'right \(1\): x11'):
        dual(dpdd)
    (dpdd / 'left' / 'x9_L.png').rename(dpdd / 'left' / 'x9.png')
    write(dpdd / 'right', ['x12.png', 'x13.png'])
    with pytest.raises(DataError) as caught:
        dual(dpdd)
    assert f'{dpdd / "left"} (2): x10, x11' in str(caught.value)
    assert f'{dpdd / "centre"} (2): x12, x13' in str(caught.value)


def test_bits_that_are_not_expected_are_refused(dpdd):
    write(dpdd / 'narrow', ['1.png', '2.png', '3.png'], dtype=np.uint8)
    roots = {'dataroot_gt': str(dpdd / 'target'), 'pairing': 'natural_order', 'type': 'PairedImageDataset'}
    with pytest.raises(ImageFileError, match=r'narrow.1\.png: .*\b8 .*\b16\b'):
        build_dataset({**roots, 'dataroot_lq': str(dpdd / 'narrow'), 'bits': 16})[0]
    with pytest.raises(ImageFileError, match=r'x9\.png: .*\b16 .*\b8\b.*high_byte'):
        build_dataset({**roots, 'dataroot_lq': str(dpdd / 'centre'), 'bits': 8})[0]
    item = build_dataset({**roots, 'dataroot_lq': str(dpdd / 'centre'), 'bits': 'high_byte'})[2]
    assert torch.equal(item['lq'].int(), pixels(dpdd / 'centre/x11.png').int() >> 8)
    assert item['gt'].dtype == torch.uint8
    write(dpdd / 'left', ['x9_L.png'], dtype=np.uint8)
    with pytest.raises(ImageFileError, match=r'x9_L\.png: .*\b8 .*\b16\b'):
        dual(dpdd)[0]
    with pytest.raises(ShapeError, match=r'x9_L\.png \(12, 10, 3\) uint8'):
        dual(dpdd, bits=None)[0]
