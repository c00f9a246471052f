"""SegNAFNet: the network of SAM-Deblur, NAFNet with the mask prior, under its published parameter names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from basicsr.archs.nafnet_arch import NAFNetBody, nafnet_body, use_local_pooling
from basicsr.archs.recognition import ParameterShapes, PlainBlock, recognised_by
from basicsr.archs.samdeblur_arch import MaskGuided
from basicsr.utils.registry import ARCH_REGISTRY
from basicsr.utils.signature import NotNegative, Positive, Share


@ARCH_REGISTRY.register()
class SegNAFNet(MaskGuided, NAFNetBody):
    """NAFNet with the mask prior of :class:`~basicsr.archs.samdeblur_arch.SAMDeblur` (arXiv 2309.02270).

    Call ``net(lq, masks)``. Equal to ``SAMDeblur`` with the backbone ``NAFNet``, with published state_dict keys.

    Args:
        img_channel: input and output image channels.
        seg_channel: channels of the prior (S in the paper; 2 in the published networks).
        width: see NAFNet.
        middle_blk_num: see NAFNet.
        mask_dropout: fraction of the masks to drop in training.
        enc_blk_nums: see NAFNet.
        dec_blk_nums: see NAFNet.
        mask_value: weight of a covered pixel: 1 in the paper, 1/255 in the published checkpoints.
    """

    def __init__(
        self,
        img_channel: Positive = 3,
        seg_channel: Positive = 3,
        width: Positive = 16,
        middle_blk_num: NotNegative = 1,
        mask_dropout: Share = 0.5,
        enc_blk_nums: Sequence[NotNegative] = (),
        dec_blk_nums: Sequence[NotNegative] = (),
        *,
        mask_value: Share = 1.0,
    ) -> None:
        super().__init__()
        self._build_prior(img_channel, seg_channel, mask_dropout, mask_value)  # first, as in published files
        self._build(img_channel, seg_channel, width, middle_blk_num, enc_blk_nums, dec_blk_nums)

    def _restore(self, x: Tensor, real_size: tuple[int, int] | None = None, **place: Tensor) -> Tensor:
        return NAFNetBody._restore(self, x)  # treats padded pixels like all others


@ARCH_REGISTRY.register()
class SegNAFNetLocal(SegNAFNet):
    """SegNAFNet with the window means of NAFNetLocal. The region means of the prior stay global.

    Args:
        img_channel: see NAFNet.
        seg_channel: see SegNAFNet.
        width: see NAFNet.
        middle_blk_num: see NAFNet.
        mask_dropout: see SegNAFNet.
        enc_blk_nums: see NAFNet.
        dec_blk_nums: see NAFNet.
        train_size: (B, C, H, W) of the training patches; only H and W matter.
        fast_imp: see NAFNetLocal.
        mask_value: see SegNAFNet.
    """

    def __init__(
        self, *args: Any, train_size: Sequence[Positive] = (1, 3, 256, 256), fast_imp: bool = False, **arguments: Any
    ) -> None:
        super().__init__(*args, **arguments)
        use_local_pooling(self, train_size, fast_imp)


@recognised_by('SegNAFNet', 'pre_seg.weight', 'intro.weight', 'ending.weight')
def _arguments(shapes: ParameterShapes, prior: int | None) -> PlainBlock:
    return {'seg_channel': shapes.of('pre_seg.weight')[0], **nafnet_body(shapes)}
