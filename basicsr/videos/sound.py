"""Copy sound and subtitles of a video to its result; sound becomes AAC if the container does not support its codec."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from basicsr.videos.reader import load_av

_LAYOUTS = {1: 'mono', 2: 'stereo', 3: '2.1', 4: '4.0', 5: '5.0', 6: '5.1', 7: '6.1', 8: '7.1'}
_AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)


class Sound:
    """One stream of sound or subtitles, copied to another container.

    Args:
        container: target container of PyAV.
        stream: source stream of PyAV.
        shift: seconds to subtract from all times.

    Attributes:
        notes: differences from the source, in words.
        start: time of the first packet in seconds; None before it.
    """

    def __init__(self, container: Any, stream: Any, shift: Fraction) -> None:
        self.notes: tuple[str, ...] = ()
        self.start: Fraction | None = None
        self._source = stream
        self._shift = round(shift / stream.time_base)
        self._last: int | None = None
        self._encoder = self._target = None
        codec, kind = stream.codec_context.codec.canonical_name, container.format.name
        if _is_held(kind, stream):
            self._target = container.add_stream_from_template(stream)
            if stream.type == 'audio' and _layout(stream) != stream.codec_context.layout.name:
                self._target.layout = _layout(stream)
        elif stream.type == 'audio':
            self.notes = (f'sound converted to AAC: {kind} does not support {codec}',)
            context = stream.codec_context
            rate = context.sample_rate if context.sample_rate in _AAC_RATES else 48000
            self._encoder = self._target = container.add_stream('aac', rate=rate)
            self._target.layout, self._target.bit_rate = _layout(stream), 96000 * max(1, context.layout.nb_channels)
        else:
            self.notes = (f'dropped: subtitles ({kind} does not support {codec})',)
            return
        self._target.disposition = stream.disposition
        kept = ('language', 'title', 'handler_name')
        self._target.metadata.update({key: stream.metadata[key] for key in kept if key in stream.metadata})

    def packets(self, packet: Any) -> Iterator[Any]:
        """Yield the packets to write for a packet of the source, or for its end (None)."""
        if packet is not None:
            self._move(packet)
        if self._encoder is None:
            if packet is not None and self._target is not None:
                packet.stream = self._target
                yield packet
            return
        with contextlib.suppress(load_av().error.InvalidDataError):  # a damaged packet is skipped
            for frame in self._source.decode(packet):
                yield from self._encoder.encode(frame)
        if packet is None:
            yield from self._encoder.encode(None)

    def _move(self, packet: Any) -> None:
        """Set the times of the result, each later than the one before, as containers require."""
        pts, dts = (None if time is None else time - self._shift for time in (packet.pts, packet.dts))
        dts = dts if dts is not None else pts
        if dts is None:
            dts = 0 if self._last is None else self._last + max(1, packet.duration or 0)
        if self._last is not None:
            dts = max(dts, self._last + 1)
        packet.dts, packet.pts = dts, dts if pts is None else max(pts, dts)
        self._last = dts
        if self.start is None:
            self.start = packet.pts * packet.time_base


def _is_held(kind: str, stream: Any) -> bool:
    """Whether a container supports the codec of a stream; only writing a header shows it."""
    av = load_av()
    try:
        with av.open(io.BytesIO(), 'w', format=kind) as trial:
            trial.add_stream_from_template(stream)
            trial.start_encoding()
    except (ValueError, av.error.FFmpegError):
        return False
    return True


def _layout(stream: Any) -> str:
    """Return the channel layout, by the number of channels if the source does not state it."""
    layout = stream.codec_context.layout
    return _LAYOUTS.get(layout.nb_channels, layout.name) if layout.name.endswith(' channels') else str(layout.name)
