"""A Segment Anything network of a few thousand weights, and a way to run a script that takes it for a published one.

python tests/helpers/tiny_sam.py scripts/make_masks.py --generator sam --set model=vit_b ...
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

import torch
from segment_anything import sam_model_registry
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer


def build(checkpoint: str | None = None, depth: int = 1, grid: int = 4) -> Sam:
    """The network with random weights; its input has ``16 * grid`` pixels a side, its decoder ``depth`` layers."""
    return Sam(
        image_encoder=ImageEncoderViT(
            img_size=16 * grid, patch_size=16, embed_dim=16, depth=1, num_heads=2, out_chans=32, use_rel_pos=True
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=32,
            image_embedding_size=(grid, grid),
            input_image_size=(16 * grid, 16 * grid),
            mask_in_chans=4,
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(depth=depth, embedding_dim=32, mlp_dim=32, num_heads=2),
            transformer_dim=32,
            iou_head_depth=2,
            iou_head_hidden_dim=16,
        ),
    )


def write_sure(path: Path) -> Path:
    """A file of random weights whose masks are sure of themselves, so that the usual thresholds keep some."""
    torch.manual_seed(0)
    network = build()
    decoder = network.mask_decoder
    with torch.no_grad():
        torch.nn.init.zeros_(decoder.iou_prediction_head.layers[-1].weight)
        torch.nn.init.ones_(decoder.iou_prediction_head.layers[-1].bias)
        for head in decoder.output_hypernetworks_mlps:
            for parameter in head.layers[-1].parameters():
                parameter.mul_(1e4)
    torch.save(network.state_dict(), path)
    return path


if __name__ == '__main__':
    sam_model_registry['vit_b'] = sam_model_registry['vit_h'] = build  # the latter where a file does not tell its size
    os.environ['PYTHONPATH'] = str(Path(__file__).with_name('tiny_sam_site'))  # for processes that the script starts
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name='__main__')
