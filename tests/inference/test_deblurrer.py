"""Deblurrer: what goes in and comes out, masks, names of networks, turns, the guard's remedies."""

from __future__ import annotations

import json
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from PIL import Image

import basicsr
from basicsr import Deblurrer
from basicsr.archs import build_network
from basicsr.archs.map_unit import drop_masks
from basicsr.images.files import tensor2img
from basicsr.inference import pretrained
from basicsr.inference.remedies import restore_guarded
from basicsr.inference.restoring import Restored
from basicsr.inference.self_ensemble import TURNS, turned, turned_back
from basicsr.masks import label_map_from_masks, write_label_map
from basicsr.masks.cache import MaskCache, default_folder
from basicsr.utils.errors import (
    ArgumentError,
    DataError,
    MaskError,
    OptionError,
    ShapeError,
    UnknownNameError,
    UnsafeWeightsError,
    WeightsError,
)
from basicsr.weights.files import save_weights
from tests.helpers.deblurrers import Moody, Thirds, network
from tests.helpers.tiny_pairs import TINY

pytestmark = pytest.mark.numeric

PICTURE = np.random.default_rng(0).integers(60, 200, (37, 50, 3), dtype=np.uint8)
LABELS = (np.indices((37, 50)).sum(0) // 20 + 1).astype(np.int32)


@pytest.fixture
def deblurrer():
    return Deblurrer(network(), device='cpu', dtype='fp32', generator=Thirds())


def reference(net, picture, labels):
    """The same by hand: (H, W, 3) uint8 out."""
    lq = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        return tensor2img(net(lq, torch.from_numpy(labels)[None, None]), rgb2bgr=False)


def stripes(width=50, height=37):
    return np.broadcast_to(np.arange(width) * 3 // width + 1, (height, width)).astype(np.int32)


def test_the_result_is_that_of_the_network_with_the_masks_of_the_generator(deblurrer):
    done = deblurrer.deblur(PICTURE)
    expected = reference(deblurrer.net, PICTURE, stripes())
    assert np.array_equal(done.image, expected) and not np.array_equal(expected, PICTURE)
    assert np.array_equal(done.labels, stripes()[None]) and done.labels.dtype == np.int32
    assert done.tile is None and done.kernel is None and done.warning == '' and done.repaired == 0
    assert 0 < done.mask_seconds < done.seconds
    assert np.array_equal(deblurrer(PICTURE), expected)


def test_every_kind_of_picture_comes_back_as_it_went_in(deblurrer):
    expected = deblurrer(PICTURE)
    floats = deblurrer(PICTURE.astype(np.float64) / 255)
    assert floats.dtype == np.float64 and np.abs(floats * 255 - expected).max() <= 0.51
    assert deblurrer(PICTURE.astype(np.float32) / 255).dtype == np.float32
    deep = deblurrer(PICTURE.astype(np.uint16) * 257)
    assert deep.dtype == np.uint16 and np.abs(deep / 257 - expected).max() <= 0.51
    image = Image.fromarray(PICTURE)
    image.info['dpi'] = (72, 72)
    result = deblurrer(image)
    assert result.mode == 'RGB' and result.info['dpi'] == (72, 72) and np.array_equal(np.asarray(result), expected)
    tensor = torch.from_numpy(PICTURE).permute(2, 0, 1)
    result = deblurrer(tensor)
    assert result.dtype == torch.uint8 and np.array_equal(result.permute(1, 2, 0).numpy(), expected)
    batch = torch.stack([tensor, tensor.flip(-1)]).half() / 255
    result = deblurrer(batch)
    assert result.dtype == torch.float16 and result.shape == batch.shape
    assert np.abs(result[0].permute(1, 2, 0).float().numpy() * 255 - expected).max() <= 1
    assert deblurrer(batch[:0]).shape == (0, 3, 37, 50)


@pytest.mark.parametrize('method', ['network', 'kernel', 'auto'])
def test_one_colour_has_no_kernel_to_estimate(method):
    finder = Deblurrer(build_network(TINY), device='cpu', guard='off', method=method)
    varied, flat = torch.rand(3, 60, 70), torch.full((3, 60, 70), 0.3)
    one_channel = np.full((60, 70), 90, np.uint8)
    for image in (one_channel, one_channel[..., None], np.dstack([one_channel] * 3), torch.stack([varied, flat])):
        with pytest.raises(DataError, match='same colour'):
            finder(image)
    one_channel[30, 35] = 91
    assert finder(one_channel).shape == (60, 70)
    assert finder.for_frames()(np.full((60, 70, 3), 90, np.uint8)).shape == (60, 70, 3)  # frames may be black


def test_gray_and_alpha(deblurrer):
    gray = deblurrer(PICTURE[..., 0])
    three = deblurrer(np.repeat(PICTURE[..., :1], 3, 2).astype(np.float64) / 255)
    assert gray.shape == (37, 50) and np.abs(gray - three.mean(2) * 255).max() <= 0.51
    assert deblurrer(PICTURE[..., :1]).shape == (37, 50, 1)
    assert deblurrer(torch.rand(1, 20, 30)).shape == (1, 20, 30)
    clear = np.dstack([PICTURE, LABELS.astype(np.uint8)])
    result = deblurrer(clear)
    assert np.array_equal(result[..., 3], clear[..., 3]) and np.array_equal(result[..., :3], deblurrer(PICTURE))
    result = deblurrer(torch.from_numpy(clear).permute(2, 0, 1))
    assert np.array_equal(result[3].numpy(), clear[..., 3])
    image = deblurrer(Image.fromarray(clear, 'RGBA'))
    assert image.mode == 'RGBA' and np.array_equal(np.asarray(image), clear_result(deblurrer, clear))
    for mode, expected in (('L', 'L'), ('LA', 'LA'), ('P', 'RGB'), ('1', 'L'), ('CMYK', 'RGB'), ('I;16', 'I;16')):
        source = Image.fromarray(PICTURE[..., 0].astype(np.uint16)) if mode == 'I;16' else Image.fromarray(PICTURE)
        assert deblurrer(source if mode == 'I;16' else source.convert(mode)).mode == expected


def clear_result(deblurrer, clear):
    return np.dstack([deblurrer(clear[..., :3]), clear[..., 3]])


@pytest.mark.parametrize('size', [(1, 1), (1, 9), (3, 200)])
def test_tiny_pictures(deblurrer, size):
    picture = np.full((*size, 3), 120, np.uint8)
    assert deblurrer(picture).shape == picture.shape
    assert Deblurrer(network(), device='cpu')(picture).shape == picture.shape  # felzenszwalb


@pytest.mark.parametrize(
    ('image', 'message'),
    [
        ('photo.jpg', 'str'),
        (np.zeros((4, 4, 2), np.uint8), '(4, 4, 2)'),
        (np.zeros((0, 4, 3), np.uint8), '(0, 4, 3)'),
        (np.zeros((4, 4, 3), np.int32), 'int32'),
        (np.full((4, 4, 3), 200.0), '255'),
        (np.full((4, 4, 3), -1.0), '[0, 1]'),
        (np.full((4, 4, 3), np.nan), 'finite'),
        (torch.zeros(4, 4), '(C, H, W) or (B, C, H, W)'),
        (torch.zeros(3, 4, 4, dtype=torch.int64), 'int64'),
        (torch.zeros(2, 3, 4, 4), 'batch of 2'),
    ],
)
def test_what_is_no_picture_is_refused(deblurrer, image, message):
    with pytest.raises(ShapeError) as caught:
        deblurrer.deblur(image)
    assert message in str(caught.value)


def test_masks_of_the_caller(deblurrer, tmp_path):
    expected = reference(deblurrer.net, PICTURE, LABELS)
    assert not np.array_equal(expected, deblurrer(PICTURE))
    write_label_map(tmp_path / 'm.png', LABELS)
    stack = np.stack([number == LABELS for number in range(1, LABELS.max() + 1)])
    for masks in (LABELS, LABELS[None], torch.from_numpy(LABELS), tmp_path / 'm.png', str(tmp_path / 'm.png'), stack):
        assert np.array_equal(deblurrer(PICTURE, masks), expected)
    assert not deblurrer.generator.asked[1:]
    none = deblurrer.deblur(PICTURE, 'none')
    assert (
        np.array_equal(none.image, reference(deblurrer.net, PICTURE, np.zeros_like(LABELS))) and not none.labels.any()
    )
    silent = Deblurrer(deblurrer.net, device='cpu', dtype='fp32', masks='none', generator=Thirds())
    assert np.array_equal(silent(PICTURE), none.image) and not silent.generator.asked
    assert np.array_equal(silent(PICTURE, 'auto'), deblurrer(PICTURE))
    both = label_map_from_masks(np.stack([LABELS < 4, LABELS > 2]))  # two layers
    assert len(both) == 2 and np.array_equal(deblurrer.deblur(PICTURE, both).labels, both)


@pytest.mark.parametrize(
    ('masks', 'message'),
    [
        (LABELS[:5], r'\(5, 50\)'),
        (LABELS.astype(float), 'float64'),
        ('gone.png', r'gone\.png: '),
        (7, r'\bint\b'),
    ],
)
def test_masks_that_do_not_fit(deblurrer, masks, message):
    with pytest.raises(MaskError, match=message):
        deblurrer(PICTURE, masks)


def test_fewer_masks_and_other_weights_of_masks(deblurrer):
    all_dropped = deblurrer.deblur(PICTURE, LABELS, mask_dropout=1.0)
    assert np.array_equal(all_dropped.image, deblurrer(PICTURE, 'none'))
    half = deblurrer.deblur(PICTURE, LABELS, mask_dropout=0.5, seed=3)
    expected = drop_masks(torch.from_numpy(LABELS)[None, None], 0.5, [3])[0].numpy()
    assert np.array_equal(half.labels, expected) and 0 < len(np.unique(expected)) - 1 < LABELS.max()
    weak = deblurrer.deblur(PICTURE, LABELS, mask_value=1e-6)
    assert np.abs(weak.image.astype(int) - all_dropped.image).max() <= 1
    assert deblurrer.net.mask_value == 1.0 and np.array_equal(
        deblurrer(PICTURE, LABELS), reference(deblurrer.net, PICTURE, LABELS)
    )
    with pytest.raises(ArgumentError, match=r'mask_dropout.* 2'):
        deblurrer.deblur(PICTURE, mask_dropout=2)
    with pytest.raises(MaskError, match='mask_value'):
        deblurrer.deblur(PICTURE, LABELS, mask_value=3)
    assert deblurrer.net.mask_value == 1.0


def test_networks_with_a_gray_picture_or_none_of_masks():
    block = {'type': 'NAFNet', 'mask': True, 'width': 4, 'enc_blk_nums': [1], 'dec_blk_nums': [1]}
    cat = Deblurrer(network(block), device='cpu', dtype='fp32', generator=Thirds(), guard='off')
    lq = torch.from_numpy(PICTURE).permute(2, 0, 1)[None].float() / 255
    gray = torch.from_numpy(stripes()[None, None] * 2 / 255).float()  # codes 2, 4, 6
    with torch.inference_mode():
        expected = tensor2img(cat.net(torch.cat([lq, gray], 1)), rgb2bgr=False)
    assert np.array_equal(cat(PICTURE), expected) and not np.array_equal(cat(PICTURE, 'none'), expected)
    plain = Deblurrer(network({'type': 'PlainUNet', 'width': 4}), device='cpu', generator=Thirds())
    done = plain.deblur(PICTURE, LABELS)
    assert done.labels is None and not plain.takes_masks and not plain.generator.asked


def test_self_ensemble_is_the_mean_over_eight_turns(deblurrer):
    x = torch.rand(1, 3, 5, 7)
    assert len({tuple(turned(x, turn).flatten().tolist()) for turn in TURNS}) == 8
    assert all(torch.equal(turned_back(turned(x, turn), turn), x) for turn in TURNS)
    lq = torch.from_numpy(PICTURE).permute(2, 0, 1)[None].float() / 255
    maps = torch.from_numpy(LABELS)[None, None]
    with torch.inference_mode():
        outputs = [turned_back(deblurrer.net(turned(lq, turn), turned(maps, turn)), turn) for turn in TURNS]
    expected = tensor2img(torch.stack(outputs).mean(0), rgb2bgr=False)
    mean = Deblurrer(deblurrer.net, device='cpu', dtype='fp32', self_ensemble=True)
    assert np.abs(mean(PICTURE, LABELS).astype(int) - expected).max() <= 1
    assert not np.array_equal(mean(PICTURE, LABELS), deblurrer(PICTURE, LABELS))


def test_tiles(deblurrer):
    rng = np.random.default_rng(3)
    picture = np.repeat(np.repeat(rng.integers(60, 200, (18, 24, 3), dtype=np.uint8), 12, 0), 12, 1)
    labels = (np.indices(picture.shape[:2]).sum(0) // 150 + 1).astype(np.int32)  # regions span tiles
    whole = deblurrer.deblur(picture, labels)
    tiled = Deblurrer(deblurrer.net, device='cpu', dtype='fp32', tile=160).deblur(picture, labels)
    assert (whole.tile, tiled.tile) == (None, 160)
    assert 0 < np.abs(whole.image.astype(int) - tiled.image).mean() < 1
    for axis in (0, 1):  # no seam at any place where tiles may meet
        steps = [
            np.abs(np.diff(image.astype(float), axis=axis)).mean((1 - axis, 2)) for image in (tiled.image, whole.image)
        ]
        assert (steps[0] <= 1.1 * steps[1] + 0.1).all()
    with pytest.raises(ArgumentError, match=r'tile.* 8'):
        Deblurrer(deblurrer.net, device='cpu', tile=8).deblur(picture)


def test_bfloat16_stays_close(deblurrer):
    half = Deblurrer(deblurrer.net, device='cpu', dtype='bf16', generator=Thirds())
    error = half(PICTURE).astype(float) - deblurrer(PICTURE)
    assert 0 < np.square(error).mean() < 255**2 / 10**5  # 50 dB
    plain = build_network({'type': 'PlainUNet', 'width': 4})
    assert Deblurrer(plain, device='cpu').dtype == 'fp32'  # nobody has measured it


# --- networks by name


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    folder = tmp_path / 'pretrained'
    folder.mkdir()
    monkeypatch.setattr(pretrained, 'FOLDER', folder)
    monkeypatch.chdir(tmp_path)
    return folder


def test_networks_are_found_by_name_or_file(shelf, tmp_path):
    net = network()
    half = {key: value.half() for key, value in net.state_dict().items()}
    torch.save({'params': half, 'network_g': net.options, 'mask_value': 1.0}, shelf / 'photo_unet.pth')
    save_weights(shelf / 'my_net.pth', network(seed=1))
    loaded = Deblurrer.load(device='cpu')
    assert loaded.name == 'photo_unet'
    assert Deblurrer.load('samdeblur-small', device='cpu').name == 'photo_unet'  # what came before
    assert {p.dtype for p in loaded.net.parameters()} == {torch.float32}  # stored as fp16
    assert torch.equal(loaded.net.intro.weight, net.intro.weight.half().float())
    for name in ('my-net', 'my_net', shelf / 'my_net.pth', 'pretrained/my_net.pth'):
        assert torch.equal(Deblurrer.load(name, device='cpu').net.intro.weight, network(seed=1).intro.weight)
    with pytest.raises(WeightsError, match=r"my_nets .*'my_net'.*my_net, photo_unet"):
        Deblurrer.load('my_nets')
    with pytest.raises(WeightsError, match=r'networks\.md'):
        Deblurrer.load('analysis-synthesis')
    with pytest.raises(WeightsError, match='folder'):
        Deblurrer.load(tmp_path)
    (shelf / 'photo_unet.pth').unlink()
    with pytest.raises(WeightsError, match='photo_unet'):
        Deblurrer.load()


def test_averages_are_preferred_and_the_mask_value_of_the_file_counts(shelf):
    net, average = network(), network(seed=5)
    options = {key: value for key, value in net.options.items() if key != 'mask_value'}
    content = {'params': net.state_dict(), 'params_ema': average.state_dict(), 'network_g': options, 'mask_value': 0.25}
    torch.save(content, shelf / 'a.pth')
    loaded = Deblurrer.load('a', device='cpu').net
    assert torch.equal(loaded.intro.weight, average.intro.weight) and loaded.mask_value == 0.25


class Evil:
    def __reduce__(self):
        return print, ('code in a network file was run',)


def test_network_files_that_cannot_be_used(shelf, capsys):
    torch.save({'params': {'a': torch.zeros(2)}, 'network_g': {'type': 'Transmogrifier'}}, shelf / 'unknown.pth')
    torch.save({'params': {'a': torch.zeros(2)}, 'network_g': {'type': 'NAFNet', 'depth': 9}}, shelf / 'wrong.pth')
    torch.save({'params': {'a': torch.zeros(2)}}, shelf / 'silent.pth')
    torch.save({'params': {'a': Evil()}}, shelf / 'evil.pth')
    torch.save([1, 2], shelf / 'list.pth')
    huge = {'type': 'NAFNet', 'width': 10**5, 'enc_blk_nums': [1], 'dec_blk_nums': [1]}
    torch.save({'params': network().state_dict(), 'network_g': huge}, shelf / 'huge.pth')
    huge['width'] = 10**9
    torch.save({'params': network().state_dict(), 'network_g': huge}, shelf / 'endless.pth')
    (shelf / 'text.pth').write_text('hello')
    save_weights(shelf / 'two_views.pth', build_network({'type': 'NAFNet', 'img_channel': 6, 'width': 4}))
    save_weights(shelf / 'part.pth', build_network(TINY['synthesis']))
    for name, message in (
        ('unknown', "'Transmogrifier'"),
        ('wrong', "'depth'"),
        ('silent', 'network'),
        ('list', r'\blist\b'),
        ('huge', 'NAFNet'),
        ('endless', r'endless\.pth: .*network'),
        ('text', 'damaged'),
        ('two_views', '6 channels'),
        ('part', 'SynthesisNet'),
    ):
        with pytest.raises(WeightsError, match=message) as caught:
            Deblurrer.load(name, device='cpu')
        assert name in str(caught.value)
    with pytest.raises(UnsafeWeightsError, match=r'evil\.pth'):
        Deblurrer.load('evil')
    assert 'was run' not in capsys.readouterr().out


def test_choices_are_checked():
    for arguments, message in (
        ({'device': 'gpu'}, "'gpu'"),
        ({'dtype': 'fp8'}, 'dtype.*fp8'),
        ({'guard': 'yes'}, 'guard.*yes'),
        ({'masks': 'all'}, 'masks.*all'),
    ):
        with pytest.raises(OptionError, match=message):
            Deblurrer(network(), **arguments)
    with pytest.raises(UnknownNameError, match=r"'felsenszwalb'.*'felzenszwalb'"):
        Deblurrer(network(), device='cpu', generator='felsenszwalb')(PICTURE)


# --- the cache


def test_masks_are_kept_and_found_again(tmp_path, caplog):
    cache, made = MaskCache(tmp_path / 'cache'), Thirds()
    deblurrer = Deblurrer(network(), device='cpu', generator=made, cache=cache)
    first = deblurrer.deblur(PICTURE)
    assert np.array_equal(deblurrer(PICTURE), first.image) and len(made.asked) == 1
    deblurrer(PICTURE[::-1])
    assert len(made.asked) == 2
    again = Deblurrer(network(), device='cpu', generator=made, cache=MaskCache(tmp_path / 'cache'))
    assert np.array_equal(again.deblur(PICTURE).labels, first.labels) and len(made.asked) == 2
    path = cache.path(made, PICTURE)
    assert cache.path(made, PICTURE.reshape(PICTURE.shape[1], -1, 3)) != path  # the same bytes, another picture
    path.write_bytes(path.read_bytes()[:100])  # damaged: made again
    again(PICTURE)
    assert len(made.asked) == 3 and path.stat().st_size > 100
    for record in ('{}', 'damaged'):  # somebody else's does not stop it
        (path.parent / 'masks.json').write_text(record)
        path.unlink()
        assert np.array_equal(again(PICTURE), first.image) and path.is_file()
        assert json.loads((path.parent / 'masks.json').read_text())['settings'] == made.settings

    class Others(Thirds):
        @property
        def settings(self):
            return {'type': 'thirds', 'how': 'otherwise'}

    other = Others()
    Deblurrer(network(), device='cpu', generator=other, cache=cache)(PICTURE)
    assert len(other.asked) == 1  # other settings, other masks


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, caplog):
    (tmp_path / 'file').write_text('in the way')
    made = Thirds()
    deblurrer = Deblurrer(network(), device='cpu', generator=made, cache=MaskCache(tmp_path / 'file'))
    deblurrer(PICTURE)
    deblurrer(PICTURE)
    assert len(made.asked) == 2
    assert len([record for record in caplog.records if str(tmp_path / 'file') in record.message]) == 1


def test_the_cache_lies_where_the_user_keeps_them(monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    assert default_folder() == tmp_path / 'basicsr' / 'masks'
    for value in ('', 'relative'):
        monkeypatch.setenv('XDG_CACHE_HOME', value)
        monkeypatch.setenv('HOME', str(tmp_path / 'home'))
        assert default_folder() == tmp_path / 'home' / '.cache' / 'basicsr' / 'masks'


def test_the_generator_sees_eight_bits():
    made = Thirds()
    deblurrer = Deblurrer(network(), device='cpu', generator=made)
    deblurrer(PICTURE.astype(np.uint16) * 256 + 7)
    deblurrer(PICTURE.astype(np.float32) / 255)
    deblurrer(PICTURE)
    assert all(np.array_equal(image, PICTURE) for image in made.asked)
    deblurrer(PICTURE[..., 0])
    assert np.array_equal(made.asked[-1], np.repeat(PICTURE[..., :1], 3, 2))


# --- the guard's remedies


LARGE = np.full((600, 700, 3), 200, np.uint8)


def test_smaller_tiles_are_tried_first():
    done = Deblurrer(Moody(lambda lq: lq.shape[-1] > 512), device='cpu').deblur(LARGE)
    assert np.array_equal(done.image, LARGE) and done.tile == 512 and done.repaired == 0
    assert done.finding.kinds[0] == 'colours' and '512' in done.warning


def test_then_the_whole_picture_if_tiles_collapse():
    done = Deblurrer(Moody(lambda lq: lq.shape[-1] < 600), device='cpu', tile=256).deblur(LARGE)
    assert np.array_equal(done.image, LARGE) and done.tile is None and 'tiles' in done.warning


def test_where_all_attempts_collapse_the_input_is_shown():
    net = Moody(lambda lq: True)
    picture = LARGE[:200, :300]
    done = Deblurrer(net, device='cpu').deblur(picture)
    assert np.array_equal(done.image, picture) and 0.05 < done.repaired < 0.3
    assert done.warning and net.calls == 1  # nothing else to try
    assert Deblurrer(net, device='cpu', guard='off').deblur(picture).finding is None
    warned = Deblurrer(net, device='cpu', guard='warn').deblur(picture)
    assert warned.image[10, 10, 0] < 20 and warned.warning and warned.repaired == 0
    with pytest.raises(WeightsError, match='moody collapsed'):
        Deblurrer(net, device='cpu', guard='refuse', name='moody').deblur(picture)


def test_no_numbers_never_come_out():
    class Nan(Moody):
        def forward(self, lq):
            output = lq.clone()
            output[..., 40:60, 50] = torch.nan
            return output

    picture = LARGE[:100, :120].astype(np.float32) / 255
    for guard in ('repair', 'warn'):
        done = Deblurrer(Nan(None), device='cpu', guard=guard).deblur(picture)
        assert done.finding.kinds == ('numbers',) and np.allclose(done.image, picture)


def test_of_several_collapses_the_smallest_is_mended():
    def run(lq, labels, tile):
        output = lq.clone()
        side = {'auto': 128, 512: 64}.get(tile, 256) if labels.any() else 256
        output[..., :side, :side] = 0
        return Restored(output, None)

    lq, labels = torch.full((1, 3, 600, 700), 0.8), np.ones((1, 600, 700), np.int32)
    outcome = restore_guarded(run, lq, labels, 'auto', 'repair', 'net')
    assert torch.allclose(outcome.image, lq) and outcome.repaired < 0.05  # that of 64 pixels, not the last

    def only_whole(lq, labels, tile):
        if tile == 512:
            raise ArgumentError('too small')
        return run(lq, labels, tile)

    outcome = restore_guarded(only_whole, lq, labels, 'auto', 'repair', 'net')
    assert torch.allclose(outcome.image, lq) and 0.04 < outcome.repaired < 0.12  # that of 128


@pytest.mark.parametrize('error', [torch.OutOfMemoryError('CUDA out of memory'), RuntimeError('CUFFT_ALLOC_FAILED')])
def test_a_remedy_that_does_not_fit_into_the_memory_is_passed_over(error):
    class Full(Moody):
        def forward(self, lq):
            if lq.shape[-1] > 512:
                raise error
            return super().forward(lq)

    net = Full(lambda lq: True)
    done = Deblurrer(net, device='cpu').deblur(LARGE)
    assert done.tile == 350 and 0 < done.repaired < 0.3  # tiles, since the whole does not fit, and no second try of it
    assert np.array_equal(done.image[:60, :60], LARGE[:60, :60])  # shown as it was
    with pytest.raises(type(error)):
        Deblurrer(net, device='cpu', tile=None).deblur(LARGE)


def test_leaving_the_masks_out_is_the_last_remedy():
    net = network()
    original = type(net)._restore

    def restore(self, x, real_size=None):
        output = original(self, x, real_size)
        if x[:, 3:].std((2, 3)).max() > 1e-6:  # a prior of several regions
            output[..., :64, :64] = 1 - output[..., :64, :64].round()
        return output

    net._restore = restore.__get__(net)
    rng = np.random.default_rng(0)
    picture = (np.repeat(np.repeat(rng.integers(150, 220, (6, 6, 3)), 16, 0), 16, 1)).astype(np.uint8)
    labels = np.ones((96, 96), np.int32)
    labels[:, 40:] = 2
    done = Deblurrer(net, device='cpu', dtype='fp32').deblur(picture, labels)
    assert 'masks' in done.warning and done.repaired == 0
    assert np.array_equal(done.labels, labels[None])


# --- kernels


def test_the_kernel_is_one_more_output():
    torch.manual_seed(0)
    deblurrer = Deblurrer(build_network(TINY), device='cpu', guard='off')
    done = deblurrer.deblur(PICTURE)
    assert deblurrer.finds_kernel and deblurrer.dtype == 'fp32'
    assert done.kernel.shape == (7, 9) and done.kernel.dtype == np.float32 and abs(done.kernel.sum() - 1) < 1e-3
    with pytest.raises(ShapeError, match='5×50 pixels'):
        deblurrer.deblur(PICTURE[:5])
    turned_too = Deblurrer(deblurrer.net, device='cpu', guard='off', self_ensemble=True).deblur(PICTURE)
    assert np.array_equal(turned_too.kernel, done.kernel)


# --- the package


@pytest.mark.slow
def test_the_package_offers_it_without_importing_torch():
    code = (
        'import sys, basicsr\nassert "torch" not in sys.modules\n'
        'from basicsr import Deblurrer\nassert "torch" in sys.modules and Deblurrer.__name__ == "Deblurrer"'
    )
    subprocess.run([sys.executable, '-c', code], check=True)
    with pytest.raises(AttributeError, match='Blurrer'):
        _ = basicsr.Blurrer


def test_threads_take_turns(deblurrer):
    expected = [deblurrer.deblur(PICTURE, LABELS).image, deblurrer.deblur(PICTURE, LABELS, mask_value=0.5).image]
    wrong = []

    def work(index):
        for _ in range(3):
            value = None if index == 0 else 0.5
            if not np.array_equal(deblurrer.deblur(PICTURE, LABELS, mask_value=value).image, expected[index]):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(index % 2,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and not np.array_equal(*expected)
