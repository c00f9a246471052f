"""Collect rows one by one, in one or several processes, and join them into one report."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from basicsr.images.arrays import Array
from basicsr.metrics import Record
from basicsr.reporting.files import file_stem
from basicsr.reporting.images import ImageFolder, KeptImages, full_images, thumbnails
from basicsr.reporting.report import Definition, ImageRow, Report, RunFacts, listed
from basicsr.utils.errors import ReportError

PARTS = '.parts'


class RowWriter:
    """Writer of the rows and images of one process.

    It is a context manager: the rows are complete when the block ends without an error; with one, they are deleted.
    After that and a barrier, rank 0 calls :func:`join`.

    Args:
        folder: the result folder, ``results/<run>``; created if needed.
        dataset: name of the data set.
        definitions: of the scores.
        total: number of images of the whole data set, over all processes.
        images: which image files to keep; None writes none.
        rank: of this process.
    """

    def __init__(
        self,
        folder: Path,
        dataset: str,
        definitions: Sequence[Definition],
        total: int,
        images: KeptImages | None = None,
        rank: int = 0,
    ) -> None:
        self._how, self._files = images, ImageFolder(folder, dataset)
        self._total, self._definitions = total, definitions
        self._full: dict[int, ImageRow] = {}  # rows with full images on the disk
        self._count = 0
        self._path = _part(folder, dataset, rank)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._part = self._path.open('w', encoding='utf-8')
        except OSError:
            _remove_parts(folder)
            raise

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        done = False
        try:
            with self._part:
                if kind is None:
                    self._line({'complete': self._count})
                    done = True
        finally:
            if not done:
                _remove_parts(self._path.parent.parent, self._path)

    def add(self, row: ImageRow, record: Record, labels: Array | None = None, kernel: Array | None = None) -> ImageRow:
        """Add one image.

        Args:
            row: name and scores; index and name must be unique in the data set.
            record: input ``lq``, rounded output ``output_uint8`` and, if known, ``gt``, all (H, W, 3) RGB or (H, W, 1),
                uint8 or uint16; further channels are ignored. Without kept images, they are not used.
            labels: label map (L, H, W) of the masks; None without masks.
            kernel: (h, w), not negative: the blur kernel estimated by the network; None if it estimates none.

        Returns:
            the row with the paths of its image files; full images may be removed later.

        Raises:
            ShapeError: the sizes of the images differ.
            OSError: the folder is not writable, or the disk is full.
        """
        row = replace(row, name=row.name.encode('utf-8', 'backslashreplace').decode())  # file names may be invalid text
        if self._how is not None:
            files = thumbnails(record, self._how.thumbnail)
            kept = self._how.choose([*self._full.values(), row], self._total, self._definitions)
            if row.index in kept:
                files |= full_images(record, labels, kernel, self._how)
            row = replace(row, images=self._files.write(row.index, row.name, files))
            self._full[row.index] = row
            for index in self._full.keys() - kept:
                self._files.drop_full(self._full.pop(index))
        self._line({'row': dataclasses.asdict(row)})
        self._count += 1
        return row

    def skip(self, name: str, reason: str) -> None:
        """Record an image that cannot be evaluated; the report lists it, averages do not include it.

        Args:
            name: of the image.
            reason: the error.
        """
        self._line({'skipped': [name, reason]})
        self._count += 1

    def _line(self, content: dict[str, Any]) -> None:
        self._part.write(json.dumps(content, default=float) + '\n')  # NaN and infinity in Python's notation
        self._part.flush()


def join(
    folder: Path,
    facts: RunFacts,
    dataset: str,
    definitions: Sequence[Definition],
    total: int,
    images: KeptImages | None = None,
    ranks: int = 1,
) -> Report:
    """Join the rows of all processes into one report in data set order, and delete their temporary files.

    Full images that one process kept, but that are not chosen among all images, are deleted, as are those of an earlier
    run.

    Args:
        folder: as for ``RowWriter``.
        facts: about the run.
        dataset: as for ``RowWriter``.
        definitions: as for ``RowWriter``.
        total: as for ``RowWriter``; the rows must be complete.
        images: as for ``RowWriter``.
        ranks: number of processes; each must have used a ``RowWriter``, even without images.

    Raises:
        ReportError: a process did not finish, or images are missing or duplicate.
    """
    rows: list[ImageRow] = []
    skipped: dict[str, str] = {}
    for rank in range(ranks):
        part_rows, part_skipped = _read_part(_part(folder, dataset, rank), rank)
        rows += part_rows
        skipped |= part_skipped
    rows.sort(key=lambda row: row.index)
    _check_all_came(dataset, rows, len(skipped), total)

    if images is not None:
        files = ImageFolder(folder, dataset)
        kept = images.choose(rows, total, definitions)
        rows = [row if row.index in kept else files.drop_full(row) for row in rows]
        files.drop_strangers(rows)
    scale = None if images is None else images.error_scale
    report = Report(facts, dataset, tuple(definitions), tuple(rows), dict(sorted(skipped.items())), scale)
    _remove_parts(folder, *(folder / PARTS).glob(f'{file_stem(dataset)}.rank*.jsonl'))
    return report


def _remove_parts(folder: Path, *paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # other processes or data sets have theirs
        (folder / PARTS).rmdir()


def _part(folder: Path, dataset: str, rank: int) -> Path:
    return folder / PARTS / f'{file_stem(dataset)}.rank{rank}.jsonl'


def _read_part(path: Path, rank: int) -> tuple[list[ImageRow], dict[str, str]]:
    rows, skipped, complete = [], {}, None
    try:
        lines = [json.loads(line) for line in path.read_bytes().splitlines()]
        for line in lines:
            if 'row' in line:
                rows.append(_ROW.validate_python(line['row']))
            elif 'skipped' in line:
                skipped[line['skipped'][0]] = line['skipped'][1]
            else:
                complete = line['complete']
    except FileNotFoundError as error:
        raise ReportError(f'{path}: rank {rank} wrote no rows; did it fail, or use another folder?') from error
    except (ValueError, ValidationError) as error:
        raise ReportError(f'{path}: the rows of rank {rank} are damaged ({error}); repeat the evaluation') from error
    if complete != len(rows) + len(skipped):
        raise ReportError(f'{path}: rank {rank} stopped after {len(rows)} images; repeat the evaluation')
    return rows, skipped


_ROW = TypeAdapter(ImageRow)


def _check_all_came(dataset: str, rows: Sequence[ImageRow], skipped: int, total: int) -> None:
    indices = [row.index for row in rows]
    twice = [row.name for row, following in zip(rows, indices[1:], strict=False) if row.index == following]
    if twice:
        raise ReportError(f'{dataset}: evaluated more than once: {listed(twice)}; each image must go to one process')
    if len(rows) + skipped != total:
        gone = np.setdiff1d(np.arange(total), indices)[:10].tolist()
        raise ReportError(
            f'{dataset}: {len(rows)} images scored and {skipped} skipped, of {total}; missing indices: {gone}'
        )
