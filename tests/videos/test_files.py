"""Videos keep what their files say: colours, depth, shapes, times and sound, whatever the container."""

from __future__ import annotations

import re
import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from basicsr.images.side_by_side import sizes
from basicsr.photos.video import deblur_video
from basicsr.utils.errors import ImageFileError
from basicsr.videos import encoders as video_encoders
from basicsr.videos import info as video_info
from basicsr.videos.check import require_written
from basicsr.videos.colours import Colours, PlaneLayout
from basicsr.videos.reader import VideoReader
from tests.helpers.project import require
from tests.helpers.video_properties import LATE, LEVELS, UNEVEN, require_kept, require_sound, with_subtitles
from tests.helpers.videos import TURNED, Same, differences, flat, leaving, look, make, rgb

require('av')


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def through(source, target=None, net=None, **more):
    """A video and its result, as players see them, and what was said of it."""
    target = Path(target or f'out{Path(source).suffix}')
    done = deblur_video(leaving(net), Path(source), target, **more)
    assert not [path for path in Path().iterdir() if '.part' in path.name]
    return look(source), look(target), done


# case 06, colours: flat 1280×720 frames, and what states the matrix


@pytest.mark.parametrize(
    ('colours', 'matrix', 'size'),
    [
        ((1, 1, 1, 1), 'bt709', (720, 1280)),  # the case
        ((2, 2, 2, 0), 'bt709', (720, 1280)),  # nothing is stated: by its height
        ((2, 2, 2, 0), 'bt601', (480, 640)),
        ((6, 6, 6, 1), 'bt601', (720, 1280)),  # against its height
        ((1, 1, 1, 1), 'bt709', (480, 640)),
        ((5, 5, 6, 1), 'bt601', (480, 640)),
        ((9, 9, 14, 1), 'bt2020', (480, 640)),
    ],
)
def test_the_colours_of_a_video_stay_by_what_it_states(colours, matrix, size):
    bars = [(0, 188, 0), (188, 0, 0), (188, 0, 189), (190, 189, 0)]
    make('in.mp4', colours=colours, size=size, times=4, frame=flat(bars, matrix))
    net = Same()
    before, after, done = through('in.mp4', net=net)
    assert after.colours == before.colours and not done.notes
    for bar, frame, seen in zip(bars, after.frames, net.seen, strict=True):
        assert np.abs(rgb(frame, matrix) - bar).max() <= LEVELS
        assert np.abs(seen * 255 - bar).max() <= 2  # and the network sees them


@pytest.mark.parametrize(
    ('name', 'more'),
    [
        ('601.mov', {'colours': (6, 6, 6, 1)}),
        ('full.mp4', {'colours': (1, 1, 1, 2), 'pixels': 'yuvj420p'}),
        ('full601.mkv', {'colours': (5, 5, 6, 2), 'pixels': 'yuvj420p'}),
        ('240m.mkv', {'colours': (7, 7, 7, 1)}),
        ('fcc.mkv', {'colours': (4, 4, 4, 1)}),
        ('ycgco.mkv', {'colours': (8, 1, 1, 1), 'pixels': 'yuv444p'}),
        ('p3.mov', {'colours': (1, 12, 13, 1)}),
        ('h264.avi', {'colours': (1, 1, 1, 1), 'options': {'bf': '0'}}),
        ('half.mp4', {'pixels': 'yuv422p'}),
        ('whole.mp4', {'pixels': 'yuv444p'}),
        ('whole_odd.mkv', {'pixels': 'yuv444p', 'size': (63, 95)}),
        ('mjpeg.avi', {'codec': 'mjpeg', 'pixels': 'yuvj420p', 'options': {'qmin': '1', 'qmax': '1'}}),
        ('lossless.mkv', {'codec': 'ffv1', 'colours': (1, 1, 1, 1)}),
        ('tiny.mp4', {'size': (2, 4)}),
        ('one.mov', {'times': 1}),
    ],
)
def test_planes_and_tags_stay(name, more):
    make(name, **more)
    before, after, _ = through(name)
    require_kept(before, after)
    assert after.size == before.size and after.codec == 'h264'


def test_values_outside_of_rgb_stay():
    """Whiter than white and colours that no RGB has are in the file, not in what the network sees."""

    def extreme(number, pixels, size):
        from tests.helpers.videos import patches

        frame = patches(number, pixels, size)
        for plane, value in zip(frame.planes, (250, 20, 235), strict=True):
            np.frombuffer(plane, np.uint8)[:] = value
        return frame

    make('in.mp4', colours=(1, 1, 1, 1), frame=extreme)
    before, after, _ = through('in.mp4')
    assert max(differences(before, after)) <= 1


