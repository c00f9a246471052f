"""The quick start: the whole script from a copy of the clone, its data, and what it refuses."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import cv2
import numpy as np
import pytest

from basicsr.data import build_dataset
from basicsr.masks.files import read_masks
from basicsr.options import load_options
from tests.helpers.project import ROOT

TOO_OLD = '#!/bin/sh\ncase "$2" in *"(3, 10)"*) exit 1 ;; esac\nexit 0\n'
SMALL = ['--photos', '10', '--leaves', '6', '--test', '2']
TEST_PHOTOS = ('astronaut', 'camera', 'chelsea', 'coffee')
NO_NETWORK = dict.fromkeys(('http_proxy', 'https_proxy', 'all_proxy'), 'http://127.0.0.1:9')


def make_data(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / 'scripts/make_quickstart_data.py'), '--output', str(folder), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **NO_NETWORK}, cwd=folder.parent
    )


def contents(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob('*') if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('quick') / 'data'
    done = make_data(folder, *SMALL, '--workers', '0')
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope='module')
def clone(tmp_path_factory) -> Path:
    """The files of this project that the script needs, in an empty folder."""
    folder = tmp_path_factory.mktemp('clone')
    for name in ('basicsr', 'scripts', 'options'):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns('__pycache__'))
    for name in ('requirements.txt', 'pyproject.toml', 'README.md'):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope='module')
def environment(tmp_path_factory, clone) -> dict[str, str]:
    """An active virtual environment with the packages of this one, in which all is installed; no network."""
    folder = tmp_path_factory.mktemp('environment')
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / 'bin' / 'python'
    ask = [python, '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))']
    site = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    here = sorted({sysconfig.get_path('purelib'), sysconfig.get_path('platlib')})
    Path(site, 'packages_of_the_tests.pth').write_text('\n'.join(here))
    needed = b''.join((clone / name).read_bytes() for name in ('requirements.txt', 'pyproject.toml'))
    stamp = subprocess.run(['cksum'], input=needed, capture_output=True, check=True).stdout
    (folder / '.basicsr-requirements').write_bytes(stamp)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(('PYTHON', 'COV'))}
    path = f'{folder / "bin"}{os.pathsep}{os.environ["PATH"]}'
    return {**kept, **NO_NETWORK, 'PIP_NO_INDEX': '1', 'VIRTUAL_ENV': str(folder), 'PATH': path}


def quickstart(clone: Path, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ['bash', str(clone / 'scripts/quickstart.sh'), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, cwd=clone.parent, timeout=600
    )


@pytest.mark.slow
def test_the_whole_script_and_once_more(clone, environment, tmp_path):
    out = tmp_path / 'a folder'
    small = ['--out', str(out), '--steps', '4', '--data', '--photos 8 --leaves 8 --test 1 --workers 0']
    done = quickstart(clone, environment, *small)
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'installing' not in done.stdout  # the active environment was used as it is
    rows = re.findall(r'^(blurred input|baseline|SAM-Deblur) +4 +(\d+\.\d+) +(0\.\d+) ', done.stdout, re.M)
    assert [row[0] for row in rows] == ['blurred input', 'baseline', 'SAM-Deblur']
    psnr = {name: float(value) for name, value, _ in rows}
    stated = re.search(r'^  PSNR, dB: ([+-]\d+\.\d+) \(([+-]\S+) to ([+-]\S+)\)', done.stdout, re.M)
    assert stated
    difference, low, high = map(float, stated.groups())
    assert difference == pytest.approx(psnr['SAM-Deblur'] - psnr['baseline'], abs=0.011)
    assert low <= difference <= high
    study = (ROOT / 'docs/prior.md').read_text()
    experiment = re.search(r'in distribution \(primary\) \| (\S+) \| (\S+) to (\S+) \|', study)
    found = re.search(r'raised PSNR by (\S+) dB [^(]*\(95 % interval (\S+) to (\S+)\)', done.stdout)
    assert experiment and found
    assert [float(value) for value in found.groups()] == [round(float(value), 2) for value in experiment.groups()]
    pages = re.findall(r'^  .*: (/.*\.html)$', done.stdout, re.M)
    assert len(pages) == 3
    assert all(Path(page).is_file() and out in Path(page).parents for page in pages)
    assert sorted(path.name for path in clone.iterdir()) == sorted(
        ['basicsr', 'scripts', 'options', 'requirements.txt', 'pyproject.toml', 'README.md']
    )

    weights = sorted((out / 'experiments').rglob('*.pth')) + sorted((out / 'experiments').rglob('*.state'))
    assert len(weights) >= 4
    before = {path: path.read_bytes() for path in weights}
    dataset = contents(out / 'datasets')
    shutil.rmtree(out / 'results')
    again = quickstart(clone, environment, *small)
    assert again.returncode == 0, again.stdout + again.stderr
    assert 'exists' in again.stdout
    assert re.findall(r'^(?:blurred|baseline|SAM-D|  PSNR).*', again.stdout, re.M) == re.findall(
        r'^(?:blurred|baseline|SAM-D|  PSNR).*', done.stdout, re.M
    )
    assert contents(out / 'datasets') == dataset
    state = torch_weights(before, weights[0])
    assert all((state[key] == value).all() for key, value in torch_weights(None, weights[0]).items())

    longer = quickstart(clone, environment, *small[:2], '--steps', '6', *small[4:])  # would be another experiment
    assert longer.returncode == 1
    assert 'train.total_iter: 4 -> 6' in longer.stderr
    assert {path: path.read_bytes() for path in weights if path.suffix == '.state'} == {
        path: content for path, content in before.items() if path.suffix == '.state'
    }


def torch_weights(contents: dict[Path, bytes] | None, path: Path) -> dict:
    """The tensors of a network file, as it is or as it was."""
    import io

    import torch

    data = path.read_bytes() if contents is None else contents[path]
    return torch.load(io.BytesIO(data), weights_only=True)['params']


@pytest.mark.slow
def test_data_depend_on_the_seed_alone(data, tmp_path):
    assert make_data(tmp_path / 'again', *SMALL, '--workers', '2').returncode == 0
    assert contents(tmp_path / 'again') == contents(data)
    assert make_data(tmp_path / 'other', *SMALL, '--seed', '1').returncode == 0
    other, same = contents(tmp_path / 'other'), contents(data)
    assert other.keys() == same.keys()
    assert {name for name in same if same[name] == other[name]} == {name for name in same if name.startswith('photos/')}


@pytest.mark.slow
def test_data_are_kept_and_other_data_refused(data):
    before = contents(data)
    done = make_data(data, *SMALL)
    assert (done.returncode, 'exists' in done.stdout) == (0, True)
    done = make_data(data, *SMALL, '--seed', '5')
    assert done.returncode == 1
    assert '(seed ' in done.stderr
    assert 'Traceback' not in done.stderr
    assert contents(data) == before
    assert make_data(data.parent / 'none', '--test', '0').returncode == 1
    assert not (data.parent / 'none').exists()


def read(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_COLOR)


def distance(part: np.ndarray, photo: np.ndarray) -> float:
    """Mean squared difference of a part of a picture to the place of a photo that is most like it."""
    return float(cv2.matchTemplate(photo, part, cv2.TM_SQDIFF).min()) / part.size


@pytest.mark.slow
def test_test_pictures_are_of_photos_that_training_never_sees(data):
    photos = {path.stem: read(path) for path in (data / 'photos').rglob('*.*')}
    train = {path.parent.name for path in (data / 'photos/train').rglob('*.*')}
    test = {path.parent.name for path in (data / 'photos/test').rglob('*.*')}
    assert test == set(TEST_PHOTOS)
    assert not train & test
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (data / 'photos').rglob('*.*')]
    assert len(set(hashes)) == len(hashes) == len(train) + len(test)
    for path in (data / 'test/sharp').glob('*.png'):
        part = read(path)[96:160, 96:160]
        own = path.stem.rsplit('_', 1)[0]
        assert distance(part, photos[own]) < 1
        assert min(distance(part, photos[name]) for name in train) > 50
    for folder in ('train', 'val'):
        for path in (data / folder / 'sharp').glob('photo_*.png'):
            part = read(path)[32:96, 32:96]
            assert min(distance(part, photos[name]) for name in train) < 1


def test_option_files_read_the_data_and_masks_are_what_is_said(data):
    for method in ('NAFNet', 'SAMDeblur'):
        options = {
            phase: load_options(ROOT / f'options/{phase}/Quickstart/{method}.yml').datasets
            for phase in ('train', 'test')
        }
        sets = {**options['train'], **options['test']}
        assert sets.keys() == {'train', 'val', 'test'}
        for phase, block in sets.items():
            arguments = {**block.as_dict()}
            for name in ('dataroot_gt', 'dataroot_lq', 'dataroot_mask'):
                if name in arguments:
                    assert arguments[name].startswith('datasets/Quickstart/')
                    arguments[name] = arguments[name].replace('datasets/Quickstart', str(data))
            dataset = build_dataset(arguments, phase=phase)
            assert len(dataset) == {'train': 16, 'val': 16, 'test': 8}[phase]
            assert ('masks' in dataset[0]) == (method == 'SAMDeblur')
    from basicsr.masks.generator import build_generator

    for path in sorted((data / 'test/blur').glob('*.png'))[:3]:  # from the blurred picture, which is all one has
        made = build_generator({'type': 'felzenszwalb'})(read(path)[..., ::-1])
        np.testing.assert_array_equal(read_masks(data / 'test/masks' / path.name), made)


@pytest.mark.slow
def test_the_blur_is_what_is_said(data):
    text = make_data(data, *SMALL).stdout
    assert 'directions -5°, 5°, 85°, 95°' in text
    assert 'directions 0°, 90°' in text
    assert all(name in text for name in TEST_PHOTOS)
    for folder in ('train', 'test'):
        for path in (data / folder / 'sharp').glob('*.png'):
            blurred, sharp = read(data / folder / 'blur' / path.name).astype(float), read(path).astype(float)
            assert 10 * np.log10(255**2 / ((blurred - sharp) ** 2).mean()) < 42, path  # something moves in all of them


def only_basics(folder: Path) -> str:
    """A PATH with what the scripts call, but without Python."""
    folder.mkdir()
    for name in ('bash', 'dirname', 'sed', 'cat', 'cksum', 'mkdir', 'rm'):
        (folder / name).symlink_to(shutil.which(name))
    return str(folder)


@pytest.mark.parametrize('script', ['quickstart', 'run_tests'])
def test_without_python_it_says_what_is_needed(script, clone, tmp_path):
    path = only_basics(tmp_path / 'bin')
    bash = shutil.which('bash')
    command = [bash, str(clone / f'scripts/{script}.sh')]
    for name, text in (('', ''), ('python3', TOO_OLD)):  # none, and one that is too old
        if name:
            (tmp_path / 'bin' / name).write_text(text)
            (tmp_path / 'bin' / name).chmod(0o755)
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={'PATH': path}, cwd=tmp_path)
        assert done.returncode == 1
        assert 'Python 3.10' in done.stderr
        assert not (clone / '.venv').exists()


def test_half_an_environment_is_taken_away(clone, tmp_path):
    path = only_basics(tmp_path / 'bin')
    script = (
        f'#!/bin/sh\n[ "$1" = -m ] || exit 0\n{shutil.which("mkdir")} -p .venv/bin\necho no ensurepip >&2\nexit 1\n'
    )
    (tmp_path / 'bin/python3').write_text(script)
    (tmp_path / 'bin/python3').chmod(0o755)
    command = [shutil.which('bash'), str(clone / 'scripts/quickstart.sh')]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={'PATH': path}, cwd=tmp_path)
    assert done.returncode == 1
    assert '.venv' in done.stderr
    assert not (clone / '.venv').exists()


@pytest.mark.parametrize(
    ('arguments', 'code', 'message'),
    [
        (['--out', 'file/below'], 1, 'file/below '),
        (['--step', '3'], 2, '--step'),
        (['--steps'], 2, '--steps '),
    ],
)
def test_what_it_refuses(arguments, code, message, clone, environment, tmp_path):
    (tmp_path / 'file').touch()
    command = ['bash', str(clone / 'scripts/quickstart.sh'), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert done.returncode == code
    assert message in done.stderr


def test_it_explains_itself(clone, environment):
    done = quickstart(clone, environment, '--help')
    assert done.returncode == 0
    assert all(option in done.stdout for option in ('--out', '--seed', '--steps', '--data'))
