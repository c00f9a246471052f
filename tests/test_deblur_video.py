"""Videos frame by frame: size and rate stay, sound if there is ffmpeg, what is no video is said."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from basicsr.models import video
from basicsr.models.deblurrer import Deblurrer
from basicsr.models.video import deblur_video
from basicsr.utils.errors import ImageFileError
from basicsr.utils.weights import save_weights
from tests.test_deblur_command import command, deblur, names
from tests.test_deblurrer import Moody, Thirds, network

RNG = np.random.default_rng(0)


def write_video(path, frames=5, size=(48, 64), rate=29.97):
    codec = 'MJPG' if path.suffix == '.avi' else 'mp4v'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), rate, size[::-1])
    if not writer.isOpened():
        pytest.skip(f'this OpenCV writes no {path.suffix}')
    for number in range(frames):
        frame = np.full((*size, 3), (60, 120, 180), np.uint8)
        frame[:, number * 8 : number * 8 + 16] = (200, 80, 90)
        writer.write(frame)
    writer.release()


def read_video(path):
    reader = cv2.VideoCapture(str(path))
    frames = []
    while (got := reader.read())[0]:
        frames.append(got[1])
    return reader.get(cv2.CAP_PROP_FPS), frames


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.setenv('PATH', str(tmp_path / 'bin'))  # without ffmpeg
    save_weights(tmp_path / 'net.pth', network())
    return tmp_path


@pytest.mark.parametrize('name', ['clip.mp4', 'clip.avi'])
def test_size_rate_and_frames_stay(place, name, capsys):
    write_video(place / name)
    assert deblur('-i', name, '-o', 'out', '--guard', 'off') == 0
    result = Path('out') / name.replace('.', '_deblurred.')
    assert names('out') == [result.name] and not Path('cache').exists()
    (before_rate, before), (rate, frames) = read_video(place / name), read_video(result)
    assert rate == pytest.approx(before_rate) and len(frames) == len(before) == 5
    deblurrer = Deblurrer.load('net.pth', device='cpu', guard='off')
    for frame, source in zip(frames, before, strict=True):
        expected = deblurrer(source[..., ::-1])[..., ::-1]
        assert frame.shape == source.shape and np.abs(frame.astype(int) - expected).mean() < 9
    out = capsys.readouterr().out
    assert '64×48, 5 frames, ' in out and 'ffmpeg is not installed' in out


def test_sound_is_copied_by_ffmpeg(place, capsys):
    write_video(place / 'clip.mp4')
    program = place / 'bin' / 'ffmpeg'
    program.parent.mkdir()
    program.write_text(
        f'#!{sys.executable}\nimport shutil, sys\n'
        'a = sys.argv\nassert a[a.index("-map") + 1] == "0:v" and "1:a?" in a and a.count("-i") == 2\n'
        'assert a[len(a) - 1 - a[::-1].index("-i") + 1].endswith("clip.mp4")\n'
        'shutil.copy(a[a.index("-i") + 1], a[-1])\nopen(a[-1], "ab").write(b"sound")\n'
    )
    program.chmod(0o755)
    assert deblur('-i', 'clip.mp4', '-o', 'out') == 0
    assert Path('out/clip_deblurred.mp4').read_bytes().endswith(b'sound') and names('out') == ['clip_deblurred.mp4']
    assert 'sound' not in capsys.readouterr().out
    program.write_text('#!/bin/sh\nexit 1\n')
    assert deblur('-i', 'clip.mp4', '-o', 'again') == 0
    assert len(read_video('again/clip_deblurred.mp4')[1]) == 5 and names('again') == ['clip_deblurred.mp4']
    assert 'sound is not kept: ffmpeg could not copy it' in capsys.readouterr().out


def test_what_is_no_video(place, capsys):
    write_video(place / 'whole.mp4')
    data = (place / 'whole.mp4').read_bytes()
    (place / 'cut.mp4').write_bytes(data[: len(data) // 3])
    (place / 'text.mov').write_text('no video')
    (place / 'empty.avi').write_bytes(b'')
    given = ['cut.mp4', 'text.mov', 'empty.avi', 'gone.mkv', 'whole.mp4']
    assert deblur('-i', *given, '-o', 'out') == 1
    assert names('out') == ['whole_deblurred.mp4']
    err = capsys.readouterr().err
    assert 'cut.mp4: no video that can be read' in err and 'text.mov: no video that can be read' in err
    assert 'empty.avi: the file is empty' in err and 'gone.mkv: no such file' in err
    Path('masks').mkdir()
    assert deblur('-i', 'whole.mp4', '-o', 'out2', '--masks', 'masks') == 1
    assert 'the frames of a video have no mask files' in capsys.readouterr().err


def test_odd_sizes_lose_a_row_and_say_so(place, capsys):
    frames = [Image.fromarray(RNG.integers(90, 160, (33, 49, 3), dtype=np.uint8)) for _ in range(3)]
    frames[0].save('clip.gif', save_all=True, append_images=frames[1:])
    Path('clip.gif').rename('clip.mp4')  # OpenCV writes no odd sizes, but reads them whatever the name
    assert deblur('-i', 'clip.mp4', '-o', 'out', '--guard', 'off') == 0
    out = capsys.readouterr().out
    shape = read_video('out/clip_deblurred.mp4')[1][0].shape
    assert shape == (32, 48, 3) and ': 48×32, ' in out and 'cut to 48×32: only even sizes' in out


def test_a_full_disk_stops_a_video(place, monkeypatch, capsys):
    write_video(place / 'clip.avi')
    usage = video.shutil.disk_usage('.')
    left = iter([10**6, 10**6, 48 * 64 * 3 - 1])
    monkeypatch.setattr(video.shutil, 'disk_usage', lambda path: usage._replace(free=next(left)))
    assert deblur('-i', 'clip.avi', '-o', 'out', '--guard', 'off') == 1
    assert not names('out')
    assert 'out/clip_deblurred.avi: No space left on device; free some space' in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != 'linux', reason='limits the size of files')
@pytest.mark.parametrize('name', ['clip.mp4', 'clip.avi'])
def test_a_video_that_is_not_written_to_its_end_is_no_result(place, name):
    resource = pytest.importorskip('resource')
    write_video(place / name, frames=20)
    done = command(
        *('-i', name, '-o', 'out', '--guard', 'off', '--masks', 'none'),
        errors='replace',
        preexec_fn=lambda: (
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)),
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
        ),
    )
    assert done.returncode == 1 and 'Traceback' not in done.stderr and not names('out')
    assert f'{name}: out/clip_deblurred' in done.stderr and 'of 20 frames could be written' in done.stderr


def test_frames_that_the_encoder_loses_are_missed(place, monkeypatch, capsys):
    write_video(place / 'clip.avi')
    real = video._writer

    class Lossy:
        def __init__(self, *arguments):
            self.writer, self.left = real(*arguments), 4
            self.release = self.writer.release

        def write(self, frame):
            self.left -= 1
            if self.left >= 0:
                self.writer.write(frame)

    monkeypatch.setattr(video, '_writer', Lossy)
    assert deblur('-i', 'clip.avi', '-o', 'out', '--guard', 'off', '--masks', 'none') == 1
    assert not names('out') and 'only 4 of 5 frames could be written' in capsys.readouterr().err


def test_folders_leave_videos_out(place, capsys):
    Path('folder').mkdir()
    write_video(place / 'folder/clip.avi')
    cv2.imwrite('folder/photo.png', np.full((30, 30, 3), 99, np.uint8))
    assert deblur('-i', 'folder', '-o', 'out') == 0
    assert names('out') == ['photo_deblurred.png']
    assert '1 videos left out; name those' in capsys.readouterr().err


def test_an_interrupted_video_leaves_nothing(place):
    write_video(place / 'clip.avi')
    deblurrer = Deblurrer.load('net.pth', device='cpu', generator=Thirds())
    Path('out').mkdir()

    def stop(frames, total):
        for number, frame in enumerate(frames):
            if number == 2:
                raise KeyboardInterrupt
            yield frame

    with pytest.raises(KeyboardInterrupt):
        deblur_video(deblurrer, Path('clip.avi'), Path('out/x.avi'), progress=stop)
    assert not names('out')
    with pytest.raises(ImageFileError, match='cannot write a video here'):
        deblur_video(deblurrer, Path('clip.avi'), Path('nowhere/x.avi'))


def test_collapsed_frames_are_counted(place, capsys):
    write_video(place / 'clip.avi', frames=4, size=(96, 128))
    bad = iter([False, True, False, True])
    deblurrer = Deblurrer(Moody(lambda lq: next(bad)), device='cpu')
    done = deblur_video(deblurrer, Path('clip.avi'), Path('x.avi'))
    assert (done.frames, done.collapsed, done.size) == (4, 2, (96, 128))
