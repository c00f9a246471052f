"""Long sums and transforms never use TF32, in both passes; shown without a GPU by the operators that run."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from basicsr.archs.cross_correlation import CrossCorrelation
from basicsr.archs.local_pool import LocalAvgPool2d
from basicsr.archs.map_unit import mask_average_pooling
from basicsr.utils import exact_products
from basicsr.utils.device import tf32

EXACT = torch.ops.basicsr.bmm_without_tf32


class _Products(TorchDispatchMode):
    """Count matrix products by name."""

    def __init__(self):
        super().__init__()
        self.found = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._overloadpacket.__name__
        if name in ('mm', 'bmm', 'addmm', 'baddbmm', 'bmm_without_tf32'):
            self.found[name] += 1
        return func(*args, **(kwargs or {}))


def pooled_stacks(x):
    return mask_average_pooling(x, [torch.zeros(2, 1, *x.shape[-2:], dtype=torch.bool, device=x.device)] * len(x))


PRODUCTS = {'correlation': CrossCorrelation(2, 3), 'local pool': LocalAvgPool2d((8, 8)), 'stacks': pooled_stacks}


@pytest.mark.parametrize('name', PRODUCTS)
def test_they_are_exact_on_a_gpu_with_tf32(name):
    PRODUCTS[name](torch.rand(2, 3, 16, 24))  # computes what depends on the size alone
    found = {}
    for enabled in (False, True):
        with FakeTensorMode(), tf32(enabled), _Products() as products:
            PRODUCTS[name](torch.rand(2, 3, 16, 24, device='cuda'))
        found[enabled] = set(products.found)
    assert found[True] == {'bmm_without_tf32'} and found[False] == {'bmm'}


@pytest.mark.parametrize('name', PRODUCTS)
def test_their_backward_pass_is_the_same_and_as_exact(name, monkeypatch):
    """PyTorch's engine cannot run a backward pass on a GPU that does not exist; the operator works on a CPU, too."""
    x = torch.rand(2, 3, 16, 24, dtype=torch.float64)
    sides = []
    for rounded in (False, True):
        monkeypatch.setattr(exact_products, '_would_be_rounded', lambda factor, rounded=rounded: rounded)
        leaf = x.clone().requires_grad_()
        with _Products() as products:
            result = PRODUCTS[name](leaf)
            forward = products.found.total()
            result.square().sum().backward()
        assert products.found.total() > forward > 0
        assert set(products.found) == ({'bmm_without_tf32'} if rounded else {'bmm'})
        sides.append((result.detach(), leaf.grad))
    torch.testing.assert_close(sides[1], sides[0], rtol=1e-12, atol=1e-12)


def test_exact_products_switch_tf32_off_in_both_passes(monkeypatch):
    real, seen = torch.bmm, []

    def bmm(*factors):
        seen.append(torch.backends.cuda.matmul.allow_tf32)
        return real(*factors)

    monkeypatch.setattr(torch, 'bmm', bmm)
    first = torch.rand(3, 4, 5, dtype=torch.float64, requires_grad=True)
    second = torch.rand(3, 5, 2, dtype=torch.float64, requires_grad=True)
    with tf32(True):
        assert torch.equal(EXACT(first, second), real(first, second))
        EXACT(first, second).sum().backward()
        assert torch.backends.cuda.matmul.allow_tf32
    assert seen == [False] * 4
    assert torch.autograd.gradcheck(EXACT, (first, second))
    torch.library.opcheck(EXACT, (first, second))
