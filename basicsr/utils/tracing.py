"""What networks ask when they are written down as a graph: there, sizes are symbols, and no branch may look at them."""

from __future__ import annotations

from typing import Any

import torch

_is_exporting = getattr(torch.compiler, 'is_exporting', None)  # since torch 2.7


def exporting() -> bool:
    """Whether ``torch.export`` is writing the program down; it has to hold for any height and width then.

    Under ``torch.compile`` it is False: there programs are made again for other sizes, and training goes on.
    """
    if _is_exporting is not None:
        return bool(_is_exporting())
    return bool(torch.compiler.is_compiling()) and not torch.compiler.is_dynamo_compiling()


def larger(first: int, second: int) -> int:
    """``max`` that asks nothing of a size that is a symbol."""
    result: Any = torch.sym_max(first, second)
    return result  # type: ignore[no-any-return]


def smaller(first: int, second: int) -> int:
    """``min`` that asks nothing of a size that is a symbol."""
    result: Any = torch.sym_min(first, second)
    return result  # type: ignore[no-any-return]
