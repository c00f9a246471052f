"""Match blurred, sharp and mask files of each image; raise an error if any is missing."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from basicsr.data.stores.base import Store
from basicsr.images.files import IMAGE_SUFFIXES
from basicsr.utils.errors import ArgumentError, DataError, some_of

logger = logging.getLogger(__name__)

Pairing = Literal['stem', 'list', 'natural_order', 'all_in_focus']
SHOWN = 20  # names in one message, of each kind


def _has_stem(template: str) -> str:
    if template.count('{}') != 1 or '/' in template or '\\' in template:
        raise PydanticCustomError('template', "expected a file name (no slashes) with one '{}' for the stem")
    return template


Template = Annotated[str, AfterValidator(_has_stem)]
"""A file name with one ``{}`` for the stem."""


def find_pairs(
    gt: Store, lq: Store, pairing: Pairing = 'stem', filename_tmpl: str = '{}', meta_info_file: str | Path | None = None
) -> list[tuple[str, str]]:
    """Return the keys of matching sharp and blurred images, in the order of the sharp ones' names.

    ``stem``: names without extension agree, sub-folders included. ``list``: the same for the images that a file lists,
    in its order; other files are ignored. ``natural_order``: the n-th files of both sides match, with numbers in names
    sorted by value. ``all_in_focus``: several blurred images share a sharp one, whose stem is theirs
    before the first ``_ap`` (LFDOF's apertures); in the order of the blurred ones.

    Args:
        gt: sharp images.
        lq: blurred images.
        pairing: see above; ``stem`` with a ``meta_info_file`` is ``list``.
        filename_tmpl: name of a blurred image without extension; ``{}`` is the stem of its sharp image.
        meta_info_file: the first word of each line is the name of a sharp image.

    Returns:
        (key in ``gt``, key in ``lq``) for each pair.

    Raises:
        DataError: a partner is missing, or several files have one stem; all of them in one message.
        ArgumentError: ``pairing`` and ``meta_info_file`` do not fit, or the template has not one ``{}``.
    """
    if filename_tmpl.count('{}') != 1:
        raise ArgumentError(f"filename_tmpl must be a file name with one '{{}}' for the stem, got {filename_tmpl!r}")
    pairing = 'list' if pairing == 'stem' and meta_info_file is not None else pairing
    if (pairing == 'list') != (meta_info_file is not None):
        raise ArgumentError(
            f'pairing: {pairing} with meta_info_file: {meta_info_file}; only pairing: list needs this file'
        )
    gt_keys, lq_keys = _by_stem(gt), _by_stem(lq)
    if pairing == 'natural_order':
        pairs = _in_natural_order(gt, lq)
    elif pairing == 'all_in_focus':
        pairs = _by_aperture(gt, gt_keys, lq, lq_keys)
    else:
        stems = _listed(Path(str(meta_info_file))) if pairing == 'list' else sorted(gt_keys)
        partners = {stem: fill_template(filename_tmpl, stem) for stem in stems}
        missing = {
            f'no sharp image in {gt.root}': [stem for stem in stems if stem not in gt_keys],
            f'no blurred image in {lq.root}': [name for name in partners.values() if name not in lq_keys],
        }
        if pairing == 'stem':
            wanted = set(partners.values())
            missing[f'no sharp image in {gt.root} for the blurred'] = [name for name in lq_keys if name not in wanted]
        refuse_all(missing, f'incomplete pairs (pairing: {pairing}, filename_tmpl: {filename_tmpl})')
        pairs = [(gt_keys[stem], lq_keys[name]) for stem, name in partners.items()]
    logger.info('%d pairs by %s: sharp %s, blurred %s', len(pairs), pairing, gt.root, lq.root)
    return pairs


def match_masks(lq: Store, keys: Sequence[str], masks: Store, advice: str) -> list[str]:
    """Return the key of the mask file with the stem of each blurred image.

    Args:
        lq: blurred images.
        keys: those in use.
        masks: mask files. A folder may have further files, a database may not.
        advice: last line of the error if masks are missing.

    Raises:
        DataError: masks are missing, or several files have one stem.
    """
    stems = [lq.stem(key) for key in keys]
    mask_keys = _by_stem(masks, set(stems))
    missing = {f'no masks in {masks.root}': [stem for stem in stems if stem not in mask_keys]}
    if masks.closed:
        known = {lq.stem(key) for key in lq.keys}
        missing[f'no blurred image in {lq.root} for the masks'] = [
            stem for stem in map(masks.stem, masks.keys) if stem not in known
        ]
    refuse_all(missing, f'{lq.root} and its masks do not match', advice)
    return [mask_keys[stem] for stem in stems]


def sorted_keys(store: Store) -> list[str]:
    """Return all keys, in the order of their stems.

    Raises:
        DataError: several files have one stem.
    """
    keys = _by_stem(store)
    return [keys[stem] for stem in sorted(keys)]


def _by_stem(store: Store, wanted: set[str] | None = None) -> dict[str, str]:
    """Return the key of each wanted stem (all by default)."""
    stems = [(store.stem(key), key) for key in store.keys]
    if wanted is not None:
        stems = [(stem, key) for stem, key in stems if stem in wanted]
    counts = Counter(stem for stem, _ in stems)
    twice = [store.path(key) for stem, key in stems if counts[stem] > 1]
    refuse_all({'these files': twice}, f'{store.root} has files that differ only in their extension')
    return dict(stems)


def refuse_all(problems: dict[str, list[str]], summary: str, advice: str = '') -> None:
    """Raise one error for everything that is missing.

    Args:
        problems: file names by problem; problems with empty lists are ignored.
        summary: first line of the message.
        advice: last line of the message.

    Raises:
        DataError: there are problems.
    """
    problems = {title: names for title, names in problems.items() if names}
    if problems:
        lines = [f'{title} ({len(names)}): {some_of(names, SHOWN)}' for title, names in problems.items()]
        raise DataError('\n  '.join([summary, *lines]) + (f'\n{advice}' if advice else ''))


def fill_template(template: str, stem: str) -> str:
    """Return the stem of a blurred image: ``template`` filled with the sharp image's name, in the same folder."""
    path = PurePosixPath(stem)
    return str(path.with_name(template.replace('{}', path.name)))


def _listed(file: Path) -> list[str]:
    """Return the stems in a list file, in its order."""
    try:
        lines = file.expanduser().read_text(encoding='utf-8').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f'{file}: cannot read the list ({error})') from error
    names = [PurePosixPath(line.split()[0].replace('\\', '/')) for line in lines if line.strip()]
    stems = [str(name.with_suffix('') if name.suffix.lower() in IMAGE_SUFFIXES else name) for name in names]
    if not stems:
        raise DataError(f'{file}: the list is empty')
    refuse_all({'twice': sorted(s for s, n in Counter(stems).items() if n > 1)}, f'{file} lists images more than once')
    return stems


