"""Give every reader of the package malformed files: each is refused with a clear error, or read all the same."""

from __future__ import annotations

import random
import shutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.torture.crafted import crafted_files
from tests.torture.good_files import TEXTS, Good, good_files
from tests.torture.mutations import OF_BYTES, OF_TEXT
from tests.torture.reading import Ending, Reading
from tests.torture.tally import Tally

MEMORY = 512
"""MiB that one input may take."""
CRAFTED = 0.3
"""The share of crafted files, if there are more of them."""


def inputs(good: list[Good], count: int, rng: random.Random) -> Iterator[tuple[str, str, Good, bytes | None]]:
    """Yield kind, trick, files, and the spoiled content (None for crafted files, which must be refused)."""
    crafted = list(crafted_files(good))
    rng.shuffle(crafted)
    crafted = crafted[: max(len(crafted) if count >= 3 * len(crafted) else 0, round(CRAFTED * count))]
    yield from ((f'{files.reader}, crafted', trick, files, None) for trick, files in crafted)
    by_kind = defaultdict(list)
    for one in good:
        by_kind[one.kind].append(one)
    kinds = list(by_kind)
    for number in range(count - len(crafted)):
        one = rng.choice(by_kind[kinds[number % len(kinds)]])
        change = rng.choice(OF_TEXT if one.spoiled.endswith(TEXTS) else OF_BYTES)
        yield one.kind, change.__name__, one, change(one.files[one.spoiled], rng)


def fault(ending: Ending, must_fail: bool) -> str:
    """Return what is wrong with an ending, if anything."""
    if ending.outcome not in ('refused', 'read'):
        return ending.outcome
    if must_fail and ending.outcome == 'read':
        return f'was read as {ending.error}'
    if ending.memory > MEMORY:
        return f'took {ending.memory} MiB'
    return f'left {", ".join(ending.left)}' if ending.left else ''


def torture(work: Path, count: int, rng: random.Random) -> list[Tally]:
    """Read as many malformed inputs as asked for, one after the other."""
    good = good_files(work / 'good')
    warm = []
    for number, one in enumerate(good):
        path = one.write(work / 'warm' / str(number))
        warm.append((one.reader, path))
    bound = f'a clear error, at most {MEMORY} MiB above idle, no file left; harmless changes are read'
    tally, largest = Tally('Malformed inputs', bound), 0
    with Reading(work, warm) as reading:
        for number, (kind, trick, files, content) in enumerate(inputs(good, count, rng)):
            folder = work / 'bad' / str(number)
            path = files.write(folder, content)
            ending = reading.read(files.reader, path)
            wrong = fault(ending, content is None)
            largest = max(largest, ending.memory)
            outcome = f'FAILED: {wrong.split()[0]}' if wrong else _column(ending)
            place = f'{number}: {kind}, {trick}, {path.name}: {wrong} ({ending.error}) {ending.message[-600:]}'
            tally.add(kind, outcome, place if wrong else '')
            if not wrong:
                shutil.rmtree(folder)
    tally.notes.append(f'most memory of one input: {largest} MiB above idle')
    return [tally]


def _column(ending: Ending) -> str:
    return ending.error if ending.outcome == 'refused' else 'read'
