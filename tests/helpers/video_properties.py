"""Videos with known times, subtitles and properties."""

from __future__ import annotations

from fractions import Fraction

import pytest

from tests.helpers.videos import differences, make

LEVELS = 4  # of 8 bits: what the difference of a result may be, by its own tags


def require_kept(before, after, levels=LEVELS):
    """Pictures, times and sound are those of the source."""
    assert max(differences(before, after)) <= levels
    assert after.colours[:3] == before.colours[:3] and max(1, after.colours[3]) == max(1, before.colours[3])
    assert (after.aspect or 1, after.display[:5]) == (before.aspect or 1, before.display[:5])
    assert after.times == pytest.approx(before.times, abs=1e-6)
    require_sound(before, after)


def require_sound(before, after, moved=1e-4):
    assert [codec for codec, _ in after.sound] == [codec for codec, _ in before.sound]
    for (_, was), (_, now) in zip(before.sound, after.sound, strict=True):
        assert [data for _, data in now] == [data for _, data in was]
        assert [time for time, _ in now] == pytest.approx([time for time, _ in was], abs=moved)


UNEVEN = [Fraction(0), Fraction(1, 25), Fraction(1, 10), Fraction(1, 2), Fraction(11, 20), Fraction(3)]


LATE = [Fraction(4, 5) + Fraction(i, 10) for i in range(8)]


def with_subtitles(path):
    """Two lines of text beside a picture."""
    import av

    with av.open(str(make('plain.mkv'))) as source, av.open(str(path), 'w', format='matroska') as file:
        picture = file.add_stream_from_template(source.streams.video[0], opaque=True)
        text = file.add_mux_stream('subrip', time_base=Fraction(1, 1000))
        for number, line in enumerate((b'Good day', b'Goodbye')):
            packet = av.Packet(line)
            packet.stream, packet.time_base, packet.duration = text, Fraction(1, 1000), 80
            packet.pts = packet.dts = 100 * number
            file.mux(packet)
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = picture
                file.mux(packet)
