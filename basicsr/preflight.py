"""Builds what options describe on paper: constructors run, no memory is taken, no file is opened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from basicsr.options.schema import Options
from basicsr.utils.errors import BasicsrError, OptionError


def build_on_paper(options: Options) -> None:
    """Build network, losses, metrics, optimizer and schedule of an option file without data.

    Finds what no single key shows: levels that do not match, a learning rate below zero.

    Raises:
        OptionError: every block that cannot be built, with its place and the reason.
    """
    import torch

    from basicsr.archs import build_network
    from basicsr.losses import build_loss
    from basicsr.metrics import build_metric
    from basicsr.training import build_optimizer, build_scheduler

    problems: list[str] = []

    def attempt(key: tuple[str, ...], build: Callable[[], Any]) -> Any:
        try:
            return build()
        except (BasicsrError, ValueError, TypeError, RuntimeError) as error:
            position = options.position(key)
            problems.append(f'{position}: {".".join(key)}: {error}' if position else f'{".".join(key)}: {error}')
            return None

    with torch.device('meta'):
        attempt(('network_g',), lambda: build_network(options.network_g))
    for label, metric in options.val.metrics.items():
        attempt(('val', 'metrics', label), lambda metric=metric: build_metric(metric, options.val.use_image))  # type: ignore[misc]
    if options.train is not None:
        train = options.train
        for name, loss in (('pixel_opt', train.pixel_opt), ('perceptual_opt', train.perceptual_opt)):
            if loss is not None:
                attempt(('train', name), lambda loss=loss: build_loss(loss))  # type: ignore[misc]
        weights = [torch.zeros(1, requires_grad=True)]
        optimizer = attempt(('train', 'optim_g'), lambda: build_optimizer(weights, train.optim_g))
        if optimizer is not None:
            attempt(('train', 'scheduler'), lambda: build_scheduler(optimizer, train.scheduler, train.total_iter))
    if problems:
        raise OptionError(problems)
