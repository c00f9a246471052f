"""Real photos with human label maps through every data set: regions keep their colours, whatever is done to them."""

from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest
import torch

from basicsr.archs.map_unit import mask_average_pooling
from basicsr.data import build_dataset, collate, to_floats
from basicsr.data.sample import SeededDraws, random_crop, turn
from basicsr.images.files import imread
from basicsr.masks import masks_from_label_map
from basicsr.masks.files import read_masks
from basicsr.utils.errors import ArgumentError

NAMES = ('103041', '15088')  # one upright, one lying


@pytest.fixture
def roots(shared_data, tmp_path):
    """Two photos as pairs with themselves, and their labels."""
    for folder in ('photos', 'labels', 'gray'):
        (tmp_path / folder).mkdir()
    for name in NAMES:
        shutil.copy(shared_data / 'photos' / 'images' / f'{name}.jpg', tmp_path / 'photos')
        shutil.copy(shared_data / 'photos' / 'labels' / f'{name}.png', tmp_path / 'labels')
        labels = read_masks(tmp_path / 'labels' / f'{name}.png')[0]
        cv2.imwrite(str(tmp_path / 'gray' / f'{name}.png'), labels.astype(np.uint8) * 3)
    return tmp_path


def block(roots, kind='PairedImageGroupMaskDataset', masks='labels', **more):
    photos = str(roots / 'photos')
    return {'type': kind, 'dataroot_gt': photos, 'dataroot_lq': photos, 'dataroot_mask': str(roots / masks), **more}


def region_means(image, labels):
    """Mean colour of each region, by numpy, (C, H, W)."""
    means = np.zeros(image.shape)
    for number in np.unique(labels):
        means[:, labels == number] = image[:, labels == number].mean(1, keepdims=True)
    return means


def test_region_means_of_a_batch_are_numpys(roots):
    dataset = build_dataset(block(roots, phase='train', gt_size=128, seed=2))
    batch = collate([dataset[0], dataset[1]])
    floats = to_floats(batch, 'cpu')
    pooled = mask_average_pooling(floats['lq'], floats['masks'])
    for index in range(2):
        expected = region_means(batch['lq'][index].numpy() / 255.0, batch['masks'][index, 0].numpy())
        np.testing.assert_allclose(pooled[index].numpy(), expected, atol=2e-6)


def test_every_kind_reads_them(roots):
    single = {'type': 'SingleImageDataset', 'dataroot_lq': str(roots / 'photos')}
    for name, number in zip(NAMES, range(2), strict=True):
        photo = imread(roots / 'photos' / f'{name}.jpg').transpose(2, 0, 1)
        labels = read_masks(roots / 'labels' / f'{name}.png')
        plain = {k: v for k, v in block(roots, 'PairedImageDataset').items() if k != 'dataroot_mask'}
        expected = {
            None: [build_dataset(plain), build_dataset(single)],
            1: [build_dataset(block(roots)), build_dataset({**single, 'dataroot_mask': str(roots / 'labels')})],
            3: [build_dataset(block(roots, 'PairedImageMaskDataset', 'gray'))],
        }
        for factor, datasets in expected.items():
            for dataset in datasets:
                item = dataset[number]
                np.testing.assert_array_equal(item['lq'].numpy(), photo)
                assert item['lq'].dtype == torch.uint8 and item['lq_path'].endswith(f'{name}.jpg')
                assert ('gt' in item) == type(dataset).__name__.startswith('Paired')
                assert ('masks' in item) == (factor is not None)
                if factor is not None:
                    np.testing.assert_array_equal(item['masks'].numpy(), labels * factor)


def colours(sample, number):
    """The colours under one region, sorted."""
    pixels = sample.lq[sample.masks[0] == number].astype(np.int64)
    return np.sort(pixels @ [1 << 16, 1 << 8, 1])


@pytest.mark.parametrize('kind', ['region', 'gray'])
def test_every_region_covers_the_same_colours_after_any_augmentation(roots, kind):
    types = {'region': ('PairedImageGroupMaskDataset', 'labels'), 'gray': ('PairedImageMaskDataset', 'gray')}
    sample = build_dataset(block(roots, *types[kind])).sample(0)
    side = min(sample.size)
    seen = set()
    for seed in range(100):
        draws = SeededDraws(seed, 0, 0)  # what augment draws from an equal one
        top, left = (draws.below(length - side) for length in sample.size)
        coins = tuple(draws.coin() for _ in range(3))
        if coins in seen:
            continue
        seen.add(coins)
        draws = SeededDraws(seed, 0, 0)
        turned = turn(random_crop(sample, side, draws), draws, True, True)
        cropped = sample.crop(top, left, side, side)
        for number in np.unique(cropped.masks):
            np.testing.assert_array_equal(colours(turned, number), colours(cropped, number))
    assert len(seen) == 8


