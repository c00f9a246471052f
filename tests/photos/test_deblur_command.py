"""basicsr/deblur.py as people run it: what is named, where results go, what fails, what is left alone."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from basicsr.archs import build_network
from basicsr.images.photo import load_photo
from basicsr.masks import read_masks, write_label_map
from basicsr.photos import runs as photo_runs
from basicsr.photos.jobs import Job
from basicsr.photos.runs import do_all
from basicsr.utils import console
from basicsr.utils.console import run as run_console
from basicsr.utils.errors import DataError, MaskError, OptionError, WeightsError
from basicsr.weights.files import save_weights
from tests.helpers.deblur_commands import RNG, SCRIPT, command, deblur, names, picture
from tests.helpers.deblurrers import network
from tests.helpers.photo_files import write_bad_files
from tests.helpers.tiny_pairs import TINY


def test_a_folder(place, capsys):
    assert deblur('-i', 'photos', '-o', 'new/out') == 0
    assert names('new/out') == ['a_deblurred.jpg', 'b_deblurred.PNG', 'c_deblurred.tif']
    for source, result in (('a.jpg', 'a_deblurred.jpg'), ('b.PNG', 'b_deblurred.PNG'), ('c.tif', 'c_deblurred.tif')):
        before, after = load_photo(Path('photos', source)), load_photo(Path('new/out', result))
        assert before.pixels.shape == after.pixels.shape and not np.array_equal(before.pixels, after.pixels)
    out = capsys.readouterr()
    assert '3 of 3 in' in out.out and 'a_deblurred.jpg: 52×40, ' in out.out and ' s (masks ' in out.out
    assert ' MiB' in out.out or sys.platform != 'linux'
    assert out.err == ''  # no bar without a terminal


def test_files_patterns_and_what_is_missing(place, capsys):
    (place / 'photos/deep').mkdir()
    Image.fromarray(picture()).save('photos/deep/d.png')
    twice = place / 'photos/a.jpg'  # the same by another name
    words = [twice, 'photos/a.jpg', 'photos/*.jpg', 'photos/**/*.png', 'gone.jpg', 'x*.png']
    assert deblur('-i', *words, '-o', 'out') == 1
    assert names('out') == ['a_deblurred.jpg', 'deep'] and names('out/deep') == ['d_deblurred.png']
    out, err = capsys.readouterr()
    assert '2 of 2 in' in out and 'photos/a.jpg' not in err
    assert 'gone.jpg: ' in err and 'x*.png: ' in err
    (place / 'empty').mkdir()
    assert deblur('-i', 'empty', '-o', 'never') == 1
    assert 'empty: ' in capsys.readouterr().err and not Path('never').exists()


def test_what_cannot_be_listed_is_named_and_the_rest_is_done(place, capsys):
    Path('photos/link.jpg').symlink_to('nowhere.jpg')
    assert deblur('-i', 'x' * 300, 'photos', '-o', 'out') == 1
    assert names('out') == ['a_deblurred.jpg', 'b_deblurred.PNG', 'c_deblurred.tif']
    err = capsys.readouterr().err
    assert re.search(rf'{"x" * 300}: .*{os.strerror(errno.ENAMETOOLONG)}', err)
    assert re.search(rf'photos/link\.jpg: .*{os.strerror(errno.ENOENT)}', err)


def test_what_is_there_is_kept_unless_asked(place, capsys):
    assert deblur('-i', 'photos/b.PNG', '-o', 'out') == 0
    Path('out/b_deblurred.PNG').write_text('mine')
    assert deblur('-i', 'photos', '-o', 'out') == 0
    assert Path('out/b_deblurred.PNG').read_text() == 'mine' and Path('out/a_deblurred.jpg').exists()
    assert re.search(r'out/b_deblurred\.PNG .*--overwrite', capsys.readouterr().err)
    assert deblur('-i', 'photos/b.PNG', '-o', 'out', '--overwrite') == 0
    assert load_photo(Path('out/b_deblurred.PNG')).pixels.shape == (31, 33, 3)
    Path('out/a_masks.png').write_text('mine')
    assert deblur('-i', 'photos/a.jpg', '-o', 'out', '--suffix', '_x', '--save-masks') == 1
    assert Path('out/a_masks.png').read_text() == 'mine' and not Path('out/a_x.jpg').exists()
    assert re.search(r'out/a_masks\.png .*out/a_x\.jpg ', capsys.readouterr().err)


def test_a_folder_into_itself(place, capsys):
    assert deblur('-i', 'photos', '-o', 'photos', '--save-masks', '--side-by-side') == 0
    before = names('photos')
    assert len(before) == 5 + 3 + 3 * 3
    assert deblur('-i', 'photos', '-o', 'photos', '--save-masks', '--side-by-side', '--overwrite') == 0
    assert names('photos') == before  # no results of results
    assert 'earlier results' in capsys.readouterr().err
    content = Path('photos/a.jpg').read_bytes()
    for arguments in (('--suffix', ''), ('--suffix', '', '--overwrite')):
        with pytest.raises(DataError, match='overwrit'):
            deblur('-i', 'photos', '-o', 'photos', *arguments)
    assert Path('photos/a.jpg').read_bytes() == content


def test_results_of_the_same_name(place, capsys):
    Path('other').mkdir()
    Image.fromarray(picture()).save('other/a.jpg')
    Image.fromarray(picture()).save('photos/a.png')
    assert deblur('-i', 'photos', 'other', '-o', 'out', '--save-masks', '--suffix', '') == 1
    beside = [f'{name}_{kind}' for name in ('a.jpg', 'a.png', 'b', 'c') for kind in ('masks.png', 'masks_shown.jpg')]
    assert names('out') == sorted(['a.jpg', 'a.png', 'b.PNG', 'c.tif', *beside])
    assert re.search(r'other/a\.jpg: .*photos/a\.jpg', capsys.readouterr().err)


def test_everything_beside_the_result(place):
    assert deblur('-i', 'photos/b.PNG', '-o', 'out', '--side-by-side', '--save-masks') == 0
    assert names('out') == ['b_deblurred.PNG', 'b_masks.png', 'b_masks_shown.jpg', 'b_side_by_side.PNG']
    photo, result = load_photo(Path('photos/b.PNG')).pixels, load_photo(Path('out/b_deblurred.PNG')).pixels
    both = load_photo(Path('out/b_side_by_side.PNG')).pixels
    assert np.array_equal(both[-31:, :33], photo) and np.array_equal(both[-31:, -33:], result)
    assert both.shape[0] > 31 and (both[:-31] < 128).any()  # labels
    assert both.shape[1] > 66 and (both[-31:, 33:-33] == 255).all()  # a gap
    labels = read_masks('out/b_masks.png', (31, 33))
    assert labels.min() == 1  # a partition
    Path('given').mkdir()
    write_label_map('given/b.png', labels)
    assert deblur('-i', 'photos/b.PNG', '-o', 'again', '--masks', 'given') == 0
    assert np.array_equal(load_photo(Path('again/b_deblurred.PNG')).pixels, result)


def test_transparency_and_colours_stay_in_the_picture_of_both(place):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
    clear = np.dstack([picture(), picture()[..., 0]])
    Image.fromarray(clear).save('clear.webp', lossless=True, exact=True, icc_profile=profile)
    assert deblur('-i', 'clear.webp', '-o', 'out', '--side-by-side') == 0
    both = load_photo(Path('out/clear_side_by_side.webp'))
    assert np.array_equal(both.alpha[-40:, :52, 0], clear[..., 3])
    assert np.array_equal(both.alpha[-40:, -52:, 0], clear[..., 3])
    assert (both.alpha[:-40] == 255).all() and (both.alpha[:, 52:-52] == 255).all()
    assert both.stored.more['icc_profile'] == profile


def test_turned_photos_and_their_masks_stand_upright(place):
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(picture(40, 52)).save('turned.png', exif=exif)
    assert deblur('-i', 'turned.png', '-o', 'out', '--side-by-side', '--save-masks') == 0
    with Image.open('out/turned_deblurred.png') as result:
        assert result.size == (52, 40) and result.getexif()[274] == 6
    assert read_masks('out/turned_masks.png').shape == (1, 52, 40)
    with Image.open('out/turned_side_by_side.png') as both:
        assert both.size > (80, 52) and both.getexif().get(274, 1) == 1


def test_masks_that_were_saved_can_be_given_back(place):
    """Other settings would make others; the results are the same."""
    Image.fromarray(picture()).save('photos/a.png')  # the masks of two photos of one stem have the whole name
    assert deblur('-i', 'photos', '-o', 'out', '--save-masks', '--set', 'scale=20') == 0
    assert deblur('-i', 'photos', '-o', 'again', '--masks', 'out') == 0
    assert deblur('-i', 'photos', '-o', 'usual') == 0
    results = names('again')
    assert len(results) == 4
    for name in results:
        assert Path('again', name).read_bytes() == Path('out', name).read_bytes()
    assert any(Path('usual', name).read_bytes() != Path('out', name).read_bytes() for name in results)


@pytest.mark.slow
def test_segment_anything_makes_the_masks(place, monkeypatch):
    """A tiny one with random weights, of a file as the published ones are."""
    segment_anything = pytest.importorskip('segment_anything')
    from tests.helpers import tiny_sam

    checkpoint = tiny_sam.write_sure(place / 'sam.pth')
    for name in ('vit_b', 'vit_h'):
        monkeypatch.setitem(segment_anything.sam_model_registry, name, tiny_sam.build)
    words = ('-i', 'photos/a.jpg', '--save-masks', '--generator', 'sam', '--sam-checkpoint', checkpoint)
    assert deblur(*words, '-o', 'out') == 0
    masks = read_masks('out/a_masks.png')
    assert masks.shape[1:] == (40, 52) and masks.max() > 0
    assert deblur('-i', 'photos/a.jpg', '-o', 'usual', '--save-masks') == 0
    assert not np.array_equal(read_masks('usual/a_masks.png'), masks)
    assert Path('out/a_deblurred.jpg').read_bytes() != Path('usual/a_deblurred.jpg').read_bytes()


def test_masks_of_a_folder_or_none(place, capsys):
    Path('masks').mkdir()
    write_label_map('masks/a.png', np.ones((1, 40, 52), np.int32))
    write_label_map('masks/b.png', np.ones((1, 9, 9), np.int32))
    assert deblur('-i', 'photos', '-o', 'out', '--masks', 'masks') == 1
    assert names('out') == ['a_deblurred.jpg']
    err = capsys.readouterr().err
    assert re.search(r'masks/b\.png: .*\(9, 9\).*\(31, 33\)', err)
    assert re.search(r'photos/c\.tif: .* masks.* c\.png, c_masks\.png', err)
    with pytest.raises(OptionError, match='--masks nowhere'):
        deblur('-i', 'photos', '-o', 'x', '--masks', 'nowhere')
    assert deblur('-i', 'photos/a.jpg', '-o', 'none', '--masks', 'none', '--save-masks') == 0
    assert not read_masks('none/a_masks.png').any() and not Path('cache').exists()


def test_masks_are_cached(place, monkeypatch, capsys):
    assert deblur('-i', 'photos', '-o', 'out') == 0
    kept = sorted(Path('cache').rglob('*.png'))
    assert len(kept) == 3
    from basicsr.masks.felzenszwalb_generator import FelzenszwalbGenerator

    monkeypatch.setattr(FelzenszwalbGenerator, 'label_map', lambda self, image: 1 / 0)
    assert deblur('-i', 'photos', '-o', 'out', '--overwrite') == 0
    with pytest.raises(ZeroDivisionError):
        deblur('-i', 'photos', '-o', 'out', '--overwrite', '--set', 'scale=50')  # other settings
    with pytest.raises(ZeroDivisionError):
        deblur('-i', 'photos', '-o', 'out', '--overwrite', '--mask-cache', 'none')
    with pytest.raises(ZeroDivisionError):
        deblur('-i', 'photos', '-o', 'out', '--overwrite', '--mask-cache', 'elsewhere')


def test_bad_files_are_named_and_the_rest_is_done(place, capsys):
    expected = write_bad_files(place / 'photos')
    bad = [name for name in expected if (place / 'photos' / name).exists()]
    assert deblur('-i', 'photos', '-o', 'out') == 1
    assert names('out') == ['a_deblurred.jpg', 'b_deblurred.PNG', 'c_deblurred.tif']
    out = capsys.readouterr()
    lines = out.err.splitlines()
    for name in bad:
        assert len([line for line in lines if line.startswith(f'photos/{name}: ') and expected[name] in line]) == 1
    assert f'3 of {3 + len(bad)} in' in out.out


def test_odd_pictures_are_done(place, capsys):
    folder = place / 'odd'
    folder.mkdir()
    Image.fromarray(picture(1, 1)).save(folder / 'dot.png')
    Image.fromarray(picture()).convert('CMYK').save(folder / 'cmyk.jpg')
    Image.fromarray(picture()).convert('1').save(folder / 'fax.tif')
    Image.fromarray(picture()).quantize(9).save(folder / 'palette.gif')
    Image.fromarray(np.dstack([picture(), picture()[..., 0]])).save(folder / 'clear.png')
    cv2.imwrite(str(folder / 'deep.png'), picture()[..., 0].astype(np.uint16) * 250)
    cv2.imwrite(str(folder / 'deep.tif'), picture().astype(np.uint16) * 250)
    Image.fromarray(picture(3, 900)).save(folder / 'wide.jpg')
    assert deblur('-i', 'odd', '-o', 'out', '--suffix', '') == 0
    shapes = {path.name: load_photo(path).pixels for path in Path('out').iterdir()}
    assert {name: (pixels.shape, str(pixels.dtype)) for name, pixels in shapes.items()} == {
        'dot.png': ((1, 1, 3), 'uint8'),
        'cmyk.jpg': ((40, 52, 3), 'uint8'),
        'fax.tif': ((40, 52, 1), 'uint8'),
        'palette.png': ((40, 52, 3), 'uint8'),
        'clear.png': ((40, 52, 3), 'uint8'),
        'deep.png': ((40, 52, 1), 'uint16'),
        'deep.tif': ((40, 52, 3), 'uint16'),
        'wide.jpg': ((3, 900, 3), 'uint8'),
    }
    alpha = load_photo(Path('out/clear.png')).alpha
    assert np.array_equal(alpha, load_photo(folder / 'clear.png').alpha)
    out = capsys.readouterr().out
    assert 'CMYK' in out and '8-bit gray' in out


@pytest.mark.slow
def test_a_panorama(place):
    Image.fromarray(picture(500, 20_000)).save('panorama.jpg')
    assert deblur('-i', 'panorama.jpg', '-o', 'out', '--masks', 'none') == 0
    assert load_photo(Path('out/panorama_deblurred.jpg')).pixels.shape == (500, 20_000, 3)


def test_networks_that_cannot_be_used(place):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(place / 'hacked'),)

    torch.save({'params': {'a': torch.zeros(2)}, 'network_g': {'type': 'Unheard'}}, 'unknown.pth')
    torch.save({'params': {'a': Evil()}}, 'evil.pth')
    for model, message in (
        ('unknown.pth', "'Unheard'"),
        ('evil.pth', 'could run code'),
        ('photos/notes.txt', 'photos/notes.txt'),
        ('gone.pth', 'gone.pth'),
    ):
        with pytest.raises(WeightsError) as caught:
            deblur('-i', 'photos', '-o', 'out', '--model', model)
        assert message in str(caught.value)
    assert not (place / 'hacked').exists() and not Path('out').exists()


@pytest.mark.parametrize(
    ('arguments', 'error', 'message'),
    [
        (['--generator', 'sam'], OptionError, '--sam-checkpoint'),
        (['--generator', 'sam', '--sam-checkpoint', 'net.pth'], WeightsError, 'net.pth'),
        (['--generator', 'felzen'], KeyError, 'felzenszwalb'),
        (['--set', 'scal=3'], TypeError, 'scal'),
        (['--save-kernel', '--model', 'net.pth'], OptionError, '--method kernel'),
    ],
)
def test_options_that_do_not_fit(place, arguments, error, message):
    with pytest.raises(error) as caught:
        deblur('-i', 'photos', '-o', 'out', *arguments)
    assert message in str(caught.value) and not Path('out').exists()


def test_networks_without_masks_say_so(place):
    save_weights('unet.pth', build_network({'type': 'PlainUNet', 'width': 4}))
    assert deblur('-i', 'photos/a.jpg', '-o', 'out', '--model', 'unet.pth') == 0
    Path('given').mkdir()
    flags = {'--save-masks': ['--save-masks'], '--masks': ['--masks', 'given']}
    for flag, words in flags.items():
        with pytest.raises(OptionError, match=rf'^{flag}: unet .*masks'):
            deblur('photos/a.jpg', '-o', 'out2', '--model', 'unet.pth', *words)
    assert not Path('cache').exists()


@pytest.mark.parametrize(
    ('words', 'flags'),
    [
        (['--set', 'scale=3'], '--set'),
        (['--generator', 'sam', '--sam-checkpoint', 'x'], '--generator, --sam-checkpoint'),
    ],
)
def test_flags_of_a_generator_that_is_not_used_are_named(place, words, flags, caplog):
    save_weights('unet.pth', build_network({'type': 'PlainUNet', 'width': 4}))
    for network_words in (['--model', 'unet.pth'], ['--masks', 'none']):
        caplog.clear()
        assert deblur('photos/a.jpg', '-o', 'out', '--overwrite', *network_words, *words) == 0
        (warning,) = [record.getMessage() for record in caplog.records if record.levelname == 'WARNING']
        assert warning.startswith(f'{flags}: ')
    caplog.clear()
    assert deblur('photos/a.jpg', '-o', 'out', '--overwrite', '--generator', 'felzenszwalb', '--masks', 'none') == 0
    assert not caplog.records


def test_photos_need_no_flag_and_may_stand_anywhere(place, capsys):
    words = ['photos/a.jpg', '-o', 'out', '--suffix', '', 'photos/b.PNG', '-i', 'photos/c.tif']
    assert deblur(*words) == 0
    assert names('out') == ['a.jpg', 'b.PNG', 'c.tif']
    for nothing in ([], ['-o', 'out'], ['--overwrite']):
        with pytest.raises(SystemExit) as caught:
            deblur(*nothing)
        assert caught.value.code == 2 and 'usage:' in capsys.readouterr().err
    assert deblur('photos/a.jpg', '--suffix', '_here') == 0
    assert names('results/deblurred') == ['a_here.jpg']


@pytest.mark.parametrize('value', ['zero', '0', '-5', '1.5'])
def test_tiles_that_are_no_numbers(place, value, capsys):
    with pytest.raises(SystemExit):
        deblur('-i', 'photos', f'--tile={value}')
    assert 'auto, none' in capsys.readouterr().err


@pytest.mark.parametrize('value', ['/../x', 'a/b', 'a\\b'])
def test_suffixes_that_lead_elsewhere(place, value, capsys):
    with pytest.raises(SystemExit):
        deblur('-i', 'photos', f'--suffix={value}')
    assert '--suffix' in capsys.readouterr().err


def test_tile_ensemble_and_dtype_reach_the_network(place, capsys):
    Image.fromarray(picture(300, 260)).save('large.png')
    words = ('--tile', '160', '--dtype', 'fp32', '--self-ensemble', '--guard', 'off')
    assert deblur('-i', 'large.png', '-o', 'out', *words) == 0
    assert 'tiles of 160' in capsys.readouterr().out
    assert deblur('-i', 'large.png', '-o', 'small', '--tile', '8') == 1
    assert re.search(r'large\.png: .*\b8\b', capsys.readouterr().err)


def test_a_kernel_is_saved(place):
    torch.manual_seed(0)
    save_weights('pair.pth', build_network(TINY))
    assert deblur('-i', 'photos/a.jpg', '-o', 'out', '--model', 'pair.pth', '--save-kernel', '--guard', 'off') == 0
    assert names('out') == ['a_deblurred.jpg', 'a_kernel.npy', 'a_kernel.png']
    assert np.load('out/a_kernel.npy').shape == (7, 9)


def test_collapses_are_named(place, capsys):
    net = network()
    torch.nn.init.constant_(net.ending.bias, 0.6)
    save_weights('mad.pth', net)
    assert deblur('-i', 'photos/b.PNG', '-o', 'out', '--model', 'mad.pth', '--suffix', '') == 0
    assert re.search(r'photos/b\.PNG: collapsed .*100\.0%', capsys.readouterr().err)
    assert np.array_equal(load_photo(Path('out/b.PNG')).pixels, load_photo(Path('photos/b.PNG')).pixels)
    assert deblur('-i', 'photos/b.PNG', '-o', 'out2', '--model', 'mad.pth', '--guard', 'refuse') == 1
    assert not list(Path('out2').iterdir()) and 'photos/b.PNG: mad collapsed' in capsys.readouterr().err


# --- what the system does


def test_a_full_disk_is_said_and_nothing_half_is_left(place, monkeypatch, capsys):
    real = photo_runs.save_photo

    def full(path, photo):
        if path.name.startswith('b'):
            raise OSError(errno.ENOSPC, 'No space left on device', str(path))
        return real(path, photo)

    monkeypatch.setattr(photo_runs, 'save_photo', full)
    assert deblur('-i', 'photos', '-o', 'out') == 1
    assert names('out') == ['a_deblurred.jpg', 'c_deblurred.tif']
    assert f'out/b_deblurred.PNG: {os.strerror(errno.ENOSPC)}' in capsys.readouterr().err


@pytest.mark.parametrize('failing', ['save_photo', 'write_label_map', 'imwrite', 'beside'])
@pytest.mark.parametrize('kind', ['ours', 'of the system'])
def test_after_a_failure_none_of_a_photos_files_is_there(place, monkeypatch, capsys, failing, kind):
    real = getattr(photo_runs, failing)

    def broken(*arguments, **more):
        if 'b' in str(arguments[0])[-20:] or failing == 'beside':
            if kind == 'ours':
                raise MaskError(f'{arguments[0]}: does not fit')
            raise OSError(errno.ENOSPC, 'No space left on device', str(arguments[0]))
        return real(*arguments, **more)

    monkeypatch.setattr(photo_runs, failing, broken)
    assert deblur('-i', 'photos/b.PNG', '-o', 'out', '--side-by-side', '--save-masks') == 1
    assert names('out') == [] and '.part' not in capsys.readouterr().err
    monkeypatch.setattr(photo_runs, failing, real)
    assert deblur('-i', 'photos/b.PNG', '-o', 'out', '--side-by-side', '--save-masks') == 0
    before = {path.name: path.read_bytes() for path in Path('out').iterdir()}
    assert len(before) == 4
    monkeypatch.setattr(photo_runs, failing, broken)
    assert deblur('-i', 'photos/b.PNG', '-o', 'out', '--side-by-side', '--save-masks', '--overwrite') == 1
    assert {path.name: path.read_bytes() for path in Path('out').iterdir()} == before  # what was there stays


def test_a_failure_while_files_get_their_names_leaves_none(place, monkeypatch, capsys):
    real, calls = Path.replace, []

    def broken(self, target):
        calls.append(target)
        if len([call for call in calls if Path(call).parent == Path('out')]) == 3:
            raise OSError(errno.EIO, 'Input/output error', str(self))
        return real(self, target)

    monkeypatch.setattr(Path, 'replace', broken)
    with pytest.raises(OSError, match='Input/output'):
        deblur('-i', 'photos/b.PNG', '-o', 'out', '--side-by-side', '--save-masks')
    assert names('out') == []


def test_more_regions_than_sixteen_bits_count(place, capsys):
    """All of the photo is written, and the next run keeps it; the masks in the cache are found again."""
    Image.fromarray(RNG.integers(0, 256, (270, 270, 3), dtype=np.uint8)).save('noise.png')
    words = ('-i', 'noise.png', '-o', 'out', '--save-masks', '--set', 'scale=0.01', 'min_size=1', 'sigma=0')
    assert deblur(*words) == 0
    assert names('out') == ['noise_deblurred.png', 'noise_masks.png', 'noise_masks_shown.jpg']
    masks = read_masks('out/noise_masks.png', (270, 270))
    assert masks.max() > 65_535 and len(np.unique(masks)) == masks.max()
    assert len(list(Path('cache').rglob('*.png'))) == 1
    assert deblur(*words) == 0 and 'noise_deblurred.png ' in capsys.readouterr().err
    assert deblur('-i', 'noise.png', '-o', 'again', '--masks', 'out') == 0
    assert Path('again/noise_deblurred.png').read_bytes() == Path('out/noise_deblurred.png').read_bytes()


def test_equal_names_in_sub_folders_of_a_pattern(place):
    for folder in ('one', 'two/deep'):
        Path('tree', folder).mkdir(parents=True)
        Image.fromarray(picture()).save(Path('tree', folder, 'x.png'))
    Image.fromarray(picture()).save('tree/x.png')
    words = ('--save-masks', '--set', 'scale=20')
    assert deblur('-i', 'tree/**/*.png', '-o', 'out', *words) == 0
    results = sorted(str(path.relative_to('out')) for path in Path('out').rglob('*_deblurred.png'))
    assert results == ['one/x_deblurred.png', 'two/deep/x_deblurred.png', 'x_deblurred.png']
    for folder in ('', 'one', 'two/deep'):
        photo = load_photo(Path('tree', folder, 'x.png')).pixels
        assert np.abs(load_photo(Path('out', folder, 'x_deblurred.png')).pixels.astype(int) - photo).mean() < 30
    assert deblur('-i', str(place / 'tree/*/x.png'), '-o', 'again', '--masks', 'out') == 0  # each finds its own
    assert Path('again/one/x_deblurred.png').read_bytes() == Path('out/one/x_deblurred.png').read_bytes()
    assert deblur('-i', 'tree/**/*.png', '-o', 'tree') == 0
    assert deblur('-i', 'tree/**/*.png', '-o', 'tree', '--overwrite') == 0  # earlier results are no photos
    assert len(list(Path('tree').rglob('*.png'))) == 6


def test_files_that_are_left_out_by_their_names_are_named_once(place, capsys):
    for name in ('c.jxl', 'd.CR2', 'e.dng', 'f.psd'):
        (place / 'photos' / name).write_bytes(b'anything')
    assert deblur('-i', 'photos', '-o', 'out') == 0
    err = capsys.readouterr().err
    assert all(err.count(name) == 1 for name in ('c.jxl', 'd.CR2', 'e.dng', 'f.psd'))
    assert [line for line in err.splitlines() if 'd.CR2' in line and 'e.dng' in line and 'raw' in line]
    assert 'notes.txt' not in err


def test_what_a_file_is_that_is_named_but_not_read(place, capsys):
    files = {
        'a.jxl': (b'\xff\x0a' + bytes(50), 'JPEG XL'),
        'b.jpg': (b'\0\0\0\x0cJXL \r\n\x87\n', 'JPEG XL'),
        'c.cr3': (b'\0\0\0\x18ftypcrx \0\0\0\1crx isom', 'raw'),
        'd.raf': (b'FUJIFILMCCD-RAW 0201', 'raw'),
        'e.psd': (b'8BPS\0\1', 'Photoshop'),
        'f.png': (b'\0\0\0\x0cjP  \r\n\x87\n', 'JPEG 2000'),
        'g.pdf': (b'%PDF-1.7', 'PDF'),
        'h.orf': (b'IIRO\x08\0\0\0', 'raw'),
    }
    for name, (content, _) in files.items():
        Path(name).write_bytes(content)
    assert deblur('-i', *files, '-o', 'out') == 1
    err = capsys.readouterr().err
    for name, (_, word) in files.items():
        assert [line for line in err.splitlines() if line.startswith(f'{name}: ') and word in line], name
    assert names('out') == []


def test_a_photo_without_enough_memory_is_named_and_the_rest_is_done(place, monkeypatch, capsys):
    real = photo_runs.load_photo

    def full(path, *limit):
        if path.name.startswith('b'):
            raise MemoryError
        return real(path, *limit)

    monkeypatch.setattr(photo_runs, 'load_photo', full)
    assert deblur('-i', 'photos', '-o', 'out') == 1
    assert names('out') == ['a_deblurred.jpg', 'c_deblurred.tif']
    assert 'photos/b.PNG: not enough memory' in capsys.readouterr().err


def test_the_folder_that_cannot_be_written_is_named(place, monkeypatch, capsys):
    def refuse(dir):
        raise PermissionError(errno.EACCES, 'Permission denied', f'{dir}/tmp1234')

    monkeypatch.setattr('tempfile.TemporaryFile', refuse)
    assert run_console(lambda: deblur('-i', 'photos', '-o', 'out')) == 1
    assert capsys.readouterr().err.startswith(f'out: {os.strerror(errno.EACCES)}')


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != 'linux', reason='limits the size of files')
def test_a_real_limit_of_the_file_size(place):
    resource = pytest.importorskip('resource')
    Image.fromarray(RNG.integers(0, 256, (80, 90, 3), dtype=np.uint8)).save('photos/noise.png')
    done = command(
        *('-i', 'photos', '-o', 'out', '--mask-cache', 'none'),
        preexec_fn=lambda: (
            resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000)),
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
        ),
    )
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert names('out') == ['a_deblurred.jpg', 'b_deblurred.PNG', 'c_deblurred.tif']
    assert f'noise_deblurred.png: {os.strerror(errno.EFBIG)}' in done.stderr


def test_folders_that_cannot_be_written(place, capsys):
    for folder in ('net.pth', 'net.pth/inside', '/proc/nowhere'):
        assert run_console(lambda folder=folder: deblur('-i', 'photos', '-o', folder)) == 1
        err = capsys.readouterr().err
        assert folder.split('/inside')[0] in err and 'Traceback' not in err


def test_a_bug_is_not_hidden(place, monkeypatch):
    def broken(path, photo):
        raise OSError(errno.EBADF, 'Bad file descriptor')

    monkeypatch.setattr(photo_runs, 'save_photo', broken)
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        deblur('-i', 'photos', '-o', 'out')


@pytest.mark.slow
def test_interrupting_leaves_no_half_files(place):
    net = network({'type': 'NAFNet', 'width': 32, 'enc_blk_nums': [4], 'dec_blk_nums': [1]})
    save_weights('net.pth', net)
    for name in 'defgh':
        Image.fromarray(picture(500, 600)).save(f'photos/{name}.png')
    words = [sys.executable, str(SCRIPT), '-i', 'photos', '-o', 'out', '--device', 'cpu', '--model', 'net.pth']
    process = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # jobs in the background ignore it
    )
    deadline = time.monotonic() + 200
    while not (place / 'out/a_deblurred.jpg').exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 130 and 'Traceback' not in err
    left = names('out')
    assert not [name for name in left if '.part' in name] and 'h_deblurred.png' not in left
    assert all(load_photo(place / 'out' / name).pixels.size for name in left)


def test_the_command_itself(place):
    done = command('-i', 'photos/a.jpg', 'gone.png', '-o', 'out')
    assert done.returncode == 1 and 'gone.png: ' in done.stderr and '1 of 1 in' in done.stdout


@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_whose_exception_gets_lost_ends_the_run_before_the_next_photo(number, signals):
    class Ended:
        def __del__(self):
            signal.raise_signal(number)

    done = []
    with pytest.raises((SystemExit, KeyboardInterrupt)):
        do_all([Job(Path(name), None) for name in 'ab'], lambda job: done.append((job, Ended())[0]), '')
    assert [job.source.name for job in done] == ['a']


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_whose_exception_becomes_another_ends_the_program(number, signals):
    def main():
        try:
            signal.raise_signal(number)
        except BaseException as error:
            raise SystemError('a result with an exception set') from error
        return 0

    assert console.run(main) == 128 + number


@pytest.fixture
def signals(monkeypatch):
    """Handlers of the command; those before afterwards."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    monkeypatch.setattr(console, '_received', [])
    signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background ignore it
    console.end_on_signals()
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)
