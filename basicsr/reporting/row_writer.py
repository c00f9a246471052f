"""Rows that arrive one by one, in one process or several, and become one report."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from basicsr.reporting.files import file_stem
from basicsr.reporting.pictures import Choice, PictureFolder, Pictures, full_pictures, thumbnails
from basicsr.reporting.records import Definition, ImageRow, Report, RunFacts, listed
from basicsr.utils.errors import ReportError

Array: TypeAlias = NDArray[Any]

PARTS = '.parts'


class RowWriter:
    """Takes the images of one process as they are done, and keeps their rows and pictures on the disk.

    A context manager: rows count once the block has ended without an error. Afterwards, and after a barrier,
    rank 0 calls :func:`join`.

    Args:
        folder: the result folder, ``results/<run>``; made if it is missing.
        dataset: name of the data set.
        definitions: of the scores' labels.
        total: number of images of the whole data set, over all processes.
        pictures: which pictures are kept; None writes none.
        rank: of this process.
    """

    def __init__(
        self,
        folder: Path,
        dataset: str,
        definitions: Sequence[Definition],
        total: int,
        pictures: Pictures | None = None,
        rank: int = 0,
    ) -> None:
        self._pictures = pictures
        self._files = PictureFolder(folder, dataset)
        self._choice = None if pictures is None else Choice(pictures, total, definitions)
        self._full: dict[int, ImageRow] = {}  # rows whose full pictures are on the disk
        self._count = 0
        path = _part(folder, dataset, rank)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._part = path.open('w', encoding='utf-8')

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._part:
            if kind is None:
                self._line({'complete': self._count})

    def add(
        self,
        *,
        index: int,
        name: str,
        lq: Array,
        output: Array,
        gt: Array | None = None,
        labels: Array | None = None,
        kernel: Array | None = None,
        scores: Mapping[str, float] | None = None,
        input_scores: Mapping[str, float] | None = None,
        collapsed: bool | None = None,
        seconds: float | None = None,
        tiled: bool = False,
        marks: Sequence[str] = (),
        group: str = '',
    ) -> ImageRow:
        """Take one image.

        Args:
            index: position in the data set; each image comes once, from one process.
            name: unlike that of every other image of the data set: the path below its folder, without the suffix.
            lq: blurred input, (H, W, 3) RGB or (H, W, 1), uint8 or uint16; further channels are left out.
            output: rounded as a saved file holds it, of the same form.
            gt: ground truth of the same form; None if there is none.
            labels: label map (L, H, W) of the masks; None if there are none.
            kernel: (h, w), not negative: the blur kernel that the network found; None if there is none.
            scores: of the output, by label; the mode collapse rate goes to ``collapsed``.
            input_scores: of the blurred input, by label.
            collapsed: whether the score of ``mcr`` is 100; None if it was not scored.
            seconds: the network took.
            tiled: whether the image was cut into tiles.
            marks: as 'psnr_realblur: not_aligned'.
            group: of the images that it is scored with apart from the others.

        Returns:
            the row, with paths of the pictures written now; not all of them need stay.

        Raises:
            ShapeError: pictures whose sizes differ.
            OSError: the folder cannot be written, or the disk is full.
        """
        row = ImageRow(
            index=index,
            name=name.encode('utf-8', 'backslashreplace').decode(),  # file names need not be valid text
            height=int(output.shape[0]),
            width=int(output.shape[1]),
            scores={label: float(value) for label, value in (scores or {}).items()},
            input_scores={label: float(value) for label, value in (input_scores or {}).items()},
            collapsed=None if collapsed is None else bool(collapsed),
            seconds=None if seconds is None else float(seconds),
            tiled=tiled,
            marks=tuple(marks),
            group=group,
        )
        if self._pictures is not None:
            row = self._with_pictures(row, lq, output, gt, labels, kernel)
        self._line({'row': dataclasses.asdict(row)})
        self._count += 1
        return row

    def skip(self, name: str, reason: str) -> None:
        """Note an image that cannot be evaluated; it is named in the report and in no average.

        Args:
            name: as for ``add``.
            reason: what is wrong with it.
        """
        self._line({'skipped': [name, reason]})
        self._count += 1

    def _with_pictures(
        self, row: ImageRow, lq: Array, output: Array, gt: Array | None, labels: Array | None, kernel: Array | None
    ) -> ImageRow:
        assert self._pictures is not None and self._choice is not None  # noqa: S101 - for the type checker
        files = thumbnails(lq, output, gt, self._pictures.thumbnail)
        self._choice.offer(row)
        kept = self._choice.kept
        if row.index in kept:
            files |= full_pictures(lq, output, gt, labels, self._pictures, kernel)
        row = replace(row, pictures=self._files.write(row.index, row.name, files))
        self._full[row.index] = row
        for index in self._full.keys() - kept:
            self._files.drop_full(self._full.pop(index))
        return row

    def _line(self, content: dict[str, Any]) -> None:
        self._part.write(json.dumps(content) + '\n')  # NaN and infinity as Python writes and reads them
        self._part.flush()


def join(
    folder: Path,
    facts: RunFacts,
    dataset: str,
    definitions: Sequence[Definition],
    total: int,
    pictures: Pictures | None = None,
    ranks: int = 1,
) -> Report:
    """Make one report of the rows of all processes, in data set order; their temporary files are removed.

    Full pictures that lead among the images of one process but not among all are removed, as are those of an
    earlier run.

    Args:
        folder: as for ``RowWriter``.
        facts: about the run.
        dataset: as for ``RowWriter``.
        definitions: as for ``RowWriter``.
        total: as for ``RowWriter``; so many images must have come.
        pictures: as for ``RowWriter``.
        ranks: number of processes; each has had a ``RowWriter``, also one without images.

    Raises:
        ReportError: a process has not finished, or images are missing or came twice.
    """
    rows: list[ImageRow] = []
    skipped: dict[str, str] = {}
    for rank in range(ranks):
        part_rows, part_skipped = _read_part(_part(folder, dataset, rank), rank)
        rows += part_rows
        skipped |= part_skipped
    rows.sort(key=lambda row: row.index)
    _check_all_came(dataset, rows, len(skipped), total)

    if pictures is not None:
        choice, files = Choice(pictures, total, definitions), PictureFolder(folder, dataset)
        for row in rows:
            choice.offer(row)
        kept = choice.kept
        rows = [row if row.index in kept else files.drop_full(row) for row in rows]
        files.drop_strangers(rows)
    scale = None if pictures is None else pictures.error_scale
    report = Report(facts, dataset, tuple(definitions), tuple(rows), dict(sorted(skipped.items())), scale)
    for path in (folder / PARTS).glob(f'{file_stem(dataset)}.rank*.jsonl'):
        path.unlink()
    if not any((folder / PARTS).iterdir()):
        (folder / PARTS).rmdir()
    return report


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
        raise ReportError(f'{path}: rank {rank} has written no rows; did it fail, or not see this folder?') from error
    except (ValueError, ValidationError) as error:
        raise ReportError(f'{path}: the rows of rank {rank} are damaged ({error}); evaluate again') from error
    if complete != len(rows) + len(skipped):
        raise ReportError(f'{path}: rank {rank} has stopped after {len(rows)} images; evaluate again')
    return rows, skipped


_ROW = TypeAdapter(ImageRow)


def _check_all_came(dataset: str, rows: Sequence[ImageRow], skipped: int, total: int) -> None:
    indices = [row.index for row in rows]
    twice = [row.name for row, following in zip(rows, indices[1:], strict=False) if row.index == following]
    if twice:
        raise ReportError(f'{dataset}: evaluated more than once: {listed(twice)}; each image goes to one process')
    if len(rows) + skipped != total:
        gone = np.setdiff1d(np.arange(total), indices)[:10].tolist()
        raise ReportError(
            f'{dataset}: {len(rows)} images came and {skipped} were skipped, of {total}; see indices {gone}'
        )
