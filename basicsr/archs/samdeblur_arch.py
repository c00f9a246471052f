"""SAMDeblur: add the mask prior to any registered restoration network (arXiv 2309.02270, section 2.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from basicsr.archs.contract import Prior, Tiles, contract_of
from basicsr.archs.input_rule import InputRule, check_image
from basicsr.archs.map_unit import MaskAveragePooling, check_masks_fit
from basicsr.archs.mask_dropout import Masks, MaskSeeds, are_dropped
from basicsr.archs.recognition import ParameterShapes, PlainBlock, recognise, recognised_by
from basicsr.archs.region_energies import RegionEnergies
from basicsr.utils.device import signed
from basicsr.utils.errors import ArgumentError
from basicsr.utils.registry import ARCH_REGISTRY
from basicsr.utils.signature import Positive, Share, TypeBlock, parameters_of


class MaskGuided(nn.Module):
    """The base of mask-guided networks: pad, compute the prior, restore image and prior together, crop.

    A subclass calls ``_build_prior``, sets ``input_rule`` and implements ``_restore``. As in the original, padding
    comes first, so padded pixels are a region of the prior.
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
        """Weight of a covered pixel of a label map or boolean stack."""
        return self.pooling.mask_value

    @mask_value.setter
    def mask_value(self, value: float) -> None:
        self.pooling = MaskAveragePooling(self.pooling.mask_dropout, value).train(self.training)
        if hasattr(self, 'options'):  # checkpoints store them
            self.options['mask_value'] = value

    @property
    def mask_dropout_in_data(self) -> float:
        """Fraction of the masks that data sets drop in training; ``forward`` accepts DROPPED as seeds."""
        return self.pooling.mask_dropout

    def forward(self, lq: Tensor, masks: Masks, mask_seeds: MaskSeeds | None = None) -> Any:
        """Restore ``lq`` with its region masks.

        Args:
            lq: (B, C, H, W) RGB float in [0, 1].
            masks: integer label map (B, L, H, W), or B float/bool stacks (M_b, 1, H, W).
            mask_seeds: B integers or DROPPED, see :class:`~basicsr.archs.map_unit.MaskAveragePooling`.

        Returns:
            (B, C, H, W), or a list of images with the result as last element.

        Raises:
            ShapeError: ``lq`` has the wrong number of channels.
            MaskError: the masks do not fit the image.
        """
        size = lq.shape[-2:]
        padded, prior = self._padded_prior(lq, masks, mask_seeds)
        restored = self._restore(torch.cat([padded, prior], 1), (size[0], size[1]))
        if isinstance(restored, Tensor):
            return self.input_rule.crop(restored, *size)
        return [*restored[:-1], self.input_rule.crop(restored[-1], *size)]

    def prior(self, lq: Tensor, masks: Masks, mask_seeds: MaskSeeds | None = None) -> Tensor:
        """Return only the prior (B, prior_channels, H, W): region means of image features.

        See :meth:`forward` for arguments and errors.
        """
        prior = self._padded_prior(lq, masks, mask_seeds)[1]
        return self.input_rule.crop(prior, *lq.shape[-2:])

    def with_prior(self, lq: Tensor, masks: Masks, padded: bool = False) -> Tensor:
        """Concatenate image and prior along the channels, as input of the restoration network or of its tiles.

        Args:
            lq: see :meth:`forward`.
            masks: see :meth:`forward`.
            padded: keep the padding of ``input_rule``.

        Returns:
            (B, C + prior_channels, H, W), or (..., H', W').
        """
        both = torch.cat(self._padded_prior(lq, masks, None), 1)
        return both if padded else self.input_rule.crop(both, *lq.shape[-2:])

    def restore_with_prior(self, x: Tensor, **place: Tensor) -> Any:
        """Restore the result of :meth:`with_prior`, or tiles of it, of any size.

        Args:
            x: (B, C + prior_channels, H, W).
            place: ``first_row``, (B, 1, 1, 1), for networks that count rows: the number of the first row of ``x``.
        """
        padded = self.tile_rule.pad(x)
        if place:
            top = self.tile_rule.offset(padded.shape[-2], padded.shape[-1], x.shape[-2], x.shape[-1])[0]
            place = {'first_row': place['first_row'] - top}
        restored = self._restore(padded, (x.shape[-2], x.shape[-1]), **place)
        if isinstance(restored, Tensor):
            return self.tile_rule.crop(restored, *x.shape[-2:])
        return [*restored[:-1], self.tile_rule.crop(restored[-1], *x.shape[-2:])]

    def restoring(self, whole: Tensor) -> tuple[Callable[[Tensor], Any], InputRule]:
        """Return the function that restores tiles of ``whole``, and the rule of their sizes.

        Args:
            whole: result of :meth:`with_prior`.
        """
        return self.restore_with_prior, self.tile_rule

    def for_tiles(self, lq: Tensor, masks: Masks | None, padded: bool) -> Tiles:
        """Prepare tiles of image and prior; see :func:`~basicsr.archs.contract.for_tiles`.

        Raises:
            ArgumentError: masks are missing.
        """
        if masks is None:
            raise ArgumentError(f'{type(self).__name__} needs masks')
        whole = self.with_prior(lq, masks, padded)
        return whole, *self.restoring(whole)

    @property
    def tile_rule(self) -> InputRule:
        """Input rule of the network after the prior. Its halo may be finite; that of the prior is global."""
        return self.input_rule

    def _check(self, lq: Tensor, masks: Masks, mask_seeds: MaskSeeds | None) -> None:
        check_image(lq, self.img_channel, type(self).__name__)
        check_masks_fit(masks, lq, are_dropped(mask_seeds))

    def _padded_prior(self, lq: Tensor, masks: Masks, mask_seeds: MaskSeeds | None) -> tuple[Tensor, Tensor]:
        self._check(lq, masks, mask_seeds)
        padded = self.input_rule.pad(lq)
        pad = self.input_rule.pad
        masks = pad(signed(masks)) if isinstance(masks, Tensor) else [pad(stack) for stack in masks]
        features = self.pre_seg_in(self.pre_seg(padded))
        return padded, self.pooling(features, masks, mask_seeds)

    def _restore(self, x: Tensor, real_size: tuple[int, int], **place: Tensor) -> Any:
        """Restore a padded image and its prior, concatenated in this order along the channels.

        Args:
            x: (B, C + prior_channels, H', W').
            real_size: height and width before padding.
            place: see :meth:`restore_with_prior`; of the padded image.
        """
        raise NotImplementedError


