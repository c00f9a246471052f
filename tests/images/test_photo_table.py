"""The rows of docs/files.md about photos: each is tried, from the file to its result."""

from __future__ import annotations

import pytest
import tifffile
from PIL import ImageCms

from tests.helpers.files_table import key_of, name_of, rows_of
from tests.helpers.photo_tables import (
    ROWS,
)

WIDE = ImageCms.ImageCmsProfile(ImageCms.createProfile('XYZ')).tobytes()


def tag(path, number):
    with tifffile.TiffFile(path) as file:
        found = file.pages[0].tags.get(number)
        return None if found is None else found.value


# --- any photo


# --- JPEG


# --- PNG


@pytest.mark.parametrize('row', rows_of('photos', 'JPEG', 'PNG'), ids=name_of)
def test_each_row(row, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert row[2].startswith(ROWS[key_of(row, list(ROWS))]()), row


def test_all_rows_are_there():
    assert len(rows_of('photos', 'JPEG', 'PNG')) == len(ROWS)
