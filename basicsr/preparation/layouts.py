"""Which layout a benchmark has on this disk, and which of its files are pairs."""

from __future__ import annotations

import logging
import re
import string
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from basicsr.data.stores.base import FolderStore
from basicsr.images.files import image_size
from basicsr.preparation.benchmark_sets import PARTS, BenchmarkSet, Layout
from basicsr.utils.errors import DataError, nearest, some_of

logger = logging.getLogger(__name__)

DEEPEST = 2  # folders between the one that is named and the set
SHOWN = 10  # names in a message
_FIELDS = {'part': '|'.join(PARTS), 'group': 'test-close-ups|test-long-shot'}


@dataclass(frozen=True)
class Pair:
    """A blurred and a sharp file, and the name that both get, without extension."""

    stem: str
    lq: Path
    gt: Path


@dataclass(frozen=True)
class Found:
    """A benchmark on disk.

    Args:
        layout: how its files lie.
        folder: where.
        pairs: the pairs of each part that was asked for, sorted by name.
        alone: files without a partner.
    """

    layout: Layout
    folder: Path
    pairs: dict[str, list[Pair]]
    alone: list[str]


def recognise(
    benchmark: BenchmarkSet, root: Path, parts: Collection[str], blur: str = '', layout: str | None = None
) -> Found:
    """Find a benchmark in a folder, or up to two folders below it.

    Args:
        benchmark: its facts.
        root: the folder.
        parts: those to look for.
        blur: kind of blur, one of ``benchmark.blurs``; its default if empty.
        layout: name of the layout; None takes the one that is there.

    Raises:
        DataError: it is not there, or there in several layouts or folders; the message says what was looked for.
    """
    blur = blur or (benchmark.blurs[0] if benchmark.blurs else 'blur')
    layouts = [each for each in benchmark.layouts if layout in (None, each.name)]
    if not layouts:
        names = [each.name for each in benchmark.layouts]
        hint = nearest(str(layout), names)
        raise DataError(f"{benchmark.name} has no layout '{layout}'{hint}; known are {', '.join(names)}")
    if not root.is_dir():
        raise DataError(f'{root}: no such folder. {where_to_get(benchmark)}')
    try:
        keys = FolderStore(root).keys
    except DataError as error:
        raise DataError(f'{error}\n{_looked_for(layouts, blur)}{_packed(root)}\n{where_to_get(benchmark)}') from error
    candidates = [
        candidate
        for each in layouts
        for candidate in (
            _by_list(benchmark, each, root, parts)
            if each.list_file
            else _by_pattern(benchmark, each, root, keys, parts, blur)
        )
    ]
    if not candidates:
        other = _packed(root)
        if layout is not None:
            other += '\nOther layouts were not looked for, because of --layout or an earlier run in the same folder.'
        raise DataError(
            f'{root}: {benchmark.name} was not recognised here.\n{_looked_for(layouts, blur)}{other}\n'
            f'{where_to_get(benchmark)}'
        )
    if len(candidates) > 1:
        lines = [f'  {each.layout.name} in {each.folder}' for each in candidates]
        raise DataError(
            f'{root}: {benchmark.name} is here more than once; name one by its folder (--root) or by --layout:\n'
            + '\n'.join(lines)
        )
    return candidates[0]


def check_counts(benchmark: BenchmarkSet, found: Found, allow_partial: bool) -> list[str]:
    """Compare what was found with what the set has.

    Returns:
        one line for everything that is not as it should be; only where ``allow_partial``.

    Raises:
        DataError: counts differ, files have no partner, or images have another size.
    """
    lines = []
    for part, pairs in found.pairs.items():
        if len(pairs) != benchmark.counts[part]:
            lines.append(f'{part}: found {len(pairs)} pairs, expected {benchmark.counts[part]}')
    if found.alone:
        lines.append(f'{len(found.alone)} files have no partner and are left out: {some_of(found.alone, SHOWN)}')
    if benchmark.sizes:
        lines += _wrong_sizes(benchmark, found)
    if lines and not allow_partial:
        detail = '\n  '.join(lines)
        raise DataError(
            f'{found.folder} ({found.layout.name} layout) is not the whole of {benchmark.name}:\n  {detail}\n'
            f'{where_to_get(benchmark)}\nTo go on with what is there: --allow-partial'
        )
    return lines


def where_to_get(benchmark: BenchmarkSet) -> str:
    """The official page, in one sentence."""
    return f'{benchmark.name} is offered by its authors at {benchmark.page} (nothing is downloaded here)'


def _wrong_sizes(benchmark: BenchmarkSet, found: Found) -> list[str]:
    counts = Counter(image_size(pair.lq) for pairs in found.pairs.values() for pair in pairs)
    sizes = {(size[1], size[0]): number for size, number in counts.items() if size is not None}
    expected = ' or '.join(f'{width}x{height}' for width, height in benchmark.sizes)
    if len(sizes) == 1 and set(sizes) <= set(benchmark.sizes):
        return []
    shown = ', '.join(f'{number} of {width}x{height}' for (width, height), number in sorted(sizes.items()))
    return [f'all images have one size, {expected} (width x height); found {shown or "none that can be read"}']


