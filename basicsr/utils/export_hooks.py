"""What networks ask when they are written down as a graph: there, sizes are symbols, and no branch may look at them."""

from __future__ import annotations

from typing import Any

import torch


def exporting() -> bool:
    """Whether ``torch.export`` is writing the program down; it has to hold for any height and width then.

    Under ``torch.compile`` it is False: there programs are made again for other sizes, and training goes on.
    """
    return bool(torch.compiler.is_exporting())


def larger(first: int, second: int) -> int:
    """``max`` that asks nothing of a size that is a symbol."""
    result: Any = torch.sym_max(first, second)
    return result  # type: ignore[no-any-return]


def smaller(first: int, second: int) -> int:
    """``min`` that asks nothing of a size that is a symbol."""
    result: Any = torch.sym_min(first, second)
    return result  # type: ignore[no-any-return]
