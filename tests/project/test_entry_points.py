"""Every script runs in a clone that is not installed, from any folder, with another ``basicsr`` in site-packages."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.helpers.project import ROOT

OPTIONS = 'options/train/GoPro/SAMDeblur.yml'
SCRIPTS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / 'scripts').glob('*.py'))
MODULES = ['basicsr/train.py', 'basicsr/test.py', 'basicsr/deblur.py', 'basicsr/make_masks.py', 'basicsr/app/web.py']
SCRIPTS += MODULES


@pytest.fixture(scope='session')
def clone(tmp_path_factory) -> Path:
    """The files of this project alone, in another place."""
    folder = tmp_path_factory.mktemp('clone')
    for name in ('basicsr', 'scripts', 'options', 'docs'):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns('__pycache__'))
    return folder


@pytest.fixture(scope='session')
def decoy_python(tmp_path_factory) -> Path:
    """A Python with the packages of this one and a ``basicsr`` of somebody else in its site-packages."""
    folder = tmp_path_factory.mktemp('environment')
    venv.create(folder, with_pip=False, symlinks=os.name != 'nt')
    python = folder / ('Scripts/python.exe' if os.name == 'nt' else 'bin/python')
    site = subprocess.run(
        [python, '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))'],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    here = {sysconfig.get_path('purelib'), sysconfig.get_path('platlib')}
    Path(site, 'packages_of_the_tests.pth').write_text('\n'.join(sorted(here)))
    Path(site, 'basicsr').mkdir()
    Path(site, 'basicsr', '__init__.py').write_text('raise ImportError("the decoy was imported")\n')
    return python


def run(python: Path | str, *arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith('PYTHON')}
    command = [str(python), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=300, check=False)


@pytest.mark.parametrize('script', SCRIPTS)
def test_help_is_light_and_works_beside_a_decoy(script, clone, decoy_python, tmp_path):
    done = run(decoy_python, clone / script, '--help', cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert 'usage:' in done.stdout
    code = (
        'import runpy, sys\nsys.argv = [sys.argv[1], "--help"]\n'
        'try:\n    runpy.run_path(sys.argv[0], run_name="__main__")\nexcept SystemExit:\n    pass\n'
        'assert "torch" not in sys.modules'
    )
    done = run(decoy_python, '-c', code, clone / script, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_as_modules_they_work_too_and_leave_the_import_path_alone(clone, decoy_python):
    done = run(decoy_python, '-m', 'basicsr.train', '--help', cwd=clone)
    assert done.returncode == 0 and 'usage:' in done.stdout, done.stderr
    names = ', '.join(name.removesuffix('.py').replace('/', '.') for name in MODULES)
    code = f'import sys\nbefore = list(sys.path)\nimport {names}\nassert sys.path == before'
    done = run(decoy_python, '-c', code, cwd=clone)
    assert done.returncode == 0, done.stderr


def test_the_decoy_would_be_imported_otherwise(decoy_python, tmp_path):
    assert 'the decoy was imported' in run(decoy_python, '-c', 'import basicsr', cwd=tmp_path).stderr


@pytest.mark.slow
def test_doctor_names_the_decoy_and_its_own_package(clone, decoy_python, tmp_path):
    done = run(decoy_python, clone / 'scripts/doctor.py', cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f'in {clone / "basicsr"}' in done.stdout
    assert str(decoy_python.parent.parent) in done.stdout
    assert 'no problems found' in done.stdout


@pytest.mark.slow
def test_doctor_is_quiet_without_one(clone, tmp_path):
    if any(Path(p or '.', 'basicsr', '__init__.py').is_file() for p in sys.path if Path(p).resolve() != ROOT):
        pytest.skip('this environment itself has another basicsr installed')
    done = run(sys.executable, clone / 'scripts/doctor.py', cwd=tmp_path)
    assert 'another' not in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize('python', ['own', 'with a decoy'])
def test_model_info_counts_the_published_network(python, clone, decoy_python, tmp_path):
    interpreter = sys.executable if python == 'own' else decoy_python
    done = run(interpreter, clone / 'scripts/model_info.py', '-opt', clone / OPTIONS, '--rounds', '0', cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert 'parameters   17,112,545' in done.stdout
    assert 'MACs         16.00 G' in done.stdout
    assert '1 × 1 × 256 × 256' in done.stdout  # the masks


@pytest.mark.slow
@pytest.mark.parametrize(
    ('options', 'parameters', 'macs'), [('NAFNet', '17,111,907', '15.96'), ('CAT', '17,112,195', '15.97')]
)
def test_model_info_counts_the_other_networks(options, parameters, macs, tmp_path):
    file = ROOT / f'options/train/GoPro/{options}.yml'
    done = run(sys.executable, ROOT / 'scripts/model_info.py', '-opt', file, '--rounds', '0', cwd=tmp_path)
    assert f'parameters   {parameters}' in done.stdout
    assert f'MACs         {macs} G' in done.stdout


@pytest.mark.slow
def test_model_info_times_a_forward_pass(tmp_path):
    small = ['network_g:width=4', 'network_g:enc_blk_nums=[1]', 'network_g:dec_blk_nums=[1]']
    arguments = [
        '-opt',
        ROOT / OPTIONS,
        '--size',
        '37',
        '50',
        '--rounds',
        '2',
        '--device',
        'cpu',
        '--force_yml',
        *small,
    ]
    done = run(sys.executable, ROOT / 'scripts/model_info.py', *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r'\d ms .*\bcpu\b.*\b2\b', done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['-opt', 'gone.yml'], 'gone.yml'),
        (['-opt', ROOT / OPTIONS, '--device', 'gpu'], "'gpu'"),
        (['-opt', ROOT / OPTIONS, '--size', '0', '256'], '--size'),
        (['-opt', ROOT / OPTIONS, '--force_yml', 'network_g:widht=4'], "'width'"),
    ],
)
def test_model_info_says_what_is_wrong_without_a_traceback(arguments, message, tmp_path):
    done = run(sys.executable, ROOT / 'scripts/model_info.py', *arguments, '--rounds', '0', cwd=tmp_path)
    assert done.returncode == 1
    assert message in done.stderr
    assert 'Traceback' not in done.stderr


@pytest.mark.slow
def test_the_picture_of_the_readme_is_the_result_of_the_command(tmp_path):
    """The shake, the blurred photo and the gain can be made again."""
    import cv2

    from basicsr.metrics import calculate_psnr

    done = run(sys.executable, ROOT / 'scripts/make_before_after.py', '-o', tmp_path / 'new', cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.startswith('kernel: '), done.stderr
    for name in ('shaken.jpg', 'before_after.jpg'):
        ours, shipped = (cv2.imread(str(folder / name)) for folder in (tmp_path / 'new', ROOT / 'docs/images'))
        assert calculate_psnr(ours, shipped) > 35


@pytest.mark.slow
def test_the_readmes_picture_is_drawn_again(tmp_path):
    import cv2

    done = run(sys.executable, ROOT / 'scripts/make_overview.py', '-o', tmp_path / 'new' / 'picture.png', cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (
        cv2.imread(str(tmp_path / 'new' / 'picture.png')).shape
        == cv2.imread(str(ROOT / 'docs/images/overview.png')).shape
    )
