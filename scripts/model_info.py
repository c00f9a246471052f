"""Print parameters, multiplications, time and memory of a network: python scripts/model_info.py -opt FILE."""

from __future__ import annotations

import argparse
import runpy
import sys
from pathlib import Path
from typing import Any

runpy.run_path(f'{Path(__file__).resolve().parents[1]}/basicsr/utils/clone.py')


def parse() -> argparse.Namespace:
    """Parse the command line."""
    from basicsr.options import add_arguments

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    add = parser.add_argument
    add('--size', nargs=2, type=int, default=(256, 256), metavar=('H', 'W'), help='image size (default: 256 256)')
    add('--batch', type=int, default=1, metavar='N', help='batch size (default: 1)')
    add('--masks', type=int, default=60, metavar='N', help='regions, for networks with masks (default: 60)')
    add('--device', default='auto', help='auto, cpu, cuda, cuda:1 or mps')
    add('--rounds', type=int, default=5, metavar='N', help='timed forward passes; 0: do not measure (default: 5)')
    return parser.parse_args()


def striped_inputs(net: Any, batch: int, size: tuple[int, int], masks: int, device: Any) -> tuple[Any, ...]:
    """Return the inputs of a network: an image, and a striped label map or a blur kernel if it takes one."""
    import torch

    from basicsr.archs.contract import contract_of

    contract, (height, width) = contract_of(net), size
    image = torch.rand(batch, contract.in_channels, height, width, device=device) * contract.input_rule.value_range[1]
    if contract.kernel_role == 'takes':
        return image, torch.full((batch, *net.kernel_size), 1e-3, device=device)
    if contract.prior_kind != 'regions':
        return (image,)
    regions = max(1, min(masks, height * width))
    stripes = torch.arange(height * width, device=device).mul(regions).div(height * width, rounding_mode='floor') + 1
    labels = stripes.view(1, 1, height, width).expand(batch, -1, -1, -1)
    return image, labels.to(torch.uint8 if regions < 256 else torch.int32)


def count(options: Any, arguments: argparse.Namespace) -> None:
    """Print size and cost, computed from shapes on the meta device."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from basicsr.archs import build_network

    with torch.device('meta'):
        net = build_network(options).eval()
    # uint8 labels: the meta device has no values, so their largest id must follow from the dtype
    data = striped_inputs(net, arguments.batch, arguments.size, min(arguments.masks, 255), 'meta')
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        net(*data)
    parameters = sum(p.numel() for p in net.parameters())
    print(f'network      {options.type}')
    print(f'input        {" and ".join(" × ".join(map(str, t.shape)) for t in data)}')
    print(f'parameters   {parameters:,} ({parameters / 1e6:.2f} M)')
    print(f'MACs         {counter.get_total_flops() / 2e9:.2f} G (convolutions and matrix products)')


def measure(options: Any, arguments: argparse.Namespace) -> None:
    """Print time and memory of a forward pass."""
    import torch

    from basicsr.archs import build_network
    from basicsr.utils.device import select_device
    from basicsr.utils.measure import median_seconds, peak_memory

    device = select_device(arguments.device)
    net = build_network(options).eval().to(device)
    data = striped_inputs(net, arguments.batch, arguments.size, arguments.masks, device)
    with torch.inference_mode():
        seconds = median_seconds(lambda: net(*data), device, arguments.rounds)
        _, memory = peak_memory(lambda: net(*data), device)
    print(f'time         {seconds * 1e3:.1f} ms per forward pass on {device}, median of {arguments.rounds}')
    amount = 'not measured on this system' if memory is None else f'{memory:.0f} MiB in addition to the network'
    print(f'peak memory  {amount}')


def main() -> int:
    """Print one line per value."""
    arguments = parse()
    if min(*arguments.size, arguments.batch) < 1 or min(arguments.masks, arguments.rounds) < 0:
        print('--size and --batch must be positive, --masks and --rounds not negative', file=sys.stderr)
        return 1
    from basicsr.options import from_arguments
    from basicsr.utils.device import select_device

    options = from_arguments(arguments).network_g
    select_device(arguments.device)  # reports a wrong name first
    count(options, arguments)
    if arguments.rounds:
        measure(options, arguments)
    return 0


if __name__ == '__main__':
    from basicsr.utils.console import run_and_exit

    run_and_exit(main)
