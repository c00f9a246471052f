import numpy as np
import pytest
import torch

from basicsr.deconvolution import assess_blur, deconvolve, estimate_kernel
from basicsr.deconvolution.assessment import blur_ratio
from basicsr.deconvolution.kernel_step import centred, clean, offsets
from basicsr.deconvolution.photos import find_blur, with_kernels
from basicsr.deconvolution.similarity import kernel_similarity
from basicsr.utils.errors import ArgumentError, DataError, ShapeError
from tests.helpers.kernel_blur import blurred_scene, gain, path_kernel


def similarity(one: np.ndarray, two: np.ndarray) -> float:
    return kernel_similarity(torch.from_numpy(one), torch.from_numpy(two))


@pytest.mark.parametrize(('length', 'turn'), [(9, 0.9), (7, 2.0)])
def test_the_kernel_is_found(length, turn):
    kernel = path_kernel(length, turn)
    gt, lq = blurred_scene(160, 180, kernel, seed=3)
    found = estimate_kernel((lq * 255).round().astype(np.uint8))
    assert found.dtype == np.float32 and found.shape[0] == found.shape[1] and found.shape[0] % 2 == 1
    assert found.min() >= 0 and found.sum() == pytest.approx(1, abs=1e-5)
    assert max(float(offset.abs()) for offset in offsets(torch.from_numpy(found)[None])) < 0.51
    assert similarity(found, kernel) > 0.75
    assert gain(deconvolve(lq, found), lq, gt) > 1.5


def test_the_size_is_that_requested():
    _, lq = blurred_scene(96, 96, path_kernel())
    assert estimate_kernel(lq, 15).shape == (15, 15)
    for size in (14, 1, 33, 301):
        with pytest.raises(ArgumentError, match='size'):
            estimate_kernel(lq, size)
    with pytest.raises(ShapeError):
        estimate_kernel(lq[:20])
    for gray in (0.0, 0.5, 1.0):
        with pytest.raises(DataError, match='same gray value'):
            estimate_kernel(np.full_like(lq, gray))


def test_clean_up():
    kernel = torch.zeros(9, 9)
    kernel[3:6, 4] = 1
    kernel[0, 0], kernel[8, 8], kernel[5, 5] = 0.1, -1, 0.04  # a crumb, a negative and a small value
    result = clean(torch.stack([kernel, -torch.ones(9, 9), torch.full((9, 9), float('nan'))]))
    torch.testing.assert_close(result[0, 3:6, 4], torch.full((3,), 1 / 3))
    assert (result > 0).sum((1, 2)).tolist() == [3, 1, 1] and result[1, 4, 4] == 1
    moved = centred(torch.nn.functional.pad(kernel.clamp_min(0)[None], (0, 4, 0, 4)) / kernel.clamp_min(0).sum())
    assert max(float(offset.abs()) for offset in offsets(moved)) <= 0.5


def test_blur_of_one_kernel_is_assessed_and_undone():
    gt, lq = blurred_scene(200, 220, path_kernel(), seed=1)
    a = assess_blur(lq)
    assert a.kind == 'uniform' and a.numbers['accepted'] == a.numbers['windows'] == 1
    assert a.kernel is not None and similarity(a.kernel, path_kernel()) > 0.7
    planes = torch.from_numpy(lq.transpose(2, 0, 1).copy())
    result = with_kernels(planes, find_blur(planes)).numpy().transpose(1, 2, 0)
    assert gain(result, lq, gt) > 3


def test_sharp_images_are_told_and_kept():
    gt, _ = blurred_scene(200, 220, path_kernel(), seed=1)
    a = assess_blur(gt)
    assert a.kernel is None and a.numbers['accepted'] == 0
    planes = torch.from_numpy(gt.transpose(2, 0, 1).copy())
    assert torch.equal(with_kernels(planes, find_blur(planes)), planes)


def test_the_blur_ratio_grows_with_the_blur():
    ratios = [
        blur_ratio(torch.from_numpy(blurred_scene(160, 160, path_kernel(length))[1].mean(2))) for length in (1, 4, 9)
    ]
    assert 0.8 < ratios[0] < ratios[1] < ratios[2] < 2.1


def test_stopping_ends_the_search():
    planes = torch.from_numpy(blurred_scene(100, 100, path_kernel())[1].transpose(2, 0, 1).copy())

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_blur(planes, progress=stop)


def test_progress_counts_the_rounds_of_all_windows():
    planes = torch.from_numpy(blurred_scene(100, 100, path_kernel())[1].transpose(2, 0, 1).copy())
    seen: list[tuple[int, int]] = []
    find_blur(planes, force=True, progress=lambda done, total: seen.append((done, total)))
    done, totals = zip(*seen, strict=True)
    assert list(done) == sorted(done) and done[0] == 0
    assert set(totals) == {done[-1]} and done[-1] >= 25


def test_the_search_stops_between_rounds():
    planes = torch.from_numpy(blurred_scene(300, 300, path_kernel())[1].transpose(2, 0, 1).copy())
    seen: list[tuple[int, int]] = []

    def stop(done: int, total: int) -> None:
        seen.append((done, total))
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_blur(planes, force=True, progress=stop)
    assert seen[-1][0] < seen[-1][1]
