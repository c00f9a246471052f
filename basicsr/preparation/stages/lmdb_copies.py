"""Stage ``lmdb``: write an LMDB next to every folder that the data sets read."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Literal

from basicsr.data.stores.base import FolderStore
from basicsr.data.stores.lmdb import LmdbStore, write_lmdb
from basicsr.images.files import IMAGE_SUFFIXES
from basicsr.masks.files import SUFFIXES as MASK_SUFFIXES
from basicsr.preparation.output_files import writing
from basicsr.preparation.plan import CROPS, LABELS, TRAIN_GRAY, Plan
from basicsr.preparation.stages.base import StageCounts, total
from basicsr.preparation.worker_pool import Pool
from basicsr.utils.errors import BasicsrError, DataError, OutputError


def run(plan: Plan, part: str, pool: Pool) -> StageCounts:
    """Write the LMDB of a part. Whole images get none where there are crops."""
    folder, train = plan.out / part, part == 'train'
    kinds: dict[str, Literal['images', 'masks']] = dict.fromkeys(CROPS.values() if train else CROPS, 'images')
    kinds |= dict.fromkeys([LABELS[part], *([TRAIN_GRAY] if train else plan.benchmark.cat_test.values())], 'masks')
    return total(
        _copy(folder / name, kinds[name], plan.force)
        for name in pool.with_bar(kinds, len(kinds), f'{part}: LMDB')
        if (folder / name).is_dir()
    )


def settings(plan: Plan, part: str) -> dict[str, Any]:
    """Return no settings: the folders determine the LMDB."""
    return {}


def _copy(source: Path, kind: Literal['images', 'masks'], again: bool) -> StageCounts:
    """Write ``<source>.lmdb``, or keep it if it has the same names."""
    import lmdb

    target = source.with_name(f'{source.name}.lmdb')
    try:
        if target.exists() and not again:
            store = FolderStore(source, IMAGE_SUFFIXES if kind == 'images' else MASK_SUFFIXES)
            if LmdbStore(target).keys != sorted(map(store.stem, store.keys)):
                raise DataError(f'{target}: its keys differ from the files in {source}; recreate it with --force')
            return StageCounts(0, 1, {})
        with writing(target):
            if target.exists():
                shutil.rmtree(target)
            write_lmdb(source, target, kind)
    except lmdb.Error as error:
        raise OutputError(
            f'{target}: cannot be written ({error}); free disk space and run the command again'
        ) from error
    except OutputError:
        raise
    except BasicsrError as error:
        return StageCounts(0, 0, {str(source): str(error)})
    return StageCounts(1, 0, {})
