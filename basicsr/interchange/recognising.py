"""Which network parameters belong to, from their names and shapes: files of other projects do not say it."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from basicsr.archs import build_network
from basicsr.utils.errors import BasicsrError, WeightsError, some_of

State = Mapping[str, Tensor]
Block = dict[str, Any]

_GROUPS = [*(f'trans_group{k}' for k in range(4)), *(f'd_trans_group{k}' for k in range(4))]
_STAGES = ('encoder_level1', 'encoder_level2', 'encoder_level3', 'latent')
_LAKD_EXPANSION = 2.3


def network_of(state: State) -> Block:
    """The block that rebuilds the network of a state_dict, for ``build_network``.

    Known are all networks of this project under their published names. What leaves no trace in names and shapes keeps
    its default or the published value:

    * ``NAFNet`` and ``NAFNetLocal`` have the same parameters (so have ``SegNAFNet`` and ``SegNAFNetLocal``): the
      plain one is returned. One input channel beside the image is the gray mask map (``mask: true``), several are a
      prior (``prior_channels``).
    * ``mask_value`` is left out: ``load_weights`` takes it from the file or, where the file is silent, 1/255.
    * LaKDNet is dual-pixel if it takes three times the channels that it returns; ``clip_output`` keeps its default.
    * RSST: the table of relative positions gives (2h - 1)(2w - 1) for windows of h × w. Taken is a square, else
      the wide window whose sides are powers of two (as the published 4 × 16), else the wide one closest to a square.
      ``qk_scale`` and everything that concerns training keep their defaults.
    * AnalysisNet alone: ``max_kernel_size``, sizes and crops of its input. In AnalysisSynthesisNet the synthesis knows
      the number of values of the kernel: a square if possible, else the wide kernel closest to it.
    * Mask dropout and everything else that concerns training only.

    Args:
        state: parameters by name, without prefixes of wrappers (as ``read_weights`` returns them).

    Returns:
        ``{'type': ..., **arguments}``.

    Raises:
        WeightsError: no known network has such parameters; the message names some of them and what they come closest
            to.
    """
    block = _recognise(state, 0)
    misfits = _misfits(block, state)
    if misfits:
        raise WeightsError(
            f'the parameters look like {block["type"]}, but do not fit it: {some_of(misfits, 4)}. '
            'Name the network in an option file'
        )
    return block


def _recognise(state: State, prior: int | None) -> Block:
    """The block of a network, unchecked.

    Args:
        state: its parameters.
        prior: channels of the mask prior that stands before it; None if what stands there is not known.
    """
    for keys, recognise in _KNOWN:
        if all(key in state for key in keys):
            return recognise(state, prior)
    found = f'{some_of(list(state), 6)} ({len(state)} in all)' if state else 'none'
    raise WeightsError(
        f'not known which network has these parameters: {found}. Known are NAFNet, SegNAFNet, SAMDeblur, PhotoUNet, '
        'PlainUNet, LaKDNet, RSST, and the analysis-synthesis pair; name another network in an option file'
    )


def _misfits(block: Block, state: State) -> list[str]:
    """Where the network of a block and the parameters differ."""
    try:
        with torch.device('meta'):
            own = build_network(block).state_dict()
    except (BasicsrError, RuntimeError, OverflowError) as error:  # sizes that fit no network
        return [str(error)]
    differing = [f'{key} is missing' for key in own if key not in state]
    differing += [f'{key} is not known' for key in state if key not in own]
    for key in own:
        if key in state and own[key].shape != state[key].shape:
            differing.append(f'{key} is {tuple(state[key].shape)} instead of {tuple(own[key].shape)}')
    return differing


def _shape(state: State, key: str, dims: int = 4) -> tuple[int, ...]:
    """The shape of a parameter.

    Raises:
        WeightsError: it is missing or has another number of dimensions.
    """
    if key not in state:
        raise WeightsError(
            f'not known which network has these parameters: {some_of(list(state), 6)}; {key} is missing among them'
        )
    shape = tuple(state[key].shape)
    if len(shape) != dims:
        raise WeightsError(f'not known which network has these parameters: {key} is {shape}')
    return shape


def _count(state: State, pattern: str) -> int:
    """How many different numbers stand at the place of ``#`` in names that start so."""
    expression = re.compile(re.escape(pattern).replace(r'\#', r'(\d+)'))
    return len({match[1] for key in state if (match := expression.match(key))})


