"""Write the report of a check: Markdown, JSON and a contact sheet."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from basicsr.images.contact_sheet import contact_sheet, sheet_row
from basicsr.images.files import IMAGE_SUFFIXES
from basicsr.masks.files import SUFFIXES as MASK_SUFFIXES
from basicsr.masks.mask_images import eight_bits, overlay
from basicsr.preparation.checks.data_sets import CheckedDataSet
from basicsr.preparation.checks.pairs import PairFiles, opened
from basicsr.preparation.output_files import save_bytes
from basicsr.utils.errors import BasicsrError
from basicsr.version import __version__

SHEET, REPORT, TABLE = 'contact_sheet.jpg', 'report.md', 'report.json'


def write_check_report(checked: Sequence[CheckedDataSet], folder: Path, title: str, rows: int = 4) -> None:
    """Write ``report.md``, ``report.json`` and ``contact_sheet.jpg``.

    Args:
        checked: the data sets.
        folder: for the files; created if it does not exist.
        title: of the report.
        rows: pairs of each data set on the contact sheet.

    Raises:
        OutputError: a file cannot be written.
    """
    save_bytes(folder / REPORT, report_markdown(checked, title).encode())
    data = {'title': title, 'basicsr': __version__, 'sets': [_plain_values(done) for done in checked]}
    save_bytes(folder / TABLE, f'{json.dumps(data, indent=2, ensure_ascii=False)}\n'.encode())
    sheet = pairs_shown(checked, rows)
    if sheet is not None:
        done, jpeg = cv2.imencode('.jpg', sheet[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
        if done:
            save_bytes(folder / SHEET, jpeg.tobytes())


def report_markdown(checked: Sequence[CheckedDataSet], title: str) -> str:
    """Return the report as Markdown: tables, then every fault."""
    lines = [f'# {title}', '']
    lines += ['| data set | pairs | expected | sizes | PSNR of the blurred, dB | faults |', '|---|---|---|---|---|---|']
    for done in checked:
        expected = '' if done.folders.expected is None else done.folders.expected
        sizes = ', '.join(f'{number} × {size}' for size, number in list(done.sizes.items())[:4])
        sizes += f' and {len(done.sizes) - 4} other sizes' if len(done.sizes) > 4 else ''
        cells = done.folders.name, len(done.items), expected, sizes, _mean_and_range(done.psnr, 2), len(done.faults)
        lines.append(f'| {" | ".join(map(str, cells))} |')
    lines += _mask_table(checked)
    lines += ['', *(f'{done.folders.name}: {done.folders.note}' for done in checked if 'PARTIAL' in done.folders.note)]
    undecoded = sum(not item.decode for done in checked for item in done.items)
    if undecoded:
        lines += ['', f'Quick check: {undecoded} pairs were read but not decoded.']
    for done in (done for done in checked if done.faults):
        lines += ['', f'## Faults of {done.folders.name}', '']
        lines += [f'- {f.kind}: {f.file}: {f.text.removeprefix(f"{f.file}: ")}' for f in done.faults]
    if not any(done.faults for done in checked):
        lines += ['', 'No faults found.']
    return '\n'.join(lines) + '\n'


def pairs_shown(checked: Sequence[CheckedDataSet], rows: int) -> NDArray[np.uint8] | None:
    """Draw some pairs of each data set: blurred, sharp, regions over the blurred image.

    Returns:
        (H, W, 3) RGB uint8; None if no pair can be shown.
    """
    strips = []
    for done in checked:
        for item in done.items[:: max(1, -(-len(done.items) // rows))][:rows]:
            try:
                strips.append(_strip(done, item))
            except BasicsrError:  # the report lists this fault
                continue
    return contact_sheet(strips) if strips else None


def _mask_table(checked: Sequence[CheckedDataSet]) -> list[str]:
    lines = []
    for done in checked:
        for index, (root, gray) in enumerate(done.folders.masks):
            if known := done.masks(index):
                cells = (
                    done.folders.name,
                    f'{root.name}{" (gray)" if gray else ""}',
                    len(known),
                    _mean_and_range([facts.regions for facts in known]),
                    max(facts.layers for facts in known),
                    _mean_and_range([100 * facts.coverage for facts in known]),
                    _mean_and_range([100 * facts.explained for facts in known]),
                )
                lines.append(f'| {" | ".join(map(str, cells))} |')
    head = ['', '| data set | masks | files | regions | layers | coverage, % | variance explained, % |']
    return [*head, '|---|---|---|---|---|---|---|', *lines] if lines else []


def _mean_and_range(values: Sequence[float], digits: int = 1) -> str:
    """Return ``mean (smallest to largest)``; empty without values."""
    if not values:
        return ''
    return f'{np.mean(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})'


def _plain_values(done: CheckedDataSet) -> dict[str, Any]:
    masks = []
    for index, (root, gray) in enumerate(done.folders.masks):
        known = done.masks(index)
        entry = {'folder': str(root), 'gray': gray, 'files': len(known), 'regions': [facts.regions for facts in known]}
        entry |= {key: [round(getattr(facts, key), 4) for facts in known] for key in ('coverage', 'explained')}
        masks.append(entry)
    return {
        'name': done.folders.name,
        'lq': str(done.folders.lq),
        'gt': None if done.folders.gt is None else str(done.folders.gt),
        'pairs': len(done.items),
        'expected': done.folders.expected,
        'note': done.folders.note,
        'sizes': done.sizes,
        'masks': masks,
        'faults': [asdict(fault) for fault in done.faults],
    }


def _strip(done: CheckedDataSet, item: PairFiles) -> NDArray[np.uint8]:
    """Draw one row of the contact sheet."""
    images = {'blurred': item.lq} | ({} if item.gt is None else {'sharp': item.gt})
    panels = [
        (name, eight_bits(opened(root, item.io, IMAGE_SUFFIXES).image(key, 3))) for name, (root, key) in images.items()
    ]
    lq = panels[0][1]
    for root, key, gray in item.masks:
        store, size = opened(root, item.io, MASK_SUFFIXES), (lq.shape[0], lq.shape[1])
        drawn = np.repeat(store.gray(key, size)[:, :, None], 3, 2) if gray else overlay(lq, store.labels(key, size))
        panels.append((root.name, drawn))
    return sheet_row(f'{done.folders.name}: {item.lq[1]}', panels)
