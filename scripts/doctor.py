"""Check the installation: package versions, devices, optional packages, and a conflicting basicsr."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import platform
import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
runpy.run_path(str(ROOT / 'basicsr' / 'utils' / 'clone.py'))
ELSEWHERE = sys.path[1:]  # import path of other programs

REQUIRED = (
    *('torch', 'torchvision', 'numpy', 'opencv-python-headless', 'pillow', 'scikit-image', 'pydantic', 'PyYAML'),
    *('lmdb', 'tensorboard', 'tqdm', 'segment-anything'),
)
OPTIONAL = {'demo': ['gradio'], 'video': ['av'], 'export': ['onnx', 'onnxruntime'], 'dev': ['pytest', 'ruff', 'mypy']}
MODULES = {'opencv-python-headless': 'cv2', 'pillow': 'PIL', 'scikit-image': 'skimage', 'PyYAML': 'yaml'}


def version(distribution: str) -> str | None:
    """Return the version of a distribution, '?' if only its module is installed, None if neither is."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        module = MODULES.get(distribution, distribution.replace('-', '_'))
        return '?' if importlib.util.find_spec(module) else None


def other_basicsr() -> Path | None:
    """Return a ``basicsr`` of another project that programs outside this folder would import."""
    for folder in ELSEWHERE:
        candidate = Path(folder or '.').resolve() / 'basicsr'
        if (candidate / '__init__.py').is_file():
            return None if candidate == ROOT / 'basicsr' else candidate
    return None


def devices() -> list[str]:
    """Return a line for each device of torch."""
    import torch

    found = [f'cpu: {os.cpu_count()} cores, {torch.get_num_threads()} threads']
    for index in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(index)
        found.append(f'cuda:{index}: {about.name}, {about.total_memory / 2**30:.0f} GiB')
    if torch.backends.mps.is_available():
        found.append('mps: Apple GPU')
    return found


def main() -> int:
    """Print the findings; return 1 if a required package is missing."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    import basicsr
    from basicsr.utils.console import missing_package

    print(f'basicsr {basicsr.__version__} in {Path(basicsr.__file__).parent}')
    print(f'python {platform.python_version()} on {platform.platform()}')
    for distribution in REQUIRED:
        print(f'  {distribution:<24} {version(distribution) or "MISSING"}')
    for extra, distributions in OPTIONAL.items():
        for distribution in distributions:
            found = version(distribution) or f'not installed (optional: pip install -e .[{extra}])'
            print(f'  {distribution:<24} {found}')
    if version('torch'):
        print('devices', *devices(), sep='\n  ')
    decoy = other_basicsr()
    if decoy and (decoy / 'bundled').is_dir():
        print(f'note: this project is also installed in {decoy}; programs outside this clone import that one')
    elif decoy:
        print(f'note: another basicsr is installed in {decoy}')
        print('The commands of this project import their own package, but your programs would import that one.')
        print('To avoid the conflict, use a new environment: python -m venv .venv && .venv/bin/pip install -e .')
    missing = [distribution for distribution in REQUIRED if version(distribution) is None]
    print(f'problem: {missing_package(", ".join(missing))}' if missing else 'no problems found')
    return 1 if missing else 0


if __name__ == '__main__':
    from basicsr.utils.console import run_and_exit

    run_and_exit(main)
