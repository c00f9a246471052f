"""Read and write reports: as JSON without loss, as CSV for spreadsheets."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
import math
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from basicsr.metrics import Average
from basicsr.reporting.figures import figures_of
from basicsr.reporting.report import MCR, ImageRow, Report
from basicsr.utils.errors import ReportError
from basicsr.utils.files import read_json, write_whole

FORMAT = 'basicsr report 1'
FIXED_COLUMNS = ('index', 'name', 'width', 'height', 'seconds', 'tiled', 'collapsed', 'marks', 'group')
INPUT = '_input'
NOTE = 'JSON cannot store infinity and NaN: they are null, and not_finite lists them by place'


def file_stem(name: str) -> str:
    """Convert the name of a data set or image to a valid part of a file name.

    Characters other than letters, digits, ``.``, ``_`` and ``-`` are replaced, and a hash makes such names unique.

    Example:
        >>> file_stem('GoPro'), file_stem('a/b')
        ('GoPro', 'a_b-c14cdd')
    """
    plain = re.sub(r'[^A-Za-z0-9._-]+', '_', name).lstrip('.-')[:60].rstrip('.')
    return plain if plain and plain == name else f'{plain or "_"}-{hashlib.sha256(name.encode()).hexdigest()[:6]}'


def write_report(folder: Path, report: Report) -> tuple[Path, Path]:
    """Write ``<dataset>.json`` and ``<dataset>.csv``, and figures as ``<dataset>_<label>.svg``, atomically.

    Args:
        folder: the result folder, ``results/<run>``; created if needed.
        report: of one data set.

    Returns:
        paths of the JSON and the CSV file.

    Raises:
        OSError: the folder is not writable, or the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stem = file_stem(report.dataset)
    for suffix, text in (('.csv', csv_text(report)), ('.json', json_text(report))):
        write_whole(folder / f'{stem}{suffix}', text.encode())
    for label, figure in figures_of({report.facts.run: report}).items():
        write_whole(folder / figure_file(report, label), figure.encode())
    return folder / f'{stem}.json', folder / f'{stem}.csv'


def figure_file(report: Report, label: str) -> str:
    """Return the name of the file of a figure."""
    return f'{file_stem(report.dataset)}_{file_stem(label)}.svg'


def json_text(report: Report) -> str:
    """Return a report as strict JSON."""
    averages_of: dict[str, Callable[[str], Average]] = {
        'output': report.average,
        'blurred input': report.input_average,
        **{name: partial(report.baseline_average, name) for name in report.baselines},
    }
    averages = {
        which: {
            label: {**dataclasses.asdict(average), 'mean': average.mean}
            for label, average in ((item.label, average_of(item.label)) for item in report.definitions)
        }
        for which, average_of in averages_of.items()
    }
    not_finite: dict[str, str] = {}
    stored = {**dataclasses.asdict(report), 'rows': [_stored(row) for row in report.rows]}
    body = _finite({'averages': averages, 'report': stored}, '', not_finite)
    head = {'format': FORMAT, 'note': NOTE, 'not_finite': not_finite}
    return json.dumps({**head, **body}, ensure_ascii=False, allow_nan=False, indent=1) + '\n'


def read_report(path: Path) -> Report:
    """Read a JSON report.

    Args:
        path: ``results/<run>/<dataset>.json``.

    Raises:
        ReportError: the file is missing, damaged or not a report.
    """
    tree = read_json(path, ReportError, 'repeat the evaluation')
    if not isinstance(tree, dict) or tree.get('format') != FORMAT:
        raise ReportError(f"{path}: not a report (its 'format' is not '{FORMAT}'); use a JSON file of an evaluation")
    try:
        for place, value in tree['not_finite'].items():
            _put(tree, place, float(value))
        stored = tree['report']
        return TypeAdapter(Report).validate_python(
            {**stored, 'rows': [_read_row(row) for row in stored.get('rows', ())]}
        )
    except ValidationError as error:
        problems = '; '.join(f'{".".join(map(str, item["loc"]))}: {item["msg"]}' for item in error.errors()[:5])
        raise ReportError(f'{path}: damaged ({problems}); repeat the evaluation') from error
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise ReportError(f'{path}: damaged ({error!r}); repeat the evaluation') from error


