"""Docs, help texts, option descriptions, messages and docstrings avoid a few patterns that make readers stumble."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.project import ROOT

PAGES = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *sorted((ROOT / 'docs').glob('*.md'))]
FILES = [ROOT / 'basicsr_commands.py', ROOT / 'setup.py', ROOT / '.ci/run', ROOT / 'pyproject.toml']
KEPT = {'kind of blur not told by this layout'}  # in the records of version 0.1
ROOMS = [
    *FILES,
    ROOT / 'basicsr',
    ROOT / 'scripts',
    *sorted(file.parent for file in (ROOT / 'basicsr').glob('*/__init__.py')),
]
PATTERNS = {  # pattern: what to write
    r'\bpictures?\b': 'image',
    r'\bdata bases?\b': 'database',
    r'\bcom(?:es?|ing) along\b|\bcame along\b': 'bundled, included',
    r'\btold\b': 'the error says, the log shows',
    r'\b(?:lies?|lay) (?:in|on|at|beside|below|above|there|where)\b': 'is in, is next to',
    r'\bgiven up\b': 'ignored, stopped',
    r'\bwithout a word\b': 'silently',
    r'\bnobody (?:foresaw|foresees)\b': 'unexpected',
    r'\bthat (?:is|are|was|were) (?:already )?there\b': 'existing',
    r'(?:^|[,;:*-] )what (?:is|are|was|were|nobody)\b[^?]*$': 'a noun in place of the clause',
    r'\bno \w+ that\b': 'not a ..., no ... with',
    r'\bfound out\b': 'detected',
    r'(?:^|[,;:*-] )who (?:waits|passes|needs|wants)\b[^?]*$': 'users, if you',
    r'\bmade-up\b': 'synthetic, simulated',
    r'\bgreys?\b': 'gray',
    r'\bmak(?:e|es|ing)\b[^.;]* again\b': 'recreate',
    r'\banother (?:shape|dtype|type|format|recipe|number|optimizer)\b': 'a different ...',
}


def sentences(text: str) -> list[str]:
    """The prose of a page, without code, link targets and HTML comments."""
    for gone in (r'^```.*?^```', r'<!--.*?-->', r'`[^`]*`', r'\]\([^)]*\)'):
        text = re.sub(gone, ' ', text, flags=re.S | re.M)
    blocks = re.split(r'\n\s*\n|\n(?=[|#*\d-])', text)
    return [s.strip() for block in blocks for s in re.split(r'(?<=[.?!]) |\|', ' '.join(block.split())) if s.strip()]


def slips(text: str) -> list[str]:
    """Each slip with its sentence and the cure."""
    return [
        f'{sentence!r}: write {cure}'
        for sentence in sentences(text)
        for pattern, cure in PATTERNS.items()
        if re.search(pattern, sentence, re.I)
    ]


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_pages_are_free_of_slips(page):
    assert slips(page.read_text(encoding='utf-8')) == []


def texts(module: Path) -> Iterator[tuple[int, str]]:
    """Every text of a file: comments; in a module also docstrings, messages, help; f-strings with X for a value."""
    source = module.read_text(encoding='utf-8')
    if module.suffix != '.py':
        lines = enumerate(source.splitlines(), 1)
        yield from ((number, comment) for number, line in lines for comment in re.findall(r'(?:^|\s)#(.*)', line))
        return
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], re.sub(r'^#\s*(?:noqa:? ?[A-Z\d, ]*|type: ignore\S*)?(?: - )?', '', token.string)
    tree = ast.parse(source)
    inside: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inside |= {id(part) for part in ast.walk(node) if part is not node}
            if id(node) not in inside:
                parts = [part.value if isinstance(part, ast.Constant) else 'X' for part in node.values]
                yield node.lineno, ''.join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.lineno, node.value


@pytest.mark.parametrize('room', ROOMS, ids=lambda room: room.name)
def test_code_speaks_free_of_slips(room):
    modules = (
        [room]
        if room.is_file()
        else sorted(room.glob('*.py') if room.name in ('basicsr', 'scripts') else room.rglob('*.py'))
    )
    found = [
        f'{module.relative_to(ROOT)}:{line}: {slip}'
        for module in modules
        for line, text in texts(module)
        if len(text.split()) > 2 and text not in KEPT
        for slip in slips(text)
    ]
    assert not found, '\n'.join(found)


@pytest.mark.parametrize(
    'text',
    [
        'A picture of the network.',
        'The network that comes along is small.',
        'Masks lie beside the images.',
        'What is missing is named.',
        'It is printed, what is left.',
        'Results that are there are kept.',
        '| file | no image that can be read |',
        'Its state is given\nup.',
        '* a made-up photo',
        'A grey image.',
        'Make the store again.',
        'The mask has another shape.',
    ],
)
def test_slips_are_found(text):
    assert slips(f'# Title\n\n{text}\n')


@pytest.mark.parametrize(
    'text',
    ['## What is MCR?', '```\na picture\n```', 'See `pictures/` and [the page](picture.md).', 'A database of images.'],
)
def test_code_and_questions_pass(text):
    assert not slips(f'{text}\n')


def test_the_readme_is_short():
    assert len((ROOT / 'README.md').read_text(encoding='utf-8').splitlines()) <= 150
