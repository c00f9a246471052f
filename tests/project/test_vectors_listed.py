"""The list of conformance vectors is complete, names tests that exist, and the carried copies are the originals."""

from __future__ import annotations

import csv

import pytest

from tests.helpers.project import CARRIED, ROOT, SHARED, absent

with (CARRIED / 'vectors.csv').open(newline='') as file:
    ROWS = list(csv.DictReader(file))


def shared_folder():
    folder = SHARED / 'conformance'
    if not folder.is_dir():
        absent(f'the shared vectors are not at {folder}')
    return folder


@pytest.mark.vectors
def test_every_shared_vector_is_listed():
    folder = shared_folder()
    for topic in ('nafnet', 'sam_deblur', 'masks', 'metrics', 'lakdnet', 'rsst', 'analysis_synthesis'):
        files = {path.name for path in (folder / topic).iterdir()} - {'cases.json'}
        assert files == {row['file'] for row in ROWS if row['topic'] == topic}


def test_each_is_checked_by_a_test_or_waits_for_something_named():
    for row in ROWS:
        if row['checked_by'].startswith('later: '):
            continue
        text = (ROOT / 'tests' / f'{row["checked_by"]}.py').read_text(encoding='utf-8')
        assert row['file'].rsplit('.', 1)[0] in text, row


def test_carried_copies_are_the_originals_and_small():
    sizes: dict[str, int] = {}
    for row in ROWS:
        copy = CARRIED / row['topic'] / row['file']
        assert copy.is_file() == (row['carried'] == 'yes'), row
        if copy.is_file():
            sizes[row['topic']] = sizes.get(row['topic'], 0) + copy.stat().st_size
            original = SHARED / 'conformance' / row['topic'] / row['file']
            assert not original.is_file() or original.read_bytes() == copy.read_bytes(), row
    assert max(sizes.values()) <= 3e6
