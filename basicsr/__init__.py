"""Image deblurring with region priors: SAM-Deblur, NAFNet and tools."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from basicsr.version import __version__

if TYPE_CHECKING:
    from basicsr.inference.deblurrer import Deblurrer

__all__ = ['Deblurrer', '__version__']


def __getattr__(name: str) -> Any:
    if name != 'Deblurrer':
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from basicsr.inference.deblurrer import Deblurrer  # imports torch, so only on first use

    return Deblurrer
