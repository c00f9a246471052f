"""The page's worker process, turns and visits: work is stopped at once, takes turns, and ends with the visit."""

from __future__ import annotations

import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from basicsr.app.facts import Settings
from basicsr.app.saving import archive, blended
from basicsr.app.turns import Turns
from basicsr.app.visit import Entry
from basicsr.app.visits import Visits
from basicsr.app.worker import Refused, Stopped, Worker
from basicsr.images.files import imread, imwrite
from basicsr.utils.errors import OptionError
from tests.helpers.pages import scene, write_deep
from tests.helpers.slow_service import SlowService, in_words

SETTINGS = Settings('network')


@pytest.fixture(scope='module')
def worker():
    with Worker(SlowService, 'hello', words=in_words, most=3) as one:
        yield one


def until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.slow
def test_calls_are_answered_by_one_process_that_survives_errors(worker):
    steps = []
    said, process = worker.call('say', 'you', report=lambda *step: steps.append(step))
    assert said == 'hello you' and ('saying', 1, 1) in steps
    with pytest.raises(Refused, match='sorry: no such luck'):
        worker.call('fail')
    assert worker.call('say', 'again') == ('hello again', process)


@pytest.mark.slow
def test_work_is_stopped_in_the_middle_or_after_its_time_and_goes_on_with_the_next(worker):
    stop = threading.Event()
    worker.call('say', 'x')
    threading.Timer(0.3, stop.set).start()
    start = time.monotonic()
    with pytest.raises(Stopped):
        worker.call('sleep', 60, stop=stop)
    assert time.monotonic() - start < 30
    with pytest.raises(Refused, match=r'longer than this page allows \(0 seconds\)'):
        worker.call('sleep', 60, seconds=0.2)
    with pytest.raises(Refused, match='memory'):
        worker.call('vanish')
    assert worker.call('say', 'still')[0] == 'hello still'


@pytest.mark.slow
def test_too_many_waiting_calls_are_refused(worker):
    stop = threading.Event()

    def wait():
        with pytest.raises(Stopped):
            worker.call('sleep', 60, stop=stop)

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    until(lambda: worker.waiting == 3)
    with pytest.raises(Refused, match='busy: 3 photos are waiting'):
        worker.call('say', 'x')
    stop.set()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


@pytest.mark.slow
def test_a_call_gives_way_to_the_next_one(worker):
    befores, ended = [], []

    def sample():
        try:
            worker.call('sleep', 60, gives_way=True)
        except Stopped:
            ended.append(True)

    thread = threading.Thread(target=sample)
    thread.start()
    until(lambda: worker.waiting == 1)
    assert worker.call('say', 'photo', report=lambda *step: befores.append(step))[0] == 'hello photo'
    thread.join(20)
    assert ended and ('waiting', 1, 0) not in befores
    stop = threading.Event()

    def wait():
        with pytest.raises(Stopped):
            worker.call('sleep', 60, stop=stop)

    busy = threading.Thread(target=wait)
    busy.start()
    until(lambda: worker.waiting == 1)
    with pytest.raises(Stopped):
        worker.call('say', 'sample', gives_way=True)
    stop.set()
    busy.join(20)


def test_turns_come_in_the_order_of_asking():
    turns, order, befores = Turns(), [], []
    first = threading.Event()

    def take(number):
        with turns.turn(befores.append, every=0.01):
            order.append(number)

    with turns.turn():
        threads = []
        for number in range(3):
            threads.append(threading.Thread(target=take, args=(number,)))
            threads[-1].start()
            until(lambda expected=number + 2: turns.waiting == expected)
        until(lambda: {1, 2, 3} <= set(befores))
        first.set()
    for thread in threads:
        thread.join(20)
    assert order == [0, 1, 2] and turns.waiting == 0


def entry(visit, name):
    folder = visit.new_folder()
    photo = folder / 'photo.png'
    photo.write_bytes(b'x')
    return Entry(name, name, photo, folder, photo, photo, (1, 1), '')


def add(visit, *names):
    for number, name in enumerate(names):
        visit.add(entry(visit, name), 9, is_first=number == 0)