def _looked_for(layouts: Iterable[Layout], blur: str) -> str:
    lines = [f'  {layout.text(blur)}' for layout in layouts]
    return f'Looked for, in this folder and up to {DEEPEST} folders below:\n' + '\n'.join(lines)


def _packed(root: Path) -> str:
    """What to do about LMDB, in which others offer some sets."""
    found = [path for depth in range(DEEPEST + 1) for path in sorted(root.glob(f'{"*/" * depth}*.lmdb'))]
    if not found:
        return ''
    lines = [f'\n  python scripts/make_store.py --input {path} --output {path.with_suffix("")}' for path in found]
    return f'\nThere are {len(found)} LMDB; unpack them first:{"".join(lines[:SHOWN])}'


def _by_pattern(
    benchmark: BenchmarkSet, layout: Layout, root: Path, keys: Iterable[str], parts: Collection[str], blur: str
) -> list[Found]:
    """One candidate for each folder that has pairs in this layout."""
    patterns = _regex(layout.lq, layout.part_may_miss, blur), _regex(layout.gt, layout.part_may_miss, blur)
    shared = sorted(set(patterns[0].groupindex) & set(patterns[1].groupindex))
    default = benchmark.parts[0]
    lq: dict[tuple[str, ...], list[tuple[str, dict[str, str]]]] = {}
    gt: dict[tuple[str, ...], str] = {}
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
            else:
                gt[index] = key
    place = shared.index('top')
    candidates = []
    for top in sorted({index[place] for index in lq if index in gt}):
        pairs: dict[str, list[Pair]] = {part: [] for part in parts}
        alone = []
        for index, files in lq.items():
            if index[place] != top:
                continue
            for key, fields in files:
                if index in gt:
                    pair = Pair(layout.target.format_map(fields), root / key, root / gt[index])
                    pairs[fields.get('part') or default].append(pair)
                else:
                    alone.append(key)
        if not layout.more_gt:
            alone += [key for index, key in gt.items() if index[place] == top and index not in lq]
        candidates.append(_found(benchmark, layout, root / top, pairs, alone))
    return candidates


def _by_list(benchmark: BenchmarkSet, layout: Layout, root: Path, parts: Collection[str]) -> list[Found]:
    """One candidate for each folder that has the lists of this layout."""
    candidates = []
    below = [root, *(path for depth in range(1, DEEPEST + 1) for path in sorted(root.glob('/'.join(['*'] * depth))))]
    for folder in (path for path in below if path.is_dir()):
        lists = {part: folder / layout.list_file.format(part=part) for part in parts}
        if not any(path.is_file() for path in lists.values()):
            continue
        pairs: dict[str, list[Pair]] = {part: [] for part in parts}
        alone: list[str] = []
        for part, path in lists.items():
            for gt, lq in _listed(path) if path.is_file() else []:
                files = folder / lq, folder / gt
                missing = [str(file) for file in files if not file.is_file()]
                if missing:
                    alone.append(f'{" and ".join(missing)} (listed in {path.name}, not there)')
                    continue
                scene = PurePosixPath(gt).parts[1]
                stem = PurePosixPath(gt).name.split('.')[0]
                pairs[part].append(Pair(f'{benchmark.name}-{scene}-{stem}', *files))
        candidates.append(_found(benchmark, layout, folder, pairs, alone))
    return candidates


def _listed(path: Path) -> list[tuple[str, str]]:
    """(gt, blurred) of each line of an official list."""
    try:
        lines = path.read_text(encoding='utf-8').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f'{path}: the list cannot be read ({error})') from error
    listed = []
    for number, line in enumerate(lines, start=1):
        words = line.replace('\\', '/').split()
        if not words:
            continue
        if len(words) < 2 or len(PurePosixPath(words[0]).parts) < 3:
            raise DataError(f"{path}:{number}: expected '<folder>/<scene>/gt/<name> <folder>/<scene>/blur/<name>'")
        listed.append((words[0], words[1]))
    return listed


def _found(
    benchmark: BenchmarkSet, layout: Layout, folder: Path, pairs: dict[str, list[Pair]], alone: list[str]
) -> Found:
    for part, members in pairs.items():
        twice = sorted(stem for stem, count in Counter(pair.stem for pair in members).items() if count > 1)
        if twice:
            raise DataError(
                f'{folder}: {benchmark.name} {part} has several files that would be called {some_of(twice, SHOWN)}'
            )
    ordered = {part: sorted(members, key=lambda pair: pair.stem) for part, members in pairs.items()}
    return Found(layout, folder, ordered, sorted(alone))


def _regex(pattern: str, part_may_miss: bool, blur: str) -> re.Pattern[str]:
    """The pattern as a regular expression with one group for each field, and the folders above in ``top``."""
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


def counts_of_sizes(sizes: Iterable[tuple[int, int]]) -> Mapping[str, int]:
    """How many images have each size, as ``{'1280x720': 12}`` (width x height), sorted."""
    return dict(sorted(Counter(f'{width}x{height}' for height, width in sizes).items()))
