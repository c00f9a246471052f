"""Masks as other tools write them."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
from PIL import Image

from tests.helpers.label_maps import ellipses

RNG = np.random.default_rng(0)


def rectangles():
    """Three regions that do not touch along an edge, the largest first, and a background."""
    masks = np.zeros((3, 64, 96), bool)
    masks[0, :32, :48] = masks[1, 32:, 48:] = masks[2, 10:20, 60:80] = True
    return masks


def overlapping():
    """Eleven that lie over each other."""
    return ellipses(11, 40, 56).astype(bool).reshape(11, 40, 56)


def runs_of(mask):
    """The run lengths of a mask, one after another down its columns."""
    flat = mask.T.ravel().astype(np.int8)
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *edges, flat.size]).tolist()
    return runs if not flat[0] else [0, *runs]


def text_of(runs):
    """COCO's text of run lengths, from its definition."""
    letters = []
    for index, run in enumerate(runs):
        value = run - runs[index - 2] if index > 2 else run
        while True:
            bits, value = value & 31, value >> 5
            more = not ((value == 0 and not bits & 16) or (value == -1 and bits & 16))
            letters.append(chr(bits + 48 + (32 if more else 0)))
            if not more:
                break
    return ''.join(letters)


def code_of(mask, text=False):
    runs = runs_of(mask)
    return {'size': list(mask.shape), 'counts': text_of(runs) if text else runs}


def write_folder(folder, masks, stem='p'):
    """As Segment Anything's command line does."""
    place = folder / stem
    place.mkdir(parents=True)
    for index, mask in enumerate(masks):
        Image.fromarray(mask.astype(np.uint8) * 255).save(place / f'{index}.png')
    columns = ['id', 'area', 'bbox_x0', 'predicted_iou']
    with (place / 'metadata.csv').open('w', newline='') as file:
        csv.writer(file).writerows([columns, *([index, int(mask.sum()), 0, 0.9] for index, mask in enumerate(masks))])


def write_json(folder, masks, stem='p', text=False, sa_1b=False):
    found = [{'segmentation': code_of(mask, text), 'area': int(mask.sum())} for mask in masks]
    if sa_1b:
        found = [{**mask, 'id': 4_000_000_000 + index} for index, mask in enumerate(found)]
        height, width = masks.shape[1:]
        found = {'image': {'image_id': 7, 'height': height, 'width': width}, 'annotations': found}
    (folder / f'{stem}.json').write_text(json.dumps(found))


def write_palette(folder, masks, stem='p'):
    indices = np.zeros(masks.shape[1:], np.uint8)
    for index, mask in enumerate(masks, start=1):
        indices[mask] = index
    image = Image.fromarray(indices).convert('P')
    image.putpalette(RNG.integers(0, 256, 768).astype(np.uint8).tobytes())
    image.putdata(indices.ravel().tolist())
    image.save(folder / f'{stem}.png')


FORMS = {
    'amg': write_folder,
    'json': write_json,
    'json of text': lambda folder, masks, stem='p': write_json(folder, masks, stem, text=True),
    'SA-1B': lambda folder, masks, stem='p': write_json(folder, masks, stem, text=True, sa_1b=True),
    'npy': lambda folder, masks, stem='p': np.save(folder / f'{stem}.npy', masks),
    'npy of bytes': lambda folder, masks, stem='p': np.save(folder / f'{stem}.npy', masks.astype(np.uint8) * 255),
    'npz': lambda folder, masks, stem='p': np.savez_compressed(folder / f'{stem}.npz', masks=masks),
    'npz without a name': lambda folder, masks, stem='p': np.savez(folder / f'{stem}.npz', masks[:, None]),
    'palette': write_palette,
    'black and white': lambda folder, masks, stem='p': Image.fromarray(masks.any(0)).save(folder / f'{stem}.png'),
}


def runs(masks, index):
    return masks[index]['segmentation']['counts']


def spoil_folder(folder, name):
    place = folder / 'p'
    table = (place / 'metadata.csv').read_text()
    if name == 'missing':
        (place / '1.png').unlink()
    elif name == 'another size':
        Image.fromarray(np.full((9, 8), 255, np.uint8)).save(place / '1.png')
    elif name == 'empty':
        Image.fromarray(np.zeros((64, 96), np.uint8)).save(place / '1.png')
    elif name == 'gray':
        Image.fromarray(np.full((64, 96), 100, np.uint8)).save(place / '1.png')
    elif name == 'colour':
        Image.fromarray(np.full((64, 96, 3), 255, np.uint8)).save(place / '1.png')
    elif name == 'cut off':
        (place / '1.png').write_bytes((place / '1.png').read_bytes()[:-30])
    elif name == 'negative':
        (place / 'metadata.csv').write_text(table.replace('\n1,', '\n-1,'))
    elif name == 'repeated':
        (place / 'metadata.csv').write_text(table + '1,5,0,0.9\n')
    elif name == 'words':
        (place / 'metadata.csv').write_text(table.replace('\n1,', '\none,'))
    elif name == 'negative file':
        shutil.copy(place / '1.png', place / '-1.png')
    elif name == 'repeated file':
        shutil.copy(place / '1.png', place / '01.png')
    elif name == 'no number':
        shutil.copy(place / '1.png', place / 'one.png')
    elif name == 'nothing':
        (place / 'metadata.csv').write_text('')
        for file in place.glob('*.png'):
            file.unlink()
