"""SAMDeblur: the mask prior around any registered restoration network (arXiv 2309.02270, section 2.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from basicsr.archs.contract import Prior, contract_of
from basicsr.archs.input_rule import InputRule, check_image
from basicsr.archs.map_unit import MaskAveragePooling, Masks, MaskSeeds, check_masks_fit
from basicsr.archs.recognition import Block, ParameterShapes, recognise, recognised_by
from basicsr.utils.device import signed
from basicsr.utils.errors import ArgumentError
from basicsr.utils.registry import ARCH_REGISTRY
from basicsr.utils.signature import Positive, Share, TypeBlock, parameters_of


class MaskGuided(nn.Module):
    """What every mask-guided network does: pad, make the prior, restore image and prior together, crop.

    A subclass calls ``_build_prior`` once it knows the image channels, sets ``input_rule`` and implements
    ``_restore``. Order matters: the original pads first, so padded pixels are a region of the prior.
    """

    input_rule: InputRule
    img_channel: int
    prior_kind: Prior = 'regions'
    options: dict[str, Any]

    def _build_prior(self, img_channel: int, prior_channels: int, mask_dropout: float, mask_value: float) -> None:
        self.pre_seg = nn.Conv2d(img_channel, prior_channels, 3, padding=1)
        self.pre_seg_in = nn.Conv2d(prior_channels, prior_channels, 1)
        self.pooling = MaskAveragePooling(mask_dropout, mask_value)

    @property
    def mask_value(self) -> float:
        """What a covered pixel of a label map or boolean stack weighs."""
        return self.pooling.mask_value

    @mask_value.setter
    def mask_value(self, value: float) -> None:
        self.pooling = MaskAveragePooling(self.pooling.mask_dropout, value).train(self.training)
        if hasattr(self, 'options'):  # what build_network keeps for checkpoints
            self.options['mask_value'] = value

    def forward(self, lq: Tensor, masks: Masks, mask_seeds: MaskSeeds | None = None) -> Any:
        """Restore ``lq`` with the help of its region masks.

        Args:
            lq: (B, C, H, W) RGB float in [0, 1].
            masks: integer label map (B, L, H, W), or B float/bool stacks (M_b, 1, H, W).
            mask_seeds: B integers, see :class:`~basicsr.archs.map_unit.MaskAveragePooling`.

        Returns:
            what the network returns: (B, C, H, W), or a list of images whose last is the result.

        Raises:
            ShapeError: ``lq`` has other channels than the network.
            MaskError: the masks do not fit the image.
        """
        size = lq.shape[-2:]
        padded, prior = self._padded_prior(lq, masks, mask_seeds)
        restored = self._restore(torch.cat([padded, prior], 1), (size[0], size[1]))
        if isinstance(restored, Tensor):
            return self.input_rule.crop(restored, *size)
        return [*restored[:-1], self.input_rule.crop(restored[-1], *size)]

    def prior(self, lq: Tensor, masks: Masks, mask_seeds: MaskSeeds | None = None) -> Tensor:
        """The prior alone, (B, prior_channels, H, W): region means of the image's features, for tiling and pictures.

        Arguments and errors as in :meth:`forward`.
        """
        prior = self._padded_prior(lq, masks, mask_seeds)[1]
        return self.input_rule.crop(prior, *lq.shape[-2:])

    def with_prior(self, lq: Tensor, masks: Masks, padded: bool = False) -> Tensor:
        """Image and prior along the channels, as the network behind the prior sees them: what tiles are cut from.

        Args:
            lq: see :meth:`forward`.
            masks: see :meth:`forward`.
            padded: leave the padding of ``input_rule`` on.

        Returns:
            (B, C + prior_channels, H, W), or (..., H', W').
        """
        both = torch.cat(self._padded_prior(lq, masks, None), 1)
        return both if padded else self.input_rule.crop(both, *lq.shape[-2:])

    def restore_with_prior(self, x: Tensor) -> Any:
        """Restore what :meth:`with_prior` returned, or tiles of it; any size.

        Args:
            x: (B, C + prior_channels, H, W).
        """
        restored = self._restore(self.tile_rule.pad(x), (x.shape[-2], x.shape[-1]))
        if isinstance(restored, Tensor):
            return self.tile_rule.crop(restored, *x.shape[-2:])
        return [*restored[:-1], self.tile_rule.crop(restored[-1], *x.shape[-2:])]

    def restoring(self, whole: Tensor) -> tuple[Callable[[Tensor], Any], InputRule]:
        """What restores tiles of ``whole``, and what it asks of them.

        Args:
            whole: what :meth:`with_prior` returned.
        """
        return self.restore_with_prior, self.tile_rule

    def for_tiles(
        self, lq: Tensor, masks: Masks | None, padded: bool
    ) -> tuple[Tensor, Callable[[Tensor], Any], InputRule]:
        """Tiles are cut from image and prior; see :func:`~basicsr.archs.contract.for_tiles`.

        Raises:
            ArgumentError: masks are missing.
        """
        if masks is None:
            raise ArgumentError(f'{type(self).__name__} needs masks')
        whole = self.with_prior(lq, masks, padded)
        return whole, *self.restoring(whole)

    @property
    def tile_rule(self) -> InputRule:
        """What the network behind the prior asks of its input; its reach, where that of the prior is global."""
        return self.input_rule

    def _padded_prior(self, lq: Tensor, masks: Masks, mask_seeds: MaskSeeds | None) -> tuple[Tensor, Tensor]:
        check_image(lq, self.img_channel, type(self).__name__)
        check_masks_fit(masks, lq)
        padded = self.input_rule.pad(lq)
        pad = self.input_rule.pad
        masks = pad(signed(masks)) if isinstance(masks, Tensor) else [pad(stack) for stack in masks]
        features = self.pre_seg_in(self.pre_seg(padded))
        return padded, self.pooling(features, masks, mask_seeds)

    def _restore(self, x: Tensor, real_size: tuple[int, int]) -> Any:
        """The network on padded image and prior, concatenated in this order along the channels.

        Args:
            x: (B, C + prior_channels, H', W').
            real_size: height and width before the padding.
        """
        raise NotImplementedError


@ARCH_REGISTRY.register()
class SAMDeblur(MaskGuided):
    """The plug-and-play unit of SAM-Deblur: any restoration network, given region means of learned features.

    ``net(lq, masks)``; :meth:`prior` and ``net.backbone`` can be called apart.

    Args:
        backbone: ``type`` and arguments of a registered restoration network; its prior_channels are set here.
        prior_channels: channels of the prior (S in the paper).
        mask_dropout: share of the masks dropped in training.
        mask_value: what a covered pixel weighs: 1 the paper, 1/255 the published checkpoints.
    """

    def __init__(
        self,
        backbone: Annotated[dict[str, Any], TypeBlock('network')],
        prior_channels: Positive = 2,
        mask_dropout: Share = 0.5,
        mask_value: Share = 1.0,
    ) -> None:
        super().__init__()
        if 'prior_channels' in backbone:
            raise ArgumentError("SAMDeblur sets its backbone's prior_channels itself; remove the key from backbone")
        network = ARCH_REGISTRY.build({**backbone, 'prior_channels': prior_channels}) if _fits(backbone) else None
        if network is None or network.in_channels != network.img_channel + prior_channels:
            raise ArgumentError(
                f"SAMDeblur cannot stand before '{backbone.get('type')}': a backbone is a network of image and prior "
                'alone, with the argument prior_channels and the attributes img_channel, in_channels and input_rule'
            )
        self.img_channel = network.img_channel
        self.input_rule = replace(network.input_rule, halo='global')  # region means reach across the image
        self._build_prior(self.img_channel, prior_channels, mask_dropout, mask_value)
        self.backbone = network

    def restoring(self, whole: Tensor) -> tuple[Callable[[Tensor], Any], InputRule]:
        """As in :class:`MaskGuided`; what the backbone derives from the whole image is the same for all tiles."""
        if contract_of(self.backbone).kernel_role != 'finds':
            return super().restoring(whole)
        fixed: Any = self.backbone.fixed_for(whole)
        return fixed, fixed.input_rule

    @property
    def tile_rule(self) -> InputRule:
        """The backbone's rule."""
        return self.backbone.input_rule

    @property
    def bf16_safe(self) -> bool:
        """As its backbone."""
        return contract_of(self.backbone).bf16_safe

    def _restore(self, x: Tensor, real_size: tuple[int, int]) -> Any:
        return self.backbone(x, real_size=real_size) if self.input_rule.tells_padding else self.backbone(x)


def _fits(backbone: dict[str, Any]) -> bool:
    """Whether the class that the block names takes ``prior_channels``; unknown names are the registry's to report."""
    name = str(backbone.get('type'))
    if name not in ARCH_REGISTRY:
        return True
    network = ARCH_REGISTRY.get(name)
    return 'prior_channels' in parameters_of(network) and not issubclass(network, MaskGuided)


@recognised_by('SAMDeblur', 'pre_seg.weight')
def _arguments(shapes: ParameterShapes, prior: int | None) -> Block:
    channels = shapes.of('pre_seg.weight')[0]
    return {'backbone': recognise(shapes.below('backbone.'), channels), 'prior_channels': channels}
