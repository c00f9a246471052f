"""Videos in the command: size and rate stay, what is no video is said, further files, interruptions."""

from __future__ import annotations

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

from basicsr.images.files import imread
from basicsr.inference.deblurrer import Deblurrer
from basicsr.masks.cache import MaskCache
from basicsr.photos.video import deblur_video
from tests.helpers.deblur_commands import SCRIPT, deblur, names
from tests.helpers.deblurrers import Moody, Thirds
from tests.helpers.small_videos import read_video, write_video


@pytest.fixture(params=['PyAV', 'OpenCV'])
def backend(request, monkeypatch):
    """Both readers: the second as if PyAV were not installed."""
    if request.param == 'OpenCV':
        monkeypatch.setitem(sys.modules, 'av', None)
    else:
        pytest.importorskip('av')
    return request.param


@pytest.mark.parametrize('name', ['clip.mp4', 'clip.avi'])
def test_size_rate_and_frames_stay(place, name, backend, capsys):
    """29.97 and 30000/1001 frames a second are the same rate for FFmpeg."""
    write_video(place / name)
    assert deblur('-i', name, '-o', 'out', '--guard', 'off') == 0
    result = Path('out') / name.replace('.', '_deblurred.')
    assert names('out') == [result.name] and not Path('cache').exists()
    (before_rate, before), (rate, frames) = read_video(place / name), read_video(result)
    assert rate == pytest.approx(before_rate, rel=1e-5) and len(frames) == len(before) == 5
    deblurrer = Deblurrer.load('net.pth', device='cpu', guard='off')
    for frame, source in zip(frames, before, strict=True):
        expected = deblurrer(source[..., ::-1])[..., ::-1]
        assert frame.shape == source.shape and np.abs(frame.astype(int) - expected).mean() < 9
    out = capsys.readouterr().out
    assert '64×48, 5 frames, ' in out and ('ffmpeg' in out) == (backend == 'OpenCV')


