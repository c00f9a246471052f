"""LaKDNet against the numbers of its original, and what its constructor and input rule refuse."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from basicsr.archs import build_network
from basicsr.images.files import decode_image
from basicsr.inference.tiling import restore_tiled
from basicsr.metrics import Record, build_metric
from basicsr.utils.errors import ArgumentError, ImageFileError, ShapeError
from tests.helpers.project import Vector

pytestmark = pytest.mark.numeric

NETWORKS = [
    'net_single_k7',
    'net_single_k9_biasfree',
    'net_single_mixed_kernels',
    'net_single_conv_bias',
    'net_dual_k9',
    'net_padded_odd',
    'net_padded_one_side',
    'net_small_input',
]
PUBLISHED = [  # dim, kernel, channels in, parameters, GMACs at 256×256
    ('S, motion', 32, 7, 3, 17_121_424, 79.85),
    ('L, motion', 48, 7, 3, 37_503_264, 169.81),
    ('S, defocus', 32, 9, 3, 17_727_632, 85.75),
    ('L, defocus', 48, 9, 3, 38_412_576, 178.67),
    ('S, dual-pixel', 32, 9, 9, 17_729_360, 85.87),
    ('L, dual-pixel', 48, 9, 9, 38_415_168, 178.84),
]
TINY = {'type': 'LaKDNet', 'dim': 4, 'num_blocks': [1, 1, 1, 1]}
DUAL = {'inp_channels': 9, 'dual_pixel_task': True}


def network(case: Vector, **more: object) -> torch.nn.Module:
    net = build_network({'type': 'LaKDNet', **case.meta['kwargs'], **more}).eval()
    net.load_state_dict(case.state(), strict=True)
    return net


@pytest.mark.vectors
@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('name', NETWORKS)
def test_forward_matches_the_original(vector, name, training):
    case = vector('lakdnet', name)
    net = network(case, clip_output='always').train(training)
    torch.testing.assert_close(net(case.tensor('in/x')), case.tensor('out/y'), **case.meta['tolerance']['y'])


@pytest.mark.vectors
@pytest.mark.parametrize('name', NETWORKS)
def test_without_the_clip_it_is_what_the_original_clips(vector, name):
    case = vector('lakdnet', name)
    net = network(case, clip_output='eval')
    x = case.tensor('in/x')
    torch.testing.assert_close(net(x), case.tensor('out/y'), **case.meta['tolerance']['y'])
    expected = case.tensor('out/before_clip')[..., : x.shape[-2], : x.shape[-1]]
    tolerance = case.meta['tolerance']['before_clip']
    torch.testing.assert_close(net.train()(x), expected, **tolerance)
    torch.testing.assert_close(network(case, clip_output='never')(x), expected, **tolerance)


@pytest.mark.vectors
def test_padding(vector):
    case = vector('lakdnet', 'padding')
    rule = build_network(TINY).input_rule
    for key in (key for key in case.arrays if key.startswith('in/')):
        assert torch.equal(rule.pad(case.tensor(key)), case.tensor(key.replace('in/', 'out/')))
    for height, width, rows, columns in case['out/sizes'].tolist():
        if rows > 0:  # the original cannot pad the others: by more pixels than there are, ours reflects repeatedly
            assert rule.padded_size(height, width) == (rows, columns)


@pytest.mark.vectors
@pytest.mark.parametrize(('name', 'centre'), [('erf_k7', slice(None)), ('erf_dual_k5', slice(None))])
def test_gradients_with_respect_to_the_input(vector, name, centre):
    case = vector('lakdnet', name)
    x = case.tensor('in/x').requires_grad_()
    y = network(case)(x)
    y[:, centre, x.shape[-2] // 2, x.shape[-1] // 2].sum().backward()
    torch.testing.assert_close(x.grad, case.tensor('out/grad'), **case.meta['tolerance']['grad'])


@pytest.mark.vectors
def test_clipped_values_have_no_gradient_and_others_keep_theirs(vector):
    case = vector('lakdnet', 'erf_saturated')
    x = case.tensor('in/x').requires_grad_()
    net = network(case)
    expected = case.tensor('out/grad_per_output_channel')
    for channel in range(3):
        (gradient,) = torch.autograd.grad(net(x)[0, channel, x.shape[-2] // 2, x.shape[-1] // 2], x)
        torch.testing.assert_close(gradient[0], expected[channel], rtol=1e-3, atol=2e-5)
    before = case['out/before_clip_centre']
    outside = (before < 0) | (before > 1)
    assert outside.any()
    assert [not gradient.any() for gradient in expected] == outside.tolist()
    trained = net.train()(x)[0, int(outside.argmax()), x.shape[-2] // 2, x.shape[-1] // 2]
    assert torch.autograd.grad(trained, x)[0].any()  # in training nothing is clipped


@pytest.mark.vectors
def test_metrics_of_the_defocus_evaluation(vector):
    case = vector('lakdnet', 'metrics')
    for index, (psnr, ssim) in enumerate(zip(case['out/psnr'], case['out/ssim'], strict=True)):
        # ground truth in floats as the vector has it; a record of an evaluation holds the file's integers
        record = Record(output=case[f'in/pred_{index}'], gt=case[f'in/gt_{index}'])
        assert build_metric({'type': 'psnr_float'})(record).value == pytest.approx(psnr, abs=1e-4)
        assert build_metric({'type': 'ssim_skimage'})(record).value == pytest.approx(ssim, abs=1e-5)


@pytest.mark.vectors
def test_reading_of_8_and_16_bits(vector):
    """The single-image networks read the high byte of 16-bit files; the dual-pixel ones read all of it."""
    case = vector('lakdnet', 'image_reading')
    wide, narrow = (case[f'in/{name}_bytes'].tobytes() for name in ('png16', 'png8'))
    for data, bits, white, key in (
        (wide, 16, 65535, 'png16_as_16bit'),
        (wide, 'high_byte', 255, 'png16_as_8bit'),
        (narrow, 8, 255, 'png8_as_8bit'),
    ):
        image = decode_image(data, 'x.png', bits=bits)
        assert np.array_equal(image.astype(np.float32) / np.float32(white), case[f'out/{key}'][0])
    assert np.array_equal(decode_image(narrow, 'x.png', bits='high_byte'), decode_image(narrow, 'x.png'))
    with pytest.raises(ImageFileError, match=r'x\.png: .*\b8 .*\b16\b'):
        decode_image(narrow, 'x.png', bits=16)
    with pytest.raises(ImageFileError, match=r'x\.png: .*\b16 .*\b8\b.*high_byte'):
        decode_image(wide, 'x.png', bits=8)


@pytest.mark.slow
@pytest.mark.parametrize(('title', 'dim', 'kernel', 'inputs', 'parameters', 'macs'), PUBLISHED)
def test_published_configurations(title, dim, kernel, inputs, parameters, macs):
    from torch.utils.flop_counter import FlopCounterMode

    options = {'dim': dim, 'mix_kernel_size': [kernel] * 4, 'inp_channels': inputs, 'dual_pixel_task': inputs == 9}
    with torch.device('meta'):
        net = build_network({'type': 'LaKDNet', 'num_blocks': [8, 12, 12, 16], **options}).eval()
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            assert net(torch.rand(1, inputs, 256, 256)).shape == (1, 3, 256, 256)
    assert sum(p.numel() for p in net.parameters()) == parameters
    assert len(net.state_dict()) == 1050
    assert counter.get_total_flops() / 2e9 == pytest.approx(macs, abs=0.005)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'mix_kernel_size': [7, 7, 4, 7]}, r'mix_kernel_size .*\[7, 7, 4, 7\]'),
        ({'mix_kernel_size': [7, 7, 7]}, r'mix_kernel_size .*\b4 .*\[7, 7, 7\]'),
        ({'num_blocks': [1, 1, 1, 1, 1]}, r'num_blocks .*\b4 .*\[1, 1, 1, 1, 1\]'),
        ({'dim': 5}, 'dim .*5'),
        ({'ffn_expansion_factor': 0.1}, 'ffn_expansion_factor 0.1'),
        ({'dual_pixel_task': True}, 'inp_channels .* got 3 and 3'),
        ({'inp_channels': 9}, 'inp_channels .* got 9 and 3'),
        ({'LayerNorm_type': 'Biasfree'}, 'LayerNorm_type: expected'),
    ],
)
def test_arguments_that_cannot_work_are_refused(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        build_network({**TINY, **arguments})


def test_a_dual_pixel_network_refuses_one_image():
    with pytest.raises(ShapeError, match=r'LaKDNet .*\(B, 9, H, W\).*\(1, 3, 16, 16\)'):
        build_network({**TINY, **DUAL})(torch.rand(1, 3, 16, 16))


def test_the_residual_of_a_dual_pixel_network_is_the_centre_image_and_never_the_prior():
    net = build_network({**TINY, **DUAL, 'prior_channels': 2}).eval()
    torch.nn.init.zeros_(net.output.weight)
    x = torch.rand(1, 11, 13, 9)
    assert torch.equal(net(x), x[:, 6:9])


def test_a_dual_pixel_network_can_be_cut_into_tiles():
    torch.manual_seed(0)
    net = build_network({**TINY, **DUAL}).eval()
    x = torch.rand(1, 9, 300, 120)
    with torch.no_grad():
        torch.testing.assert_close(restore_tiled(net, x, None, 192), net(x), rtol=0, atol=2e-2)