@pytest.mark.parametrize(
    ('name', 'more', 'pixels'),
    [
        ('a.mkv', {'codec': 'ffv1', 'pixels': 'yuv411p'}, 'yuv422p'),
        ('b.mkv', {'codec': 'ffv1', 'pixels': 'yuv410p'}, 'yuv420p'),
        ('c.mkv', {'codec': 'ffv1', 'pixels': 'yuv440p'}, 'yuv444p'),
        ('d.avi', {'codec': 'rawvideo', 'pixels': 'yuyv422'}, 'yuv422p'),
        ('e.mov', {'codec': 'rawvideo', 'pixels': 'uyvy422'}, 'yuv422p'),
        ('f.mkv', {'codec': 'ffv1', 'pixels': 'gray'}, 'yuvj420p'),
        ('g.mkv', {'codec': 'ffv1', 'pixels': 'bgr0'}, 'yuv444p'),
        ('h.avi', {'codec': 'rawvideo', 'pixels': 'bgr24'}, 'yuv444p'),
        ('i.mov', {'codec': 'qtrle', 'pixels': 'rgb24'}, 'yuv444p'),
        ('j.mkv', {'codec': 'ffv1', 'pixels': 'yuva420p'}, 'yuv420p'),
        ('k.mov', {'codec': 'png', 'pixels': 'rgba'}, 'yuv444p'),
    ],
)
def test_other_pixel_formats_look_the_same(name, more, pixels):
    make(name, **more)
    before, after, done = through(name)
    assert after.pixels == pixels and after.times == pytest.approx(before.times)
    inside = np.s_[4:12, 4:12]  # one patch: swscale draws edges differently for each format
    for was, now in zip(before.frames, after.frames, strict=True):
        shown = rgb(now, 'bt709' if after.colours[0] == 1 else 'bt601')
        assert np.abs(was.to_ndarray(format='rgb24').astype(int)[inside] - shown[inside]).max() <= LEVELS
    assert any('transparency' in note for note in done.notes) == (name in ('j.mkv', 'k.mov'))
    assert any('RGB' in note for note in done.notes) == (pixels == 'yuv444p' and name != 'c.mkv')


def test_odd_sizes_of_halved_chroma_are_cut():
    make('in.mkv', codec='ffv1', size=(63, 95))
    before, after, done = through('in.mkv')
    assert after.size == (62, 94) and any('94×62' in note for note in done.notes)
    assert np.abs(before.planes[0][0][:62, :94] - after.planes[0][0]).max() <= LEVELS


# case 07, more than 8 bits


@pytest.mark.parametrize(
    ('name', 'more', 'note'),
    [
        ('hlg.mov', {'codec': 'libx265', 'colours': (9, 9, 18, 1)}, 'HLG.*HEVC.* 10 bits'),  # the case
        ('pq.mp4', {'codec': 'libx265', 'colours': (9, 9, 16, 1)}, 'PQ.*HEVC.* 10 bits'),
        ('pq.mkv', {'codec': 'ffv1', 'colours': (9, 9, 16, 1)}, 'PQ.*HEVC.* 10 bits'),
        ('hlg.avi', {'colours': (9, 9, 18, 1), 'options': {'bf': '0'}}, r'HLG.*H\.264.* 10 bits'),
        ('sdr.mp4', {'codec': 'libx265', 'colours': (1, 1, 1, 1)}, '10 bits.*HEVC.* 10 bits'),
        ('half.mkv', {'codec': 'ffv1', 'pixels': 'yuv422p10le'}, '10 bits.*HEVC.* 10 bits'),
        ('small.mp4', {'colours': (9, 9, 16, 1), 'size': (32, 32)}, r'PQ.*H\.264.* 10 bits'),
        ('hi10.mkv', {}, '10 bits.*HEVC.* 10 bits'),
    ],
)
def test_deep_videos_keep_ten_bits_and_tags(name, more, note):
    make(name, **{'pixels': 'yuv420p10le', **more})
    before, after, done = through(name)
    require_kept(before, after)
    assert re.search(note, '\n'.join(done.notes)) and after.pixels == before.pixels


