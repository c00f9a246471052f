"""Effective receptive fields: the gradient of the centre, its reductions, the fit, and the files of scripts/erf.py."""

from __future__ import annotations

import csv
import math
import re
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from torch import nn

from basicsr.archs import build_network
from basicsr.archs.activation_checkpointing import checkpoint_activations
from basicsr.archs.contract import contract_of
from basicsr.evaluation.field_comparison import fields_of
from basicsr.evaluation.field_inputs import Crop, crops_of_folder, inputs_of
from basicsr.evaluation.field_report import rows_of, text_table, write_fields
from basicsr.evaluation.field_shape import central_squares, fit_generalised_normal, positions, profile
from basicsr.evaluation.receptive_field import FIXED_PRIOR, WHOLE, centre_gradient, field_of
from basicsr.images.files import imwrite
from basicsr.masks.generator import build_generator
from basicsr.utils.errors import ArgumentError, DataError, ShapeError
from tests.helpers.project import ROOT
from tests.helpers.small_networks import MASK_GUIDED, SMALL, small

pytestmark = pytest.mark.numeric

CPU = torch.device('cpu')


def network(case):
    net = build_network({'type': 'LaKDNet', **case.meta['kwargs']}).eval()
    net.load_state_dict(case.state(), strict=True)
    return net


@pytest.mark.vectors
@pytest.mark.parametrize('checkpointing', [False, True])
@pytest.mark.parametrize('name', ['erf_k7', 'erf_dual_k5'])
def test_gradient_maps_profile_and_areas_match_the_vectors(vector, name, checkpointing):
    case = vector('lakdnet', name)
    net, near = network(case), case.meta['tolerance']
    if checkpointing:
        checkpoint_activations(net)
    gradients = []
    for x, expected in zip(case.tensor('in/x'), case.tensor('out/grad'), strict=True):
        found = centre_gradient(net, x[None])
        assert not found.saturated
        np.testing.assert_allclose(found.paths[WHOLE], expected, **near['grad'])
        gradients.append(found.paths[WHOLE])
    field = field_of(gradients, contract_of(net).out_channels)
    for form, key in (('absolute', 'erf_abs'), ('positive', 'erf_pos'), ('without_skip', 'erf_abs_no_skip')):
        np.testing.assert_allclose(getattr(field, form), case[f'out/{key}'], **near['maps'])
    np.testing.assert_allclose(profile(field.absolute), case['out/row_profile'], **near['row_profile'])
    squares = central_squares(field.absolute)
    assert [square.side for square in squares] == case['out/area_side'].tolist()
    np.testing.assert_allclose([square.area for square in squares], case['out/area_ratio'], atol=1e-9)


@pytest.mark.vectors
def test_clipped_channels_have_no_gradient(vector):
    case = vector('lakdnet', 'erf_saturated')
    net, x = network(case), case.tensor('in/x')
    found = centre_gradient(net, x)
    assert found.saturated
    expected = case['out/grad_per_output_channel']
    assert not expected[2].any()  # the channel above white
    np.testing.assert_allclose(found.paths[WHOLE], expected.sum(0), atol=6e-5, rtol=1e-3)
    unclipped = build_network({'type': 'LaKDNet', **case.meta['kwargs'], 'clip_output': 'never'}).eval()
    unclipped.load_state_dict(case.state(), strict=True)
    assert not centre_gradient(unclipped, x).saturated


@pytest.mark.vectors
def test_the_fit_matches_the_vectors(vector):
    case = vector('lakdnet', 'gnd_fit')
    np.testing.assert_allclose(positions(len(case['in/position'])), case['in/position'], atol=1e-12)
    for number, (amplitude, mu, sigma, beta, r2) in enumerate(case['out/fit']):
        found = fit_generalised_normal(case[f'in/profile_{number}'])
        expected = amplitude, mu, sigma, beta
        np.testing.assert_allclose((found.amplitude, found.mu, found.sigma, found.beta), expected, rtol=1e-3, atol=1e-6)
        assert found.r2 == pytest.approx(r2, abs=1e-4)
        assert found.erf_score == pytest.approx(-math.log(sigma * beta), abs=1e-3)


