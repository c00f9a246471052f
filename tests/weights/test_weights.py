"""Network files: what is read, what is refused, how misfits are reported, what is written."""

from __future__ import annotations

import decimal
import fractions
import logging
import math
import os
import pathlib
import pickle
import random
import re
import shutil
import zipfile
from collections import Counter, OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from basicsr.archs import build_network
from basicsr.utils.errors import UnsafeWeightsError, WeightsError
from basicsr.weights.files import load_weights, read_weights, save_weights
from basicsr.weights.plain_files import load_plain
from tests.helpers.weight_files import Payload

PLAIN = {'type': 'PlainUNet', 'width': 4, 'levels': 1}
MASKED = {'type': 'SegNAFNet', 'width': 4, 'enc_blk_nums': [1], 'dec_blk_nums': [1]}


def equal(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    return all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_published_files_load(tmp_path, prefix):
    """A state_dict under ``params``, from DataParallel or not, beside numpy scalars and plain numbers."""
    net = build_network(PLAIN)
    state = OrderedDict((prefix + key, value) for key, value in net.state_dict().items())
    content = {'params': state, 'best_psnr': np.float64(32.87), 'iter': np.int64(200000), 'epoch': 381, 'note': 'x'}
    torch.save(content, tmp_path / 'net.pth')
    other = build_network(PLAIN)
    assert not equal(net, other)
    load_weights(other, read_weights(tmp_path / 'net.pth'))
    assert equal(net, other)


def test_numpy_scalars_pickled_by_numpy_1_load(tmp_path):
    """Older files name the function by its old module; the name is rewritten here, byte for byte as long."""
    content = {'params': {'weight': torch.ones(1)}, 'score': np.float32(1.5)}
    path = tmp_path / 'old.pth'
    torch.save(content, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes().replace(b'numpy._core.multiarray', b'numpy.core.multiarray')
    path.write_bytes(data)
    assert b'numpy.core.multiarray' in data
    assert torch.equal(read_weights(path).state['weight'], torch.ones(1))


def test_bare_and_averaged_state_dicts_are_named_by_their_key(tmp_path):
    net = build_network(PLAIN)
    torch.save(net.state_dict(), tmp_path / 'bare.pth')
    assert list(read_weights(tmp_path / 'bare.pth', None).state) == list(net.state_dict())
    with pytest.raises(WeightsError, match=r'bare\.pth .*param_key.* null'):
        read_weights(tmp_path / 'bare.pth')
    save_weights(tmp_path / 'net.pth', net, params_ema={key: value + 1 for key, value in net.state_dict().items()})
    averaged = read_weights(tmp_path / 'net.pth', 'params_ema').state
    assert torch.equal(averaged['intro.bias'], net.state_dict()['intro.bias'] + 1)
    with pytest.raises(WeightsError, match=r"net\.pth .*'params_emma'.*'params_ema'"):
        read_weights(tmp_path / 'net.pth', 'params_emma')


@pytest.mark.parametrize('zipped', [True, False])
def test_a_pickled_object_is_refused_and_not_run(tmp_path, zipped):
    trap = tmp_path / 'made_by_the_file'
    torch.save(
        {'params': {}, 'extra': Payload(str(trap))}, tmp_path / 'evil.pth', _use_new_zipfile_serialization=zipped
    )
    with pytest.raises(UnsafeWeightsError, match=r'evil\.pth .*pickled \w+\.mkdir'):
        read_weights(tmp_path / 'evil.pth')
    (tmp_path / 'plain.pkl').write_bytes(pickle.dumps(Payload(str(trap))))
    with pytest.raises(WeightsError):
        read_weights(tmp_path / 'plain.pkl')
    assert not trap.exists()


@pytest.mark.parametrize(
    'value',
    [Exception('x'), pathlib.PurePosixPath('x'), decimal.Decimal(1), range(3), torch.strided, fractions.Fraction(1, 2)],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize('place', ['value', 'key', 'inside', 'whole'])
def test_what_is_neither_a_tensor_nor_plain_is_refused(tmp_path, value, place):
    """Also where the installed torch takes it for safe, as 2.14 does with exceptions."""
    contents = {'value': {'params': {}, 'x': value}, 'key': {'params': {}}, 'inside': {'x': [({'y': {value: 1}},)]}}
    contents['key'] |= {value: 1}
    torch.save(contents.get(place, value), tmp_path / 'net.pth')
    with pytest.raises(UnsafeWeightsError, match=rf'net\.pth .*pickled [\w.]*{type(value).__name__}'):
        load_plain(tmp_path / 'net.pth')


def test_everything_that_states_hold_is_read(tmp_path):
    plain = {
        'tensors': [torch.ones(2), nn.Parameter(torch.ones(1)), torch.tensor(3, dtype=torch.uint16)],
        'numbers': (1, 2.5, True, None, 1j, np.float64(3.0), np.int64(4), np.bool_(True)),
        'texts': {'x', 'y'},
        'bytes': [b'x', bytearray(b'y')],
        'torch': [torch.float32, torch.device('cpu'), torch.Size([1, 2])],
        3: OrderedDict(a=Counter({5: 1}), b={}),
    }
    plain['list'] = circle = [1]
    circle.append(circle)
    torch.save(plain, tmp_path / 'net.pth')
    read = load_plain(tmp_path / 'net.pth')
    assert list(read) == list(plain) and read['list'][1] is read['list']
    assert read['numbers'] == plain['numbers'] and read[3] == plain[3] and read['torch'] == plain['torch']


def test_states_of_optimizers_and_schedules_are_read(tmp_path):
    """All that torch offers to those who write option files, after a step."""
    net = nn.Linear(2, 2)
    for kind in (torch.optim.AdamW, torch.optim.SGD, torch.optim.RMSprop, torch.optim.Adagrad):
        optimizer = kind(net.parameters(), lr=0.1)
        schedules = [
            torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 2, 5]),
            torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 5),
            torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer),
        ]
        net(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        torch.save([optimizer.state_dict(), *(item.state_dict() for item in schedules)], tmp_path / 'x.state')
        states = load_plain(tmp_path / 'x.state')
        optimizer.load_state_dict(states[0])
        assert states[1]['milestones'] == {2: 2, 5: 1}


def test_a_pickled_network_is_refused(tmp_path):
    torch.save(build_network(PLAIN), tmp_path / 'whole.pth')
    with pytest.raises(UnsafeWeightsError, match='PlainUNet'):
        read_weights(tmp_path / 'whole.pth')


def test_files_that_are_no_network_files(tmp_path):
    with pytest.raises(WeightsError, match=r'gone\.pth '):
        read_weights(tmp_path / 'gone.pth')
    for name, data in (('empty', b''), ('text', b'not a network'), ('zip', b'PK\x03\x04 broken')):
        path = tmp_path / f'{name}.pth'
        path.write_bytes(data)
        with pytest.raises(WeightsError, match=f'{name}.pth .*damaged'):
            read_weights(path)
    torch.save({'params': build_network(PLAIN).state_dict()}, tmp_path / 'whole.pth')
    whole = (tmp_path / 'whole.pth').read_bytes()
    (tmp_path / 'cut.pth').write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match=r'cut\.pth .*damaged'):
        read_weights(tmp_path / 'cut.pth')
    torch.save([1, 2], tmp_path / 'list.pth')
    with pytest.raises(WeightsError, match=r'list\.pth .*\blist\b'):
        read_weights(tmp_path / 'list.pth')
    torch.save({'params': {'weight': 3}}, tmp_path / 'number.pth')
    with pytest.raises(WeightsError, match=r"number\.pth.*'params'.*: weight"):
        read_weights(tmp_path / 'number.pth')