@pytest.fixture
def visits(tmp_path, worker):
    return Visits(tmp_path, worker, lambda name, own: Path(name), 60.0, grace=0.3, kept=0.8)


@pytest.mark.slow
def test_a_visit_deblurs_its_photos_one_by_one_and_only_what_is_outdated(visits):
    visit = visits.of('a')
    with pytest.raises(OptionError, match='Choose a photo'):
        visit.start(SETTINGS)
    add(visit, '0.01', '0.02')
    assert visit.start(SETTINGS) == 2
    until(lambda: not visit.busy)
    assert [photo.state for photo in visit.photos] == ['done', 'done'] and visit.finished == 1
    assert visits.of('b').photos == [] and visits.of('a') is visit
    add(visit, '0.03')
    assert visit.start(SETTINGS) == 1
    until(lambda: not visit.busy)
    visit.settings = Settings('network', 'kernel')
    assert all(visit.is_outdated(photo) for photo in visit.photos)


@pytest.mark.slow
def test_a_visitor_who_leaves_frees_work_and_files_and_one_who_comes_back_keeps_them(visits, tmp_path):
    visit = visits.of('a')
    add(visit, '60', '0')
    visit.start(SETTINGS)
    until(lambda: visit.photos[0].state == 'working')
    visits.leave('a')
    until(lambda: not visit.busy)  # stopped by the clock
    assert [photo.state for photo in visit.photos] == ['cancelled', 'cancelled']
    until(lambda: not visit.folder.exists())
    assert list(tmp_path.iterdir()) == []
    again = visits.of('a')
    assert again is not visit and again.photos == []
    add(again, '0.01')
    visits.leave('a')
    again.left -= 3  # longer than a call that was under way
    visits._kept = visits._grace = 100
    assert visits.of('a') is again and again.left is None
    visits.leave('nobody')


@pytest.mark.slow
def test_an_open_page_keeps_its_photos_as_long_as_they_are_used(visits, tmp_path):
    visits._unused = 0.2
    visit = visits.of('a')
    add(visit, '0.6')
    visit.start(SETTINGS)
    while visit.busy:
        visits.sweep()
        assert visit.photos and visits.is_open('a', visit)
        time.sleep(0.01)
    assert visit.photos[0].state == 'done'
    (tmp_path / 'lost').mkdir()
    visits.sweep()
    assert visit.photos[0].source.exists() and not (tmp_path / 'lost').exists()
    visit.used -= 1
    visits.sweep()
    assert visit.photos == [] and not visit.folder.exists() and 'deleted' in visit.message
    assert visits.is_open('a', visit)
    add(visit, '0')
    assert visit.photos[0].source.exists()


@pytest.mark.slow
def test_an_earlier_result_stays_until_the_new_one_and_after_a_cancel(visits):
    visit = visits.of('a')
    add(visit, '0.01')
    (photo,) = visit.photos
    visit.start(SETTINGS)
    until(lambda: not visit.busy)
    first = photo.result
    assert first is not None and visit.start(SETTINGS) == 0 and not visit.busy
    photo.name = '60'
    other = Settings('network', 'kernel')
    visit.start(other)
    until(lambda: photo.state == 'working')
    assert photo.result is first and photo.settings == SETTINGS
    visit.cancel()
    until(lambda: visit._thread is None)
    assert photo.state == 'cancelled' and photo.result is first and visit.is_outdated(photo) and visit.finished == 1
    photo.name = '0.01'
    visit.start(other)
    until(lambda: not visit.busy)
    assert photo.state == 'done' and photo.result is not first and photo.settings == other
    assert len([path for path in photo.folder.iterdir() if path.is_dir()]) == 1


def test_a_visit_without_an_open_page_is_removed(visits):
    visit = visits.of('invented')
    visit.seen, visit.used = visit.seen - 1, visit.used - 1
    visits.sweep()
    assert not visit.folder.exists() and visits.of('invented') is not visit


