"""Files of Keras become ours: the order of their weights, what is refused, and the command."""

from __future__ import annotations

import json
import os
import random
import resource
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from basicsr.archs import build_network
from basicsr.interchange.keras_files import KerasFile
from basicsr.interchange.keras_order import keras_order, read_keras_pair
from basicsr.models import build_model
from basicsr.options import load_options
from basicsr.utils.errors import ArgumentError, BasicsrError, WeightsError
from basicsr.weights.files import PUBLISHED_MASK_VALUE, load_weights, read_weights, save_weights
from tests.helpers.project import ROOT, Script, Vector, absent, find_vector, require
from tests.helpers.tiny_pairs import TOPIC
from tests.helpers.weight_files import Payload

pytestmark = [pytest.mark.numeric, pytest.mark.vectors]

try:
    import h5py
except ModuleNotFoundError:
    h5py = None


@pytest.fixture
def pair() -> list[Path]:
    if h5py is None:
        absent('h5py is not installed')
    return [find_vector(TOPIC, name) for name in ('analysis_weights_tiny.h5', 'synthesis_weights_tiny.h5')]


@pytest.fixture
def case() -> Vector:
    return Vector(find_vector(TOPIC, 'pipeline_odd.npz'))


def tiny(case: Vector) -> dict[str, object]:
    return {
        'type': 'AnalysisSynthesisNet',
        'analysis': {'type': 'AnalysisNet', **case.meta['analysis_config']},
        'synthesis': {'type': 'SynthesisNet', **case.meta['synthesis_config']},
    }


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[key], expected[key]) for key in expected)


@pytest.mark.parametrize('kind', ['analysis', 'synthesis'])
def test_the_order_of_the_published_pair(kind):
    rows = json.loads(find_vector(TOPIC, 'keras_order_default.json').read_text())[kind]
    with torch.device('meta'):
        net = build_network({'type': f'{kind.capitalize()}Net'})
    assert sum(p.numel() for p in net.parameters()) == rows['params']
    shapes = {key: list(value.shape) for key, value in net.state_dict().items()}
    assert [(key, shapes[key]) for key in keras_order(net)] == [(row[4], row[5]) for row in rows['weights']]


@pytest.mark.parametrize(
    ('name', 'kind'),
    [
        ('analysis_tiny', 'AnalysisNet'),
        ('analysis_default_topology', 'AnalysisNet'),
        ('synthesis_tiny', 'SynthesisNet'),
        ('synthesis_multiplier2', 'SynthesisNet'),
        ('synthesis_default_topology', 'SynthesisNet'),
    ],
)
def test_the_order_of_other_topologies(vector, name, kind):
    about = vector(TOPIC, name).meta
    net = build_network({'type': kind, **about['config']})
    assert keras_order(net) == [row[4] for row in about['keras_order']]


def test_the_order_is_not_guessed_where_it_is_not_known():
    with torch.device('meta'):
        for argument in ({'guide_before_conv': True}, {'use_additive_biases': False}):
            with pytest.raises(WeightsError, match='scale'):
                keras_order(build_network({'type': 'SynthesisNet', **argument}))


def test_the_tiny_pair_is_read_exactly(pair, case):
    assert same(read_keras_pair(build_network(tiny(case)), pair), case.state())


def test_one_network_alone(pair, case):
    net = build_network(tiny(case)['synthesis'])
    expected = {k.removeprefix('synthesis.'): v for k, v in case.state().items() if k.startswith('synthesis.')}
    assert same(read_keras_pair(net, pair[1:]), expected)


def copy_into(source: Path, group) -> None:
    with h5py.File(source) as file:
        for key in file:
            file.copy(key, group)
        for key, value in file.attrs.items():
            group.attrs[key] = value


