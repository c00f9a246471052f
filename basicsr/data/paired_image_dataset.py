"""Pairs of blurred and sharp images."""

from __future__ import annotations

from basicsr.data.file_dataset import Augmentation, Channels, ImageFileDataset, Phase, open_pairs
from basicsr.data.groups import Groups, read_groups
from basicsr.data.pairing import Pairing, Template
from basicsr.data.sample import Sample
from basicsr.data.stores.base import DISK, IoBackend
from basicsr.images.files import Bits
from basicsr.utils.registry import DATASET_REGISTRY
from basicsr.utils.signature import File, Folder, NotNegative, Positive


@DATASET_REGISTRY.register()
class PairedImageDataset(ImageFileDataset):
    """Blurred and sharp images from two folders.

    ``dataset[i]`` holds ``lq`` and ``gt``, uint8 or uint16 (C, H, W) RGB, ``lq_path``, ``gt_path`` and ``mask_seed``.

    Args:
        dataroot_gt: folder of the sharp images, with sub-folders; or an LMDB or raw store.
        dataroot_lq: folder of the blurred images; or an LMDB or raw store.
        filename_tmpl: name of a blurred image, without extension; ``{}`` is the stem of its sharp image.
        meta_info_file: text file whose lines start with the names of the sharp images to use; None takes all.
        pairing: how files find their partners: by 'stem' (complete or an error), 'list' (those of ``meta_info_file``),
            'natural_order', or 'all_in_focus' (LFDOF: several blurred images of one sharp one).
        io_backend: ``{type: disk}`` for folders; ``{type: lmdb}`` or ``{type: raw}`` of ``scripts/make_store.py``.
        phase: 'train' crops, flips and transposes at random; 'val' and 'test' return whole images.
        gt_size: side of the training crops in pixels; smaller images are reflected.
        use_flip: exchange left and right at random.
        use_rot: exchange top and bottom, and rows and columns, at random.
        channels: 3 turns gray files into RGB, 1 turns colours into gray; transparency is dropped.
        bits: what the files have to hold, 8 or 16; None takes both. 'high_byte' reads 16-bit files as 8-bit ones.
        mean, std: must be None: images stay integers until they are on the device.
        seed: of all random draws.
        reference: draw from Python's ``random`` as the original does.
        groups: files by group ({indoor: FILE, outdoor: FILE}) whose images are scored apart as well: ``.npy`` of
            positions, counted from 1 in natural order, or text, a name a line. Without these files a warning.

    Raises:
        DataError: a folder is missing or empty, or partners are missing; the message lists them.
        ArgumentError: arguments that make no sense.
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
    ) -> None:
        self.pairs = open_pairs(
            dataroot_gt, dataroot_lq, filename_tmpl, meta_info_file, pairing, io_backend, channels, mean, std, bits
        )
        super().__init__(self.pairs.names, Augmentation(phase, gt_size, use_flip, use_rot, seed, reference))
        self.groups = read_groups(groups, self.names)

    def sample(self, index: int) -> Sample:
        """The whole pair as it lies on disk."""
        return self.pairs.read(index)
