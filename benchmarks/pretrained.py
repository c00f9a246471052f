"""Score the bundled network, run as in basicsr/deblur.py, and the blurred input.

python -m benchmarks.pretrained datasets/Quickstart/test
python -m benchmarks.pretrained DIR/pairs DIR/kohler --csv results/pretrained.csv

A folder contains blur/ and sharp/, or input/ and target/, with files of the same names. Images are grouped by the table
<folder>.csv next to the folder (columns file, group), by the kinds of scripts/make_blur_pairs.py, or by folder. PSNR is
limited to that of rounding (58.92 dB). Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import csv
import math
import statistics
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from basicsr.images.files import imread
from basicsr.inference.deblurrer import Deblurrer
from basicsr.metrics import calculate_psnr, calculate_ssim, mode_collapse_rate

ROUNDING = 20 * math.log10(255) + 10 * math.log10(12)
FOLDERS = (('blur', 'sharp'), ('input', 'target'))


@dataclass(frozen=True)
class Result:
    """One image: PSNR in dB and SSIM (3-D) of input and output, seconds, and the message of the guard."""

    file: str
    psnr: tuple[float, float]
    ssim: tuple[float, float]
    seconds: float
    warning: str


def pairs_of(folder: Path) -> list[tuple[str, Path, Path]]:
    """Return group, blurred file and sharp file of each pair."""
    for lq, gt in FOLDERS:
        if (folder / lq).is_dir() and (folder / gt).is_dir():
            break
    else:
        sys.exit(f'{folder}: contains neither blur/ and sharp/ nor input/ and target/')
    groups: dict[str, str] = {}
    table = folder.with_name(f'{folder.name}.csv')
    if table.is_file():
        with table.open(encoding='utf-8', newline='') as file:
            groups = {row['file']: row['group'] for row in csv.DictReader(file)}
    elif (folder / 'pairs.csv').is_file():
        with (folder / 'pairs.csv').open(encoding='utf-8', newline='') as file:
            groups = {f'{row["name"]}.png': row['kind'] for row in csv.DictReader(file)}
    default = folder.parent.name if folder.name == 'test' else folder.name
    files = sorted(path for path in (folder / lq).iterdir() if (folder / gt / path.name).is_file())
    return [(groups.get(path.name, default), path, folder / gt / path.name) for path in files]


def score(deblurrer: Deblurrer, lq_path: Path, gt_path: Path) -> Result:
    """Deblur one image and compare it with its ground truth."""
    lq, gt = imread(lq_path, channels=3), imread(gt_path, channels=3)
    done = deblurrer.deblur(lq)
    both = lq, done.image
    psnr = [min(calculate_psnr(image, gt), ROUNDING) for image in both]
    ssim = [float(calculate_ssim(image, gt)) for image in both]
    return Result(lq_path.name, (psnr[0], psnr[1]), (ssim[0], ssim[1]), done.seconds, done.warning)


def line(group: str, results: list[Result]) -> str:
    """Return a row of the table."""
    psnr = [statistics.fmean(result.psnr[side] for result in results) for side in (0, 1)]
    ssim = [statistics.fmean(result.ssim[side] for result in results) for side in (0, 1)]
    gains = [result.psnr[1] - result.psnr[0] for result in results]
    mcr = mode_collapse_rate([result.psnr[0] for result in results], [result.psnr[1] for result in results])
    return (
        f'| {group} | {len(results)} | {psnr[0]:.2f} / {ssim[0]:.4f} | {psnr[1]:.2f} / {ssim[1]:.4f} | '
        f'{psnr[1] - psnr[0]:+.2f} ({min(gains):+.2f} to {max(gains):+.2f}) | {mcr:.2f} |'
    )


def main() -> None:
    """Score all images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folders', nargs='+', type=Path, metavar='FOLDER')
    parser.add_argument('--model', metavar='NAME', help='network file or name (default: the bundled network)')
    parser.add_argument('--masks', choices=('auto', 'none'), default='auto', help='none disables masks')
    parser.add_argument('--dtype', choices=('auto', 'fp32', 'bf16'), default='fp32', help='default: fp32')
    parser.add_argument('--every', type=int, default=1, metavar='N', help='score every Nth image only')
    parser.add_argument('--csv', type=Path, metavar='FILE', help='also write one row for each image')
    arguments = parser.parse_args()
    deblurrer = Deblurrer.load(arguments.model, masks=arguments.masks, dtype=arguments.dtype)
    groups: dict[str, list[Result]] = defaultdict(list)
    pairs = [pair for folder in arguments.folders for pair in pairs_of(folder)][:: arguments.every]
    for group, lq, gt in tqdm(pairs, unit='picture', dynamic_ncols=True):
        groups[group].append(score(deblurrer, lq, gt))
    print('| group | pictures | input, PSNR dB / SSIM | output | gain, dB (worst to best) | MCR, % |')
    print('|---|---|---|---|---|---|')
    for group, results in sorted(groups.items()):
        print(line(group, results))
    for result in (result for results in groups.values() for result in results if result.warning):
        print(f'{result.file}: {result.warning}')
    if arguments.csv:
        with arguments.csv.open('w', encoding='utf-8', newline='') as file:
            writer = csv.writer(file)
            writer.writerow(['group', 'file', 'psnr_lq', 'psnr', 'ssim_lq', 'ssim', 'seconds', 'guard'])
            for group, results in sorted(groups.items()):
                for r in results:
                    writer.writerow([group, r.file, *r.psnr, *r.ssim, round(r.seconds, 2), r.warning])


if __name__ == '__main__':
    main()
