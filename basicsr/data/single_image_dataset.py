"""Images without ground truth."""

from __future__ import annotations

from typing import Literal

from basicsr.data.auto_masks import Generator, MaskFolder, Masks, make_missing_masks
from basicsr.data.file_dataset import Augmentation, Channels, ImageFileDataset, check_channels, open_masks, read_image
from basicsr.data.pairing import sorted_keys
from basicsr.data.sample import Sample
from basicsr.data.stores.base import DISK, IoBackend, Store
from basicsr.data.stores.opening import open_store
from basicsr.masks.label_map import small_labels
from basicsr.utils.errors import ArgumentError
from basicsr.utils.registry import DATASET_REGISTRY
from basicsr.utils.signature import Folder, NotNegative


@DATASET_REGISTRY.register()
class SingleImageDataset(ImageFileDataset):
    """Blurred images that have no ground truth, whole, with or without region masks.

    ``dataset[i]`` holds ``lq``, uint8 or uint16 (C, H, W) RGB, ``lq_path``, ``mask_seed``, and ``masks``, a label map
    (L, H, W), if there are any.

    Args:
        dataroot_lq: folder of the images, with sub-folders; or an LMDB or raw store.
        dataroot_mask: folder of their mask files, as for ``PairedImageGroupMaskDataset``; None without masks.
        io_backend: ``{type: disk}`` for folders; ``{type: lmdb}`` or ``{type: raw}`` of ``scripts/make_store.py``.
        phase: 'val' or 'test'; there is nothing to train on.
        channels: 3 turns gray files into RGB, 1 turns colours into gray; transparency is dropped.
        masks: 'auto' makes the label maps that are missing in ``dataroot_mask``.
        generator: what makes them; felzenszwalb with its defaults if None.
        seed: of ``mask_seed``.

    Raises:
        DataError: a folder is missing or empty, two files have one stem, or masks are missing.
        ArgumentError: arguments that make no sense.
    """

    def __init__(
        self,
        dataroot_lq: Folder,
        dataroot_mask: MaskFolder | None = None,
        io_backend: IoBackend = DISK,
        phase: Literal['val', 'test'] = 'test',
        channels: Channels = 3,
        masks: Masks = 'files',
        generator: Generator = None,
        seed: NotNegative = 0,
    ) -> None:
        check_channels(channels)
        if phase not in ('val', 'test'):
            raise ArgumentError(f"images without ground truth are for the phases 'val' and 'test', not {phase!r}")
        self.lq = open_store(dataroot_lq, io_backend)
        self.keys = sorted_keys(self.lq)
        self.masks: Store | None = None
        if masks == 'auto' and dataroot_mask is None:
            raise ArgumentError('masks: auto needs dataroot_mask, the folder that the masks go to')
        if dataroot_mask is not None:
            if masks == 'auto':
                make_missing_masks(self.lq, self.keys, dataroot_mask, generator)
            self.masks, self.mask_keys = open_masks(dataroot_mask, io_backend, self.lq, self.keys)
        self.channels = channels
        super().__init__([self.lq.stem(key) for key in self.keys], Augmentation(phase, 1, False, False, seed, False))

    def sample(self, index: int) -> Sample:
        """The whole image, with its label map if there is one."""
        image, path = read_image(self.lq, self.keys[index], self.channels)
        if self.masks is None:
            return Sample(image, path)
        key = self.mask_keys[index]
        labels = self.masks.labels(key, (image.shape[0], image.shape[1]))
        return Sample(image, path, masks=small_labels(labels))
