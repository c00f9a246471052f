"""Draw the image of the README: a blurred photo, its regions, and the result of mask average pooling."""

from __future__ import annotations

import argparse
import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
runpy.run_path(str(ROOT / 'basicsr' / 'utils' / 'clone.py'))


def main() -> int:
    """Write the image."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = ROOT / 'docs' / 'images' / 'overview.png'
    output_help = 'output file (default: docs/images/overview.png)'
    parser.add_argument('-o', '--output', type=Path, default=default, metavar='FILE', help=output_help)
    output = parser.parse_args().output

    import cv2
    import numpy as np
    import torch
    from skimage import data, segmentation

    from basicsr.archs.map_unit import mask_average_pooling
    from basicsr.images.files import imwrite

    photo = cv2.resize(data.astronaut()[:384, 64:448], (320, 320), interpolation=cv2.INTER_AREA)
    path = np.zeros((15, 15), np.float32)
    cv2.line(path, (1, 11), (13, 3), 1.0)
    blurred = cv2.filter2D(photo, -1, path / path.sum())
    regions = segmentation.felzenszwalb(blurred, scale=120, sigma=0.8, min_size=60) + 1
    tensor = torch.from_numpy(blurred).permute(2, 0, 1)[None] / 255
    means = mask_average_pooling(tensor, torch.from_numpy(regions)[None, None])
    shown = segmentation.mark_boundaries(blurred, regions, color=(1, 0.85, 0.1), mode='inner')
    panels = {
        'blurred photo': blurred / 255,
        f'{regions.max()} regions': shown,
        'mask average pooling': means[0].permute(1, 2, 0).numpy(),
    }
    columns = []
    for title, panel in panels.items():
        header = np.full((34, panel.shape[1], 3), 255, np.uint8)
        cv2.putText(header, title, (4, 23), cv2.FONT_HERSHEY_SIMPLEX, 0.62, (25, 25, 25), 1, cv2.LINE_AA)
        column = np.vstack([header, (panel * 255).round().astype(np.uint8)])
        columns += [column, np.full((column.shape[0], 12, 3), 255, np.uint8)]
    image = np.hstack(columns[:-1])
    output.parent.mkdir(parents=True, exist_ok=True)
    imwrite(output, image)
    return 0


if __name__ == '__main__':
    from basicsr.utils.console import run_and_exit

    run_and_exit(main)
