"""The page's work without the page: results are the command line's, and what is wrong is said in words."""

from __future__ import annotations

import errno
import os
import re
import stat
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import basicsr.deblur
from basicsr.app.examples import CAPTIONS, examples_of, make_examples, with_captions
from basicsr.app.facts import NetworkFacts, Settings
from basicsr.app.folder import PREFIX, private_folder, remove_old, swept
from basicsr.app.networks import Networks, facts_of, line_of, method_of
from basicsr.app.screen import SIDE
from basicsr.app.service import Service, reason, safe_name
from basicsr.images.files import imread, imwrite
from basicsr.inference.deblurrer import Deblurrer
from basicsr.inference.pretrained import DEFAULT, find_weights
from basicsr.utils.errors import DataError, ImageFileError, OptionError, WeightsError
from basicsr.weights.files import save_weights
from tests.helpers.pages import bad_files, scene, write_deep, write_jpeg, write_masked, write_plain
from tests.helpers.project import require

MASKED = 'masked'


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """A folder of two networks with names."""
    folder = tmp_path_factory.mktemp('pretrained')
    write_masked(folder / 'masked.pth')
    write_plain(folder / 'plain.pth')
    return folder


class Page:
    """Deblurs as the page does: with networks by their names."""

    def __init__(self, folder, weights, **arguments):
        self.folder, self.networks = folder, Networks(weights=weights)
        self.service = Service(folder, max_megapixels=2.0, device='cpu', **arguments)
        self.steps = []

    def deblur(self, source, name, network=MASKED, masks='felzenszwalb', *, method='network', **more):
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        self.steps.clear()
        settings = Settings(network, method, masks, **more)
        return self.service.deblur(
            source, name, self.networks.path(network), settings, folder, report=lambda *step: self.steps.append(step)
        )


@pytest.fixture
def service(tmp_path, weights):
    (tmp_path / 'shown').mkdir()
    return Page(tmp_path / 'shown', weights)


def by_command_line(photo, network, tmp_path, *flags):
    """The file that ``basicsr/deblur.py`` writes."""
    out = tmp_path / 'by_command_line'
    arguments = ['-i', str(photo), '-o', str(out), '--model', str(network), '--device', 'cpu', '--mask-cache', 'none']
    assert basicsr.deblur.main([*arguments, *flags]) == 0
    (result,) = out.iterdir()
    return result


@pytest.mark.parametrize(
    ('write', 'name'), [(write_jpeg, 'IMG 1 ü.JPG'), (write_deep, 'deep.png')], ids=['jpeg', '16 bits']
)
def test_the_result_is_the_command_lines_byte_for_byte(write, name, service, weights, tmp_path):
    photo = write(tmp_path / name)
    upload = tmp_path / 'shown' / f'upload{photo.suffix}'
    upload.write_bytes(photo.read_bytes())
    outcome = service.deblur(upload, name, MASKED)
    wanted = by_command_line(photo, weights / 'masked.pth', tmp_path)
    assert outcome.result.name == wanted.name
    assert outcome.result.read_bytes() == wanted.read_bytes()
    assert outcome.warning == ''
    assert not np.array_equal(imread(outcome.result), imread(photo))
    unmasked = service.deblur(upload, name, MASKED, 'none')
    wanted.unlink()
    wanted = by_command_line(photo, weights / 'masked.pth', tmp_path, '--masks', 'none')
    assert unmasked.result.read_bytes() == wanted.read_bytes()
    assert unmasked.result.read_bytes() != outcome.result.read_bytes()
    assert unmasked.count == 0
    assert np.array_equal(imread(outcome.pixels), imread(outcome.result)) or write is write_jpeg


def test_pictures_for_the_screen_stand_upright_and_keep_their_colours(service, tmp_path):
    outcome = service.deblur(write_jpeg(tmp_path / 'a.jpg'), 'a.jpg', MASKED)
    with Image.open(outcome.before) as before, Image.open(tmp_path / 'a.jpg') as photo:
        assert before.size == (90, 120)  # stored lying on its side
        assert before.info['icc_profile'] == photo.info['icc_profile']
        turned = np.asarray(photo.transpose(Image.Transpose.ROTATE_270)).astype(int)
        assert np.abs(np.asarray(before) - turned).mean() < 2
    assert imread(outcome.after).shape == imread(outcome.regions).shape == (120, 90, 3)
    assert outcome.size == (90, 120)
    assert outcome.facts == '90×120, JPEG, 8-bit' and ' s (masks ' in outcome.time and 'on cpu' in outcome.time
    assert outcome.memory is None or outcome.memory > 100


