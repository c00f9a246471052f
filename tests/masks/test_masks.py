"""Mask files, gray coding and generators: the original's numbers, round trips, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from basicsr.archs.map_unit import mask_average_pooling
from basicsr.data import build_dataset, collate, to_floats
from basicsr.masks import (
    build_generator,
    compact,
    gray_from_masks,
    label_map_from_gray,
    label_map_from_masks,
    masks_from_gray,
    masks_from_label_map,
    read_masks,
    write_label_map,
)
from basicsr.masks.files import find_mask_file, read_gray
from basicsr.masks.gray_coding import gray_from_label_map
from basicsr.masks.making import make_masks
from basicsr.masks.mask_images import GrayImages, Overlays, overlay, read_photo
from basicsr.masks.record import read_mask_record
from basicsr.utils.errors import ArgumentError, MaskError, UnknownNameError, WeightsError
from basicsr.utils.registry import MASK_GENERATOR_REGISTRY
from tests.helpers.label_maps import ellipses
from tests.helpers.mask_generators import OPEN, Halves

pytestmark = pytest.mark.numeric


@pytest.mark.vectors
def test_gray_coding_and_grouping_match_the_original_bit_for_bit(vector):
    case = vector('masks', 'gray_coding')
    assert len(case.meta['sets']) == 15
    for about in case.meta['sets']:
        name = about['name']
        gray = gray_from_masks(case[f'in/{name}/sam_masks'], 'reference')
        assert np.array_equal(gray, case[f'out/{name}/gray']), name
        grouped = masks_from_gray(gray)
        assert np.array_equal(grouped, case[f'out/{name}/grouped']), name
        assert np.array_equal(masks_from_label_map(label_map_from_gray(gray)), grouped), name


@pytest.mark.vectors
def test_groups_that_a_crop_empties_vanish(vector):
    """Label maps drop them by nature; the order of the others stays."""
    case = vector('masks', 'crop_and_tensor')
    cropped = label_map_from_masks(case['in/grouped'])[:, 3:15, 4:13]
    assert np.array_equal(masks_from_label_map(cropped), case['out/nonzero'])
    assert np.array_equal(case['out/nonzero'] * np.float32(1 / 255), case['out/tensor'])


def test_the_fixed_coding_gives_each_pixel_to_its_smallest_mask():
    big, small = np.ones((6, 8), bool), np.zeros((6, 8), bool)
    small[2:4, 2:5] = True
    gray = gray_from_masks(np.stack([big, small, ~small]))
    assert set(np.unique(gray)) == {4, 6}
    assert np.array_equal(gray == 4, small)
    assert set(np.unique(gray_from_masks(np.stack([small, big])))) == {2, 4}
    assert gray_from_masks(np.zeros((0, 6, 8), bool)).max() == 0


def test_the_fixed_coding_keeps_the_largest_255_masks(caplog):
    masks = np.zeros((300, 30, 40), bool)
    for index, mask in enumerate(masks):
        mask.flat[4 * index : 4 * index + (3 if index < 45 else 4)] = True
    gray = gray_from_masks(masks)
    assert len(np.unique(gray)) == 256
    assert not gray[masks[:45].any(0)].any()
    assert 'smallest 45' in caplog.text
    with pytest.raises(MaskError, match="'both'"):
        gray_from_masks(masks, 'both')


@pytest.mark.parametrize('layers', [1, 3])
def test_label_map_files_keep_everything(tmp_path, layers):
    labels = np.random.default_rng(0).integers(0, 60000, (layers, 17, 23)).astype(np.int32)
    path = tmp_path / 'a name.with dots ü.png'
    write_label_map(path, labels)
    assert np.array_equal(read_masks(path, (17, 23)), labels)
    with Image.open(path) as image:
        assert (image.mode, image.size) == ('I;16', (23, layers * 17))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize('layers', [1, 3])
@pytest.mark.parametrize('most', [65_535, 65_536, 2**31 - 1])
def test_any_number_of_regions_fits_a_file(tmp_path, layers, most):
    labels = np.random.default_rng(0).integers(0, most, (layers, 17, 23))
    labels[0, 0, 0] = most
    write_label_map(tmp_path / 'a.png', labels)
    assert np.array_equal(read_masks(tmp_path / 'a.png', (17, 23)), labels)
    with Image.open(tmp_path / 'a.png') as image:
        assert image.size == (23, 17 * layers * (2 if most > 65_535 else 1))


def test_the_originals_formats_are_partitions_that_name_the_background(tmp_path):
    gray = np.array([[0, 0, 4], [2, 2, 4]], np.uint8)
    Image.fromarray(gray).save(tmp_path / 'gray.png')
    expected = [[[1, 1, 3], [2, 2, 3]]]
    assert read_masks(tmp_path / 'gray.png').tolist() == expected
    assert np.array_equal(read_gray(tmp_path / 'gray.png', (2, 3)), gray)
    for dtype, one in ((bool, True), (np.uint8, 255)):
        np.savez_compressed(tmp_path / 'stack.npz', masks=masks_from_gray(gray).astype(dtype) * dtype(one))
        assert read_masks(tmp_path / 'stack.npz').tolist() == expected


def test_masks_that_overlap_in_every_way_come_back():
    rng = np.random.default_rng(3)
    for count, share in ((3, 0.5), (12, 0.2), (40, 0.05)):
        masks = rng.random((count, 5, 7)) < share
        masks = masks[masks.any((1, 2))]
        assert np.array_equal(masks_from_label_map(label_map_from_masks(masks))[:, 0], masks)
    # the second mask lies around the first without a pixel in common, the third covers the first
    masks = np.array([[[0, 1, 0]], [[1, 0, 1]], [[0, 1, 0]]], bool)
    assert label_map_from_masks(masks).tolist() == [[[2, 1, 2]], [[0, 3, 0]]]


def test_masks_are_found_by_the_name_of_their_image(tmp_path):
    (tmp_path / 'scene.1').mkdir()
    write_label_map(tmp_path / 'scene.1' / 'a.b.png', np.ones((1, 2, 2), int))
    assert find_mask_file(tmp_path, 'scene.1/a.b') == tmp_path / 'scene.1' / 'a.b.png'
    assert find_mask_file(tmp_path, 'scene.1/a') is None


def bad_files(folder):
    rng = np.random.default_rng(0)
    good = folder / 'good.png'
    write_label_map(good, rng.integers(0, 5, (2, 8, 9)))
    data = good.read_bytes()
    (folder / 'cut.png').write_bytes(data[: len(data) // 2])
    (folder / 'empty.png').write_bytes(b'')
    (folder / 'text.png').write_bytes(b'no picture')
    Image.fromarray(rng.integers(0, 9, (8, 9, 3)).astype(np.uint8)).save(folder / 'colour.png')
    np.savez(folder / 'key.npz', mask=np.zeros((1, 1, 8, 9), bool))
    np.savez(folder / 'type.npz', masks=np.zeros((1, 1, 8, 9), float))
    np.savez(folder / 'values.npz', masks=np.full((1, 1, 8, 9), 7, np.uint8))
    np.savez(folder / 'pickle.npz', masks=np.array([object()]))
    (folder / 'cut.npz').write_bytes((folder / 'key.npz').read_bytes()[:60])
    np.savez_compressed(folder / 'bits.npz', masks=rng.random((3, 1, 37, 53)) > 0.5)
    bits = bytearray((folder / 'bits.npz').read_bytes())
    bits[80:100] = bytes(20)
    (folder / 'bits.npz').write_bytes(bits)
    return folder


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('gone.png', r'gone\.png: .*No such file'),
        ('cut.png', 'damaged'),
        ('empty.png', '0 bytes'),
        ('text.png', r'text\.png: .*PNG.*\.npz'),
        ('colour.png', 'single-channel'),
        ('key.npz', r"key\.npz: .*'masks'.* mask$"),
        ('type.npz', r'type\.npz: .*float64 \(1, 1, 8, 9\)'),
        ('values.npz', r'values\.npz: mask 0 .*255'),
        ('pickle.npz', r'pickle\.npz: .*Python'),
        ('cut.npz', r'cut\.npz: .*zip'),
        ('bits.npz', 'damaged'),
    ],
)
def test_bad_mask_files_are_named(tmp_path, name, message):
    with pytest.raises(MaskError, match=message) as error:
        read_masks(bad_files(tmp_path) / name)
    assert name in str(error.value)


def test_masks_of_another_size_or_too_many_ids_are_refused(tmp_path):
    write_label_map(tmp_path / 'a.png', np.ones((2, 8, 9), int))
    with pytest.raises(MaskError, match=r'a\.png: .*\(8, 9\).*\(8, 8\)'):
        read_masks(tmp_path / 'a.png', (8, 8))
    with pytest.raises(MaskError, match='2147483648'):
        write_label_map(tmp_path / 'b.png', np.full((1, 2, 2), 2**31))
    assert not (tmp_path / 'b.png').exists()


def test_compacting_keeps_regions_and_their_order():
    labels = label_map_from_masks(ellipses(9, 20, 30)) * 1000
    small = compact(labels)
    assert small.dtype == np.uint8
    assert np.array_equal(masks_from_label_map(small), masks_from_label_map(labels))
    assert compact(np.arange(1, 301).reshape(1, 10, 30)).dtype == np.int32


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / 'photos'
    (folder / 'sub').mkdir(parents=True)
    rng = np.random.default_rng(1)
    for name in ('a.png', 'b.jpg', 'sub/c.d.png'):
        Image.fromarray(rng.integers(0, 255, (20, 30, 3)).astype(np.uint8)).save(folder / name)
    return folder


def test_masks_of_a_folder_are_made_once(photos, tmp_path):
    generator = Halves()
    first = make_masks(photos, tmp_path / 'masks', generator)
    assert (first.made, first.kept, first.failed) == (3, 0, {})
    assert (first.masks, first.coverage) == ([2, 2, 2], [1.0, 1.0, 1.0])
    assert read_masks(tmp_path / 'masks' / 'sub' / 'c.d.png', (20, 30)).max() == 2
    again = make_masks(photos, tmp_path / 'masks', generator)
    assert (again.made, again.kept, generator.calls) == (0, 3, 3)


@pytest.mark.parametrize(('batch_size', 'threads'), [(2, 1), (1, 3), (2, 2)])
def test_images_in_batches_and_in_threads_get_the_same_files(photos, tmp_path, batch_size, threads):
    (photos / 'broken.png').write_bytes(b'no image')
    generator = Halves()
    make_masks(photos, tmp_path / 'one by one', generator)
    generator.threads, generator.calls, shown = threads, 0, []

    def progress(names):
        for name in names:
            shown.append(name)
            yield name

    summary = make_masks(photos, tmp_path / 'masks', generator, batch_size=batch_size, progress=progress)
    assert (summary.made, list(summary.failed), len(shown)) == (3, ['broken.png'], 4)
    assert generator.calls == 3 and len(summary.seconds) == 3
    files = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob('*.png')}
        for folder in (tmp_path / 'one by one', tmp_path / 'masks')
    ]
    assert files[0] == files[1]
    assert make_masks(photos, tmp_path / 'masks', generator, batch_size=batch_size).kept == 3


def test_folders_behind_links_and_photos_on_their_side(photos, tmp_path):
    elsewhere = tmp_path / 'elsewhere'
    elsewhere.mkdir()
    turned = Image.new('RGB', (30, 20), 'red')
    exif = turned.getexif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    turned.save(elsewhere / 'turned.jpg', exif=exif)
    (photos / 'linked').symlink_to(elsewhere)
    (photos / '._a.png').write_bytes(b'what another system knows of a.png')
    first = make_masks(photos, tmp_path / 'masks', Halves())
    assert (first.made, first.failed) == (4, {})
    assert read_masks(tmp_path / 'masks' / 'linked' / 'turned.png').shape == (1, 30, 20)
    assert make_masks(photos, tmp_path / 'masks', Halves()).kept == 4


def test_of_16_bits_the_upper_8_are_segmented(tmp_path):
    pixels = np.random.default_rng(2).integers(0, 2**16, (9, 7, 3), np.uint16)
    Image.fromarray(pixels[..., 0]).save(tmp_path / 'gray.png')
    assert np.array_equal(read_photo(tmp_path / 'gray.png'), np.repeat(pixels[..., :1] // 256, 3, -1))


def test_masks_of_a_photo_that_grew_are_made_again(photos, tmp_path):
    make_masks(photos, tmp_path / 'masks', Halves())
    Image.new('RGB', (31, 20)).save(photos / 'a.png')
    assert make_masks(photos, tmp_path / 'masks', Halves()).made == 1
    assert read_masks(tmp_path / 'masks' / 'a.png').shape == (1, 20, 31)


def test_damaged_and_half_written_files_are_made_again(photos, tmp_path):
    make_masks(photos, tmp_path / 'masks', Halves())
    file = tmp_path / 'masks' / 'a.png'
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) - 20])
    assert make_masks(photos, tmp_path / 'masks', Halves()).made == 1
    assert file.read_bytes() == whole


def test_an_unreadable_photo_is_reported_and_the_rest_is_done(photos, tmp_path):
    (photos / 'broken.png').write_bytes(b'')
    summary = make_masks(photos, tmp_path / 'masks', Halves())
    assert summary.made == 3
    assert list(summary.failed) == ['broken.png']
    assert 'failed: broken.png' in summary.text()


def test_settings_are_recorded_and_never_mixed(photos, tmp_path):
    target = tmp_path / 'masks'
    make_masks(photos, target, Halves())
    assert read_mask_record(target)['settings'] == {'type': 'halves', 'share': 0.5}
    with pytest.raises(MaskError, match=r'masks .*\(share '):
        make_masks(photos, target, Halves(0.2))
    forced = Halves(0.2)
    make_masks(photos, target, forced, shard=(0, 3), force=True)
    assert forced.calls == 1
    # the files of the old settings do not pass for those of the new ones
    assert make_masks(photos, target, Halves(0.2)).made == 2
    for text in ('{', '[' * 100_000, '{"settings": 3}'):
        (target / 'masks.json').write_text(text)
        with pytest.raises(MaskError, match=r'masks\.json: '):
            make_masks(photos, target, Halves(0.2))


def test_shards_share_the_work_and_give_the_same_files(photos, tmp_path):
    make_masks(photos, tmp_path / 'whole', Halves())
    made = [make_masks(photos, tmp_path / 'parts', Halves(), shard=(i, 2)).made for i in range(2)]
    assert made == [2, 1]
    for name in ('a.png', 'b.png', 'sub/c.d.png'):
        assert (tmp_path / 'parts' / name).read_bytes() == (tmp_path / 'whole' / name).read_bytes()
    with pytest.raises(MaskError, match='2/2'):
        make_masks(photos, tmp_path / 'parts', Halves(), shard=(2, 2))


def test_folders_without_photos_and_ambiguous_names_are_refused(photos, tmp_path):
    (tmp_path / 'none').mkdir()
    with pytest.raises(MaskError, match=r'none .*\.png'):
        make_masks(tmp_path / 'none', tmp_path / 'masks', Halves())
    with pytest.raises(MaskError, match=r'gone .*folder'):
        make_masks(tmp_path / 'gone', tmp_path / 'masks', Halves())
    Image.new('RGB', (30, 20)).save(photos / 'a.jpg')
    with pytest.raises(MaskError, match=r'photos: a\.jpg .*a\.png'):
        make_masks(photos, tmp_path / 'masks', Halves())


def test_a_full_disk_leaves_no_half_file(photos, tmp_path, monkeypatch):
    import basicsr.masks.files as files

    def full(*arguments):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(files, 'encode_label_map', full)
    with pytest.raises(OSError, match='No space left'):
        make_masks(photos, tmp_path / 'masks', Halves())
    assert [path.name for path in (tmp_path / 'masks').iterdir()] == ['masks.json']


@pytest.mark.parametrize('coding', ['fixed', 'reference'])
def test_gray_pictures_beside_the_label_maps(photos, tmp_path, coding):
    gray = tmp_path / 'gray'
    make_masks(photos, tmp_path / 'masks', Halves(), companions=[GrayImages(gray, coding)])
    names = sorted(path.relative_to(gray) for path in gray.rglob('*.png'))
    assert names == sorted(path.relative_to(tmp_path / 'masks') for path in (tmp_path / 'masks').rglob('*.png'))
    for name in names:
        masks = masks_from_label_map(read_masks(tmp_path / 'masks' / name))
        assert np.array_equal(read_gray(gray / name), gray_from_masks(masks, coding))
    assert read_mask_record(gray)['settings'] == {**Halves().settings, 'gray_coding': coding}
    (gray / names[0]).write_bytes(b'')
    (gray / names[1]).unlink()
    kept = (gray / names[-1]).stat().st_mtime_ns
    make_masks(photos, tmp_path / 'masks', Halves(), companions=[GrayImages(gray, coding)])
    assert sorted(path.relative_to(gray) for path in gray.rglob('*.png')) == names
    assert read_gray(gray / names[0]).any() and (gray / names[-1]).stat().st_mtime_ns == kept
    other = 'fixed' if coding == 'reference' else 'reference'
    with pytest.raises(MaskError, match=r'gray .*\(gray_coding '):
        make_masks(photos, tmp_path / 'masks', Halves(), companions=[GrayImages(gray, other)])


def test_overlays_show_regions(photos, tmp_path):
    make_masks(photos, tmp_path / 'masks', Halves(), companions=[Overlays(tmp_path / 'shown')])
    assert sorted(path.name for path in (tmp_path / 'shown').rglob('*.jpg')) == ['a.jpg', 'b.jpg', 'c.d.jpg']
    image = np.full((10, 12, 3), 128, np.uint8)
    labels = np.zeros((1, 10, 12), int)
    labels[0, :, :6] = 1
    shown = overlay(image, labels)
    assert np.array_equal(shown[:, 8:], image[:, 8:])
    assert not np.array_equal(shown[5, 2], image[5, 2])


def test_felzenszwalb_partitions_a_photo_and_enlarges_what_it_made_small():
    from skimage.data import astronaut

    photo = astronaut()
    labels = build_generator({'type': 'felzenszwalb', 'max_pixels': 40000})(photo)
    assert labels.shape == (1, 512, 512)
    assert labels.min() == 1
    assert np.array_equal(np.unique(labels), np.arange(1, labels.max() + 1))
    assert labels.max() > 10
    colour = [photo[labels[0] == k].mean(0) for k in range(1, labels.max() + 1)]
    rest = photo - np.stack(colour)[labels[0] - 1]
    assert rest.var() < 0.35 * photo.var()  # regions are of similar colour
    assert np.array_equal(labels, build_generator({'type': 'felzenszwalb', 'max_pixels': 40000})(photo))


def test_generators_refuse_what_is_no_photo_and_wrong_arguments():
    with pytest.raises(MaskError, match=r'\(H, W, 3\) uint8.*\(4, 4\)'):
        build_generator({'type': 'felzenszwalb'})(np.zeros((4, 4), np.uint8))
    with pytest.raises(ArgumentError, match='scale > 0'):
        build_generator({'type': 'felzenszwalb', 'scale': -1})
    with pytest.raises(UnknownNameError, match=r"'felzenswalb'.*'felzenszwalb'"):
        build_generator({'type': 'felzenswalb'})
    assert MASK_GENERATOR_REGISTRY.names() == ['felzenszwalb', 'sam']


@pytest.mark.slow
def test_segment_anything_gives_its_own_masks_in_its_order(tiny_sam, photos):
    import torch
    from segment_anything import SamAutomaticMaskGenerator, sam_model_registry

    block = {'type': 'sam', 'checkpoint': str(tiny_sam), 'model': 'vit_b', 'device': 'cpu', **OPEN}
    photo = np.asarray(Image.open(photos / 'a.png'))
    labels = build_generator(block)(photo)
    network = sam_model_registry['vit_b']()
    network.load_state_dict(torch.load(tiny_sam, weights_only=True))
    own = SamAutomaticMaskGenerator(network.eval(), **OPEN).generate(photo)
    assert len(own) >= 20
    planes = np.stack([mask['segmentation'] for mask in own])
    assert np.array_equal(masks_from_label_map(labels)[:, 0], planes[planes.any((1, 2))])
    assert len(labels) > 1  # they overlap
    turned = build_generator({**block, 'channel_order': 'bgr'})(np.ascontiguousarray(photo[..., ::-1]))
    assert np.array_equal(turned, labels)


def test_no_mask_found_is_an_empty_map(tiny_sam, photos, tmp_path):
    block = {'type': 'sam', 'checkpoint': str(tiny_sam), 'model': 'vit_b', 'device': 'cpu', 'points_per_side': 2}
    summary = make_masks(photos, tmp_path / 'masks', build_generator({**block, 'pred_iou_thresh': 1e9}))
    assert summary.masks == [0, 0, 0]
    assert summary.coverage == [0.0, 0.0, 0.0]
    settings = json.loads((tmp_path / 'masks' / 'masks.json').read_text())['settings']
    assert (settings['type'], settings['channel_order'], len(settings['checkpoint'])) == ('sam', 'rgb', 64)


def test_a_checkpoint_of_another_size_is_named(tiny_sam):
    with pytest.raises(WeightsError, match=r'sam\.pth .*vit_l'):
        build_generator({'type': 'sam', 'checkpoint': str(tiny_sam), 'model': 'vit_l', 'device': 'cpu'})


def test_three_hundred_masks_deep_in_each_other_survive_file_and_data_set(vector, tmp_path):
    case = vector('masks', 'gray_coding')
    masks = case['in/overlap_300/sam_masks'].astype(bool)
    labels = label_map_from_masks(masks)
    assert len(labels) == 16 and labels.max() == 300
    for folder in ('gt', 'masks'):
        (tmp_path / folder).mkdir()
    image = np.random.default_rng(0).integers(0, 256, (*masks.shape[-2:], 3)).astype(np.uint8)
    Image.fromarray(image).save(tmp_path / 'gt' / 'x.png')
    write_label_map(tmp_path / 'masks' / 'x.png', labels)
    paths = {'dataroot_gt': tmp_path / 'gt', 'dataroot_lq': tmp_path / 'gt', 'dataroot_mask': tmp_path / 'masks'}
    block = {'type': 'PairedImageGroupMaskDataset', **{key: str(path) for key, path in paths.items()}}
    batch = to_floats(collate([build_dataset(block)[0]]), 'cpu')
    pooled = mask_average_pooling(batch['lq'], batch['masks'])
    stack = torch.from_numpy(masks.reshape(300, 1, *masks.shape[-2:])).float()
    torch.testing.assert_close(pooled, mask_average_pooling(batch['lq'], [stack]), atol=1e-4, rtol=1e-5)
    assert float(pooled.max()) > 3  # many masks over one pixel add up, as Algorithm 1 has it


@pytest.mark.parametrize('mode', ['fixed', 'reference'])
def test_look_up_tables_draw_what_masks_one_by_one_draw(vector, mode):
    case = vector('masks', 'gray_coding')
    for about in case.meta['sets']:
        labels = label_map_from_masks(case[f'in/{about["name"]}/sam_masks'].astype(bool))
        expected = gray_from_masks(masks_from_label_map(labels), mode)
        assert np.array_equal(gray_from_label_map(labels, mode), expected), about['name']
        assert np.array_equal(gray_from_label_map(labels * 3, mode), expected), about['name']
    rng = np.random.default_rng(0)
    for layers in (1, 2, 5):
        labels = np.stack([rng.integers(0, 60, (30, 40)) + 60 * layer for layer in range(layers)])
        labels[labels % 60 == 0] = 0
        assert np.array_equal(gray_from_label_map(labels, mode), gray_from_masks(masks_from_label_map(labels), mode))
    empty = np.zeros((2, 3, 4), int)
    assert not gray_from_label_map(empty, mode).any() and gray_from_label_map(empty, mode).shape == (3, 4)
    with pytest.raises(MaskError, match=r"'fixed' .*'reference'.*'other'"):
        gray_from_label_map(empty, 'other')