def read_reports(folder: Path) -> list[Report]:
    """Read all reports of a result folder, sorted by the names of their data sets.

    Raises:
        ReportError: not a folder, no reports, or a damaged report.
    """
    if not folder.is_dir():
        raise ReportError(f'{folder} is not a folder; use a result folder such as results/<run>')
    reports = [read_report(path) for path in sorted(folder.glob('*.json')) if _is_report(path)]
    if not reports:
        raise ReportError(f'{folder} contains no reports (*.json of an evaluation)')
    return reports


def _is_report(path: Path) -> bool:
    """Return whether a JSON file is meant as a report, even if it is damaged."""
    with path.open('rb') as file:
        return FORMAT.encode() in file.read(200)


def csv_text(report: Report) -> str:
    """Return the rows as RFC 4180: ``index, name, ...``, each label for the output and (``_input``) for the input.

    Then follow the labels of baselines, such as ``psnr_unsharp_mask``.

    Numbers have a decimal point and read back exactly; missing values are empty.
    """
    stream = io.StringIO(newline='')
    writer = csv.writer(stream, lineterminator='\r\n')
    labels = [name for label in report.labels for name in (label, label + INPUT)]
    others = [(name, label) for name in report.baselines for label in report.labels]
    columns = [f'{label}_{name.lower().replace(" ", "_")}' for name, label in others]
    writer.writerow([*FIXED_COLUMNS, *labels, *columns])
    for row in map(_stored, report.rows):
        row['marks'] = '; '.join(row['marks'])
        scores = [row[kind].get(label) for label in report.labels for kind in ('scores', 'input_scores')]
        scores += [row['baselines'].get(name, {}).get(label) for name, label in others]
        values = (*(row[key] for key in FIXED_COLUMNS), *scores)
        writer.writerow([str(value).lower() if isinstance(value, bool) else value for value in values])
    return stream.getvalue()


def _stored(row: ImageRow) -> dict[str, Any]:
    """Return a row as files store it, with the keys of version 0.1 for its images and the mode collapse rate."""
    content = dataclasses.asdict(row)
    content['pictures'] = content.pop('images')
    scores = {kind: {label: value for label, value in content.pop(kind).items() if label != MCR} for kind in _SCORES}
    head = {key: content.pop(key) for key in ('index', 'name', 'height', 'width')}
    return {**head, **scores, 'collapsed': row.collapsed, **content}


def _read_row(stored: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a row from those of :func:`_stored`; the blurred input is never collapsed."""
    stored = {**stored, 'images': stored.get('pictures', {})}
    if stored.get('collapsed') is None:
        return stored
    rates = {'scores': 100.0 * stored['collapsed'], 'input_scores': 0.0}
    return {**stored, **{kind: {**stored.get(kind, {}), MCR: rate} for kind, rate in rates.items()}}


_SCORES = ('scores', 'input_scores')


def _finite(value: Any, place: str, not_finite: dict[str, str]) -> Any:
    """Replace NaN and infinity in a tree by null, and collect them by JSON pointer (RFC 6901)."""
    if isinstance(value, dict):
        escaped = ((key, str(key).replace('~', '~0').replace('/', '~1')) for key in value)
        return {key: _finite(value[key], f'{place}/{part}', not_finite) for key, part in escaped}
    if isinstance(value, list | tuple):
        return [_finite(item, f'{place}/{number}', not_finite) for number, item in enumerate(value)]
    if isinstance(value, float):
        value = float(value)  # also NumPy's floats
        if not math.isfinite(value):
            not_finite[place] = str(value)
            return None
    return value


def _put(tree: Any, place: str, value: float) -> None:
    """Set the value at a JSON pointer."""
    *parents, last = (part.replace('~1', '/').replace('~0', '~') for part in place.split('/')[1:])
    for key in parents:
        tree = tree[int(key)] if isinstance(tree, list) else tree[key]
    tree[last] = value