def test_a_known_filter_is_its_own_field():
    kernel = torch.zeros(3, 3, 5, 5)
    for channel in range(3):
        kernel[channel, channel] = torch.tensor(
            [[0, 0, 1, 0, 0], [0, 0, -2, 0, 0], [0, -1, 5, -1, 0]] + [[0.0] * 5] * 2
        )
    net = nn.Conv2d(3, 3, 5, padding=2, bias=False)
    net.weight.data = kernel
    field = field_of([centre_gradient(net, torch.rand(1, 3, 17, 20)).paths[WHOLE]], 3)
    around = slice(6, 11), slice(8, 13)
    assert np.allclose(field.absolute[around], 3 * kernel[0, 0].abs())
    assert np.allclose(field.positive[around], 3 * kernel[0, 0].clamp(min=0))
    assert np.isclose(field.absolute.sum(), 30) and np.isclose(field.without_skip.sum(), 27)
    assert [(square.side, square.area) for square in central_squares(field.absolute, (0.5, 0.9, 1))] == [
        (1, 1 / 340), (3, 9 / 340), (5, 25 / 340)
    ]  # fmt: skip


def test_a_square_is_cut_at_the_border():
    field = np.zeros((9, 5))
    field[0, 0] = 1
    (square,) = central_squares(field, (0.99,))
    assert (square.side, square.area) == (9, 1.0)


@pytest.mark.parametrize('name', [name for name in SMALL if name != 'AnalysisNet'])
def test_every_network_has_a_field(name):
    net, images = small(name), 2
    rng = np.random.default_rng(0)
    crops = [Crop(str(i), rng.uniform(0.3, 0.6, (3, 64, 64)).astype(np.float32)) for i in range(images)]
    before = {key: value.clone() for key, value in net.state_dict().items()}
    fields = fields_of({name: net}, crops, build_generator({'type': 'felzenszwalb'}), CPU)
    assert list(fields) == ([name, f'{name}, {FIXED_PRIOR}'] if name in MASK_GUIDED else [name])
    for field in fields.values():
        assert field.images == images and field.absolute.shape == (64, 64)
        assert (field.absolute >= field.positive).all() and field.absolute[32, 32] > 0
        assert (field.without_skip is None) == (name in ('SynthesisNet', 'AnalysisSynthesisNet'))
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in net.parameters())


@pytest.mark.parametrize('name', ['NAFNet', 'NAFNetLocal', 'LaKDNet', 'PhotoUNet', 'PlainUNet', 'RSST'])
def test_subtracting_the_residual_leaves_the_field_of_the_change(name):
    net, x = small(name), torch.rand(1, 3, 64, 64) * 0.4 + 0.3
    gradient = centre_gradient(net, x).paths[WHOLE]

    class Change(nn.Module):
        input_rule, img_channel = net.input_rule, 3

        def forward(self, lq):
            output = net(lq)
            return (output if isinstance(output, torch.Tensor) else output[-1]) - lq

    rest = field_of([centre_gradient(Change(), x).paths[WHOLE]], None)
    np.testing.assert_allclose(field_of([gradient], 3).without_skip, rest.absolute, atol=1e-5)


def test_the_prior_reaches_regions_that_the_backbone_does_not():
    net = small('SAMDeblur', backbone={'type': 'PlainUNet', 'width': 16, 'levels': 1})
    labels = torch.ones(1, 1, 64, 64, dtype=torch.int32)
    labels[..., :16, :] = 2
    found = centre_gradient(net, torch.rand(1, 3, 64, 64), labels).paths
    whole, fixed = (np.abs(found[path]).sum(0) for path in (WHOLE, FIXED_PRIOR))
    reach = net.backbone.input_rule.halo
    assert reach < 16
    assert not fixed[: 32 - reach].any() and not fixed[33 + reach :].any() and fixed[32, 32] > 0
    assert whole[16:].min() > 0 and not whole[:14].any()  # all of the region that contains the centre


def test_other_channels_and_priors():
    generator = build_generator({'type': 'felzenszwalb'})
    image = np.random.default_rng(0).random((9, 32, 32), np.float32)
    dual, single = small('LaKDNet', inp_channels=9, dual_pixel_task=True), small('LaKDNet')
    assert np.array_equal(inputs_of(single, Crop('', image), generator, CPU)[0][0], image[6:])
    assert np.array_equal(inputs_of(dual, Crop('', image[:3]), generator, CPU)[0][0], np.concatenate([image[:3]] * 3))
    gray = np.full((1, 32, 32), 51, np.uint8)
    (cat,) = inputs_of(small('NAFNet', mask=True), Crop('', image[:3], gray=gray), generator, CPU)
    assert cat.shape == (1, 4, 32, 32) and torch.allclose(cat[:, 3], torch.tensor(0.2))
    assert centre_gradient(small('NAFNet', mask=True), cat).paths[WHOLE].shape == (3, 32, 32)
    with pytest.raises(ShapeError, match='PlainUNet takes images of 5 channels'):
        inputs_of(small('PlainUNet', img_channel=5), Crop('', image), generator, CPU)


