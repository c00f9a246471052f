"""What the page answers, without a browser: uploads, downloads, settings."""

from __future__ import annotations

import os
import shutil
import threading
import time
import zipfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from basicsr.app.facts import Settings, ShownResult
from basicsr.app.networks import Networks
from basicsr.app.uploads import forget
from basicsr.app.visits import Visits
from basicsr.images.files import imwrite
from tests.helpers.pages import scene, write_masked
from tests.helpers.project import absent

ME = SimpleNamespace(session_hash='me')


class NoWorker:
    """Copies what it is to deblur."""

    waiting = 0

    def before(self):
        """Wait for a test."""

    def call(self, name, *given, **more):
        self.before()
        if name == 'sample':
            photo, _, _, folder = given
            return Path(shutil.copyfile(photo, folder / 'sample.jpg'))
        source, name, _, _, folder = given
        result = Path(shutil.copyfile(source, folder / f'{Path(name).stem}_deblurred.png'))
        return ShownResult(source, source, result, source, (1, 1))


@pytest.fixture
def answers(tmp_path, monkeypatch):
    try:
        import basicsr.app.answers as answers_module
        from basicsr.app.answers import Answers
    except ImportError:
        absent("gradio is not installed (pip install -e '.[demo]'): the answers of the page were not tested")
    monkeypatch.setattr(answers_module, 'forget', partial(forget, after=0.2))
    folders = [tmp_path / name for name in ('visits', 'samples')]
    for folder in folders:
        folder.mkdir()
    networks = Networks(str(write_masked(tmp_path / 'masked.pth')))
    worker = NoWorker()
    visits = Visits(folders[0], worker, networks.path, 60)
    return Answers(visits, networks, worker, folders[1], max_pixels=10**6, most=6)


def until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def uploaded(tmp_path, name='a.png', seed=0):
    """An upload, where gradio puts it."""
    folder = tmp_path / f'hash{name}'
    folder.mkdir(exist_ok=True)
    imwrite(folder / 'photo.png', scene(40, 50, seed=seed))
    return str((folder / 'photo.png').rename(folder / name))


def test_uploads_are_in_the_visit_only_and_go_with_it(answers, tmp_path):
    good, bad = uploaded(tmp_path), tmp_path / 'bad.png'
    bad.write_bytes(b'no photo')
    answers.add([good, good, str(bad)], {'names': ['a.png', 'b.png', 'bad.png']}, ME)
    visit = answers.visits.of('me')
    assert [photo.name for photo in visit.photos] == ['a.png', 'b.png']
    until(lambda: not Path(good).exists() and not bad.exists())
    network = write_masked(tmp_path / 'own.pth', width=8)
    answers.own(str(network), 'own.pth', ME)
    assert list(visit.networks) == ['own (yours)']
    until(lambda: not network.exists())
    visit.close()
    assert not list((tmp_path / 'visits').iterdir())


def test_a_visit_has_few_networks_of_its_own_and_one_archive(answers, tmp_path):
    for _ in range(5):
        said = answers.own(str(write_masked(tmp_path / 'own.pth', width=8)), 'own.pth', ME)[1]
    visit = answers.visits.of('me')
    assert len(visit.networks) == 4 and 'up to 4' in said
    for _ in range(3):
        (visit.new_download() / 'a.zip').write_bytes(b'x')
    assert len(list(visit.folder.rglob('a.zip'))) == 1


def test_photos_are_taken_when_the_folder_of_the_visit_is_gone_and_no_path_is_told(answers, tmp_path):
    visit = answers.visits.of('me')
    shutil.rmtree(visit.folder)
    answers.add([uploaded(tmp_path)], {'names': ['a.png']}, ME)
    assert len(visit.photos) == 1
    shutil.rmtree(tmp_path / 'visits')
    (tmp_path / 'visits').write_bytes(b'')  # no folders can be created now
    answers.add([uploaded(tmp_path)], {'names': ['b.png']}, ME)
    assert visit.is_error and 'b.png' in visit.message and str(tmp_path) not in visit.message


