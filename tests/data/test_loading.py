"""Order and content of batches do not depend on workers and processes; integers become floats in one place."""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from basicsr.data import build_dataloader, build_dataset, collate, to_floats
from basicsr.data.file_dataset import mask_seed
from basicsr.data.samplers import EnlargedSampler, EpochSampler
from basicsr.utils.errors import ArgumentError, DataError, ShapeError


@pytest.fixture
def block(tmp_path):
    """Seven pairs with masks of 1 to 3 layers, for training."""
    rng = np.random.default_rng(5)
    for folder in ('gt', 'lq', 'npz'):
        (tmp_path / folder).mkdir()
    for number in range(7):
        for folder in ('gt', 'lq'):
            cv2.imwrite(str(tmp_path / folder / f'{number}.png'), rng.integers(0, 256, (20, 24, 3), np.uint8))
        masks = np.zeros((3, 1, 20, 24), bool)
        masks[: 1 + number % 3, :, 2:] = True
        np.savez_compressed(tmp_path / 'npz' / f'{number}.npz', masks=masks)
    roots = {f'dataroot_{key}': str(tmp_path / folder) for key, folder in (('gt', 'gt'), ('lq', 'lq'), ('mask', 'npz'))}
    return {'type': 'PairedImageGroupMaskDataset', **roots, 'phase': 'train', 'gt_size': 16, 'seed': 3}


def epochs(block, workers=0, batch_size=4, world=1, rank=0, consumed=0, count=2):
    """The batches of the first passes, through one loader."""
    dataset = build_dataset(block)
    options = {'num_worker_per_gpu': workers, 'batch_size_per_gpu': batch_size, 'dataset_enlarge_ratio': 2}
    loader = build_dataloader(dataset, options, world=world, rank=rank, seed=3)
    found = []
    for epoch in range(count):
        loader.sampler.set_epoch(epoch, consumed)
        dataset.set_epoch(epoch)
        found += list(loader)
    return found


def assert_same(batches, others):
    assert len(batches) == len(others)
    for batch, other in zip(batches, others, strict=True):
        assert batch['lq_path'] == other['lq_path']
        for key in ('lq', 'gt', 'masks', 'mask_seed'):
            assert torch.equal(batch[key], other[key]), key


def test_workers_change_nothing(block):
    alone = epochs(block)
    assert len(alone) == 8  # 7 samples twice are 14, filled up to 16: 4 batches in each of 2 passes
    for workers in (1, 2):
        assert_same(alone, epochs(block, workers))


def test_two_processes_see_together_what_one_sees(block):
    alone = epochs(block)
    pair = [epochs(block, batch_size=2, world=2, rank=rank) for rank in range(2)]
    layers = max(batch['masks'].shape[1] for batch in alone)

    def padded(masks):
        return torch.nn.functional.pad(masks, (0, 0, 0, 0, 0, layers - masks.shape[1]))

    for batch, first, second in zip(alone, *pair, strict=True):
        assert batch['lq_path'] == first['lq_path'] + second['lq_path']
        for key in ('lq', 'gt', 'mask_seed'):
            assert torch.equal(batch[key], torch.cat([first[key], second[key]]))
        together = torch.cat([padded(first['masks']), padded(second['masks'])])
        assert torch.equal(padded(batch['masks']), together)


def test_a_pass_is_resumed_from_the_samples_consumed(block):
    assert_same(epochs(block, count=1)[2:], epochs(block, consumed=8, count=1))


def test_passes_and_samples_differ(block):
    dataset = build_dataset({**block, 'gt_size': 8})
    first = [dataset[i] for i in range(7)]
    dataset.set_epoch(1)
    second = [dataset[i] for i in range(7)]
    assert sum(torch.equal(a['lq'], b['lq']) for a, b in zip(first, second, strict=True)) < 3
    seeds = {item['mask_seed'] for item in first + second}
    assert len(seeds) == 14 and seeds == {mask_seed(3, epoch, i) for epoch in range(2) for i in range(7)}
    assert torch.equal(dataset[-1]['lq'], second[6]['lq'])
    with pytest.raises(IndexError):
        dataset[7]


def test_loading_leaves_the_random_numbers_of_dropout_alone(block):
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    epochs(block, workers=1, count=1)
    assert torch.equal(torch.rand(1), expected)


def test_errors_of_workers_arrive_with_their_type(block, tmp_path):
    dataset = build_dataset(block)
    (tmp_path / 'gt' / '3.png').unlink()
    loader = build_dataloader(dataset, {'num_worker_per_gpu': 1, 'batch_size_per_gpu': 2})
    with pytest.raises(DataError, match=r'gt/3\.png: '):
        list(loader)


def test_workers_are_seeded_as_the_originals():
    block = {'num_worker_per_gpu': 2, 'batch_size_per_gpu': 2}
    loader = build_dataloader(list(range(8)), block, phase='train', world=2, rank=1, seed=10)
    state = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        loader.worker_init_fn(1)
        drawn = random.random(), np.random.rand()  # noqa: NPY002
    finally:
        random.setstate(state[0])
        np.random.set_state(state[1])  # noqa: NPY002
        cv2.setNumThreads(-1)
    seed = 2 * 1 + 1 + 10  # workers x rank + worker + seed
    assert drawn == (random.Random(seed).random(), np.random.RandomState(seed).rand())


