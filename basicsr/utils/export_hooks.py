"""Helpers for networks under ``torch.export``, where sizes are symbols and branches may not depend on them."""

from __future__ import annotations

from typing import Any

import torch


def exporting() -> bool:
    """Return whether ``torch.export`` is tracing the network, for any height and width.

    It is False under ``torch.compile``, which compiles again for other sizes.
    """
    return bool(torch.compiler.is_exporting())


def larger(first: int, second: int) -> int:
    """Return ``max`` without branching on symbolic sizes."""
    result: Any = torch.sym_max(first, second)
    return result  # type: ignore[no-any-return]


def smaller(first: int, second: int) -> int:
    """Return ``min`` without branching on symbolic sizes."""
    result: Any = torch.sym_min(first, second)
    return result  # type: ignore[no-any-return]
