"""Problems of option files, compared by place, key and value instead of by their sentences."""

from __future__ import annotations

import re
from collections.abc import Sequence


def unexpected(problems: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """The problems that do not begin as the pattern of their position; an empty list if each one does."""
    assert len(problems) == len(patterns), problems
    return [problem for problem, pattern in zip(problems, patterns, strict=True) if not re.match(pattern, problem)]
