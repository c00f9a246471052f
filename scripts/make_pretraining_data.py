"""Make the training pairs of the small network in experiments/pretrained_models, in datasets/Pretraining.

Half of the pictures are cut from photos that come with scikit-image, half are generated ("dead leaves"). Camera and
regions move by up to some tens of pixels, as in hand-held shots; some pictures are nearly still, so that a network
learns to leave sharp photos alone. The photos of the quick start's test are not among them. Nothing is downloaded.
A second run keeps what is there. docs/pretrained.md has the commands that lead from here to the network.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [str(ROOT)] + [p for p in sys.path if Path(p or '.').resolve() != Path(__file__).resolve().parent]

import argparse
import json
import logging
from typing import Any

PHOTOS = {  # photos of things, which are drawn from more often; plain textures and writing
    'scenes': ('motorcycle_left', 'motorcycle_right', 'rocket', 'coins', 'retina'),
    'textures': ('brick', 'grass', 'gravel', 'ihc', 'moon', 'hubble_deep_field', 'page', 'text'),
}
SCALES = (1.0, 0.7, 0.5)  # smaller copies are sharper, and add to the few photos

COMMON: dict[str, Any] = {  # cameras differ in how grey values follow the light, and paths in how they wind
    'gamma': (1.0, 2.4),
    'smoothness': (0.3, 1.0),
    'noise': (0.0, 0.015),
    'jpeg': (75, 100),
    'straight_share': 0.3,
}
MOTION: dict[str, dict[str, Any]] = {  # mean lengths of gamma distributions, in pixels
    'shaken': {'shake_length': 16.0, 'path_length': 6.0, 'moving_share': 0.3, 'masks': 'none'},
    'panned': {
        'shake_length': 3.0,
        'path_length': 16.0,
        'moving_share': 1.0,
        'straight_share': 0.7,
        'masks': 'none',  # a photo moves as a whole; leaves move each on its own
    },
    'moving': {'shake_length': 8.0, 'path_length': 16.0, 'moving_share': 0.7},
    'still': {'shake_length': 2.0, 'path_length': 3.0, 'moving_share': 0.3},
}
SHARES = {'shaken': 0.3, 'panned': 0.2, 'moving': 0.3, 'still': 0.2}
SIZE, VAL_PICTURES = 192, 24
RECORD = 'pretraining.json'


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--output', type=Path, default=Path('datasets/Pretraining'), metavar='DIR')
    parser.add_argument('--seed', type=int, default=0, help='of all random numbers, 0 by default')
    parser.add_argument('--pictures', type=int, default=8000, metavar='N', help='training pictures, 8000 by default')
    parser.add_argument('--workers', type=int, default=2, metavar='N', help='processes that make them')
    return parser.parse_args()


def settings_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """All that decides the pictures, as it is recorded beside them."""
    settings = {
        'seed': arguments.seed,
        'pictures': arguments.pictures,
        'photos': [PHOTOS, SCALES],
        'sizes': [SIZE, VAL_PICTURES],
        'motion': [COMMON, MOTION, SHARES],
    }
    plain: dict[str, Any] = json.loads(json.dumps(settings))
    return plain


def copy_photos(folder: Path) -> None:
    """Write each photo in all its scales to ``<folder>/<group>/``."""
    import cv2

    from basicsr.data.preparation.generated import photo_file
    from basicsr.utils.image import imread, imwrite

    for group, names in PHOTOS.items():
        (folder / group).mkdir(parents=True)
        for name in names:
            photo = imread(photo_file(name), channels=3)
            for scale in SCALES:
                smaller = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
                imwrite(folder / group / f'{name}_{round(100 * scale)}.png', smaller)


def make(folder: Path, settings: dict[str, Any], workers: int) -> None:
    """Make the whole data set.

    Args:
        folder: must exist, empty.
        settings: see :func:`settings_of`.
        workers: processes.
    """
    from basicsr.data.preparation.generated import MasksOfBlurred, write_pictures
    from basicsr.data.synthetic_blur_dataset import SyntheticBlurDataset

    copy_photos(folder / 'photos')
    seed = 1000 * settings['seed']
    kinds = {'leaves': (None, 0.5), 'scenes': ('scenes', 0.35), 'textures': ('textures', 0.15)}
    number = 0
    for part, total in (('train', settings['pictures']), ('val', VAL_PICTURES)):
        for kind, (group, share) in kinds.items():
            for motion, portion in SHARES.items():
                pictures = SyntheticBlurDataset(
                    None if group is None else str(folder / 'photos' / group),
                    share_photos=1.0,
                    length=max(1, round(total * share * portion)),
                    gt_size=SIZE,
                    seed=seed + number,
                    **{**COMMON, **MOTION[motion]},
                )
                write_pictures(MasksOfBlurred(pictures), f'{kind}_{motion}', folder / part, workers)
                number += 1


def main() -> int:
    """Make the data set, unless it is there."""
    arguments = parse()
    logging.basicConfig(format='%(message)s', level=logging.WARNING)
    from basicsr.data.preparation.generated import make_once
    from basicsr.utils.errors import ArgumentError

    if arguments.pictures < 1 or min(arguments.seed, arguments.workers) < 0:
        raise ArgumentError('--pictures is at least 1, --seed and --workers at least 0')
    settings = settings_of(arguments)
    made = make_once(arguments.output, RECORD, settings, lambda new: make(new, settings, arguments.workers))
    print(f'{arguments.output}: {arguments.pictures} training pictures' + ('' if made else ' are there already'))
    return 0


if __name__ == '__main__':
    from basicsr.utils.console import run

    sys.exit(run(main))
