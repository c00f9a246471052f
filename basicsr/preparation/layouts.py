"""Find a benchmark on disk: recognise its folder layout and list its pairs."""

from __future__ import annotations

import contextlib
import re
import string
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from basicsr.data.pairing import find_pairs, naturally_sorted
from basicsr.data.stores.base import FolderStore
from basicsr.images.files import image_size
from basicsr.preparation.benchmark_sets import PARTS, BenchmarkSet, FolderLayout
from basicsr.utils.errors import DataError, some_of

DEEPEST = 2  # folders between the named folder and the set
SHOWN = 10  # names in a message
_FIELDS = {'part': '|'.join(PARTS), 'group': 'test-close-ups|test-long-shot', 'view': r'\d+'}
_FIELDS |= dict.fromkeys(('im', 'flit', 'shake'), '[^/_]+')


@dataclass(frozen=True)
class BenchmarkPair:
    """A blurred and a sharp file, their new name without extension, and further views of the same scene."""

    stem: str
    lq: Path
    gt: Path
    views: tuple[Path, ...] = ()


@dataclass(frozen=True)
class FoundBenchmark:
    """A benchmark on disk.

    Args:
        layout: its folder layout.
        folder: its folder.
        pairs: the pairs of each requested part, sorted by name.
        alone: files without a partner.
    """

    layout: FolderLayout
    folder: Path
    pairs: dict[str, list[BenchmarkPair]]
    alone: list[str]


def find_benchmark(
    benchmark: BenchmarkSet, root: Path, parts: Collection[str], blur: str = '', layout: str | None = None
) -> FoundBenchmark:
    """Find a benchmark in a folder, or up to two folders below it.

    Args:
        benchmark: its facts.
        root: the folder.
        parts: the parts to look for.
        blur: kind of blur, one of ``benchmark.blurs``; empty for the default.
        layout: name of the layout; None recognises it.

    Raises:
        DataError: the set was not found, or was found in several layouts or folders.
    """
    blur, layouts = blur or benchmark.default_blur, benchmark.layouts_named(layout)
    if not root.is_dir():
        raise DataError(f'{root}: no such folder. {where_to_get(benchmark)}')
    lines = '\n'.join(f'  {each.text(blur)}' for each in layouts)
    tried = f'Layouts tried in this folder and up to {DEEPEST} folders below:\n{lines}{_packed(root)}'
    keys: dict[str, list[str]] = {}
    for suffix in {each.suffix for each in layouts if each.suffix}:
        with contextlib.suppress(DataError):
            keys[suffix] = FolderStore(root, (suffix,)).keys
    try:
        keys[''] = FolderStore(root).keys
    except DataError as error:
        if not any(keys.values()):
            raise DataError(f'{error}\n{tried}\n{where_to_get(benchmark)}') from error
    found: list[FoundBenchmark] = []
    for each in layouts:
        found += (
            _by_list(benchmark, each, root, parts)
            if each.list_file
            else _by_folders(benchmark, each, root, parts)
            if each.pairing
            else _by_pattern(benchmark, each, root, keys.get(each.suffix, ()), parts, blur)
        )
    if not found:
        if layout is not None:
            tried += '\nOther layouts were not tried, because of --layout or an earlier run in the same folder.'
        raise DataError(f'{root}: {benchmark.name} was not recognised here.\n{tried}\n{where_to_get(benchmark)}')
    if len(found) > 1:
        places = '\n'.join(f'  {each.layout.name} in {each.folder}' for each in found)
        raise DataError(
            f'{root}: {benchmark.name} was found more than once; select one with --root or --layout:\n{places}'
        )
    return found[0]


def check_counts(benchmark: BenchmarkSet, found: FoundBenchmark, allow_partial: bool) -> list[str]:
    """Compare the files with the facts of the benchmark.

    Returns:
        one line per difference, if ``allow_partial``.

    Raises:
        DataError: number of pairs or sequences, partners or image sizes differ, and not ``allow_partial``.
    """
    lines = [
        f'{part}: found {count} {benchmark.unit}, expected {benchmark.counts[part]}'
        for part, pairs in found.pairs.items()
        if (count := benchmark.count(pair.stem for pair in pairs)) != benchmark.counts[part]
    ]
    if found.alone:
        lines.append(f'{len(found.alone)} files without a partner are skipped: {some_of(found.alone, SHOWN)}')
    if benchmark.sizes and not found.layout.suffix:
        lines += _wrong_sizes(benchmark, found)
    if lines and not allow_partial:
        detail = '\n  '.join(lines)
        raise DataError(
            f'{found.folder} ({found.layout.name} layout) is an incomplete {benchmark.name}:\n  {detail}\n'
            f'{where_to_get(benchmark)}\nTo use an incomplete set, pass --allow-partial'
        )
    return lines