def test_the_tags_of_prores_are_those_of_its_container():
    make('in.mov', codec='prores_ks', pixels='yuv422p10le', colours=(9, 9, 18, 1))
    before, after, _ = through('in.mov')
    assert after.colours == (9, 9, 18, 1) and max(differences(before, after)) <= LEVELS


@pytest.mark.parametrize(('pixels', 'bits'), [('yuv420p12le', 12), ('yuv444p16le', 16)])
def test_more_than_ten_bits_become_ten(pixels, bits):
    make('in.mkv', codec='ffv1', pixels=pixels)
    before, after, done = through('in.mkv')
    assert max(differences(before, after)) <= LEVELS and re.search(rf'\b{bits} bits .*\b10\b', '\n'.join(done.notes))


def test_eight_bits_of_hdr_become_ten():
    make('in.mp4', colours=(9, 9, 18, 1))
    before, after, done = through('in.mp4')
    require_kept(before, after)
    assert after.pixels == 'yuv420p10le' and re.search('HLG.*HEVC.* 10 bits', '\n'.join(done.notes))


def test_the_mastering_display_of_hdr_stays():
    light = 'master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50):max-cll=1000,400'
    options = {'x265-params': f'log-level=none:{light}'}
    make('in.mp4', codec='libx265', pixels='yuv420p10le', colours=(9, 9, 16, 1), options=options)
    before, after, _ = through('in.mp4')
    names = ('MASTERING_DISPLAY_METADATA', 'CONTENT_LIGHT_LEVEL')
    was, now = (
        {data.type.name: bytes(data) for data in seen.frames[0].side_data if data.type.name in names}
        for seen in (before, after)
    )
    assert len(was) == 2 and now == was


def test_without_an_encoder_for_ten_bits_hdr_is_refused(monkeypatch):
    make('hdr.mp4', codec='libx265', pixels='yuv420p10le', colours=(9, 9, 16, 1))
    make('sdr.mkv', codec='ffv1', pixels='yuv420p10le')
    real = video_encoders.formats_of
    monkeypatch.setattr(
        video_encoders, 'formats_of', lambda name: frozenset(f for f in real(name) if '10' not in f) - {'x265'}
    )
    with pytest.raises(ImageFileError, match=r'HDR \(PQ\)'):
        deblur_video(leaving(), Path('hdr.mp4'), Path('out.mp4'))
    assert not Path('out.mp4').exists()
    before, after, done = through('sdr.mkv')
    assert max(differences(before, after)) <= LEVELS and after.pixels == 'yuv420p'
    assert re.search(r'\b10 bits .*\b8\b.*PyAV', '\n'.join(done.notes))


@pytest.mark.parametrize('name', ['in.mp4', 'in.mkv', 'in.avi'])
@pytest.mark.parametrize('pixels', ['yuv420p', 'yuv444p'])
def test_without_h264_it_is_mpeg4(name, pixels, monkeypatch):
    times = [Fraction(i, 25) for i in range(5)] if name == 'in.avi' else [Fraction(i * i, 90) for i in range(5)]
    codec = 'libx264' if name == 'in.mp4' else 'ffv1'
    make(name, codec, pixels, times=times)
    monkeypatch.setattr(video_encoders, 'formats_of', lambda name: frozenset())
    before, after, done = through(name)
    assert after.codec == 'mpeg4' and re.search(r'MPEG-4 .*H\.264.*libx264', '\n'.join(done.notes))
    assert after.times == pytest.approx(before.times, abs=2e-5)
    assert np.abs(before.planes[0][0] - after.planes[0][0]).mean() < LEVELS
    assert any('chroma' in note for note in done.notes) == (pixels == 'yuv444p')


@pytest.mark.parametrize('matrix', [10, 14])
def test_colours_that_are_not_known_are_refused(matrix):
    make('in.mkv', 'ffv1', 'yuv444p10le', colours=(matrix, 9, 16, 1))
    with pytest.raises(ImageFileError, match=rf'in.mkv: .*\({matrix} '):
        deblur_video(leaving(), Path('in.mkv'), Path('out.mkv'))


class SideData:
    """Like PyAV's."""

    def __init__(self, name, data=b''):
        self.type, self._data = type('Type', (), {'name': name}), data

    def __bytes__(self):
        return self._data


