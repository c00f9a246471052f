"""What is installed here and whether it fits: versions, devices, optional parts, a second ``basicsr`` in the way."""

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
ELSEWHERE = sys.path[1:]  # what other programs import from

REQUIRED = {
    'torch': 'torch',
    'torchvision': 'torchvision',
    'numpy': 'numpy',
    'opencv-python-headless': 'cv2',
    'pillow': 'PIL',
    'scikit-image': 'skimage',
    'pydantic': 'pydantic',
    'PyYAML': 'yaml',
    'lmdb': 'lmdb',
    'tensorboard': 'tensorboard',
    'tqdm': 'tqdm',
    'segment-anything': 'segment_anything',
}
OPTIONAL = {
    'gradio': 'demo',
    'av': 'video',
    'onnx': 'export',
    'onnxruntime': 'export',
    'pytest': 'dev',
    'ruff': 'dev',
    'mypy': 'dev',
}


def version(distribution: str, module: str) -> str | None:
    """Version of a distribution, '?' if only the module is there, None if neither."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return '?' if importlib.util.find_spec(module) else None


def other_basicsr() -> Path | None:
    """A ``basicsr`` of another project that programs outside this folder would import."""
    for folder in ELSEWHERE:
        candidate = Path(folder or '.').resolve() / 'basicsr'
        if (candidate / '__init__.py').is_file():
            return None if candidate == ROOT / 'basicsr' else candidate
    return None


def devices() -> list[str]:
    """What torch can compute on."""
    import torch

    found = [f'cpu: {os.cpu_count()} cores, {torch.get_num_threads()} threads']
    for index in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(index)
        found.append(f'cuda:{index}: {about.name}, {about.total_memory / 2**30:.0f} GiB')
    if torch.backends.mps.is_available():
        found.append('mps: Apple GPU')
    return found


def main() -> int:
    """Print the findings; exit code 1 if something needed is missing."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    import basicsr
    from basicsr.utils.console import missing_package

    problems: list[str] = []
    missing: list[str] = []
    print(f'basicsr {basicsr.__version__} in {Path(basicsr.__file__).parent}')
    print(f'python {platform.python_version()} on {platform.platform()}')
    for distribution, module in REQUIRED.items():
        found = version(distribution, module)
        print(f'  {distribution:<24} {found or "MISSING"}')
        if found is None:
            missing.append(distribution)
    if missing:
        problems.append(missing_package(', '.join(missing)))
    for distribution, extra in OPTIONAL.items():
        found = version(distribution, distribution)
        print(f'  {distribution:<24} {found or f"not installed (optional: pip install -e .[{extra}])"}')
    if version('torch', 'torch'):
        print('devices')
        for line in devices():
            print(f'  {line}')
    decoy = other_basicsr()
    if decoy and (decoy / 'bundled').is_dir():
        print(f'note: this project is installed as well, in {decoy}; programs outside of this clone import that one')
    elif decoy:
        print(f'note: another basicsr is installed in {decoy}')
        print('The commands of this project use their own, but a program of yours would import that one.')
        print('A fresh environment avoids the clash: python -m venv .venv && .venv/bin/pip install -e .')
    for problem in problems:
        print(f'problem: {problem}')
    print('all is well' if not problems else f'{len(problems)} problem(s)')
    return 1 if problems else 0


if __name__ == '__main__':
    from basicsr.utils.console import run

    sys.exit(run(main))
