"""The results of the experiment as tables and a figure, written into docs/prior.md."""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from basicsr.reporting import Estimate, Table, holm, scene_estimate
from basicsr.utils.errors import ReportError
from basicsr.utils.files import write_whole
from benchmarks.prior.arms import ARMS, SEEDS, Length, all_runs
from benchmarks.prior.figure import Bar, draw
from benchmarks.prior.running import BLURRED, SECONDS

PAGE = Path(__file__).resolve().parents[2] / 'docs' / 'prior.md'
FIGURE = 'images/prior.svg'
PLACES = {'in distribution': ('same',), 'out of distribution': ('longer', 'gamma', 'real')}
PLANNED = {  # pairs of arms, and what their difference compares
    (4, 7): 'linear: true masks − masks of another photo',
    (4, 1): 'linear, true masks − no masks',
    (9, 10): 'energies: true masks − masks of another photo',
    (9, 4): 'true masks: energies − linear',
}
PRIMARY = (4, 7, 'in distribution')
SECONDARY = [(a, b, place) for a, b in PLANNED if (a, b) != PRIMARY[:2] for place in PLACES]
NOT_PLANNED = [(7, 1), (10, 1), (9, 1)]
_SETS = {'same': 'same motion', 'longer': 'longer paths', 'gamma': 'gamma 1', 'real': 'real pairs'}
_BLOCK = re.compile(r'(<!-- results:.*?-->\n).*?(<!-- end of results -->)', re.S)

Scores = Mapping[str, Mapping[str, Sequence[float]]]


@dataclass(frozen=True)
class Results:
    """All finished runs.

    Args:
        runs: content of their files, by arm, length and seed.
        blurred: content of the file of the blurred images; empty if unknown.
        seconds: of a training step, by arm; empty if not measured.
    """

    runs: Mapping[tuple[int, Length, int], Mapping[str, Any]]
    blurred: Mapping[str, Any]
    seconds: Mapping[int, float]

    @cached_property
    def comparisons(self) -> dict[tuple[int, int, str], Estimate | None]:
        """Return the primary and the secondary comparisons; None for those without a seed yet."""
        return {(a, b, place): difference(self, a, b, PLACES[place]) for a, b, place in (PRIMARY, *SECONDARY)}

    @property
    def is_complete(self) -> bool:
        """Return whether no run is missing."""
        return len(self.runs) == len(all_runs())

    def seeds(self, arm: int, length: Length) -> list[int]:
        """Return the seeds of the finished runs of an arm."""
        return sorted(seed for number, own, seed in self.runs if (number, own) == (arm, length))

    def of(self, arm: int, length: Length) -> list[Mapping[str, Any]]:
        """Return the finished runs of an arm."""
        return [self.runs[arm, length, seed] for seed in self.seeds(arm, length)]


def read_results(folder: Path) -> Results:
    """Read the files of all runs.

    Raises:
        ReportError: a file is not a result, or runs of one length have different numbers of steps.
    """
    runs: dict[tuple[int, Length, int], Mapping[str, Any]] = {}
    for run in all_runs():
        file = folder / f'{run.name}.json'
        if file.is_file():
            content = _read(file)
            if (content.get('arm'), content.get('length'), content.get('seed')) != (
                run.arm.number,
                run.length,
                run.seed,
            ):
                raise ReportError(f'{file}: is not the result of this run; delete it and repeat the run')
            runs[run.arm.number, run.length, run.seed] = content
    for length in ('long', 'short'):
        steps = {content['steps'] for (_, own, _), content in runs.items() if own == length}
        if len(steps) > 1:
            raise ReportError(f'{folder}: {length} runs with {sorted(steps)} steps cannot be compared')
    blurred, seconds = folder / BLURRED, folder / SECONDS
    return Results(
        runs,
        _read(blurred) if blurred.is_file() else {},
        {int(key): value for key, value in _read(seconds).items()} if seconds.is_file() else {},
    )


