"""Measure how well the analysis network of a pair finds blur kernels, beside the classical estimator and a Gaussian.

python -m benchmarks.pair experiments/pair_3/models/net_g_latest.pth --photos datasets/Photos/sources/val/photos
python -m benchmarks.pair PAIR.safetensors --pairs datasets/Levin/test datasets/Kohler/test --sheet results/kernels.png

--photos blurs photos with random kernels that no training has drawn (UniformBlurDataset with another seed): kernel
similarity (best NCC over shifts; Hu and Yang, ECCV 2012) of the network, of the classical estimator
(basicsr.deconvolution.estimate_kernel, on the first --classical images), of the one Gaussian that fits all of these
kernels best, and of the best Gaussian for each kernel.

--pairs reads folders with input/, target/ and, where known, kernels/ (as from scripts/prepare_data.py). PSNR is that of
the best shift of at most 6 pixels without a border of 15: of the input, of the image deconvolved with each kernel, and
of the whole pair. The error ratio (Levin et al., CVPR 2009) needs the true kernel. Köhler's official protocol also
takes the best over all frames of the path and a scale of the gray values; this one does not.

Prints Markdown tables. Seconds are medians for one kernel. --json writes the numbers, --sheet the kernels as images.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from basicsr.archs.analysis_synthesis_arch import AnalysisSynthesisNet
from basicsr.data.uniform_blur_dataset import UniformBlurDataset
from basicsr.deconvolution.functions import deconvolve, estimate_kernel
from basicsr.deconvolution.kernels import read_kernel
from basicsr.images.arrays import Array
from basicsr.images.contact_sheet import contact_sheet
from basicsr.images.files import imread, imwrite
from basicsr.inference.pretrained import find_weights, load_network
from basicsr.metrics import calculate_kernel_similarity, calculate_psnr_best_shift
from basicsr.preparation.kernel_sets import kernel_sheet
from basicsr.reporting.tables import Table
from basicsr.utils.console import run
from basicsr.utils.errors import OptionError, WeightsError
from benchmarks.pretrained import pairs_of

SEED = 10_000
"""Of the kernels and photos; trainings of the option files draw with seed 1, and validate with one derived from it."""
SIDE = 256
SIGMAS = np.exp(np.linspace(np.log(0.6), np.log(15), 40))
SHIFT, BORDER = 6, 15
SHOWN = 12


@dataclass
class Case:
    """One blurred image with its kernels and, if its sharp image is compared, its scores in dB."""

    name: str
    kernels: dict[str, Array]
    seconds: dict[str, float] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)

    def similarity(self, method: str) -> float | None:
        """Return the similarity of a kernel to the true one; None if one is unknown."""
        if 'true' not in self.kernels or method not in self.kernels:
            return None
        found = self.kernels[method]
        return calculate_kernel_similarity(found, self.kernels['true']) if found.any() else 0.0

    def error_ratio(self, method: str) -> float | None:
        """Return the squared error of a result relative to that with the true kernel; None if that is unknown."""
        if 'true' not in self.scores or method not in self.scores:
            return None
        return float(10 ** ((self.scores['true'] - self.scores[method]) / 10))


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print and write."""
    arguments = _parse(words)
    net = _pair(arguments.model)
    report: dict[str, Any] = {'model': str(arguments.model)}
    shown: list[Array] = []
    if arguments.photos:
        cases = held_out_cases(net, arguments.photos, arguments.count, arguments.classical)
        report['held out'] = _held_out(cases)
        shown.append(_sheet(f'{len(cases)} held-out kernels', cases[: arguments.classical or SHOWN]))
    for folder in arguments.pairs:
        cases = [pair_case(net, *pair[1:], folder) for pair in tqdm(pairs_of(folder), str(folder), disable=None)]
        report[str(folder)] = _pairs(folder, cases)
        shown.append(_sheet(str(folder), cases))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + '\n', encoding='utf-8')
    if arguments.sheet:
        imwrite(arguments.sheet, contact_sheet(shown))
    return 0


def held_out_cases(net: AnalysisSynthesisNet, photos: Path, count: int, classical: int) -> list[Case]:
    """Find the kernels of generated images; the classical estimator on the first ``classical`` ones only."""
    size = net.analysis.kernel_size[0]
    dataset = UniformBlurDataset(str(photos), kernel_size=size, gt_size=SIDE, length=count, seed=SEED)
    cases = []
    for index in tqdm(range(count), 'held out', disable=None):
        item = dataset[index]
        case = Case(f'{index:03d}', {'true': item['kernel'].numpy()})
        _find(case, net, item['lq'].permute(1, 2, 0).numpy(), index < classical)
        cases.append(case)
    return cases


