"""The methods of Deblurrer: network, blur kernels, or both."""

import numpy as np
import pytest
import torch

from basicsr.archs import build_network
from basicsr.inference.deblurrer import Deblurrer
from basicsr.metrics.best_shift import calculate_kernel_similarity
from basicsr.utils.errors import DataError, OptionError, ShapeError, WeightsError
from tests.helpers.kernel_blur import blurred_scene, gain, path_kernel
from tests.helpers.tiny_pairs import TINY

KERNEL = path_kernel()
GT, LQ = blurred_scene(200, 220, KERNEL, seed=1)


class Brighter(torch.nn.Module):
    """Adds a constant, so that its part of a result can be told."""

    def forward(self, lq: torch.Tensor) -> torch.Tensor:
        return lq + 0.02


def deblurrer(**arguments) -> Deblurrer:
    return Deblurrer(Brighter(), device='cpu', guard='off', **arguments)


@pytest.fixture(scope='module')
def by_kernel():
    return deblurrer(method='kernel').deblur(LQ)


def test_kernels_where_they_explain_the_photo(by_kernel):
    assert by_kernel.method == 'kernel' and by_kernel.assessment.kind == 'uniform'
    assert by_kernel.kernel.sum() == pytest.approx(1, abs=1e-5)
    assert gain(by_kernel.image, LQ, GT) > 3
    auto = deblurrer(method='auto').deblur(LQ)
    assert auto.method == 'kernel' and np.array_equal(auto.image, by_kernel.image)


def test_the_network_or_the_photo_elsewhere():
    small = LQ[:60, :60] * 0.02 + 0.4  # too little contrast for a kernel
    auto, kernel = (deblurrer(method=method).deblur(small) for method in ('auto', 'kernel'))
    assert (auto.method, kernel.method) == ('network', 'photo')
    np.testing.assert_allclose(auto.image, small + 0.02, atol=1e-6)
    np.testing.assert_allclose(kernel.image, small, atol=1e-6)
    assert auto.kernel is None and auto.explanation and auto.assessment.kind == 'unknown'


@pytest.mark.slow
def test_windows_of_both_are_blended():
    """The left half is blurred by a kernel, the right half has no contrast."""
    wide = np.concatenate([LQ, LQ[::-1], LQ, np.full((200, 420, 3), 0.5, np.float32)], 1)
    wide = np.concatenate([wide, wide[::-1]], 0)[:380]
    done = deblurrer(method='auto', force=True).deblur(wide)
    assert done.method == 'kernel and network'
    change = (done.image - wide).mean((0, 2))
    assert abs(change[:150].mean()) < 0.005 and change[-100:].mean() == pytest.approx(0.02, abs=1e-3)
    assert np.abs(np.diff(change[700:])).max() < 0.005


def test_a_known_kernel(by_kernel):
    for method in ('network', 'auto', 'kernel'):
        done = deblurrer(method=method).deblur(LQ, kernel=KERNEL)
        assert done.method == 'kernel' and gain(done.image, LQ, GT) > gain(by_kernel.image, LQ, GT)
        np.testing.assert_allclose(done.kernel, KERNEL, atol=1e-6)
    with pytest.raises(ShapeError):
        deblurrer().deblur(LQ[:9], kernel=KERNEL)
    with pytest.raises(DataError):
        deblurrer().deblur(LQ, kernel=-KERNEL)


def test_the_pair_and_kernels():
    torch.manual_seed(0)
    pair = {
        method: Deblurrer(build_network(TINY), device='cpu', guard='off', method=method)
        for method in ('network', 'kernel')
    }
    own, other = pair['network'].deblur(LQ[:60, :70]), np.zeros((5, 5))
    other[2, 1:4] = 1
    assert (own.method, own.kernel.shape) == ('network', (7, 9))
    assert pair['kernel'].deblur(LQ[:60, :70]).method == 'kernel'
    given = pair['network'].deblur(LQ[:60, :70], kernel=other)
    assert given.method == 'network' and not np.array_equal(given.image, own.image)
    assert given.kernel[given.kernel > 0] == pytest.approx(1 / 3)
    again = pair['network'].deblur(LQ[:60, :70], kernel=own.kernel)
    np.testing.assert_allclose(again.image, own.image, atol=1e-5)
    with pytest.raises(ShapeError):
        pair['network'].deblur(LQ[:60, :70], kernel=np.ones((11, 11)))


