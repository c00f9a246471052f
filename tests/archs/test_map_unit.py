"""Mask average pooling: the original's numbers, Algorithm 1 written plainly, gradients, dropout, bad input."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from basicsr.archs import build_network
from basicsr.archs.map_unit import MaskAveragePooling, drop_masks, mask_average_pooling
from basicsr.data import to_floats
from basicsr.utils.errors import MaskError, ShapeError
from benchmarks import transcriptions
from tests.helpers.label_maps import batch_of_label_maps, ellipses
from tests.helpers.project import ROOT

pytestmark = pytest.mark.numeric


def multiplier(value: float | str) -> float:
    return 1 / 255 if value == '1/255' else float(value)


@pytest.mark.vectors
def test_operator_matches_the_original_over_stacks_and_label_maps(vector):
    case = vector('sam_deblur', 'map_op')
    assert len(case.meta['cases']) == 13
    for about in case.meta['cases']:
        name, value = about['name'], multiplier(about['mask_multiplier'])
        features = torch.from_numpy(case[f'in/{name}/features'])[None]
        masks = torch.from_numpy(case[f'in/{name}/masks'])
        expected = torch.from_numpy(case[f'out/{name}/map'])[None]
        pooled = mask_average_pooling(features, [masks], value)
        torch.testing.assert_close(pooled, expected, msg=lambda m, n=name: f'{n}: {m}', **case.tolerance)
        if masks.dtype == torch.bool:
            labels = batch_of_label_maps([masks.numpy()])
            pooled = mask_average_pooling(features, labels, value)
            torch.testing.assert_close(pooled, expected, msg=lambda m, n=name: f'{n}: {m}', **case.tolerance)


@pytest.mark.vectors
@pytest.mark.parametrize('form', ['stack', 'label map'])
def test_dropout_in_training_matches_the_original(vector, form):
    case = vector('sam_deblur', 'map_op_train_dropout')
    assert len(case.meta['cases']) == 6
    for about in case.meta['cases']:
        unit = MaskAveragePooling(about['mask_dropout']).train()
        features = torch.from_numpy(case[f'in/{about["name"]}/features'])[None]
        masks = torch.from_numpy(case[f'in/{about["name"]}/masks'])
        assert masks.flatten(1).any(1).all()  # every mask occurs, so ids and planes are the same in number
        torch.manual_seed(about['torch_manual_seed'])
        pooled = unit(features, [masks] if form == 'stack' else batch_of_label_maps([masks.numpy()]))
        torch.testing.assert_close(pooled[0], torch.from_numpy(case[f'out/{about["name"]}/map']), **case.tolerance)


def test_nine_overlapping_masks_in_few_layers_agree_with_algorithm_1():
    masks = ellipses(9, 40, 52)
    labels = batch_of_label_maps([masks])
    assert 1 < labels.shape[1] <= 5
    assert masks.sum(0).max() > 1
    x = torch.randn(1, 3, 40, 52)
    expected = transcriptions.mask_average_pooling(x, [torch.from_numpy(masks)[:, None].float()])
    torch.testing.assert_close(mask_average_pooling(x, labels), expected, rtol=0, atol=5e-7)


@pytest.mark.parametrize('value', [1.0, 0.4, 1 / 255])
def test_batches_of_different_masks_agree_with_algorithm_1(value):
    masks = [ellipses(7, 23, 31, 1), ellipses(2, 23, 31, 2), np.zeros((3, 23, 31), bool), np.ones((1, 23, 31), bool)]
    stacks = [torch.from_numpy(m)[:, None].double() * value for m in masks]
    x = torch.randn(4, 2, 23, 31, dtype=torch.float64)
    expected = transcriptions.mask_average_pooling(x, stacks)
    torch.testing.assert_close(mask_average_pooling(x, batch_of_label_maps(masks), value), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(mask_average_pooling(x, [s > 0 for s in stacks], value), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(mask_average_pooling(x, stacks, 0.7), expected, rtol=0, atol=1e-12)  # floats as they are


@pytest.mark.parametrize('value', [1.0, 1 / 255])
@pytest.mark.parametrize('layers', [1, 3])
def test_gradients_in_float64(value, layers):
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(0, 4, (2, layers, 5, 6), generator=generator)
    labels += (labels > 0) * 4 * torch.arange(layers).view(1, -1, 1, 1)  # ids unique over layers
    x = torch.randn(2, 2, 5, 6, dtype=torch.float64, generator=generator, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: mask_average_pooling(t, labels, value), x)
    assert torch.autograd.gradgradcheck(lambda t: mask_average_pooling(t, labels, value), x)
    stacks = [torch.rand(3, 1, 5, 6, dtype=torch.float64, generator=generator) for _ in range(2)]
    assert torch.autograd.gradcheck(lambda t: mask_average_pooling(t, stacks, value), x)


def test_the_operator_is_linear_symmetric_and_for_a_partition_idempotent():
    labels = torch.randint(1, 9, (2, 1, 12, 10))
    x, y = torch.randn(2, 2, 3, 12, 10, dtype=torch.float64)
    pool = lambda t: mask_average_pooling(t, labels)  # noqa: E731
    torch.testing.assert_close(pool(2 * x - y), 2 * pool(x) - pool(y), rtol=0, atol=1e-12)
    torch.testing.assert_close((pool(x) * y).sum(), (x * pool(y)).sum())
    torch.testing.assert_close(pool(pool(x)), pool(x), rtol=0, atol=1e-7)  # 1e-8 in every average


def test_region_means_are_exact_on_large_images():
    labels = torch.zeros(1, 1, 720, 1280, dtype=torch.int32)
    labels[..., 640:] = 7
    x = torch.rand(1, 1, 720, 1280)
    pooled = mask_average_pooling(x, labels)
    means = x[..., :640].double().mean(), x[..., 640:].double().mean()
    assert pooled[..., :640].double().sub(means[0]).abs().max() < 2e-7
    assert pooled[..., 640:].double().sub(means[1]).abs().max() < 2e-7


LABEL_TYPES = [torch.uint8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32]


class AsOnGpus(TorchDispatchMode):
    """Refuses what has no CUDA kernel: to compute with uint16 and uint32. They may be moved, viewed and converted."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        moving = ('view', '_to_copy', 'slice', 'split', 'expand', 'unsqueeze', 'detach', 'alias', 'clone')
        inputs = torch.utils._pytree.tree_leaves(args)
        unsigned = [x.dtype for x in inputs if torch.is_tensor(x) and x.dtype in (torch.uint16, torch.uint32)]
        if unsigned and not any(func._overloadpacket.__name__.startswith(name) for name in moving):
            raise RuntimeError(f'"{func}" not implemented for {unsigned[0]}')
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize('dtype', LABEL_TYPES)
def test_every_integer_type_of_labels_gives_the_same(dtype):
    labels = torch.randint(0, 9, (2, 1, 8, 9))
    x = torch.randn(2, 2, 8, 9)
    torch.testing.assert_close(mask_average_pooling(x, labels.to(dtype)), mask_average_pooling(x, labels))
    large = (labels * 1000).to(torch.int32) if dtype in (torch.uint8, torch.int16) else (labels * 7000).to(dtype)
    torch.testing.assert_close(mask_average_pooling(x, large), mask_average_pooling(x, labels))
    unit, seeds = MaskAveragePooling(mask_dropout=0.5).train(), [3, 4]
    with AsOnGpus():
        dropped = drop_masks(labels.to(dtype), 0.5, seeds)
        pooled = unit(x, labels.to(dtype), seeds)
    assert dropped.dtype == dtype and torch.equal(dropped.long(), drop_masks(labels, 0.5, seeds))
    torch.testing.assert_close(pooled, unit(x, labels, seeds))


