"""The commands on the pages of the documentation."""

from __future__ import annotations

import re

from tests.helpers.project import ROOT

PAGES = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *sorted((ROOT / 'docs').glob('*.md'))]


def blocks(language: str) -> list[tuple[str, str]]:
    """(page, text) of every fenced block in that language."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding='utf-8')
        text = re.sub(r'^## Recipes.*?^(?=## )', '', text, flags=re.S | re.M)  # run by project/test_recipes.py
        found += [(page.name, block) for block in re.findall(rf'^```{language}\n(.*?)^```', text, re.S | re.M)]
    return found


COMMANDS = [
    (page, line.split('  #')[0].strip())
    for page, block in blocks('bash')
    for line in block.replace('\\\n', ' ').splitlines()
    if line.strip() and not line.startswith('#')
]


def commands_of(page):
    """The commands of a page, in their order."""
    return [line for name, line in COMMANDS if name == page]