def scene_means(scores: Scores, sets: Sequence[str]) -> dict[str, float]:
    """Return the mean PSNR of each scene over its images in some sets. A scene in two sets counts once."""
    images: dict[str, list[float]] = {}
    for name in sets:
        for scene, values in scores.get(name, {}).items():
            images.setdefault(scene, []).extend(values)
    return {scene: statistics.fmean(values) for scene, values in images.items()}


def difference(
    results: Results, first: int, second: int, sets: Sequence[str], length: Length = 'long'
) -> Estimate | None:
    """Return the mean difference first - second over the scenes of some sets; None without a seed that both have.

    Raises:
        ReportError: the runs were tested on different scenes.
    """
    rows = []
    for seed in SEEDS:
        pair = [results.runs.get((arm, length, seed)) for arm in (first, second)]
        if pair[0] is not None and pair[1] is not None:
            a, b = (scene_means(run['scores'], sets) for run in pair if run is not None)
            if a.keys() != b.keys():
                raise ReportError(f'arms {first} and {second} of seed {seed} were tested on different scenes')
            rows.append([a[scene] - b[scene] for scene in a])
    return scene_estimate(rows) if rows and rows[0] else None


def comparisons(results: Results) -> Table:
    """Return the table of the primary and the secondary comparisons."""
    found = results.comparisons
    # a comparison that is missing counts in the correction, so that the other values do not change when it comes
    corrected = holm({name_of(key): 1.0 if (one := found[key]) is None else one.p_value for key in SECONDARY})
    rows = []
    for key, one in found.items():
        title = name_of(key) + (' (primary)' if key == PRIMARY else '')
        if one is None:
            rows.append((title, '', '', '', '', '', '0'))
            continue
        adjusted = '' if key == PRIMARY else f'{corrected[name_of(key)]:.3g}'
        rows.append((title, *_with_interval(one), f'{one.p_value:.2g}', adjusted, _spread(one), str(len(one.by_seed))))
    head = ('arms', 'difference, dB', '95 % interval', 'p', 'p, Holm', 'spread over seeds, dB', 'seeds')
    return Table(head, tuple(rows))


def sets_table(results: Results) -> Table:
    """Return differences on each set alone: those of the comparisons, and those that were not planned."""
    rows = []
    for first, second in (*PLANNED, *NOT_PLANNED):
        note = ' (not planned)' if (first, second) in NOT_PLANNED else ''
        cells = [_in_one_cell(difference(results, first, second, [name])) for name in _SETS]
        rows.append((f'{first} − {second}{note}', *cells))
    return Table(('arms', *(f'{title}, dB' for title in _SETS.values())), tuple(rows))


def name_of(key: tuple[int, int, str]) -> str:
    """Return the name of a comparison."""
    return f'{key[0]} − {key[1]}, {key[2]}'


def _with_interval(one: Estimate) -> tuple[str, str]:
    return f'{one.mean:+.3f}', '' if math.isnan(one.low) else f'{one.low:+.3f} to {one.high:+.3f}'


def _in_one_cell(one: Estimate | None) -> str:
    return '' if one is None else '{} ({})'.format(*_with_interval(one))


def _spread(one: Estimate) -> str:
    return f'{one.spread:.3f}' if len(one.by_seed) > 1 else ''


def arms_table(results: Results, length: Length) -> Table:
    """Return mean PSNR by set, losses and their gap, and the time of all arms of a length."""
    head = ('arm', 'seeds', *(f'{title}, dB' for title in _SETS.values()), 'training loss', 'test loss', 'gap, dB')
    lines = [('blurred images', '', [results.blurred], '')] if results.blurred else []
    for arm in ARMS.values():
        if length in arm.lengths:
            runs, each = results.of(arm.number, length), results.seconds.get(arm.number)
            lines.append(
                (f'{arm.number} {arm.title}', str(len(runs)), runs, '' if each is None else f'{1000 * each:.0f}')
            )
    rows = [(title, seeds, *_means(runs), *_losses(runs, results.blurred), cost) for title, seeds, runs, cost in lines]
    return Table((*head, 'gap − that of blurred images, dB', 'ms a step'), tuple(rows))


