"""AnalysisSynthesisNet: blind deblurring with two networks: one estimates the blur kernel, the other uses it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated, Any, Literal, overload

from torch import Tensor, nn

from basicsr.archs.analysis_arch import AnalysisNet, analysis_arguments
from basicsr.archs.contract import KernelRole, Tiles, for_tiles
from basicsr.archs.input_rule import InputRule, check_image
from basicsr.archs.recognition import ParameterShapes, PlainBlock, recognised_by
from basicsr.archs.synthesis_arch import SynthesisNet, synthesis_arguments
from basicsr.utils.errors import ArgumentError, ShapeError
from basicsr.utils.registry import ARCH_REGISTRY
from basicsr.utils.signature import NotNegative, TypeBlock


@ARCH_REGISTRY.register()
class AnalysisSynthesisNet(nn.Module):
    """The pair of Kaufman and Fattal (CVPR 2020) as one restoration network, for blur that is the same everywhere.

    Input (B, 3 [+ prior], H, W) RGB float in [0, 1], any H, W (symmetric padding on both sides, to a multiple of 16 and
    to the minimum size of the analysis). Output (B, 3, H, W), not clamped. The two networks use values in [0, 255],
    which this class converts. Only the synthesis uses the prior.

    Args:
        analysis: ``type: AnalysisNet`` and its arguments; default: the published configuration.
        synthesis: ``type: SynthesisNet`` and its arguments, with the same max_kernel_size.
        prior_channels: additional input channels after the image.
    """

    def __init__(
        self,
        analysis: Annotated[dict[str, Any], TypeBlock('network')] | None = None,
        synthesis: Annotated[dict[str, Any], TypeBlock('network')] | None = None,
        *,
        prior_channels: NotNegative = 0,
    ) -> None:
        super().__init__()
        blocks = analysis or {'type': 'AnalysisNet'}, synthesis or {'type': 'SynthesisNet'}
        if 'prior_channels' in blocks[1]:
            raise ArgumentError('AnalysisSynthesisNet sets prior_channels of its synthesis; remove it from synthesis')
        extra = {'prior_channels': prior_channels} if prior_channels else {}
        self.analysis = ARCH_REGISTRY.build(blocks[0])
        self.synthesis = ARCH_REGISTRY.build({**blocks[1], **extra})
        if not (isinstance(self.analysis, AnalysisNet) and isinstance(self.synthesis, SynthesisNet)):
            kinds = f'{type(self.analysis).__name__} and {type(self.synthesis).__name__}'
            raise ArgumentError(f'AnalysisSynthesisNet needs an AnalysisNet and a SynthesisNet, got {kinds}')
        found, used = list(self.analysis.kernel_size), list(self.synthesis.kernel_size)
        if found != used:
            raise ArgumentError(f'max_kernel_size is {found} in analysis and {used} in synthesis; they must match')
        self.img_channel, self.in_channels = self.synthesis.img_channel, self.synthesis.in_channels
        self.kernel_role: KernelRole = 'finds'
        rule = self.synthesis.input_rule
        multiple = max(rule.multiple[0], 2 ** len(self.analysis.encoder))
        self._white = rule.value_range[1]
        self.input_rule = replace(
            rule,
            multiple=(multiple, multiple),
            minimum=self.analysis.input_rule.minimum,
            value_range=(0.0, 1.0),
            halo='global',
        )

    @overload
    def forward(self, lq: Tensor, kernel: Tensor | None = None) -> Tensor: ...

    @overload
    def forward(self, lq: Tensor, kernel: Tensor | None, wanted: Literal['kernel', 'both']) -> tuple[Tensor, ...]: ...

    def forward(
        self, lq: Tensor, kernel: Tensor | None = None, wanted: Literal['image', 'kernel', 'both'] = 'image'
    ) -> Tensor | tuple[Tensor, ...]:
        """Restore ``lq``.

        Args:
            lq: (B, 3 [+ prior], H, W) in [0, 1].
            kernel: (B, h, w), as from :meth:`estimate_kernel`; None estimates it.
            wanted: 'kernel' runs the analysis alone; for training.

        Returns:
            the image (B, 3, H, W); or (kernel,); or (kernel, image) for 'both'.
        """
        check_image(lq, self.in_channels, type(self).__name__)
        padded = self.input_rule.pad(lq) * self._white
        if kernel is None:
            kernel = self.analysis(padded[:, : self.img_channel])
        if wanted == 'kernel':
            return (kernel,)
        restored = self.input_rule.crop(self.synthesis(padded, kernel) / self._white, *lq.shape[-2:])
        return (kernel, restored) if wanted == 'both' else restored

    def estimate_kernel(self, lq: Tensor) -> Tensor:
        """Estimate the blur kernels (B, *max_kernel_size) of (B, 3 [+ prior], H, W), values 0 to 1."""
        check_image(lq, self.in_channels, type(self).__name__)
        return self.analysis(self.input_rule.pad(lq)[:, : self.img_channel] * self._white)

    def fixed_for(self, lq: Tensor) -> KnownKernel:
        """Return this network with the kernel of the whole image ``lq``; its receptive field is finite."""
        return KnownKernel(self, self.estimate_kernel(lq))

    def with_kernel(self, kernel: Tensor) -> KnownKernel:
        """Return this network with a known kernel.

        Args:
            kernel: (1, h, w), h and w odd, sum 1; rows and columns beyond ``max_kernel_size`` must be 0.

        Raises:
            ShapeError: the kernel is larger than ``max_kernel_size``.
            ArgumentError: its sum is not above 0, or not finite.
        """
        if not 0 < (total := float(kernel.sum())) < math.inf:
            raise ArgumentError(f'kernel: its sum is {total:g}; a blur kernel has a sum above 0, usually 1')
        margins = [
            max(side - most, 0) // 2 for side, most in zip(kernel.shape[1:], self.synthesis.kernel_size, strict=True)
        ]
        inner = kernel[:, margins[0] : kernel.shape[1] - margins[0], margins[1] : kernel.shape[2] - margins[1]]
        if inner.count_nonzero() < kernel.count_nonzero():
            size = '×'.join(map(str, self.synthesis.kernel_size))
            raise ShapeError(f'kernel: larger than {size}, the largest that this network takes')
        return KnownKernel(self, inner)

    def for_tiles(self, lq: Tensor, masks: Any, padded: bool) -> Tiles:
        """Prepare tiles that share the kernel of the image; see :func:`~basicsr.archs.contract.for_tiles`.

        Raises:
            ArgumentError: masks are given, which this network does not take.
        """
        return for_tiles(self.fixed_for(lq), lq, masks, padded)


class KnownKernel(nn.Module):
    """An :class:`AnalysisSynthesisNet` with a fixed blur kernel.

    Args:
        net: the network; not copied.
        kernel: (1, h, w), or (B, h, w) for batches of B images.
    """

    input_rule: InputRule

    def __init__(self, net: AnalysisSynthesisNet, kernel: Tensor) -> None:
        super().__init__()
        self.net, self.kernel = net, kernel
        self.img_channel, self.in_channels = net.img_channel, net.in_channels
        self.input_rule = replace(net.input_rule, minimum=(1, 1), halo=net.synthesis.input_rule.halo)

    def forward(self, lq: Tensor) -> Tensor:
        """Restore (B, 3 [+ prior], H, W) in [0, 1]."""
        return self.net(lq, self.kernel)


@recognised_by('AnalysisSynthesisNet', 'analysis.out.weight', 'synthesis.out.weight')
def _arguments(shapes: ParameterShapes, prior: int | None) -> PlainBlock:
    analysis = {'type': 'AnalysisNet', **analysis_arguments(shapes.below('analysis.'), None)}
    synthesis = {'type': 'SynthesisNet', **synthesis_arguments(shapes.below('synthesis.'), prior)}
    extra = {'prior_channels': count} if (count := synthesis.pop('prior_channels', 0)) else {}
    if 'max_kernel_size' in synthesis:
        analysis['max_kernel_size'] = synthesis['max_kernel_size']
    return {'analysis': analysis, 'synthesis': synthesis, **extra}
