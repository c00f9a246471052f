"""Where the project and its vectors are, and what a missing package means: a skip for a user, a failure in CI."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


SHARED = Path(os.environ.get('BASICSR_SHARED', ROOT.parent / 'shared'))


CARRIED = ROOT / 'tests' / 'fixtures' / 'conformance'


IN_CI = os.environ.get('CI', '').lower() in ('1', 'true')


def absent(reason: str) -> Any:
    """Skip the test with the reason; in CI fail instead."""
    if IN_CI:
        pytest.fail(f'{reason} (a skip is a failure in CI)')
    pytest.skip(reason)


def require(*packages: str) -> None:
    """Skip the test with the reason unless these optional packages are installed; in CI fail instead."""
    for package in packages:
        try:
            importlib.import_module(package)
        except ModuleNotFoundError:
            absent(f'the package {package} is not installed')


class Script:
    """The main function of a command, called in this process with a folder of its own as the current one.

    Args:
        name: of the file in ``scripts/``.
        monkeypatch: puts everything back.
        folder: where it runs.
    """

    def __init__(self, name: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.name, self.monkeypatch = name, monkeypatch
        monkeypatch.chdir(folder)
        place = importlib.util.spec_from_file_location(f'script_{Path(name).stem}', ROOT / 'scripts' / name)
        assert place is not None and place.loader is not None
        self.module: Any = importlib.util.module_from_spec(place)
        monkeypatch.setitem(sys.modules, self.module.__name__, self.module)  # dataclasses look their module up
        monkeypatch.setattr(sys, 'path', list(sys.path))  # which scripts mend
        place.loader.exec_module(self.module)

    def __call__(self, *arguments: str) -> int:
        self.monkeypatch.setattr(sys, 'argv', [self.name, *arguments])
        code: int = self.module.main()
        return code


def run_python(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments in a folder, as somebody whose environment sets no path."""
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, 'PYTHONPATH': ''},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


class Vector:
    """One conformance file: what the original implementation returned for given weights and inputs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with np.load(path, allow_pickle=False) as file:
            self.arrays = {key: file[key] for key in file.files if key != 'meta'}
            self.meta = json.loads(str(file['meta']))

    def __getitem__(self, key: str) -> np.ndarray:
        array: np.ndarray = self.arrays[key]
        return array

    def tensor(self, key: str) -> Any:
        """An array as a tensor."""
        import torch

        return torch.from_numpy(self.arrays[key])

    def state(self) -> dict[str, Any]:
        """The parameters under their published names."""
        import torch

        return {k[len('state/') :]: torch.from_numpy(v) for k, v in self.arrays.items() if k.startswith('state/')}

    @property
    def tolerance(self) -> dict[str, float]:
        """``rtol`` and ``atol`` as the vector states them."""
        return {key: self.meta['tolerance'][key] for key in ('rtol', 'atol')}


def find_vector(topic: str, name: str) -> Path:
    """The file in the shared folder, else the copy this clone carries."""
    for folder in (SHARED / 'conformance', CARRIED):
        if (folder / topic / name).is_file():
            return folder / topic / name
    absent(f'conformance vector {topic}/{name} is neither in {SHARED} nor carried in {CARRIED}')
    raise AssertionError