def pair_case(net: AnalysisSynthesisNet, lq_path: Path, gt_path: Path, folder: Path) -> Case:
    """Find the kernel of a photo, and compare results with its sharp image."""
    lq, gt = imread(lq_path, 3), imread(gt_path, 3)
    known = folder / 'kernels' / f'{lq_path.stem}.npy'
    case = Case(lq_path.stem, {'true': read_kernel(known)} if known.is_file() else {})
    _find(case, net, lq, True)
    with torch.inference_mode():
        restored = net(_tensor(lq))[0].permute(1, 2, 0).numpy()
    results = {'input': lq, 'pair': _rounded(restored)}
    results |= {name: deconvolve(lq, _cleaned(kernel)) for name, kernel in case.kernels.items() if kernel.any()}
    case.scores = {name: calculate_psnr_best_shift(image, gt, SHIFT, BORDER) for name, image in results.items()}
    return case


def best_gaussian(kernels: Sequence[Array]) -> tuple[float, float, float]:
    """Return the mean similarity of the one best Gaussian to all kernels, its sigma, and the mean of the best for each.

    Args:
        kernels: (n, n).
    """
    middle = np.arange(kernels[0].shape[0]) - kernels[0].shape[0] // 2
    squares = middle[:, None] ** 2 + middle**2
    table = np.array(
        [
            [calculate_kernel_similarity(np.exp(-squares / (2 * sigma**2)), kernel) for sigma in SIGMAS]
            for kernel in kernels
        ]
    )
    means = table.mean(0)
    return float(means.max()), float(SIGMAS[means.argmax()]), float(table.max(1).mean())


def _find(case: Case, net: AnalysisSynthesisNet, lq: Array, classical: bool) -> None:
    def network() -> Array:
        with torch.inference_mode():
            return np.asarray(net.estimate_kernel(_tensor(lq))[0].numpy())

    methods: dict[str, Callable[[], Array]] = {'network': network}
    if classical:
        methods['classical'] = lambda: estimate_kernel(lq)
    for name, method in methods.items():
        start = time.perf_counter()
        case.kernels[name] = method()
        case.seconds[name] = time.perf_counter() - start


def _held_out(cases: Sequence[Case]) -> dict[str, Any]:
    compared = [case for case in cases if 'classical' in case.kernels]
    one, sigma, each = best_gaussian([case.kernels['true'] for case in cases])
    rows = [
        _row('network', cases, 'network'),
        ('one Gaussian', str(len(cases)), f'{one:.3f} (sigma {sigma:.1f})', '', ''),
        ('best Gaussian for each kernel', str(len(cases)), f'{each:.3f}', '', ''),
    ]
    if compared:
        rows += [
            _row('classical estimator', compared, 'classical'),
            _row('network, the same images', compared, 'network'),
        ]
    print(Table(('held-out kernels', 'images', 'similarity', 'below 0.5', 'seconds'), tuple(rows)).markdown())
    similarities = {name: [case.similarity(name) for case in cases] for name in ('network', 'classical')}
    return {'one Gaussian': one, 'sigma': sigma, 'best Gaussian for each': each, **similarities}


def _row(title: str, cases: Sequence[Case], method: str) -> tuple[str, ...]:
    values = [value for case in cases if (value := case.similarity(method)) is not None]
    seconds = statistics.median(case.seconds[method] for case in cases)
    low = sum(value < 0.5 for value in values)
    return title, str(len(values)), f'{statistics.fmean(values):.3f}', str(low), f'{seconds:.3f}'


