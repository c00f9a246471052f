"""Facts of the benchmark data sets: number of pairs, official page, known folder layouts."""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from basicsr.utils.errors import DataError, nearest

PARTS = ('train', 'val', 'test', 'validate')
CROP_SIZE, CROP_STEP = 512, 256  # of the training crops, in pixels


@dataclass(frozen=True)
class FolderLayout:
    """A folder layout of a set, as patterns of paths below its folder, without extensions.

    A field ``{like_this}`` matches a name or a part of it. ``{part}`` matches train, val, test or validate; ``{blur}``
    matches the requested kind of blur. Two files form a pair if the fields that both patterns share are equal.

    Args:
        name: value of ``--layout``.
        lq: pattern of the blurred images.
        gt: pattern of the sharp images.
        target: new name of both, without extension.
        part_may_miss: the leading ``{part}/`` is optional.
        more_gt: sharp images without a blurred one are allowed.
        pairing: pair the files of the two folders by this rule instead, see :func:`basicsr.data.pairing.find_pairs`.
            The option files read such a set in the folders of its archive, so files keep their folders and names.
        views: folders of further views, in the natural order of the blurred images; for ``pairing``.
        list_file: pattern of the name of a text file with lines ``gt blurred``; only the listed images are used.
        suffix: of its files, if they are no images: '.mat' files of Levin et al. contain both images and the kernel.
        sharp_views: a blurred image has several sharp ones, numbered by ``{view}``: views along the path of the
            camera; the middle one is used.
    """

    name: str
    lq: str
    gt: str
    target: str = '{name}'
    part_may_miss: bool = False
    more_gt: bool = False
    pairing: Literal['', 'natural_order', 'all_in_focus'] = ''
    views: tuple[str, ...] = ()
    list_file: str = ''
    suffix: str = ''
    sharp_views: bool = False

    def text(self, blur: str) -> str:
        """Describe the layout in one line."""
        shown = {name: f'<{name}>' for _, name, _, _ in string.Formatter().parse(self.lq + self.gt) if name}
        shown |= {'part': 'train|val|test', 'blur': blur}
        optional = ' (the first folder is optional)' if self.part_may_miss else ''
        if self.pairing:
            folders = ', '.join(self.folders('train|val|test'))
            return f'{self.name}: {folders}'
        listed = f', as listed in {self.list_file.format_map(shown)}' if self.list_file else ''
        if self.suffix:
            return f'{self.name}: {self.lq.format_map(shown)}{self.suffix}{optional}'
        return f'{self.name}: {self.lq.format_map(shown)} with {self.gt.format_map(shown)}{optional}{listed}'

    def folders(self, part: str) -> tuple[str, ...]:
        """Return the folders of a part with ``pairing``: blurred, sharp, further views."""
        files = (str(PurePosixPath(pattern).parent) for pattern in (self.lq, self.gt))
        return tuple(folder.format(part=part) for folder in (*files, *self.views))


