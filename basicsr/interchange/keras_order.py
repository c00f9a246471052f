"""Read and write the weights of the published Keras pair, in the order in which Keras lists the layers of a graph.

The depth of a layer is the length of the longest path from it to the output, including layers without weights. Keras
lists the deepest layers first. Layers of equal depth are in the order of a depth-first search from the output that
follows the inputs of each layer from left to right. A graph here maps each layer to its inputs. Layers with weights
have the names of their parameters in our networks; names of other layers start with ``#``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from graphlib import TopologicalSorter
from pathlib import Path

from torch import Tensor, nn

from basicsr.archs.analysis_arch import AnalysisNet
from basicsr.archs.analysis_synthesis_arch import AnalysisSynthesisNet
from basicsr.archs.synthesis_arch import SynthesisNet
from basicsr.interchange.keras_files import KerasFile, in_keras, write_keras_file
from basicsr.utils.errors import ArgumentError, WeightsError

Graph = dict[str, list[str]]


def read_keras_pair(net: nn.Module, paths: Sequence[Path]) -> dict[str, Tensor]:
    """Read the parameters of a network from files of Keras, by position. All shapes are checked first.

    Args:
        net: an AnalysisNet, a SynthesisNet, or an AnalysisSynthesisNet; not modified.
        paths: its file; for the pair, the analysis file and the synthesis file, or a file with both.

    Returns:
        a state dict for ``net``.

    Raises:
        WeightsError: a file is missing, damaged, or has a different topology.
        ArgumentError: the network is of a different type.
    """
    keys = [key for part in _orders(net) for key in part]
    own = net.state_dict()
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(KerasFile(path)) for path in paths]
        found = [(file.path, weight) for file in files for weight in file.weights()]
        for position, (key, (path, weight)) in enumerate(zip(keys, found, strict=False), 1):
            found_shape, expected = weight.data.shape, tuple(in_keras(own[key]).shape)
            if found_shape != expected:
                raise WeightsError(
                    f'{path}: weight {position}, {weight.name}, is {found_shape}, but {key} of {type(net).__name__} '
                    f'is {tuple(own[key].shape)} (Keras: {expected}). The topology differs: pass its option file with '
                    '-opt, or the files in the order analysis, synthesis'
                )
        if len(found) != len(keys):
            names = ', '.join(str(path) for path in paths)
            raise WeightsError(
                f'{names}: {len(found)} weights, but {type(net).__name__} has {len(keys)}; the topology differs, or a '
                'file is missing'
            )
        return {key: weight.tensor() for key, (_, weight) in zip(keys, found, strict=True)}


def write_keras_pair(net: nn.Module, state: Mapping[str, Tensor], paths: Sequence[Path]) -> None:
    """Write parameters by position, as Keras reads them, with one file per network.

    Args:
        net: an AnalysisNet, a SynthesisNet, or an AnalysisSynthesisNet; may be on the meta device.
        state: its parameters.
        paths: new files; for the pair, the analysis file and the synthesis file.

    Raises:
        WeightsError: the numbers of files and networks differ, or h5py is not installed.
        ArgumentError: the network is of a different type.
        OSError: a file cannot be written.
    """
    orders = _orders(net)
    if len(paths) != len(orders):
        raise WeightsError(
            f'{type(net).__name__} needs {len(orders)} Keras files'
            f'{" (analysis, then synthesis)" if len(orders) > 1 else ""}, got {len(paths)} names'
        )
    for path, keys in zip(paths, orders, strict=True):
        write_keras_file(path, [(key, state[key]) for key in keys])


def _orders(net: nn.Module) -> list[list[str]]:
    """Return the keys of the state dict in the order of each file of Keras."""
    parts: list[tuple[str, nn.Module]] = [('', net)]
    if isinstance(net, AnalysisSynthesisNet):
        parts = [('analysis.', net.analysis), ('synthesis.', net.synthesis)]
    orders = []
    for prefix, part in parts:
        if not isinstance(part, (AnalysisNet, SynthesisNet)):
            raise ArgumentError(f'{type(part).__name__} has no Keras files; AnalysisSynthesisNet has')
        orders.append([prefix + key for key in keras_order(part)])
    return orders


def keras_order(net: AnalysisNet | SynthesisNet) -> list[str]:
    """Return the keys of the network's state dict in the order of a Keras weight file.

    Raises:
        WeightsError: the order of this configuration is not known.
    """
    if isinstance(net, SynthesisNet) and not (len(net.mid.mul) and len(net.mid.add) and not net.mid.guide_before):
        raise WeightsError(
            'Keras files are supported only for synthesis networks that scale and shift after convolutions'
        )
    graph, output = analysis_graph(net) if isinstance(net, AnalysisNet) else synthesis_graph(net)
    state = net.state_dict()
    order = [
        key
        for layer in sorted_layers(graph, output)
        for key in (layer, f'{layer}.weight', f'{layer}.bias')
        if key in state
    ]
    if sorted(order) != sorted(state):  # protects from loading weights into the wrong layers
        raise WeightsError(f'the order of the weights of this {type(net).__name__} in Keras files is not known')
    return order


def sorted_layers(graph: Graph, output: str) -> list[str]:
    """Sort the layers from the deepest one to the output."""
    met: dict[str, int] = {}
    waiting = [output]
    while waiting:
        layer = waiting.pop()
        if layer not in met:
            met[layer] = len(met)
            waiting += reversed(graph[layer])
    depth = dict.fromkeys(met, 0)
    for layer in reversed([*TopologicalSorter({layer: graph[layer] for layer in met}).static_order()]):
        for source in graph[layer]:
            depth[source] = max(depth[source], depth[layer] + 1)
    return sorted(met, key=lambda layer: (-depth[layer], met[layer]))


def analysis_graph(net: AnalysisNet) -> tuple[Graph, str]:
    """Return the graph of the original's analysis network, and its last layer."""
    graph: Graph = {'#image': [], '#gray': ['#image'], '#standardize': ['#gray']}

    def chain(source: str, *layers: str) -> str:
        for layer in layers:
            graph[layer], source = [source], layer
        return source

    level_input, found = '#standardize', []
    for index, level in enumerate(net.encoder):
        place = f'encoder.{index}'
        convs = [f'{place}.convs.{k}' for k in range(len(level.convs))]  # type: ignore[arg-type]
        found.append(chain(level_input, *convs, f'{place}.reduce', f'#correlation{index}', f'{place}.after_cc'))
        if index < len(net.down):
            level_input = chain(level_input, f'down.{index}')
    last = found[-1]
    for index in reversed(range(len(net.decoder))):
        up = chain(last, f'decoder.{index}.up', f'#crop{index}')
        graph[f'#concatenate{index}'] = [found[index], up]
        last = chain(f'#concatenate{index}', f'decoder.{index}.merge')
    head = [f'head.{k}' for k in range(len(net.head))]
    return graph, chain(last, *head, 'out', '#reshape', '#normalization')


