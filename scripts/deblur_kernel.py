"""Deblur photos with the analysis-synthesis pair, which finds the blur kernel of a photo and uses it.

For blur that is the same all over the photo, up to 85 pixels; scale photos with larger blur down.

Examples:
    python scripts/deblur_kernel.py -i photo.jpg -o results/sharp
    python scripts/deblur_kernel.py -i photos -o results/sharp -s "" --save-kernel --side_by_side

The weights come from scripts/convert_checkpoint.py. Exit code 1 if a photo could not be deblurred; the others are.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [str(ROOT)] + [p for p in sys.path if Path(p or '.').resolve() != Path(__file__).resolve().parent]

WEIGHTS = ROOT / 'experiments' / 'pretrained_models' / 'analysis_synthesis.pth'


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('--input_path', '-i', type=Path, required=True, metavar='PATH', help='a photo, or a folder of photos')
    add('--out_dir', '-o', type=Path, default=Path('results'), metavar='DIR', help='where results go (results)')
    add('--suffix', '-s', default='_deblurred', help='added to the name; "" keeps it (_deblurred)')
    add('--weights', '-w', type=Path, default=WEIGHTS, metavar='FILE', help=f'checkpoint ({WEIGHTS.relative_to(ROOT)})')
    add(
        '--analysis_max_input_size',
        '-amis',
        type=int,
        nargs='+',
        metavar='N',
        help='find the kernel in the centre of larger photos: one number (a square) or two (height width)',
    )
    add(
        '--analysis-crop',
        choices=('whole', 'reference'),
        help='what the kernel is found in; reference: a centre crop of a size that the original accepts',
    )
    add('--plot', '-p', action='store_true', help='show photo and result side by side')
    add('--side_by_side', '-sbs', action='store_true', help='save photo and result in one picture, the photo left')
    add('--save-kernel', action='store_true', help='also save NAME_kernel.png and NAME_kernel.npy')
    add('--device', default='auto', help='auto, cpu, cuda, cuda:1 or mps')
    return parser.parse_args()


def deblur(net: Any, path: Path, output: Path, kernel: Path | None, arguments: argparse.Namespace) -> None:
    """One photo."""
    import numpy as np

    from basicsr.models.kernel_deblurring import deblur_with_kernel, save_kernel
    from basicsr.utils.image import imread, imwrite

    photo = imread(path, channels=3)
    result = deblur_with_kernel(net, photo)
    both = np.concatenate([photo, result.image], 1)
    imwrite(output, both if arguments.side_by_side else result.image)
    if kernel is not None:
        save_kernel(kernel, result.kernel)
    if arguments.plot:
        show(both, path.name)


def show(picture: Any, title: str) -> None:
    """Open a picture in the system's viewer."""
    import numpy as np
    from PIL import Image, ImageShow

    eight_bits = picture if picture.dtype == np.uint8 else (picture // 257).astype(np.uint8)
    if not ImageShow.show(Image.fromarray(eight_bits), title):
        print(f'{title}: no program was found that shows pictures; use --side_by_side', file=sys.stderr)


def main() -> int:
    """Deblur all photos; exit code 1 if one has failed."""
    arguments = parse()
    from collections import Counter

    from tqdm import tqdm

    from basicsr.models.kernel_deblurring import list_photos, load_pair
    from basicsr.models.restoring import is_out_of_memory
    from basicsr.utils.device import select_device
    from basicsr.utils.errors import BasicsrError, DataError, WeightsError

    photos = list_photos(arguments.input_path)
    outputs = [arguments.out_dir / f'{path.stem}{arguments.suffix}{path.suffix}' for path in photos]
    for path, output in zip(photos, outputs, strict=True):
        if output.resolve() == path.resolve():
            raise DataError(f'{path} would be overwritten by its result; choose another --out_dir or --suffix')
    if not arguments.weights.exists():
        raise WeightsError(
            f'{arguments.weights} does not exist. docs/networks.md says where the published weights are; '
            'scripts/convert_checkpoint.py turns them into this file'
        )
    net = load_pair(arguments.weights, select_device(arguments.device))
    if arguments.analysis_max_input_size is not None:
        net.analysis.limit_input(arguments.analysis_max_input_size)
    if arguments.analysis_crop is not None:
        net.analysis.analysis_crop = arguments.analysis_crop
    arguments.out_dir.mkdir(parents=True, exist_ok=True)

    stems = Counter(path.stem for path in photos)
    failed: dict[Path, str] = {}
    start = time.perf_counter()
    with tqdm(total=len(photos), unit='photo', dynamic_ncols=True) as bar:
        for path, output in zip(photos, outputs, strict=True):
            bar.set_description(path.name)
            name = path.stem if stems[path.stem] == 1 else path.name
            kernel = arguments.out_dir / f'{name}_kernel' if arguments.save_kernel else None
            try:
                deblur(net, path, output, kernel, arguments)
            except BasicsrError as error:
                failed[path] = str(error)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                failed[path] = 'there is not enough memory for it'
            bar.update()
    seconds = time.perf_counter() - start
    for path, reason in failed.items():
        print(reason if str(path) in reason else f'{path}: {reason}', file=sys.stderr)
    print(f'{len(photos) - len(failed)} of {len(photos)} photos in {seconds:.1f} s: {arguments.out_dir}')
    return 1 if failed else 0


if __name__ == '__main__':
    from basicsr.utils.console import run

    sys.exit(run(main))