@pytest.mark.slow
def test_validation_goes_through_the_images_in_order_one_by_one(block):
    dataset = build_dataset({**block, 'phase': 'val'})
    loader = build_dataloader(dataset, {'num_worker_per_gpu': 2, 'batch_size_per_gpu': 4})
    assert [batch['lq'].shape for batch in loader] == [(1, 3, 20, 24)] * 7
    assert [Path(batch['lq_path'][0]).name for batch in loader] == [f'{n}.png' for n in range(7)]
    shares = [[b['lq_path'][0] for b in build_dataloader(dataset, world=2, rank=rank)] for rank in range(2)]
    assert [len(share) for share in shares] == [4, 3]


def test_epoch_sampler_covers_everything_and_fills_up():
    sampler = EpochSampler(10, batch_size=4, ratio=1, seed=1)
    order = list(sampler)
    assert len(sampler) == len(order) == 12
    assert sorted(order[:10]) == list(range(10)) and order[10:] == order[:2]
    sampler.set_epoch(1)
    assert list(sampler)[:10] != order[:10]
    assert list(EpochSampler(10, batch_size=4, seed=2)) != order
    sampler.set_epoch(0, consumed=12)
    assert list(sampler) == [] and len(sampler) == 0
    tiny = list(EpochSampler(2, batch_size=5))
    assert len(tiny) == 5 and tiny[2:4] == tiny[:2]
    thrice = list(EpochSampler(4, ratio=3))
    assert sorted(thrice) == sorted([*range(4)] * 3)


def test_samplers_refuse_what_does_not_exist():
    for wrong in ({'length': 0}, {'rank': 2, 'world': 2}, {'ratio': 0}):
        for kind in (EpochSampler, EnlargedSampler):
            with pytest.raises(ArgumentError):
                kind(**{'length': 4, **wrong})
    sampler = EnlargedSampler(5, world=2)
    for epoch, consumed in ((-1, 0), (0, 7), (0, 1)):
        with pytest.raises(ArgumentError):
            sampler.set_epoch(epoch, consumed)


def test_reference_mode_takes_the_originals_order(block):
    dataset = build_dataset({**block, 'reference': True})
    loader = build_dataloader(dataset, {'batch_size_per_gpu': 2, 'sampler': 'reference'})
    assert isinstance(loader.sampler, EnlargedSampler)
    assert len(list(loader)) == 3  # the seventh sample makes no whole batch


def item(lq, masks=None, **more):
    made = {'lq': torch.as_tensor(lq), 'lq_path': 'x.png', 'mask_seed': 2**62, **more}
    return made if masks is None else {**made, 'masks': torch.as_tensor(masks)}


def test_label_maps_are_padded_with_empty_layers_and_widened():
    image = np.zeros((3, 2, 2), np.uint8)
    small, large = np.ones((1, 2, 2), np.uint8), np.full((2, 2, 2), 300, np.int32)
    batch = collate([item(image, small), item(image, large)])
    assert batch['masks'].dtype == torch.int32
    assert batch['masks'].tolist() == [[[[1, 1], [1, 1]], [[0, 0], [0, 0]]], [[[300, 300], [300, 300]]] * 2]
    assert batch['mask_seed'].tolist() == [2**62, 2**62] and batch['mask_seed'].dtype == torch.int64
    assert batch['lq_path'] == ['x.png', 'x.png']


def test_what_does_not_fit_into_one_batch_is_named():
    image, wide = np.zeros((3, 2, 2), np.uint8), np.zeros((3, 2, 3), np.uint8)
    labels = np.ones((1, 2, 2), np.uint8)
    for other in (item(wide), item(image, labels)):
        with pytest.raises(ShapeError, match=r'x\.png, x\.png'):
            collate([item(image), other])


def test_integers_become_floats():
    eight, sixteen = np.full((3, 1, 1), 51, np.uint8), np.full((3, 1, 1), 13107, np.uint16)
    labels = np.full((1, 1, 1), 51, np.uint8)
    for images in ((eight, eight), (sixteen, sixteen), (eight, sixteen)):
        batch = collate([item(image, labels) for image in images])
        floats = to_floats(batch, 'cpu')
        assert floats['lq'].dtype == torch.float32
        assert floats['lq'].flatten().tolist() == [np.float32(0.2)] * 6
        assert torch.equal(floats['masks'], batch['masks']) and not batch['lq'].is_floating_point()
        assert to_floats(batch, 'cpu', gray_masks=True)['masks'].unique().tolist() == [np.float32(0.2)]
    assert torch.equal(to_floats(floats, 'cpu')['lq'], floats['lq'])


def test_options_of_the_loader_from_code():
    loaded = list(range(8))
    assert build_dataloader(loaded, {'num_worker_per_gpu': None, 'batch_size_per_gpu': 2}, 'train').num_workers == 0
    assert build_dataloader(loaded, argparse.Namespace(batch_size_per_gpu=2), 'train').batch_size == 2
    assert (
        build_dataloader(loaded, {'prefetch_mode': 'cuda', 'batch_size_per_gpu': np.int64(2)}, 'train').batch_size == 2
    )
    with pytest.raises(ArgumentError, match='batch_size_per_gpu'):
        build_dataloader(loaded, {'batch_size_per_gpu': 0}, 'train')
