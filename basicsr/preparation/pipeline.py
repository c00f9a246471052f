"""Prepare a benchmark stage by stage: from its download to the folders that the option files name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from basicsr.preparation.dataset_record import (
    claim_stage,
    digest,
    locked_folder,
    read_dataset_record,
    write_dataset_record,
)
from basicsr.preparation.layouts import FoundBenchmark, check_counts, find_benchmark, where_to_get
from basicsr.preparation.plan import NEEDS_WEIGHTS, STAGES, USUAL_STAGES, Plan
from basicsr.preparation.stages import convert, crops, group, lmdb_copies, masks, predeblur
from basicsr.preparation.stages.base import StageCounts
from basicsr.preparation.worker_pool import Pool
from basicsr.utils.errors import ArgumentError, DataError
from basicsr.version import __version__

_MODULES: Any = {'crops': crops, 'predeblur': predeblur, 'masks': masks, 'group': group, 'lmdb': lmdb_copies}
_UNKNOWN_BLUR = 'kind of blur not told by this layout'  # records of version 0.1 have this text


@dataclass
class PreparationReport:
    """The result of a run.

    Args:
        lines: one line for each stage and part, for printing.
        failed: error message of each file that could not be used.
    """

    lines: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def prepare(
    plan: Plan,
    stages: Sequence[str] = USUAL_STAGES,
    shown: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> PreparationReport:
    """Run stages in their order. Existing files are kept, so an interrupted run can be continued.

    Args:
        plan: the settings.
        stages: names from ``STAGES``.
        shown: whether to show progress bars.
        say: called with each line of the report as soon as it is known.

    Raises:
        DataError: the set is missing or incomplete; a previous stage is missing; the folder has other settings.
        OutputError: a file cannot be written.
        ArgumentError: a stage is unknown, or the settings do not fit.
        WeightsError: the weights do not fit the network.
    """
    todo = _in_order(plan, stages)
    found = look(plan) if 'convert' in stages else None  # a missing set is reported before missing weights
    if plan.network is None and any(stage == 'predeblur' for stage, _ in todo):
        raise DataError(NEEDS_WEIGHTS)
    report = PreparationReport()

    def add(line: str) -> None:
        report.lines.append(line)
        say(line)

    with locked_folder(plan.out), Pool(plan.workers, shown) as pool:
        record = read_dataset_record(plan.out)
        if record.get('set', plan.benchmark.key) != plan.benchmark.key:
            raise DataError(f'{plan.out} contains {record["set"]}; use another --out')
        record |= {'set': plan.benchmark.key, 'name': plan.benchmark.name, 'page': plan.benchmark.page}
        record['basicsr'] = __version__
        if found is not None:
            record['source'] = str(found.folder)
            for line in _about(plan, found):
                add(line)
        for stage, part in todo:
            settings = _settings(plan, stage, part, record, found)
            again = claim_stage(plan.out, record, stage, part, settings, plan.force)
            stage_plan = replace(plan, force=again)
            if stage == 'convert' and found is not None:
                counts = _convert(stage_plan, part, found, record, pool)
            else:
                counts = _MODULES[stage].run(stage_plan, part, pool)
            names = {Path(name).name: reason for name, reason in sorted(counts.failed.items())}
            record['stages'][stage][part] = {'settings': settings, 'files': counts.made + counts.kept, 'failed': names}
            write_dataset_record(plan.out, record)
            report.failed |= counts.failed
            add(f'{part} {stage}: {counts.made} made, {counts.kept} kept, {len(counts.failed)} failed')
    return report


def look(plan: Plan) -> FoundBenchmark:
    """Find the set and compare its counts.

    Raises:
        DataError: see ``find_benchmark`` and ``check_counts``.
    """
    if plan.root is None:
        raise DataError(f'the stage convert needs --root, the folder of the download. {where_to_get(plan.benchmark)}')
    layout = plan.layout
    if layout is None and plan.root.resolve() == plan.out.resolve():  # the folder also contains the result
        known = read_dataset_record(plan.out).get('stages', {}).get('convert', {})
        layout = next((entry['settings']['layout'] for entry in known.values()), None)
    found = find_benchmark(plan.benchmark, plan.root, plan.all_parts, plan.blur, layout)
    check_counts(plan.benchmark, found, plan.allow_partial)
    return found


def describe_plan(plan: Plan, stages: Sequence[str]) -> list[str]:
    """Describe in lines what :func:`prepare` would do, without writing anything. Raises the same errors."""
    todo = _in_order(plan, stages)
    lines = [*_about(plan, look(plan)), f'into {plan.out}:'] if 'convert' in stages else [f'in {plan.out}:']
    return lines + [f'  {part} {stage}' for stage, part in todo]


def hints(plan: Plan, stages: Iterable[str]) -> list[str]:
    """Return options that an option file needs to use the result."""
    parts = [part for part in plan.all_parts if part != 'train' and not plan.predeblurs(part)]
    if 'group' not in stages or 'predeblurred' not in plan.benchmark.cat_test or not parts:
        return []
    gray = plan.out / parts[0] / plan.benchmark.cat_test['blurred']
    return [
        'The gray masks (CAT) of the test images were made from the blurred images, not from pre-deblurred ones. '
        f'To use them, run CAT.yml with --force_yml datasets:val:dataroot_mask={gray}'
    ]


def _in_order(plan: Plan, stages: Iterable[str]) -> list[tuple[str, str]]:
    """Return every (stage, part) that has work."""
    unknown = [stage for stage in stages if stage not in STAGES]
    if unknown:
        raise ArgumentError(f"unknown stage '{unknown[0]}'; the stages are {', '.join(STAGES)}")
    chosen = [stage for stage in STAGES if stage in stages]
    return [(stage, part) for stage in chosen for part in plan.all_parts if plan.applies(stage, part)]


def _about(plan: Plan, found: FoundBenchmark) -> list[str]:
    """Describe the files found, and mark missing ones as PARTIAL."""
    counts = ', '.join(f'{len(pairs)} {part} pairs' for part, pairs in found.pairs.items())
    if plan.benchmark.unit == 'sequences':
        numbers = {part: plan.benchmark.count(pair.stem for pair in pairs) for part, pairs in found.pairs.items()}
        counts += f' ({", ".join(f"{number} {part} sequences" for part, number in numbers.items())})'
    lines = [f'{plan.benchmark.name}: {counts}, {found.layout.name} layout in {found.folder}, {_blur(plan, found)}']
    return lines + [f'PARTIAL: {line}' for line in check_counts(plan.benchmark, found, True)]


def _blur(plan: Plan, found: FoundBenchmark) -> str:
    """Return the kind of blur, as it is also written to the record."""
    if not plan.benchmark.blurs:
        return 'one kind of blur'
    if '{blur}' in found.layout.lq:
        return plan.blur or plan.benchmark.blurs[0]
    return f'{plan.blur}, as the command says' if plan.blur else _UNKNOWN_BLUR


def _settings(
    plan: Plan, stage: str, part: str, record: Mapping[str, Any], found: FoundBenchmark | None
) -> dict[str, Any]:
    """Return the settings that determine the files of a stage; ``after`` stands for those of the stages before it."""
    if stage == 'convert' and found is not None:
        return {'layout': found.layout.name, 'blur': _blur(plan, found)}
    needed = {'group': ['masks'], 'masks': ['convert', 'predeblur'] if plan.predeblurs(part) else ['convert']}
    done = record.get('stages', {})
    before = []
    for each in needed.get(stage, ['convert']):
        if part not in done.get(each, {}):
            raise DataError(f"{plan.out / part}: stage '{stage}' needs '{each}', which was not run; run it first")
        before.append(done[each][part]['settings'])
    return {'after': digest(before), **_MODULES[stage].settings(plan, part)}


def _convert(plan: Plan, part: str, found: FoundBenchmark, record: dict[str, Any], pool: Pool) -> StageCounts:
    """Run the first stage and record the number and sizes of the pairs."""
    counts, sizes = convert.run(plan, part, found, pool)
    pairs, expected = counts.made + counts.kept, plan.benchmark.counts[part]
    number = plan.benchmark.count(pair.stem for pair in found.pairs[part])
    record.setdefault('parts', {})[part] = {
        'expected': expected,
        'found': number,
        'pairs': pairs,
        'complete': number == expected and not counts.failed,
        'sizes': sizes,
    }
    return counts
