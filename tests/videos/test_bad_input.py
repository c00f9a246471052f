"""Files that are no videos, or only a part of one: an error that names the file, no result, little memory."""

from __future__ import annotations

import errno
import os
import signal
import struct
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from basicsr.photos.video import deblur_video
from basicsr.utils.errors import ImageFileError
from tests.helpers.bad_videos import patched, sound_alone
from tests.helpers.project import ROOT, require
from tests.helpers.videos import leaving, look, make

require('av')


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('out').mkdir()


def refused(name, target='out/result.mp4'):
    """Why a file is refused; it leaves nothing."""
    with pytest.raises(ImageFileError) as error:
        deblur_video(leaving(), Path(name), Path(target), side_by_side=Path('out/both.mp4'))
    assert name in str(error.value) and not list(Path('out').iterdir())
    return str(error.value)


KINDS = [
    ('in.mp4', 'libx264', 'aac', {}),
    ('in.mp4', 'libx264', 'aac', {'movflags': 'faststart'}),
    ('in.mp4', 'libx264', 'aac', {'movflags': 'frag_keyframe+empty_moov', 'frag_duration': '100000'}),
    ('in.mov', 'prores_ks', '', {}),
    ('in.mkv', 'libx264', 'aac', {}),
    ('in.webm', 'libvpx-vp9', '', {}),
    ('in.avi', 'mpeg4', 'mp3', {}),
    ('in.wmv', 'wmv2', '', {}),
    ('in.mpg', 'mpeg2video', 'mp2', {}),
]


@pytest.mark.parametrize(('name', 'codec', 'sound', 'container'), KINDS)
def test_a_file_that_is_cut_off(name, codec, sound, container):
    pixels = 'yuv422p10le' if codec == 'prores_ks' else 'yuv420p'
    options = {'b': '1000000'} if codec == 'wmv2' else {}
    data = make(name, codec, pixels, times=30, sound=sound, container=container, options=options).read_bytes()
    deblur_video(leaving(), Path(name), Path('out/whole.mkv'))  # as it is, it is fine
    Path('out/whole.mkv').unlink()
    for share in (0.3, 0.6, 0.97):
        length = int(len(data) * share)
        if name == 'in.mpg':  # nobody sees a cut between two packets
            length = data.rindex(b'\0\0\1\xe0', 0, length) + 200
        Path('cut' + Path(name).suffix).write_bytes(data[:length])
        assert 'cut off' in refused('cut' + Path(name).suffix)


def test_what_is_no_video():
    Path('empty.mp4').write_bytes(b'')
    Path('text.mp4').write_text('no video')
    Path('zeros.mkv').write_bytes(bytes(10**5))
    Path('noise.avi').write_bytes(np.random.default_rng(0).bytes(10**5))
    Path('folder.mp4').mkdir()
    Path('sound.mp4').write_bytes(sound_alone())
    reasons = {
        'gone.mp4': 'file',
        'empty.mp4': '0 bytes',
        'folder.mp4': 'file',
        'text.mp4': 'readable',
        'zeros.mkv': 'readable',
        'noise.avi': 'readable',
        'sound.mp4': 'sound',
    }
    for kind in ('PNG', 'JPEG', 'WEBP', 'TIFF', 'BMP'):
        Image.new('RGB', (64, 48)).save(f'{kind}.mp4', kind)
        reasons[f'{kind}.mp4'] = f'({kind})'
    for name, reason in reasons.items():
        assert reason in refused(name)


@pytest.mark.parametrize(
    'text',
    [
        "ffconcat version 1.0\nfile 'secret.mp4'\n",
        '#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nsecret.mp4\n#EXT-X-ENDLIST\n',
        'v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n',
    ],
)
def test_a_file_leads_to_no_other(text):
    make('secret.mp4')
    Path('list.mp4').write_text(text)
    refused('list.mp4')


