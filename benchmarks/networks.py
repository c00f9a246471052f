"""Compare NAFNet, LaKDNet, RSS-T, the analysis-synthesis pair, and TLC pooling with direct implementations.

python -m benchmarks.networks
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import torch
from torch import Tensor, nn

from basicsr.archs import build_network
from basicsr.archs.contract import restored
from basicsr.archs.cross_correlation import CrossCorrelation
from basicsr.archs.local_pool import LocalAvgPool2d
from basicsr.utils.measure import peak_memory
from benchmarks import transcriptions, transcriptions_pair, transcriptions_rsst
from benchmarks.timing import header, paired, row

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
def compare_networks(rounds: int) -> None:
    """Time the forward pass at 256×256, fp32 and bf16 autocast."""
    net = published_nafnet()
    x = torch.rand(1, 3, 256, 256)
    expected = transcriptions.nafnet(net, x)
    title = 'NAFNet width 32 forward, 256×256'
    times = paired({'transcription': lambda: transcriptions.nafnet(net, x), 'ours': lambda: net(x)}, rounds)
    row(f'{title}, fp32 (difference {difference(net(x), expected):.1e} of the maximum)', times, '≥ 1.3×')

    def half() -> Tensor:
        with torch.autocast('cpu', torch.bfloat16):
            return net(x).float()

    times = paired({'transcription': lambda: transcriptions.nafnet(net, x), 'ours': half}, rounds)
    row(f'{title}, ours in bf16 (difference {difference(half(), expected):.1e})', times)


@torch.no_grad()
def compare_others(size: int, rounds: int) -> None:
    """Time forward passes of LaKDNet-S, RSS-T and the analysis-synthesis pair in their published sizes, fp32."""
    x = torch.rand(1, 3, size, size)
    for title, options, plain, target in (
        ('LaKDNet-S', {'type': 'LaKDNet', 'dim': 32, 'num_blocks': [8, 12, 12, 16]}, transcriptions.lakdnet, '≥ 1.3×'),
        ('RSS-T', {'type': 'RSST', 'win_size': [4, 16], 'trans_type': 'rsst'}, transcriptions_rsst.rsst, '≥ 1.5×'),
        ('analysis-synthesis pair', {'type': 'AnalysisSynthesisNet'}, transcriptions_pair.analysis_synthesis, ''),
    ):
        torch.manual_seed(0)
        net = build_network(options).eval()
        expected, result = (restored(output) for output in (plain(net, x), net(x)))
        times = paired(
            {'transcription': lambda net=net, plain=plain: plain(net, x), 'ours': lambda net=net: net(x)}, rounds
        )
        name = f'{title} forward, {size}×{size}, fp32'
        row(f'{name} (difference {difference(result, expected):.1e} of the maximum)', times, target)


@torch.no_grad()
def compare_pooling(channels: int, height: int, width: int, kernel: int, target: str, rounds: int) -> None:
    """Time TLC pooling of one level."""
    x = torch.rand(1, channels, height, width).contiguous(memory_format=torch.channels_last)
    plain = x.contiguous()
    pool = LocalAvgPool2d((kernel, kernel))
    expected = transcriptions.local_pooling(plain.double(), (kernel, kernel))
    times = paired(
        {'running sums': lambda: transcriptions.local_pooling(plain, (kernel, kernel)), 'ours': lambda: pool(x)}, rounds
    )
    off = difference(pool(x).double(), expected)
    row(f'TLC pooling {channels}×{height}×{width}, window {kernel} (difference {off:.1e})', times, target)


SHIFT = 42  # of the published analysis network at its finest scale
CORRELATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    'all pairs': lambda x: transcriptions_pair.cross_correlation(x, SHIFT, SHIFT),
    'ours': CrossCorrelation(SHIFT, SHIFT),
}


@torch.no_grad()
def memory_of_correlation(side: str, channels: int, size: int) -> float | None:
    """Return the additional peak MiB of one side, including its result; run it in a separate process."""
    x = torch.rand(1, channels, size, size)
    CORRELATIONS[side](x[..., :64, :64])  # what libraries set up once
    return peak_memory(lambda: CORRELATIONS[side](x), x.device)[1]


@torch.no_grad()
def compare_correlation(channels: int, size: int, rounds: int) -> dict[str, float | None]:
    """Measure time and peak memory of the correlation layer, each side in a new process."""
    memory = {}
    for side in CORRELATIONS:
        with ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as process:
            memory[side] = process.submit(memory_of_correlation, side, channels, size).result()
    x = torch.rand(1, channels, size, size)
    expected, result = (run(x) for run in CORRELATIONS.values())
    times = paired({side: lambda run=run: run(x) for side, run in CORRELATIONS.items()}, rounds)
    off = difference(result, expected)
    title = f'correlations {channels}×{size}×{size}, shifts to {SHIFT}, against all pairs at once'
    row(f'{title} (difference {off:.1e})', times, '≥ 2×')
    return memory


def main() -> None:
    """Print the table."""
    header('Networks')
    compare_networks(9)
    compare_others(256, 5)
    memory = compare_correlation(32, 256, 9)
    compare_pooling(32, 720, 1280, 384, '', 3)
    compare_pooling(64, 360, 640, 192, '', 5)
    compare_pooling(128, 180, 320, 96, '', 7)
    compare_pooling(256, 90, 160, 48, '≥ 1.8×', 9)
    compare_pooling(512, 45, 80, 24, '≥ 1.8×', 9)
    plain, ours = memory.values()
    if plain is not None and ours is not None:
        print(f'\nPeak memory of the correlations: {plain:.0f} MiB, ours {ours:.0f} MiB, a share of {ours / plain:.2f}')


if __name__ == '__main__':
    main()
