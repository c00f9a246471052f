"""LPIPS, a learned distance of images (arXiv 1801.03924), through the optional package torchmetrics."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from basicsr.metrics.arrays import image_pair, unit_float
from basicsr.metrics.metric import Metric, Score
from basicsr.metrics.record import Record
from basicsr.utils.installation import pip_install
from basicsr.utils.registry import METRIC_REGISTRY
from basicsr.utils.signature import File
from basicsr.weights.files import Weights, load_weights, read_weights

BACKBONE = 'alexnet-owt-7be5be79.pth'
"""The file of torchvision's AlexNet."""


@METRIC_REGISTRY.register(name='lpips')
class LPIPS(Metric):
    """LPIPS with AlexNet, version 0.1, of the output before rounding, clamped to [0, 1] (LaKDNet's evaluation).

    Nothing is downloaded. Without torchmetrics or without AlexNet's weights it is ``missing`` and scores nothing.

    Args:
        backbone_file: AlexNet's weights; None looks for ``alexnet-owt-7be5be79.pth`` where PyTorch keeps downloads.
    """

    name: ClassVar[str] = 'lpips'
    higher_is_better: ClassVar[bool] = False
    reads: ClassVar[tuple[str, ...]] = ('output', 'gt')

    def __init__(self, backbone_file: File | None = None) -> None:
        self.backbone_file = backbone_file

    @property
    def variant(self) -> str:
        """Which network and version."""
        return 'LPIPS AlexNet 0.1'

    @property
    def missing(self) -> str:
        """What is not there and where it would come from."""
        if importlib.util.find_spec('torchmetrics') is None:
            return f'lpips needs torchmetrics: {pip_install("lpips")}'
        if not self._file.is_file():
            return f'lpips needs the weights of AlexNet at {self._file}: https://download.pytorch.org/models/{BACKBONE}'
        return ''

    def score(self, record: Record) -> Score:
        """Score the float output against the ground truth divided by its range.

        Args:
            record: one image.

        Raises:
            WeightsError: the backbone's file is damaged, or of another network.
        """
        output = unit_float(record.array('output'), "the record's output").clip(0, 1)
        pair = image_pair(output, unit_float(record.array('gt'), "the record's gt"), 0, 'HWC')
        first, second = (torch.from_numpy(image.transpose(2, 0, 1)[None]).float() for image in pair)
        return Score(distance(_network(self._file), first, second))

    @property
    def _file(self) -> Path:
        return Path(self.backbone_file or Path(torch.hub.get_dir()) / 'checkpoints' / BACKBONE).expanduser()


def network(backbone: dict[str, Tensor]) -> nn.Module:
    """LPIPS with the linear heads that torchmetrics brings along.

    Args:
        backbone: AlexNet's convolutions, by torchvision's names (``features.0.weight``); others are left alone.

    Raises:
        WeightsError: one is missing, or of another shape.
    """
    from torchmetrics.functional.image.lpips import _LPIPS

    net: Any = _LPIPS(pretrained=True, net='alex', pnet_rand=True)  # heads from the package, convolutions from here
    names = {key: f'features.{key.split(".", 1)[1]}' for key in net.net.state_dict()}
    own = {key: backbone[name] for key, name in names.items() if name in backbone}
    load_weights(net.net, Weights(Path(BACKBONE), own))
    result: nn.Module = net.eval()
    return result


def distance(net: nn.Module, first: Tensor, second: Tensor) -> float:
    """LPIPS of two images.

    Args:
        net: of :func:`network`.
        first: (1, 3, H, W) RGB in [0, 1].
        second: of the same form.
    """
    with torch.inference_mode():
        return float(net(2 * first - 1, 2 * second - 1))


@functools.lru_cache(1)
def _network(file: Path) -> nn.Module:
    return network(read_weights(file, None).state)