def test_misfits_are_listed_with_the_nearest_names_and_change_nothing(tmp_path):
    net = build_network(PLAIN)
    state = net.state_dict()
    state['intr.weight'] = state.pop('intro.weight')
    state['ending.bias'] = torch.zeros(7)
    torch.save({'params': state}, tmp_path / 'net.pth')
    weights = read_weights(tmp_path / 'net.pth')
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with pytest.raises(WeightsError) as error:
        load_weights(net, weights)
    text = str(error.value)
    assert re.search(r"missing: intro\.weight.*'intr\.weight'", text)
    assert re.search(r"unexpected: intr\.weight.*'intro\.weight'", text)
    assert re.search(r'shape: ending\.bias .*\(7,\).*\(3,\)', text)
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())


def test_loading_what_fits_says_what_did_not(tmp_path, caplog):
    net, other = build_network(PLAIN), build_network(PLAIN)
    state = net.state_dict()
    state['ending.bias'] = torch.zeros(7)
    del state['intro.bias']
    torch.save({'params': state}, tmp_path / 'net.pth')
    with caplog.at_level(logging.WARNING):
        load_weights(other, read_weights(tmp_path / 'net.pth'), strict=False)
    assert torch.equal(other.intro.weight, net.intro.weight)
    assert 'missing: intro.bias' in caplog.text
    assert 'shape: ending.bias' in caplog.text