def test_whole_models_split_names_and_both_networks_in_one_file(pair, case, tmp_path):
    """The three other forms in which Keras writes the same weights."""
    net = build_network(tiny(case))
    with h5py.File(tmp_path / 'model.h5', 'w') as file:
        group = file.create_group('model_weights')
        copy_into(pair[0], group)
        names = [name.encode() for name in group.attrs['layer_names']]
        del group.attrs['layer_names']
        group.attrs['layer_names0'], group.attrs['layer_names1'] = names[:20], names[20:]
    assert same(read_keras_pair(net, [tmp_path / 'model.h5', pair[1]]), case.state())
    with h5py.File(tmp_path / 'both.h5', 'w') as file:
        file.attrs['layer_names'] = ['input', 'model_1', 'model_2']
        file.create_group('input').attrs['weight_names'] = np.zeros(0)
        for name, source in zip(('model_1', 'model_2'), pair, strict=True):
            group = file.create_group(name)
            with h5py.File(source) as old:
                weights = [
                    (layer, weight) for layer in old.attrs['layer_names'] for weight in old[layer].attrs['weight_names']
                ]
                for layer, weight in weights:
                    group.create_dataset(weight, data=old[layer][weight][()])
            group.attrs['weight_names'] = [weight for _, weight in weights]
    assert same(read_keras_pair(net, [tmp_path / 'both.h5']), case.state())


def test_other_files_are_refused(pair, case, tmp_path):
    net = build_network(tiny(case))
    before = {key: value.clone() for key, value in net.state_dict().items()}

    def refused(message: str, *paths: Path) -> None:
        with pytest.raises(WeightsError, match=message):
            read_keras_pair(net, paths)

    refused(r'weight 1, dense/kernel:0, is \(441, 6\), but analysis\.down\.0\.weight .* is \(1, 1, 5, 5\)', *pair[::-1])
    refused('66 weights, but AnalysisSynthesisNet has 325; .* a file is missing', pair[0])
    refused('391 weights', pair[0], pair[1], pair[0])
    refused('does not exist', tmp_path / 'gone.h5')
    refused('is a folder', tmp_path)
    (tmp_path / 'text.h5').write_text('no HDF5')
    refused('is not an HDF5 file, or is damaged', tmp_path / 'text.h5')
    (tmp_path / 'short.h5').write_bytes(pair[0].read_bytes()[:50_000])
    refused('damaged', tmp_path / 'short.h5')
    with h5py.File(tmp_path / 'other.h5', 'w') as file:
        file['x'] = 1
    refused("no attribute 'layer_names'", tmp_path / 'other.h5')
    with pytest.raises(ArgumentError, match=r'PlainUNet .*Keras'):
        read_keras_pair(build_network({'type': 'PlainUNet'}), pair)
    with torch.device('meta'):
        published = build_network({'type': 'AnalysisSynthesisNet'})
    with pytest.raises(WeightsError, match=r'conv2d_18/kernel:0, is \(3, 3, 1, 6\).*encoder\.3\.convs\.0\.weight'):
        read_keras_pair(published, pair)
    assert same(net.state_dict(), before)


def changed(pair: list[Path], path: Path, change) -> list[Path]:
    with h5py.File(path, 'w') as file:
        copy_into(pair[0], file)
        change(file)
    return [path, pair[1]]


def test_files_with_wrong_or_foreign_parts_are_refused(pair, case, tmp_path):
    net, name = build_network(tiny(case)), 'conv2d_5'

    def gone(file) -> None:
        del file[name]

    def elsewhere(file) -> None:
        del file[name]
        file[name] = h5py.ExternalLink(str(pair[0]), name)

    def soft(file) -> None:
        del file[f'{name}/{name}/bias:0']
        file[f'{name}/{name}/bias:0'] = h5py.SoftLink('/conv2d_11/conv2d_11/bias:0')

    def no_array(file) -> None:
        del file[f'{name}/{name}/bias:0']
        file.create_group(f'{name}/{name}/bias:0')

    def external(file) -> None:
        del file[f'{name}/{name}/bias:0']
        file[name][name].create_dataset('bias:0', (1,), 'f4', external=[(str(tmp_path / 'raw'), 0, 4)])

    def virtual(file) -> None:
        del file[f'{name}/{name}/bias:0']
        layout = h5py.VirtualLayout((1,), 'f4')
        layout[:] = h5py.VirtualSource(str(pair[0]), f'{name}/{name}/bias:0', (1,))
        file[name][name].create_virtual_dataset('bias:0', layout)

    def bomb(file) -> None:
        file['conv2d_5/conv2d_5'].create_dataset('bomb', (10**5, 10**4), 'f4', chunks=(1000, 1000))
        file[name].attrs['weight_names'] = [f'{name}/bomb']

    def integers(file) -> None:
        del file[f'{name}/{name}/bias:0']
        file[f'{name}/{name}/bias:0'] = np.zeros(1, int)

    def swapped(file) -> None:
        names = list(file.attrs['layer_names'])
        first, second = names.index('conv2d_18'), names.index('conv2d_19')
        names[first], names[second] = names[second], names[first]
        file.attrs['layer_names'] = names

    (tmp_path / 'raw').write_bytes(b'abcd')
    for number, (change, message) in enumerate(
        (
            (gone, f'{name} '),
            (elsewhere, f'{name} .*link'),
            (soft, 'bias:0 .*link'),
            (no_array, 'array'),
            (external, 'array'),
            (virtual, 'array'),
            (integers, 'bias:0 .*int64'),
            (swapped, r'weight 7, conv2d_19/kernel:0'),
        )
    ):
        with pytest.raises(WeightsError, match=message):
            read_keras_pair(net, changed(pair, tmp_path / f'{number}.h5', change))

    (path, _) = changed(pair, tmp_path / 'bomb.h5', bomb)
    with KerasFile(path) as file:
        found = next(weight for weight in file.weights() if weight.name.endswith('bomb'))
        with pytest.raises(WeightsError, match=rf'bomb\.h5: {name}/bomb .*damaged.*4000000000'):
            found.tensor()