def test_a_choice_during_the_work_labels_the_result(answers, tmp_path, monkeypatch):
    from basicsr.app import views

    answers.add([uploaded(tmp_path)], {'names': ['a.png']}, ME)
    visit, values = answers.visits.of('me'), ('masked', 'felzenszwalb', 0, 0, 1)
    started, go_on = threading.Event(), threading.Event()
    monkeypatch.setattr(NoWorker, 'before', lambda self: (started.set(), go_on.wait(20)))
    answers.deblur(ME, 'auto', *values)
    assert started.wait(20) and visit.busy
    answers.choose(ME, 'network', *values)
    go_on.set()
    end = time.monotonic() + 20
    while visit.busy and time.monotonic() < end:
        time.sleep(0.01)
    assert 'stale' in views.result(visit) and 'with other settings' in views.photo_list(visit)
    answers.choose(ME, 'auto', *values)
    assert 'stale' not in views.result(visit)


def test_a_refused_upload_leaves_the_result_and_a_wrong_setting_hides_it(answers, tmp_path):
    from basicsr.app import views

    answers.add([uploaded(tmp_path)], {'names': ['a.png']}, ME)
    answers.deblur(ME, 'auto', 'masked', 'felzenszwalb', 0, 0, 1)
    visit = answers.visits.of('me')
    until(lambda: not visit.busy)
    bad = tmp_path / 'bad.png'
    bad.write_bytes(b'no photo')
    said = answers.add([str(bad)], {'names': ['bad.png'], 'videos': ['x.mp4']}, ME)[1]
    assert 'bad.png' in said and 'x.mp4' in said and 'download' in views.result(visit)
    assert 'Seed' in answers.deblur(ME, 'auto', 'masked', 'felzenszwalb', 0, -1, 1)[1] and views.result(visit) == ''


def test_an_archive_has_what_is_there_and_says_what_is_not(answers, tmp_path):
    answers.add([uploaded(tmp_path, name, seed) for seed, name in enumerate('ab')], {'names': ['a.png', 'b.png']}, ME)
    visit = answers.visits.of('me')
    for photo in visit.photos:
        result = Path(shutil.copyfile(photo.source, photo.folder / photo.name))
        photo.state, photo.settings = 'done', Settings('masked')
        photo.result = ShownResult(photo.source, photo.source, result, photo.source, (50, 40))
    visit.photos[0].result.result.unlink()
    answers.save(SimpleNamespace(_data={'id': 'all'}), ME)
    (archive,) = (tmp_path / 'visits').rglob('*.zip')
    assert zipfile.ZipFile(archive).namelist() == ['b.png']
    assert 'a.png' in visit.message and not visit.is_error


def test_a_file_that_two_visitors_upload_at_once_is_there_for_both(answers, tmp_path):
    other = SimpleNamespace(session_hash='other')
    path = uploaded(tmp_path)  # gradio stores equal files once
    answers.add([path], {'names': ['a.png']}, ME)
    answers.add([path], {'names': ['a.png']}, other)
    assert all(len(answers.visits.of(session).photos) == 1 for session in ('me', 'other'))
    time.sleep(0.1)
    os.utime(path, (time.time() + 0.3,) * 2)  # uploaded again
    time.sleep(0.3)
    assert Path(path).exists()


def test_photo_files_are_limited_and_network_files_may_be_larger(answers, tmp_path):
    large = Path(uploaded(tmp_path))
    with large.open('ab') as file:
        file.truncate(10 * 2**20)
    assert '1.png: the file has more than 8 MiB' in answers.add([str(large)], {'names': ['1.png']}, ME)[1]
    network = write_masked(tmp_path / 'own.pth', width=256)
    assert network.stat().st_size > 9 * 2**20
    assert answers.own(str(network), 'own.pth', ME)[1] == ''
