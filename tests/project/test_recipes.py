"""The recipes of CONTRIBUTING.md work as they stand, are short, and touch few files."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.project import ROOT

PAGE = (ROOT / 'CONTRIBUTING.md').read_text(encoding='utf-8')
RECIPES = dict(re.findall(r'^### (Add [^\n]*)\n(.*?)(?=^##)', PAGE, re.S | re.M))
FILE = re.compile(r'^(?:In )?`([^`]+)`(?:, below `([^`]+)`)?:\n\n```\w+\n(.*?)^```', re.S | re.M)
TRIAL = re.compile(r'^Try it:\n\n```(\w+)\n(.*?)^```', re.S | re.M)


@pytest.fixture
def copy(tmp_path):
    """A copy of the project that recipes may change."""
    for name in ('basicsr', 'options', 'scripts'):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns('__pycache__'))
    return tmp_path


def test_there_is_a_recipe_for_every_part():
    parts = ('network', 'metric', 'loss', 'mask generator', 'data set', 'benchmark set')
    assert list(RECIPES) == [f'Add a {part}' for part in parts]


@pytest.mark.parametrize('title', RECIPES)
def test_recipes_are_short(title):
    files = FILE.findall(RECIPES[title])
    assert 1 <= len(files) <= 3
    assert sum(len(text.strip().splitlines()) for _, _, text in files) <= 30


@pytest.mark.slow
@pytest.mark.parametrize('title', RECIPES)
def test_recipes_work(title, copy):
    for name, below, text in FILE.findall(RECIPES[title]):
        file: Path = copy / name
        assert file.exists() == bool(below)  # a new file, or a change to an old one
        file.parent.mkdir(parents=True, exist_ok=True)
        if below:
            head, line, rest = file.read_text(encoding='utf-8').partition(f'\n{below}\n')
            assert line
            text = head + line + text + rest
        file.write_text(text, encoding='utf-8')
    (language, trial) = TRIAL.search(RECIPES[title]).groups()
    lines = trial.replace('\\\n', ' ').splitlines() if language == 'bash' else [f'python -c {shlex.quote(trial)}']
    environment = {**os.environ, 'PYTHONPATH': str(copy)}
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == 'python'
        done = subprocess.run(
            [sys.executable, *arguments], cwd=copy, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f'{line}\n{done.stdout}{done.stderr}'