def synthesis_graph(net: SynthesisNet) -> tuple[Graph, str]:
    """Return the graph of the original's synthesis network, and its last layer."""
    graph: Graph = {'#image': [], '#kernel': [], '#flatten': ['#kernel']}

    def block(source: str, place: str, size: int, dense: int) -> str:
        guidance = '#flatten'
        for k in range(dense):
            graph[f'{place}.fc.{k}'], guidance = [guidance], f'{place}.fc.{k}'
        for k in range(size):
            names = {name: f'{place}.{name}.{k}' for name in ('mul', 'mul_bias', 'convs', 'add')}
            marks = {name: f'#{place}.{name}.{k}' for name in ('shape_m', 'shape_a', 'multiply', 'sum', 'relu')}
            graph[names['mul']] = graph[names['add']] = [guidance]
            graph[marks['shape_m']], graph[marks['shape_a']] = [names['mul']], [names['add']]
            graph[names['mul_bias']] = [marks['shape_m']]
            graph[names['convs']] = [source]
            graph[marks['multiply']] = [names['mul_bias'], names['convs']]
            graph[marks['sum']] = [marks['multiply'], marks['shape_a']]
            graph[marks['relu']] = [marks['sum']]
            source = marks['relu']
        return source

    size, dense = len(net.mid.convs), len(net.mid.fc)
    x, skips = '#image', []
    for i in range(len(net.enc)):
        skips.append(block(x, f'enc.{i}', size, dense))
        graph[f'down.{i}'], x = [skips[-1]], f'down.{i}'
    x = block(x, 'mid', size, dense)
    for i in reversed(range(len(net.dec))):
        up, skip, fuse = (f'dec.{i}.{name}' for name in ('up', 'skip', 'fuse'))
        graph[up], graph[skip] = [x], [skips[i]]
        graph[f'#concatenate{i}'] = [up, skip]
        graph[fuse] = [f'#concatenate{i}']
        x = block(fuse, f'dec.{i}.block', size, dense)
    graph['out'] = [x]
    return graph, 'out'
