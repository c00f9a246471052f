"""LPIPS, a learned image distance (arXiv 1801.03924), from the optional package torchmetrics."""

from __future__ import annotations

import functools
import importlib.util
import threading
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from basicsr.metrics.arrays import image_pair
from basicsr.metrics.metric import Metric, Score, pair_of
from basicsr.metrics.on_device import on_device
from basicsr.metrics.record import Record
from basicsr.utils.installation import with_commands
from basicsr.utils.registry import METRIC_REGISTRY
from basicsr.utils.signature import File
from basicsr.weights.files import Weights, load_weights, read_weights

BACKBONE = 'alexnet-owt-7be5be79.pth'
"""The file of torchvision's AlexNet."""
_BUILDING = threading.Lock()


@METRIC_REGISTRY.register(name='lpips')
class LPIPS(Metric):
    """LPIPS with AlexNet, version 0.1, of the output before rounding, clamped to [0, 1] (LaKDNet's evaluation).

    Nothing is downloaded. Without torchmetrics or the weights of AlexNet, this metric is not scored.

    Args:
        backbone_file: weights of AlexNet; None uses ``alexnet-owt-7be5be79.pth`` in PyTorch's download folder.
    """

    name: ClassVar[str] = 'lpips'
    variant = 'LPIPS AlexNet 0.1'
    higher_is_better: ClassVar[bool] = False
    reads: ClassVar[tuple[str, ...]] = ('output', 'gt')

    def __init__(self, backbone_file: File | None = None) -> None:
        self.backbone_file = backbone_file

    @property
    def missing(self) -> str:
        """Name of the missing package or file, with its source."""
        if importlib.util.find_spec('torchmetrics') is None:
            return with_commands("lpips needs torchmetrics: pip install -e '.[lpips]'")
        if not self._file.is_file():
            return f'lpips needs the weights of AlexNet at {self._file}: https://download.pytorch.org/models/{BACKBONE}'
        return ''

    def score(self, record: Record) -> Score:
        """Score the float output against the ground truth divided by its range.

        Raises:
            WeightsError: the backbone file is damaged or contains a different network.
        """
        pair = image_pair(*pair_of(record, rounded=False), 0, 'HWC')
        first, second = (torch.from_numpy(image.transpose(2, 0, 1)[None]).float() for image in pair)
        file = self._file

        def on(device: str) -> float:
            return distance(_network(file, device), first.to(device), second.to(device))

        return Score(on_device(record.device, on))

    @property
    def _file(self) -> Path:
        return Path(self.backbone_file or Path(torch.hub.get_dir()) / 'checkpoints' / BACKBONE).expanduser()


def network(backbone: dict[str, Tensor]) -> nn.Module:
    """Build LPIPS with the linear heads included in torchmetrics, without random numbers.

    Args:
        backbone: convolutions of AlexNet by torchvision's names (``features.0.weight``); other keys are ignored.

    Raises:
        WeightsError: a convolution is missing or has a different shape.
    """
    from torchmetrics.functional.image.lpips import _LPIPS

    with _WithoutDraws():  # type: ignore[no-untyped-call]
        net: Any = _LPIPS(pretrained=True, net='alex', pnet_rand=True)  # pretrained heads, empty convolutions
    names = {key: f'features.{key.split(".", 1)[1]}' for key in net.net.state_dict()}
    own = {key: backbone[name] for key, name in names.items() if name in backbone}
    load_weights(net.net, Weights(Path(BACKBONE), own))
    return cast(nn.Module, net.eval())


class _WithoutDraws(TorchDispatchMode):
    """Leave out random initial values in this thread.

    Metrics are built in threads beside a training. Drawing from PyTorch's only generator there, or restoring its state,
    would make the random numbers of the training depend on timing.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            return args[0]
        return func(*args, **(kwargs or {}))


def distance(net: nn.Module, first: Tensor, second: Tensor) -> float:
    """Return the LPIPS distance of two images.

    Args:
        net: of :func:`network`.
        first: (1, 3, H, W) RGB in [0, 1].
        second: same shape.
    """
    with torch.inference_mode():
        return float(net(2 * first - 1, 2 * second - 1))


def _network(file: Path, device: str) -> nn.Module:
    with _BUILDING:  # several threads score
        return _built(file, device)


@functools.lru_cache(2)  # of the GPU, and of the CPU where its memory is too small
def _built(file: Path, device: str) -> nn.Module:
    return network(read_weights(file, None).state).to(device)
