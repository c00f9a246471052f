"""Facts of the benchmark data sets: number of pairs, official page, known folder layouts."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass, field

from basicsr.utils.errors import DataError, nearest

PARTS = ('train', 'val', 'test')
CROP_SIZE, CROP_STEP = 512, 256  # of the training crops, in pixels


@dataclass(frozen=True)
class FolderLayout:
    """A folder layout of a set, as patterns of paths below its folder, without extensions.

    A field ``{like_this}`` matches a name or a part of it. ``{part}`` matches train, val or test; ``{blur}`` matches
    the requested kind of blur. Two files form a pair if the fields that both patterns share are equal.

    Args:
        name: value of ``--layout``.
        lq: pattern of the blurred images.
        gt: pattern of the sharp images.
        target: new name of both, without extension.
        part_may_miss: the leading ``{part}/`` is optional.
        more_gt: sharp images without a blurred one are allowed.
        list_file: pattern of the name of a text file with lines ``gt blurred``; only the listed images are used.
    """

    name: str
    lq: str
    gt: str
    target: str = '{name}'
    part_may_miss: bool = False
    more_gt: bool = False
    list_file: str = ''

    def text(self, blur: str) -> str:
        """Describe the layout in one line."""
        shown = {name: f'<{name}>' for _, name, _, _ in string.Formatter().parse(self.lq + self.gt) if name}
        shown |= {'part': 'train|val|test', 'blur': blur}
        optional = ' (the first folder is optional)' if self.part_may_miss else ''
        listed = f', as listed in {self.list_file.format_map(shown)}' if self.list_file else ''
        return f'{self.name}: {self.lq.format_map(shown)} with {self.gt.format_map(shown)}{optional}{listed}'


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
        frames: suffix of the image names that belong to the set; empty for all.
        crops: number of training crops of the whole set; 0 for sets without training images.
        cat_test: folders of the gray masks (CAT) of the test images, by the images that the masks are made from.
    """

    name: str
    page: str
    counts: Mapping[str, int]
    layouts: tuple[FolderLayout, ...]
    parts: tuple[str, ...] = ('test',)
    blurs: tuple[str, ...] = ()
    sizes: tuple[tuple[int, int], ...] = ()
    frames: str = ''
    crops: int = 0
    cat_test: Mapping[str, str] = field(default_factory=lambda: {'blurred': 'input_mask'})

    @property
    def key(self) -> str:
        """Its name on the command line."""
        return self.name.lower()

    @property
    def folder(self) -> str:
        """Its folder below ``datasets/`` in the option files."""
        return self.name.replace('-', '')

    @property
    def default_blur(self) -> str:
        """The kind of blur that is used by default."""
        return self.blurs[0] if self.blurs else 'blur'

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