def _in_natural_order(gt: Store, lq: Store) -> list[tuple[str, str]]:
    if len(gt.keys) != len(lq.keys):
        raise DataError(
            f'{gt.root} has {len(gt.keys)} images, {lq.root} has {len(lq.keys)}; natural_order needs equal numbers'
        )
    return list(zip(naturally_sorted(gt.keys), naturally_sorted(lq.keys), strict=True))


def _by_aperture(gt: Store, gt_keys: dict[str, str], lq: Store, lq_keys: dict[str, str]) -> list[tuple[str, str]]:
    wanted = {}
    for stem in naturally_sorted(lq_keys):
        name, found, _ = PurePosixPath(stem).name.partition('_ap')
        wanted[stem] = str(PurePosixPath(stem).with_name(name)) if found and name else ''
    missing = {
        f"no '_ap' after the scene's name in {lq.root}": [stem for stem, target in wanted.items() if not target],
        f'no sharp image in {gt.root} for the blurred': [
            stem for stem, target in wanted.items() if target and target not in gt_keys
        ],
    }
    refuse_all(missing, 'incomplete pairs (pairing: all_in_focus)')
    return [(gt_keys[target], lq_keys[stem]) for stem, target in wanted.items()]


def naturally_sorted(keys: Iterable[str]) -> list[str]:
    """Return the keys with numbers sorted by value: ``a9`` before ``a10``."""

    def parts(key: str) -> list[tuple[bool, int | str]]:
        return [(part.isdecimal(), int(part) if part.isdecimal() else part) for part in re.split(r'(\d+)', key.lower())]

    return sorted(keys, key=parts)