@dataclass(frozen=True)
class BenchmarkSet:
    """A benchmark.

    Args:
        name: in tables; in lower case also on the command line, and without hyphens as a folder below ``datasets/``.
        page: its official page.
        counts: number of pairs of each part.
        layouts: its known folder layouts.
        parts: the parts that are prepared by default.
        blurs: its kinds of blur, the default first; empty if there is only one.
        sizes: (width, height) that all its images may have; empty for any.
        bits: of its files, per channel.
        frames: suffix of the image names that belong to the set; empty for all.
        crops: number of training crops of the whole set; 0 for sets without training images.
        cat_test: folders of the gray masks (CAT) of the test images, by the images that the masks are made from.
        unit: what ``counts`` counts; a sequence is a folder of the new names.
        kinds: the new folders of blurred and sharp images; below the part, or for sequences below the sequence.
    """

    name: str
    page: str
    counts: Mapping[str, int]
    layouts: tuple[FolderLayout, ...]
    parts: tuple[str, ...] = ('test',)
    blurs: tuple[str, ...] = ()
    sizes: tuple[tuple[int, int], ...] = ()
    bits: Literal[8, 16] = 8
    frames: str = ''
    crops: int = 0
    cat_test: Mapping[str, str] = field(default_factory=lambda: {'blurred': 'input_mask'})
    unit: Literal['pairs', 'sequences'] = 'pairs'
    kinds: tuple[str, str] = ('input', 'target')

    @property
    def key(self) -> str:
        """Its name on the command line."""
        return self.name.lower()

    @property
    def folder(self) -> str:
        """Its folder below ``datasets/`` in the option files."""
        return self.name.replace('-', '')

    @property
    def archive(self) -> FolderLayout | None:
        """The layout of its archive, if the option files read that; then ``convert`` is the only stage."""
        return next((layout for layout in self.layouts if layout.pairing), None)

    @property
    def default_blur(self) -> str:
        """The kind of blur that is used by default."""
        return self.blurs[0] if self.blurs else 'blur'

    def count(self, stems: Iterable[str]) -> int:
        """Count pairs, or sequences, by the new names of the pairs."""
        return len({str(PurePosixPath(stem).parent) if self.unit == 'sequences' else stem for stem in stems})

    def places(self, folder: Path, stem: str) -> tuple[Path, Path]:
        """Return the new paths of a pair in the folder of its part, blurred and sharp, without extensions."""
        place = PurePosixPath(stem)
        if self.unit == 'sequences':
            blurred, sharp = (folder / place.parent / kind / place.name for kind in self.kinds)
        else:
            blurred, sharp = (folder / kind / stem for kind in self.kinds)
        return blurred, sharp

    def layouts_named(self, name: str | None) -> tuple[FolderLayout, ...]:
        """Return the layout with this name, or all for None.

        Raises:
            DataError: the layout is unknown.
        """
        known = {layout.name: layout for layout in self.layouts}
        if name is not None and name not in known:
            hint = nearest(name, known)
            raise DataError(f"{self.name} has no layout '{name}'{hint}; known layouts: {', '.join(known)}")
        return self.layouts if name is None else (known[name],)


FLATTENED = FolderLayout('flattened', '{part}/input/{name}', '{part}/target/{name}', part_may_miss=True)
REDS_PAGE = 'https://seungjunnah.github.io/Datasets/reds'
REDS_LAYOUTS = (
    FolderLayout('original', '{part}_{blur}/{clip}/{frame}', '{part}_sharp/{clip}/{frame}', '{clip}_{frame}'),
    FolderLayout('flattened-clips', '{part}_{blur}/{name}', '{part}_sharp/{name}'),
    FLATTENED,
)


def _realblur(letter: str, processing: str) -> BenchmarkSet:
    folder = f'RealBlur-{letter}_{processing}ECC_IMCORR_centroid_itensity_ref'  # the authors' spelling
    original = FolderLayout(
        'original',
        f'{folder}/{{scene}}/blur/blur_{{k}}',
        f'{folder}/{{scene}}/gt/gt_{{k}}',
        f'RealBlur-{letter}-{{scene}}-gt_{{k}}',
        list_file=f'RealBlur_{letter}_{{part}}_list.txt',
    )
    page = 'http://cg.postech.ac.kr/research/realblur/'
    return BenchmarkSet(f'RealBlur-{letter}', page, {'train': 3758, 'test': 980}, (original, FLATTENED))