def test_our_files_rebuild_their_network_and_remember_the_mask_value(tmp_path):
    net = build_network({**MASKED, 'mask_value': 0.5})
    save_weights(tmp_path / 'net.pth', net)
    weights = read_weights(tmp_path / 'net.pth')
    assert weights.mask_value == 0.5
    rebuilt = build_network(weights.network)
    load_weights(rebuilt, weights)
    assert rebuilt.mask_value == 0.5
    assert equal(net, rebuilt)
    assert 'mask_value' not in net.state_dict()


def test_another_mask_value_is_an_error_unless_it_may_be_adopted(tmp_path, caplog):
    save_weights(tmp_path / 'ours.pth', build_network({**MASKED, 'mask_value': 0.5}))
    net = build_network(MASKED)
    with pytest.raises(WeightsError, match=r'ours\.pth .*mask_value 0\.5.* 1'):
        load_weights(net, read_weights(tmp_path / 'ours.pth'))
    load_weights(net, read_weights(tmp_path / 'ours.pth'), adopt_mask_value=True)
    assert net.mask_value == 0.5

    torch.save({'params': net.state_dict()}, tmp_path / 'published.pth')
    with pytest.raises(WeightsError, match=r'mask_value: 0\.003921569'):
        load_weights(build_network(MASKED), read_weights(tmp_path / 'published.pth'))
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        load_weights(build_network({**MASKED, 'mask_value': 1 / 255}), read_weights(tmp_path / 'published.pth'))
    assert len(caplog.records) == 1
    assert 'assuming 1/255' in caplog.text


def test_a_failed_save_leaves_the_older_file_and_no_rest(tmp_path, monkeypatch):
    net = build_network(PLAIN)
    save_weights(tmp_path / 'net.pth', net)
    before = (tmp_path / 'net.pth').read_bytes()

    def full_disk(content, file):
        file.write(b'half')
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(torch, 'save', full_disk)
    with pytest.raises(OSError, match='No space left'):
        save_weights(tmp_path / 'net.pth', net)
    assert (tmp_path / 'net.pth').read_bytes() == before
    assert list(tmp_path.iterdir()) == [tmp_path / 'net.pth']


def saved(path, content, param_key='params'):
    torch.save(content, path)
    return read_weights(path, param_key)


def test_an_adopted_mask_value_goes_on_into_the_next_file(tmp_path):
    save_weights(tmp_path / 'first.pth', build_network({**MASKED, 'mask_value': 0.5}))
    net = build_network(MASKED)
    load_weights(net, tmp_path / 'first.pth', adopt_mask_value=True)
    save_weights(tmp_path / 'second.pth', net)
    weights = read_weights(tmp_path / 'second.pth')
    assert weights.network == {**MASKED, 'mask_value': 0.5}
    rebuilt = build_network(weights.network)
    load_weights(rebuilt, weights)
    assert rebuilt.mask_value == 0.5
    assert equal(net, rebuilt)


def test_a_file_that_does_not_fit_leaves_the_mask_value(tmp_path):
    net = build_network(MASKED)
    other = build_network({**MASKED, 'mask_value': 0.5, 'width': 8})
    save_weights(tmp_path / 'other.pth', other)
    with pytest.raises(WeightsError, match=r'other\.pth .*SegNAFNet'):
        load_weights(net, tmp_path / 'other.pth', adopt_mask_value=True)
    assert net.mask_value == 1
    assert net.options == MASKED


def test_a_network_in_dataparallel_is_saved_as_itself(tmp_path):
    net = build_network({**MASKED, 'mask_value': 0.5})
    save_weights(tmp_path / 'net.pth', nn.DataParallel(net))
    content = torch.load(tmp_path / 'net.pth', weights_only=True)
    assert list(content['params']) == list(net.state_dict())
    assert content['network_g'] == {**MASKED, 'mask_value': 0.5}
    assert content['mask_value'] == 0.5


