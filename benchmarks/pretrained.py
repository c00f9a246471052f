"""Score the bundled network, run as in basicsr/deblur.py, and other methods, beside the blurred input.

python -m benchmarks.pretrained datasets/Quickstart/test
python -m benchmarks.pretrained --methods input,usm,rl,kernel,network,auto --border 15 \\
    --max-shift levin=6,kohler=6,gopro=6,reds=6 DIR/pairs DIR/kohler --csv results/pretrained.csv

A folder contains blur/ and sharp/, or input/ and target/, with files of the same names. Images are grouped by the table
<folder>.csv next to the folder (columns file, group), by the kinds of scripts/make_blur_pairs.py, or by folder.

Methods: input, the blurred image; usm, an unsharp mask (sigma 4, amount 0.1); rl, Richardson-Lucy with a Gaussian
(sigma 0.5, 2 rounds); kernel, network and auto as in deblur.py. The settings of usm and rl were chosen on the synthetic
validation pairs. --weights FILE measures another network.

Prints a Markdown table. PSNR is limited to that of rounding (58.92 dB). --border crops all scores. --max-shift searches
the best whole-pixel shift, of the input and of each result; gain, losses (more than 0.005 dB) and MCR compare these.
Seconds are medians; memory is the peak of the process while the method runs, the largest of all images (Linux only).
Light is the change of the mean in gray levels, of results clamped but not rounded, as mean (largest): over the image,
and over 64×64 windows (mean of the absolute changes).
"""

from __future__ import annotations

import argparse
import csv
import math
import statistics
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from tqdm import tqdm

from basicsr.images.arrays import Array
from basicsr.images.files import image_size, imread
from basicsr.inference.baselines import Run, build_methods
from basicsr.metrics import Record, build_metric, calculate_psnr, calculate_ssim, mode_collapse_rate
from basicsr.utils.console import run
from basicsr.utils.errors import DataError, OptionError
from benchmarks.photo_methods import change_of_light, measured

ROUNDING = 20 * math.log10(255) + 10 * math.log10(12)
FOLDERS = (('blur', 'sharp'), ('input', 'target'))
LOSS = 0.005
NUMBERS = ('psnr', 'ssim', 'psnr_shift', 'ssim_shift', 'gain', 'light', 'light_windows')
HEADER = (
    '| group | method | pictures | PSNR dB / SSIM | best shift | gain, dB (worst to best) | lose | MCR, % | seconds | '
    'memory, MiB | light, image | light, windows |'
)


@dataclass(frozen=True)
class Row:
    """One image and method: dB, 3-D SSIM, both without and with the best shift, and what the method did."""

    group: str
    file: str
    method: str
    psnr: float
    ssim: float
    psnr_shift: float
    ssim_shift: float
    gain: float
    seconds: float
    memory: float
    light: float
    light_windows: float
    chosen: str
    explanation: str
    guard: str

    @property
    def psnr_input(self) -> float:
        """PSNR of the blurred image over its best shift."""
        return self.psnr_shift - self.gain


def pairs_of(folder: Path) -> list[tuple[str, Path, Path]]:
    """Return group, blurred file and sharp file of each pair."""
    for lq, gt in FOLDERS:
        if (folder / lq).is_dir() and (folder / gt).is_dir():
            break
    else:
        raise DataError(f'{folder}: contains neither blur/ and sharp/ nor input/ and target/')
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
    if not files:
        raise DataError(f'{folder}: no file of {lq}/ has a file of the same name in {gt}/')
    return [(groups.get(path.name, default), path, folder / gt / path.name) for path in files]


def shifts_of(text: str, groups: set[str], border: int) -> dict[str, int]:
    """Return the largest shift of each group from ``6`` or ``levin=6,reds=2``; other groups have 0.

    Raises:
        OptionError: not such a text, an unknown group, or a shift larger than the border.
    """
    shifts = dict.fromkeys(groups, 0)
    for part in text.split(',') if '=' in text else [f'{group}={text}' for group in sorted(groups)]:
        group, _, number = part.partition('=')
        if not number.isdecimal():
            raise OptionError(
                f'--max-shift: expected a number or group=number,..., got {part if "=" in text else text!r}'
            )
        if group not in groups:
            raise OptionError(f'--max-shift: unknown group {group!r}; the groups are {", ".join(sorted(groups))}')
        shifts[group] = int(number)
        if shifts[group] > border:
            raise OptionError(f'--border {border} is less than the shift {number} of {group}; set --border {number}')
    return shifts


def check_sizes(pairs: Sequence[tuple[str, Path, Path]], border: int) -> None:
    """Check the sizes of all images without decoding them.

    Raises:
        DataError: the two of a pair differ, or the border removes all pixels.
    """
    for _, lq, gt in pairs:
        size, expected = image_size(lq), image_size(gt)
        if size and expected and size != expected:
            raise DataError(f'{lq}: {size[0]}×{size[1]} pixels, but {gt} has {expected[0]}×{expected[1]}')
        if size and min(size) <= 2 * border:
            raise DataError(f'{lq}: --border {border} removes all of its {size[0]}×{size[1]} pixels')


