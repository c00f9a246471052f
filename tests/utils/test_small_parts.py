"""Registries, input rules, label maps, devices, files."""

from __future__ import annotations

import ast
import errno
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from basicsr.archs.input_rule import InputRule
from basicsr.images.files import imread, imwrite
from basicsr.masks import label_map_from_masks, masks_from_label_map
from basicsr.utils import console, installation
from basicsr.utils.device import select_device
from basicsr.utils.errors import ArgumentError, ImageFileError, MaskError, OptionError, UnknownNameError
from basicsr.utils.files import whole_file, whole_folder, whole_group
from basicsr.utils.registry import Registry
from tests.helpers.label_maps import ellipses
from tests.helpers.project import ROOT


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with a module that registers a class, and one that misses an optional package."""
    folder = tmp_path / 'some_rooms'
    folder.mkdir()
    (folder / '__init__.py').write_text('')
    (folder / 'good_room.py').write_text(
        'from tests_registry import REGISTRY\n@REGISTRY.register()\nclass Good:\n'
        '    def __init__(self, size: int, name: str = "x"):\n        self.size, self.name = size, name\n'
    )
    (folder / 'bad_room.py').write_text('import a_package_nobody_has\n')
    (folder / 'other.py').write_text('raise SystemExit("must not be imported")\n')
    registry = Registry('room', 'some_rooms', '_room')
    module = type(sys)('tests_registry')
    module.REGISTRY = registry
    monkeypatch.setitem(sys.modules, 'tests_registry', module)
    monkeypatch.syspath_prepend(tmp_path)
    yield registry
    for name in [name for name in sys.modules if name.startswith('some_rooms')]:
        del sys.modules[name]


def test_a_broken_optional_module_takes_only_its_own_names_away(package):
    assert package.names() == ['Good']
    assert package.build({'type': 'Good', 'size': 3}).size == 3
    with pytest.raises(UnknownNameError, match=r'bad_room .*a_package_nobody_has'):
        package.get('Bad')


def test_a_module_without_its_shared_library_is_reported_and_not_raised(package, tmp_path):
    (tmp_path / 'some_rooms' / 'torn_room.py').write_text('raise OSError("libroom.so.1: cannot open")\n')
    assert package.names() == ['Good']
    with pytest.raises(UnknownNameError, match=r'torn_room .*OSError: libroom\.so\.1'):
        package.get('Torn')


def test_threads_that_ask_at_once_all_wait_for_the_modules(package, tmp_path):
    (tmp_path / 'some_rooms' / 'slow_room.py').write_text(
        'import time\nfrom tests_registry import REGISTRY\ntime.sleep(0.3)\n'
        '@REGISTRY.register()\nclass Slow:\n    pass\n'
    )
    together = threading.Barrier(8)

    def ask(_: int) -> str:
        together.wait()
        return package.get('Slow').__name__

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(ask, range(8))) == ['Slow'] * 8


def test_arguments_are_checked_before_anything_is_built(package):
    with pytest.raises(ArgumentError, match=r"Good .*'size'"):
        package.build({'type': 'Good'})
    with pytest.raises(ArgumentError, match="'type'"):
        package.build({'size': 3})
    with pytest.raises(ArgumentError, match=r'size: .*True'):
        package.build({'type': 'Good', 'size': True})
    assert package.build({'type': 'Good', 'size': 2e3}).size == 2000
    assert isinstance(package.build({'type': 'Good', 'size': 2e3}).size, int)
    assert torch.is_tensor(package.build({'type': 'Good', 'size': torch.ones(1)}).size)  # from code: not checked


def test_a_name_is_registered_once(package):
    assert package.names() == ['Good']
    with pytest.raises(KeyError, match='Good'):
        package.register(type('Good', (), {}))


def test_importing_the_package_is_light():
    code = 'import sys, basicsr; print(sorted({"torch", "cv2", "numpy", "pydantic"} & set(sys.modules)))'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == '[]'


def test_deblurring_in_python_imports_no_training():
    """Neither the class nor its use on an image."""
    code = (
        'import sys, numpy; from basicsr import Deblurrer; '
        "net = Deblurrer.load(device='cpu'); net(numpy.zeros((20, 20, 3), numpy.uint8)); "
        "print(sorted({name.split('.')[1] for name in sys.modules if name.startswith('basicsr.')}))"
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True, cwd=ROOT)
    rooms = set(ast.literal_eval(done.stdout))
    assert {'inference', 'archs'} <= rooms
    assert not rooms & {
        'training',
        'options',
        'losses',
        'data',
        'metrics',
        'models',
        'evaluation',
        'photos',
        'reporting',
    }


@pytest.mark.parametrize('dtype', [torch.float32, torch.uint8, torch.int64, torch.bool, torch.uint16])
@pytest.mark.parametrize('placement', ['end', 'center'])
@pytest.mark.parametrize('padding', ['zeros', 'reflect', 'symmetric'])
def test_padding_is_numpys_and_cropping_undoes_it(padding, placement, dtype):
    rule = InputRule((8, 16), (24, 1), padding, placement)
    x = torch.randint(0, 2, (2, 3, 13, 19)).to(dtype)
    padded = rule.pad(x)
    assert padded.shape == (2, 3, 24, 32) == (2, 3, *rule.padded_size(13, 19))
    before = (5, 6) if placement == 'center' else (0, 0)
    edges = [(0, 0), (0, 0), (before[0], 11 - before[0]), (before[1], 13 - before[1])]
    mode = {'zeros': 'constant'}.get(padding, padding)
    assert np.array_equal(padded.numpy(), np.pad(x.numpy(), edges, mode))
    assert torch.equal(rule.crop(padded, 13, 19), x)
    assert rule.pad(padded) is padded


@pytest.mark.parametrize('size', [1, 2, 3, 5])
@pytest.mark.parametrize('padding', ['reflect', 'symmetric'])
def test_reflections_repeat_where_the_padding_exceeds_the_image(padding, size):
    x = torch.arange(float(size * size)).view(1, 1, size, size)
    expected = np.pad(x.numpy(), [(0, 0), (0, 0), (0, 16 - size), (0, 16 - size)], padding)
    assert np.array_equal(InputRule((16, 16), padding=padding).pad(x).numpy(), expected)


def test_label_maps_keep_overlapping_masks_and_their_order():
    masks = ellipses(9, 30, 40)
    labels = label_map_from_masks(masks)
    assert labels.dtype == np.int32
    assert masks.sum(0).max() <= len(labels) <= 5
    assert np.array_equal(masks_from_label_map(labels)[:, 0], masks)
    assert [np.unique(layer).max() for layer in labels] != [0]
    partition = np.stack([masks[0], ~masks[0]])
    assert len(label_map_from_masks(partition)) == 1
    assert label_map_from_masks(np.zeros((0, 4, 5), bool)).shape == (1, 4, 5)
    assert masks_from_label_map(np.zeros((4, 5), np.uint8)).shape == (0, 1, 4, 5)


def test_label_maps_of_wrong_things_are_refused():
    with pytest.raises(MaskError, match='boolean'):
        label_map_from_masks(np.zeros((2, 4, 5), np.uint8))
    with pytest.raises(MaskError, match='boolean'):
        label_map_from_masks(np.zeros((4, 5), bool))
    with pytest.raises(MaskError, match='integers'):
        masks_from_label_map(np.zeros((2, 4, 5)))
    with pytest.raises(MaskError, match='-3'):
        masks_from_label_map(np.full((1, 2, 2), -3))


def test_devices_are_chosen_in_one_place():
    assert select_device('cpu') == torch.device('cpu')
    assert select_device('auto').type in ('cpu', 'cuda', 'mps')
    with pytest.raises(OptionError, match="'gpu'"):
        select_device('gpu')
    with pytest.raises(OptionError, match='cuda:99'):
        select_device('cuda:99')


def test_what_a_user_can_mend_about_files_is_a_message_and_other_failures_are_bugs(tmp_path, capsys):
    def fail(number, *name):
        def main():
            raise OSError(number, os.strerror(number), *name)

        return console.run(main)

    assert fail(errno.EACCES, '/x/y.png') == 1
    assert capsys.readouterr().err.startswith(f'/x/y.png: {os.strerror(errno.EACCES)}')
    assert fail(errno.ENOSPC) == 1
    assert capsys.readouterr().err.startswith(os.strerror(errno.ENOSPC))
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        fail(errno.EBADF)


def test_messages_of_an_installed_package_name_its_own_commands(monkeypatch, capsys):
    def main():
        raise OptionError(
            "run `python basicsr/train.py -opt x` or pip install -e '.[demo]'; docs/data.md, scripts/a.sh"
        )

    console.run(main)
    in_clone = capsys.readouterr().err
    assert in_clone.startswith('run `python basicsr/train.py -opt x`') and "'.[demo]'" in in_clone
    monkeypatch.setattr(installation, 'IS_CLONE', False)
    console.run(main)
    elsewhere = 'of the source repository'
    assert capsys.readouterr().err == (
        f"run `basicsr-train -opt x` or pip install 'basicsr-region-deblur[demo]'; docs/data.md {elsewhere}, "
        f'scripts/a.sh {elsewhere}\n'
    )
    for own in ('docs/x.md: not an image', 'cannot read /home/docs/x.md'):
        assert installation.with_commands(own) == own


def test_failed_writing_names_the_file_and_leaves_nothing(tmp_path):
    target = tmp_path / 'a.txt'
    target.write_text('old')
    with pytest.raises(OSError, match='No space') as caught, whole_file(target) as file:
        file.write(b'half')
        raise OSError(errno.ENOSPC, 'No space left on device')
    assert caught.value.filename == str(target)
    assert target.read_text() == 'old'
    with pytest.raises(OSError, match='No space') as caught, whole_folder(tmp_path / 'new') as folder:
        (folder / 'x').write_bytes(b'half')
        raise OSError(errno.ENOSPC, 'No space left on device', str(folder / 'x'))
    assert caught.value.filename == str(tmp_path / 'new')
    with pytest.raises(OSError, match='elsewhere'), whole_folder(tmp_path / 'new'):
        raise OSError(errno.EIO, 'broken', 'elsewhere')
    assert [path.name for path in tmp_path.iterdir()] == ['a.txt']


@pytest.mark.parametrize('place', ['writing', 'a name', 'the second name', 'cleaning up'])
def test_a_group_of_files_is_whole_or_not_there_whenever_it_is_interrupted(place, tmp_path, monkeypatch):
    calls = {'replace': 0, 'rmtree': 0}

    def counted(name, real, at):
        def call(*arguments, **more):
            calls[name] += 1
            done = real(*arguments, **more) if name == 'replace' else None  # the interrupt comes behind it
            if calls[name] == at:
                raise KeyboardInterrupt
            return real(*arguments, **more) if name == 'rmtree' else done

        return call

    monkeypatch.setattr(
        Path, 'replace', counted('replace', Path.replace, {'a name': 1, 'the second name': 2}.get(place))
    )
    monkeypatch.setattr(shutil, 'rmtree', counted('rmtree', shutil.rmtree, 1 if place == 'cleaning up' else None))
    with pytest.raises(KeyboardInterrupt), whole_group(tmp_path) as folder:
        for name in 'ab':
            (folder / name).write_text(name)
        if place == 'writing':
            raise KeyboardInterrupt
    assert sorted(path.name for path in tmp_path.iterdir()) == (['a', 'b'] if place == 'cleaning up' else [])


@pytest.mark.parametrize('suffix', ['.png', '.tif', '.bmp', '.jpg'])
def test_images_are_written_as_they_are_read(tmp_path, suffix):
    rng = np.random.default_rng(0)
    smooth = np.clip(np.cumsum(rng.normal(0, 3, (20, 25, 3)), axis=1) + 120, 0, 255)
    for image in (smooth.astype(np.uint8), smooth[..., :1].astype(np.uint8), (smooth * 257).astype(np.uint16)):
        if image.dtype == np.uint16 and suffix in ('.bmp', '.jpg'):
            with pytest.raises(ImageFileError, match=f'x{suffix}'):
                imwrite(tmp_path / f'x{suffix}', image)
            continue
        imwrite(tmp_path / f'x{suffix}', image)
        back = imread(tmp_path / f'x{suffix}')
        assert back.dtype == image.dtype
        assert np.abs(back.astype(int) - image).max() <= (0 if suffix != '.jpg' else 40)
    with pytest.raises(ImageFileError, match=r'x\.xyz'):
        imwrite(tmp_path / 'x.xyz', smooth.astype(np.uint8))
    with pytest.raises(ImageFileError, match='float64'):
        imwrite(tmp_path / 'x.png', smooth)
