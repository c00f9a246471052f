"""Write videos with PyAV: frames with their times and tags, sound and metadata."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from basicsr.utils.errors import ImageFileError
from basicsr.videos.check import require_written
from basicsr.videos.colours import at_bits
from basicsr.videos.display import orientation_of
from basicsr.videos.encoders import encoder_for
from basicsr.videos.frame import Frame, size_beside
from basicsr.videos.reader import VideoReader, load_av
from basicsr.videos.sound import Sound

CONTAINERS = {'.mp4': 'mp4', '.mov': 'mov', '.mkv': 'matroska', '.avi': 'avi'}
"""Supported containers by extension."""

_HEARD = Fraction(1, 20)  # seconds: a noticeable delay between image and sound
_KEPT = {  # metadata to copy; others describe the old file or its encoder
    *('title', 'artist', 'author', 'album', 'album_artist', 'comment', 'copyright', 'creation_time', 'date', 'genre'),
    *('description', 'keywords', 'location', 'make', 'model', 'synopsis', 'language', 'handler_name', 'timecode'),
}


class VideoWriter:
    """A new video file, complete after :meth:`close`.

    Args:
        path: path of the file.
        name: its final name, for error messages.
        reader: the source video; metadata, chapters and sound are copied from it.
        beside: the frames are pairs of :meth:`~basicsr.videos.frame.Frame.beside`, without sound.

    Attributes:
        size: (H, W) of the frames as written; odd sides are cropped if the chroma requires it.
        notes: properties that are not kept, in words; complete after :meth:`close`.

    Raises:
        ImageFileError: such a video cannot be written.
        OSError: the folder cannot be written.
    """

    def __init__(self, path: Path, name: Path, reader: VideoReader, beside: bool = False) -> None:
        self._av = load_av()
        self._path, self._name, self._info = path, name, reader.info
        self._times: list[int] = []
        self._durations: dict[int, int] = {}
        self._unit = self._info.time_base
        self._shift = round(reader.shift / self._unit)
        self._kind = CONTAINERS[name.suffix.lower()]
        self._encoder = encoder_for(self._info, self._kind)
        self.notes = self._encoder.notes
        self._part = self._even(self._info.size)
        self.size, self._display = self._part, self._info.display
        if beside:
            self.size = size_beside(self._part, orientation_of(self._display))
            if self._display is not None:  # its translation is that of the other size
                self._display = (*self._display[:6], 0, 0, self._display[8])
        self._sound: dict[int, Sound] = {}
        with self._errors():
            self._open()
            for stream in () if beside else reader.others:
                self._sound[stream.index] = Sound(self._container, stream, reader.shift)
                self.notes += self._sound[stream.index].notes
            metadata = reader.container.metadata
            self._container.metadata.update({key: metadata[key] for key in metadata if key.lower() in _KEPT})
            if chapters := reader.container.chapters():
                self._container.set_chapters(chapters)
            self._container.start_encoding()  # raises errors before the first frame

    def write(self, frame: Frame, result: Frame | None = None) -> None:
        """Add a frame.

        Args:
            frame: a frame of the reader, changed or not; it is cropped to a valid size.
            result: a frame to show on its right.

        Raises:
            ImageFileError: the encoder refuses it.
            OSError: the disk is full or the folder cannot be written.
        """
        frame = frame.cropped(self._part)
        if result is not None:
            frame = frame.beside(result.cropped(self._part))
        time = frame.time - self._shift
        number = len(self._times) if self._encoder.counts_frames else time
        image = self._av.VideoFrame(self.size[1], self.size[0], self._encoder.given)
        planes = at_bits(frame.planes, frame.layout.bits, self._encoder.bits)
        for target, values in zip(image.planes, planes, strict=True):
            rows = np.frombuffer(target, np.uint8).reshape(-1, target.line_size).view(values.dtype)
            rows[: values.shape[0], : values.shape[1]] = values
        image.pts, image.time_base = number, self._stream.codec_context.time_base
        self._durations[number] = frame.duration
        with self._errors():
            if self._kind == 'avi' and time > 0 and not self._times:
                # an empty frame at the start: AVI cannot store a later start otherwise
                packet = self._av.Packet()
                packet.stream, packet.time_base = self._stream, self._unit
                packet.pts = packet.dts = 0
                self._container.mux(packet)
            self._times.append(time)
            self._mux(self._stream.encode(image))

    def copy(self, packet: Any) -> None:
        """Add a packet of sound or subtitles of the source.

        Raises:
            OSError: the disk is full or the folder cannot be written.
        """
        if packet.stream_index in self._sound:
            with self._errors():
                for done in self._sound[packet.stream_index].packets(packet):
                    self._container.mux(done)

    def close(self) -> None:
        """Write remaining packets, and read the file back.

        Raises:
            ImageFileError: frames are missing in it.
            OSError: the disk is full or the folder cannot be written.
        """
        with self._errors():
            self._mux(self._stream.encode(None))
            for sound in self._sound.values():
                for packet in sound.packets(None):
                    self._container.mux(packet)
            self._container.close()
        late = max((sound.start or 0 for sound in self._sound.values()), default=0)
        if self._kind == 'avi' and late > _HEARD:
            self.notes += (f'the sound is {float(late):.2f} s early: AVI cannot store a later start',)
        self.notes += require_written(self._path, self._name, self._info, self._display, self._times)

    def abandon(self) -> None:
        """Close the file in any state."""
        with contextlib.suppress(self._av.error.FFmpegError, ValueError):
            self._container.close()

    def _even(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the size that can be written."""
        down, across = {'444': (1, 1), '422': (1, 2), '420': (2, 2)}[self._encoder.written[3:6]]
        down *= 2 if self._info.fields else 1
        height, width = size[0] - size[0] % down, size[1] - size[1] % across
        if not (height and width):
            raise ImageFileError(f'{self._name}: frames of {size[1]}×{size[0]} pixels are too small to be written')
        if (height, width) != size:
            self.notes += (f'cut to {width}×{height}: only even sizes can be written',)
        return height, width

    def _open(self) -> None:
        encoder, info, colours = self._encoder, self._info, self._info.layout.colours
        options = {}
        if self._kind in ('mp4', 'mov'):
            options = {'movflags': 'faststart', 'movie_timescale': str(_clock(self._unit))}
        self._container = self._av.open(f'file:{self._path}', 'w', format=self._kind, container_options=options)
        stream = self._container.add_stream(encoder.name, rate=info.rate, options=dict(encoder.options))
        context = stream.codec_context
        context.height, context.width = self.size
        context.pix_fmt = encoder.written
        context.colorspace, context.color_primaries = colours.matrix, colours.primaries
        context.color_trc, context.color_range = colours.transfer, colours.range
        if info.aspect is not None:
            context.sample_aspect_ratio = info.aspect
        context.time_base = 1 / info.rate.limit_denominator(1000) if encoder.counts_frames else self._unit
        stream.time_base = self._unit
        if encoder.tag and self._kind in ('mp4', 'mov'):
            context.codec_tag = encoder.tag
        if info.fields and encoder.name == 'libx264':
            context.flags |= self._av.codec.context.Flags.interlaced_dct.value
        if self._display is not None:
            stream.set_display_matrix(self._display)
        self._stream = stream

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            number = packet.pts
            if self._encoder.counts_frames:  # without B-frames packets keep their order
                packet.pts = packet.dts = self._times[number]
                packet.time_base = self._unit
            packet.duration = self._durations.pop(number, 0)
            self._container.mux(packet)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Convert errors of PyAV."""
        try:
            yield
        except self._av.error.FFmpegError as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise OSError(error.errno, error.strerror, str(self._name)) from error
            raise ImageFileError(f'{self._name}: cannot be written ({error.strerror or error})') from error


def _clock(unit: Fraction) -> int:
    """Return the ticks per second of start times: a multiple of the unit, up to 10^6."""
    ticks = unit.denominator
    while ticks < 1000:
        ticks *= 2
    return ticks if ticks <= 10**6 else 10**6
