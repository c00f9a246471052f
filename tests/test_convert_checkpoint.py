"""Files of Keras become ours: the order of their weights, what is refused, and the command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from basicsr.archs import build_network
from basicsr.archs.keras_order import keras_order, read_keras_pair
from basicsr.utils.errors import ArgumentError, WeightsError
from basicsr.utils.weights import load_weights, read_weights
from tests.conftest import ROOT, Vector, absent, find_vector
from tests.test_analysis_synthesis import TOPIC

pytestmark = pytest.mark.vectors

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
            with pytest.raises(WeightsError, match='scale and shift after convolutions only'):
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

    refused(r'weight 1, dense/kernel:0, is \(441, 6\).*has analysis\.down\.0\.weight of \(1, 1, 5, 5\)', *pair[::-1])
    refused('66 weights, AnalysisSynthesisNet has 325; .* a file is missing', pair[0])
    refused('391 weights', pair[0], pair[1], pair[0])
    refused('does not exist', tmp_path / 'gone.h5')
    refused('is a folder', tmp_path)
    (tmp_path / 'text.h5').write_text('no HDF5')
    refused('is no HDF5 file, or it is damaged', tmp_path / 'text.h5')
    (tmp_path / 'short.h5').write_bytes(pair[0].read_bytes()[:50_000])
    refused('damaged', tmp_path / 'short.h5')
    with h5py.File(tmp_path / 'other.h5', 'w') as file:
        file['x'] = 1
    refused("no attribute 'layer_names'", tmp_path / 'other.h5')
    with pytest.raises(ArgumentError, match='PlainUNet has no files of Keras'):
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
            (gone, f'{name} is missing'),
            (elsewhere, f'{name} is a link; only weights inside the file'),
            (soft, 'bias:0 is a link'),
            (no_array, 'is no array inside this file'),
            (external, 'is no array inside this file'),
            (integers, 'bias:0 holds int64, not floating-point'),
            (swapped, r'weight 7, conv2d_19/kernel:0'),
        )
    ):
        with pytest.raises(WeightsError, match=message):
            read_keras_pair(net, changed(pair, tmp_path / f'{number}.h5', change))


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
    assert again.returncode == 1 and 'exists already' in again.stderr


def test_the_command_says_what_is_wrong(pair, options, tmp_path):
    for arguments, message, code in (
        (['--input', *pair, '--output', 'x.pth'], 'is of another topology', ''),
        (['--input', 'a.bin', '--output', 'x.pth'], 'not known what this is; name it with --layout', ''),
        (
            ['--input', *pair, '--output', 'x.pth', '-opt', options],
            'python -m pip install h5py',
            'sys.modules["h5py"] = None',
        ),
    ):
        done = run(*arguments, cwd=tmp_path, code=code)
        assert done.returncode == 1 and message in done.stderr and 'Traceback' not in done.stderr, done.stderr
        assert not (tmp_path / 'x.pth').exists()