@pytest.mark.parametrize('transfer', [2, 16])
def test_metadata_of_dolby_vision_is_told_or_the_file_refused(transfer):
    """No encoder here writes it: what is said of it is tried on the frame alone."""
    make('in.mkv', 'ffv1', 'yuv420p10le')
    frame = look('in.mkv').frames[0]
    layout = PlaneLayout(10, 2, 2, Colours(transfer=transfer), frame.height)
    data = {'DOVI_METADATA': b'', 'DOVI_RPU_BUFFER': b'', 'DYNAMIC_HDR_PLUS': b''}
    if transfer == 2:
        with pytest.raises(ImageFileError, match='Dolby Vision'):
            video_info._lost(Path('in.mkv'), frame, data, layout)
    else:
        notes = video_info._lost(Path('in.mkv'), frame, data, layout)
        assert len(notes) == 2 and 'Dolby Vision' in notes[0] and 'HDR10+' in notes[1]


# case 09, times


@pytest.mark.parametrize('suffix', ['.mp4', '.mov', '.mkv'])
@pytest.mark.parametrize(
    'more',
    [
        {'times': LATE, 'rate': 10},  # the case
        {'times': UNEVEN},
        {'late_sound': 0.5},
        {'sound_first': True},
        {'times': [Fraction(1, 3) + Fraction(i, 30) for i in range(6)], 'rate': 30},
        {'times': [Fraction(1001 * i, 30000) for i in range(6)], 'rate': Fraction(30000, 1001)},
    ],
)
def test_pictures_and_sound_keep_their_times(suffix, more):
    more.setdefault('unit', Fraction(1, 1000) if suffix == '.mkv' else Fraction(1, 90000))
    make(f'in{suffix}', sound='aac', **more)
    before, after, done = through(f'in{suffix}')
    require_kept(before, after)
    assert len(before.times) in (6, 8) and before.sound and not done.notes


def test_fine_and_negative_times():
    make('fine.mkv', unit=Fraction(1, 10**6), times=UNEVEN)
    make('negative.mkv', times=[Fraction(i - 3, 25) for i in range(6)])
    for name in ('fine.mkv', 'negative.mkv'):
        require_kept(*through(name)[:2])


def test_edit_lists_are_carried_out():
    """The first five frames are only there to decode the others."""
    make('in.mp4', times=[Fraction(i - 5, 25) for i in range(20)], sound='aac', options={'bf': '2'})
    before, after, done = through('in.mp4')
    assert len(before.times) == 15 and before.times[0] == 0
    require_kept(before, after)
    assert not done.notes


def test_an_edit_list_that_shows_a_part_twice():
    data = bytearray(make('late.mp4', times=[1 + Fraction(i, 25) for i in range(20)]).read_bytes())
    at = data.find(b'elst')
    assert struct.unpack('>I2i', data[at + 8 : at + 20]) == (2, 1000, -1)  # an empty edit of a second
    data[at + 12 : at + 20] = struct.pack('>2i', 200, 7200 + 7200)  # a fifth of a second from within
    Path('in.mp4').write_bytes(data)
    before, after, done = through('in.mp4')
    assert len(after.times) == len(before.times) == 25
    assert max(differences(before, after)) <= LEVELS
    assert after.times == pytest.approx(before.times, abs=1e-4)
    assert len(done.notes) == 1 and re.match('1 .*timestamps', done.notes[0])


@pytest.mark.parametrize('start', [0, 5])
def test_avi_keeps_pauses_and_a_late_start(start):
    times = [Fraction(start + i + (5 if i > 4 else 0), 25) for i in range(10)]
    make('in.avi', 'mpeg4', times=times, sound='mp3', options={'qmin': '1', 'qmax': '1'})
    before, after, done = through('in.avi')
    assert after.times == before.times and not done.notes
    require_sound(before, after)


def test_what_a_result_does_not_state_is_told():
    """No container here is that poor: a file is compared with what it should say."""
    make('in.mkv', colours=(1, 1, 1, 1), display=TURNED['90'], aspect=Fraction(4, 3))
    make('out.mkv', aspect=Fraction(2, 1))
    with VideoReader(Path('in.mkv')) as reader:
        info = reader.info
    times = [0, 40, 80, 120, 167, 200]
    notes = require_written(Path('out.mkv'), Path('x.mkv'), info, info.display, times)
    words = (r'\b7 ms', 'MKV.*colours', 'MKV.*pixels', 'MKV.*rotation')
    assert [bool(re.search(word, note)) for word, note in zip(words, notes, strict=True)] == [True] * 4
    with pytest.raises(ImageFileError, match=r'x.mkv: .*\b6 of 7 frames'):
        require_written(Path('out.mkv'), Path('x.mkv'), info, info.display, [*times, 240])


