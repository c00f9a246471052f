"""Malicious files, made by hand: small files that become large, code, links to other places, numbers that are none."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import yaml

from basicsr.archs import build_network
from tests.helpers import training_runs as runs
from tests.helpers.headers import WHOLE, png
from tests.helpers.pages import PLAIN
from tests.helpers.png_chunks import chunk
from tests.helpers.weight_files import Payload
from tests.torture.good_files import Good


def crafted_files(good: list[Good]) -> Iterator[tuple[str, Good]]:
    """Yield the name of a trick, and the files; every one must be refused."""
    yield from single_files()
    yield from _stores(good)
    yield from _videos(good)


def single_files() -> Iterator[tuple[str, Good]]:
    """Yield those that are no variations of good files."""
    for name, reader, file, content in (*_images(), *_masks(), *_options(), *_networks(), *_keras(), *_numbers()):
        yield name, Good('crafted', reader, file, {file: content}, file)


def _images() -> Iterator[tuple[str, str, str, bytes]]:
    yield 'PNG bomb', 'photo', 'bomb.png', png(30_000, 30_000, 8, 2, bytes(10**7))
    yield 'PNG bomb', 'photo', 'bits.png', png(40_000, 40_000, 1, 0, bytes(5001 * 40_000))
    yield 'PNG of no pixels', 'photo', 'none.png', png(0, 0, 8, 2, b'')
    yield 'PNG bomb', 'kernel', 'kernel.png', png(40_000, 40_000, 1, 0, bytes(5001 * 40_000))
    whole = WHOLE['a.png']
    for part in ('IDAT', 'IHDR'):
        place = whole.index(part.encode())
        yield f'PNG without {part}', 'photo', 'cut.png', whole[: place - 4] + whole[-12:]
    jpeg = WHOLE['baseline.jpg']
    place = jpeg.index(b'\xff\xc0') + 5
    yield 'JPEG that lies', 'photo', 'lying.jpg', jpeg[:place] + b'\xff\xff\xff\xff' + jpeg[place + 4 :]
    profile = chunk(b'iCCP', b'x\0\0' + zlib.compress(bytes(10**9), 1))
    yield 'PNG with a profile that becomes large', 'photo', 'profile.png', whole[:33] + profile + whole[33:]
    bmp = WHOLE['a.bmp']
    yield 'BMP that lies', 'photo', 'lying.bmp', bmp[:18] + struct.pack('<ii', 60_000, 60_000) + bmp[26:]


def _masks() -> Iterator[tuple[str, str, str, bytes]]:
    objects, lying = io.BytesIO(), io.BytesIO()
    np.savez(objects, masks=np.array([Payload('pwned')], object))
    yield 'npz with objects', 'masks', 'objects.npz', objects.getvalue()
    plain = io.BytesIO()
    np.save(plain, np.array([Payload('pwned')], object), allow_pickle=True)
    yield 'npy with objects', 'masks', 'objects.npy', plain.getvalue()
    yield 'npy with objects', 'kernel', 'objects.npy', plain.getvalue()
    for shape in ((10**6, 64, 96), (2, 10**5, 10**5)):
        yield 'zip bomb', 'masks', 'bomb.npz', _npz('masks.npy', _npy('|b1', shape) + bytes(5 * 10**7))
    yield 'npy that lies', 'kernel', 'lying.npy', _npy('<f4', (10**6, 10**6)) + bytes(100)
    yield 'npy that lies', 'masks', 'lying.npy', _npy('|b1', (10**9, 64, 96)) + bytes(100)
    values = np.ones(100_001, np.float32).tobytes()
    yield 'long kernel', 'kernel', 'long.npy', _npy('<f4', (1, 100_001)) + values
    yield 'zip in an npy', 'kernel', 'zip.npy', _npz('masks.npy', _npy('<f4', (3, 3)) + bytes(36))
    yield 'npz with a path', 'masks', 'path.npz', _npz('../masks.npy', _npy('|b1', (1, 64, 96)) + bytes(6144))
    np.savez(lying, masks=np.full((2, 64, 96), np.nan, np.float32))
    yield 'NaN', 'masks', 'nan.npz', lying.getvalue()
    yield 'NaN', 'kernel', 'nan.npy', _npy('<f4', (3, 3)) + np.full(9, np.nan, np.float32).tobytes()
    yield 'deep JSON', 'masks', 'deep.json', b'[{"a": ' * 100_000
    runs_of = {'segmentation': {'size': [64, 96], 'counts': [0, 10**12]}, 'area': 1}
    yield 'runs beyond the image', 'masks', 'runs.json', json.dumps([runs_of]).encode()
    size = {'segmentation': {'size': [10**6, 10**6], 'counts': [0, 10**12]}, 'area': 1}
    yield 'runs of a large image', 'masks', 'size.json', json.dumps([size]).encode()


def _npy(kind: str, shape: tuple[int, ...]) -> bytes:
    """The header of an array file."""
    text = repr({'descr': kind, 'fortran_order': False, 'shape': shape}).encode().ljust(117) + b'\n'
    return b'\x93NUMPY\x01\0' + struct.pack('<H', len(text)) + text


def _npz(name: str, content: bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, 'w', zipfile.ZIP_DEFLATED) as file:
        file.writestr(name, content)
    return archive.getvalue()


def _options() -> Iterator[tuple[str, str, str, bytes]]:
    roots = {f'dataroot_{key}': f'data/{key}' for key in ('gt', 'lq', 'mask')}
    lines = [b'a0: &a0 [x, x, x, x, x, x, x, x, x]']
    lines += [f'a{i}: &a{i} [{", ".join([f"*a{i - 1}"] * 9)}]'.encode() for i in range(1, 12)]
    yield 'YAML aliases that explode', 'options', 'laughs.yml', b'\n'.join(lines)
    merges = [b'a0: &a0 {x: 1}']
    merges += [f'a{i}: &a{i} {{<<: [{", ".join([f"*a{i - 1}"] * 9)}], k{i}: 1}}'.encode() for i in range(1, 12)]
    yield 'YAML merges that explode', 'options', 'merges.yml', b'\n'.join(merges)
    yield 'YAML of itself', 'options', 'itself.yml', b'a: &a [*a]'
    yield 'deep YAML', 'options', 'deep.yml', b'a: ' + b'[' * 50_000
    yield 'deep YAML', 'options', 'blocks.yml', b''.join(b' ' * i + b'a:\n' for i in range(3000))
    yield 'YAML with code', 'options', 'code.yml', b'name: !!python/object/apply:os.mkdir [pwned]'
    yield 'long number', 'options', 'long.yml', b'name: run\nmanual_seed: ' + b'9' * 100_000
    for name in ('../outside', '/tmp/outside', '..', 'a/../../b', 'a\0b', ''):
        text = yaml.safe_dump(runs.options(roots, name=name))
        yield 'path in a name', 'options', 'name.yml', text.encode()
    for label in ('../outside', 'a/b'):
        content = runs.options(roots)
        content['val']['metrics'] = {label: {'type': 'psnr'}}
        yield 'path in a label', 'options', 'label.yml', yaml.safe_dump(content).encode()
        content = runs.options(roots, datasets__train__name=label)
        yield 'path in the name of a data set', 'options', 'set.yml', yaml.safe_dump(content).encode()
    yield 'include of a device', 'options', 'device.yml', b'_base_: /dev/zero\nname: run'
    yield 'include of itself', 'options', 'self.yml', b'_base_: self.yml\nname: run'
    for value in ('.nan', '.inf', '-1', '1e400'):
        text = yaml.safe_dump(runs.options(roots)).replace('lr: 0.001', f'lr: {value}')
        yield 'number that is none', 'options', 'number.yml', text.encode()


def _networks() -> Iterator[tuple[str, str, str, bytes]]:
    torch.manual_seed(0)
    state = build_network(PLAIN).state_dict()
    first = next(iter(state))
    for value in (float('nan'), float('inf')):
        bad = {**state, first: torch.full_like(state[first], value)}
        yield 'NaN and infinity', 'network', 'bad.pth', _saved({'params': bad})
        yield 'NaN and infinity', 'network', 'bad.safetensors', _safetensors(bad)
    yield 'pth with code', 'network', 'code.pth', _saved({'params': state, 'x': Payload('pwned')})
    yield 'pth with code', 'state', '5.state', _saved({'iter': 5, 'x': Payload('pwned')})
    yield 'pickle with code', 'network', 'pickle.pth', pickle.dumps(Payload('pwned'))
    yield 'torch of old with code', 'network', 'old.pth', _saved({'x': Payload('pwned')}, old=True)
    whole = _saved({'params': state})
    yield 'zip bomb', 'network', 'bomb.pth', _with_record(whole, bytes(10**8), repeated=10)
    yield 'zip with a path', 'network', 'path.pth', _with_record(whole, b'x', '../../outside')
    wide = {name: value.flatten()[:1].expand(value.shape[0] * 5000, *value.shape[1:]) if value.dim() == 4 else value
            for name, value in state.items()}  # fmt: skip
    yield 'tensors of one number', 'network', 'wide.pth', _saved({'params': {k: _one(v) for k, v in wide.items()}})
    yield 'tensor of one number', 'network', 'huge.pth', _saved({'params': {**state, 'x': _huge()}})
    yield 'tensor of one number', 'network', 'same.pth', _saved({'params': {**state, first: _huge()}})
    deep: Any = []
    for _ in range(200):  # torch itself cannot write many more
        deep = [deep]
    yield 'deep lists', 'network', 'deep.pth', _saved({'params': state, 'x': deep})
    lists = b'\x80\x02' + b']' * 10**6 + b'a' * (10**6 - 1) + b'.'
    yield 'deep lists', 'network', 'deeper.pth', _with_record(whole, lists, record='data.pkl')
    block = {'type': 'NAFNet', 'width': 10**6, 'enc_blk_nums': [1], 'dec_blk_nums': [1]}
    yield 'network without end', 'network', 'wide.pth', _saved({'params': state, 'network_g': block})
    block = {'type': 'NAFNet', 'width': 4, 'enc_blk_nums': [10**9], 'dec_blk_nums': [1]}
    yield 'network without end', 'network', 'blocks.pth', _saved({'params': state, 'network_g': block})
    yield 'path in a type', 'network', 'type.pth', _saved({'params': state, 'network_g': {'type': '../../x'}})
    numbers = np.arange(24, dtype=np.float32).tobytes()
    for name, spans in (
        ('overlapping offsets', ((0, 64), (32, 96))),
        ('offsets beyond the end', ((0, 64), (64, 10**12))),
        ('offsets that go back', ((64, 0), (0, 64))),
        ('offsets with a hole', ((0, 32), (64, 96))),
    ):
        header = {
            f't{i}': {'dtype': 'F32', 'shape': [(end - start) // 4], 'data_offsets': [start, end]}
            for i, (start, end) in enumerate(spans)
        }
        yield f'safetensors: {name}', 'network', 'offsets.safetensors', _header(header) + numbers
    shape = {'t': {'dtype': 'F32', 'shape': [2**40, 2**40], 'data_offsets': [0, 96]}}
    yield 'safetensors: shape that overflows', 'network', 'shape.safetensors', _header(shape) + numbers
    yield 'safetensors: header without end', 'network', 'header.safetensors', struct.pack('<Q', 2**60) + b'{}'
    about = {'__metadata__': {'network_g': '[' * 100_000}}
    yield 'safetensors: deep header', 'network', 'deep.safetensors', _safetensors(state, about)


def _keras() -> Iterator[tuple[str, str, str, bytes]]:
    import h5py

    virtual = h5py.VirtualLayout((3,), 'f4')
    virtual[:] = h5py.VirtualSource('net.h5', 'a/w', (3,))
    for name, fill in (
        ('HDF5 bomb', lambda group: group.create_dataset('w', (10**5, 10**4), 'f4', chunks=(1000, 1000))),
        ('HDF5 bomb', lambda group: group.create_dataset('w', data=np.zeros(10**7, 'f4'), compression='gzip')),
        ('HDF5 with another file', lambda group: group.create_virtual_dataset('w', virtual)),
        ('HDF5 with another file', lambda group: group.create_dataset('w', (3,), 'f4', external='/etc/passwd')),
        ('HDF5 with another file', lambda group: group.__setitem__('w', h5py.ExternalLink('net.h5', 'a/w'))),
        ('HDF5 with objects', lambda group: group.create_dataset('w', data=[b'x'], dtype=h5py.string_dtype())),
    ):
        content = io.BytesIO()
        with h5py.File(content, 'w') as file:
            file.attrs['layer_names'] = [b'a']
            group = file.create_group('a')
            group.attrs['weight_names'] = [b'w']
            fill(group)
        yield name, 'keras', 'keras.h5', content.getvalue()


def _huge() -> torch.Tensor:
    return torch.zeros(1).expand(10**6, 10**6)


def _one(value: torch.Tensor) -> torch.Tensor:
    """A tensor that occupies one number in a file."""
    return value if value.stride()[:1] == (0,) else value.clone()


def _saved(content: Any, old: bool = False) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=not old)
    return file.getvalue()


def _with_record(data: bytes, content: bytes, name: str = '', repeated: int = 1, record: str = 'data/0') -> bytes:
    """A file of torch with another record: in place of the first numbers, compressed, or under another name."""
    archive = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(archive, 'w') as target:
        found = next(one for one in source.namelist() if one.endswith(record))
        for one in source.namelist():
            if one != found or name:
                target.writestr(one, source.read(one))
        about = zipfile.ZipInfo(f'{found.split("/")[0]}/{name}' if name else found)
        about.compress_type = zipfile.ZIP_DEFLATED if record == 'data/0' else zipfile.ZIP_STORED
        with target.open(about, 'w') as file:
            for _ in range(repeated):
                file.write(content)
    return archive.getvalue()


def _header(content: Any) -> bytes:
    text = json.dumps(content).encode()
    return struct.pack('<Q', len(text)) + text


def _safetensors(state: dict[str, torch.Tensor], about: Any = None) -> bytes:
    header, data = dict(about or {}), b''
    for name, value in state.items():
        part = value.numpy().tobytes()
        place = [len(data), len(data) + len(part)]
        header[name] = {'dtype': 'F32', 'shape': list(value.shape), 'data_offsets': place}
        data += part
    return _header(header) + data


def _numbers() -> Iterator[tuple[str, str, str, bytes]]:
    for name, reader in (('report.json', 'report'), ('masks.json', 'record'), ('dataset.json', 'record')):
        yield 'deep JSON', reader, name, b'{"format": "basicsr report 1", "a": ' + b'[' * 100_000
        yield 'another text', reader, name, b'\xff\xfe\0not a text'
        yield 'long number', reader, name, b'{"format": ' + b'9' * 10_000 + b'}'


def _stores(good: list[Good]) -> Iterator[tuple[str, Good]]:
    lmdb, raw = (next(one for one in good if one.name == name) for name in ('a.lmdb', 'a.raw'))
    database, lines = lmdb.files['a.lmdb/data.mdb'], lmdb.files['a.lmdb/meta_info.txt']

    def described(text: bytes) -> Good:
        return replace(lmdb, kind='crafted', files={**lmdb.files, 'a.lmdb/meta_info.txt': text})

    yield 'LMDB: names that are not in it', described(lines + b'gone.png (20,24,3) 1\n')
    yield 'LMDB: path in a name', described(lines.replace(b'0.png', b'../../outside.png'))
    yield 'LMDB: no UTF-8', described(b'\xff\xfe\0\0' + lines)
    yield 'LMDB: names of folders', described(b'. (20,24,3) 1\n/ (1,1,3) 1\n')
    yield 'LMDB: long name', described(b'x' * 10_000 + b'.png (20,24,3) 1\n')
    for place in range(16, 152, 8):  # each number in both pages of LMDB that describe the others
        value = (b'\xff' * 8, struct.pack('<Q', 1 << 20), struct.pack('<Q', 3))[(place // 8 + (place == 32)) % 3]
        content = bytearray(database)
        content[place : place + 8] = content[4096 + place : 4104 + place] = value
        files = {**lmdb.files, lmdb.spoiled: bytes(content)}
        yield f'LMDB: lying meta page ({place})', replace(lmdb, kind='crafted', files=files)
    index = json.loads(raw.files['a.raw/index.json'])

    def indexed(**entries: Any) -> Good:
        text = json.dumps({**index, 'entries': entries}).encode()
        return replace(raw, kind='crafted', files={**raw.files, 'a.raw/index.json': text})

    yield 'raw store: path in a name', indexed(**{'../../outside': [0, 'uint8', [20, 24, 3]]})
    yield 'raw store: array beyond the end', indexed(a=[0, 'uint8', [20_000, 24_000, 3]])
    yield 'raw store: size that overflows', indexed(a=[0, 'uint8', [2**40, 2**40, 3]])
    yield 'raw store: negative place', indexed(a=[-8, 'uint8', [20, 24, 3]])


def _videos(good: list[Good]) -> Iterator[tuple[str, Good]]:
    video = next(one for one in good if one.name == 'a.mp4')
    content = video.files['a.mp4']
    place = content.index(b'moov') - 4
    size = struct.unpack('>I', content[place : place + 4])[0]

    def changed(data: bytes) -> Good:
        return replace(video, kind='crafted', files={'a.mp4': data})

    yield 'mp4 without moov', changed(content[:place] + content[place + size :])
    yield 'mp4 without media', changed(content[place : place + size])
    for value in (1, 7, 2**31, 2**32 - 1):  # 0 would be right: the last box ends with the file
        yield 'mp4 with a box that lies', changed(content[:place] + struct.pack('>I', value) + content[place + 4 :])
    track = content.index(b'stsz') + 8
    yield 'mp4 with samples without end', changed(content[:track] + b'\0\0\0\0\xff\xff\xff\xff' + content[track + 8 :])
    entry = content.index(b'avc1', place) + 28  # not the brand at the beginning
    yield 'mp4 of a large image', changed(content[:entry] + b'\xff\xff\xff\xff' + content[entry + 4 :])
