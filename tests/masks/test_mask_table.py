"""The rows of docs/files.md about masks: each is tried."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from basicsr.masks import label_map_from_masks, masks_from_label_map, read_masks, write_label_map
from basicsr.masks.files import find_mask_file
from basicsr.utils.errors import MaskError
from tests.helpers.files_table import CONVERTED, KEPT, REFUSED, key_of, name_of, rows_of
from tests.helpers.other_tools import FORMS, overlapping, rectangles, spoil_folder, write_folder

RNG = np.random.default_rng(3)


def regions(form, masks=None):
    """The masks of a file in one of the forms, read back, which must be those that were written."""
    place = Path(form.replace(' ', '_'))
    place.mkdir()
    masks = rectangles() if masks is None else masks
    FORMS[form](place, masks)
    labels = read_masks(find_mask_file(place, 'p'), masks.shape[1:])
    assert np.array_equal(masks_from_label_map(labels)[:, 0], masks)
    return labels


def in_order(*forms):
    for form in forms:
        labels = regions(form)
        assert [labels[0][point] for point in ((0, 0), (60, 90), (12, 65))] == [1, 2, 3]
    return CONVERTED


def own():
    labels = RNG.integers(0, 9, (3, 20, 30))
    labels[1, 0, 0] = 70_000
    write_label_map('p.png', labels)
    return KEPT if np.array_equal(read_masks('p.png'), labels) else CONVERTED


def gray():
    values = np.repeat(np.array([0, 7, 200], np.uint8), 8)[None].repeat(5, 0)
    Image.fromarray(values).save('p.png')
    assert np.array_equal(read_masks('p.png')[0], np.repeat([1, 2, 3], 8)[None].repeat(5, 0))
    return CONVERTED


def in_layers():
    for form in ('amg', 'json', 'npy', 'npz'):
        labels = regions(form, overlapping())
        assert np.array_equal(labels, label_map_from_masks(overlapping())) and len(labels) > 1
    return KEPT


def refused(path, named=''):
    with pytest.raises(MaskError) as error:
        read_masks(path)
    assert Path(path).name in str(error.value) and named in str(error.value)


def wrong():
    for name in ('empty', 'another size', 'negative', 'repeated'):
        write_folder(Path(name), rectangles())
        spoil_folder(Path(name), name)
        refused(Path(name) / 'p', '1')
    code = {'size': [4, 5], 'counts': [3, 9]}
    Path('p.json').write_text(json.dumps([{'segmentation': code}]))
    refused('p.json', 'mask 0')
    return REFUSED


def others():
    Path('polygon.json').write_text(json.dumps([{'segmentation': [[0, 0, 5, 5, 9, 0]]}]))
    Path('several.json').write_text(json.dumps({'images': [], 'annotations': []}))
    Image.fromarray(RNG.integers(0, 9, (8, 9, 3)).astype(np.uint8)).save('colour.png')
    np.save('float.npy', rectangles().astype(np.float32))
    np.save('labels.npy', np.arange(12).reshape(3, 4))
    np.save('object.npy', np.array([object()], object), allow_pickle=True)
    for name in ('polygon.json', 'several.json', 'colour.png', 'float.npy', 'labels.npy', 'object.npy'):
        refused(name)
    return REFUSED


ROWS = {
    ('masks', 'label maps of this project'): own,
    ('masks', '8-bit gray PNG'): gray,
    ('masks', '`.npz` (array `masks`) and `.npy`'): lambda: in_order(
        'npy', 'npy of bytes', 'npz', 'npz without a name'
    ),
    ('masks', 'palette PNG'): lambda: in_order('palette'),
    ('masks', 'black and white PNG'): lambda: in_order('black and white'),
    ('masks', "a folder of Segment Anything's"): lambda: in_order('amg'),
    ('masks', 'JSON with run lengths'): lambda: in_order('json', 'json of text', 'SA-1B'),
    ('masks', 'masks that overlap'): in_layers,
    ('masks', 'an empty mask'): wrong,
    ('masks', 'polygons'): others,
}


@pytest.mark.parametrize('row', rows_of('masks'), ids=name_of)
def test_each_row(row, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert row[2].startswith(ROWS[key_of(row, list(ROWS))]()), row


def test_all_rows_are_there():
    assert len(rows_of('masks')) == len(ROWS)
