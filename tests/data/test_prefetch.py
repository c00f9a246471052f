"""Batches that are prepared ahead are those of the loader, in its order, and its errors come through at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from basicsr.data import build_dataloader, build_dataset, prefetch, to_floats
from basicsr.utils.errors import ArgumentError, DataError


def batches(count, fail_at=None):
    """Numbered batches; the loader breaks at one of them."""
    for number in range(count):
        if number == fail_at:
            raise DataError(f'{number}.png: cannot be read')
        lq = torch.full((1, 3, 2, 2), number, dtype=torch.uint8)
        yield {'lq': lq, 'gt': lq, 'masks': lq[:, :1].clone(), 'lq_path': [f'{number}.png']}


@pytest.mark.parametrize('mode', [None, 'cpu'])
@pytest.mark.parametrize('count', [0, 1, 2, 7])
def test_the_batches_of_the_loader_as_floats(mode, count):
    for gray in (False, True):
        found = list(prefetch(batches(count), 'cpu', mode, gray_masks=gray))
        assert [batch['lq_path'] for batch in found] == [[f'{number}.png'] for number in range(count)]
        for batch, plain in zip(found, batches(count), strict=True):
            expected = to_floats(plain, 'cpu', gray)
            for key in ('lq', 'gt', 'masks'):
                assert torch.equal(batch[key], expected[key]) and batch[key].dtype == expected[key].dtype


def test_errors_of_the_loader_come_through():
    used = []
    with pytest.raises(DataError, match=r'3\.png: '):
        for batch in prefetch(batches(9, fail_at=3), 'cpu'):
            used.append(batch['lq_path'][0])
    assert used == [f'{number}.png' for number in range(3)]


@pytest.mark.parametrize('workers', [0, 1, 3])
def test_batches_of_a_real_loader_prepared_ahead_by_workers(workers):
    block = {'type': 'SyntheticBlurDataset', 'length': 6, 'gt_size': 24}
    options = {'batch_size_per_gpu': 2, 'num_worker_per_gpu': workers}
    ahead = {**options, 'prefetch_mode': 'cpu', 'num_prefetch_queue': 7}
    plain = list(prefetch(build_dataloader(build_dataset(block), options, 'train'), 'cpu'))
    loader = build_dataloader(build_dataset(block), ahead, 'train')
    assert (loader.num_workers, loader.prefetch_factor) == {0: (1, 7), 1: (1, 7), 3: (3, 3)}[workers]
    ready = list(prefetch(loader, 'cpu', 'cpu'))
    assert len(plain) == len(ready) == 3
    assert all(
        torch.equal(a['lq'], b['lq']) and torch.equal(a['masks'], b['masks']) for a, b in zip(plain, ready, strict=True)
    )


def test_what_makes_no_sense_is_refused():
    for mode in ('cuda', 'gpu'):
        with pytest.raises(ArgumentError):
            prefetch(batches(1), 'cpu', mode)


def test_all_values_of_16_bits_become_floats():
    every = np.arange(65536, dtype=np.uint16).reshape(1, 1, 256, 256)
    floats = to_floats({'lq': torch.from_numpy(every)}, 'cpu')['lq'].numpy()
    assert np.array_equal(floats, every.astype(np.float32) / np.float32(65535))