class Constant(nn.Module):
    def __init__(self, depends):
        super().__init__()
        self.depends = depends

    def forward(self, lq):
        return lq * 0 if self.depends else torch.full_like(lq, 0.5)


class White(nn.Module):
    def forward(self, lq):
        return (lq + 1).clamp(0, 1)


def test_fields_that_do_not_exist_are_named():
    x = torch.rand(1, 3, 64, 64)
    with pytest.raises(ArgumentError, match='Constant: the output has no gradient with respect to the input'):
        centre_gradient(Constant(False), x)
    with pytest.raises(ArgumentError, match=r'net: the gradient of the centre pixel is zero everywhere'):
        field_of([centre_gradient(Constant(True), x).paths[WHOLE]], None, 'net')
    with pytest.raises(ArgumentError, match='is not finite'):
        field_of([np.full((3, 4, 4), np.nan, np.float32)], None)
    with pytest.raises(DataError, match='no images for its receptive field'):
        field_of([], None)
    crops = [Crop('a.png', x[0].numpy())]
    with pytest.raises(DataError, match='clipped at the centre of every crop'):
        fields_of({'white': White()}, crops, build_generator({'type': 'felzenszwalb'}), CPU)
    with pytest.raises(ArgumentError, match='AnalysisNet returns no image'):
        centre_gradient(small('AnalysisNet'), x)
    with pytest.raises(ShapeError, match=r'NAFNet would pad 63 × 64 pixels.*multiples of 4 and 4'):
        centre_gradient(small('NAFNet'), x[..., :63])


def test_clipped_crops_are_left_out_for_all_networks(caplog):
    crops = [
        Crop('black.png', np.zeros((3, 64, 64), np.float32)),
        Crop('gray.png', np.full((3, 64, 64), 0.5, np.float32)),
    ]
    clipped = small('LaKDNet')
    nn.init.zeros_(clipped.output.weight)
    fields = fields_of({'a': small('NAFNet'), 'b': clipped}, crops, build_generator({'type': 'felzenszwalb'}), CPU)
    assert [field.images for field in fields.values()] == [1, 1]
    assert any('1 of 2 crops: black.png (b)' in message for message in caplog.messages)


@pytest.mark.parametrize('values', [np.ones(9), np.array([1.0, 2.0]), np.array([0.0, 1.0, np.nan, 1.0, 0.0])])
def test_profiles_without_a_shape_are_refused(values):
    with pytest.raises(ArgumentError, match='at least four finite values that differ'):
        fit_generalised_normal(values)
    with pytest.raises(ArgumentError, match='central row of a receptive field is zero'):
        profile(np.zeros((4, 4)))


def test_crops_of_a_folder(tmp_path):
    for name, size in (('b.png', (40, 50)), ('a.png', (64, 64))):
        imwrite(tmp_path / name, np.arange(size[0] * size[1] * 3).reshape(*size, 3).astype(np.uint8))
    first, second = crops_of_folder(tmp_path, 32, 5)
    assert [first.name[-5:], second.name[-5:]] == ['a.png', 'b.png']
    assert second.image.shape == (3, 32, 32) and second.image.dtype == np.float32
    assert second.image[0, 0, 0] == np.float32((4 * 50 + 9) * 3 % 256) / np.float32(255)
    imwrite(tmp_path / 'c.png', np.zeros((40, 40), np.uint8))
    assert crops_of_folder(tmp_path, 32, 5)[2].image.shape == (3, 32, 32)  # gray
    with pytest.raises(DataError, match=r'b\.png has 50 × 40 pixels, less than the crop of 48'):
        crops_of_folder(tmp_path, 48, 5)
    assert len(crops_of_folder(tmp_path, 48, 1)) == 1
    with pytest.raises(DataError, match='no images'):
        crops_of_folder(tmp_path / 'none', 48, 1)