def scores(image: Array, gt: Array, border: int, shift: int) -> tuple[float, float, float, float]:
    """Return PSNR and SSIM without shift and with the best one."""
    still = min(calculate_psnr(image, gt, border), ROUNDING), calculate_ssim(image, gt, border)
    if not shift:
        return *still, *still
    record = Record(output_uint8=image, gt=gt)
    names = 'psnr_best_shift', 'ssim_best_shift'
    psnr, ssim = (build_metric({'type': name, 'max_shift': shift, 'crop_border': border})(record) for name in names)
    return *still, min(psnr.value, ROUNDING), ssim.value


def rows_of(pair: tuple[str, Path, Path], methods: Mapping[str, Run], border: int, shift: int) -> list[Row]:
    """Deblur one image by all methods and compare the results with its ground truth."""
    group, path, gt_path = pair
    lq, gt = imread(path, channels=3), imread(gt_path, channels=3)
    white = np.iinfo(lq.dtype).max
    values = lq.astype(np.float32) / np.float32(white)
    before = scores(lq, gt, border, shift)
    rows = []
    for name, method in methods.items():
        done, seconds, memory = measured(method, values)
        rounded = np.rint(done.image.clip(0, 1) * np.float32(white)).astype(lq.dtype)
        after = before if name == 'input' else scores(rounded, gt, border, shift)
        cost = round(seconds, 3), round(memory, 1), *change_of_light(values, done.image)
        remarks = done.chosen, done.explanation, done.warning
        rows.append(Row(group, path.name, name, *after, after[2] - before[2], *cost, *remarks))
    return rows


def line(rows: Sequence[Row]) -> str:
    """Return the row of the table for the images of one group and method."""
    mean = {name: statistics.fmean(getattr(row, name) for row in rows) for name in NUMBERS}
    gains = [row.gain for row in rows]
    mcr = mode_collapse_rate([row.psnr_input for row in rows], [row.psnr_shift for row in rows])
    memory = max(row.memory for row in rows)
    light, windows = (
        f'{mean[name]:.3f} ({max(getattr(row, name) for row in rows):.3f})' for name in ('light', 'light_windows')
    )
    return (
        f'| {rows[0].group} | {rows[0].method} | {len(rows)} | {mean["psnr"]:.2f} / {mean["ssim"]:.4f} | '
        f'{mean["psnr_shift"]:.2f} / {mean["ssim_shift"]:.4f} | '
        f'{mean["gain"]:+.2f} ({min(gains):+.2f} to {max(gains):+.2f}) | {sum(gain < -LOSS for gain in gains)} | '
        f'{mcr:.2f} | {statistics.median(row.seconds for row in rows):.2f} | '
        f'{"unknown" if math.isnan(memory) else f"{memory:.0f}"} | {light} | {windows} |'
    )


def main(words: Sequence[str] | None = None) -> int:
    """Score all images by all methods."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folders', nargs='+', type=Path, metavar='FOLDER')
    parser.add_argument('--methods', default='input,network', metavar='A,B', help='default: input,network')
    parser.add_argument(
        '--model', '--weights', metavar='NAME', help='network file or name (default: the bundled network)'
    )
    parser.add_argument('--masks', choices=('auto', 'none'), default='auto', help='none disables masks')
    parser.add_argument('--dtype', choices=('auto', 'fp32', 'bf16'), default='fp32', help='default: fp32')
    parser.add_argument('--border', type=int, default=0, metavar='N', help='crop N pixels on each side (default: 0)')
    parser.add_argument(
        '--max-shift',
        default='0',
        metavar='N',
        help='largest shift, at most the border: N, or GROUP=N,... (default: 0)',
    )
    parser.add_argument('--every', type=int, default=1, metavar='N', help='score every Nth image only')
    parser.add_argument('--csv', type=Path, metavar='FILE', help='also write one row for each image and method')
    arguments = parser.parse_args(words)
    if arguments.border < 0 or arguments.every < 1:
        raise OptionError('--border is at least 0, and --every at least 1')
    pairs = [pair for folder in arguments.folders for pair in pairs_of(folder)][:: arguments.every]
    shifts = shifts_of(arguments.max_shift, {group for group, _, _ in pairs}, arguments.border)
    check_sizes(pairs, arguments.border)
    names = [name.strip() for name in arguments.methods.split(',')]
    methods = build_methods(names, arguments.model, masks=arguments.masks, dtype=arguments.dtype)
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    with ExitStack() as stack:
        writer = None
        if arguments.csv:
            file = stack.enter_context(arguments.csv.open('w', encoding='utf-8', newline=''))
            writer = csv.DictWriter(file, [field.name for field in fields(Row)])
            writer.writeheader()
        for pair in tqdm(pairs, unit='picture', dynamic_ncols=True, disable=None):
            for row in rows_of(pair, methods, arguments.border, shifts[pair[0]]):
                groups[row.group, row.method].append(row)
                if writer:
                    writer.writerow(asdict(row))
                    file.flush()
    print(HEADER)
    print('|' + '---|' * (HEADER.count('|') - 1))
    for _, rows in sorted(groups.items(), key=lambda item: (item[0][0], list(methods).index(item[0][1]))):
        print(line(rows))
    for row in (row for rows in groups.values() for row in rows if row.guard):
        print(f'{row.file}, {row.method}: {row.guard}')
    return 0


if __name__ == '__main__':
    sys.exit(run(main))