def test_the_originals_mistake_would_be_noticed(roots):
    sample = build_dataset(block(roots)).sample(0)
    wrong = sample.transpose(misaligned=True)
    assert (colours(sample, 1) != colours(wrong, 1)).any()


def test_images_smaller_than_the_crop_are_reflected_with_their_masks(roots):
    dataset = build_dataset(block(roots, phase='train', gt_size=500, use_flip=False, use_rot=False))
    item = dataset[0]
    height, width = dataset.sample(0).size
    assert item['lq'].shape == (3, 500, 500) and item['masks'].shape == (1, 500, 500)
    for tensor in (item['lq'], item['masks']):
        assert torch.equal(tensor[:, height, :width], tensor[:, height - 1, :width])
        assert torch.equal(tensor[:, height + 5, :width], tensor[:, height - 6, :width])


def test_an_image_that_is_too_small_in_one_direction_only(roots):
    dataset = build_dataset(block(roots, phase='train', gt_size=400, use_flip=False, use_rot=False))
    height, width = dataset.sample(0).size
    assert height < 400 < width
    item = dataset[0]
    for name in ('lq', 'gt', 'masks'):
        assert item[name].shape[-2:] == (400, 400)
        assert torch.equal(item[name][:, height], item[name][:, height - 1])
    assert torch.equal(item['gt'], item['lq'])


def test_more_than_255_ids_keep_their_order(roots):
    labels = np.arange(321 * 481, dtype=np.int64) // 400
    shape = imread(roots / 'photos' / '103041.jpg').shape[:2]
    cv2.imwrite(str(roots / 'labels' / '103041.png'), labels.astype(np.uint16).reshape(shape))
    masks = build_dataset(block(roots))[0]['masks'].numpy()
    assert masks.dtype == np.int32
    expected = masks_from_label_map(labels.reshape(1, *shape))
    np.testing.assert_array_equal(masks_from_label_map(masks), expected)


@pytest.mark.parametrize(
    ('form', 'suffix'),
    [
        *[
            (form, suffix)
            for form in ('gray', 'colour')
            for suffix in ('.png', '.jpg', '.JPEG', '.tiff', '.tif', '.bmp')
        ],
        *[('rgba', '.png'), ('sixteen', '.png'), ('sixteen', '.tiff')],
    ],
)
def test_file_types(tmp_path, form, suffix):
    rng = np.random.default_rng(6)
    kind = np.uint16 if form == 'sixteen' else np.uint8
    image = rng.integers(0, np.iinfo(kind).max, (8, 9, {'gray': 1, 'rgba': 4}.get(form, 3)), kind)
    cv2.imwrite(str(tmp_path / f'x{suffix}'), image)
    item = build_dataset({'type': 'SingleImageDataset', 'dataroot_lq': str(tmp_path)})[0]
    assert item['lq'].shape == (3, 8, 9)
    assert item['lq'].dtype == (torch.uint16 if form == 'sixteen' else torch.uint8)
    if suffix not in ('.jpg', '.JPEG'):
        expected = image[:, :, [0, 0, 0] if form == 'gray' else [2, 1, 0]].transpose(2, 0, 1)
        np.testing.assert_array_equal(item['lq'].numpy(), expected)
    gray = build_dataset({'type': 'SingleImageDataset', 'dataroot_lq': str(tmp_path), 'channels': 1})[0]
    assert gray['lq'].shape == (1, 8, 9)


@pytest.mark.parametrize(
    ('alias', 'masks', 'folder'),
    [('PairedImageMaskDataset', 'gray', 'gray'), ('PairedImageGroupMaskDataset', 'regions', 'labels')],
)
def test_the_names_of_the_original_are_paired_images_with_masks(roots, alias, masks, folder):
    """Same samples, same required folder; the arguments follow from one constructor."""
    more = {'phase': 'train', 'gt_size': 16, 'seed': 5}
    named = build_dataset(block(roots, alias, folder, **more))
    plain = build_dataset({**block(roots, 'PairedImageDataset', folder, **more), 'masks': masks})
    assert named.gray_masks == plain.gray_masks == (masks == 'gray')
    for ours, theirs in zip(named, plain, strict=True):
        assert ours.keys() == theirs.keys() and torch.equal(ours['masks'], theirs['masks'])
        assert torch.equal(ours['lq'], theirs['lq']) and ours['mask_seed'] == theirs['mask_seed']
    without = {key: value for key, value in block(roots, alias, folder).items() if key != 'dataroot_mask'}
    with pytest.raises(ArgumentError, match='dataroot_mask'):
        build_dataset(without)
    with pytest.raises(ArgumentError, match='dataroot_mask'):
        build_dataset({**without, 'type': 'PairedImageDataset', 'masks': masks})
    with pytest.raises(ArgumentError, match='masks'):
        build_dataset(block(roots, 'PairedImageDataset', folder))