@ARCH_REGISTRY.register()
class SAMDeblur(MaskGuided):
    """The plug-and-play unit of SAM-Deblur: any restoration network, with region means of learned features as prior.

    Call ``net(lq, masks)``; :meth:`prior` and ``net.backbone`` can also be called separately.

    Args:
        backbone: ``type`` and arguments of a registered restoration network, without prior_channels.
        prior_channels: channels of the prior (S in the paper).
        mask_dropout: fraction of the masks to drop in training.
        mask_value: weight of a covered pixel: 1 in the paper, 1/255 in the published checkpoints.
        prior_features: 'linear', as in the paper, averages features of two convolutions without an activation;
            'energies' averages squares of learned filters, which change with blur, and starts without effect.
        prior_filters: number of filters of 'energies'.
    """

    def __init__(
        self,
        backbone: Annotated[dict[str, Any], TypeBlock('network')],
        prior_channels: Positive = 2,
        mask_dropout: Share = 0.5,
        mask_value: Share = 1.0,
        prior_features: Literal['linear', 'energies'] = 'linear',
        prior_filters: Positive = 8,
    ) -> None:
        super().__init__()
        if 'prior_channels' in backbone:
            raise ArgumentError('SAMDeblur sets prior_channels of its backbone; remove the key from backbone')
        network = ARCH_REGISTRY.build({**backbone, 'prior_channels': prior_channels}) if _fits(backbone) else None
        about = None if network is None else contract_of(network)
        if network is None or about is None or about.in_channels != about.img_channel + prior_channels:
            raise ArgumentError(
                f"SAMDeblur: '{backbone.get('type')}' cannot be the backbone. A backbone needs the argument "
                'prior_channels and the attributes img_channel, in_channels and input_rule, and takes no other inputs'
            )
        self.img_channel = about.img_channel
        self.input_rule = replace(about.input_rule, halo='global')  # region means depend on the whole image
        self.energies: RegionEnergies | None = None
        if prior_features == 'linear':
            self._build_prior(self.img_channel, prior_channels, mask_dropout, mask_value)
        elif prior_features == 'energies':
            self.energies = RegionEnergies(self.img_channel, prior_filters, prior_channels)
            self.pooling = MaskAveragePooling(mask_dropout, mask_value)
        else:
            raise ArgumentError(f"SAMDeblur: prior_features must be 'linear' or 'energies', got {prior_features!r}")
        self.backbone = network

    def restoring(self, whole: Tensor) -> tuple[Callable[[Tensor], Any], InputRule]:
        """See :class:`MaskGuided`. All tiles share the blur kernel that the backbone finds in the whole image."""
        if contract_of(self.backbone).kernel_role != 'finds':
            return super().restoring(whole)
        fixed: Any = self.backbone.fixed_for(whole)
        return fixed, fixed.input_rule

    @property
    def tile_rule(self) -> InputRule:
        """Input rule of the backbone."""
        return self.backbone.input_rule

    @property
    def row_channel(self) -> bool:
        """Whether the backbone counts rows."""
        return contract_of(self.backbone).row_channel

    @property
    def bf16_safe(self) -> bool:
        """Whether the backbone is safe in bfloat16."""
        return contract_of(self.backbone).bf16_safe

    @property
    def adds_image(self) -> bool:
        """Whether the backbone adds the image to its result."""
        return contract_of(self.backbone).adds_image

    def _padded_prior(self, lq: Tensor, masks: Masks, mask_seeds: MaskSeeds | None) -> tuple[Tensor, Tensor]:
        if self.energies is None:
            return super()._padded_prior(lq, masks, mask_seeds)
        self._check(lq, masks, mask_seeds)
        prior = self.energies(lq, lambda features: self.pooling(features, masks, mask_seeds))
        return self.input_rule.pad(lq), self.input_rule.pad(prior)

    def _restore(self, x: Tensor, real_size: tuple[int, int], **place: Tensor) -> Any:
        told: dict[str, Any] = {'real_size': real_size} if self.input_rule.tells_padding else {}
        return self.backbone(x, **told, **place)


def _fits(backbone: dict[str, Any]) -> bool:
    """Return whether the class of the block takes ``prior_channels``. The registry reports unknown names."""
    name = str(backbone.get('type'))
    if name not in ARCH_REGISTRY:
        return True
    network = ARCH_REGISTRY.get(name)
    return 'prior_channels' in parameters_of(network) and not issubclass(network, MaskGuided)


@recognised_by('SAMDeblur', 'pre_seg.weight')
def _arguments(shapes: ParameterShapes, prior: int | None) -> PlainBlock:
    channels = shapes.of('pre_seg.weight')[0]
    return {'backbone': recognise(shapes.below('backbone.'), channels), 'prior_channels': channels}


@recognised_by('SAMDeblur', 'energies.filters.weight')
def _arguments_with_energies(shapes: ParameterShapes, prior: int | None) -> PlainBlock:
    channels, filters, *_ = shapes.of('energies.mix.weight')
    backbone = recognise(shapes.below('backbone.'), channels)
    kind = {'prior_features': 'energies', 'prior_filters': filters}
    return {'backbone': backbone, 'prior_channels': channels, **kind}