@pytest.mark.parametrize('dtype', [torch.uint16, torch.uint32])
@pytest.mark.parametrize('training', [True, False])
def test_networks_take_every_integer_type_of_labels_on_gpus(dtype, training):
    net = build_network({'type': 'SegNAFNet', 'width': 4, 'enc_blk_nums': [1, 1], 'dec_blk_nums': [1, 1]})
    net.train(training)
    lq, labels = torch.rand(1, 3, 15, 18), torch.randint(0, 65536, (1, 1, 15, 18))
    batch = {'lq': (lq * 255).byte(), 'gt': (lq * 65535).int().to(torch.uint16), 'masks': labels.to(dtype)}
    torch.manual_seed(0)
    expected = net(lq, labels)
    with AsOnGpus():
        torch.manual_seed(0)
        torch.testing.assert_close(net(lq, labels.to(dtype)), expected)
        moved = to_floats(batch, 'cpu')
    assert moved['masks'].dtype.is_signed and torch.equal(moved['masks'].long(), labels)
    torch.testing.assert_close(moved['gt'], lq, rtol=0, atol=1 / 65535)


def test_huge_ids_cost_no_huge_table():
    small = torch.tensor([[[[0, 1, 2, 2]]]])
    large = torch.tensor([[[[0, 5, 2**40, 2**40]]]])
    x = torch.randn(1, 2, 1, 4)
    assert torch.equal(mask_average_pooling(x, large), mask_average_pooling(x, small))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_features_are_summed_in_float32(dtype):
    x = (torch.rand(1, 2, 256, 256) + 100).to(dtype)  # the sum of a region overflows float16
    pooled = mask_average_pooling(x, torch.ones(1, 1, 256, 256, dtype=torch.uint8))
    assert pooled.dtype == dtype
    assert torch.equal(pooled[0, 0, 0, 0], x[0, 0].double().mean().to(dtype))


