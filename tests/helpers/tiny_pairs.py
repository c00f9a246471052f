"""A tiny analysis-synthesis pair."""

from __future__ import annotations

from torch import nn

from basicsr.archs import build_network
from tests.helpers.project import Vector, find_vector

TOPIC = 'analysis_synthesis'


TINY_ANALYSIS = {
    'type': 'AnalysisNet',
    'n_levels': 2,
    'max_kernel_size': [7, 9],
    'conv_block_size': 1,
    'conv_block_n_features': 4,
    'conv_block_filter_size': 3,
    'n_upsampling_features': 4,
    'cc_num_of_in_features': 3,
    'n_conv_filters_before_output': [4],
}


TINY_SYNTHESIS = {
    'type': 'SynthesisNet',
    'n_levels': 2,
    'conv_block_n_features': 4,
    'conv_block_size': 1,
    'max_kernel_size': [7, 9],
}


TINY = {'type': 'AnalysisSynthesisNet', 'analysis': TINY_ANALYSIS, 'synthesis': TINY_SYNTHESIS}


def pipeline(case: Vector, **analysis: object) -> nn.Module:
    """The pair with the weights of the tiny pipeline."""
    about = case.meta
    net = build_network(
        {
            'type': 'AnalysisSynthesisNet',
            'analysis': {'type': 'AnalysisNet', **about['analysis_config'], **analysis},
            'synthesis': {'type': 'SynthesisNet', **about['synthesis_config']},
        }
    )
    net.load_state_dict(Vector(find_vector(TOPIC, 'pipeline_odd.npz')).state(), strict=True)
    return net.eval()
