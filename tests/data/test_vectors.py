"""The data sets, the augmentation and the order of samples give the original's numbers."""

from __future__ import annotations

import random

import cv2
import numpy as np
import pytest
import torch

from basicsr.data import build_dataset, collate, to_floats
from basicsr.data.sample import Sample
from basicsr.data.samplers import EnlargedSampler
from basicsr.masks import label_map_from_masks, masks_from_label_map

pytestmark = [pytest.mark.numeric, pytest.mark.vectors]
TYPES = {
    'plain': 'PairedImageDataset',
    'cat': 'PairedImageMaskDataset',
    'group': 'PairedImageGroupMaskDataset',
}
EXACT = {'rtol': 1e-6, 'atol': 1e-7}


@pytest.fixture
def case(vector, tmp_path):
    """The vector ``datasets``, and a function that builds a data set on its files."""
    loaded = vector('sam_deblur', 'datasets')
    for folder in ('gt', 'lq', 'gray', 'npz'):
        (tmp_path / folder).mkdir()
    for name in 'ab':
        for kind in ('gt', 'lq'):
            cv2.imwrite(str(tmp_path / kind / f'{name}.png'), loaded[f'in/{name}/{kind}_png_bgr'])
        cv2.imwrite(str(tmp_path / 'gray' / f'{name}.png'), loaded[f'in/{name}/gray_png'])
        np.savez_compressed(tmp_path / 'npz' / f'{name}.npz', masks=loaded[f'in/{name}/npz_masks'])

    def build(kind, **arguments):
        block = {'type': TYPES[kind], 'dataroot_gt': str(tmp_path / 'gt'), 'dataroot_lq': str(tmp_path / 'lq')}
        if kind != 'plain':
            block['dataroot_mask'] = str(tmp_path / {'cat': 'gray', 'group': 'npz'}[kind])
        return build_dataset({**block, 'gt_size': 24, **arguments})

    return loaded, build


def as_original(kind, item):
    """lq (with the gray plane), gt and boolean masks as the original returns them."""
    batch = to_floats(collate([item]), 'cpu', gray_masks=kind == 'cat')
    lq = torch.cat([batch['lq'], batch['masks']], 1) if kind == 'cat' else batch['lq']
    masks = masks_from_label_map(item['masks'].numpy()) if kind == 'group' else None
    return lq[0].numpy(), batch['gt'][0].numpy(), masks


@pytest.mark.parametrize('kind', TYPES)
def test_training_samples_are_the_originals(case, kind):
    loaded, build = case
    dataset = build(kind, phase='train', reference=True)
    draws = [draw for draw in loaded.meta['draws'] if draw['tag'].startswith(kind)]
    assert len(draws) == 4
    for draw in draws:
        random.seed(draw['python_random_seed'])
        lq, gt, masks = as_original(kind, dataset[0])
        np.testing.assert_allclose(lq, loaded[f'out/{draw["tag"]}/lq'], **EXACT)
        np.testing.assert_allclose(gt, loaded[f'out/{draw["tag"]}/gt'], **EXACT)
        if kind == 'group':
            expected = loaded[f'out/{draw["tag"]}/masks']
            np.testing.assert_allclose(masks / np.float32(255), expected, **EXACT)


@pytest.mark.parametrize('kind', TYPES)
def test_whole_samples_are_the_originals(case, kind):
    loaded, build = case
    lq, gt, masks = as_original(kind, build(kind)[0])
    np.testing.assert_allclose(lq, loaded[f'out/{kind}/test0/lq'], **EXACT)
    np.testing.assert_allclose(gt, loaded[f'out/{kind}/test0/gt'], **EXACT)
    if kind == 'group':
        np.testing.assert_allclose(masks / np.float32(255), loaded['out/group/test0/masks'], **EXACT)


def test_our_masks_stay_with_the_image_where_the_originals_part(case):
    loaded, build = case
    masks = loaded['in/a/npz_masks']
    draw = next(d for d in loaded.meta['draws'] if d['tag'] == 'group/train1')
    top, left = draw['top'], draw['left']
    planes = masks[:, :, top : top + 24, left : left + 24].swapaxes(2, 3)  # this draw transposes and does not flip
    expected = planes[planes.any((1, 2, 3))]
    sample = build('group').sample(0).crop(top, left, 24, 24)
    np.testing.assert_array_equal(masks_from_label_map(sample.transpose().masks), expected)
    reference = masks_from_label_map(sample.transpose(misaligned=True).masks)
    np.testing.assert_array_equal(reference, expected[..., ::-1, :])
    assert (reference != expected).any()


def test_augment(vector):
    loaded = vector('sam_deblur', 'augment')
    image = (loaded['in/image'] * 65535).astype(np.uint16)
    gray = (loaded['in/gray'] * 65535).astype(np.uint16)

    def turned(sample, bits, misaligned):
        sample = sample.flip_horizontally() if bits[0] == '1' else sample
        sample = sample.flip_vertically() if bits[1] == '1' else sample
        return sample.transpose(misaligned) if bits[2] == '1' else sample

    for bits in ('000', '100', '010', '001', '110', '101', '011', '111'):
        for misaligned, form in ((False, 'aligned'), (True, 'reference')):
            grouped = turned(Sample(image, 'x', masks=label_map_from_masks(loaded['in/masks'])), bits, misaligned)
            picture = turned(Sample(image, 'x', masks=gray[None], is_gray=True), bits, misaligned)
            expected = (loaded[f'out/{bits}/image'] * 65535).astype(np.uint16)
            np.testing.assert_array_equal(grouped.lq, expected)
            masks = loaded[f'out/{bits}/group_masks_{form}']
            np.testing.assert_array_equal(masks_from_label_map(grouped.masks), masks[masks.any((1, 2, 3))])
            expected = (loaded[f'out/{bits}/gray_mask'] * 65535).astype(np.uint16)
            np.testing.assert_array_equal(picture.masks[0], expected)


def test_enlarged_sampler(vector):
    loaded = vector('sam_deblur', 'enlarged_sampler')
    for number, case in enumerate(loaded.meta['cases']):
        for rank in range(case['num_replicas']):
            sampler = EnlargedSampler(case['n'], case['num_replicas'], rank, case['ratio'])
            sampler.set_epoch(case['epoch'])
            expected = loaded[f'out/c{number}_rank{rank}'].tolist()
            assert list(sampler) == expected
            assert len(sampler) == len(expected)
            done = 2 * case['num_replicas']
            sampler.set_epoch(case['epoch'], consumed=done)
            assert list(sampler) == expected[2:]