def test_strength_blends_photo_and_result():
    images = [deblurrer(strength=strength).deblur(LQ).image for strength in (0.0, 0.5, 1.0)]
    np.testing.assert_allclose(images[0], LQ, atol=1e-6)
    np.testing.assert_allclose(images[1], (images[0] + images[2]) / 2, atol=1e-6)


@pytest.mark.parametrize('arguments', [{'scale': 0.5}, {'max_side': 110}])
def test_a_smaller_copy_changes_the_photo(arguments):
    net, sizes = torch.nn.Identity(), []
    net.register_forward_hook(lambda module, args, output: sizes.append(tuple(args[0].shape[-2:])))
    done = Deblurrer(net, device='cpu', guard='off', **arguments).deblur(LQ)
    assert sizes == [(100, 110)] and done.image.shape == LQ.shape
    np.testing.assert_allclose(done.image, LQ, atol=1e-5)  # no change of the copy is no change of the photo
    assert deblurrer(**arguments).deblur(LQ).image.mean() == pytest.approx(LQ.mean() + 0.02, abs=1e-3)


def test_kernels_are_in_pixels_of_the_photo():
    """Also if a smaller copy is deblurred with them."""
    kernel = path_kernel(14)
    gt, lq = blurred_scene(240, 260, kernel, seed=1)
    done = deblurrer(scale=0.5).deblur(lq, kernel=kernel)
    assert done.method == 'kernel' and gain(done.image, lq, gt) > 2
    np.testing.assert_allclose(done.kernel, kernel, atol=1e-6)
    found = deblurrer(scale=0.5, method='kernel', force=True).deblur(lq)
    assert found.assessment.numbers['scale'] == 0.5 and found.kernel.shape[0] >= 41
    np.testing.assert_array_equal(found.kernel, found.assessment.kernel)
    assert calculate_kernel_similarity(found.kernel, kernel) > 0.6


def test_a_wrong_kernel_is_noticed():
    wrong = np.eye(31)
    with pytest.raises(WeightsError):
        Deblurrer(Brighter(), device='cpu', guard='refuse').deblur(LQ, kernel=wrong)
    repaired = Deblurrer(Brighter(), device='cpu').deblur(LQ, kernel=wrong)
    assert repaired.finding is not None and repaired.repaired > 0.5
    off = deblurrer().deblur(LQ, kernel=wrong)
    assert off.finding is None
    assert np.abs(repaired.image - LQ).mean() < 0.3 * np.abs(off.image - LQ).mean()
    good = Deblurrer(Brighter(), device='cpu').deblur(LQ, kernel=KERNEL)
    assert good.finding is None


def test_the_pair_keeps_sharp_photos():
    pair = Deblurrer(build_network(TINY), device='cpu', guard='off', method='auto')
    done = pair.deblur(np.random.default_rng(0).random((60, 70), np.float32))
    assert done.method == 'photo' and done.assessment is not None
    with pytest.raises(DataError, match='same colour'):
        pair.deblur(np.full((60, 70), 0.5, np.float32))
    with pytest.raises(ShapeError):
        Deblurrer(build_network(TINY), device='cpu', method='kernel').deblur(np.zeros((3, 3), np.float32))


def test_frames_of_videos_use_the_network():
    frames = deblurrer(method='auto').for_frames()
    assert frames.deblur(LQ).method == 'network' and frames.cache is None


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
@pytest.mark.parametrize('channels', [1, 4])
def test_gray_and_transparent_photos(dtype, channels, by_kernel):
    white = np.iinfo(dtype).max
    image = (LQ * white).round().astype(dtype)
    image = image[..., :1] if channels == 1 else np.concatenate([image, np.full_like(image[..., :1], white // 2)], 2)
    done = deblurrer(method='kernel').deblur(image)
    assert done.image.shape == image.shape and done.image.dtype == dtype and done.method == 'kernel'
    if channels == 4:
        assert np.array_equal(done.image[..., 3], image[..., 3])
        assert np.abs(done.image[..., :3] / white - by_kernel.image).mean() < 0.02


@pytest.mark.parametrize(
    'arguments', [{'method': 'magic'}, {'strength': 1.5}, {'scale': 0}, {'max_side': 3}, {'max_kernels': 0}]
)
def test_arguments_that_do_not_fit(arguments):
    with pytest.raises(OptionError, match=next(iter(arguments))):
        deblurrer(**arguments)
