"""Check that a data set has what a network and its recipe need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from basicsr.models.image_restoration_model import ImageRestorationModel
from basicsr.utils.errors import OptionError


def require_fit(model: ImageRestorationModel, key: str, dataset: Any, item: Mapping[str, Any] | None = None) -> None:
    """Check that a data set has the masks that the network needs, and the kernels that the recipe needs.

    Args:
        model: the network and its recipe.
        key: of the data set in the option file, for the error message.
        dataset: of :func:`basicsr.data.build_dataset`.
        item: one of its samples; None reads the first one.

    Raises:
        OptionError: masks are missing, of the wrong kind, or not used by the network; kernels are missing.
    """
    name, item, prior = type(model.net).__name__, dataset[0] if item is None else item, model.prior
    gray = getattr(dataset, 'gray_masks', None)
    needs = {
        'regions': 'region masks; use a data set with them, such as PairedImageGroupMaskDataset',
        'gray': 'a gray mask (mask: true); use PairedImageMaskDataset',
    }
    if prior != 'none' and ('masks' not in item or bool(gray) != (prior == 'gray')):
        raise OptionError(f'{key}: {type(dataset).__name__} does not fit {name}, which needs {needs[prior]}')
    if key == 'datasets.train' and model.needs_kernels and 'kernel' not in item:
        raise OptionError(
            f'{key}: {type(dataset).__name__} has no blur kernels, which train.kernel_opt and train.true_kernels '
            'need; use UniformBlurDataset'
        )
    if prior == 'none' and 'masks' in item and gray is not None:  # None: generated, not read
        raise OptionError(
            f'{key}: {type(dataset).__name__} reads masks, but {name} takes none; use PairedImageDataset, '
            'or a network with masks'
        )
