"""Make the small data set of the quick start in datasets/Quickstart: blurred and sharp images with region masks.

Training images are cut from photos of scikit-image or generated ("dead leaves"). Test images are cut from other photos
and blurred by other motion. Nothing is downloaded. A second run keeps existing files.
"""

from __future__ import annotations

import runpy
from pathlib import Path

runpy.run_path(f'{Path(__file__).resolve().parents[1]}/basicsr/utils/clone.py')

import argparse
import json
import shutil
from typing import Any

# All of them are files of scikit-image's own package; its other images would have to be downloaded.
TRAIN_PHOTOS = ('brick', 'coins', 'grass', 'gravel', 'ihc', 'motorcycle_left', 'motorcycle_right', 'retina', 'rocket')
TEST_PHOTOS = ('astronaut', 'camera', 'chelsea', 'coffee')

MOTION: dict[str, Any] = {  # every region moves on its own, straight and steadily; the camera is at rest, without noise
    'straight_share': 1.0,
    'moving_share': 1.0,
    'shake_length': 0.0,
    'noise': (0.0, 0.0),
    'generator': {'type': 'felzenszwalb', 'scale': 600, 'min_size': 800},  # what moves as one in a photo
}
TRAIN_MOTION: dict[str, Any] = {'directions': (-5, 5, 85, 95), 'path_range': (9.0, 11.0)}
TEST_MOTION: dict[str, Any] = {'directions': (0, 90), 'path_range': (9.0, 11.0)}
TRAIN_SIZE, TEST_SIZE = 128, 256
VAL_IMAGES = 16

RECORD = 'quickstart.json'


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    output_help = 'output folder (default: datasets/Quickstart)'
    add('--output', type=Path, default=Path('datasets/Quickstart'), metavar='DIR', help=output_help)
    add('--seed', type=int, default=0, help='seed of all random numbers (default: 0)')
    add('--photos', type=int, default=900, metavar='N', help='training images cut from photos (default: 900)')
    add('--leaves', type=int, default=600, metavar='N', help='generated training images (default: 600)')
    add('--test', type=int, default=8, metavar='N', help='test images per test photo (default: 8)')
    add('--workers', type=int, default=2, metavar='N', help='number of worker processes (default: 2)')
    return parser.parse_args()


def settings_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return all settings that determine the images; they are recorded next to the images."""
    chosen = {key: getattr(arguments, key) for key in ('seed', 'photos', 'leaves', 'test')}
    fixed = {
        'sources': [TRAIN_PHOTOS, TEST_PHOTOS],
        'sizes': [TRAIN_SIZE, TEST_SIZE, VAL_IMAGES],
        'motion': [MOTION, TRAIN_MOTION, TEST_MOTION],
    }
    return dict(json.loads(json.dumps({**chosen, **fixed})))


def describe(motion: dict[str, Any]) -> str:
    """Describe the motion in words."""
    turns = ', '.join(f'{direction:g}°' for direction in motion['directions'])
    return f'paths of {motion["path_range"][0]:g} to {motion["path_range"][1]:g} pixels in the directions {turns}'


def make(folder: Path, settings: dict[str, Any], workers: int) -> None:
    """Make the whole data set.

    Args:
        folder: must exist, empty.
        settings: see :func:`settings_of`.
        workers: processes.
    """
    from basicsr.data.synthetic_blur_dataset import SyntheticBlurDataset
    from basicsr.preparation.synthetic_sets import MasksOfBlurred, photo_file, write_samples

    photos, seed = folder / 'photos', 1000 * settings['seed']
    for part, names in (('train', TRAIN_PHOTOS), ('test', TEST_PHOTOS)):
        for name in names:  # one folder each, so that each can be used as a separate data set
            source, target = photo_file(name), photos / part / name
            target.mkdir(parents=True)
            shutil.copyfile(source, target / source.name)

    def scenes(name: str, count: int, size: int, motion: dict[str, Any], number: int) -> SyntheticBlurDataset:
        """Return images of the photos in a folder, or of generated scenes; ``number`` changes the random numbers."""
        root = None if name == 'leaves' else str(photos / name)
        return SyntheticBlurDataset(
            root, share_photos=1.0, length=count, gt_size=size, seed=seed + number, **MOTION, **motion
        )

    train, val, test = (folder / part for part in ('train', 'val', 'test'))
    leaves = scenes('leaves', settings['leaves'], TRAIN_SIZE, TRAIN_MOTION, 0)
    write_samples(leaves, 'leaves', train, workers)  # with the regions that really moved
    cut = scenes('train', settings['photos'], TRAIN_SIZE, TRAIN_MOTION, 1)
    write_samples(MasksOfBlurred(cut), 'photo', train, workers)
    cut = scenes('train', VAL_IMAGES, TRAIN_SIZE, TEST_MOTION, 2)
    write_samples(MasksOfBlurred(cut), 'photo', val, workers)
    for number, name in enumerate(TEST_PHOTOS, 3):
        held_out = scenes(f'test/{name}', settings['test'], TEST_SIZE, TEST_MOTION, number)
        write_samples(MasksOfBlurred(held_out), name, test, workers)


def main() -> int:
    """Make the data set unless it exists."""
    arguments = parse()
    from basicsr.preparation.synthetic_sets import make_once
    from basicsr.utils.errors import ArgumentError

    folder = arguments.output
    if min(arguments.photos, arguments.leaves, arguments.test) < 1 or min(arguments.seed, arguments.workers) < 0:
        raise ArgumentError('--photos, --leaves and --test must be at least 1, --seed and --workers at least 0')
    settings = settings_of(arguments)
    if not make_once(folder, RECORD, settings, lambda new: make(new, settings, arguments.workers)):
        print(f'{folder}: already exists')
    count = len(TEST_PHOTOS) * arguments.test
    print(
        f'training: {arguments.photos} images cut from {len(TRAIN_PHOTOS)} photos ({", ".join(TRAIN_PHOTOS)}) and '
        f'{arguments.leaves} generated images;\n  each region moves along its own straight {describe(TRAIN_MOTION)}\n'
        f'test: {count} images cut from {len(TEST_PHOTOS)} other photos ({", ".join(TEST_PHOTOS)});\n'
        f'  straight {describe(TEST_MOTION)}'
    )
    return 0


if __name__ == '__main__':
    from basicsr.utils.console import run_and_exit

    run_and_exit(main)
