"""The rows of docs/files.md about photos: each is tried, from the file to its result."""

from __future__ import annotations

import pytest

from tests.helpers.files_table import key_of, name_of, rows_of
from tests.helpers.photo_tables import ROWS


@pytest.mark.parametrize('row', rows_of('photos', 'JPEG', 'PNG'), ids=name_of)
def test_each_row(row, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert row[2].startswith(ROWS[key_of(row, list(ROWS))]()), row


def test_all_rows_are_there():
    assert len(rows_of('photos', 'JPEG', 'PNG')) == len(ROWS)