_ALL = (
    BenchmarkSet(
        'GoPro',
        'https://seungjunnah.github.io/Datasets/gopro',
        {'train': 2103, 'test': 1111},
        (
            FolderLayout('original', '{part}/{seq}/{blur}/{frame}', '{part}/{seq}/sharp/{frame}', '{seq}-{frame}'),
            FolderLayout('flattened', '{part}/input/{name}', '{part}/target/{name}'),
            FolderLayout('blur-sharp', '{part}/blur/{name}', '{part}/sharp/{name}'),
        ),
        parts=('train', 'test'),
        blurs=('blur', 'blur_gamma'),
        crops=16824,
        cat_test={'blurred': 'input_mask', 'predeblurred': 'input_predict_mask'},
    ),
    _realblur('J', ''),
    _realblur('R', 'BM3D_'),
    BenchmarkSet('REDS', REDS_PAGE, {'val': 3000}, REDS_LAYOUTS, ('val',), ('blur', 'blur_jpeg')),
    BenchmarkSet(
        'REDS300',
        REDS_PAGE,
        {'val': 300},
        (*REDS_LAYOUTS, FolderLayout('nafnet', 'blur_300/{name}', 'sharp_300/{name}')),
        ('val',),
        ('blur_jpeg',),
        frames='9',  # every tenth frame, from the tenth on: the validation set of NAFNet
    ),
    BenchmarkSet(
        'ReLoBlur',
        'https://leiali.github.io/ReLoBlur/',
        {'train': 2010, 'test': 395},
        (
            FolderLayout(
                'original', '{part}/{scene}/{shot}/{k}_blur', '{part}/{scene}/{shot}/{k}_sharp', '{scene}-{shot}-{k}'
            ),
            FLATTENED,
        ),
        sizes=((2152, 1436), (538, 359)),
    ),
    BenchmarkSet(
        'HIDE',
        'https://github.com/joanshen0508/HA_deblur',
        {'test': 2025},
        (FolderLayout('original', '{part}/{group}/{name}', 'GT/{name}', more_gt=True), FLATTENED),
    ),
    BenchmarkSet(
        'DPDD',
        'https://github.com/Abdullah-Abuolaim/defocus-deblurring-dual-pixel',
        {'train': 350, 'val': 74, 'test': 76},
        (
            FolderLayout(
                'original',
                '{part}_c/source/{name}',
                '{part}_c/target/{name}',
                pairing='natural_order',
                views=('{part}_l/source', '{part}_r/source'),
            ),
        ),
        parts=('train', 'val', 'test'),
        sizes=((1680, 1120),),
        bits=16,
    ),
    BenchmarkSet(
        'LFDOF',
        'https://sweb.cityu.edu.hk/miullam/AIFNET/',
        {'train': 11261, 'test': 725},
        (
            FolderLayout(
                'original', '{part}_data/input/{name}_ap{k}', '{part}_data/ground_truth/{name}', pairing='all_in_focus'
            ),
        ),
        parts=('train', 'test'),
    ),
    BenchmarkSet(
        'GRR_real',
        'https://github.com/jixiang2016/RSS-T',
        {'train': 50, 'validate': 7, 'test': 7},
        (FolderLayout('original', '{part}/{seq}/RSGR/PNG/{frame}', '{part}/{seq}/GS/PNG/{frame}', '{seq}/{frame}'),),
        parts=('train', 'validate', 'test'),
        unit='sequences',
        kinds=('RSGR/PNG', 'GS/PNG'),
    ),
    BenchmarkSet(
        'Levin',
        'https://webee.technion.ac.il/people/anat.levin/papers/LevinEtalCVPR09Data.rar',
        {'test': 32},
        (
            FolderLayout('original', 'im{im}_flit{flit}', 'im{im}_flit{flit}', 'im{im}_flit{flit}', suffix='.mat'),
            FolderLayout('selfdeblur', 'im{im}_kernel{flit}_img', 'gt/im{im}', 'im{im}_kernel{flit}'),
            FLATTENED,
        ),
        sizes=((255, 255),),
    ),
    BenchmarkSet(
        'Kohler',
        'http://webdav.is.mpg.de/pixel/benchmark4camerashake/',
        {'test': 48},
        (
            FolderLayout(
                'original',
                '{blurred}/Blurry{im}_{shake}',
                '{sharp}/GroundTruth{im}_{shake}_{view}',
                'Blurry{im}_{shake}',
                sharp_views=True,
            ),
            FLATTENED,
        ),
        sizes=((800, 800),),
    ),
)
SETS: dict[str, BenchmarkSet] = {benchmark.key: benchmark for benchmark in _ALL}
"""The benchmarks by their names on the command line."""


def benchmark_set(key: str) -> BenchmarkSet:
    """Return the facts of a benchmark.

    Raises:
        DataError: the benchmark is unknown.
    """
    if key not in SETS:
        raise DataError(f"unknown benchmark '{key}'{nearest(key, SETS)}; known benchmarks: {', '.join(SETS)}")
    return SETS[key]