@pytest.mark.slow
def test_the_end_of_the_page_stops_the_work_without_an_error():
    raised, steps = [], []

    def wait():
        try:
            worker.call('sleep', 60, report=lambda *step: steps.append(step[0]))
        except BaseException as error:  # noqa: BLE001 - of any kind
            raised.append(type(error))

    for _ in range(3):
        steps.clear()
        with Worker(SlowService, 'hello', words=in_words) as worker:
            thread = threading.Thread(target=wait)
            thread.start()
            until(lambda: 'sleeping' in steps)
        thread.join(20)
    assert raised == [Stopped] * 3


def test_a_single_photo_is_replaced_and_several_are_kept(visits):
    visit = visits.of('a')
    first = entry(visit, 'a')
    visit.add(first, 9)
    add(visit, 'b')
    assert [photo.name for photo in visit.photos] == ['b'] and not first.folder.exists()
    assert [photo.name for photo in visit.photos] == ['b']  # what replaces it could not be read
    add(visit, 'c', 'd')
    add(visit, 'e')
    assert [photo.name for photo in visit.photos] == ['c', 'd', 'e'] and visit.chosen == 'e'
    visit.remove('e')
    assert visit.chosen == 'd'


def test_blended_results_have_full_depth(tmp_path):
    photo = write_deep(tmp_path / 'a.png')
    pixels = imread(photo)
    imwrite(tmp_path / 'pixels.png', 65535 - pixels)
    (tmp_path / 'out').mkdir()
    result = tmp_path / 'a_deblurred.png'
    mixed = blended(photo, tmp_path / 'pixels.png', result, 0.25, tmp_path / 'out')
    assert mixed == tmp_path / 'out' / 'a_deblurred.png'
    wanted = 0.75 * pixels + 0.25 * (65535.0 - pixels)
    assert np.abs(imread(mixed) - wanted).max() <= 0.5
    assert blended(photo, tmp_path / 'pixels.png', result, 1.0, tmp_path / 'out') == result


def test_archives_keep_files_of_equal_names(tmp_path):
    files = []
    for number, name in enumerate(('a.JPG', 'A.jpg', 'b.png', 'a.JPG')):
        (tmp_path / str(number)).mkdir()
        files.append(tmp_path / str(number) / name)
        imwrite(files[-1].with_suffix('.png'), scene(30, 30, seed=number))
        files[-1].write_bytes(files[-1].with_suffix('.png').read_bytes())
    with zipfile.ZipFile(archive(files, tmp_path / 'all.zip')) as zipped:
        assert zipped.namelist() == ['a.JPG', 'A (2).jpg', 'b.png', 'a (3).JPG']
        assert [zipped.read(name) for name in zipped.namelist()] == [path.read_bytes() for path in files]


@pytest.mark.slow
def test_photos_that_join_the_work_have_its_settings_and_those_of_a_busy_page_wait(visits, worker):
    others = [visits.of(name) for name in 'bcd']
    for other in others:
        add(other, '60')
        other.start(SETTINGS)
    until(lambda: worker.waiting == 3)
    visit = visits.of('a')
    add(visit, '0.01', '0.02')
    visit.start(SETTINGS)
    visit.settings = Settings('network', 'kernel')
    visit.add(entry(visit, '0.03'), 9, is_first=False)
    assert {photo.asked for photo in visit.photos} == {SETTINGS}
    time.sleep(0.5)
    assert [photo.state for photo in visit.photos] == ['waiting'] * 3
    for other in others:
        other.cancel()
    until(lambda: [photo.state for photo in visit.photos] == ['done'] * 3)


def test_a_second_tap_on_cancel_removes_nothing(visits):
    visit = visits.of('a')
    add(visit, '0')
    (photo,) = visit.photos
    photo.state = 'waiting'
    visit.cancel(photo.id)
    assert visit.just_stopped(photo.id) and not visit.just_stopped('other')


def test_further_visitors_are_refused(visits, monkeypatch):
    monkeypatch.setattr('basicsr.app.visits.MOST_VISITS', 2)
    visits.of('a'), visits.of('b')
    with pytest.raises(Refused, match='too many visitors'):
        visits.of('c')
    assert visits.of('a') is visits.of('a')