def test_files_and_table(tmp_path):
    x = torch.rand(1, 3, 64, 64) * 0.4 + 0.3
    nets = {'one & only': small('NAFNet'), 'two': small('PhotoUNet')}
    fields = {name: field_of([centre_gradient(net, x).paths[WHOLE]], 3, name) for name, net in nets.items()}
    rows = write_fields(tmp_path, fields)
    assert [(row.network, row.form) for row in rows[:2]] == [('one & only', 'absolute'), ('one & only', 'without_skip')]
    lines = list(csv.DictReader((tmp_path / 'erf.csv').open(newline='')))
    assert float(lines[0]['sigma']) == pytest.approx(rows[0].row.sigma, rel=1e-5)
    assert float(lines[0]['mean_beta']) == pytest.approx((rows[0].row.beta + rows[0].column.beta) / 2, rel=1e-5)
    assert float(lines[0]['area_50%']) == pytest.approx(rows[0].squares[2].area, rel=1e-5)
    values = list(csv.DictReader((tmp_path / 'profiles.csv').open(newline='')))
    assert len(values) == 64 and (values[0]['pixel'], values[32]['pixel']) == ('-32', '0')
    assert sum(float(line['two: absolute']) for line in values) == pytest.approx(1, abs=1e-4)
    assert np.array_equal(np.load(tmp_path / 'two.npz')['absolute'], fields['two'].absolute)
    svg = (tmp_path / 'erf.svg').read_text()
    ElementTree.fromstring(svg)
    assert svg.count('<image ') == 3 and 'one &amp; only' in svg and 'generalised normal fit' in svg  # with the colours
    table = text_table(rows_of('two', fields['two']))
    assert len(table.splitlines()) == 5 and f'{rows_of("two", fields["two"])[0].row.erf_score:.3f}' in table
    assert positions(61)[30] == 0


def test_a_row_that_no_curve_fits_leaves_its_cells_empty(tmp_path):
    """Networks without training can have such rows; the others of the comparison stay."""
    flat = field_of([np.ones((3, 64, 64))], 3, 'flat')
    good = field_of([centre_gradient(small('NAFNet'), torch.rand(1, 3, 64, 64)).paths[WHOLE]], 3, 'good')
    rows = write_fields(tmp_path, {'flat': flat, 'good': good})
    assert rows[0].row is None and rows[0].squares[0].side > 1
    lines = list(csv.DictReader((tmp_path / 'erf.csv').open(newline='')))
    assert lines[0]['sigma'] == lines[0]['mean_sigma'] == '' and float(lines[-1]['sigma']) > 0
    assert '| flat | absolute | - | - | - | - |' in text_table(rows)
    assert (tmp_path / 'erf.svg').read_text().count('generalised normal fit') == 1


def test_a_network_that_is_the_identity_has_no_form_without_its_skip(tmp_path):
    net = build_network({'type': 'RSST', **SMALL['RSST'], 'zero_init': True}).eval()
    field = field_of([centre_gradient(net, torch.rand(1, 3, 64, 64)).paths[WHOLE]], 3)
    assert field.without_skip is None
    rows = write_fields(tmp_path, {'identity': field})
    assert [row.form for row in rows] == ['absolute', 'positive']
    assert [square.side for square in rows[0].squares] == [1] * len(rows[0].squares)


@pytest.mark.slow
def test_the_command_compares_networks(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / 'photos').mkdir()
    for name in 'ab':
        imwrite(tmp_path / 'photos' / f'{name}.png', rng.integers(60, 190, (70, 90, 3), dtype=np.uint8))
    small_files = [f'options/train/Synthetic/small{name}.yml' for name in ('_LaKDNet', '_NAFNet', '')]
    command = [sys.executable, str(ROOT / 'scripts' / 'erf.py'), '-opt', str(ROOT / small_files[0]), '--compare']
    command += [*(str(ROOT / file) for file in small_files[1:]), '--images', 'photos', '--size', '64']
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert 'small_LaKDNet-synthetic: random weights' in done.stdout
    names = ['small_LaKDNet-synthetic', 'small_NAFNet-synthetic', 'small-synthetic', 'small-synthetic, fixed prior']
    table = [line.split(' | ')[0].strip('| ') for line in done.stdout.splitlines() if ' | absolute | ' in line]
    assert table == names
    assert re.search(r'MiB for each crop of 64', done.stderr)
    folder = tmp_path / 'results' / 'erf' / 'small_LaKDNet-synthetic'
    assert {path.suffix for path in folder.iterdir()} == {'.csv', '.svg', '.npz'}
