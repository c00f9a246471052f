"""``masks: auto`` makes the label maps that are missing, and nothing else; formats of images through the data sets."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from basicsr.data import build_dataset
from basicsr.data.stores.lmdb import write_lmdb
from basicsr.masks import build_generator, read_masks
from basicsr.utils.errors import ArgumentError, DataError, ImageFileError, MaskError
from tests.helpers.project import ROOT


@pytest.fixture
def roots(tmp_path):
    """Four pairs of coloured blocks, one in a sub-folder."""
    rng = np.random.default_rng(0)
    for name in ('a', 'b', 'c.d', 'sub/e'):
        blocks = cv2.resize(rng.integers(0, 256, (3, 4, 3), np.uint8), (48, 36), interpolation=cv2.INTER_NEAREST)
        for folder in ('gt', 'lq'):
            (tmp_path / folder / name).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / folder / f'{name}.png'), blocks)
    return tmp_path


def block(roots, **more):
    paths = {f'dataroot_{key}': str(roots / folder) for key, folder in (('gt', 'gt'), ('lq', 'lq'), ('mask', 'masks'))}
    return {'type': 'PairedImageGroupMaskDataset', 'masks': 'auto', **paths, **more}


def test_missing_masks_are_made_once_by_the_named_generator(roots, caplog):
    generator = {'type': 'felzenszwalb', 'scale': 20}
    dataset = build_dataset(block(roots, generator=generator))
    assert re.search(r'\b4 .*felzenszwalb', caplog.text)
    image = dataset[2]['lq'].permute(1, 2, 0).numpy()
    assert torch.equal(dataset[2]['masks'].int(), torch.from_numpy(build_generator(generator)(image)).int())
    assert json.loads((roots / 'masks' / 'masks.json').read_text())['settings']['scale'] == 20
    (roots / 'masks' / 'b.png').unlink()
    before = {path: path.stat().st_mtime_ns for path in (roots / 'masks').rglob('*.png')}
    caplog.clear()
    build_dataset(block(roots, generator=generator))
    assert re.search(r'\b1 .*felzenszwalb', caplog.text)
    assert read_masks(roots / 'masks' / 'b.png', (36, 48)).max() > 1
    assert {path: path.stat().st_mtime_ns for path in before} == before
    caplog.clear()
    assert len(build_dataset(block(roots))) == 4  # all there: whoever made them, nothing is made
    assert caplog.text == ''


@pytest.mark.parametrize('masks', ['none', 'regions'])
def test_a_generator_without_auto_is_ignored_with_a_warning(roots, masks, caplog):
    build_dataset(block(roots))
    content = block(roots, masks=masks, generator={'type': 'felzenszwalb', 'scale': 7}, type='PairedImageDataset')
    if masks == 'none':
        del content['dataroot_mask']
    caplog.clear()
    assert ('masks' in build_dataset(content)[0]) == (masks == 'regions')
    assert 'generator is ignored' in caplog.text


def test_settings_are_not_mixed(roots):
    build_dataset(block(roots))
    (roots / 'masks' / 'b.png').unlink()
    with pytest.raises(MaskError, match=r'masks .*\(scale '):
        build_dataset(block(roots, generator={'type': 'felzenszwalb', 'scale': 20}))


def test_only_images_in_use_get_masks(roots):
    (roots / 'list.txt').write_text('a.png\nsub/e.png\n')
    assert len(build_dataset(block(roots, meta_info_file=str(roots / 'list.txt')))) == 2
    made = sorted(path.relative_to(roots / 'masks').as_posix() for path in (roots / 'masks').rglob('*.png'))
    assert made == ['a.png', 'sub/e.png']


def test_without_ground_truth_too(roots):
    single = {'type': 'SingleImageDataset', 'dataroot_lq': str(roots / 'lq'), 'masks': 'auto'}
    assert build_dataset({**single, 'dataroot_mask': str(roots / 'm')})[0]['masks'].shape == (1, 36, 48)
    with pytest.raises(ArgumentError, match='dataroot_mask'):
        build_dataset(single)


@pytest.mark.slow
def test_processes_share_the_work(roots, tmp_path):
    code = (
        'import sys, json; from basicsr.data import build_dataset; print(len(build_dataset(json.loads(sys.argv[1]))))'
    )
    started = [
        subprocess.Popen(
            [sys.executable, '-c', code, json.dumps(block(roots))],
            env={'RANK': str(rank), 'WORLD_SIZE': '2', 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    assert [process.communicate()[0].strip() for process in started] == ['4', '4']
    shared = {path.name: path.read_bytes() for path in (roots / 'masks').rglob('*.png')}
    build_dataset(block(roots, dataroot_mask=str(roots / 'alone')))
    assert shared == {path.name: path.read_bytes() for path in (roots / 'alone').rglob('*.png')}


def test_what_cannot_be_made_is_said(roots):
    write_lmdb(roots / 'lq', roots / 'lq.lmdb')
    write_lmdb(roots / 'gt', roots / 'gt.lmdb')
    lmdb = {
        'dataroot_lq': str(roots / 'lq.lmdb'),
        'dataroot_gt': str(roots / 'gt.lmdb'),
        'io_backend': {'type': 'lmdb'},
    }
    with pytest.raises(DataError, match=r'masks: auto.*lq\.lmdb'):
        build_dataset(block(roots, **lmdb))
    (roots / 'lq' / 'b.png').write_bytes(b'')
    with pytest.raises(DataError, match=r'b\.png: .*empty'):
        build_dataset(block(roots))
    assert (roots / 'masks' / 'a.png').is_file()


@pytest.mark.slow
def test_without_auto_the_error_is_a_command_that_helps(roots):
    with pytest.raises(DataError) as caught:
        build_dataset(block(roots, masks='files'))
    command = str(caught.value).splitlines()[2].split()
    assert command[:2] == ['python', 'scripts/make_masks.py']
    subprocess.run([sys.executable, *command[1:]], cwd=ROOT, check=True, capture_output=True)
    assert len(build_dataset(block(roots, masks='files'))) == 4
    gray = {**block(roots, masks='files'), 'type': 'PairedImageMaskDataset', 'dataroot_mask': str(roots / 'gray')}
    del gray['masks']
    with pytest.raises(DataError) as caught:
        build_dataset(gray)
    subprocess.run(
        [sys.executable, *str(caught.value).splitlines()[2].split()[1:]], cwd=ROOT, check=True, capture_output=True
    )
    assert build_dataset(gray)[3]['masks'].unique().numel() > 2


FORMATS = ('png', 'jpg', 'tif', 'bmp', '16-bit png', '16-bit tif', 'gray png', 'RGBA png', '16-bit RGBA png')


@pytest.mark.parametrize('form', FORMATS)
def test_image_formats_through_every_data_set(tmp_path, form):
    rng = np.random.default_rng(3)
    suffix = form.split()[-1]
    wide, channels = form.startswith('16-bit'), {'gray': 1, 'RGBA': 4}.get(form.split()[-2] if ' ' in form else '', 3)
    image = cv2.resize(rng.integers(0, 256, (3, 4, channels), np.uint8), (40, 30)).reshape(30, 40, channels)
    stored = image.astype(np.uint16) * 257 if wide else image
    bgr = stored[..., {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[channels]]
    for folder in ('gt', 'lq'):
        (tmp_path / folder).mkdir()
        assert cv2.imwrite(str(tmp_path / folder / f'x.{suffix}'), np.ascontiguousarray(bgr))
    colours = np.repeat(stored, 3, axis=2) if channels == 1 else stored[..., :3]
    (tmp_path / 'gray').mkdir()
    Image.fromarray(np.full((30, 40), 7, np.uint8)).save(tmp_path / 'gray' / 'x.png')
    paths = {f'dataroot_{key}': str(tmp_path / key) for key in ('gt', 'lq')}
    auto = {'masks': 'auto', 'dataroot_mask': str(tmp_path / 'm')}
    for kind, more in (
        ('PairedImageDataset', {}),
        ('PairedImageMaskDataset', {'dataroot_mask': str(tmp_path / 'gray')}),
        ('PairedImageGroupMaskDataset', auto),
        ('SingleImageDataset', auto),
    ):
        used = {key: path for key, path in paths.items() if kind != 'SingleImageDataset' or key != 'dataroot_gt'}
        item = build_dataset({'type': kind, **used, **more})[0]
        assert item['lq'].dtype == (torch.uint16 if wide else torch.uint8)
        found = item['lq'].permute(1, 2, 0).numpy().astype(int)
        assert np.abs(found - colours).max() <= (24 if suffix == 'jpg' else 0)
        if 'masks' in item:
            assert item['masks'].shape == (1, 30, 40)


@pytest.mark.parametrize('values', ['float tif', 'palette png', 'one bit png'])
def test_other_formats_are_read_rightly_or_refused_by_name(tmp_path, values):
    (tmp_path / 'lq').mkdir()
    rng = np.random.default_rng(3)
    path = tmp_path / 'lq' / f'x.{values.split()[-1]}'
    gray = rng.integers(0, 256, (20, 30), np.uint8)
    dataset_of = {'type': 'SingleImageDataset', 'dataroot_lq': str(tmp_path / 'lq')}
    if values == 'float tif':
        cv2.imwrite(str(path), gray.astype(np.float32))
        with pytest.raises(ImageFileError, match=r'x\.tif: '):
            build_dataset(dataset_of)[0]
        return
    picture = Image.fromarray(gray)
    picture = picture.convert('P', palette=Image.Palette.ADAPTIVE) if values == 'palette png' else picture.convert('1')
    picture.save(path)
    expected = np.asarray(Image.open(path).convert('RGB'))
    assert np.array_equal(build_dataset(dataset_of)[0]['lq'].permute(1, 2, 0).numpy(), expected)