@pytest.mark.usefixtures('pair')
def test_damaged_files_are_read_or_raise_our_error(tmp_path):
    path, draw = tmp_path / 'damaged.h5', random.Random(0)
    with h5py.File(path, 'w') as file:
        file.attrs['layer_names'] = [f'dense_{index}' for index in range(5)]
        for name in file.attrs['layer_names']:
            file.create_group(name).attrs['weight_names'] = ['w']
            file[f'{name}/w'] = np.zeros((2, 3), np.float32)
    content, refused = path.read_bytes(), 0
    for trial in range(150):
        damaged, place = bytearray(content), draw.randrange(len(content))
        if trial % 3 == 0:
            damaged[place : place + 500] = bytes(len(damaged[place : place + 500]))
        elif trial % 3 == 1:
            damaged[place] ^= 1 << draw.randrange(8)
        else:  # lengths in the first part, with the names
            place = 4 * draw.randrange(len(content) // 4)
            damaged[place : place + 4] = b'\xff\xff\xff\xff'
        path.write_bytes(damaged)
        try:
            with KerasFile(path) as file:
                for weight in file.weights():
                    weight.tensor()
        except WeightsError as error:
            assert 'damaged.h5' in str(error), error
            refused += 1
    assert 20 < refused < 150


@pytest.mark.skipif(sys.platform != 'linux', reason='the limit of memory is that of Linux')
def test_lengths_of_names_that_lie_take_no_memory(tmp_path):
    path = tmp_path / 'names.h5'
    with h5py.File(path, 'w') as file:
        file.attrs['layer_names'] = ['dense'] * 3  # texts with a length each
        file.create_group('dense').attrs['weight_names'] = ['dense/w']
        file['dense/dense/w'] = np.zeros((2, 3), np.float32)
    content = bytearray(path.read_bytes())
    heap = struct.pack('<Q', content.index(b'GCOL'))
    lengths = {struct.pack('<I', len(text)) for text in ('dense', 'dense/w')}
    places = [place for place in range(len(content)) if content[place + 4 : place + 12] == heap]
    places = [place for place in places if bytes(content[place : place + 4]) in lengths]
    assert len(places) >= 4
    for place in places:
        content[place : place + 4] = struct.pack('<I', 0xFFFFFFF0)
    path.write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(WeightsError, match=r'names\.h5 is damaged'), KerasFile(path) as file:
        file.weights()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KiB
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY


def test_numbers_in_names_mean_nothing(pair, case, tmp_path):
    """Another program run counts on from other numbers."""

    def rename(file) -> None:
        names = list(file.attrs['layer_names'])
        for index, name in enumerate(names):
            file.move(name, f'temporary_{index}')
        for index in range(len(names)):
            file.move(f'temporary_{index}', f'layer_{len(names) - index}')
        file.attrs['layer_names'] = [f'layer_{len(names) - index}' for index in range(len(names))]

    files = changed(pair, tmp_path / 'renamed.h5', rename)
    assert same(read_keras_pair(build_network(tiny(case)), files), case.state())


def run(*arguments: str | Path, cwd: Path, code: str = '') -> subprocess.CompletedProcess[str]:
    script = [str(ROOT / 'scripts/convert_checkpoint.py')]
    start = [
        '-c',
        f'import runpy, sys; {code}; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name="__main__")',
    ]
    command = [sys.executable, *(start if code else []), *script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


@pytest.fixture
def options(case, tmp_path) -> Path:
    block = {
        'name': 'tiny',
        'network_g': tiny(case),
        'datasets': {'test': {'name': 'a', 'type': 'SyntheticBlurDataset'}},
    }
    path = tmp_path / 'tiny.yml'
    path.write_text(yaml.safe_dump(block))
    return path


@pytest.mark.slow
def test_the_command_writes_a_checkpoint_of_ours(pair, case, options, tmp_path):
    arguments = ['--input', *pair, '--output', tmp_path / 'new' / 'pair.pth', '-opt', options]
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert 'AnalysisSynthesisNet, ' in done.stdout
    weights = read_weights(tmp_path / 'new' / 'pair.pth')
    assert same(weights.state, case.state())
    net = build_network(weights.network)
    load_weights(net, weights)
    again = run(*arguments, cwd=tmp_path)
    assert again.returncode == 1 and 'new/pair.pth' in again.stderr


@pytest.mark.slow
def test_the_command_says_what_is_wrong(pair, options, tmp_path):
    for arguments, message, code in (
        (['--input', *pair, '--output', 'x.pth'], 'topology', ''),
        (['--input', 'a.bin', '--output', 'x.pth'], '--layout', ''),
        (
            ['--input', *pair, '--output', 'x.pth', '-opt', options],
            'h5py',
            'sys.modules["h5py"] = None',
        ),
    ):
        done = run(*arguments, cwd=tmp_path, code=code)
        assert done.returncode == 1 and message in done.stderr and 'Traceback' not in done.stderr, done.stderr
        assert not (tmp_path / 'x.pth').exists()


@pytest.fixture
def script(monkeypatch, tmp_path) -> Script:
    require('h5py')
    return Script('convert_checkpoint.py', monkeypatch, tmp_path)


NETWORKS = {
    'NAFNet': {'type': 'NAFNet', 'width': 4, 'enc_blk_nums': [1], 'dec_blk_nums': [1], 'middle_blk_num': 0},
    'SegNAFNet': {'type': 'SegNAFNet', 'width': 4, 'seg_channel': 2, 'mask_value': PUBLISHED_MASK_VALUE},
    'LaKDNet': {'type': 'LaKDNet', 'dim': 2, 'num_blocks': [1, 1, 1, 1]},
    'RSST': {'type': 'RSST', 'base_channel': 4, 'win_size': [2, 4], 'trans_type': 'rsst', 'depths': [1] * 8},
}
LAYOUTS = {
    'NAFNet': lambda state: {'params': state},
    'SegNAFNet': lambda state: {'params': state},
    'LaKDNet': lambda state: state,
    'RSST': lambda state: {'model': {f'module.{key}': value for key, value in state.items()}, 'best_psnr': 30.0},
}


@pytest.mark.slow
@pytest.mark.parametrize('name', NETWORKS)
def test_published_files_become_ours_and_theirs_again(name, script, tmp_path):
    """Published → ours → .safetensors → published: every step keeps every bit, and names the network."""
    state = build_network(NETWORKS[name]).state_dict()
    torch.save(LAYOUTS[name](state), tmp_path / 'theirs.pth')
    script('--input', 'theirs.pth', '--output', 'ours.pth')
    script('--input', 'ours.pth', '--output', 'ours.safetensors')
    script('--input', 'ours.safetensors', '--to', 'published', '--output', 'again.pth')
    for file in ('ours.pth', 'ours.safetensors'):
        weights = read_weights(tmp_path / file)
        assert same(weights.state, state)
        assert weights.mask_value == NETWORKS[name].get('mask_value')
        net = build_network(weights.network)
        load_weights(net, weights)
        assert type(net).__name__ == name and same(net.state_dict(), state)
    again = torch.load(tmp_path / 'again.pth', weights_only=True)
    expected = LAYOUTS[name](state)
    inner = {'RSST': 'model', 'LaKDNet': None}.get(name, 'params')
    assert same(again[inner] if inner else again, expected[inner] if inner else expected)
    assert list(again[inner] if inner else again) == list(expected[inner] if inner else expected)
    assert set(again) - {inner} == (
        {
            'best_monitored_value',
            'best_psnr',
            'best_ssim',
            'best_monitored_iteration',
            'best_monitored_epoch',
            'best_monitored_epoch_step',
        }
        if name == 'RSST'
        else set(again if inner is None else ())
    )


@pytest.mark.slow
def test_a_pair_goes_back_to_keras(pair, case, options, script, tmp_path):
    script('--input', *map(str, pair), '--output', 'pair.pth', '-opt', str(options))
    script('--input', 'pair.pth', '--to', 'published', '--output', 'a/analysis.h5', 'a/synthesis.h5')
    files = [tmp_path / 'a' / 'analysis.h5', tmp_path / 'a' / 'synthesis.h5']
    assert same(read_keras_pair(build_network(tiny(case)), files), case.state())
    for ours, theirs in zip(files, pair, strict=True):  # and in the form that Keras reads
        with h5py.File(ours) as mine, h5py.File(theirs) as original:
            shapes = [
                [
                    file[layer][name].shape
                    for layer in file.attrs['layer_names']
                    for name in file[layer].attrs['weight_names']
                ]
                for file in (mine, original)
            ]
            assert shapes[0] == shapes[1]


def test_halves_and_averages(script, tmp_path):
    net = build_network(NETWORKS['NAFNet'])
    averages = {key: value * 3 for key, value in net.state_dict().items()}
    save_weights(tmp_path / 'net.pth', net, params_ema=averages)
    script('--input', 'net.pth', '--ema', '--half', '--output', 'half.safetensors')
    weights = read_weights(tmp_path / 'half.safetensors', 'params_ema')
    assert same(weights.state, {key: value.half() for key, value in averages.items()})
    other = build_network(weights.network)
    load_weights(other, weights)
    assert other.intro.weight.dtype == torch.float32
    assert torch.equal(other.intro.weight, averages['intro.weight'].half().float())
    save_weights(tmp_path / 'plain.safetensors', net)
    with pytest.raises(WeightsError, match=r'plain\.safetensors .*params_ema'):
        read_weights(tmp_path / 'plain.safetensors', 'params_ema')


@pytest.mark.parametrize('name', ['NAFNet', 'SegNAFNet'])
def test_a_network_adds_less_to_its_input(name, script, tmp_path):
    net = build_network(NETWORKS[name]).eval()
    torch.nn.init.normal_(net.ending.bias)
    save_weights(tmp_path / 'net.pth', net)
    script('--input', 'net.pth', '--strength', '0.6', '--output', 'careful.pth')
    weights = read_weights(tmp_path / 'careful.pth')
    careful = build_network(weights.network).eval()
    load_weights(careful, weights)
    lq = torch.rand(1, 3, 24, 40)
    more = (torch.randint(0, 4, (1, 1, 24, 40)),) if name == 'SegNAFNet' else ()
    with torch.no_grad():
        full, less = net(lq, *more) - lq, careful(lq, *more) - lq
    assert full.abs().max() > 0.01
    torch.testing.assert_close(less, 0.6 * full, rtol=0, atol=1e-6)


def test_what_cannot_be_converted(script, tmp_path):
    net = build_network(NETWORKS['SegNAFNet'])
    save_weights('ours.pth', net)
    save_weights('paper.pth', build_network({**NETWORKS['SegNAFNet'], 'mask_value': 1.0}))
    save_weights('unet.pth', build_network({'type': 'PlainUNet', 'width': 2}))
    large = build_network(NETWORKS['NAFNet'])
    torch.nn.init.constant_(large.intro.bias, 1e6)
    save_weights('large.pth', large)
    save_weights('net.safetensors', net)
    Path('cut.safetensors').write_bytes(Path('net.safetensors').read_bytes()[:900])
    Path('text.safetensors').write_text('no tensors')
    torch.save({'params': {'other.weight': torch.ones(2)}}, 'other.pth')
    torch.save({'params': net.state_dict(), 'extra': Payload(str(tmp_path / 'made'))}, 'evil.pth')
    torch.save({'params': net.state_dict(), 'network_g': {**NETWORKS['NAFNet'], 'width': 10**9}}, 'wide.pth')
    Path('there.pth').write_text('mine')
    for arguments, message in (
        (['--input', 'ours.pth', '--output', 'x.onnx'], r'\.pth'),
        (['--input', 'ours.pth', '--output', 'there.pth'], r'there\.pth'),
        (['--input', 'ours.pth', '--output', 'x.h5'], '--to published'),
        (['--input', 'ours.pth', '--output', 'x.safetensors', '--to', 'published'], r'published .*\.safetensors'),
        (['--input', 'ours.pth', '--output', 'x.pth', 'y.pth'], r'y\.pth: '),
        (['--input', 'ours.pth', 'unet.pth', '--output', 'x.pth'], r'ours\.pth.*unet\.pth'),
        (['--input', 'paper.pth', '--output', 'x.pth', '--to', 'published'], '1/255'),
        (['--input', 'unet.pth', '--output', 'x.pth', '--to', 'published'], 'PlainUNet .*published'),
        (['--input', 'unet.pth', '--output', 'x.h5', '--to', 'published'], 'PlainUNet .*Keras'),
        (['--input', 'ours.pth', '--output', 'x.pth', '--ema'], r"ours\.pth .*'params_ema'"),
        (['--input', 'gone.pth', '--output', 'x.pth'], r'gone\.pth '),
        (['--input', 'gone.safetensors', '--output', 'x.pth'], r'gone\.safetensors '),
        (
            ['--input', 'cut.safetensors', '--output', 'x.pth'],
            r'cut\.safetensors .*damaged',
        ),
        (['--input', 'text.safetensors', '--output', 'x.pth'], r'text\.safetensors .*safetensors'),
        (['--input', 'other.pth', '--output', 'x.pth'], r'other\.pth: .*other\.weight'),
        (['--input', 'wide.pth', '--output', 'x.pth'], r'wide\.pth: .*network'),
        (['--input', 'evil.pth', '--output', 'x.pth'], r'evil\.pth .*pickled'),
        (['--input', 'ours.pth', '--output', 'x.pth', '--strength', '0'], '--strength .*0'),
        (['--input', 'unet.pth', '--output', 'x.pth', '--strength', '0.5'], '--strength .*NAFNet'),
        (
            ['--input', 'large.pth', '--output', 'x.pth', '--half'],
            r'intro\.bias .*float16',
        ),
    ):
        with pytest.raises(BasicsrError, match=message):
            script(*arguments)
        assert not [path for path in tmp_path.iterdir() if path.name.startswith(('x.', 'y.', '.'))], arguments
    assert not (tmp_path / 'made').exists()
    assert Path('there.pth').read_text() == 'mine'


def test_an_unwritable_place_is_named(script, tmp_path):
    save_weights('ours.pth', build_network(NETWORKS['NAFNet']))
    Path('file').write_text('in the way')
    with pytest.raises(OSError):
        script('--input', 'ours.pth', '--output', 'file/net.safetensors')
    if os.name == 'posix' and os.geteuid() != 0:
        Path('locked').mkdir(mode=0o555)
        with pytest.raises(PermissionError):
            script('--input', 'ours.pth', '--output', 'locked/net.safetensors')


def test_a_header_without_metadata_or_with_strange_ones(script, tmp_path):
    """Files of other projects say nothing; damaged ones say something that cannot be."""
    net = build_network(NETWORKS['SegNAFNet'])
    from safetensors.torch import save_file as save

    save(net.state_dict(), 'bare.safetensors')
    script('--input', 'bare.safetensors', '--output', 'named.pth')
    weights = read_weights('named.pth')
    assert weights.network['type'] == 'SegNAFNet' and weights.mask_value == PUBLISHED_MASK_VALUE
    assert same(weights.state, net.state_dict())
    save(net.state_dict(), 'strange.safetensors', {'network_g': '[1, 2]'})
    with pytest.raises(WeightsError, match=r'strange\.safetensors.*network_g'):
        read_weights('strange.safetensors')
    save(net.state_dict(), 'heavy.safetensors', {'mask_value': '7'})
    with pytest.raises(WeightsError, match=r'heavy\.safetensors.*mask_value .*7'):
        read_weights('heavy.safetensors')


def test_option_files_take_safetensors(tmp_path):
    """Everything that reads network files reads these: here a model with ``path.pretrain_network_g``."""
    net = build_network(NETWORKS['NAFNet'])
    save_weights(tmp_path / 'net.safetensors', net)
    block = {
        'name': 'x',
        'network_g': NETWORKS['NAFNet'],
        'path': {'pretrain_network_g': str(tmp_path / 'net.safetensors')},
        'datasets': {'test': {'name': 'a', 'type': 'SyntheticBlurDataset'}},
    }
    (tmp_path / 'x.yml').write_text(yaml.safe_dump(block))
    model = build_model(load_options(tmp_path / 'x.yml'))
    assert same(model.net.state_dict(), net.state_dict())
