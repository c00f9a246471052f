"""Batches that are prepared ahead are those of the loader, in its order, and its errors come through at once."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch

from basicsr.data import build_dataloader, build_dataset, prefetch, to_floats
from basicsr.data.prefetch import _one_ahead
from basicsr.utils.errors import ArgumentError, DataError


def batches(count, fail_at=None, read=None):
    """Numbered batches; the loader breaks at one of them."""
    for number in range(count):
        if number == fail_at:
            raise DataError(f'{number}.png: cannot be read')
        if read is not None:
            read.append(number)
        lq = torch.full((1, 3, 2, 2), number, dtype=torch.uint8)
        yield {'lq': lq, 'gt': lq, 'masks': lq[:, :1].clone(), 'lq_path': [f'{number}.png']}


def ahead_of_a_device(loader, mode, **options):
    """The three ways; that of CUDA runs without streams on the CPU."""
    if mode == 'one ahead':
        return _one_ahead(iter(loader), torch.device('cpu'), options.get('gray_masks', False))
    return prefetch(loader, 'cpu', mode, **options)


@pytest.mark.parametrize('mode', [None, 'cpu', 'one ahead'])
@pytest.mark.parametrize('count', [0, 1, 2, 7])
def test_the_batches_of_the_loader_as_floats(mode, count):
    for gray in (False, True):
        found = list(ahead_of_a_device(batches(count), mode, gray_masks=gray))
        assert [batch['lq_path'] for batch in found] == [[f'{number}.png'] for number in range(count)]
        for batch, plain in zip(found, batches(count), strict=True):
            expected = to_floats(plain, 'cpu', gray)
            for key in ('lq', 'gt', 'masks'):
                assert torch.equal(batch[key], expected[key]) and batch[key].dtype == expected[key].dtype


@pytest.mark.parametrize(('mode', 'used_before'), [(None, 3), ('one ahead', 2)])
def test_errors_of_the_loader_come_through(mode, used_before):
    used = []
    with pytest.raises(DataError, match=r'3\.png: cannot be read'):
        for batch in ahead_of_a_device(batches(9, fail_at=3), mode):
            used.append(batch['lq_path'][0])
    assert used == [f'{number}.png' for number in range(used_before)]


def test_an_error_reaches_a_thread_that_waits_for_the_next_batch():
    def breaks_while_waited_for():
        yield from batches(1)
        time.sleep(0.3)
        raise DataError('1.png: cannot be read')

    found = prefetch(breaks_while_waited_for(), 'cpu', 'cpu')
    next(found)
    with pytest.raises(DataError, match=r'1\.png'):
        next(found)


def test_errors_do_not_wait_until_ready_batches_are_used():
    go_on = threading.Event()

    def breaks_later():
        yield from batches(3)
        go_on.wait(60)
        raise DataError('3.png: cannot be read')

    found = prefetch(breaks_later(), 'cpu', 'cpu', ahead=8)
    next(found)
    go_on.set()
    while any(thread.name == 'prefetch' for thread in threading.enumerate()):
        time.sleep(0.01)
    with pytest.raises(DataError, match=r'3\.png'):  # though two good batches are ready
        next(found)


def test_a_thread_keeps_as_many_ready_as_asked_and_ends_with_its_reader():
    read = []
    found = prefetch(batches(50, read=read), 'cpu', 'cpu', ahead=3)
    next(found)
    time.sleep(0.5)
    assert read == [0, 1, 2, 3, 4]  # one used, three ready, one in hand
    found.close()
    assert not [thread for thread in threading.enumerate() if thread.name == 'prefetch']
    assert len(read) == 5


def test_batches_of_a_real_loader_with_workers(tmp_path):
    block = {'type': 'SyntheticBlurDataset', 'length': 6, 'gt_size': 24}
    options = {'batch_size_per_gpu': 2, 'num_worker_per_gpu': 1}
    plain = list(prefetch(build_dataloader(build_dataset(block), options, 'train'), 'cpu'))
    ready = list(prefetch(build_dataloader(build_dataset(block), options, 'train'), 'cpu', 'cpu', ahead=2))
    assert len(plain) == len(ready) == 3
    assert all(
        torch.equal(a['lq'], b['lq']) and torch.equal(a['masks'], b['masks']) for a, b in zip(plain, ready, strict=True)
    )


def test_what_makes_no_sense_is_refused():
    for mode, ahead in (('cuda', 1), ('gpu', 1), ('cpu', 0)):
        with pytest.raises(ArgumentError):
            prefetch(batches(1), 'cpu', mode, ahead)


def test_all_values_of_16_bits_become_floats():
    every = np.arange(65536, dtype=np.uint16).reshape(1, 1, 256, 256)
    floats = to_floats({'lq': torch.from_numpy(every)}, 'cpu')['lq'].numpy()
    assert np.array_equal(floats, every.astype(np.float32) / np.float32(65535))
