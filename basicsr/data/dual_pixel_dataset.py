"""Images of dual-pixel cameras: the image with a left and a right view."""

from __future__ import annotations

import numpy as np

from basicsr.data.file_dataset import Augmentation, ImageFileDataset, Phase, read_image
from basicsr.data.image_groups import Groups, read_groups
from basicsr.data.pairing import naturally_sorted, refuse_all, sorted_keys
from basicsr.data.sample import Sample
from basicsr.data.stores.base import DISK, IoBackend, Store
from basicsr.data.stores.opening import open_store
from basicsr.images.files import Bits
from basicsr.utils.errors import DataError, ShapeError
from basicsr.utils.registry import DATASET_REGISTRY
from basicsr.utils.signature import Folder, NotNegative, Positive, require_arguments


@DATASET_REGISTRY.register()
class DualPixelDataset(ImageFileDataset):
    """Left view, right view, blurred and sharp image of each scene, from four folders (DPDD).

    The n-th file of one folder belongs to the n-th of the others (DPDD's names differ), numbers sorted by value.
    ``dataset[i]`` contains ``lq`` (9, H, W): left, right and centre in RGB, ``gt`` (3, H, W), both uint16 (or uint8),
    ``lq_path``, ``gt_path`` and ``mask_seed``.

    Args:
        dataroot_gt: folder of the sharp images; or an LMDB or raw store.
        dataroot_lq: folder of the blurred images (centre).
        dataroot_left: folder of the left views.
        dataroot_right: folder of the right views.
        io_backend: ``{type: disk}`` for folders; ``{type: lmdb}`` or ``{type: raw}`` for stores made by
            ``scripts/make_store.py``.
        bits: required bit depth; see ``PairedImageDataset``.
        phase: 'train' crops and flips at random; 'val' and 'test' return whole images.
        gt_size: side of the training crops in pixels; smaller images are padded by reflection.
        use_flip: flip horizontally at random, and swap the two views.
        use_vflip: flip vertically at random. Images are never transposed: disparity is horizontal.
        seed: random seed.
        groups: see ``PairedImageDataset``.

    Raises:
        DataError: a folder is missing or empty, or the numbers of images differ.
    """

    def __init__(
        self,
        dataroot_gt: Folder,
        dataroot_lq: Folder,
        dataroot_left: Folder,
        dataroot_right: Folder,
        io_backend: IoBackend = DISK,
        bits: Bits = 16,
        phase: Phase = 'test',
        gt_size: Positive = 256,
        use_flip: bool = True,
        use_vflip: bool = True,
        seed: NotNegative = 0,
        groups: Groups | None = None,
    ) -> None:
        require_arguments(DualPixelDataset, locals())
        roots = {'left': dataroot_left, 'right': dataroot_right, 'centre': dataroot_lq, 'sharp': dataroot_gt}
        self.stores = {name: open_store(root, io_backend) for name, root in roots.items()}
        _require_all_views(self.stores)
        self.keys = {name: naturally_sorted(sorted_keys(store)) for name, store in self.stores.items()}
        self.bits: Bits = bits
        names = [self.stores['centre'].stem(key) for key in self.keys['centre']]
        super().__init__(names, Augmentation(phase, gt_size, use_flip, False, seed, use_vflip=use_vflip))
        self.groups = read_groups(groups, self.names)

    def sample(self, index: int) -> Sample:
        """Read the whole sample.

        Raises:
            ImageFileError: a file is not an image, is truncated, or has a different bit depth.
            ShapeError: the files differ in size or depth.
        """
        images, paths = {}, {}
        for name, store in self.stores.items():
            images[name], paths[name] = read_image(store, self.keys[name][index], 3, self.bits)
        forms = {name: (image.shape, image.dtype) for name, image in images.items()}
        if len(set(forms.values())) > 1:
            listed = ', '.join(f'{paths[name]} {shape} {dtype}' for name, (shape, dtype) in forms.items())
            raise ShapeError(f'the four images must have the same size and depth, got {listed}')
        lq = np.concatenate([images['left'], images['right'], images['centre']], 2)
        return Sample(lq, paths['centre'], images['sharp'], paths['sharp'], views=3)


def _require_all_views(stores: dict[str, Store]) -> None:
    """Refuse folders of different length, naming files without a partner of their name where views share names."""
    counts = {name: len(store.keys) for name, store in stores.items()}
    if len(set(counts.values())) == 1:
        return
    centre = {stores['centre'].stem(key) for key in stores['centre'].keys}
    missing = {}
    for name in ('left', 'right'):
        stems = set(map(stores[name].stem, stores[name].keys))
        if stems & centre:
            missing[f'no {name} view in {stores[name].root}'] = naturally_sorted(centre - stems)
            missing[f'no centre image in {stores["centre"].root}'] = naturally_sorted(stems - centre)
    listed = ', '.join(f'{count} {name} ({stores[name].root})' for name, count in counts.items())
    summary = f'the folders must have equal numbers of images, got {listed}'
    refuse_all(missing, summary)
    raise DataError(summary)
