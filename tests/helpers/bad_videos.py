"""Damaged videos."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.videos import make


def sound_alone():
    import av

    make('both.mp4', sound='aac')
    with av.open('both.mp4') as source, av.open('alone.mp4', 'w') as file:
        stream = file.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(audio=0):
            if packet.size:
                packet.stream = stream
                file.mux(packet)
    return Path('alone.mp4').read_bytes()


def patched(source, mark, offset, data, start=0):
    """A file with other bytes at some distance behind a mark."""
    found = bytearray(Path(source).read_bytes())
    at = found.index(mark, start) + offset
    found[at : at + len(data)] = data
    return found
