"""Parameters, multiplications, time and memory of a network: ``python scripts/model_info.py -opt FILE``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [str(ROOT)] + [p for p in sys.path if Path(p or '.').resolve() != Path(__file__).resolve().parent]


def parse() -> argparse.Namespace:
    """The command line."""
    from basicsr.options import add_arguments

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument(
        '--size', nargs=2, type=int, default=(256, 256), metavar=('H', 'W'), help='image size in pixels'
    )
    parser.add_argument('--batch', type=int, default=1, help='images at once')
    parser.add_argument('--masks', type=int, default=60, help='regions of the label map, for networks that take one')
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda, cuda:1 or mps')
    parser.add_argument('--rounds', type=int, default=5, help='forward passes to time; 0 counts only, without running')
    return parser.parse_args()


def example(net: Any, batch: int, size: tuple[int, int], masks: int) -> tuple[Any, ...]:
    """Input of that size: an image, and label-map stripes where the network takes masks."""
    import torch

    from basicsr.archs.samdeblur_arch import MaskGuided

    height, width = size
    if not isinstance(net, MaskGuided):
        return (torch.rand(batch, net.in_channels, height, width),)
    regions = max(1, min(masks, 255, height * width))
    stripes = torch.arange(height * width).mul(regions).div(height * width, rounding_mode='floor') + 1
    labels = stripes.view(1, 1, height, width).expand(batch, -1, -1, -1).to(torch.uint8)
    return torch.rand(batch, net.img_channel, height, width), labels


def multiplications(options: dict[str, Any], batch: int, size: tuple[int, int], masks: int) -> int:
    """Multiply-adds of convolutions and matrix products, counted on shapes alone."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from basicsr.archs import build_network

    with torch.device('meta'):
        net = build_network(options).eval()
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        net(*(tensor.to('meta') for tensor in example(net, batch, size, masks)))
    return int(counter.get_total_flops() // 2)


def main() -> int:
    """Print one line a fact."""
    arguments = parse()
    if min(*arguments.size, arguments.batch) < 1:
        print('--size and --batch must be positive', file=sys.stderr)
        return 1
    import torch

    from basicsr.archs import build_network
    from basicsr.options import from_arguments
    from basicsr.utils.device import select_device
    from basicsr.utils.errors import BasicsrError
    from basicsr.utils.measure import median_seconds, peak_memory

    try:
        options = from_arguments(arguments).network_g.as_dict()
        device = select_device(arguments.device)
        size = tuple(arguments.size)
        net = build_network(options).eval().to(device)
    except BasicsrError as error:
        print(error, file=sys.stderr)
        return 1
    parameters = sum(p.numel() for p in net.parameters())
    macs = multiplications(options, arguments.batch, size, arguments.masks)
    data = example(net, arguments.batch, size, arguments.masks)
    print(f'network      {options["type"]}')
    print(f'input        {" and ".join(" × ".join(map(str, t.shape)) for t in data)}')
    print(f'parameters   {parameters:,} ({parameters / 1e6:.2f} M)')
    print(f'MACs         {macs / 1e9:.2f} G (convolutions and matrix products)')
    if arguments.rounds < 1:
        return 0
    data = tuple(tensor.to(device) for tensor in data)
    with torch.inference_mode():
        seconds = median_seconds(lambda: net(*data), device, arguments.rounds)
        memory = peak_memory(lambda: net(*data), device)
    print(f'time         {seconds * 1e3:.1f} ms a forward pass on {device}, median of {arguments.rounds}')
    print(
        'peak memory  ' + ('not measured on this system' if memory is None else f'{memory:.0f} MiB beyond the network')
    )
    return 0


if __name__ == '__main__':
    sys.exit(main())
