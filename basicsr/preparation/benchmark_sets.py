"""Facts of the benchmark data sets: how many pairs they have, where they are offered, how people have them on disk."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass, field

from basicsr.utils.errors import DataError, nearest

PARTS = ('train', 'val', 'test')
CROP_SIZE, CROP_STEP = 512, 256  # of the training crops, in pixels


@dataclass(frozen=True)
class Layout:
    """How the files of a set lie on disk: patterns of paths below its folder, without extensions.

    A field ``{like_this}`` stands for one name or a part of it; ``{part}`` for train, val or test, ``{blur}`` for the
    kind of blur that was asked for. Files belong together where the fields agree that both patterns have.

    Args:
        name: what an option of a command calls it.
        lq: pattern of the blurred images.
        gt: pattern of the sharp images.
        target: the new name of both, without extension.
        part_may_miss: whether ``{part}/`` at the beginning may be absent.
        more_gt: whether there may be sharp images without a blurred one.
        list_file: pattern of the name of a text file whose lines are ``gt blurred``; the images are those it lists.
    """

    name: str
    lq: str
    gt: str
    target: str = '{name}'
    part_may_miss: bool = False
    more_gt: bool = False
    list_file: str = ''

    @property
    def tells_blur(self) -> bool:
        """Whether the kind of blur can be seen from the paths."""
        return '{blur}' in self.lq

    def text(self, blur: str) -> str:
        """One line for people."""
        shown = {name: f'<{name}>' for _, name, _, _ in string.Formatter().parse(self.lq + self.gt) if name}
        shown |= {'part': 'train|val|test', 'blur': blur}
        lq, gt = self.lq.format_map(shown), self.gt.format_map(shown)
        optional = ' (the first folder may be missing)' if self.part_may_miss else ''
        listed = f', as {self.list_file.format_map(shown)} lists them' if self.list_file else ''
        return f'{self.name}: {lq} with {gt}{optional}{listed}'


@dataclass(frozen=True)
class BenchmarkSet:
    """One benchmark.

    Args:
        key: its name on the command line.
        name: its name in tables.
        folder: where the option files look for it, below ``datasets/``.
        page: where its authors offer it.
        counts: pairs of each part.
        parts: those that are prepared unless others are asked for.
        layouts: how people have it.
        blurs: the kinds of blur that it comes in; the first is the default, none if there is one kind only.
        sizes: (width, height) that its images may have, all of them the same; empty if any will do.
        frames: how the names of the images end that belong to this set; empty for all.
        crops: training crops that its training images give; 0 where nobody trains on it.
        cat_test: folders of the gray pictures of the test images (CAT), by what their masks were made from.
    """

    key: str
    name: str
    folder: str
    page: str
    counts: Mapping[str, int]
    parts: tuple[str, ...]
    layouts: tuple[Layout, ...]
    blurs: tuple[str, ...] = ()
    sizes: tuple[tuple[int, int], ...] = ()
    frames: str = ''
    crops: int = 0
    cat_test: Mapping[str, str] = field(default_factory=lambda: {'blurred': 'input_mask'})


FLATTENED = Layout('flattened', '{part}/input/{name}', '{part}/target/{name}', part_may_miss=True)
BLUR_SHARP = Layout('blur-sharp', '{part}/blur/{name}', '{part}/sharp/{name}')
REDS_PAGE = 'https://seungjunnah.github.io/Datasets/reds'
REDS_LAYOUTS = (
    Layout('original', '{part}_{blur}/{clip}/{frame}', '{part}_sharp/{clip}/{frame}', '{clip}_{frame}'),
    Layout('flattened-clips', '{part}_{blur}/{name}', '{part}_sharp/{name}'),
    FLATTENED,
)


def _realblur(letter: str, processing: str) -> BenchmarkSet:
    folder = f'RealBlur-{letter}_{processing}ECC_IMCORR_centroid_itensity_ref'  # spelled so by its authors
    lists = Layout(
        'original',
        f'{folder}/{{scene}}/blur/blur_{{k}}',
        f'{folder}/{{scene}}/gt/gt_{{k}}',
        f'RealBlur-{letter}-{{scene}}-gt_{{k}}',
        list_file=f'RealBlur_{letter}_{{part}}_list.txt',
    )
    return BenchmarkSet(
        key=f'realblur-{letter.lower()}',
        name=f'RealBlur-{letter}',
        folder=f'RealBlur{letter}',
        page='http://cg.postech.ac.kr/research/realblur/',
        counts={'train': 3758, 'test': 980},
        parts=('test',),
        layouts=(lists, FLATTENED),
    )


_ALL = (
    BenchmarkSet(
        key='gopro',
        name='GoPro',
        folder='GoPro',
        page='https://seungjunnah.github.io/Datasets/gopro',
        counts={'train': 2103, 'test': 1111},
        parts=('train', 'test'),
        layouts=(
            Layout('original', '{part}/{seq}/{blur}/{frame}', '{part}/{seq}/sharp/{frame}', '{seq}-{frame}'),
            Layout('flattened', '{part}/input/{name}', '{part}/target/{name}'),
            BLUR_SHARP,
        ),
        blurs=('blur', 'blur_gamma'),
        crops=16824,
        cat_test={'blurred': 'input_mask', 'predeblurred': 'input_predict_mask'},
    ),
    _realblur('J', ''),
    _realblur('R', 'BM3D_'),
    BenchmarkSet(
        key='reds',
        name='REDS',
        folder='REDS',
        page=REDS_PAGE,
        counts={'val': 3000},
        parts=('val',),
        layouts=REDS_LAYOUTS,
        blurs=('blur', 'blur_jpeg'),
    ),
    BenchmarkSet(
        key='reds300',
        name='REDS300',
        folder='REDS300',
        page=REDS_PAGE,
        counts={'val': 300},
        parts=('val',),
        layouts=(*REDS_LAYOUTS, Layout('nafnet', 'blur_300/{name}', 'sharp_300/{name}')),
        blurs=('blur_jpeg',),
        frames='9',  # every tenth frame, from the tenth: what NAFNet validates on
    ),
    BenchmarkSet(
        key='reloblur',
        name='ReLoBlur',
        folder='ReLoBlur',
        page='https://leiali.github.io/ReLoBlur/',
        counts={'train': 2010, 'test': 395},
        parts=('test',),
        layouts=(
            Layout(
                'original',
                '{part}/{scene}/{shot}/{k}_blur',
                '{part}/{scene}/{shot}/{k}_sharp',
                '{scene}-{shot}-{k}',
            ),
            FLATTENED,
        ),
        sizes=((2152, 1436), (538, 359)),
    ),
    BenchmarkSet(
        key='hide',
        name='HIDE',
        folder='HIDE',
        page='https://github.com/joanshen0508/HA_deblur',
        counts={'test': 2025},
        parts=('test',),
        layouts=(Layout('original', '{part}/{group}/{name}', 'GT/{name}', more_gt=True), FLATTENED),
    ),
)
SETS: dict[str, BenchmarkSet] = {benchmark.key: benchmark for benchmark in _ALL}
"""The benchmarks by their name on the command line."""


def benchmark_set(key: str) -> BenchmarkSet:
    """The facts of one benchmark.

    Raises:
        DataError: it is not known.
    """
    if key not in SETS:
        raise DataError(f"no benchmark is called '{key}'{nearest(key, SETS)}; known are {', '.join(SETS)}")
    return SETS[key]
