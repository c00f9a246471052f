"""Region masks as label maps: (L, H, W) integers, 0 = no mask in this layer, ids unique over all layers."""

from basicsr.masks.files import read_masks, write_label_map
from basicsr.masks.generator import MaskGenerator, build_generator
from basicsr.masks.gray_coding import gray_from_masks, label_map_from_gray, masks_from_gray
from basicsr.masks.label_map import compact, label_map_from_masks, masks_from_label_map

__all__ = [
    'MaskGenerator',
    'build_generator',
    'compact',
    'gray_from_masks',
    'label_map_from_gray',
    'label_map_from_masks',
    'masks_from_gray',
    'masks_from_label_map',
    'read_masks',
    'write_label_map',
]