def where_to_get(benchmark: BenchmarkSet) -> str:
    """Return a sentence with the official page."""
    return f'Download {benchmark.name} from {benchmark.page} (this script downloads nothing)'


def counts_of_sizes(sizes: Iterable[tuple[int, int]]) -> dict[str, int]:
    """Count the images of each size (H, W), as ``{'1280x720': 12}`` (width x height), sorted."""
    return dict(sorted(Counter(f'{width}x{height}' for height, width in sizes).items()))


def _wrong_sizes(benchmark: BenchmarkSet, found: FoundBenchmark) -> list[str]:
    sizes = (image_size(pair.lq) for pairs in found.pairs.values() for pair in pairs)
    counts = counts_of_sizes(size for size in sizes if size is not None)
    allowed = [f'{width}x{height}' for width, height in benchmark.sizes]
    if len(counts) == 1 and set(counts) <= set(allowed):
        return []
    shown = ', '.join(f'{number} of {size}' for size, number in counts.items())
    return [
        f'all images must have the same size, {" or ".join(allowed)} (width x height); '
        f'found {shown or "no readable image"}'
    ]


def _packed(root: Path) -> str:
    """Return how to unpack the LMDB below a folder; some sets are published as LMDB."""
    found = [path for depth in range(DEEPEST + 1) for path in sorted(root.glob(f'{"*/" * depth}*.lmdb'))]
    if not found:
        return ''
    lines = [f'\n  python scripts/make_store.py --input {path} --output {path.with_suffix("")}' for path in found]
    return f'\nFound {len(found)} LMDB; unpack them first:{"".join(lines[:SHOWN])}'


