"""Pairs of blurred and sharp images, with or without masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch

from basicsr.data.file_dataset import Augmentation, Channels, ImageFileDataset, Phase, read_image
from basicsr.data.image_groups import Groups, read_groups
from basicsr.data.image_masks import Generator, MaskFolder, open_masks
from basicsr.data.pairing import Pairing, Template, find_pairs
from basicsr.data.sample import Sample
from basicsr.data.stores.base import DISK, IoBackend
from basicsr.data.stores.opening import open_store
from basicsr.deconvolution.kernels import read_kernel
from basicsr.images.files import Bits
from basicsr.utils.errors import ArgumentError, DataError, some_of
from basicsr.utils.registry import DATASET_REGISTRY
from basicsr.utils.signature import File, Folder, NotNegative, Positive, require_arguments


@DATASET_REGISTRY.register()
class PairedImageDataset(ImageFileDataset):
    """Blurred and sharp images from two folders, with or without masks from a third.

    ``dataset[i]`` has ``lq`` and ``gt``, uint8 or uint16 (C, H, W) RGB, ``lq_path``, ``gt_path`` and ``mask_seed``.
    With masks, it also has ``masks``: a label map (L, H, W) of integers, or a gray image (1, H, W) uint8.

    Args:
        dataroot_gt: folder of the sharp images, with sub-folders; or an LMDB or raw store.
        dataroot_lq: folder of the blurred images; or an LMDB or raw store.
        filename_tmpl: name of a blurred image, without extension; ``{}`` is the stem of its sharp image.
        meta_info_file: text file whose lines start with the names of the sharp images to use; None uses all.
        pairing: how to pair files: by 'stem' (an error if a partner is missing), by 'list' (only the files in
            ``meta_info_file``), in 'natural_order', or 'all_in_focus' (LFDOF: several blurred images per sharp one).
        io_backend: ``{type: disk}`` for folders; ``{type: lmdb}`` or ``{type: raw}`` for stores made by
            ``scripts/make_store.py``.
        phase: 'train' crops, flips and transposes at random; 'val' and 'test' return whole images.
        gt_size: side of the training crops in pixels; smaller images are padded by reflection.
        use_flip: flip horizontally at random.
        use_rot: flip vertically and transpose at random.
        channels: 3 converts gray images to RGB, 1 converts RGB images to gray; transparency is dropped.
        mean, std: must be None; images are integers and are scaled to [0, 1] on the device.
        seed: random seed.
        reference: draw from Python's ``random``, and rotate label maps incorrectly in half of the samples, as the
            original does.
        bits: required bit depth of the files, 8 or 16; None accepts both. 'high_byte' reads 16-bit files as 8-bit ones.
        groups: files that list the images of each group ({indoor: FILE, outdoor: FILE}), to score groups separately as
            well: ``.npy`` with positions, counted from 1 in natural order, or text with one name per line. Missing
            files log a warning.
        dataroot_mask: folder of the mask files, with the names of the blurred images; or an LMDB or raw store.
        masks: 'none' uses no masks; 'regions' reads label maps or gray images (``.png``) or stacks (``.npz``) as label
            maps; 'auto' also generates missing label maps; 'gray' reads 8-bit gray images for networks with a fourth
            channel (CAT).
        generator: mask generator, only for 'auto'; None uses felzenszwalb with its defaults.
        dataroot_kernel: folder of the true blur kernels (``.npy``), with the names of the blurred images, for the
            metrics that need them; not for training, which would have to turn them with the images. Samples then have
            ``kernel``, (n, n) float32.

    Raises:
        DataError: a folder is missing or empty, or partners are missing; the message lists them.
        ArgumentError: the arguments contradict each other.
    """

    def __init__(
        self,
        dataroot_gt: Folder,
        dataroot_lq: Folder,
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
        bits: Bits = None,
        groups: Groups | None = None,
        dataroot_mask: MaskFolder | None = None,
        masks: Literal['none', 'gray', 'regions', 'auto'] = 'none',
        generator: Generator = None,
        dataroot_kernel: Folder | None = None,
    ) -> None:
        require_arguments(PairedImageDataset, locals())
        self.gt, self.lq = open_store(dataroot_gt, io_backend), open_store(dataroot_lq, io_backend)
        self.keys = find_pairs(self.gt, self.lq, pairing, filename_tmpl, meta_info_file)
        self.channels, self.bits, self.gray_masks = channels, bits, masks == 'gray'
        lq_keys = [key for _, key in self.keys]
        self.masks = open_masks(masks, dataroot_mask, io_backend, self.lq, lq_keys, generator)
        names = [self.lq.stem(key) for key in lq_keys]
        super().__init__(names, Augmentation(phase, gt_size, use_flip, use_rot, seed, reference))
        self.groups = read_groups(groups, self.names)
        self.kernels = None if dataroot_kernel is None else self._kernel_files(Path(dataroot_kernel).expanduser())

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return ``lq``, ``gt`` and the rest, see the class."""
        item = super().__getitem__(index)
        return item if self.kernels is None else item | {'kernel': torch.from_numpy(read_kernel(self.kernels[index]))}

    def sample(self, index: int) -> Sample:
        """Read the whole pair with its masks.

        Raises:
            ImageFileError: a file is not an image, or is truncated.
            ShapeError: the images differ in size; both are named.
            MaskError: the masks cannot be read or have a different size.
        """
        gt_key, lq_key = self.keys[index]
        lq, lq_path = read_image(self.lq, lq_key, self.channels, self.bits)
        gt, gt_path = read_image(self.gt, gt_key, self.channels, self.bits)
        sample = Sample(lq, lq_path, gt, gt_path)
        return sample if self.masks is None else self.masks.added_to(sample, index)

    def _kernel_files(self, folder: Path) -> list[Path]:
        if self.phase == 'train':
            raise ArgumentError('dataroot_kernel: kernels are for val and test; to train with some, UniformBlurDataset')
        files = [folder / f'{name}.npy' for name in self.names]
        missing = [str(file) for file in files if not file.is_file()]
        if missing:
            raise DataError(f'{folder}: no kernel for {len(missing)} of {len(files)} images: {some_of(missing, 10)}')
        return files