@pytest.mark.parametrize('name', ['concat:in.mp4', 'a:b.mp4', '%d.mp4', '-i.mp4'])
def test_names_are_names(name):
    make('in.mp4').rename(name)
    deblur_video(leaving(), Path(name), Path('out') / name)
    assert len(look(f'./out/{name}' if ':' not in name else f'file:out/{name}').times) == 6


def huge_stream():
    """An H.264 stream of 100,000×100,000 pixels, as its header tells."""

    def golomb(value):
        text = f'{value + 1:b}'
        return '0' * (len(text) - 1) + text

    side = golomb(100000 // 16 - 1)
    bits = golomb(0) + golomb(0) + golomb(2) + golomb(1) + '0' + side + side + '1' + '1' + '0' + '0' + '1'
    bits += '0' * (-len(bits) % 8)
    header = bytes([0x67, 66, 0, 51]) + int(bits, 2).to_bytes(len(bits) // 8, 'big')
    return b'\0\0\0\1' + header + b'\0\0\0\1\x68\xce\x38\x80' + b'\0\0\0\1\x65' + bytes(range(1, 200))


def liars():
    import av

    make('in.avi', 'mpeg4')
    make('raw.avi', 'rawvideo', 'bgr24')
    make('jpeg.avi', 'mjpeg', 'yuvj420p')
    make('in.mp4', times=30, container={'movflags': 'faststart'})
    make('in.mkv')
    sides = struct.pack('<2i', 100000, 100000)
    yield 'a.avi', patched('in.avi', b'strf', 12, sides)
    yield 'b.avi', patched('raw.avi', b'strf', 12, sides)
    yield 'c.avi', patched('raw.avi', b'strf', 12, struct.pack('<2i', 8000, 4000))
    yield 'd.avi', patched('jpeg.avi', b'strf', 12, sides)
    parts = Path('jpeg.avi').read_bytes().split(b'\xff\xc0\x00\x11\x08')  # a frame header, then its size
    yield 'e.avi', b'\xff\xc0\x00\x11\x08'.join([parts[0], *(b'\xff' * 4 + part[4:] for part in parts[1:])])
    yield 'f.mp4', patched('in.mp4', b'avc1', 28, b'\xff' * 4, 200)
    yield 'g.mp4', patched('in.mp4', b'stsz', 8, struct.pack('>2I', 1, 2**31 - 1))
    yield 'h.mp4', patched('in.mp4', b'stsz', 8, struct.pack('>2I', 0, 2**31 - 1))
    yield 'i.mp4', patched('in.mp4', b'ctts', 8, struct.pack('>I', 2**28))
    yield 'j.mp4', patched('in.mp4', b'mdat', -4, struct.pack('>I', 2**31))
    wide = bytearray(Path('in.mkv').read_bytes())
    at = wide.index(b'\xb0\x81\x60\xba\x81\x40')  # width and height in the track's video element
    yield 'k.mkv', huge_matroska(wide, at)
    with av.open('l.avi', 'w') as file:
        stream = file.add_mux_stream('h264', rate=25, width=64, height=64, time_base=Fraction(1, 25))
        for number in range(3):
            packet = av.Packet(huge_stream())
            packet.stream, packet.time_base, packet.is_keyframe = stream, Fraction(1, 25), True
            packet.pts = packet.dts = number
            file.mux(packet)
    yield 'l.avi', Path('l.avi').read_bytes()


def huge_matroska(data, at):
    """A file of 100,000×100,000 pixels: the numbers are longer, and so is all that they lie in."""
    new = b'\xb0\x83\x01\x86\xa0\xba\x83\x01\x86\xa0'
    grown = bytearray(data[:at] + new + data[at + 6 :])
    for name in (b'\xe0', b'\xae', b'\x16\x54\xae\x6b', b'\x18\x53\x80\x67'):
        place = grown.rindex(name, 0, at) + len(name)
        width = 9 - grown[place].bit_length()
        size = int.from_bytes(grown[place : place + width], 'big') + len(new) - 6
        grown[place : place + width] = size.to_bytes(width, 'big')
    return grown


@pytest.mark.slow
def test_headers_that_lie_take_no_memory():
    for name, data in liars():
        Path(name).write_bytes(data)
    names = sorted(path.name for path in Path().glob('[a-l].*'))
    assert len(names) == 12
    code = (
        'import resource, sys\nfrom pathlib import Path\nfrom basicsr.photos.video import deblur_video\n'
        'from tests.helpers.videos import leaving\n'
        'limit = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() + 2**30\n'
        'resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n'
        'for name in sys.argv[1:]:\n'
        '    try:\n        deblur_video(leaving(), Path(name), Path("out/x.mp4"))\n        print(name, "done")\n'
        '    except OSError as error:\n        print(type(error).__name__, error)\n'
    )
    if sys.platform != 'linux':
        pytest.skip('limits the memory')
    done = subprocess.run(
        [sys.executable, '-c', code, *names],
        env={'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and len(lines) == len(names), done.stderr
    for name, line in zip(names, lines, strict=True):
        assert line.startswith(f'ImageFileError {name}: '), line
    assert not list(Path('out').iterdir())


def test_frames_that_change_their_size_are_refused():
    import av

    make('a.mkv', size=(64, 96))
    make('b.mkv', size=(96, 64))
    with av.open('in.mkv', 'w', format='matroska') as file:
        stream = file.add_mux_stream('mpeg4', rate=25, width=96, height=64, time_base=Fraction(1, 1000))
        for number, size in enumerate([(64, 96), (96, 64)]):
            make(f'{number}.avi', 'mpeg4', size=size, times=2)
            with av.open(f'{number}.avi') as source:
                for index, packet in enumerate(source.demux(video=0)):
                    if packet.size:
                        packet.stream, packet.time_base = stream, Fraction(1, 1000)
                        packet.pts = packet.dts = 40 * (2 * number + index)
                        file.mux(packet)
    assert '64×96 at 0.1 s' in refused('in.mkv')


@pytest.mark.parametrize('name', ['in.mp4', 'in.mkv', 'in.mpg'])
def test_a_damaged_video_is_done_with_what_can_be_read(name):
    codec = 'mpeg2video' if name == 'in.mpg' else 'libx264'
    data = bytearray(make(name, codec, times=60, size=(128, 192), container={}).read_bytes())
    for at in range(len(data) // 3, len(data) * 2 // 3, 401):
        data[at] ^= 0x5A
    Path(name).write_bytes(data)
    done = deblur_video(leaving(), Path(name), Path('out/result.mp4'))
    assert 40 <= done.frames <= 60 and len(look('out/result.mp4').times) == done.frames


@pytest.mark.skipif(sys.platform != 'linux', reason='limits the size of files')
@pytest.mark.parametrize('suffix', ['.mp4', '.mov', '.mkv', '.avi'])
@pytest.mark.parametrize('limit', [100, 3000, 15000])
def test_a_full_disk_leaves_nothing(suffix, limit):
    """At the start, on the way, and at the end of a file of more than 20 kB, most of it sound."""
    resource = pytest.importorskip('resource')
    make(f'in{suffix}', 'mpeg4' if suffix == '.avi' else 'libx264', times=30, sound='mp3')
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EFBIG)) as error:
            deblur_video(leaving(), Path(f'in{suffix}'), Path(f'out/x{suffix}'), side_by_side=Path(f'out/y{suffix}'))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert error.value.filename in (f'out/x{suffix}', f'out/y{suffix}') and not list(Path('out').iterdir())


def test_a_folder_that_is_not_there():
    make('in.mp4')
    with pytest.raises(FileNotFoundError) as error:
        deblur_video(leaving(), Path('in.mp4'), Path('nowhere/x.mp4'))
    assert error.value.filename == 'nowhere/x.mp4'
    with pytest.raises(ImageFileError, match=r'x\.ogg: .*\.mp4, \.mov, \.mkv, \.avi'):
        deblur_video(leaving(), Path('in.mp4'), Path('x.ogg'))
