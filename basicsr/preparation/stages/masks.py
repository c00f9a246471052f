"""Stage ``masks``: make a label map of every whole image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from basicsr.masks.generator import build_generator
from basicsr.masks.making import make_masks
from basicsr.preparation.output_files import writing
from basicsr.preparation.plan import Plan
from basicsr.preparation.stages.base import FolderShare, StageCounts, run_shares, total
from basicsr.preparation.worker_pool import Pool
from basicsr.utils.device import device_of_process


def run(plan: Plan, part: str, pool: Pool) -> StageCounts:
    """Make the label maps of a part."""
    folder = plan.out / part
    return total(
        run_shares(mask_share, plan, folder / source, folder / target, plan.generator, pool)
        for target, source in plan.mask_folders(part).items()
    )


def settings(plan: Plan, part: str) -> dict[str, Any]:
    """Return the settings that determine the masks."""
    return {'generator': build_generator(plan.generator).settings, 'made_of': plan.mask_folders(part)}


def mask_share(share: FolderShare, block: Mapping[str, Any]) -> StageCounts:
    """Make the masks of a share with the generator that ``block`` describes."""
    block = dict(block)
    if 'device' in block:
        block['device'] = device_of_process(block['device'], share.index)
    generator, shard = build_generator(block), (share.index, share.count)
    with writing(share.target):
        done = make_masks(share.source, share.target, generator, shard, (), share.again, progress=share.progress)
    failed = {str(share.source / name): reason for name, reason in done.failed.items()}
    return StageCounts(done.made, done.kept, failed)