@DATASET_REGISTRY.register()
class PairedImageMaskDataset(PairedImageDataset):
    """The original's name for ``PairedImageDataset`` with gray mask images (CAT).

    Args:
        dataroot_mask: folder of the gray masks (8-bit PNG), with the names of the blurred images; or an LMDB or raw
            store.
        masks: always 'gray'.
        generator: must be None; gray masks are not generated on the fly.
    """

    def __init__(
        self,
        dataroot_gt: Folder,
        dataroot_lq: Folder,
        dataroot_mask: Folder,
        masks: Literal['gray'] = 'gray',
        generator: None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(dataroot_gt, dataroot_lq, dataroot_mask=dataroot_mask, masks=masks, **arguments)


@DATASET_REGISTRY.register()
class PairedImageGroupMaskDataset(PairedImageDataset):
    """The original's name for ``PairedImageDataset`` with label maps of regions (MAP, SAM-Deblur).

    Args:
        dataroot_mask: folder of the mask files, with the names of the blurred images: label maps or gray images
            (``.png``), or stacks (``.npz``); or an LMDB or raw store.
        masks: 'files' reads the mask files; 'auto' also generates missing label maps.
    """

    def __init__(
        self,
        dataroot_gt: Folder,
        dataroot_lq: Folder,
        dataroot_mask: MaskFolder,
        masks: Literal['files', 'auto'] = 'files',
        **arguments: Any,
    ) -> None:
        kind: Literal['regions', 'auto'] = 'auto' if masks == 'auto' else 'regions'
        super().__init__(dataroot_gt, dataroot_lq, dataroot_mask=dataroot_mask, masks=kind, **arguments)