def _below(state: State, prefix: str) -> dict[str, Tensor]:
    """The parameters of a part, under their names in it."""
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _inputs(image: int, found: int, prior: int | None) -> Block:
    """``prior_channels`` for input channels beyond the image's; none if they are those of a prior that is known."""
    return {} if prior or found == image else {'prior_channels': found - image}


def _factor(pairs: Iterable[tuple[int, int]], published: float) -> float:
    """The factor f with ``int(channels * f) == hidden`` for all pairs: the published one, else the shortest decimal."""
    sizes = sorted(set(pairs))
    lowest: float = max((hidden / max(channels, 1) for channels, hidden in sizes), default=published)
    candidates = [math.ceil(lowest * 10.0**digits) / 10.0**digits for digits in range(16)]
    for factor in (published, *candidates, lowest):
        if all(int(channels * factor) == hidden for channels, hidden in sizes):
            return factor
    raise WeightsError(f'not known which network has hidden layers of these sizes: {sizes}')


def _nafnet_body(state: State) -> Block:
    levels = _count(state, 'downs.#.')
    return {
        'img_channel': _shape(state, 'ending.weight')[0],
        'width': _shape(state, 'intro.weight')[0],
        'middle_blk_num': _count(state, 'middle_blks.#.'),
        'enc_blk_nums': [_count(state, f'encoders.{level}.#.') for level in range(levels)],
        'dec_blk_nums': [_count(state, f'decoders.{level}.#.') for level in range(levels)],
    }


def _nafnet(state: State, prior: int | None) -> Block:
    body = _nafnet_body(state)
    extra = _shape(state, 'intro.weight')[1] - body['img_channel'] - (prior or 0)
    if extra == 1:
        body['mask'] = True
    elif extra:
        body['prior_channels'] = extra
    return {'type': 'NAFNet', **body}


def _segnafnet(state: State, prior: int | None) -> Block:
    return {'type': 'SegNAFNet', 'seg_channel': _shape(state, 'pre_seg.weight')[0], **_nafnet_body(state)}


def _samdeblur(state: State, prior: int | None) -> Block:
    channels = _shape(state, 'pre_seg.weight')[0]
    return {
        'type': 'SAMDeblur',
        'backbone': _recognise(_below(state, 'backbone.'), channels),
        'prior_channels': channels,
    }


def _plainunet(state: State, prior: int | None) -> Block:
    width, inputs, *_ = _shape(state, 'intro.weight')
    image = _shape(state, 'ending.weight')[0]
    more = _inputs(image, inputs, prior)
    return {'type': 'PlainUNet', 'img_channel': image, 'width': width, 'levels': _count(state, 'downs.#.'), **more}


