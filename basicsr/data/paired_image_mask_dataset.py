"""Pairs with a gray mask picture (the CAT method)."""

from __future__ import annotations

from dataclasses import replace

from basicsr.data.file_dataset import Augmentation, Channels, ImageFileDataset, Phase, open_gray, open_pairs
from basicsr.data.pairing import Pairing, Template
from basicsr.data.sample import Sample
from basicsr.data.stores.base import DISK, IoBackend
from basicsr.utils.registry import DATASET_REGISTRY
from basicsr.utils.signature import File, Folder, NotNegative, Positive


@DATASET_REGISTRY.register()
class PairedImageMaskDataset(ImageFileDataset):
    """Blurred and sharp images with a gray mask picture, for networks that take it as a fourth channel (CAT).

    ``dataset[i]`` is that of ``PairedImageDataset`` and ``masks``, the gray picture (1, H, W) uint8.

    Args:
        dataroot_gt: folder of the sharp images, with sub-folders; or an LMDB or raw store.
        dataroot_lq: folder of the blurred images; or an LMDB or raw store.
        dataroot_mask: folder of the gray mask pictures (8-bit PNG), named as the blurred images; or such a store.
        filename_tmpl: name of a blurred image, without extension; ``{}`` is the stem of its sharp image.
        meta_info_file: text file whose lines start with the names of the sharp images to use; None takes all.
        pairing: how files find their partners: by 'stem' (complete or an error), 'list' (those of ``meta_info_file``),
            or 'natural_order'.
        io_backend: ``{type: disk}`` for folders; ``{type: lmdb}`` or ``{type: raw}`` of ``scripts/make_store.py``.
        phase: 'train' crops, flips and transposes at random; 'val' and 'test' return whole images.
        gt_size: side of the training crops in pixels; smaller images are reflected.
        use_flip: exchange left and right at random.
        use_rot: exchange top and bottom, and rows and columns, at random.
        channels: 3 turns gray files into RGB, 1 turns colours into gray; transparency is dropped.
        mean, std: must be None: images stay integers until they are on the device.
        seed: of all random draws.
        reference: draw from Python's ``random`` as the original does.

    Raises:
        DataError: a folder is missing or empty, or partners are missing; the message lists them.
        ArgumentError: arguments that make no sense.
    """

    gray_masks = True

    def __init__(
        self,
        dataroot_gt: Folder,
        dataroot_lq: Folder,
        dataroot_mask: Folder,
        filename_tmpl: Template = '{}',
        meta_info_file: File | None = None,
        pairing: Pairing = 'stem',
        io_backend: IoBackend = DISK,
        phase: Phase = 'test',
        gt_size: Positive = 256,
        use_flip: bool = True,
        use_rot: bool = True,
        channels: Channels = 3,
        mean: None = None,
        std: None = None,
        seed: NotNegative = 0,
        reference: bool = False,
    ) -> None:
        self.pairs = open_pairs(
            dataroot_gt, dataroot_lq, filename_tmpl, meta_info_file, pairing, io_backend, channels, mean, std
        )
        lq_keys = [lq for _, lq in self.pairs.keys]
        self.masks, self.mask_keys = open_gray(dataroot_mask, io_backend, self.pairs.lq, lq_keys)
        super().__init__(self.pairs.names, Augmentation(phase, gt_size, use_flip, use_rot, seed, reference))

    def sample(self, index: int) -> Sample:
        """The whole pair with its gray picture as it lies on disk."""
        sample = self.pairs.read(index)
        key = self.mask_keys[index]
        gray = self.masks.gray(key, sample.size)
        return replace(sample, masks=gray[None], is_gray=True)
