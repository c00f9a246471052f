"""The rows of docs/files.md about videos: each is tried."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from basicsr.photos.jobs import Inputs, plan
from basicsr.photos.video import deblur_video
from basicsr.utils.errors import ImageFileError
from basicsr.videos import info as video_info
from basicsr.videos.colours import Colours, PlaneLayout
from tests.helpers.bad_videos import patched, sound_alone
from tests.helpers.files_table import CONVERTED, KEPT, REFUSED, name_of, rows_of
from tests.helpers.project import require
from tests.helpers.video_properties import LATE, UNEVEN, require_kept, with_subtitles
from tests.helpers.videos import TURNED, differences, leaving, look, make

require('av')

FINE = {'qmin': '1', 'qmax': '1'}


def tried(name, target=None, levels=4, **more):
    """What became of a video: ``refused``, ``kept`` (pictures, tags, times and sound), or ``converted``."""
    if more or not Path(name).exists():
        make(name, **more)
    target = target or f'out{Path(name).suffix}'
    try:
        done = deblur_video(leaving(), Path(name), Path(target))
    except ImageFileError:
        assert not Path(target).exists()
        return REFUSED
    before, after = look(name), look(target)
    try:
        require_kept(before, after, levels)
    except (AssertionError, ValueError):
        return CONVERTED
    return KEPT if after.size == before.size and not any('dropped' in note for note in done.notes) else CONVERTED


def all_of(*results):
    assert len(set(results)) == 1, results
    return results[0]


def kinds(names):
    jobs = plan(Inputs([Path(name) for name in names]), Path('out'), '_deblurred')
    return [job.output.suffix for job in jobs]


def same_container():
    names = ['a.mp4', 'b.mov', 'c.mkv', 'd.avi']
    assert kinds(names) == [Path(name).suffix for name in names]
    return all_of(*(tried(name, codec='mpeg4' if name == 'd.avi' else 'libx264', options=FINE) for name in names))


def other_container():
    assert kinds(['a.webm', 'b.m4v', 'c.mpg', 'd.mpeg', 'e.wmv']) == ['.mp4'] * 5
    make('a.webm', 'libvpx-vp9')
    make('e.wmv', 'wmv2', options={'b': '1000000'})
    for name in ('a.webm', 'e.wmv'):
        deblur_video(leaving(), Path(name), Path('out.mp4'))
        before, after = look(name), look('out.mp4')
        assert max(differences(before, after)) <= 4 and after.codec == 'h264' and after.times == before.times
    return CONVERTED


def matrices():
    named = [(6, 6, 6), (1, 1, 1), (9, 9, 14), (7, 7, 7), (4, 4, 4), (8, 1, 1)]
    return all_of(*(tried('in.mkv', colours=(*three, full), pixels='yuv444p') for three in named for full in (1, 2)))


def unknown_colours():
    import av

    for pixels in ('xyz12le', 'bayer_rggb8'):
        with pytest.raises(ImageFileError, match=f'in.mkv: .*{pixels}'):
            video_info.plane_layout_of(Path('in.mkv'), av.VideoFrame(32, 32, pixels), Colours())
    deep = {'codec': 'ffv1', 'pixels': 'yuv444p10le'}
    return all_of(*(tried('in.mkv', colours=(matrix, 9, 16, 1), **deep) for matrix in (14, 10, 12)))


def dolby():
    make('in.mkv', 'ffv1', 'yuv420p10le')
    frame = look('in.mkv').frames[0]
    data = {'DOVI_METADATA': b'', 'DYNAMIC_HDR_PLUS': b''}
    with pytest.raises(ImageFileError, match='profile 5'):
        video_info._lost(Path('in.mkv'), frame, data, PlaneLayout(10, 2, 2, Colours(), frame.height))
    tagged = PlaneLayout(10, 2, 2, Colours(9, 9, 16, 1), frame.height)
    assert len(video_info._lost(Path('in.mkv'), frame, data, tagged)) == 2
    return CONVERTED


def other_chroma():
    pairs = {'yuv411p': 'yuv422p', 'yuv410p': 'yuv420p', 'yuv440p': 'yuv444p', 'gray': 'yuvj420p'}
    for pixels, result in pairs.items():
        assert tried('in.mkv', codec='ffv1', pixels=pixels) == CONVERTED and look('out.mkv').pixels == result
    return CONVERTED


def from_rgb():
    assert tried('in.mkv', codec='ffv1', pixels='bgr0') == CONVERTED
    after = look('out.mkv')
    assert after.pixels == 'yuv444p' and after.colours[0] == 1
    return tried('in.mov', codec='qtrle', pixels='rgb24')


def with_sound():
    assert tried('in.mkv', sound='flac') == KEPT
    assert tried('in.mkv', 'out.mov', sound='flac') == CONVERTED and look('out.mov').sound[0][0] == 'aac'
    return tried('in.mp4', sound='aac')


def with_text():
    with_subtitles('in.mkv')
    assert tried('in.mkv', 'out.mp4') == CONVERTED
    return tried('in.mkv')


def with_words():
    words = {'title': 'a', 'comment': 'b', 'creation_time': '2024-05-06T07:08:09.000000Z', 'location': '+48.1+011.5/'}
    make('in.mov', sound='aac', metadata=words)
    deblur_video(leaving(), Path('in.mov'), Path('out.mov'))
    before, after = look('in.mov').metadata, look('out.mov').metadata
    assert {key: after.get(key) for key in words} == {key: before.get(key) for key in words} and len(words) == 4
    assert chapters('out.mkv') == chapters('chapters.mkv') == [(0, 100, 'one'), (100, 200, 'two')]
    return KEPT


def chapters(name):
    import av

    if name == 'chapters.mkv':
        with av.open('plain.mkv') as source, av.open(name, 'w', format='matroska') as file:
            stream = file.add_stream_from_template(source.streams.video[0], opaque=True)
            unit = Fraction(1, 1000)
            named = [(0, 100, 'one'), (100, 200, 'two')]
            file.set_chapters(
                [
                    {'id': number, 'start': start, 'end': end, 'time_base': unit, 'metadata': {'title': title}}
                    for number, (start, end, title) in enumerate(named)
                ]
            )
            for packet in source.demux(video=0):
                if packet.size:
                    packet.stream = stream
                    file.mux(packet)
    else:
        make('plain.mkv')
        chapters('chapters.mkv')
        deblur_video(leaving(), Path('chapters.mkv'), Path(name))
    with av.open(name) as file:
        return [
            (round(c['start'] * c['time_base'] * 1000), round(c['end'] * c['time_base'] * 1000), c['metadata']['title'])
            for c in file.chapters()
        ]


def with_more():
    import av

    make('plain.mkv')
    with av.open('plain.mkv') as source, av.open('in.mkv', 'w', format='matroska') as file:
        both = [file.add_stream_from_template(source.streams.video[0], opaque=True) for _ in range(2)]
        file.add_attachment('font.ttf', 'application/x-truetype-font', b'abc')
        for packet in source.demux(video=0):
            if packet.size:
                times = packet.pts, packet.dts, packet.time_base
                for stream in both:
                    packet.stream = stream
                    packet.pts, packet.dts, packet.time_base = times
                    file.mux(packet)
    done = deblur_video(leaving(), Path('in.mkv'), Path('out.mkv'))
    assert len(done.notes) == 2 and 'streams (1)' in done.notes[0] and 'attachments (1)' in done.notes[1]
    return CONVERTED


def too_large():
    make('plain.mp4')
    Path('in.mp4').write_bytes(patched('plain.mp4', b'avc1', 28, b'\x7f\xff' * 2, 1000))
    return tried('in.mp4')


def changing():
    import av

    with av.open('in.mkv', 'w', format='matroska') as file:
        stream = file.add_mux_stream('mpeg4', rate=25, width=96, height=64, time_base=Fraction(1, 1000))
        for number, size in enumerate([(64, 96), (96, 64)]):
            with av.open(str(make(f'{number}.avi', 'mpeg4', size=size, times=2))) as source:
                for packet in source.demux(video=0):
                    if packet.size:
                        packet.stream, packet.time_base = stream, Fraction(1, 1000)
                        packet.pts = packet.dts = 80 * number + 40 * packet.dts
                        file.mux(packet)
    return tried('in.mkv')


def not_whole():
    data = make('whole.mkv').read_bytes()
    Path('in.mkv').write_bytes(data[:-100])
    Path('in.mp4').write_bytes(sound_alone())
    return all_of(tried('in.mkv'), tried('in.mp4'))


def unstated():
    assert tried('in.mp4', size=(720, 1280), times=2) == KEPT
    return all_of(tried('in.mp4', colours=(2, 2, 2, 0)), KEPT if look('out.mp4').colours == (2, 2, 2, 0) else CONVERTED)


def deep():
    hdr = all_of(*(tried('in.mkv', codec='ffv1', pixels='yuv420p10le', colours=(9, 9, t, 1)) for t in (1, 16, 18)))
    assert look('out.mkv').pixels == 'yuv420p10le'
    return hdr


def deeper():
    assert tried('in.mkv', codec='ffv1', pixels='yuv420p12le') == KEPT  # of 8 bits in both
    assert look('out.mkv').pixels == 'yuv420p10le'
    return CONVERTED


def transparent():
    assert tried('in.mkv', codec='ffv1', pixels='yuva420p') == CONVERTED
    return CONVERTED if look('out.mkv').pixels == 'yuv420p' else KEPT


def by_clock():
    make('in.mkv', times=[100 + Fraction(i, 25) for i in range(6)], sound='aac', late_sound=100.2)
    assert tried('in.mkv') == CONVERTED
    before, after = look('in.mkv'), look('out.mkv')
    moved = [a - b for a, b in zip(before.times, after.times, strict=True)]
    assert set(moved) == {100} and before.sound[0][1][0][0] - after.sound[0][1][0][0] == pytest.approx(100, abs=1e-3)
    return CONVERTED


ROWS = {
    '`.mp4`, `.mov`': same_container,
    '`.webm`, `.m4v`': other_container,
    'colour matrix, primaries': matrices,
    'untagged colours': unstated,
    'colour matrices ICtCp': unknown_colours,
    '8 bits': lambda: tried('in.mp4') if look('out.mp4').codec == 'h264' else CONVERTED,
    '10 bits; HDR': deep,
    '12 and 16 bits': deeper,
    'Dolby Vision, HDR10+': dolby,
    'chroma 4:2:0': lambda: all_of(*(tried('in.mkv', pixels=f'yuv{kind}p') for kind in (420, 422, 444))),
    'chroma 4:1:1': other_chroma,
    'RGB and palettes': from_rgb,
    'transparency': transparent,
    'odd width or height, 4:4:4': lambda: tried('in.mkv', pixels='yuv444p', size=(63, 95)),
    'odd width or height, subsampled': lambda: tried('in.mkv', codec='ffv1', size=(63, 95)),
    'shape of pixels': lambda: tried('in.mp4', aspect=Fraction(4, 3)),
    'rotation and mirroring': lambda: all_of(*(tried('in.mp4', display=turn) for turn in TURNED.values())),
    'interlaced': lambda: tried(
        'in.mkv', levels=8, codec='mpeg2video', unit=Fraction(1, 25), interlaced=True, options=FINE
    ),
    'the time of every frame': lambda: all_of(
        tried('in.mp4', times=LATE, sound='aac'), tried('in.mp4', times=UNEVEN, sound='aac')
    ),
    'clocks that do not start': by_clock,
    'sound': with_sound,
    'subtitles': with_text,
    'title, comment': with_words,
    'further videos': with_more,
    'frames of more than': too_large,
    'frames that change': changing,
    'a file that is truncated': not_whole,
}


@pytest.mark.parametrize('row', rows_of('videos'), ids=name_of)
def test_each_row(row, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (found,) = [key for key in ROWS if row[1].startswith(key)]
    if found == '8 bits':
        make('in.mp4')
        deblur_video(leaving(), Path('in.mp4'), Path('out.mp4'))
    assert row[2].startswith(ROWS[found]()), row


def test_all_rows_are_there():
    assert len(rows_of('videos')) == len(ROWS)
