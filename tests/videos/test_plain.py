"""Without PyAV: plain videos go through OpenCV as before, all others are refused with what installs it."""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from basicsr.images.side_by_side import sizes
from basicsr.photos.video import deblur_video
from basicsr.utils.errors import ImageFileError
from basicsr.videos import opencv as video_opencv
from basicsr.videos.bits import read_h264, read_mpeg4
from basicsr.videos.colours import Colours
from tests.helpers.deblur_commands import command, deblur, names
from tests.helpers.project import require
from tests.helpers.small_videos import read_video, write_video
from tests.helpers.videos import TURNED, leaving, look, make, rgb

pytestmark = pytest.mark.usefixtures('place')


@pytest.fixture(autouse=True)
def without_av(place, monkeypatch):
    """As if it were not installed; tests make their videos before."""

    def hide():
        monkeypatch.setitem(sys.modules, 'av', None)

    return hide


PLAIN = {
    'h264.mp4': {},
    'baseline.mp4': {'options': {'profile': 'baseline'}},
    'b_frames.mov': {'times': 20, 'unit': Fraction(1, 12800)},
    'hd.mp4': {'size': (720, 1280), 'times': 2},
    '601.mp4': {'colours': (6, 6, 6, 1)},
    'pal.mp4': {'colours': (5, 5, 6, 1)},
    'mpeg4.mp4': {'codec': 'mpeg4', 'unit': Fraction(1, 25)},
    'mpeg4.avi': {'codec': 'mpeg4'},
    'jpeg.avi': {'codec': 'mjpeg', 'pixels': 'yuvj420p'},
    'jpeg_hd.avi': {'codec': 'mjpeg', 'pixels': 'yuvj420p', 'size': (720, 1280), 'times': 2},
}


@pytest.mark.parametrize('name', PLAIN)
def test_plain_videos_look_the_same(name, without_av):
    require('av')
    make(name, **PLAIN[name])
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, 'av', None)
        done = deblur_video(leaving(), Path(name), Path(f'out{Path(name).suffix}'))
    assert len(done.notes) == 1 and re.match('sound.*ffmpeg', done.notes[0])
    before, after = look(name), look(f'out{Path(name).suffix}')
    assert after.codec == ('mjpeg' if name.endswith('.avi') else 'mpeg4') and after.size == before.size == done.size
    assert after.times == pytest.approx(before.times, abs=1e-4)
    shown = [rgb(seen.frames[0], matrix_of(seen)) for seen in (before, after)]
    assert np.abs(shown[0] - shown[1]).mean() < 4


def matrix_of(seen):
    """As players do: by the tag, else by the height."""
    return {1: 'bt709', 5: 'bt601', 6: 'bt601', 2: 'bt709' if seen.size[0] >= 720 else 'bt601'}[seen.colours[0]]


OTHERS = {
    'hd709.mp4': ({'colours': (1, 1, 1, 1), 'size': (720, 1280), 'times': 2}, 'colours'),
    'sd709.mp4': ({'colours': (1, 1, 1, 1)}, 'colours'),
    'hd601.mp4': ({'colours': (6, 6, 6, 1), 'size': (720, 1280), 'times': 2}, 'colours'),
    'full.mp4': ({'pixels': 'yuvj420p', 'colours': (2, 2, 2, 2)}, 'colours'),
    'mpeg4_709.mp4': ({'codec': 'mpeg4', 'colours': (1, 1, 1, 1), 'unit': Fraction(1, 25)}, 'colours'),
    'hlg.mov': ({'codec': 'libx265', 'pixels': 'yuv420p10le', 'colours': (9, 9, 18, 1)}, 'colours'),
    'ten.mp4': ({'pixels': 'yuv420p10le'}, '8 bits'),
    'hevc.mp4': ({'codec': 'libx265'}, r'\(hev1\).* 8 bits'),
    'half.mp4': ({'pixels': 'yuv422p'}, '4:2:0'),
    'interlaced.mp4': ({'interlaced': True}, 'interlaced'),
    'late.mp4': ({'times': [1 + Fraction(i, 25) for i in range(6)]}, 'edit list'),
    'uneven.mp4': ({'times': [Fraction(i * i, 50) for i in range(6)]}, 'frame rate'),
    'turned.mp4': ({'display': TURNED['90']}, 'rotated'),
    'mirrored.mov': ({'display': TURNED['mirrored']}, 'rotated'),
    'wide.mp4': ({'aspect': Fraction(4, 3)}, 'square'),
    'wide.avi': ({'codec': 'mpeg4', 'aspect': Fraction(4, 3)}, 'square'),
    'pause.avi': (
        {'codec': 'mpeg4', 'times': [Fraction(i + 5 * (i > 2), 25) for i in range(6)]},
        'pauses',
    ),
    'hd.avi': ({'codec': 'mpeg4', 'size': (720, 1280), 'times': 2}, 'matrix'),
    'h264.avi': ({'options': {'bf': '0'}}, r'\(H264\).* 8 bits'),
    'raw.avi': ({'codec': 'rawvideo'}, r'\(I420\).* 8 bits'),
    'parts.mp4': ({'container': {'movflags': 'frag_keyframe+empty_moov'}}, 'fragmented'),
    'any.mkv': ({}, 'colours .*times'),
    'any.webm': ({'codec': 'libvpx-vp9'}, 'colours .*times'),
}