def short_table(results: Results) -> Table:
    """Return the differences of the short arms to arms 1 and 4 of the same length."""
    columns, rows = [(other, place) for other in (1, 4) for place in PLACES], []
    for arm in (arm for arm in ARMS.values() if 'short' in arm.lengths):
        cells = [f'{arm.number} {arm.title}']
        for other, place in columns:
            one = None if arm.number == other else difference(results, arm.number, other, PLACES[place], 'short')
            cells += [_in_one_cell(one), '' if one is None else _spread(one)]
        rows.append(tuple(cells))
    head = [title for other, place in columns for title in (f'− arm {other}, {place}, dB', 'spread, dB')]
    return Table(('arm', *head), tuple(rows))


def _losses(runs: Sequence[Mapping[str, Any]], blurred: Mapping[str, Any]) -> list[str]:
    """Return the cells of training loss, test loss, their gap, and how far it exceeds that of the blurred images."""
    if not runs or 'test_loss' not in runs[0]:
        return [''] * 4
    training, test = (statistics.fmean(run[key] for run in runs) for key in ('training_loss', 'test_loss'))
    own = blurred['test_loss'] - blurred['training_loss'] if 'test_loss' in blurred else math.nan
    excess = test - training - own
    return [f'{training:.2f}', f'{test:.2f}', f'{test - training:.2f}', '' if math.isnan(excess) else f'{excess:.2f}']


def _means(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    cells = []
    for name in _SETS:
        means = [statistics.fmean(own.values()) for run in runs if (own := scene_means(run['scores'], [name]))]
        cells.append(f'{statistics.fmean(means):.2f}' if means else '')
    return cells


def bars(results: Results) -> list[Bar]:
    """Return the comparisons as bars of the figure."""
    return [
        Bar(name_of(key), PLANNED[key[:2]], one.mean, one.low, one.high, one.by_seed, strong=key == PRIMARY)
        for key, one in results.comparisons.items()
        if one is not None
    ]


def block(results: Results) -> str:
    """Return the generated part of the page."""
    done, every = len(results.runs), len(all_runs())
    state = (
        f'All {every} runs are finished.' if results.is_complete else f'So far: {done} of {every} runs are finished.'
    )
    parts = [state]
    if bars(results):
        parts += [f'![Differences between arms with 95 % intervals]({FIGURE})', comparisons(results).markdown()]
        parts += ['### How large are the differences on each set?', sets_table(results).markdown()]
    lengths: tuple[Length, ...] = ('long', 'short')
    for length in lengths:
        runs = [content for (_, own, _), content in results.runs.items() if own == length]
        if runs:
            parts += [f'### Scores after {runs[0]["steps"]:,} steps', arms_table(results, length).markdown()]
    if any(own == 'short' for _, own, _ in results.runs):
        parts += ['### How do the short runs differ from arms 1 and 4?', short_table(results).markdown()]
    return '\n\n'.join(parts)


def write_page(folder: Path, page: Path | None = None) -> Path:
    """Write tables and figure into the page, between its two marks.

    Args:
        folder: of the results.
        page: Markdown file with the marks; docs/prior.md if None.

    Raises:
        ReportError: the page has no marks.
    """
    page = page or PAGE
    results = read_results(folder)
    text = page.read_text(encoding='utf-8')
    if not _BLOCK.search(text):
        raise ReportError(f'{page}: the marks <!-- results: ... --> and <!-- end of results --> are missing')
    new = _BLOCK.sub(lambda match: f'{match[1]}\n{block(results)}\n\n{match[2]}', text)
    figure = page.parent / FIGURE
    if drawn := bars(results):
        figure.parent.mkdir(parents=True, exist_ok=True)
        write_whole(figure, draw(drawn).encode())
    write_whole(page, new.encode())
    return page


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise ReportError(f'{file}: cannot be read as a result ({error}); delete it and repeat the run') from error
    if not isinstance(content, dict):
        raise ReportError(f'{file}: is not a result; delete it and repeat the run')
    return content