def test_callers_tensors_stay_as_they_are():
    unit = MaskAveragePooling(1.0).train()
    x, labels, stack = torch.randn(1, 2, 6, 6), torch.randint(0, 3, (1, 1, 6, 6)), torch.rand(4, 1, 6, 6)
    copies = x.clone(), labels.clone(), stack.clone()
    unit(x, labels)
    unit(x, [stack])
    assert torch.equal(x, copies[0])
    assert torch.equal(labels, copies[1])
    assert torch.equal(stack, copies[2])


def test_dropout_counts_the_ids_that_occur_over_all_layers():
    labels = torch.zeros(1, 2, 4, 4, dtype=torch.int32)
    labels[0, 0, 0], labels[0, 0, 1], labels[0, 1, 2], labels[0, 1, 3] = 3, 9, 40, 41
    dropped = drop_masks(labels, 0.5, seeds=[11])
    order = torch.randperm(4, generator=torch.Generator().manual_seed(11))
    gone = torch.tensor([3, 9, 40, 41])[order[:2]]
    assert torch.equal(dropped, torch.where(torch.isin(labels, gone), 0, labels))
    assert dropped.dtype == labels.dtype


def test_mask_seeds_make_each_sample_independent_of_its_batch():
    labels = torch.randint(0, 20, (3, 1, 16, 16))
    together = drop_masks(labels, 0.5, seeds=torch.tensor([5, 6, 7]))
    alone = torch.cat([drop_masks(labels[i : i + 1], 0.5, seeds=[5 + i]) for i in range(3)])
    assert torch.equal(together, alone)
    assert not torch.equal(drop_masks(labels, 0.5, seeds=[5, 6, 8]), together)


def test_without_seeds_the_default_generator_is_used_once_a_sample():
    labels = torch.randint(1, 9, (2, 1, 16, 16))
    torch.manual_seed(4)
    drop_masks(labels, 0.0)
    after = torch.rand(1)
    torch.manual_seed(4)
    torch.randperm(8), torch.randperm(8)
    assert torch.equal(torch.rand(1), after)


def test_evaluation_never_drops():
    labels = torch.randint(0, 5, (1, 1, 9, 9))
    x = torch.randn(1, 2, 9, 9)
    unit = MaskAveragePooling(1.0)
    assert torch.equal(unit.eval()(x, labels), mask_average_pooling(x, labels))
    means = x.mean((2, 3), keepdim=True).expand_as(x)
    torch.testing.assert_close(unit.train()(x, labels), means)


