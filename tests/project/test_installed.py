"""A wheel, installed away from the clone, and what its commands do beside another distribution with a ``basicsr``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

import basicsr_commands
from basicsr.images.files import imread
from basicsr.preparation.synthetic_sets import photo_file
from basicsr.reporting import read_report
from tests.helpers.evaluations import write_pairs
from tests.helpers.project import ROOT

OURS = basicsr_commands.DISTRIBUTION
BUILT_FROM = ('basicsr', 'options', 'basicsr_commands.py', 'pyproject.toml', 'setup.py', 'requirements.txt')
BUILT_FROM += ('README.md', 'LICENSE', 'experiments/pretrained_models')


def distribution(site: Path, name: str, **files: str) -> PathDistribution:
    """A distribution as pip would leave it in ``site``, with these files among its metadata."""
    folder = site / f'{name.replace("-", "_")}-1.0.dist-info'
    folder.mkdir()
    (folder / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n')
    for file, text in files.items():
        (folder / file.replace('_txt', '.txt')).write_text(text)
    return PathDistribution(folder)


@pytest.fixture
def installed(tmp_path, monkeypatch) -> Callable[..., None]:
    """``installed(*distributions)``: those alone are installed, and ``basicsr`` must not be imported."""

    def use(*found: PathDistribution) -> None:
        monkeypatch.setattr('importlib.metadata.distributions', lambda: iter(found))
        monkeypatch.setattr('importlib.import_module', lambda name: pytest.fail(f'{name} was imported'))

    return use


@pytest.mark.parametrize(
    'theirs',
    [{'top_level_txt': 'basicsr\nscripts\n'}, {'RECORD': 'basicsr/__init__.py,sha256=0,0\n'}],
    ids=['states its packages', 'lists its files'],
)
def test_another_distribution_with_our_package_is_named_before_anything_is_imported(theirs, installed, tmp_path):
    ours = distribution(tmp_path, OURS, top_level_txt='basicsr\nbasicsr_commands\n')
    other = distribution(tmp_path, 'BasicSR', **theirs)
    harmless = distribution(tmp_path, 'torch', top_level_txt='torch\n', RECORD='basicsr/__init__.py,,\n')
    installed(harmless, ours, other)
    for command in (basicsr_commands.train, basicsr_commands.deblur, basicsr_commands.web):
        said = command()
        assert f'pip uninstall BasicSR {OURS}' in said and f'install {OURS} again' in said


def test_files_that_another_distribution_took_along_are_missed(installed, tmp_path):
    record = 'basicsr/__init__.py,,\nbasicsr/train.py,,\nbasicsr/py.typed,,\n'
    (tmp_path / 'basicsr').mkdir()
    (tmp_path / 'basicsr' / '__init__.py').touch()
    installed(distribution(tmp_path, OURS, top_level_txt='basicsr\n', RECORD=record))
    said = basicsr_commands.train()
    assert '1 of 2' in said and 'basicsr/train.py' in said and f'pip uninstall {OURS}' in said
    (tmp_path / 'basicsr' / 'train.py').touch()
    assert basicsr_commands.problem() is None


def test_the_old_metadata_of_a_clone_are_no_installation(installed, tmp_path):
    folder = tmp_path / 'basicsr_region_deblur.egg-info'  # on PYTHONPATH, from before files were renamed
    folder.mkdir()
    (folder / 'PKG-INFO').write_text(f'Metadata-Version: 2.1\nName: {OURS}\nVersion: 1.0\n')
    (folder / 'top_level.txt').write_text('basicsr\n')
    (folder / 'SOURCES.txt').write_text('basicsr/__init__.py\nbasicsr/renamed.py\n')
    installed(PathDistribution(folder))
    assert basicsr_commands.problem() is None


@dataclass
class Environment:
    """A fresh virtual environment with the wheel in it, and a folder to work in."""

    folder: Path
    site: Path
    work: Path

    def __call__(self, program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        suffix = '.exe' if os.name == 'nt' else ''
        path = self.folder / ('Scripts' if os.name == 'nt' else 'bin') / f'{program}{suffix}'
        return run(path, *arguments, cwd=self.work)


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(('PYTHON', 'COV', 'PIP_'))}
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, text=True, cwd=cwd, env=environment, timeout=900, check=False)


@pytest.fixture(scope='module')
def environment(tmp_path_factory) -> Environment:
    folder = tmp_path_factory.mktemp('installed')
    clone, work = folder / 'clone', folder / 'work'
    work.mkdir()
    for name in BUILT_FROM:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns('__pycache__'))
        else:
            shutil.copy(ROOT / name, clone / name)
    (clone / 'experiments/pretrained_models/mine.pth').write_text('a network of the user, which no wheel holds')
    pip = (sys.executable, '-m', 'pip', '--disable-pip-version-check')
    offline = ('--no-index', '--no-deps')
    built = run(*pip, 'wheel', '--no-build-isolation', *offline, '-w', folder / 'dist', clone, cwd=folder)
    assert built.returncode == 0, built.stderr
    (wheel,) = (folder / 'dist').glob('*.whl')
    shutil.rmtree(clone)

    venv.create(folder / 'venv', with_pip=False, symlinks=os.name != 'nt')
    python = folder / 'venv' / ('Scripts/python.exe' if os.name == 'nt' else 'bin/python')
    asked = run(python, '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))', cwd=work)
    site = Path(asked.stdout.strip())
    here = {sysconfig.get_path('purelib'), sysconfig.get_path('platlib')}
    (site / 'packages_of_the_tests.pth').write_text('\n'.join(sorted(here)))
    done = run(*pip, '--python', python, 'install', *offline, wheel, cwd=work)
    assert done.returncode == 0, done.stderr
    return Environment(folder / 'venv', site, work)


@pytest.mark.slow
def test_the_package_is_that_of_the_wheel_and_loads_its_network(environment):
    code = (
        'import basicsr, numpy as np\n'
        'print(basicsr.__file__)\n'
        'deblurrer = basicsr.Deblurrer.load(device="cpu", dtype="fp32")\n'
        'print(deblurrer.deblur(np.full((64, 64, 3), 127, np.uint8)).image.shape)\n'
    )
    done = environment('python', '-c', code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(environment.site / 'basicsr' / '__init__.py'), '(64, 64, 3)']
    bundled = environment.site / 'basicsr' / 'bundled'
    shipped = {path.relative_to(ROOT / 'options') for path in (ROOT / 'options').rglob('*.yml')}
    assert {path.relative_to(bundled / 'options') for path in (bundled / 'options').rglob('*.yml')} == shipped
    assert {path.stem for path in (bundled / 'pretrained_models').iterdir()} == {'photo_unet'}


@pytest.mark.slow
def test_the_commands_of_the_wheel(environment):
    photo, work = photo_file('chelsea'), environment.work
    shutil.copy(photo, work / 'photo.png')
    done = environment('basicsr-deblur', 'photo.png')
    assert done.returncode == 0, done.stderr
    (result,) = (work / 'results/deblurred').iterdir()
    assert imread(result).shape == imread(photo).shape

    options = ['num_gpu=0', 'datasets:train:num_worker_per_gpu=0', 'name=two']
    done = environment('basicsr-train', '-opt', 'Synthetic/small', '--debug', '--force_yml', *options)
    assert done.returncode == 0, done.stderr
    assert (work / 'experiments/two_debug/models/net_g_latest.pth').is_file()

    write_pairs(work / 'datasets/GoPro/test', ['a', 'b'])
    done = environment('basicsr-test', '-opt', 'Pretrained/GoPro.yml', '--force_yml', 'num_gpu=0')
    assert done.returncode == 0, done.stderr
    (report,) = (work / 'results/Pretrained-GoPro').glob('*.json')
    assert len(read_report(report).rows) == 2

    done = environment('basicsr-masks', '--input', 'datasets/GoPro/test/input', '--output', 'masks')
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (work / 'masks').glob('*.png')) == ['a.png', 'b.png']
    done = environment('basicsr-web', '--help')
    assert done.returncode == 0 and 'usage: basicsr-web' in done.stdout and 'python basicsr' not in done.stdout
    assert f"pip install '{OURS}[demo]'" in done.stdout and ' -e ' not in done.stdout
    assert 'docs/web.md of the source repository' in ' '.join(done.stdout.split())


@pytest.mark.slow
def test_the_commands_of_the_wheel_beside_another_basicsr(environment):
    other = distribution(environment.site, 'basicsr', top_level_txt='basicsr\n')
    try:
        done = environment('basicsr-train', '--help')
    finally:
        shutil.rmtree(other._path)
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert f'pip uninstall basicsr {OURS}' in done.stderr