@pytest.mark.parametrize('name', OTHERS)
def test_others_are_refused_with_what_installs_pyav(name, without_av):
    require('av')
    more, reason = OTHERS[name]
    make(name, **more)
    without_av()
    with pytest.raises(ImageFileError, match=reason) as error:
        deblur_video(leaving(), Path(name), Path('out.avi' if name.endswith('.avi') else 'out.mp4'))
    assert str(error.value).startswith(f'{name}: ') and 'PyAV' in str(error.value)
    assert not list(Path().glob('*out*'))


def test_an_old_pyav_is_as_none(without_av, monkeypatch):
    av = pytest.importorskip('av')
    make('any.mkv')
    monkeypatch.setattr(av, '__version__', '12.3.0')
    with pytest.raises(ImageFileError, match=r'any\.mkv: .*PyAV'):
        deblur_video(leaving(), Path('any.mkv'), Path('out.mkv'))


def test_a_cut_video_and_no_video_without_pyav(without_av):
    write_video(Path('whole.mp4'))
    without_av()
    data = Path('whole.mp4').read_bytes()
    Path('cut.mp4').write_bytes(data[: len(data) // 3])
    Path('text.mov').write_text('no video')
    for name, reason in {'cut.mp4': 'cut off', 'text.mov': 'readable'}.items():
        with pytest.raises(ImageFileError, match=f'{name}: .*{reason}'):
            deblur_video(leaving(), Path(name), Path('out.mp4'))


@pytest.mark.parametrize('data', [b'', b'\x67', b'\x67\x42\x00\x1e\xff'])
def test_headers_that_end_too_early(data):
    with pytest.raises(ValueError, match='ends'):
        read_h264(data)
    assert read_mpeg4(data) == Colours()
    with pytest.raises(ValueError, match='ends'):
        read_mpeg4(data + b'\0\0\1\xb5')


def test_a_full_disk_stops_a_plain_video(without_av, monkeypatch, capsys):
    write_video(Path('clip.avi'))
    without_av()
    usage = video_opencv.shutil.disk_usage('.')
    left = iter([10**6, 10**6, 48 * 64 * 3 - 1])
    monkeypatch.setattr(video_opencv.shutil, 'disk_usage', lambda path: usage._replace(free=next(left)))
    assert deblur('-i', 'clip.avi', '-o', 'out', '--guard', 'off') == 1
    assert not names('out')
    assert f'out/clip_deblurred.avi: {os.strerror(errno.ENOSPC)}' in capsys.readouterr().err


def test_frames_that_opencv_loses_are_missed(without_av, monkeypatch, capsys):
    write_video(Path('clip.avi'))
    without_av()
    real = video_opencv.PlainWriter._open

    class Lossy:
        def __init__(self, writer):
            self.writer, self.left, self.release = writer, 4, writer.release

        def write(self, frame):
            self.left -= 1
            if self.left >= 0:
                self.writer.write(frame)

    monkeypatch.setattr(video_opencv.PlainWriter, '_open', lambda writer: Lossy(real(writer)))
    assert deblur('-i', 'clip.avi', '-o', 'out', '--guard', 'off', '--masks', 'none') == 1
    assert not names('out') and '4 of 5 frames' in capsys.readouterr().err


def test_sound_is_copied_by_ffmpeg(place, without_av, capsys):
    write_video(place / 'clip.mp4')
    without_av()
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
    assert re.search('sound .*ffmpeg', capsys.readouterr().out)


def test_odd_sizes_lose_a_row_and_say_so(without_av):
    require('av')
    make('odd.avi', 'mjpeg', 'yuvj420p', size=(33, 49))
    without_av()
    done = deblur_video(leaving(), Path('odd.avi'), Path('out.mp4'))
    assert done.size == (32, 48) and any('48×32' in note for note in done.notes)


def test_side_by_side_and_a_sample_without_pyav(without_av):
    write_video(Path('clip.avi'))
    without_av()
    done = deblur_video(leaving(), Path('clip.avi'), Path('a.avi'), side_by_side=Path('b.avi'), sample=True)
    frames = read_video('b.avi')[1]
    header, gap = sizes(48, 64, 4)
    assert len(frames) == 5 and frames[0].shape == (48 + header, 128 + gap, 3)
    shown = frames[2][..., ::-1].astype(int)
    assert shown[: header - 8].min() < 120 and shown[: header - 8].max() > 240  # letters on paper
    shown = shown[header:]
    assert np.abs(shown[:, :64] - shown[:, -64:]).mean() < 2 and shown[8:-8, 65 : 63 + gap].min() > 180
    assert np.abs(done.sample[0] - shown[:, :64]).mean() < 6 and np.array_equal(*done.sample)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != 'linux', reason='limits the size of files')
@pytest.mark.parametrize('name', ['clip.mp4', 'clip.avi'])
def test_a_plain_video_that_is_not_written_to_its_end_is_no_result(place, name):
    resource = pytest.importorskip('resource')
    write_video(place / name, frames=20)
    (place / 'av.py').write_text('raise ImportError')  # before the real one
    done = command(
        *('-i', name, '-o', 'out', '--guard', 'off', '--masks', 'none'),
        errors='replace',
        env={'PYTHONPATH': str(place), 'PATH': '', 'PYTHONDONTWRITEBYTECODE': '1'},  # it could write half of one
        preexec_fn=lambda: (
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)),
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
        ),
    )
    assert done.returncode == 1 and 'Traceback' not in done.stderr and not names('out')
    assert f'{name}: out/clip_deblurred' in done.stderr and 'of 20 frames' in done.stderr
