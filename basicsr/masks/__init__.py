"""Region masks as label maps: (L, H, W) integers, 0 = no mask in this layer, ids unique over all layers."""

from basicsr.masks.label_map import label_map_from_masks, masks_from_label_map

__all__ = ['label_map_from_masks', 'masks_from_label_map']