def test_what_is_no_video(place, backend, capsys):
    write_video(place / 'whole.mp4')
    data = (place / 'whole.mp4').read_bytes()
    (place / 'cut.mp4').write_bytes(data[: len(data) // 3])
    (place / 'text.mov').write_text('no video')
    (place / 'empty.avi').write_bytes(b'')
    given = ['cut.mp4', 'text.mov', 'empty.avi', 'gone.mkv', 'whole.mp4']
    assert deblur('-i', *given, '-o', 'out') == 1
    assert names('out') == ['whole_deblurred.mp4']
    err = capsys.readouterr().err
    assert 'cut.mp4: cut off' in err and 'text.mov: ' in err
    assert 'empty.avi: ' in err and 'gone.mkv: ' in err
    Path('masks').mkdir()
    assert deblur('-i', 'whole.mp4', '-o', 'out2', '--masks', 'masks') == 1
    assert '--masks DIR' in capsys.readouterr().err


def test_folders_leave_videos_out(place, capsys):
    Path('folder').mkdir()
    write_video(place / 'folder/clip.avi')
    cv2.imwrite('folder/photo.png', np.full((30, 30, 3), 99, np.uint8))
    assert deblur('-i', 'folder', '-o', 'out') == 0
    assert names('out') == ['photo_deblurred.png']
    assert 'folder: skipped 1 videos' in capsys.readouterr().err


def test_side_by_side_and_a_contact_sheet(place, backend, capsys):
    write_video(place / 'clip.avi')
    cv2.imwrite('photo.png', np.full((48, 64, 3), 99, np.uint8))
    given = ['-i', 'clip.avi', 'photo.png', '-o', 'out', '--side-by-side', '--contact-sheet', 'sheet.png']
    assert deblur(*given) == 0
    assert names('out') == [
        'clip_deblurred.avi',
        'clip_side_by_side.avi',
        'photo_deblurred.png',
        'photo_side_by_side.png',
    ]
    _, pairs = read_video('out/clip_side_by_side.avi')
    _, results = read_video('out/clip_deblurred.avi')
    _, sources = read_video('clip.avi')
    assert len(pairs) == 5
    for pair, source, result in zip(pairs, sources, results, strict=True):
        assert pair.shape[0] > 48 + 16  # labels above
        assert np.abs(pair[-48:, :64].astype(int) - source).mean() < 6
        assert np.abs(pair[-48:, -64:].astype(int) - result).mean() < 6
    both = imread(Path('sheet.png')).shape[0]
    assert deblur('-i', 'photo.png', '-o', 'alone', '--contact-sheet', 'alone.png') == 0
    assert both > 1.8 * imread(Path('alone.png')).shape[0]  # a row for the video as well
    capsys.readouterr()
    assert deblur(*given, '--overwrite') == 0
    assert deblur('-i', 'out', 'clip.avi', '-o', 'out') == 0
    assert re.search(r'clip\.avi: skipped.* out/clip_deblurred\.avi', capsys.readouterr().err)


@pytest.mark.parametrize('flag', ['--save-masks', '--save-kernel'])
def test_flags_for_photos_refuse_videos_by_name(place, flag, capsys):
    write_video(place / 'clip.avi')
    if flag == '--save-masks':
        cv2.imwrite('photo.png', np.full((48, 64, 3), 99, np.uint8))
        assert deblur('-i', 'clip.avi', 'photo.png', '-o', 'out', flag) == 1
        assert names('out') == ['photo_deblurred.png', 'photo_masks.png', 'photo_masks_shown.jpg']
    else:
        assert deblur('-i', 'clip.avi', '-o', 'out', flag) == 1 and not Path('out').exists()
    assert f'clip.avi: {flag} ' in capsys.readouterr().err


def test_an_interrupted_video_leaves_nothing(place, backend):
    write_video(place / 'clip.avi')
    deblurrer = Deblurrer.load('net.pth', device='cpu', generator=Thirds())
    Path('out').mkdir()

    def stop(frames, total):
        for number, frame in enumerate(frames):
            if number == 2:
                raise KeyboardInterrupt
            yield frame

    with pytest.raises(KeyboardInterrupt):
        deblur_video(deblurrer, Path('clip.avi'), Path('out/x.avi'), progress=stop, side_by_side=Path('out/y.avi'))
    assert not names('out')
    with pytest.raises(OSError, match=r'nowhere/x\.avi'):
        deblur_video(deblurrer, Path('clip.avi'), Path('nowhere/x.avi'))


@pytest.mark.slow
@pytest.mark.skipif(os.name != 'posix', reason='sends signals')
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_ended_leaves_nothing(place, number):
    write_video(place / 'clip.avi', frames=4000)
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), '-i', 'clip.avi', '-o', 'out', '--model', 'net.pth', '--device', 'cpu'],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 200
    while not (Path('out').exists() and names('out')) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert names('out')  # a hidden file in the making
    process.send_signal(number)
    process.communicate(timeout=100)
    assert process.returncode == 128 + number and not names('out')


def test_collapsed_frames_are_counted(place, backend):
    write_video(place / 'clip.avi', frames=4, size=(96, 128))
    bad = iter([False, True, False, True])
    deblurrer = Deblurrer(Moody(lambda lq: next(bad)), device='cpu')
    done = deblur_video(deblurrer, Path('clip.avi'), Path('x.avi'))
    assert (done.frames, done.collapsed, done.size) == (4, 2, (96, 128))


def test_masks_of_a_video_leave_the_cache_of_the_deblurrer_alone(place):
    """Also while another thread deblurs photos with the same deblurrer."""
    write_video(place / 'clip.avi')
    cache = MaskCache(place / 'kept')
    deblurrer = Deblurrer.load('net.pth', device='cpu', generator=Thirds(), cache=cache)
    Path('out').mkdir()

    def photo_meanwhile(frames, total):
        for number, frame in enumerate(frames):
            if number == 1:
                deblurrer(np.full((30, 40, 3), 99, np.uint8))
            yield frame

    deblur_video(deblurrer, Path('clip.avi'), Path('out/x.avi'), progress=photo_meanwhile)
    assert deblurrer.cache is cache and len(list((place / 'kept').rglob('*.png'))) == 1
