"""Draw the first image of the README: a photo blurred by a generated camera shake, and the result of deblur.py."""

from __future__ import annotations

import argparse
import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
runpy.run_path(str(ROOT / 'basicsr' / 'utils' / 'clone.py'))

LENGTH, SEED = 22.0, 0


def main() -> int:
    """Write the blurred photo and the image."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = ROOT / 'docs' / 'images'
    output_help = 'folder for shaken.jpg and before_after.jpg (default: docs/images)'
    parser.add_argument('-o', '--output', type=Path, default=default, metavar='DIR', help=output_help)
    output = parser.parse_args().output

    import numpy as np
    from skimage import data

    from basicsr import Deblurrer
    from basicsr.data.camera_shake import CameraShake, shaken_photo
    from basicsr.images.files import imread, imwrite
    from basicsr.images.side_by_side import side_by_side

    output.mkdir(parents=True, exist_ok=True)
    photo = data.astronaut()  # by NASA, in the public domain
    shake = CameraShake(photo.shape[:2], LENGTH, np.random.default_rng(SEED), translation_only=True)
    imwrite(output / 'shaken.jpg', shaken_photo(photo, shake))
    shaken = imread(output / 'shaken.jpg', channels=3)
    done = Deblurrer.load(device='cpu').deblur(shaken)
    imwrite(output / 'before_after.jpg', side_by_side(shaken, done.image))
    print(f'{done.method}: {done.explanation}')
    return 0


if __name__ == '__main__':
    from basicsr.utils.console import run_and_exit

    run_and_exit(main)
