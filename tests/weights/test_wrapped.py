"""Files of wrapped networks load like those of plain ones."""

from __future__ import annotations

import copy
import logging

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from basicsr.archs import build_network
from basicsr.inference.deblurrer import Deblurrer
from basicsr.inference.pretrained import load_network
from basicsr.interchange.recognising import network_of
from basicsr.models.image_restoration_model import ImageRestorationModel
from basicsr.options import load_options
from basicsr.utils.errors import WeightsError
from basicsr.weights.files import Weights, load_weights, read_any_weights, read_weights, save_weights
from basicsr.weights.wrappers import bare, plain_names
from tests.helpers import training_runs as runs
from tests.helpers.project import Script

MASKED = {'type': 'SegNAFNet', 'width': 4, 'enc_blk_nums': [1], 'dec_blk_nums': [1]}
PLAIN = {'type': 'NAFNet', 'width': 4, 'enc_blk_nums': [1], 'dec_blk_nums': [1]}


def compiled_part(net):
    net = copy.deepcopy(net)
    net.middle_blks = torch.compile(net.middle_blks)
    return net


WRAPPERS = {
    'plain': lambda net: net,
    'compiled': torch.compile,
    'in parallel': nn.DataParallel,
    'compiled in parallel': lambda net: nn.DataParallel(torch.compile(net)),
    'in parallel, compiled': lambda net: torch.compile(nn.DataParallel(net)),
    'averaged': AveragedModel,
    'averaged, compiled': lambda net: AveragedModel(torch.compile(net)),
    'compiled, averaged': lambda net: torch.compile(AveragedModel(net)),
    'a part of it compiled': compiled_part,
}


def same(first, second):
    return set(first) == set(second) and all(torch.equal(first[key], second[key]) for key in first)


@pytest.fixture(params=WRAPPERS)
def wrapped(request):
    """A network, and the state_dict of what is wrapped around it."""
    net = build_network(PLAIN)
    state = WRAPPERS[request.param](net).state_dict()
    assert (list(state) == list(net.state_dict())) == (request.param == 'plain')
    return net, state


def test_files_of_wrapped_networks_read_like_plain_ones(wrapped, tmp_path, monkeypatch):
    net, state = wrapped
    for name, content in (('under.pth', {'params': state}), ('bare.pth', state), ('other.pth', {'state_dict': state})):
        torch.save(content, tmp_path / name)
        assert same(read_any_weights(tmp_path / name).state, net.state_dict())
        assert same(load_network(tmp_path / name).state_dict(), net.state_dict())
    assert same(read_weights(tmp_path / 'under.pth').state, net.state_dict())
    assert same(read_weights(tmp_path / 'bare.pth', None).state, net.state_dict())
    assert network_of(plain_names(state))['type'] == 'NAFNet'
    assert same(Deblurrer.load(tmp_path / 'bare.pth', device='cpu').net.state_dict(), net.state_dict())
    convert = Script('convert_checkpoint.py', monkeypatch, tmp_path)
    assert convert('--input', 'bare.pth', '--output', 'o.safetensors') == 0
    assert same(read_weights(tmp_path / 'o.safetensors').state, net.state_dict())


def test_a_training_starts_from_them(wrapped, tmp_path, roots):
    net, state = wrapped
    torch.save({'params': state, 'params_ema': state}, tmp_path / 'net.pth')
    for key in ('params', 'params_ema'):
        path = {'pretrain_network_g': str(tmp_path / 'net.pth'), 'param_key': key}
        content = runs.options(roots, network_g=PLAIN, path=path)
        model = ImageRestorationModel(load_options(runs.write_options(tmp_path, content)))
        assert same(model.net.state_dict(), net.state_dict())


@pytest.mark.parametrize('name', WRAPPERS)
def test_wrapped_networks_are_saved_and_loaded_as_themselves(name, tmp_path):
    net = build_network({**MASKED, 'mask_value': 0.5})
    around = WRAPPERS[name](net)
    save_weights(tmp_path / 'net.pth', around)
    content = torch.load(tmp_path / 'net.pth', weights_only=True)
    assert same(content['params'], net.state_dict())
    assert (content['network_g']['mask_value'], content['mask_value']) == (0.5, 0.5)
    other = build_network({**MASKED, 'mask_value': 0.5})
    load_weights(WRAPPERS[name](other) if name != 'a part of it compiled' else other, tmp_path / 'net.pth')
    if 'averaged' not in name:  # which is a copy
        assert same(other.state_dict(), net.state_dict())
    assert type(bare(around)) is type(net)


def test_a_network_with_compiled_parts_takes_plain_weights(tmp_path):
    net, other = build_network(PLAIN), compiled_part(build_network(PLAIN))
    save_weights(tmp_path / 'net.pth', net)
    load_weights(other, tmp_path / 'net.pth')
    assert same(plain_names(other.state_dict()), net.state_dict())
    average = AveragedModel(build_network(PLAIN))
    load_weights(average, tmp_path / 'net.pth')
    assert same(average.module.state_dict(), net.state_dict())


def test_names_that_only_look_like_wrappers_stay():
    for names in (['module.a', 'b'], ['a.module.b'], ['n_averaged', 'a'], ['_orig_mod.a', 'a']):
        state = {name: torch.zeros(1) for name in names}
        assert list(plain_names(state)) == names
    assert list(plain_names({'module.module.a': torch.zeros(1)})) == ['a']
    assert plain_names({}) == {}


def test_unknown_parameters_are_listed_in_a_few_lines(tmp_path, caplog):
    net = build_network(PLAIN)
    strange = Weights(tmp_path / 'x.pth', {f'layer{index}.weight': torch.zeros(1) for index in range(300)})
    with pytest.raises(WeightsError) as raised:
        load_weights(net, strange)
    assert len(str(raised.value).splitlines()) == 1 + 12 + 1
    with caplog.at_level(logging.WARNING):
        load_weights(net, strange, strict=False)
    assert len(caplog.messages) < 20
