"""A mask prior that can describe blur: energies of learned filters, averaged over regions (ours, not of the paper)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.utils.device import without_autocast

FLOOR = 1e-5
"""Mean square of responses below which differences hardly count: a standard deviation of 0.8 gray levels of 8 bits."""

_REACH = 2  # filters of 5×5 pixels


class RegionEnergies(nn.Module):
    """Replace the linear features of the prior of SAM-Deblur by logarithms of filter energies.

    The paper averages x * w over a region, a linear function of the mean colour of the region: blur does not change
    it. Here, squares of filter responses are averaged. With filters w_k, k = 1..K, the averages E over regions of
    :class:`~basicsr.archs.map_unit.MaskAveragePooling`, and the mixing matrix M::

        e_k = E[(x * (w_k - mean of w_k))²]        prior_s = sum_k M_sk log(1 + e_k / 1e-5)

    The mean of w_k is that of each colour plane, so constant colours have no energy. e_k is the autocorrelation of the
    region's texture at lags of up to 4 pixels, weighted by the autocorrelation of w_k. Motion lowers the energy of
    filters along its direction, most of all at high frequencies, so differences of logarithms show its direction and
    length whatever the contrast (Levin, "Blind motion deblurring using image statistics", NIPS 2006, compares
    derivatives in the same way).

    M is zero at first: the network starts as one whose prior is zero. Energies are computed in float32 or float64, also
    under autocast.

    Args:
        img_channel: image channels.
        filters: K.
        prior_channels: channels of the prior.
    """

    def __init__(self, img_channel: int, filters: int, prior_channels: int) -> None:
        super().__init__()
        self.filters = nn.Conv2d(img_channel, filters, 2 * _REACH + 1, bias=False)
        self.mix = nn.Conv2d(filters, prior_channels, 1, bias=False)
        nn.init.zeros_(self.mix.weight)

    def forward(self, lq: Tensor, average: Callable[[Tensor], Tensor]) -> Tensor:
        """Compute the prior.

        Args:
            lq: (B, C, H, W) RGB float in [0, 1], without padding, whose edges would be texture; edges are repeated.
            average: averages features (B, K, H, W) over regions.

        Returns:
            (B, prior_channels, H, W) in the dtype of ``lq``.
        """
        with without_autocast(lq):
            exact = lq if lq.dtype == torch.float64 else lq.float()
            weight = self.filters.weight.to(exact.dtype)
            weight = weight - weight.mean((2, 3), keepdim=True)
            response = F.conv2d(F.pad(exact, (_REACH,) * 4, mode='replicate'), weight)
            levels = torch.log1p(average(response.square()) / FLOOR)
        mixed: Tensor = self.mix(levels.to(lq.dtype))
        return mixed
