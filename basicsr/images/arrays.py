"""Arrays of pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from basicsr.utils.errors import BasicsrError

Array: TypeAlias = npt.NDArray[Any]
"""An array of any dtype; each function documents its own."""


def read_npy(path: Path, error: type[BasicsrError], what: str) -> Array:
    """Map the array of a ``.npy`` file: a header that claims more than the file contains takes no memory.

    Args:
        path: the file.
        error: raised if it is missing or damaged, or contains Python objects or several arrays.
        what: what it should contain, for the message.
    """
    try:
        values = np.load(path, mmap_mode='r', allow_pickle=False)
        if not isinstance(values, np.ndarray):
            raise ValueError('an archive, not one array')
    except Exception as cause:  # numpy raises errors of many types
        reason = getattr(cause, 'strerror', None) or cause
        raise error(f'{path}: cannot be read as {what} ({reason})') from cause
    return values
