"""Read and write weight files of Keras (HDF5) by position, as Keras itself does."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from basicsr.utils.errors import WeightsError
from basicsr.utils.files import write_whole

_SMALL = 2**22  # bytes of an array that may be in the file in any form
_FREE = 2**28  # bytes that HDF5 may take beside the content of a file
_COMPRESSED = 20  # times that larger arrays may be smaller in the file


@dataclass(frozen=True)
class KerasWeight:
    """One entry of a file. Its numbers are read by :meth:`tensor`.

    Args:
        name: layer and weight, for messages: ``conv2d_5/kernel:0``. Its number depends on the program run that wrote
            the file.
        data: the HDF5 data set.
        file: of the weight.
    """

    name: str
    data: Any
    file: Path

    def tensor(self) -> Tensor:
        """Read the numbers as float32, with the axes of PyTorch.

        Convolutions and transposed convolutions (kh, kw, a, b) become (b, a, kh, kw); matrices are transposed.

        Raises:
            WeightsError: the entry has other types than floats, or cannot be read, or is much larger than its part of
                the file.
        """
        if self.data.dtype.kind != 'f':
            raise WeightsError(f'{self.file}: {self.name} contains {self.data.dtype}, not floating-point numbers')
        try:
            stored, size = self.data.id.get_storage_size(), self.data.nbytes
            if size > max(_SMALL, _COMPRESSED * stored):
                raise ValueError(f'{stored} bytes become {size}')
            with _limited_memory(4 * size):
                values = torch.from_numpy(self.data[()].astype('float32'))
        except Exception as error:  # h5py raises errors of many types
            raise WeightsError(f'{self.file}: {self.name} cannot be read; the file is damaged ({error})') from error
        return values.permute(3, 2, 0, 1).contiguous() if values.dim() == 4 else in_keras(values).contiguous()


def in_keras(value: Tensor) -> Tensor:
    """Return a view of a parameter with the axes of Keras, the reverse of :meth:`KerasWeight.tensor`."""
    return value.permute(2, 3, 1, 0) if value.dim() == 4 else value.permute(*reversed(range(value.dim())))


class KerasFile(AbstractContextManager['KerasFile']):
    """An open weight file: ``with KerasFile(path) as file: file.weights()``. Code in it is not executed.

    Args:
        path: HDF5 file of ``save_weights``, or of a whole model.

    Raises:
        WeightsError: the file is missing, damaged, or not a weight file of Keras; or h5py is not installed.
    """

    def __init__(self, path: Path) -> None:
        h5py = _package(path, 'reading')
        self._h5py, self.path = h5py, path
        if not path.is_file():
            raise WeightsError(f'{path} ' + ('is a folder, not a weight file' if path.is_dir() else 'does not exist'))
        try:
            with _limited_memory(path.stat().st_size):
                self._file = h5py.File(path, 'r')
        except Exception as error:
            raise WeightsError(f'{path} is not an HDF5 file, or is damaged ({error})') from error

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def weights(self) -> list[KerasWeight]:
        """List all weights, layer by layer.

        Raises:
            WeightsError: attributes of Keras are missing, or the file links to other files.
        """
        try:
            with _limited_memory(self.path.stat().st_size):
                return list(self._walk())
        except WeightsError:
            raise
        except Exception as error:  # h5py raises errors of many types
            raise WeightsError(f'{self.path} is damaged ({error})') from error

    def _walk(self) -> Iterator[KerasWeight]:
        root = self._member(self._file, 'model_weights') if 'model_weights' in self._file else self._file
        layers = self._names(root, 'layer_names')
        if layers is None:
            raise WeightsError(f"{self.path} is not a Keras weight file: it has no attribute 'layer_names'")
        for layer in layers:
            group = self._member(root, layer)
            for name in self._names(group, 'weight_names') or []:
                data = self._member(group, name)
                if not isinstance(data, self._h5py.Dataset) or data.external or data.is_virtual:
                    raise WeightsError(f'{self.path}: {layer}/{name} is not an array in this file')
                yield KerasWeight(name, data, self.path)

    def _member(self, group: Any, name: str) -> Any:
        """Return a part of the file. Links to other files are refused."""
        if not isinstance(group, self._h5py.Group):
            raise WeightsError(f'{self.path}: {group.name} is not a group')
        here = group
        for part in name.split('/'):
            link = here.get(part, getlink=True) if isinstance(here, self._h5py.Group) and part in here else None
            if not isinstance(link, self._h5py.HardLink):
                missing = 'is missing' if link is None else 'is a link; only weights in the file itself are read'
                raise WeightsError(f'{self.path}: {group.name.rstrip("/")}/{name} {missing}')
            here = here[part]
        return here

    @staticmethod
    def _names(group: Any, attribute: str) -> list[str] | None:
        """Return a list of names. Keras splits long lists into ``<attribute>0``, ``<attribute>1``, ..."""
        if attribute in group.attrs:
            pieces = [group.attrs[attribute]]
        else:
            pieces = []
            while f'{attribute}{len(pieces)}' in group.attrs:
                pieces.append(group.attrs[f'{attribute}{len(pieces)}'])
            if not pieces:
                return None
        return [name.decode() if isinstance(name, bytes) else str(name) for piece in pieces for name in piece]


@contextlib.contextmanager
def _limited_memory(expected: int) -> Iterator[None]:
    """Make allocations of much more memory fail, on Linux: HDF5 believes the lengths of texts that a file states."""
    try:
        import resource

        now = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
    except (ImportError, OSError):
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    allowed = now + expected + _FREE
    if before[0] != resource.RLIM_INFINITY:
        allowed = min(allowed, before[0])
    resource.setrlimit(resource.RLIMIT_AS, (allowed, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def write_keras_file(path: Path, weights: Sequence[tuple[str, Tensor]]) -> None:
    """Write weights that Keras can load into a network of the same topology, complete or not at all.

    Args:
        path: its folder must exist.
        weights: our parameter names and tensors, in the order of Keras, layer by layer. The axes are changed to those
            of Keras, the reverse of :meth:`KerasWeight.tensor`.

    Raises:
        WeightsError: h5py is not installed.
        OSError: the disk is full or the folder cannot be written.
    """
    h5py = _package(path, 'writing')
    layers: dict[str, list[tuple[str, Tensor]]] = {}
    for key, value in weights:
        layer, _, kind = key.rpartition('.')
        names = {'weight': 'kernel:0', 'bias': 'bias:0'}
        layers.setdefault(layer if kind in names else key, []).append((names.get(kind, 'Variable:0'), value))
    content = io.BytesIO()
    with h5py.File(content, 'w') as file:
        file.attrs['layer_names'] = [layer.encode() for layer in layers]
        file.attrs['backend'] = b'tensorflow'
        for layer, parameters in layers.items():
            group = file.create_group(layer)
            group.attrs['weight_names'] = [f'{layer}/{name}'.encode() for name, _ in parameters]
            for name, value in parameters:
                group.create_dataset(f'{layer}/{name}', data=in_keras(value).contiguous().numpy())
    write_whole(path, content.getbuffer())


def _package(path: Path, doing: str) -> Any:
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise WeightsError(f"{path}: {doing} Keras files needs h5py; run `pip install -e '.[convert]'`") from error
    return h5py
