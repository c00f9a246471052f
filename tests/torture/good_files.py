"""Good files of every kind that the package reads, from which malformed ones are made."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml

from basicsr.archs import build_network
from basicsr.data.stores.base import FolderStore
from basicsr.data.stores.lmdb import write_lmdb
from basicsr.data.stores.raw import write_raw
from basicsr.images.files import imwrite
from basicsr.masks import write_label_map
from basicsr.weights.files import save_weights
from tests.helpers import training_runs as runs
from tests.helpers.headers import IMAGE, WHOLE
from tests.helpers.heic import heic
from tests.helpers.other_tools import FORMS, rectangles
from tests.helpers.pages import PLAIN
from tests.helpers.project import find_vector
from tests.helpers.videos import make

TEXTS = ('.yml', '.json', '.txt', '.csv')


@dataclass(frozen=True)
class Good:
    """A file, or a folder of files that belong together.

    Args:
        kind: for the table.
        reader: name of a function of ``reading``.
        name: what the reader gets.
        files: contents by name.
        spoiled: the file of them that may be spoiled.
    """

    kind: str
    reader: str
    name: str
    files: dict[str, bytes]
    spoiled: str

    def write(self, folder: Path, content: bytes | None = None) -> Path:
        """Write the files, with another content of the spoiled one; return the path for the reader."""
        for name, data in {**self.files, **({} if content is None else {self.spoiled: content})}.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return folder / self.name


def good_files(work: Path) -> list[Good]:
    """Make one of each; ``work`` is an empty folder."""
    return [
        *_photos(work / 'photos'),
        *_masks(work / 'masks'),
        *_networks(work / 'networks'),
        *_stores(work / 'stores'),
        *_videos(work / 'videos'),
        *_texts(work / 'texts'),
    ]


def _one(kind: str, reader: str, path: Path) -> Good:
    return Good(kind, reader, path.name, {path.name: path.read_bytes()}, path.name)


def _photos(folder: Path) -> list[Good]:
    folder.mkdir(parents=True)
    heic(folder / 'a.heic', IMAGE)
    for name, content in WHOLE.items():
        (folder / name).write_bytes(content)
    return [_one('photo', 'photo', path) for path in sorted(folder.iterdir())]


def _masks(folder: Path) -> list[Good]:
    found = []
    for form in ('json of text', 'SA-1B', 'npy', 'npz', 'npz without a name', 'palette'):
        place = folder / form.replace(' ', '_')
        place.mkdir(parents=True)
        FORMS[form](place, rectangles())
        found += [_one('masks', 'masks', path) for path in sorted(place.iterdir())]
    write_label_map(folder / 'labels.png', np.random.default_rng(0).integers(0, 5, (1, 64, 96)))
    return [*found, _one('masks', 'masks', folder / 'labels.png')]


def _networks(folder: Path) -> list[Good]:
    folder.mkdir()
    torch.manual_seed(0)
    net = build_network(PLAIN)
    for suffix in ('pth', 'safetensors'):
        save_weights(folder / f'net.{suffix}', net)
    torch.save(net.state_dict(), folder / 'old.pth', _use_new_zipfile_serialization=False)
    content = runs.options(runs.write_pairs(folder / 'pairs', count=4), train__total_iter=1, train__ema_decay=0.9)
    content['val']['validate_first'] = False
    process = runs.start(folder / 'run', content)
    assert runs.ends([process]) == [0], (folder / 'run/output.txt').read_text()
    names = {'state': 'training_states/1.state', 'network': 'models/net_g_1.pth'}
    pair = {name: (folder / 'run/experiments/run' / name).read_bytes() for name in names.values()}
    keras = find_vector('analysis_synthesis', 'analysis_weights_tiny.h5')
    return [
        *(_one('network', 'network', folder / name) for name in ('net.pth', 'net.safetensors', 'old.pth')),
        *(Good('checkpoint', 'state', names['state'], pair, spoiled) for spoiled in names.values()),
        _one('Keras', 'keras', keras),
    ]


def _stores(folder: Path) -> list[Good]:
    (folder / 'images').mkdir(parents=True)
    for index in range(4):
        pixels = np.random.default_rng(index).integers(0, 256, (20, 24, 3), np.uint8)
        imwrite(folder / 'images' / f'{index}.png', pixels)
    write_lmdb(folder / 'images', folder / 'a.lmdb')
    write_raw(FolderStore(folder / 'images'), folder / 'a.raw', 'images')
    found = []
    for name, members in (('a.lmdb', ('data.mdb', 'meta_info.txt')), ('a.raw', ('index.json', 'data.bin'))):
        files = {f'{name}/{member}': (folder / name / member).read_bytes() for member in members}
        found += [Good('store', 'store', name, files, spoiled) for spoiled in files]
    return found


def _videos(folder: Path) -> list[Good]:
    folder.mkdir()
    make(folder / 'a.mp4', sound='aac', times=8)
    make(folder / 'b.mp4', times=8, container={'movflags': 'frag_keyframe+empty_moov', 'frag_duration': '100000'})
    make(folder / 'a.mkv', times=8)
    make(folder / 'a.avi', 'mpeg4', times=8)
    return [_one('video', 'video', path) for path in sorted(folder.iterdir())]


def _texts(folder: Path) -> list[Good]:
    from basicsr.deconvolution.kernels import save_kernel
    from basicsr.reporting import write_report
    from tests.helpers.reports import report

    folder.mkdir()
    roots = {f'dataroot_{key}': f'data/{key}' for key in ('gt', 'lq', 'mask')}
    (folder / 'run.yml').write_text(yaml.safe_dump(runs.options(roots)))
    (folder / 'flow.yml').write_text(json.dumps(runs.options(roots, train__ema_decay=0.9), indent=1))
    values = np.zeros((9, 9), np.float32)
    values[4] = 1 / 9
    save_kernel(folder / 'kernel', values)
    path, _ = write_report(folder, report([28.0, 31.5, 30.0]))
    for name, content in (
        ('masks.json', {'settings': {'generator': 'felzenszwalb', 'scale': 1.0}, 'basicsr': '0.1'}),
        ('dataset.json', {'stages': {'masks': {'train': {'settings': {'a': 1}}}}}),
    ):
        (folder / name).write_text(json.dumps(content, indent=2))
    return [
        *(_one('options', 'options', folder / file) for file in ('run.yml', 'flow.yml')),
        *(_one('kernel', 'kernel', folder / file) for file in ('kernel.npy', 'kernel.png')),
        _one('report', 'report', path),
        *(_one('record', 'record', folder / file) for file in ('masks.json', 'dataset.json')),
    ]
