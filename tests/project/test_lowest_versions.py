"""The oldest versions that are tested are those that the project says it needs."""

from __future__ import annotations

import re
import sys

from tests.helpers.project import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # which pytest brings along there

PACKAGE = re.compile(r'([A-Za-z0-9-]+)(\[[^]]*\])?(?:(>=|==)([0-9.]+))?')


def packages(lines: list[str], sign: str) -> dict[str, str]:
    """The packages with a version after that sign, by name."""
    found = [PACKAGE.match(line) for line in lines if line and not line.startswith('#')]
    return {match[1]: match[4] for match in found if match and match[3] == sign}


def test_the_oldest_versions_are_the_lower_bounds():
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
    needed = (ROOT / 'requirements.txt').read_text().splitlines()
    needed += [line for extra in project['optional-dependencies'].values() for line in extra]
    bounds = packages(needed, '>=')
    del bounds['setuptools']  # which builds the project, and is asked for in isolation
    assert packages((ROOT / 'constraints-lowest.txt').read_text().splitlines(), '==') == bounds


def test_every_package_has_a_lower_bound_or_is_fixed():
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
    needed = (ROOT / 'requirements.txt').read_text().splitlines()
    needed += [line for extra in project['optional-dependencies'].values() for line in extra]
    unbounded = {line for line in needed if not re.search('[>=]=', line)}
    assert all(line.startswith(('types-', 'basicsr-region-deblur[')) for line in unbounded), unbounded
