"""Network files of other configurations say which arguments differ."""

from __future__ import annotations

import re

import pytest
import torch

from basicsr.archs import build_network
from basicsr.models.image_restoration_model import ImageRestorationModel
from basicsr.models.misfit import explanation
from basicsr.options import load_options
from basicsr.utils.errors import WeightsError
from basicsr.weights.files import Weights, read_weights, save_weights
from tests.helpers import training_runs as runs
from tests.helpers.project import ROOT

PLAIN = {'type': 'NAFNet', 'width': 4, 'enc_blk_nums': [1], 'dec_blk_nums': [1]}
MASKED = {'type': 'SegNAFNet', 'width': 4, 'enc_blk_nums': [1], 'dec_blk_nums': [1]}


def weights_of(block, tmp_path, known=True):
    net = build_network(block)
    save_weights(tmp_path / 'net.pth', net)
    if not known:
        torch.save({'params': net.state_dict()}, tmp_path / 'net.pth')
    return read_weights(tmp_path / 'net.pth')


def numbers_of(line: str) -> tuple[str, ...]:
    """The name of an argument, its value in the file and that in the options."""
    return re.fullmatch(r'  ([\w.]+): (\S+) \D*?(\[?\d+\]?)\D*', line).groups()


@pytest.mark.parametrize('known', [True, False])  # the file says it, or its parameters do
def test_the_arguments_that_differ_are_named(tmp_path, known):
    weights = weights_of({**MASKED, 'width': 8, 'enc_blk_nums': [2], 'mask_dropout': 0.25}, tmp_path, known)
    text = explanation(build_network({**MASKED, 'type': 'SegNAFNetLocal'}), weights)
    head, *lines = text.splitlines()
    assert head.startswith(f'{tmp_path}/net.pth ') and 'SegNAFNetLocal' in head
    assert [numbers_of(line) for line in lines] == [  # neither the Local form nor the dropout shows in the parameters
        ('width', '8', '4'),
        ('enc_blk_nums', '[2]', '[1]'),
    ]


def test_arguments_inside_another_network_are_named(tmp_path):
    block = {'type': 'SAMDeblur', 'backbone': PLAIN}
    weights = weights_of({**block, 'backbone': {**PLAIN, 'width': 6}, 'prior_channels': 3}, tmp_path, False)
    lines = explanation(build_network(block), weights).splitlines()
    assert [numbers_of(line) for line in lines[1:]] == [
        ('prior_channels', '3', '2'),
        ('backbone.width', '6', '4'),
    ]


def test_a_file_of_another_network_is_named_by_it(tmp_path):
    text = explanation(build_network(PLAIN), weights_of({'type': 'PlainUNet', 'width': 4, 'levels': 1}, tmp_path))
    assert re.search(r'\n  type: PlainUNet .*\bNAFNet\b', text)


def test_what_fits_or_is_unknown_is_not_explained(tmp_path):
    net = build_network(PLAIN)
    assert explanation(net, weights_of(PLAIN, tmp_path)) is None
    assert explanation(net, Weights(tmp_path / 'x', {'a': torch.zeros(1)})) is None
    lying = Weights(tmp_path / 'x', {'a': torch.zeros(1)}, {'type': 'NAFNet', 'width': 7})
    assert explanation(net, lying) is None
    assert explanation(net, Weights(tmp_path / 'x', {'a': torch.zeros(1)}, {'type': 'Nonesuch'})) is None


@pytest.mark.slow
def test_the_option_file_that_fits_is_named(tmp_path, roots, monkeypatch):
    """A user evaluates the shipped network with the option file of another one."""
    file = ROOT / 'experiments' / 'pretrained_models' / 'photo_unet.safetensors'
    options = load_options(ROOT / 'options/test/GoPro/NAFNet.yml', [f'path:pretrain_network_g={file}'])
    with pytest.raises(WeightsError) as raised:
        ImageRestorationModel(options)
    text = str(raised.value)
    assert len(text.splitlines()) <= 12
    assert 'PhotoUNet' in text
    assert 'options/test/Photos.yml, options/test/Pretrained/GoPro.yml' in text.splitlines()[-1]
    monkeypatch.chdir(ROOT)
    ImageRestorationModel(load_options(ROOT / 'options/test/Pretrained/GoPro.yml'))  # which is true
    content = runs.options(roots, path__pretrain_network_g=str(file))
    with pytest.raises(WeightsError, match=r'options/train/Photos/UNet\.yml, options/test'):
        ImageRestorationModel(load_options(runs.write_options(tmp_path, content)))
