"""Draw docs/images/blur_kinds.jpg: photos with different kinds of generated blur, and the results of deblur.py.

Prints a Markdown table of what deblur.py did with each.
"""

from __future__ import annotations

import argparse
import runpy
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
runpy.run_path(str(ROOT / 'basicsr' / 'utils' / 'clone.py'))

BORDER, SHIFT, DETAIL = 15, 6, 200


def shaken(photo: Any, length: float, seed: int, translation_only: bool = False, gamma: float = 1.0) -> Any:
    """Blur a photo by camera shake with paths of ``length`` pixels; gray value = light^(1/gamma)."""
    import numpy as np

    from basicsr.data.camera_shake import CameraShake, shaken_photo

    return shaken_photo(
        photo, CameraShake(photo.shape[:2], length, np.random.default_rng(seed), translation_only), gamma
    )


def with_moving_object(photo: Any) -> Any:
    """Blur an ellipse around the cup of the photo ``coffee``, which moves by 12 pixels."""
    import cv2
    import numpy as np

    from basicsr.data.motion import straight_path
    from basicsr.data.region_blur import render_photo

    labels = np.zeros(photo.shape[:2], np.uint8)
    cv2.ellipse(labels, (330, 190), (240, 150), 0, 0, 360, 1, -1)
    return render_photo(photo, labels, {1: straight_path(12.0, 0.3, 25)})[0]


def out_of_focus(photo: Any, radius: int) -> Any:
    """Blur a photo by a disc, in linear light."""
    import cv2
    import numpy as np

    from basicsr.data.exposure import gray_of, light_of, to_uint8

    disc = np.zeros((2 * radius + 1,) * 2, np.float32)
    cv2.circle(disc, (radius, radius), radius, 1.0, -1)
    light = light_of(photo, 2.2)
    blurred = cv2.filter2D(light, -1, disc / disc.sum(), borderType=cv2.BORDER_REFLECT)
    return to_uint8(gray_of(blurred.astype(np.float32), 2.2))


def noisy(photo: Any, levels: float) -> Any:
    """Add noise with a standard deviation in gray levels."""
    import numpy as np

    from basicsr.data.exposure import to_uint8

    noise = np.random.default_rng(0).normal(0, levels, photo.shape)
    return to_uint8(((photo + noise) / 255).astype(np.float32))


def examples() -> list[tuple[str, Any, Any, tuple[int, int]]]:
    """Return title, ground truth, blurred photo, and the upper left corner of the detail to show."""
    from skimage import data

    astronaut, cat, coffee = data.astronaut(), data.chelsea(), data.coffee()  # public domain, CC0, CC0
    face = 60, 130
    return [
        ('camera shake, the same everywhere', astronaut, shaken(astronaut, 22, 0, True), face),
        ('the same shake, in linear light', astronaut, shaken(astronaut, 22, 0, True, 2.2), face),
        ('camera shake with rotation', coffee, shaken(coffee, 16, 3), (90, 300)),
        ('a moving object', coffee, with_moving_object(coffee), (90, 300)),
        ('small blur', cat, shaken(cat, 3, 1, True), (40, 90)),
        ('out of focus', cat, out_of_focus(cat, 5), (40, 90)),
        ('shake and strong noise', astronaut, noisy(shaken(astronaut, 22, 0, True), 12), face),
        ('very large blur', astronaut, shaken(astronaut, 85, 0, True), face),
    ]


def main() -> int:
    """Blur, deblur and draw all examples."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = ROOT / 'docs' / 'images' / 'blur_kinds.jpg'
    output_help = 'output file (default: docs/images/blur_kinds.jpg)'
    parser.add_argument('-o', '--output', type=Path, default=default, metavar='FILE', help=output_help)
    output = parser.parse_args().output

    import cv2
    import numpy as np

    from basicsr import Deblurrer
    from basicsr.images.files import imwrite
    from basicsr.images.side_by_side import side_by_side
    from basicsr.metrics import Record, build_metric

    metric = build_metric({'type': 'psnr_best_shift', 'max_shift': SHIFT, 'crop_border': BORDER})
    deblurrer, panels = Deblurrer.load(device='cpu'), []
    print('| blur | method | reason | gain, dB |\n|---|---|---|---|')
    for title, gt, lq, (top, left) in examples():
        done = deblurrer.deblur(lq)
        before, after = (metric(Record(output_uint8=image, gt=gt)).value for image in (lq, done.image))
        print(f'| {title} | {done.method} | {done.explanation} | {after - before:+.2f} |', flush=True)
        part = np.s_[top : top + DETAIL, left : left + DETAIL]
        left, right = (cv2.resize(image[part], (320, 320), interpolation=cv2.INTER_CUBIC) for image in (lq, done.image))
        panel = side_by_side(left, right, (title, f'{done.method}, {after - before:+.1f} dB'))
        panels.append(np.pad(panel, ((6, 6), (8, 8), (0, 0)), constant_values=255))
    rows = [np.hstack(panels[index : index + 2]) for index in range(0, len(panels), 2)]
    output.parent.mkdir(parents=True, exist_ok=True)
    imwrite(output, np.vstack(rows))
    return 0


if __name__ == '__main__':
    from basicsr.utils.console import run_and_exit

    run_and_exit(main)
