"""Pairs with region masks (the MAP method)."""

from __future__ import annotations

from dataclasses import replace

from basicsr.data.auto_masks import Generator, MaskFolder, Masks, make_missing_masks
from basicsr.data.file_dataset import Augmentation, Channels, ImageFileDataset, Phase, open_masks, open_pairs
from basicsr.data.pairing import Pairing, Template
from basicsr.data.sample import Sample
from basicsr.data.stores.base import DISK, IoBackend
from basicsr.masks.label_map import small_labels
from basicsr.utils.registry import DATASET_REGISTRY
from basicsr.utils.signature import File, Folder, NotNegative, Positive


@DATASET_REGISTRY.register()
class PairedImageGroupMaskDataset(ImageFileDataset):
    """Blurred and sharp images with the label map of their regions (MAP, SAM-Deblur).

    ``dataset[i]`` is that of ``PairedImageDataset`` and ``masks``, a label map (L, H, W) of integers.

    Args:
        dataroot_gt: folder of the sharp images, with sub-folders; or an LMDB or raw store.
        dataroot_lq: folder of the blurred images; or an LMDB or raw store.
        dataroot_mask: folder of the mask files, named as the blurred images: label maps or gray pictures (``.png``), or
            stacks (``.npz``); or an LMDB or raw store.
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
        masks: 'auto' makes the label maps that are missing in ``dataroot_mask``.
        generator: what makes them; felzenszwalb with its defaults if None.
        seed: of all random draws.
        reference: draw from Python's ``random`` as the original does, and rotate the
            masks against the image in half of the samples, as it does by mistake.

    Raises:
        DataError: a folder is missing or empty, or partners are missing; the message lists them.
        ArgumentError: arguments that make no sense.
    """

    def __init__(
        self,
        dataroot_gt: Folder,
        dataroot_lq: Folder,
        dataroot_mask: MaskFolder,
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
        masks: Masks = 'files',
        generator: Generator = None,
        seed: NotNegative = 0,
        reference: bool = False,
    ) -> None:
        self.pairs = open_pairs(
            dataroot_gt, dataroot_lq, filename_tmpl, meta_info_file, pairing, io_backend, channels, mean, std
        )
        lq_keys = [lq for _, lq in self.pairs.keys]
        if masks == 'auto':
            make_missing_masks(self.pairs.lq, lq_keys, dataroot_mask, generator)
        self.masks, self.mask_keys = open_masks(dataroot_mask, io_backend, self.pairs.lq, lq_keys)
        super().__init__(self.pairs.names, Augmentation(phase, gt_size, use_flip, use_rot, seed, reference))

    def sample(self, index: int) -> Sample:
        """The whole pair with its label map as it lies on disk."""
        sample = self.pairs.read(index)
        key = self.mask_keys[index]
        labels = self.masks.labels(key, sample.size)
        return replace(sample, masks=small_labels(labels))