LABELS = torch.ones(2, 1, 6, 5, dtype=torch.int64)
BAD_MASKS = [
    (LABELS.float(), r'integers.*torch\.float32'),
    (LABELS.bool(), r'integers.*torch\.bool'),
    (LABELS[:1], r'\(2, L, H, W\)'),
    (LABELS[:, 0], r'\(2, L, H, W\)'),
    (LABELS[..., :4], r'\(6, 4\) .*\(6, 5\)'),
    (-LABELS, '-1'),
    (LABELS.expand(-1, 2, -1, -1), 'layers'),
    ([torch.rand(1, 1, 6, 5)], '1 .*batch of 2'),
    ([torch.rand(1, 1, 6, 5), torch.rand(1, 6, 5)], r'stack 1 .*\(1, 6, 5\)'),
    ([torch.rand(1, 1, 6, 5), torch.rand(1, 1, 5, 6)], r'stack 1 .*\(1, 1, 5, 6\)'),
    ([torch.rand(1, 1, 6, 5), torch.ones(1, 1, 6, 5, dtype=torch.uint8)], 'uint8.* 255'),
    (LABELS.to(torch.uint64), r'integers.*torch\.uint64'),
    (LABELS.numpy(), r'\(B, L, H, W\)'),
    (None, r'\(B, L, H, W\)'),
    ([np.ones((1, 1, 6, 5), np.float32)] * 2, r'\(B, L, H, W\)'),
    ([torch.rand(1, 1, 6, 5), torch.full((1, 1, 6, 5), torch.nan)], r'stack 1 .*\[0, 1\]'),
    ([torch.rand(1, 1, 6, 5), 255 * torch.ones(1, 1, 6, 5)], r'stack 1 .*\[0, 1\]'),
    ([-torch.ones(1, 1, 6, 5), torch.rand(1, 1, 6, 5)], r'stack 0 .*\[0, 1\]'),
]


@pytest.mark.parametrize(('masks', 'message'), BAD_MASKS)
def test_bad_masks_are_refused(masks, message):
    with pytest.raises(MaskError, match=message):
        mask_average_pooling(torch.randn(2, 3, 6, 5), masks)


@pytest.mark.skipif(sys.platform != 'linux', reason='reads the memory of the process from /proc')
def test_memory_at_720p_with_255_masks():
    """Its result and its ids take 14 MiB; in a process of its own, where nothing else is released or kept."""
    code = 'from benchmarks.map_unit import extra_memory; print(extra_memory(255))'
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert 14 < float(done.stdout) < 15.5


def test_bad_settings_are_refused():
    with pytest.raises(MaskError, match=r'mask_dropout.*0 .*1'):
        MaskAveragePooling(mask_dropout=1.5)
    with pytest.raises(MaskError, match='mask_value'):
        MaskAveragePooling(mask_value=0)
    with pytest.raises(MaskError, match=r'3 .*batch of 2'):
        drop_masks(LABELS, 0.5, seeds=[1, 2, 3])


@pytest.mark.parametrize('seeds', [[1.9, 2], 'ab', 5, 2**70, [1, 2**70]], ids=str)
def test_seeds_that_are_no_integers_are_refused(seeds):
    with pytest.raises(MaskError, match='mask_seeds'):
        MaskAveragePooling(0.5).train()(torch.rand(2, 3, 6, 5), LABELS, seeds)


@pytest.mark.parametrize('dtype', [torch.complex64, torch.int64, torch.uint8])
def test_features_that_are_no_floats_are_refused(dtype):
    with pytest.raises(ShapeError, match=r'features .*\(B, C, H, W\)'):
        mask_average_pooling(torch.ones(2, 3, 6, 5, dtype=dtype), LABELS)


def test_huge_ids_need_no_pixel_without_a_mask():
    """Renumbering starts at 1 even if no pixel is 0, so the smallest id stays a mask that weighs and is dropped."""
    small = torch.tensor([[[[1, 3, 3, 2]]], [[[2, 2, 3, 1]]]])
    large = torch.tensor([0, 5, 7, 2**40])[small]
    x = torch.randn(2, 2, 1, 4)
    assert torch.equal(mask_average_pooling(x, large, 0.25), mask_average_pooling(x, small, 0.25))
    assert torch.equal(drop_masks(large, 0.7, [3, 4]) > 0, drop_masks(small, 0.7, [3, 4]) > 0)