def _photounet(state: State, prior: int | None) -> Block:
    width, inputs, *_ = _shape(state, 'intro.weight')
    image = _shape(state, 'ending.weight')[0] // 4
    blocks = [_count(state, f'{part}.#.') for part in ('encoders.0', 'encoders.1', 'middle')]
    return {
        'type': 'PhotoUNet',
        'img_channel': image,
        'width': width,
        'blocks': blocks,
        **_inputs(image, inputs // 4, prior),
    }


def _lakdnet(state: State, prior: int | None) -> Block:
    dim, inputs, *_ = _shape(state, 'embed.weight')
    outputs = _shape(state, 'output.weight')[0]
    dual = inputs - (prior or 0) == 3 * outputs
    image = 3 * outputs if dual else outputs
    firsts = [f'{stage}.0.mixer.dense_depth_1.weight' for stage in _STAGES]
    hidden = (_shape(state, key) for key in state if key.endswith('ffn.project_out.weight'))
    norm = next((key for key in state if key.endswith('norm1.body.weight')), 'norm1.body.weight')
    plain = norm in state and norm.replace('weight', 'bias') not in state
    return {
        'type': 'LaKDNet',
        'inp_channels': image,
        'out_channels': outputs,
        'dim': dim,
        'num_blocks': [_count(state, f'{stage}.#.') for stage in _STAGES],
        'mix_kernel_size': [_shape(state, first)[-1] if first in state else 7 for first in firsts],
        'ffn_expansion_factor': _factor(((shape[0], shape[1]) for shape in hidden), _LAKD_EXPANSION),
        'bias': 'embed.bias' in state,
        'LayerNorm_type': 'BiasFree' if plain else 'WithBias',
        'dual_pixel_task': dual,
        **_inputs(image, inputs, prior),
    }


def _rsst(state: State, prior: int | None) -> Block:
    width, inputs, *_ = _shape(state, 'in_proj0.main.0.weight')
    depths = [_count(state, f'{group}.blocks.#.') for group in _GROUPS]
    block: Block = {'type': 'RSST', 'base_channel': width, 'depths': depths, **_inputs(4, inputs, prior)}
    firsts = [f'{group}.blocks.0.' for group, depth in zip(_GROUPS, depths, strict=True) if depth]
    if not firsts:
        return block
    part = firsts[0]
    table = 'attn.relative_position_bias_table'
    heads = iter([_shape(state, first + table, 2)[1] for first in firsts])
    spectral = f'{part}win_pos_embed.weight' in state
    leff = f'{part}mlp.linear1.0.weight' in state
    widening = 'mlp.linear1.0.weight' if leff else 'mlp.fc1.weight'
    hidden = (_shape(state, first + widening, 2)[::-1] for first in firsts)
    usual = (1, 2, 4, 8, 8, 4, 2, 1)
    return {
        **block,
        'win_size': list(_window(_shape(state, part + table, 2)[0])),
        'token_projection': 'linear_concat' if f'{part}attn.qkv.to_qkv.weight' in state else 'linear',
        'token_mlp': 'leff' if leff else 'ffn',
        'trans_type': 'rsst' if spectral else 'LeWin',
        'se_layer': f'{part}attn.se_layer.fc.0.weight' in state,
        'mlp_ratio': _factor(((shape[0], shape[1]) for shape in hidden), 4.0),
        'num_heads': [next(heads) if depth else number for depth, number in zip(depths, usual, strict=True)],
        'qkv_bias': f'{part}attn.qkv.to_kv.bias' in state,
    }


def _window(entries: int) -> tuple[int, int]:
    """Height and width of the windows whose table of relative positions has so many entries."""
    found = [((h + 1) // 2, (w + 1) // 2) for h, w in _odd_factors(entries)]

    def unlikely(window: tuple[int, int]) -> tuple[bool, bool, int]:
        powers = all(side & (side - 1) == 0 for side in window)
        return window[0] != window[1], not powers, window[1] - window[0]

    if not found:
        raise WeightsError(f'not known which network this is: no windows have {entries} relative positions')
    return min(found, key=unlikely)


def _odd_factors(number: int) -> list[tuple[int, int]]:
    """Pairs of odd numbers with this product, the smaller one first; the closest pair last."""
    return [(low, number // low) for low in range(1, math.isqrt(number) + 1, 2) if number % low == 0 and number % 2]


def _analysisnet(state: State, prior: int | None) -> Block:
    levels = _count(state, 'encoder.#.reduce.')
    convs, head = _count(state, 'encoder.0.convs.#.'), _count(state, 'head.#.')
    correlated = _shape(state, 'encoder.0.reduce.weight')[0]
    read, pairs, *_ = _shape(state, 'encoder.0.after_cc.weight')
    block: Block = {
        'type': 'AnalysisNet',
        'n_levels': levels,
        'conv_block_size': convs,
        'n_upsampling_features': read,
        'cc_num_of_in_features': correlated,
        'is_add_flips': pairs == correlated * (correlated + 1),
        'n_conv_filters_before_output': [_shape(state, f'head.{k}.weight')[0] for k in range(head)],
    }
    if convs:
        block['conv_block_n_features'], _, block['conv_block_filter_size'], _ = _shape(
            state, 'encoder.0.convs.0.weight'
        )
    if levels > 1:
        block['n_downsample_features'], _, block['downsample_filter_size'], _ = _shape(state, 'down.0.weight')
        block['upsample_filter_size'] = _shape(state, 'decoder.0.up.weight')[-1]
    if levels > 1 or head:
        after = 'decoder.0.merge.weight' if levels > 1 else 'head.0.weight'
        block['filter_size_after_cc'] = _shape(state, after)[-1]
    return block


def _synthesisnet(state: State, prior: int | None) -> Block:
    levels = _count(state, 'down.#.')
    _, width, side, _ = _shape(state, 'out.weight')
    first = 'enc.0.' if levels else 'mid.'
    out_channels, inputs, *_ = _shape(state, f'{first}convs.0.weight')
    multiplying, adding = (f'{first}{kind}.0.weight' for kind in ('mul', 'add'))
    guides = [_shape(state, key, 2) for key in (multiplying, adding) if key in state]
    dense = _count(state, 'mid.fc.#.')
    block: Block = {
        'type': 'SynthesisNet',
        'n_levels': levels,
        'conv_block_filter_size': side,
        'conv_block_n_features': width,
        'conv_block_size': _count(state, 'mid.convs.#.'),
        'dense_block_size': dense,
        'use_additive_biases': adding in state,
        'use_multiplitive_biases': multiplying in state,
        'guide_before_conv': bool(guides) and guides[0][0] == inputs != out_channels,
        **_inputs(3, inputs, prior),
    }
    if levels:
        widths = [_shape(state, f'enc.{k}.convs.0.weight')[0] for k in range(levels)]
        widths.append(_shape(state, 'mid.convs.0.weight')[0])
        block['downsample_feature_multiplier'] = max(b // a for a, b in itertools.pairwise(widths))
        block['downsample_filter_size'] = _shape(state, 'down.0.weight')[-1]
        block['upsample_filter_size'] = _shape(state, 'dec.0.up.weight')[-1]
    values = _shape(state, f'{first}fc.0.weight', 2)[1] if dense else (guides[0][1] if guides else 0)
    sides = _odd_factors(values)
    if sides:
        block['max_kernel_size'] = list(sides[-1])
    return block


def _analysissynthesisnet(state: State, prior: int | None) -> Block:
    analysis = _analysisnet(_below(state, 'analysis.'), None)
    synthesis = _synthesisnet(_below(state, 'synthesis.'), prior)
    extra = {'prior_channels': count} if (count := synthesis.pop('prior_channels', 0)) else {}
    if 'max_kernel_size' in synthesis:
        analysis['max_kernel_size'] = synthesis['max_kernel_size']
    return {'type': 'AnalysisSynthesisNet', 'analysis': analysis, 'synthesis': synthesis, **extra}


# What tells the layouts apart, the more particular ones first.
_KNOWN: list[tuple[tuple[str, ...], Callable[[State, int | None], Block]]] = [
    (('pre_seg.weight', 'intro.weight'), _segnafnet),
    (('pre_seg.weight',), _samdeblur),
    (('intro.weight', 'ending.weight', 'middle.0.weight'), _plainunet),
    (('intro.weight', 'ending.weight', 'middle.0.first.weight'), _photounet),
    (('intro.weight', 'ending.weight'), _nafnet),
    (('embed.weight', 'output.weight'), _lakdnet),
    (('in_proj0.main.0.weight', 'out_proj3.main.0.weight'), _rsst),
    (('analysis.out.weight', 'synthesis.out.weight'), _analysissynthesisnet),
    (('encoder.0.reduce.weight', 'out.weight'), _analysisnet),
    (('mid.convs.0.weight', 'out.weight'), _synthesisnet),
]