@pytest.mark.parametrize('name', ['in.mpg', 'in.ts'])
def test_running_clocks_are_moved_with_the_sound(name):
    codec, sound = ('mpeg2video', 'mp2') if name == 'in.mpg' else ('libx264', 'aac')
    make(name, codec, sound=sound, times=[Fraction(3) + Fraction(i, 25) for i in range(8)], late_sound=3.5)
    before, after, _ = through(name, 'out.mp4')
    assert np.diff(after.times).astype(float) == pytest.approx(np.full(7, 0.04), abs=1e-4)
    (_, was), (_, now) = before.sound[0], after.sound[0]
    assert now[0][0] - float(after.times[0]) == pytest.approx(0.5, abs=0.045) and after.times[0] < 0.1
    assert len(now) == len(was) and all(old.endswith(new) for (_, old), (_, new) in zip(was, now, strict=True))


def test_a_clock_that_starts_hours_late_starts_with_the_file():
    make('in.mkv', times=[Fraction(7200) + Fraction(i, 25) for i in range(6)])
    before, after, _ = through('in.mkv')
    assert after.times == [time - before.times[0] for time in before.times]


# shapes, and what else files hold


@pytest.mark.parametrize('suffix', ['.mp4', '.mov', '.mkv'])
@pytest.mark.parametrize('turn', TURNED)
def test_turned_videos_stay_turned_and_the_network_sees_them_upright(suffix, turn):
    make(f'in{suffix}', display=TURNED[turn], aspect=Fraction(4, 3))
    net = Same()
    before, after, done = through(f'in{suffix}', net=net)
    require_kept(before, after)
    assert after.size == (64, 96) and not done.notes
    stored = net_picture(before)
    upright = {
        '90': np.rot90(stored, -1),
        '180': stored[::-1, ::-1],
        '270': np.rot90(stored),
        'mirrored': stored[:, ::-1],
    }[turn]
    assert np.abs(net.seen[0] - upright).mean() < 0.01


def net_picture(seen):
    """The first frame as the network would see it, were it not turned: by swscale."""
    return rgb(seen.frames[0], 'bt601') / 255


@pytest.mark.parametrize('name', ['in.mp4', 'in.mov', 'in.mkv', 'in.avi'])
def test_the_shape_of_pixels_stays(name):
    make(name, 'mpeg4' if name == 'in.avi' else 'libx264', aspect=Fraction(16, 11))
    before, after, done = through(name)
    assert after.aspect == before.aspect == Fraction(16, 11) and not done.notes


@pytest.mark.parametrize('options', [{'field_order': 'tt'}, {'field_order': 'bb'}])
def test_fields_are_deblurred_apart(options):
    make('in.mkv', interlaced=True, options=options)
    net = Same()
    before, after, done = through('in.mkv', net=net)
    require_kept(before, after, 2 * LEVELS)  # at the edges of patches
    assert before.interlaced and after.interlaced and any('interlaced' in note for note in done.notes)
    assert {picture.shape for picture in net.seen} == {(32, 96, 3)} and len(net.seen) == 12
    assert np.abs(net.seen[1] - net_picture(before)[1::2]).mean() < 0.01


@pytest.mark.parametrize(
    ('name', 'codec', 'sound', 'target', 'heard'),
    [
        ('in.mov', 'libx264', 'pcm_s16le', 'out.mov', 'pcm_s16le'),
        ('in.avi', 'mpeg4', 'pcm_s16le', 'out.avi', 'pcm_s16le'),
        ('in.avi', 'mpeg4', 'mp3', 'out.avi', 'mp3float'),
        ('in.webm', 'libvpx-vp9', 'libopus', 'out.mp4', 'opus'),
        ('in.mkv', 'libx264', 'flac', 'out.mkv', 'flac'),
    ],
)
def test_sound_is_copied(name, codec, sound, target, heard):
    make(name, codec, sound=sound)
    before, after, done = through(name, target)
    assert [kind for kind, _ in after.sound] == [heard] and not done.notes
    require_sound(before, after)


