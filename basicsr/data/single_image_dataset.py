"""Images without ground truth."""

from __future__ import annotations

from typing import Literal

from basicsr.data.file_dataset import Augmentation, Channels, ImageFileDataset, read_image
from basicsr.data.image_masks import Generator, MaskFolder, open_masks
from basicsr.data.pairing import sorted_keys
from basicsr.data.sample import Sample
from basicsr.data.stores.base import DISK, IoBackend
from basicsr.data.stores.opening import open_store
from basicsr.utils.registry import DATASET_REGISTRY
from basicsr.utils.signature import Folder, NotNegative, require_arguments


@DATASET_REGISTRY.register()
class SingleImageDataset(ImageFileDataset):
    """Whole blurred images without ground truth, with or without region masks.

    ``dataset[i]`` has ``lq``, uint8 or uint16 (C, H, W) RGB, ``lq_path``, ``mask_seed``, and ``masks``, a label map
    (L, H, W), if there are any.

    Args:
        dataroot_lq: folder of the images, with sub-folders; or an LMDB or raw store.
        dataroot_mask: folder of the mask files, as for ``PairedImageGroupMaskDataset``; None uses no masks.
        io_backend: ``{type: disk}`` for folders; ``{type: lmdb}`` or ``{type: raw}`` for stores made by
            ``scripts/make_store.py``.
        phase: 'val' or 'test'.
        channels: 3 converts gray images to RGB, 1 converts RGB images to gray; transparency is dropped.
        masks: 'files' reads the mask files; 'auto' also generates label maps that are missing in ``dataroot_mask``.
        generator: mask generator for 'auto'; None uses felzenszwalb with its defaults.
        seed: seed of ``mask_seed``.

    Raises:
        DataError: a folder is missing or empty, two files have one stem, or masks are missing.
        ArgumentError: the arguments contradict each other.
    """

    def __init__(
        self,
        dataroot_lq: Folder,
        dataroot_mask: MaskFolder | None = None,
        io_backend: IoBackend = DISK,
        phase: Literal['val', 'test'] = 'test',
        channels: Channels = 3,
        masks: Literal['files', 'auto'] = 'files',
        generator: Generator = None,
        seed: NotNegative = 0,
    ) -> None:
        require_arguments(SingleImageDataset, locals())
        self.lq = open_store(dataroot_lq, io_backend)
        self.keys = sorted_keys(self.lq)
        kind: Literal['none', 'regions', 'auto'] = 'none' if dataroot_mask is None else 'regions'
        kind = 'auto' if masks == 'auto' else kind
        self.masks = open_masks(kind, dataroot_mask, io_backend, self.lq, self.keys, generator)
        self.channels = channels
        super().__init__([self.lq.stem(key) for key in self.keys], Augmentation(phase, 1, False, False, seed, False))

    def sample(self, index: int) -> Sample:
        """Read the whole image, with its label map if there is one."""
        sample = Sample(*read_image(self.lq, self.keys[index], self.channels))
        return sample if self.masks is None else self.masks.added_to(sample, index)
