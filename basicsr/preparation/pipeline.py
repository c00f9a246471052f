"""A benchmark from the form it is offered in to the folders that the option files name, stage by stage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from basicsr.masks.generator import build_generator
from basicsr.preparation.layouts import Found, check_counts, recognise, where_to_get
from basicsr.preparation.plan import NEEDS_WEIGHTS, STAGES, USUAL_STAGES, Plan
from basicsr.preparation.record import alone_in, claim, digest, read_record, write_record
from basicsr.preparation.stages.steps import Counts, convert, crop, group, make_lmdb, predeblur, segment
from basicsr.preparation.worker_pool import Pool, Progress, silent
from basicsr.utils.errors import ArgumentError, DataError
from basicsr.utils.files import sha256_of
from basicsr.version import __version__

_STEPS = {'crops': crop, 'predeblur': predeblur, 'masks': segment, 'group': group, 'lmdb': make_lmdb}


@dataclass
class Report:
    """What a run did.

    Args:
        lines: one for each stage and part, for people.
        failed: files that could not be used, with the reasons.
    """

    lines: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def prepare(
    plan: Plan,
    stages: Sequence[str] = USUAL_STAGES,
    progress: Progress = silent,
    say: Callable[[str], None] = lambda line: None,
) -> Report:
    """Run stages in their order; finished files are kept, so a run that was interrupted goes on where it was.

    Args:
        plan: what is to be prepared.
        stages: names out of ``STAGES``.
        progress: shows how far a stage is.
        say: gets each line of the report as soon as it is known.

    Raises:
        DataError: the set is not there or not complete; a stage lacks an earlier one; other settings were used before.
        OutputError: nothing can be written.
        ArgumentError, WeightsError: what is to be run does not fit.
    """
    todo = _in_order(plan, stages)
    found = look(plan) if 'convert' in stages else None  # who has no data set needs no advice about weights yet
    if plan.network is None and any(stage == 'predeblur' for stage, _ in todo):
        raise DataError(NEEDS_WEIGHTS)
    report = Report()

    def tell(line: str) -> None:
        report.lines.append(line)
        say(line)

    with alone_in(plan.out), Pool(plan.workers) as pool:
        record = read_record(plan.out)
        if record.get('set', plan.benchmark.key) != plan.benchmark.key:
            raise DataError(f'{plan.out} holds {record["set"]}; use another --out')
        record |= {'set': plan.benchmark.key, 'name': plan.benchmark.name, 'page': plan.benchmark.page}
        record['basicsr'] = __version__
        if found is not None:
            record['source'] = str(found.folder)
            for line in _about(plan, found):
                tell(line)
        for stage, part in todo:
            settings = _settings(plan, stage, part, record, found)
            again = claim(plan.out, record, stage, part, settings, plan.force)
            made, kept, failed = _run(replace(plan, force=again), stage, part, found, record, pool, progress)
            names = {Path(name).name: reason for name, reason in sorted(failed.items())}
            record['stages'][stage][part] = {'settings': settings, 'files': made + kept, 'failed': names}
            write_record(plan.out, record)
            report.failed |= failed
            tell(f'{part} {stage}: {made} made, {kept} there already, {len(failed)} failed')
    return report


def look(plan: Plan) -> Found:
    """Find the set and compare its counts.

    Raises:
        DataError: see ``recognise`` and ``check_counts``.
    """
    if plan.root is None:
        page = where_to_get(plan.benchmark)
        raise DataError(f'the stage convert needs --root, the folder of what was downloaded. {page}')
    layout = plan.layout
    if layout is None and plan.root.resolve() == plan.out.resolve():  # the result lies beside its source
        known = read_record(plan.out).get('stages', {}).get('convert', {})
        layout = next((entry['settings']['layout'] for entry in known.values()), None)
    found = recognise(plan.benchmark, plan.root, plan.all_parts, plan.blur, layout)
    check_counts(plan.benchmark, found, plan.allow_partial)
    return found


def describe(plan: Plan, stages: Sequence[str]) -> list[str]:
    """What :func:`prepare` would do, without writing anything; errors as there."""
    todo = _in_order(plan, stages)
    lines = [*_about(plan, look(plan)), f'into {plan.out}:'] if 'convert' in stages else [f'in {plan.out}:']
    return lines + [f'  {part} {stage}' for stage, part in todo]


def hints(plan: Plan, stages: Iterable[str]) -> list[str]:
    """What a user may have to tell an option file after this."""
    parts = [part for part in plan.all_parts if part != 'train' and not plan.predeblurs(part)]
    if 'group' not in stages or 'predeblurred' not in plan.benchmark.cat_test or not parts:
        return []
    gray = plan.out / parts[0] / plan.benchmark.cat_test['blurred']
    return [
        f'The CAT pictures of the test images were made from the blurred images, not from pre-deblurred ones: '
        f'CAT.yml takes them with --force_yml datasets:val:dataroot_mask={gray}'
    ]


def _in_order(plan: Plan, stages: Iterable[str]) -> list[tuple[str, str]]:
    """Every (stage, part) that there is work for."""
    unknown = [stage for stage in stages if stage not in STAGES]
    if unknown:
        raise ArgumentError(f"no stage is called '{unknown[0]}'; they are {', '.join(STAGES)}")
    chosen = [stage for stage in STAGES if stage in stages]
    return [(stage, part) for stage in chosen for part in plan.all_parts if plan.applies(stage, part)]


def _about(plan: Plan, found: Found) -> list[str]:
    """What was found, and loudly what was not."""
    counts = ', '.join(f'{len(pairs)} {part} pairs' for part, pairs in found.pairs.items())
    lines = [f'{plan.benchmark.name}: {counts}, {found.layout.name} layout in {found.folder}, {_blur(plan, found)}']
    return lines + [f'PARTIAL: {line}' for line in check_counts(plan.benchmark, found, True)]


def _blur(plan: Plan, found: Found) -> str:
    if not plan.benchmark.blurs:
        return 'one kind of blur'
    if found.layout.tells_blur:
        return plan.blur or plan.benchmark.blurs[0]
    return f'{plan.blur}, as the command says' if plan.blur else 'kind of blur not told by this layout'


def _settings(plan: Plan, stage: str, part: str, record: Mapping[str, Any], found: Found | None) -> dict[str, Any]:
    """All that decides the files of a stage; ``after`` names the settings of the stages that it follows."""
    if stage == 'convert' and found is not None:
        return {'layout': found.layout.name, 'blur': _blur(plan, found)}
    needed = {'group': ['masks'], 'masks': ['convert', 'predeblur'] if plan.predeblurs(part) else ['convert']}
    done = record.get('stages', {})
    before = []
    for each in needed.get(stage, ['convert']):
        if part not in done.get(each, {}):
            raise DataError(f"{plan.out / part}: stage '{stage}' comes after '{each}', which was not done; do it first")
        before.append(done[each][part]['settings'])
    settings: dict[str, Any] = {'after': digest(before)}
    if stage == 'crops':
        settings |= {'size': plan.crop[0], 'step': plan.crop[1]}
    elif stage == 'predeblur' and plan.network is not None:
        if not plan.network.weights.is_file():
            raise DataError(f'{plan.network.weights}: no such file (--predeblur-weights)')
        settings |= {'network': dict(plan.network.block), 'weights_sha256': sha256_of(plan.network.weights)}
    elif stage == 'masks':
        origins = plan.mask_folders(part)
        settings |= {'generator': build_generator(plan.generator).settings, 'made_of': origins}
    elif stage == 'group':
        settings |= {'format': 'original' if plan.original_masks else 'label_map'}
        settings |= {'crop': list(plan.crop)} if part == 'train' else {}
    return settings


def _run(
    plan: Plan, stage: str, part: str, found: Found | None, record: dict[str, Any], pool: Pool, progress: Progress
) -> Counts:
    if stage == 'convert' and found is not None:
        counts, sizes = convert(plan, part, found.pairs[part], pool, progress)
        pairs = counts[0] + counts[1]
        expected = plan.benchmark.counts[part]
        record.setdefault('parts', {})[part] = {
            'expected': expected,
            'found': len(found.pairs[part]),
            'pairs': pairs,
            'complete': pairs == expected,
            'sizes': dict(sizes),
        }
        return counts
    return _STEPS[stage](plan, part, pool, progress)