def _pairs(folder: Path, cases: Sequence[Case]) -> list[dict[str, Any]]:
    print(f'\n{folder}, {len(cases)} images:\n')
    rows = []
    for title, name in (
        ('blurred input', 'input'),
        ('network, deconvolved', 'network'),
        ('classical estimator, deconvolved', 'classical'),
        ('true kernel, deconvolved', 'true'),
        ('whole pair', 'pair'),
    ):
        scored = [case for case in cases if name in case.scores]
        if scored:
            similar = [value for case in scored if (value := case.similarity(name)) is not None and name != 'true']
            ratios = sorted(ratio for case in scored if (ratio := case.error_ratio(name)) is not None)
            gains = [case.scores[name] - case.scores['input'] for case in scored]
            seconds = [case.seconds[name] for case in scored if name in case.seconds]
            rows.append(
                (
                    title,
                    f'{statistics.fmean(similar):.3f}' if similar else '',
                    f'{statistics.fmean(case.scores[name] for case in scored):.2f}',
                    f'{statistics.fmean(gains):+.2f} ({min(gains):+.2f} to {max(gains):+.2f})',
                    f'{statistics.median(ratios):.2f} / {sum(ratio <= 3 for ratio in ratios)}' if ratios else '',
                    f'{statistics.median(seconds):.2f}' if seconds else '',
                )
            )
    head = ('', 'similarity', 'PSNR, dB', 'gain, dB', 'error ratio: median / images up to 3', 'seconds')
    print(Table(head, tuple(rows)).markdown())
    kept = ('name', 'seconds', 'scores')
    return [
        {
            **{key: value for key, value in asdict(case).items() if key in kept},
            'similarity': {name: case.similarity(name) for name in ('network', 'classical')},
        }
        for case in cases
    ]


def _sheet(title: str, cases: Sequence[Case], shown: int = SHOWN) -> Array:
    """Draw the kernels of some cases: a row for each method, a column for each case."""
    columns = cases[:: max(1, len(cases) // shown)][:shown]
    methods = [name for name in ('true', 'network', 'classical') if any(name in case.kernels for case in columns)]
    side = min(max(kernel.shape[0] for case in columns for kernel in case.kernels.values()), 45)
    rows = []
    for method in methods:
        panels = []
        for case in columns:
            value = case.similarity(method)
            note = case.name if method == methods[0] else '' if value is None else f'{value:.2f}'
            panels.append((note, _window(case.kernels.get(method), side)))
        rows.append(kernel_sheet(panels, f'{title}: {method}', len(columns)))
    return contact_sheet(rows)


def _window(kernel: Array | None, side: int) -> Array:
    """Return the middle of a kernel around its centre of mass, (side, side)."""
    if kernel is None or not kernel.any():
        return np.zeros((side, side), np.float32)
    wide = np.pad(kernel, side)
    rows, columns = (round(float(np.arange(wide.shape[axis]) @ wide.sum(1 - axis) / wide.sum())) for axis in (0, 1))
    half = side // 2
    return np.asarray(wide[rows - half : rows + half + 1, columns - half : columns + half + 1])


def _cleaned(kernel: Array) -> Array:
    """Return a kernel without what is nearly 0, which would ring."""
    return np.where(kernel < kernel.max() / 50, 0, kernel)


def _tensor(image: Array) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / float(
        np.iinfo(image.dtype).max
    )


def _rounded(image: Array) -> Array:
    return np.asarray(np.rint(image.clip(0, 1) * 255), np.uint8)


def _pair(model: Path) -> AnalysisSynthesisNet:
    net = load_network(find_weights(model))
    if not isinstance(net, AnalysisSynthesisNet):
        raise WeightsError(f'{model}: contains a {type(net).__name__}; this measures an AnalysisSynthesisNet')
    return net


def _parse(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('model', type=Path, metavar='FILE', help='network file of a pair')
    parser.add_argument('--photos', type=Path, metavar='DIR', help='sharp photos that were not used in training')
    parser.add_argument('--count', type=int, default=200, metavar='N', help='number of kernels (default: 200)')
    classical_help = 'images of --photos for the classical estimator (default: 40)'
    parser.add_argument('--classical', type=int, default=40, metavar='N', help=classical_help)
    pairs_help = 'folders with input/, target/ and, where known, kernels/'
    parser.add_argument('--pairs', nargs='+', type=Path, default=[], metavar='DIR', help=pairs_help)
    parser.add_argument('--json', type=Path, metavar='FILE', help='also write all numbers')
    parser.add_argument('--sheet', type=Path, metavar='FILE', help='also write an image of the kernels')
    arguments = parser.parse_args(words)
    if not (arguments.photos or arguments.pairs) or arguments.count < 1 or arguments.classical < 0:
        raise OptionError('name --photos or --pairs; --count is at least 1, --classical at least 0')
    return arguments


if __name__ == '__main__':
    sys.exit(run(main))