@pytest.mark.skipif(os.name != 'posix', reason='file modes are those of POSIX')
@pytest.mark.parametrize(('umask', 'mode'), [(0o077, 0o600), (0o022, 0o644)])
def test_files_have_the_mode_that_the_umask_allows(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        save_weights(tmp_path / 'net.pth', build_network(PLAIN))
    finally:
        os.umask(before)
    assert (tmp_path / 'net.pth').stat().st_mode & 0o777 == mode


def test_prefixes_are_removed_only_where_every_name_has_one(tmp_path):
    one = torch.ones(1)
    assert list(saved(tmp_path / 'all.pth', {'params': {'module.a': one, 'module.b': one}}).state) == ['a', 'b']
    assert list(saved(tmp_path / 'some.pth', {'params': {'a': one, 'module.a': one}}).state) == ['a', 'module.a']


@pytest.mark.parametrize('value', ['x', -1, 0, 1.5, float('nan'), torch.tensor(0.5)], ids=str)
def test_a_mask_value_that_is_none_is_refused(tmp_path, value):
    with pytest.raises(WeightsError, match=r'net\.pth.*mask_value .*\(0, 1\]'):
        saved(tmp_path / 'net.pth', {'params': {'a': torch.ones(1)}, 'mask_value': value})


@pytest.mark.filterwarnings('ignore:Sparse', 'ignore:Validating sparse')
@pytest.mark.parametrize('kind', ['to_sparse', 'to_sparse_csr', 'meta'])
def test_tensors_without_dense_numbers_are_no_parameters(tmp_path, kind):
    value = torch.eye(3, device='meta') if kind == 'meta' else getattr(torch.eye(3), kind)()
    with pytest.raises(WeightsError, match=r"net\.pth.*'params'.*: a\b"):
        saved(tmp_path / 'net.pth', {'params': {'b': torch.ones(1), 'a': value}})


@pytest.mark.parametrize(
    ('param_key', 'message'),
    [
        (3, r"net\.pth .*'3'.*params, iter.*param_key .*'params'"),
        (
            None,
            r"net\.pth.*: params, iter.*param_key .*'params'",
        ),
        ('iter', r"net\.pth.*'iter' .*\bint\b"),
    ],
)
def test_a_wrong_key_is_answered_with_the_right_one(tmp_path, param_key, message):
    with pytest.raises(WeightsError, match=message):
        saved(tmp_path / 'net.pth', {'params': {'a': torch.ones(1)}, 'iter': 3}, param_key)


def test_a_key_that_is_no_string_is_answered_too(tmp_path):
    with pytest.raises(WeightsError, match=r"net\.pth .*'3'.*epoch"):
        saved(tmp_path / 'net.pth', {'epoch': 1}, 3)


def test_a_folder_is_no_network_file(tmp_path):
    with pytest.raises(WeightsError, match='folder'):
        read_weights(tmp_path)


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize('name', ['net.pth', 'net.safetensors'])
def test_weights_that_are_not_finite_are_refused(tmp_path, value, name):
    net = nn.Conv2d(1, 1, 3)
    net.weight.data[0, 0, 1, 1] = value
    save_weights(tmp_path / name, net)
    with pytest.raises(WeightsError, match=rf'{name}: weight .*NaN'):
        read_weights(tmp_path / name)


def test_small_files_that_become_large_are_refused_before_that(tmp_path):
    path = tmp_path / 'net.pth'
    save_weights(path, nn.Conv2d(1, 1, 3))
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(tmp_path / 'bomb.pth', 'w') as bomb:
        for name in source.namelist():
            bomb.writestr(name, bytes(10**7) if name.endswith('data/0') else source.read(name), zipfile.ZIP_DEFLATED)
    with pytest.raises(WeightsError, match=r'bomb\.pth .*bytes'):
        load_plain(tmp_path / 'bomb.pth')
    torch.save({'params': {'weight': torch.zeros(1).expand(10**5, 10**6)}}, path)
    with pytest.raises(WeightsError, match=r'net\.pth .*100000'):
        load_plain(path)


def test_files_that_torch_does_not_write_are_refused(tmp_path):
    path = tmp_path / 'net.pth'
    save_weights(path, nn.Conv2d(1, 1, 3))
    for name in ('net/../../x', '/net/x'):
        changed = tmp_path / 'outside.pth'
        shutil.copy(path, changed)
        with zipfile.ZipFile(changed, 'a') as archive:
            archive.writestr(name, b'x')
        with pytest.raises(WeightsError, match=r'outside\.pth .*outside of its folder'):
            load_plain(changed)
    for levels, refused in ((90, False), (110, True)):
        deep: object = 'x'
        for _ in range(levels):
            deep = [deep]
        torch.save(deep, path)
        if refused:
            with pytest.raises(WeightsError, match=r'net\.pth .*100 deep'):
                load_plain(path)
        else:
            assert load_plain(path) == deep


def test_damaged_files_load_or_raise_our_error(tmp_path):
    """Two hundred random cuts and changed bytes, among them some that hit only numbers or only names."""
    options = {'type': 'PlainUNet', 'width': 1, 'levels': 0}
    path, draw = tmp_path / 'net.pth', random.Random(0)
    save_weights(path, build_network(options))
    whole, refused = path.read_bytes(), 0
    for trial in range(200):
        damaged = bytearray(whole)
        if trial % 2:
            del damaged[draw.randrange(len(damaged)) :]
        else:
            for _ in range(draw.randint(1, 8)):
                damaged[draw.randrange(len(damaged))] ^= draw.randint(1, 255)
        path.write_bytes(damaged)
        try:
            load_weights(build_network(options), path)
        except WeightsError:
            refused += 1
    assert 100 <= refused < 200
