"""NAFNet files as spandrel reads them: it takes width and numbers of blocks from the names and shapes of parameters."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from basicsr.archs import build_network
from basicsr.inference.pretrained import load_network
from basicsr.interchange.recognising import network_of
from basicsr.utils.errors import WeightsError

DETECTED_BY = [  # spandrel: architectures/NAFNet, KeyCondition.has_all
    'intro.weight', 'ending.weight', 'ups.0.0.weight', 'downs.0.weight', 'encoders.0.0.beta', 'encoders.0.0.gamma',
    'decoders.0.0.beta', 'decoders.0.0.gamma',
    *(f'middle_blks.0.{name}' for name in (
        'beta', 'gamma', 'conv1.weight', 'conv2.weight', 'conv3.weight', 'sca.1.weight', 'conv4.weight',
        'conv5.weight', 'norm1.weight', 'norm2.weight',
    )),
]  # fmt: skip


def block(prefix: str, c: int) -> dict[str, tuple[int, ...]]:
    """The parameters of one block, from the figure of NAFNet's paper."""
    convolutions = {
        'conv1': (2 * c, c, 1, 1), 'conv2': (2 * c, 1, 3, 3), 'conv3': (c, c, 1, 1), 'sca.1': (c, c, 1, 1),
        'conv4': (2 * c, c, 1, 1), 'conv5': (c, c, 1, 1),
    }  # fmt: skip
    shapes: dict[str, tuple[int, ...]] = {f'{prefix}.{name}': (1, c, 1, 1) for name in ('beta', 'gamma')}
    for name, shape in convolutions.items():
        shapes |= {f'{prefix}.{name}.weight': shape, f'{prefix}.{name}.bias': shape[:1]}
    norms = [f'{prefix}.norm{number}.{name}' for number in (1, 2) for name in ('weight', 'bias')]
    return shapes | dict.fromkeys(norms, (c,))


def made_file(width: int, enc: list[int], middle: int, dec: list[int], channels: int = 3) -> dict[str, torch.Tensor]:
    """A state dict written down without our classes."""
    shapes: dict[str, tuple[int, ...]] = {
        'intro.weight': (width, channels, 3, 3), 'intro.bias': (width,),
        'ending.weight': (channels, width, 3, 3), 'ending.bias': (channels,),
    }  # fmt: skip
    c = width
    for level, count in enumerate(enc):
        for number in range(count):
            shapes |= block(f'encoders.{level}.{number}', c)
        shapes |= {f'downs.{level}.weight': (2 * c, c, 2, 2), f'downs.{level}.bias': (2 * c,)}
        c *= 2
    for number in range(middle):
        shapes |= block(f'middle_blks.{number}', c)
    for level, count in enumerate(dec):
        shapes[f'ups.{level}.0.weight'] = (2 * c, c, 1, 1)  # and a pixel shuffle
        c //= 2
        for number in range(count):
            shapes |= block(f'decoders.{level}.{number}', c)
    generator = torch.Generator().manual_seed(0)
    return {name: 0.1 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


CASES = [
    (8, [1, 1, 1, 28], 1, [1, 1, 1, 1], 3),  # GoPro and REDS, with their numbers of blocks
    (8, [2, 2, 4, 8], 12, [2, 2, 2, 2], 3),  # SIDD
    (4, [3, 12], 10, [1, 2], 1),  # two digits in names sort behind one
]


@pytest.mark.parametrize(('width', 'enc', 'middle', 'dec', 'channels'), CASES)
@pytest.mark.parametrize('nesting', [None, 'params', 'params_ema', 'state_dict'])
def test_width_and_blocks_come_from_the_keys(width, enc, middle, dec, channels, nesting, tmp_path: Path):
    state = made_file(width, enc, middle, dec, channels)
    assert set(DETECTED_BY) <= set(state)
    found = network_of(state)
    assert found.pop('type') == 'NAFNet'
    assert found == {
        'img_channel': channels, 'width': width, 'middle_blk_num': middle, 'enc_blk_nums': enc, 'dec_blk_nums': dec,
    }  # fmt: skip
    build_network({'type': 'NAFNet', **found}).load_state_dict(state, strict=True)
    torch.save(state if nesting is None else {nesting: state}, tmp_path / 'net.pth')
    if channels == 3:
        net = load_network(tmp_path / 'net.pth')
        assert torch.equal(net.state_dict()['intro.weight'], state['intro.weight'])


def test_a_file_without_a_part_is_refused():
    state = made_file(4, [1, 1], 1, [1, 1])
    for missing in ('ending.weight', 'downs.0.weight', 'encoders.0.0.conv1.weight'):
        with pytest.raises(WeightsError):
            network_of({name: value for name, value in state.items() if name != missing})
