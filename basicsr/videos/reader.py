"""Read videos with PyAV: frames with their times, and the packets of sound between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL import Image

from basicsr.utils.errors import ImageFileError
from basicsr.videos.containers import MAX_FRAME_PIXELS, require_frame_size, require_whole
from basicsr.videos.display import orientation_of
from basicsr.videos.frame import Frame
from basicsr.videos.info import VideoInfo, colours_of, info_of, plane_layout_of, planes_of_frame

_MIN_VERSION = (17, 1)  # the first that writes display matrices
_FORMATS = 'mov,matroska,avi,asf,mpeg,mpegts,mpegvideo,gif,flv,ogg,dv,mxf,nut'  # neither playlists nor single images
_RUNNING_CLOCKS = ('mpeg', 'mpegts', 'mpegvideo')  # formats whose times begin at any value
_IMAGE_BRANDS = {'heic', 'heix', 'mif1', 'avif'}
_LATE = 10  # seconds: a later first frame is due to the clock of a recorder, not to a pause


def load_av() -> Any:
    """Return the package PyAV; None if it is not installed, or too old."""
    try:
        import av
    except ImportError:
        return None
    version = tuple(int(part) for part in av.__version__.split('.')[:2])
    return av if version >= _MIN_VERSION else None


class VideoReader(AbstractContextManager['VideoReader']):
    """A video file, to be used in a ``with`` block.

    Args:
        path: path of the file.

    Attributes:
        info: properties of its frames.
        container: container of PyAV.
        others: streams of PyAV for sound and subtitles.
        notes: properties that are not kept; after the last frame, also faults of the file.

    Raises:
        ImageFileError: not a video, cut off, too large, or of unsupported colours.
    """

    def __init__(self, path: Path) -> None:
        require_whole(path)
        self.path = path
        self._av = load_av()
        self._packets = self._damaged = 0
        self.others: list[Any] = []
        self._open()
        try:
            self._stated = colours_of(self._stream.codec_context)
            first = next(self._decoded(lambda packet: None), None)
            if first is None:
                raise ImageFileError(f'{path}: not a readable video: none of its frames can be decoded')
            self._begin = (first.pts if first.pts is not None else first.dts or 0) * self._stream.time_base
            self.info: VideoInfo = info_of(path, self.container, self._stream, self._stated, first)
        finally:
            self.container.close()
        self._open()  # once more from the beginning, for sound before the first frame
        streams = self.container.streams
        self.others = [s for s in (*streams.audio, *streams.subtitles) if s.codec_context is not None]
        self.notes: tuple[str, ...] = self.info.notes + self._left_out()

    def __exit__(self, *error: object) -> None:
        self.container.close()

    @property
    def total(self) -> int:
        """Estimated number of frames; 0 if unknown."""
        return self.info.frames

    @property
    def shift(self) -> Fraction:
        """Seconds to subtract from all times: the start of a clock that does not begin with the file."""
        start = min(Fraction(self.container.start_time or 0, 10**6), self._begin)
        return start if self.container.format.name in _RUNNING_CLOCKS or start > _LATE else Fraction(0)

    def frames(self, copy: Callable[[Any], None]) -> Iterator[Frame]:
        """Yield all frames in the order of display; can be called once.

        Args:
            copy: called with the packets of :attr:`others`.

        Raises:
            ImageFileError: the file ends too early, or its frames change their size or colours.
        """
        last: int | None = None
        good = moved = 0
        info, orientation = self.info, orientation_of(self.info.display)
        for frame in self._decoded(copy):
            self._require_same(frame)
            step = frame.duration or max(1, round(1 / (info.rate * info.time_base)))
            time = frame.pts if frame.pts is not None else frame.dts
            if time is None:
                time = 0 if last is None else last + step
            if last is not None and time <= last:
                time, moved = last + 1, moved + 1
            last, good = time, good + 1
            planes = planes_of_frame(frame, info.layout)
            yield Frame(planes, info.layout, time, step, orientation, bool(info.fields))
        if self._damaged:
            self.notes += (f'{self._damaged} damaged frames were skipped',)
        elif good < 0.9 * self._packets:
            self.notes += (f'the file contains {self._packets} frames, {good} could be read; is it damaged?',)
        if moved:
            self.notes += (f'{moved} frames had timestamps out of order, which were corrected',)

    def packet_times(self) -> list[int]:
        """Return the time of each frame in units of the time base, without decoding; can be called once."""
        packets = (packet for packet in self.container.demux(self._stream) if packet.size)
        return [packet.pts if packet.pts is not None else packet.dts for packet in packets]

    def _open(self) -> None:
        try:
            self.container = self._av.open(
                f'file:{self.path}',
                # the file cannot open others, and images are refused
                container_options={'format_whitelist': _FORMATS, 'protocol_whitelist': 'file'},
                options={'max_pixels': str(MAX_FRAME_PIXELS)},
                metadata_errors='replace',
            )
        except (self._av.error.FFmpegError, ValueError, OverflowError) as error:
            reason = _image_format(self.path) or f'not a readable video ({_reason(error)})'
            raise ImageFileError(f'{self.path}: {reason}') from error
        if self.container.format.name == 'avi':  # times that PyAV estimates are a frame late
            self.container.flags &= ~self._av.container.Flags.gen_pts.value
        self._stream = self._video_stream()
        self._stream.codec_context.options = {'max_pixels': str(MAX_FRAME_PIXELS)}

    def _video_stream(self) -> Any:
        streams = self.container.streams
        cover = self._av.stream.Disposition.attached_pic
        moving = [stream for stream in streams.video if not stream.disposition & cover]
        if not moving or self.container.metadata.get('major_brand') in _IMAGE_BRANDS:
            found = 'an image' if streams.video else 'sound' if streams.audio else 'neither video, images nor sound'
            raise ImageFileError(f'{self.path}: not a video: the file contains {found}')
        best = streams.best('video')
        stream = best if best in moving else moving[0]
        if stream.codec_context is None:
            raise ImageFileError(f'{self.path}: not a readable video: its codec is unknown')
        require_frame_size(self.path, stream.codec_context.width, stream.codec_context.height)
        return stream

    def _decoded(self, copy: Callable[[Any], None]) -> Iterator[Any]:
        """Yield frames of PyAV, and count packets and damaged ones."""
        self._packets = self._damaged = 0
        errors = self._av.error
        try:
            for packet in self.container.demux([self._stream, *self.others]):
                if packet.is_corrupt:
                    raise ImageFileError(f'{self.path}: cut off or damaged {_place(packet)}; copy or download it again')
                if packet.stream.index != self._stream.index:  # the last packet of a stream has no index of its own
                    if packet.size:
                        copy(packet)
                    continue
                self._packets += bool(packet.size) and not packet.is_discard
                try:
                    yield from packet.decode()
                except (errors.InvalidDataError, errors.PatchWelcomeError, errors.UnknownError):
                    self._damaged += 1
        except (errors.FFmpegError, MemoryError) as error:
            raise ImageFileError(f'{self.path}: not readable to its end ({_reason(error)}); is it cut off?') from error

    def _left_out(self) -> tuple[str, ...]:
        streams = self.container.streams
        counts = {
            'further video streams': len(streams.video) - 1,
            'data streams': sum('timecode' not in stream.metadata for stream in streams.data),
            'attachments': len(streams.attachments),
        }
        return tuple(f'dropped: {kind} ({count})' for kind, count in counts.items() if count)

    def _require_same(self, frame: Any) -> None:
        height, width = self.info.size
        if (frame.height, frame.width) != (height, width):
            now = f'{frame.width}×{frame.height} {_place(frame)}'
            raise ImageFileError(f'{self.path}: the frame size changes to {now}; split the video there')
        if plane_layout_of(self.path, frame, self._stated) != self.info.layout:
            raise ImageFileError(f'{self.path}: the colour format changes {_place(frame)}; split the video there')


def _place(item: Any) -> str:
    """Return the time of a packet or frame, in words."""
    time = item.pts if item.pts is not None else item.dts
    return 'at its beginning' if time is None else f'at {float(time * item.time_base):.1f} s'


def _image_format(path: Path) -> str:
    """Return the error for an image file; empty for other files."""
    try:
        with Image.open(path) as image:
            return f'an image ({image.format}), not a video; name it with its extension'
    except (OSError, ValueError, Image.DecompressionBombError):
        return ''


def _reason(error: BaseException) -> str:
    return str(getattr(error, 'strerror', None) or error).lower()
