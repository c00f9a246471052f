"""The report of a check: Markdown for people, JSON for programs, and a contact sheet to look at."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from basicsr.images.contact_sheet import contact_sheet, sheet_row
from basicsr.images.files import IMAGE_SUFFIXES
from basicsr.masks.files import SUFFIXES as MASK_SUFFIXES
from basicsr.masks.pictures import eight_bits, overlay
from basicsr.preparation.checks.data_sets import Checked, mean_and_range
from basicsr.preparation.checks.pairs import Item, opened
from basicsr.preparation.output_files import save_bytes
from basicsr.utils.errors import BasicsrError
from basicsr.version import __version__

SHEET, REPORT, TABLE = 'contact_sheet.jpg', 'report.md', 'report.json'


def write_report(checked: Sequence[Checked], folder: Path, title: str, rows: int = 4) -> None:
    """Write ``report.md``, ``report.json`` and ``contact_sheet.jpg``.

    Args:
        checked: the data sets.
        folder: for the files; made if it is missing.
        title: of the report.
        rows: pairs of each data set on the contact sheet.

    Raises:
        OutputError: they cannot be written.
    """
    save_bytes(folder / REPORT, markdown(checked, title).encode())
    data = {'title': title, 'basicsr': __version__, 'sets': [_plain(done) for done in checked]}
    save_bytes(folder / TABLE, f'{json.dumps(data, indent=2, ensure_ascii=False)}\n'.encode())
    sheet = pairs_shown(checked, rows)
    if sheet is not None:
        done, jpeg = cv2.imencode('.jpg', sheet[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
        if done:
            save_bytes(folder / SHEET, jpeg.tobytes())


def markdown(checked: Sequence[Checked], title: str) -> str:
    """The report for people: one table, then every fault."""
    lines = [f'# {title}', '']
    lines += ['| data set | pairs | expected | sizes | PSNR of the blurred, dB | faults |', '|---|---|---|---|---|---|']
    for done in checked:
        expected = '' if done.folders.expected is None else str(done.folders.expected)
        sizes = ', '.join(f'{number} × {size}' for size, number in list(done.sizes.items())[:4])
        sizes += f' and {len(done.sizes) - 4} other sizes' if len(done.sizes) > 4 else ''
        lines.append(
            f'| {done.folders.name} | {len(done.items)} | {expected} | {sizes} | {mean_and_range(done.psnr, 2)} '
            f'| {len(done.faults)} |'
        )
    lines += _mask_table(checked)
    lines += ['', *(f'{done.folders.name}: {done.folders.note}' for done in checked if 'PARTIAL' in done.folders.note)]
    undecoded = sum(not item.decode for done in checked for item in done.items)
    if undecoded:
        lines += ['', f'Quick check: {undecoded} pairs were read but not decoded.']
    for done in checked:
        if done.faults:
            lines += ['', f'## Faults of {done.folders.name}', '']
            lines += [f'- {fault.kind}: {fault.file}: {_without_name(fault.text, fault.file)}' for fault in done.faults]
    if not any(done.faults for done in checked):
        lines += ['', 'Nothing is wrong.']
    return '\n'.join(lines) + '\n'


def _mask_table(checked: Sequence[Checked]) -> list[str]:
    lines = []
    for done in checked:
        for index, (root, gray) in enumerate(done.folders.masks):
            known = done.masks(index)
            if known:
                lines.append(
                    f'| {done.folders.name} | {root.name}{" (gray)" if gray else ""} | {len(known)} '
                    f'| {mean_and_range([facts.regions for facts in known])} | {max(facts.layers for facts in known)} '
                    f'| {mean_and_range([100 * facts.coverage for facts in known])} '
                    f'| {mean_and_range([100 * facts.explained for facts in known])} |'
                )
    head = ['', '| data set | masks | files | regions | layers | coverage, % | variance explained, % |']
    return [*head, '|---|---|---|---|---|---|---|', *lines] if lines else []


def _without_name(text: str, file: str) -> str:
    return text.removeprefix(f'{file}: ')


def _plain(done: Checked) -> dict[str, Any]:
    masks = [
        {
            'folder': str(root),
            'gray': gray,
            'files': len(done.masks(index)),
            'regions': [facts.regions for facts in done.masks(index)],
            'coverage': [round(facts.coverage, 4) for facts in done.masks(index)],
            'explained': [round(facts.explained, 4) for facts in done.masks(index)],
        }
        for index, (root, gray) in enumerate(done.folders.masks)
    ]
    return {
        'name': done.folders.name,
        'lq': str(done.folders.lq),
        'gt': None if done.folders.gt is None else str(done.folders.gt),
        'pairs': len(done.items),
        'expected': done.folders.expected,
        'note': done.folders.note,
        'sizes': done.sizes,
        'masks': masks,
        'faults': [{'kind': fault.kind, 'file': fault.file, 'text': fault.text} for fault in done.faults],
    }


def pairs_shown(checked: Sequence[Checked], rows: int) -> NDArray[np.uint8] | None:
    """Some pairs of each data set: blurred, sharp, and the regions over the blurred image. (H, W, 3) RGB uint8.

    None if no pair can be shown.
    """
    strips = []
    for done in checked:
        step = max(1, -(-len(done.items) // rows))
        for item in done.items[::step][:rows]:
            try:
                strips.append(_strip(done, item))
            except BasicsrError:  # its fault is in the report
                continue
    return contact_sheet(strips) if strips else None


def _strip(done: Checked, item: Item) -> NDArray[np.uint8]:
    """One row of the contact sheet."""
    lq = _picture(item.lq, item.io)
    panels = [('blurred', lq)]
    if item.gt is not None:
        panels.append(('sharp', _picture(item.gt, item.io)))
    for root, key, gray in item.masks:
        store = opened(root, item.io, MASK_SUFFIXES)
        size = lq.shape[0], lq.shape[1]
        if gray:
            panels.append((root.name, np.repeat(store.gray(key, size)[:, :, None], 3, 2)))
        else:
            panels.append((root.name, overlay(lq, store.labels(key, size))))
    return sheet_row(f'{done.folders.name}: {item.lq[1]}', panels)


def _picture(place: tuple[Path, str], io: str) -> NDArray[np.uint8]:
    store = opened(place[0], io, IMAGE_SUFFIXES)
    return eight_bits(store.image(place[1], 3))