@pytest.mark.parametrize('name', ['in.mkv', 'in.mov'])
def test_uncompressed_sound_without_places_of_channels_is_copied(name):
    make(name, sound='pcm_s16le')
    before, after, done = through(name, 'out.mp4')
    require_sound(before, after, 6e-4)  # Matroska has milliseconds
    assert not done.notes


@pytest.mark.parametrize(('sound', 'target'), [('libopus', 'out.avi'), ('flac', 'out.mov'), ('libopus', 'out.mov')])
def test_sound_that_a_container_does_not_hold_becomes_aac(sound, target):
    make('in.mkv', sound=sound, times=50, late_sound=0.48)
    _, after, done = through('in.mkv', target)
    kind, codec = target[-3:], sound.removeprefix('lib')
    assert any(re.search(f'AAC.*{kind} .*{codec}', note) for note in done.notes)
    ((heard, packets),) = after.sound
    assert heard == 'aac' and packets[-1][0] - packets[0][0] == pytest.approx(2, abs=0.1)
    if kind == 'avi':
        assert re.search(r'sound .*0\.4[78] s', done.notes[-1])
    else:
        assert packets[0][0] == pytest.approx(0.48, abs=0.03) and len(done.notes) == 1


def test_subtitles_are_copied_where_the_container_holds_them():
    import av

    with_subtitles('in.mkv')
    _, after, done = through('in.mkv')
    with av.open('out.mkv') as file:
        lines = [(packet.pts, bytes(packet)) for packet in file.demux(subtitles=0) if packet.size]
    assert lines == [(0, b'Good day'), (100, b'Goodbye')] and not done.notes
    _, after, done = through('in.mkv', 'out.mp4')
    assert after.kinds == ['video'] and any(re.search('subtitles.*mp4 .*subrip', note) for note in done.notes)


def test_titles_and_languages_stay():
    import av

    make('in.mkv', sound='aac', metadata={'title': 'Über den Wolken', 'encoder': 'old', 'comment': 'two words'})
    _, after, _ = through('in.mkv', 'out.mp4')
    assert after.metadata['title'] == 'Über den Wolken' and after.metadata['comment'] == 'two words'
    assert after.metadata['encoder'] != 'old'
    with av.open('out.mp4') as file:
        assert file.streams.audio[0].language == 'deu'


def test_what_is_left_out_is_told():
    import av

    make('plain.mkv', sound='aac')
    with av.open('plain.mkv') as source, av.open('in.mkv', 'w', format='matroska') as file:
        streams = {stream.index: file.add_stream_from_template(stream, opaque=True) for stream in source.streams}
        file.add_attachment('font.ttf', 'application/x-truetype-font', b'abc')
        for packet in source.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                file.mux(packet)
    _, after, done = through('in.mkv')
    assert any('attachments (1)' in note for note in done.notes) and after.kinds == ['video', 'audio']


# both in one picture, and a sample for contact sheets


@pytest.mark.parametrize('display', [None, *TURNED])
@pytest.mark.parametrize('pixels', ['yuv420p', 'yuv422p'])
def test_side_by_side(display, pixels):
    class Darker(Same):
        def forward(self, lq):
            return super().forward(lq) * 0.5

    make('in.mkv', pixels=pixels, display=TURNED.get(display))
    _, _, done = through('in.mkv', net=Darker(), side_by_side=Path('both.mkv'), sample=True)
    both = look('both.mkv')
    assert not both.sound and both.times == look('in.mkv').times
    assert both.display[:5] == look('in.mkv').display[:5]
    shown = rgb(both.frames[3], 'bt601')
    shown = {
        '90': np.rot90(shown, -1),
        '180': shown[::-1, ::-1],
        '270': np.rot90(shown),
        'mirrored': shown[:, ::-1],
    }.get(display, shown)
    height, width = (96, 64) if display in ('90', '270') else (64, 96)
    header, gap = sizes(height, width, 4)
    assert shown.shape[:2] == (height + header, 2 * width + gap) and header >= 16 and gap >= 4
    left, right = shown[header:, :width], shown[header:, -width:]
    assert np.abs(left * 0.5 - right).mean() < 3 and np.abs(left - done.sample[0]).mean() < 3
    assert np.abs(right - done.sample[1]).mean() < 3
    assert shown[header + 2 :, width + 1 : -width - 1].min() > 200  # white, but for the encoder
    assert shown[: header - 2].min() < 100 and shown[: header - 2].max() > 240  # letters on paper
    assert np.ptp(shown[: header - 2], 2).mean() < 2  # gray
