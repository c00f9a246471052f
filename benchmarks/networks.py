"""NAFNet, LaKDNet, RSS-T, the analysis-synthesis pair and TLC pooling, against direct implementations."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import torch
from torch import Tensor, nn

from basicsr.archs import build_network
from basicsr.archs.contract import restored
from basicsr.archs.cross_correlation import CrossCorrelation
from basicsr.archs.local_pool import LocalAvgPool2d
from basicsr.utils.measure import peak_memory
from benchmarks import transcriptions, transcriptions_pair, transcriptions_rsst
from benchmarks.bench import Bench

PUBLISHED = {'width': 32, 'middle_blk_num': 1, 'enc_blk_nums': [1, 1, 1, 28], 'dec_blk_nums': [1, 1, 1, 1]}


def published_nafnet() -> nn.Module:
    """Return NAFNet of width 32 with random weights, including beta and gamma, whose initial value is zero."""
    torch.manual_seed(0)
    net = build_network({'type': 'NAFNet', **PUBLISHED}).eval()
    for name, parameter in net.named_parameters():
        if name.endswith(('beta', 'gamma')):
            nn.init.normal_(parameter, 0, 0.3)
    return net


def difference(result: Tensor, expected: Tensor) -> float:
    """Return the largest difference relative to the largest value."""
    return float((result - expected).abs().max() / expected.abs().max())


@torch.no_grad()
def compare_nafnet(bench: Bench, rounds: int) -> None:
    """Time the forward pass at 256×256, fp32 and bf16 autocast."""
    net = published_nafnet().to(bench.device)
    x = torch.rand(1, 3, 256, 256, device=bench.device)
    expected = transcriptions.nafnet(net, x)
    for dtype, target in ((torch.float32, '≥ 1.3×'), (torch.bfloat16, '')):

        def here(dtype: torch.dtype = dtype) -> Tensor:
            with torch.autocast(bench.device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
                output: Tensor = net(x)
                return output.float()

        off = difference(here(), expected)
        title = f'NAFNet width 32 forward, 256×256, {str(dtype)[6:]} (difference {off:.1e} of the maximum)'
        bench.compare(title, lambda: transcriptions.nafnet(net, x), here, rounds, target, flops=True, dtype=dtype)


@torch.no_grad()
def compare_others(bench: Bench, size: int, rounds: int) -> None:
    """Time forward passes of LaKDNet-S, RSS-T and the analysis-synthesis pair in their published sizes, fp32."""
    x = torch.rand(1, 3, size, size, device=bench.device)
    for title, options, plain, target in (
        ('LaKDNet-S', {'type': 'LaKDNet', 'dim': 32, 'num_blocks': [8, 12, 12, 16]}, transcriptions.lakdnet, '≥ 1.3×'),
        ('RSS-T', {'type': 'RSST', 'win_size': [4, 16], 'trans_type': 'rsst'}, transcriptions_rsst.rsst, '≥ 1.5×'),
        ('analysis-synthesis pair', {'type': 'AnalysisSynthesisNet'}, transcriptions_pair.analysis_synthesis, ''),
    ):
        if bench.quick and title.startswith('analysis'):
            continue  # it needs larger images
        torch.manual_seed(0)
        net = build_network(options).eval().to(bench.device)
        expected, result = (restored(output) for output in (plain(net, x), net(x)))
        off = difference(result, expected)
        bench.compare(
            f'{title} forward, {size}×{size} (difference {off:.1e} of the maximum)',
            partial(plain, net, x), partial(net, x), rounds, target, flops=True,
        )  # fmt: skip


@torch.no_grad()
def compare_pooling(bench: Bench, channels: int, size: tuple[int, int], kernel: int, target: str, rounds: int) -> None:
    """Time TLC pooling of one level."""
    x = torch.rand(1, channels, *size).contiguous(memory_format=torch.channels_last)
    plain, pool = x.contiguous(), LocalAvgPool2d((kernel, kernel))
    off = difference(pool(x).double(), transcriptions.local_pooling(plain.double(), (kernel, kernel)))
    bench.compare(
        f'TLC pooling {channels}×{size[0]}×{size[1]}, window {kernel} (difference {off:.1e})',
        lambda: transcriptions.local_pooling(plain, (kernel, kernel)), lambda: pool(x), rounds, target,
        moved=2 * x.nbytes,
    )  # fmt: skip


SHIFT = 42  # of the published analysis network at its finest scale
CORRELATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    'all pairs': lambda x: transcriptions_pair.cross_correlation(x, SHIFT, SHIFT),
    'here': CrossCorrelation(SHIFT, SHIFT),
}


@torch.no_grad()
def memory_of_correlation(side: str, channels: int, size: int) -> float | None:
    """Return the additional peak MiB of one side, including its result; run it in a separate process."""
    x = torch.rand(1, channels, size, size)
    CORRELATIONS[side](x[..., :64, :64])  # what libraries set up once
    return peak_memory(lambda: CORRELATIONS[side](x), x.device)[1]


@torch.no_grad()
def compare_correlation(bench: Bench, channels: int, size: int, rounds: int) -> None:
    """Measure time and peak memory of the correlation layer, each side in a new process."""
    memory = []
    for side in CORRELATIONS:
        with ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as process:
            memory.append(process.submit(memory_of_correlation, side, channels, size).result())
    x = torch.rand(1, channels, size, size)
    expected, result = (run(x) for run in CORRELATIONS.values())
    off = difference(result, expected)
    title = f'correlations {channels}×{size}×{size}, shifts to {SHIFT}'
    plain, here = CORRELATIONS.values()
    case = f'{title} (difference {off:.1e})'
    bench.compare(case, lambda: plain(x), lambda: here(x), rounds, '≥ 2×', flops=True)
    if memory[0] and memory[1]:
        bench.number(f'{title}, peak memory', memory[0], memory[1], 'MiB')


def run_networks(bench: Bench) -> None:
    """Forward passes, and their costly parts."""
    compare_nafnet(bench, 9)
    compare_others(bench, 128 if bench.quick else 256, 5)
    compare_correlation(bench, 32, 128 if bench.quick else 256, 9)
    levels = (
        (32, (720, 1280), 384),
        (64, (360, 640), 192),
        (128, (180, 320), 96),
        (256, (90, 160), 48),
        (512, (45, 80), 24),
    )
    for channels, size, kernel in levels[3:] if bench.quick else levels:
        compare_pooling(bench, channels, size, kernel, '≥ 1.8×' if channels > 128 else '', 3 if channels < 64 else 7)