def _by_pattern(
    benchmark: BenchmarkSet, layout: FolderLayout, root: Path, keys: Iterable[str], parts: Collection[str], blur: str
) -> Iterator[FoundBenchmark]:
    """Find the folders that have pairs in this layout."""
    patterns = _regex(layout.lq, layout.part_may_miss, blur), _regex(layout.gt, layout.part_may_miss, blur)
    shared = sorted(set(patterns[0].groupindex) & set(patterns[1].groupindex))
    default = benchmark.parts[0]
    lq: dict[tuple[str, ...], list[tuple[str, dict[str, str]]]] = {}
    gt: dict[tuple[str, ...], str] = {}
    views: dict[tuple[str, ...], dict[int, str]] = defaultdict(dict)
    for key in keys:
        stem = str(PurePosixPath(key).with_suffix(''))
        for number, pattern in enumerate(patterns):
            match = pattern.match(stem)
            if match is None or (benchmark.frames and not stem.endswith(benchmark.frames)):
                continue
            fields = {name: value or '' for name, value in match.groupdict().items()}
            if 'part' in fields and (fields['part'] or default) not in parts:
                continue
            index = tuple(fields[name] for name in shared)
            if number == 0:
                lq.setdefault(index, []).append((key, fields))
            elif layout.sharp_views:
                views[index][int(fields['view'])] = key
            else:
                gt[index] = key
    gt |= {index: along[sorted(along)[len(along) // 2]] for index, along in views.items()}
    place = shared.index('top')
    for top in sorted({index[place] for index in lq if index in gt}):
        pairs: dict[str, list[BenchmarkPair]] = {part: [] for part in parts}
        alone = []
        for index, (key, fields) in ((index, file) for index, files in lq.items() for file in files):
            if index[place] == top and index in gt:
                pair = BenchmarkPair(layout.target.format_map(fields), root / key, root / gt[index])
                pairs[fields.get('part') or default].append(pair)
            elif index[place] == top:
                alone.append(key)
        if not layout.more_gt:
            alone += [key for index, key in gt.items() if index[place] == top and index not in lq]
        yield _found(benchmark, layout, root / top, pairs, alone)


def _by_folders(
    benchmark: BenchmarkSet, layout: FolderLayout, root: Path, parts: Collection[str]
) -> Iterator[FoundBenchmark]:
    """Find the folders that have the folders of this layout, and pair their files by its rule."""
    for folder in _below(root):
        there = [part for part in parts if all((folder / name).is_dir() for name in layout.folders(part)[:2])]
        if not there:
            continue
        pairs: dict[str, list[BenchmarkPair]] = {part: [] for part in parts}
        for part in there:
            lq, gt, *views = (FolderStore(folder / name) for name in layout.folders(part))
            found = find_pairs(gt, lq, layout.pairing or 'stem')
            beside = [naturally_sorted(store.keys) for store in views]
            for store, keys in zip(views, beside, strict=True):
                if len(keys) != len(found):
                    raise DataError(
                        f'{store.root}: {len(keys)} images, but {len(found)} in {lq.root}; unpack both again'
                    )
            for number, (sharp, blurred) in enumerate(found):
                more = tuple(store.root / keys[number] for store, keys in zip(views, beside, strict=True))
                pairs[part].append(BenchmarkPair(lq.stem(blurred), lq.root / blurred, gt.root / sharp, more))
        yield _found(benchmark, layout, folder, pairs, [])


def _below(root: Path) -> list[Path]:
    """Return a folder and those up to two folders below it."""
    below = [root, *(path for depth in range(1, DEEPEST + 1) for path in sorted(root.glob('/'.join(['*'] * depth))))]
    return [path for path in below if path.is_dir()]


def _by_list(
    benchmark: BenchmarkSet, layout: FolderLayout, root: Path, parts: Collection[str]
) -> Iterator[FoundBenchmark]:
    """Find the folders that have the lists of this layout."""
    for folder in _below(root):
        lists = {part: folder / layout.list_file.format(part=part) for part in parts}
        if not any(path.is_file() for path in lists.values()):
            continue
        pairs: dict[str, list[BenchmarkPair]] = {part: [] for part in parts}
        alone: list[str] = []
        for part, path in lists.items():
            for gt, lq in _listed(path) if path.is_file() else []:
                files = folder / lq, folder / gt
                missing = [str(file) for file in files if not file.is_file()]
                if missing:
                    alone.append(f'{" and ".join(missing)} (listed in {path.name}, not found)')
                    continue
                scene, stem = PurePosixPath(gt).parts[1], PurePosixPath(gt).name.split('.')[0]
                pairs[part].append(BenchmarkPair(f'{benchmark.name}-{scene}-{stem}', *files))
        yield _found(benchmark, layout, folder, pairs, alone)


def _listed(path: Path) -> list[tuple[str, str]]:
    """Return (gt, blurred) of each line of an official list."""
    try:
        lines = path.read_text(encoding='utf-8').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f'{path}: cannot read the list ({error})') from error
    listed = []
    for number, line in enumerate(lines, start=1):
        words = line.replace('\\', '/').split()
        if words and (len(words) < 2 or len(PurePosixPath(words[0]).parts) < 3):
            raise DataError(f"{path}:{number}: expected '<folder>/<scene>/gt/<name> <folder>/<scene>/blur/<name>'")
        listed += [(words[0], words[1])] if words else []
    return listed


def _found(
    benchmark: BenchmarkSet, layout: FolderLayout, folder: Path, pairs: dict[str, list[BenchmarkPair]], alone: list[str]
) -> FoundBenchmark:
    for part, members in pairs.items():
        twice = sorted(stem for stem, count in Counter(pair.stem for pair in members).items() if count > 1)
        if twice:
            raise DataError(
                f'{folder}: several files of {benchmark.name} {part} have the same new name: {some_of(twice, SHOWN)}'
            )
    ordered = {part: sorted(members, key=lambda pair: pair.stem) for part, members in pairs.items()}
    return FoundBenchmark(layout, folder, ordered, sorted(alone))


def _regex(pattern: str, part_may_miss: bool, blur: str) -> re.Pattern[str]:
    """Return the pattern as a regular expression with a group per field; ``top`` contains the folders above."""
    text, seen = rf'(?P<top>(?:[^/]+/){{0,{DEEPEST}}}?)', set[str]()
    for literal, name, _, _ in string.Formatter().parse(pattern):
        text += re.escape(literal)
        if name == 'blur':
            text += re.escape(blur)
        elif name:
            text += f'(?P={name})' if name in seen else f'(?P<{name}>{_FIELDS.get(name, "[^/]+")})'
            seen.add(name)
    if part_may_miss:
        part = f'(?P<part>{_FIELDS["part"]})/'
        text = text.replace(part, f'(?:{part})?')
    return re.compile(f'{text}$')
