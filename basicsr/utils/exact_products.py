"""Matrix products in full float32 precision, where GPUs would otherwise round their factors to TF32."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_SCHEMA = '(Tensor first, Tensor second) -> Tensor'


def exact_matmul(first: Tensor, second: Tensor) -> Tensor:
    """Multiply (..., n, k) and (..., k, m) as ``@`` does, for long sums and transforms: TF32 would keep three digits.

    The backward pass is as exact, although it runs outside of any context of the forward pass. To ``torch.compile``,
    the product is one operator.
    """
    if not _would_be_rounded(first):
        return first @ second
    batch = torch.broadcast_shapes(first.shape[:-2], second.shape[:-2])
    factors = (factor.expand(*batch, -1, -1).reshape(-1, *factor.shape[-2:]) for factor in (first, second))
    product: Tensor = _bmm_without_tf32(*factors)
    return product.reshape(*batch, *product.shape[-2:])


def _would_be_rounded(factor: Tensor) -> bool:
    return factor.is_cuda and torch.backends.cuda.matmul.allow_tf32


@torch.library.custom_op('basicsr::bmm_without_tf32', mutates_args=(), schema=_SCHEMA)
def _bmm_without_tf32(first: Tensor, second: Tensor) -> Tensor:
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        return torch.bmm(first, second)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


@_bmm_without_tf32.register_fake
def _shape(first: Tensor, second: Tensor) -> Tensor:
    return torch.bmm(first, second)


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
    first, second = ctx.saved_tensors
    of_first, of_second = ctx.needs_input_grad
    return (
        _bmm_without_tf32(gradient, second.mT) if of_first else None,
        _bmm_without_tf32(first.mT, gradient) if of_second else None,
    )


_bmm_without_tf32.register_autograd(_backward, setup_context=_keep)