def test_large_photos_are_shown_smaller_and_say_so(service, tmp_path):
    imwrite(tmp_path / 'wide.png', np.tile(scene(40, 40), (1, 80, 1)))
    outcome = service.deblur(tmp_path / 'wide.png', 'wide.png', MASKED)
    assert imread(outcome.result).shape == (40, 3200, 3)
    for path in (outcome.before, outcome.after, outcome.regions):
        assert imread(path).shape == (32, SIDE, 3)
    assert any('shown at 80%' in note for note in outcome.notes)


def test_transparent_parts_are_white_on_the_screen_and_stay_in_the_file(service, tmp_path):
    pixels = np.concatenate([scene(), np.full((90, 120, 1), 255, np.uint8)], 2)
    pixels[:, :60, 3] = 0
    Image.fromarray(pixels).save(tmp_path / 'a.png')
    outcome = service.deblur(tmp_path / 'a.png', 'a.png', MASKED)
    assert imread(outcome.after)[:, :50].min() >= 250
    assert np.array_equal(np.asarray(Image.open(outcome.result))[..., 3], pixels[..., 3])


def test_dropout_leaves_regions_out_by_its_seed(service, tmp_path):
    photo = write_deep(tmp_path / 'a.png')
    whole = service.deblur(photo, 'a.png', MASKED)
    half = [service.deblur(photo, 'a.png', MASKED, mask_dropout=0.5, seed=seed) for seed in (1, 1, 2)]
    assert whole.count > 3
    assert [outcome.count for outcome in half] == [whole.count - whole.count // 2] * 3
    first, again, other = (outcome.result.read_bytes() for outcome in half)
    assert first == again
    assert first != other and first != whole.result.read_bytes()
    assert service.deblur(photo, 'a.png', MASKED, mask_dropout=1.0).count == 0


def test_the_mask_value_counts_and_the_networks_own_is_exact(service, tmp_path):
    published = write_masked(tmp_path / 'published.pth', mask_value=1 / 255)
    service.networks = Networks(str(published), weights=tmp_path)
    assert facts_of(published).mask_value == 0.004
    photo = write_deep(tmp_path / 'a.png')
    own, shown, other = (
        service.deblur(photo, 'a.png', 'published', mask_value=value).result.read_bytes()
        for value in (None, 0.004, 0.7)
    )
    assert own == shown == by_command_line(photo, published, tmp_path).read_bytes()
    assert own != other
    assert service.deblur(photo, 'a.png', 'published').result.read_bytes() == own  # the other value is forgotten


def test_a_value_that_the_slider_rounded_is_the_networks_own(service, tmp_path, monkeypatch):
    service.networks = Networks(str(write_masked(tmp_path / 'published.pth', mask_value=1 / 255)), weights=tmp_path)
    asked, deblur = [], Deblurrer.deblur

    def spy(self, *arguments, **weighing):
        asked.append(weighing.get('mask_value'))
        return deblur(self, *arguments, **weighing)

    monkeypatch.setattr(Deblurrer, 'deblur', spy)
    for value in (0.004, 0.005):
        service.deblur(write_deep(tmp_path / 'a.png'), 'a.png', 'published', mask_value=value)
    assert asked == [None, 0.005]


def test_networks_without_masks_and_with_kernels(service, tmp_path, weights):
    from basicsr.archs import build_network
    from tests.helpers.tiny_pairs import TINY

    save_weights(tmp_path / 'kernels.pth', build_network(TINY))
    service.networks = Networks(str(tmp_path / 'kernels.pth'), weights=weights)
    assert list(service.networks.files) == ['kernels', 'masked', 'plain']
    plain, finder = (facts_of(service.networks.path(name)) for name in ('plain', 'kernels'))
    assert (plain.takes_masks, plain.mask_value, plain.finds_kernel, plain.kind) == (False, None, False, 'NAFNet')
    assert finder.finds_kernel and 'kernel' in line_of('kernels', finder)
    photo = write_deep(tmp_path / 'a.png')
    found = service.deblur(photo, 'a.png', 'plain')
    assert (found.regions, found.count, found.kernel) == (None, 0, None)
    found = service.deblur(photo, 'a.png', 'kernels')
    assert found.kernel is not None and imread(found.kernel).max() == 255


@pytest.mark.slow
def test_kernels_are_shown_with_the_reason(service, tmp_path):
    photo = make_examples(tmp_path / 'examples')[0]
    found = service.deblur(photo, 'cat.jpg', 'plain', method='auto')
    assert found.method == 'kernel' and found.reason and not found.sharp
    assert imread(found.kernel).max() == 255
    wanted = by_command_line(photo, service.networks.path('plain'), tmp_path, '--method', 'auto')
    assert found.result.read_bytes() == wanted.read_bytes()
    rounds = [step[1:] for step in service.steps if step[0] == 'kernel' and step[2]]
    assert len(rounds) > 5 and rounds[-1][0] == rounds[-1][1] and rounds == sorted(rounds)


def test_sharp_photos_are_called_sharp_and_stay_as_they_are(service, tmp_path):
    sharp = np.random.default_rng(0).integers(0, 256, (200, 220, 3), dtype=np.uint8)
    imwrite(tmp_path / 'a.png', sharp)
    found = service.deblur(tmp_path / 'a.png', 'a.png', 'plain', method='auto')
    assert found.sharp and found.method == 'photo'
    assert np.array_equal(imread(found.result), sharp)


def test_the_network_of_the_repository_or_the_named_one_comes_first(weights, tmp_path):
    assert list(Networks(weights=weights).files) == ['masked', 'plain']
    assert list(Networks(str(weights / 'plain.pth'), weights).files) == ['plain', 'masked']
    folder = tmp_path / 'named'
    folder.mkdir()
    for name in ('another', DEFAULT):
        write_plain(folder / f'{name}.pth')
    assert list(Networks(weights=folder).files) == [DEFAULT, 'another']
    twin = write_masked(tmp_path / 'masked.pth')  # another file of a name that is taken
    assert list(Networks(str(twin), weights).files) == ['masked.pth', 'masked', 'plain']
    assert method_of(DEFAULT) == 'auto' and method_of('another') == 'network'


def test_network_files_of_every_kind_are_offered(tmp_path):
    folder = tmp_path / 'named'
    folder.mkdir()
    write_plain(folder / 'b-half.safetensors')
    write_plain(folder / 'a.pth')
    (folder / 'a.log').write_text('no network')
    networks = Networks(weights=folder)
    assert networks.files == {'a': folder / 'a.pth', 'b_half': folder / 'b-half.safetensors'}
    assert facts_of(networks.path('b_half')) == NetworkFacts(
        False, None, False, 'NAFNet', facts_of(folder / 'a.pth').parameters
    )
    write_plain(folder / 'a.safetensors')
    named = Networks(str(folder / 'b-half.safetensors'), folder)
    assert list(named.files.items()) == [
        ('b_half', folder / 'b-half.safetensors'),
        ('a', folder / 'a.safetensors'),
    ]


def test_the_network_of_the_repository_is_the_one_chosen_first():
    """With the folder that the page looks into when nobody says otherwise."""
    networks = Networks()
    assert networks.problem == '' and networks.first == DEFAULT
    assert networks.path(DEFAULT) == find_weights()


def test_without_any_network_the_page_says_what_to_do(tmp_path):
    networks = Networks(weights=tmp_path / 'nowhere')
    assert networks.files == {} and networks.first is None
    assert '--model FILE' in networks.problem


def test_wrong_arguments_are_refused_at_the_start(tmp_path, weights):
    with pytest.raises(WeightsError):
        Networks('gone', weights)
    with pytest.raises(OptionError):
        Service(tmp_path, device='gpu')
    with pytest.raises(WeightsError):
        Service(tmp_path, sam_checkpoint=str(tmp_path / 'gone.pth'), device='cpu')


def test_damaged_and_unknown_networks_are_refused(service, weights, tmp_path):
    (tmp_path / 'damaged.pth').write_bytes(b'PK\x03\x04 no more')
    with pytest.raises(WeightsError, match='damaged'):
        facts_of(tmp_path / 'damaged.pth')
    photo = write_deep(tmp_path / 'a.png')
    for network in ('../masked', str(weights / 'masked.pth')):
        with pytest.raises(OptionError, match=re.escape(repr(network))):
            service.deblur(photo, 'a.png', network)
    with pytest.raises(OptionError, match='thirds'):
        service.deblur(photo, 'a.png', 'masked', 'thirds')


def test_segment_anything_without_weights_says_what_it_needs(service, tmp_path):
    photo = write_deep(tmp_path / 'a.png')
    with pytest.raises(OptionError, match='--sam-checkpoint FILE'):
        service.deblur(photo, 'a.png', 'masked', 'sam')
    assert service.deblur(photo, 'a.png', 'plain', 'sam').count == 0  # takes no masks: none are missing


@pytest.mark.slow
def test_segment_anything_with_weights_makes_the_masks_of_the_command(weights, tmp_path, monkeypatch):
    require('segment_anything')
    from segment_anything import sam_model_registry

    from tests.helpers import tiny_sam

    monkeypatch.setitem(sam_model_registry, 'vit_h', tiny_sam.build)
    checkpoint = str(tiny_sam.write_sure(tmp_path / 'sam.pth'))
    service = Page(tmp_path, weights, sam_checkpoint=checkpoint)
    photo = write_deep(tmp_path / 'a.png')
    outcome = service.deblur(photo, 'a.png', 'masked', 'sam')
    assert outcome.count >= 1
    flags = ['--generator', 'sam', '--sam-checkpoint', checkpoint]
    wanted = by_command_line(photo, weights / 'masked.pth', tmp_path, *flags)
    assert outcome.result.read_bytes() == wanted.read_bytes()
    assert outcome.result.read_bytes() != service.deblur(photo, 'a.png', MASKED).result.read_bytes()


@pytest.mark.parametrize('name', bad_files())
def test_bad_files_are_refused_in_words_without_their_path(name, service, tmp_path):
    data, words = bad_files()[name]
    upload = tmp_path / 'shown' / 'xyz.jpg'
    upload.write_bytes(data)
    with pytest.raises(ImageFileError) as caught:
        service.deblur(upload, name)
    said = reason(caught.value, upload)
    assert words in said
    assert str(tmp_path) not in said and 'xyz' not in said


def test_tiny_photos_are_deblurred_as_the_command_line_does(service, weights, tmp_path):
    imwrite(tmp_path / 'dot.png', np.full((1, 1, 3), 99, np.uint8))
    outcome = service.deblur(tmp_path / 'dot.png', 'dot.png', MASKED)
    wanted = by_command_line(tmp_path / 'dot.png', weights / 'masked.pth', tmp_path)
    assert outcome.result.read_bytes() == wanted.read_bytes()


def test_uploads_that_are_gone_are_asked_for_again(service, tmp_path):
    with pytest.raises(ImageFileError, match='upload'):
        service.deblur(tmp_path / 'gone.jpg', 'gone.jpg')


@pytest.mark.parametrize(
    ('given', 'kept'),
    [
        ('IMG_1.JPG', 'IMG_1.JPG'),
        ('Ferien ü (1).tiff', 'Ferien ü (1).tiff'),
        ('../../etc/passwd', 'passwd'),
        ('C:\\photos\\a.png', 'a.png'),
        ('a\x00b\n.jpg', 'ab.jpg'),
        ('', 'photo'),
        ('..', 'photo'),
        ('.jpg', '.jpg'),
        ('ü' * 300 + '.jpg', 'ü' * 60 + '.jpg'),
    ],
)
def test_names_of_results_stay_in_their_folder(given, kept, service, tmp_path):
    assert safe_name(given) == kept
    outcome = service.deblur(write_deep(tmp_path / 'a.png'), given if given.endswith('.png') else 'a.png', MASKED)
    assert outcome.result.parent.parent == tmp_path / 'shown'
    assert outcome.result.name.endswith('_deblurred.png')


def test_errors_are_told_in_words_and_bugs_go_to_the_log(caplog):
    assert 'No space left on device' in reason(OSError(errno.ENOSPC, 'No space left on device', '/x/y'))
    assert 'memory' in reason(MemoryError())
    assert 'memory' in reason(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"))
    said = reason(ImageFileError('/up/load.jpg: no; see /up/load.jpg'), Path('/up/load.jpg'))
    assert said == 'no; see the photo'
    assert caplog.records == []
    for error in (ValueError('/secret/path'), OSError(errno.EIO, 'Input/output error', '/secret/path')):
        caplog.clear()
        assert 'secret' not in reason(error)
        assert 'secret' in caplog.text


@pytest.mark.slow
def test_examples_are_made_the_same_each_time_and_have_words(tmp_path):
    first, again = make_examples(tmp_path / 'a'), make_examples(tmp_path / 'b')
    assert [path.name for path in first] == [f'{name}_blurred.jpg' for name in CAPTIONS]
    assert sorted(path.name for path in (tmp_path / 'a').iterdir()) == sorted(path.name for path in first)
    for path, other in zip(first, again, strict=True):
        assert path.read_bytes() == other.read_bytes()
        assert 250 < min(imread(path).shape[:2]) <= 512 and path.stat().st_size < 200_000
    shown = with_captions([*first, tmp_path / 'mine.png'])
    assert [(one.caption, one.alt) for one in shown[:4]] == list(CAPTIONS.values())
    assert shown[4].caption == 'mine.png' and 'mine.png' in shown[4].alt


def test_examples_of_a_folder(tmp_path):
    write_jpeg(tmp_path / 'b.jpg')
    write_deep(tmp_path / 'a.png')
    (tmp_path / 'notes.txt').write_text('no photo')
    assert [path.name for path in examples_of(tmp_path)] == ['a.png', 'b.jpg']
    (tmp_path / 'empty').mkdir()
    for folder in (tmp_path / 'empty', tmp_path / 'gone'):
        with pytest.raises(DataError, match=str(folder)):
            examples_of(folder)


def test_the_folder_is_private_and_goes_with_the_page(tmp_path):
    with private_folder(tmp_path) as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / 'deep').mkdir()
        (folder / 'deep' / 'photo.jpg').write_bytes(b'x')
        with private_folder(tmp_path) as second:  # a page beside it is left alone
            assert folder.is_dir() and second != folder
    assert list(tmp_path.iterdir()) == []


def test_folders_of_killed_pages_are_removed(tmp_path):
    killed = tmp_path / f'{PREFIX}killed'
    killed.mkdir()
    (killed / 'lock').write_bytes(b'')
    (killed / 'photo.jpg').write_bytes(b'x')
    other, link, mine = tmp_path / f'{PREFIX}other', tmp_path / f'{PREFIX}link', tmp_path / 'mine'
    other.mkdir()  # a page that is just starting
    left = tmp_path / f'{PREFIX}left'  # by what was in work when its page ended
    left.mkdir()
    os.utime(left, (time.time() - 100,) * 2)
    mine.mkdir()
    (mine / 'lock').write_bytes(b'')
    link.symlink_to(mine)
    with private_folder(tmp_path):
        assert not killed.exists() and not left.exists()
        assert other.is_dir() and (mine / 'lock').is_file()


def test_old_files_are_removed_and_others_stay(tmp_path):
    before = time.time() - 100
    for name in ('a/old.jpg', 'a/new.jpg', 'b/old.jpg', 'examples/old.jpg', 'visits/a/old.jpg'):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'x')
        if 'old' in name:
            os.utime(path, (before, before))
    kept = {tmp_path / 'examples/old.jpg', tmp_path / 'visits'}
    remove_old(tmp_path, 50, kept)
    assert (tmp_path / 'b').is_dir()  # something has changed in it just now
    os.utime(tmp_path / 'b', (before, before))
    remove_old(tmp_path, 50, kept)
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob('*'))
    assert left == ['a', 'a/new.jpg', 'examples', 'examples/old.jpg', 'visits', 'visits/a', 'visits/a/old.jpg']
    remove_old(tmp_path / 'gone', 50)


def test_the_sweeper_works_while_the_page_runs_and_keeps_what_was_there(tmp_path):
    (tmp_path / 'example.jpg').write_bytes(b'x')
    os.utime(tmp_path / 'example.jpg', (0, 0))
    with swept(tmp_path, 30, every=0.01):
        upload = tmp_path / 'upload.jpg'
        upload.write_bytes(b'x')
        os.utime(upload, (0, 0))
        end = time.monotonic() + 10
        while upload.exists() and time.monotonic() < end:
            time.sleep(0.01)
        assert not upload.exists()
    assert (tmp_path / 'example.jpg').exists()