def test_region_means_are_exact_where_the_height_is_prime():
    labels = torch.ones(1, 1, 719, 40, dtype=torch.int64)
    labels[0, 0, :10] = torch.arange(400).view(10, 40).clamp(max=300)
    x = torch.rand(1, 2, 719, 40, generator=torch.Generator().manual_seed(0)) + 1
    expected = mask_average_pooling(x.double(), labels)
    assert ((mask_average_pooling(x, labels) - expected).abs() / expected).max() < 3e-7


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('masks', [LABELS[:0], []], ids=['label map', 'stacks'])
def test_a_batch_of_no_images_passes(masks, training):
    x = torch.rand(0, 3, 6, 5)
    assert MaskAveragePooling(0.5).train(training)(x, masks).shape == (0, 3, 6, 5)


@pytest.mark.parametrize('form', ['label map', 'stacks'])
def test_autocast_leaves_float32_features_in_float32(form):
    masks = ellipses(6, 40, 44)
    masks = batch_of_label_maps([masks]) if form == 'label map' else [torch.from_numpy(masks)[:, None].float()]
    x = torch.randn(1, 3, 40, 44)
    expected = mask_average_pooling(x, masks)
    with torch.autocast('cpu', torch.bfloat16):
        pooled = mask_average_pooling(x, masks)
    assert pooled.dtype == torch.float32
    assert torch.equal(pooled, expected)


def test_masks_receive_no_gradient():
    stacks = [torch.rand(3, 1, 6, 5, requires_grad=True) for _ in range(2)]
    x = torch.rand(2, 3, 6, 5)
    assert not mask_average_pooling(x, stacks).requires_grad
    mask_average_pooling(x.requires_grad_(), stacks).sum().backward()
    assert x.grad is not None
    assert all(stack.requires_grad and stack.grad is None for stack in stacks)


class SaysCuda(torch.Tensor):
    """A tensor on the CPU that claims to be on a GPU, where stacks are pooled in one batch."""

    is_cuda = True


def test_the_batched_form_for_gpus_equals_the_form_for_cpus():
    stacks = [torch.rand(count, 1, 6, 5) for count in (4, 0, 1)]
    x = torch.randn(3, 2, 6, 5)
    batched = mask_average_pooling(x.as_subclass(SaysCuda), stacks)
    assert type(batched) is SaysCuda
    torch.testing.assert_close(batched.as_subclass(torch.Tensor), mask_average_pooling(x, stacks))


@pytest.fixture
def fresh_compiler():
    """Nothing that another test has compiled."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.slow
@pytest.mark.usefixtures('fresh_compiler')
def test_a_compiled_unit_drops_the_masks_that_it_drops_otherwise():
    unit = MaskAveragePooling(mask_dropout=0.5).train()
    features, masks = torch.rand(2, 3, 8, 8), torch.arange(64).remainder(6).view(1, 1, 8, 8).repeat(2, 1, 1, 1).int()
    seen = {}
    for name, module in (('eager', unit), ('compiled', torch.compile(unit, backend='eager'))):
        inputs = features.clone().requires_grad_()
        pooled = module(inputs, masks, [3, 4])
        pooled.square().sum().backward()
        seen[name] = pooled.detach(), inputs.grad
    whole = unit.eval()(features, masks)
    for eager, compiled in zip(*seen.values(), strict=True):
        torch.testing.assert_close(compiled, eager)
    assert (seen['compiled'][0] - whole).abs().max() > 0.01  # some were dropped


@pytest.mark.usefixtures('fresh_compiler')
def test_an_exported_unit_is_still_a_graph_for_any_size():
    unit = MaskAveragePooling().eval()
    features, masks = torch.rand(1, 3, 8, 8), torch.arange(64).remainder(6).view(1, 1, 8, 8).int()
    height, width = torch.export.Dim('height', min=2, max=99), torch.export.Dim('width', min=2, max=99)
    sizes = {2: height, 3: width}
    program = torch.export.export(unit, (features, masks), dynamic_shapes=(sizes, sizes), strict=False).module()
    larger = torch.rand(1, 3, 12, 9), torch.arange(108).remainder(11).view(1, 1, 12, 9).int()
    for inputs in ((features, masks), larger):
        torch.testing.assert_close(program(*inputs), unit(*inputs), rtol=1e-5, atol=1e-6)
