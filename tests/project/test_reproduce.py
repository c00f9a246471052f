"""docs/reproduce.md: its commands name what exists, and its published numbers are those of the reports."""

from __future__ import annotations

import re
import shlex

import pytest

from basicsr.options import load_options
from basicsr.preparation.benchmark_sets import SETS as BENCHMARKS
from basicsr.reporting.published import METHODS, SETS, published_scores
from tests.helpers.project import ROOT

PAGE = (ROOT / 'docs/reproduce.md').read_text(encoding='utf-8')
COMMANDS = [
    line.strip()
    for block in re.findall(r'```text\n(.*?)```', PAGE, re.S)
    for line in block.splitlines()
    if line.strip()
]


def test_there_are_commands_for_every_step():
    names = [word for line in COMMANDS for word in shlex.split(line) if word.endswith('.py')]
    assert {'scripts/prepare_data.py', 'scripts/check_data.py', 'scripts/table1.py'} <= set(names)
    assert names.count('basicsr/train.py') == 5 and names.count('basicsr/test.py') == 10


@pytest.mark.parametrize('command', COMMANDS)
def test_commands_that_need_downloads_are_valid(command):
    words = shlex.split(command)
    assert words[0] in ('python', 'torchrun')
    script = next(word for word in words if word.endswith('.py'))
    assert (ROOT / script).is_file()
    if script == 'scripts/prepare_data.py':
        assert words[2] in BENCHMARKS
    if '-opt' in words:
        forced = words[words.index('--force_yml') + 1 :] if '--force_yml' in words else []
        phase = 'train' if script == 'basicsr/train.py' else 'test'
        path = ROOT / words[words.index('-opt') + 1]
        if script != 'scripts/check_data.py':
            load_options(path, forced, phase)
        assert path.is_file()
    known = (ROOT / script).read_text(encoding='utf-8') + (ROOT / 'basicsr/train.py').read_text(encoding='utf-8')
    for flag in (word for word in words[words.index(script) :] if word.startswith('--')):
        assert flag in known or flag == '--force_yml', f'{script} {flag}'


def test_published_numbers_are_those_of_the_paper():
    table = PAGE[PAGE.index('Expected, *published*') :]
    for method in METHODS:
        cells = re.search(rf'^\| `{method}\.yml` \|(.*)\|$', table, re.M)
        assert cells is not None
        for dataset, cell in zip(SETS, cells[1].split('|'), strict=True):
            numbers = [float(number) for number in re.findall(r'\d+\.\d+', cell)]
            assert numbers == list(published_scores(method, dataset).values()), (method, dataset)
