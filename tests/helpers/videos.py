"""Videos for tests: made with PyAV to say what a test wants them to say, and read back as a player would."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from basicsr.archs.input_rule import InputRule
from basicsr.images.arrays import Array
from basicsr.inference.deblurrer import Deblurrer

FORMATS = {
    '.mp4': 'mp4',
    '.mov': 'mov',
    '.mkv': 'matroska',
    '.avi': 'avi',
    '.webm': 'webm',
    '.mpg': 'mpeg',
    '.wmv': 'asf',
    '.ts': 'mpegts',
}
TURNED = {  # display matrices
    '90': (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30),
    '180': (-65536, 0, 0, 0, -65536, 0, 0, 0, 1 << 30),
    '270': (0, -65536, 0, 65536, 0, 0, 0, 0, 1 << 30),
    'mirrored': (-65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30),
}
WEIGHTS = {'bt709': (0.2126, 0.0722), 'bt601': (0.299, 0.114), 'bt2020': (0.2627, 0.0593)}
"""Of red and blue in luma."""
PATCH = 16  # pixels of one colour in a row and in a column: whole blocks of every codec


class Same(nn.Module):
    """A network that leaves pictures as they are, and tells what it has seen."""

    input_rule = InputRule(halo=0)
    img_channel = in_channels = 3

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Array] = []

    def forward(self, lq: torch.Tensor) -> torch.Tensor:
        self.seen.append(lq[0].permute(1, 2, 0).numpy().copy())
        return lq


def leaving(net: nn.Module | None = None) -> Deblurrer:
    """A deblurrer around that network, or another one, without masks and guard."""
    return Deblurrer(net or Same(), device='cpu', masks='none', guard='off')


def make(
    path: Path | str,
    codec: str = 'libx264',
    pixels: str = 'yuv420p',
    size: tuple[int, int] = (64, 96),
    colours: tuple[int, int, int, int] = (2, 2, 2, 0),
    times: list[Fraction] | int = 6,
    rate: Fraction | int = 25,
    unit: Fraction | None = None,
    sound: str = '',
    sound_first: bool = False,
    late_sound: float = 0.0,
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    aspect: Fraction | None = None,
    display: tuple[int, ...] | None = None,
    interlaced: bool = False,
    metadata: dict[str, str] | None = None,
    frame: Any = None,
) -> Path:
    """Write a video of coloured patches.

    Args:
        path: its extension says the format.
        codec: of FFmpeg.
        pixels: pixel format.
        size: (H, W).
        colours: matrix, primaries, transfer, range.
        times: of the frames in seconds, or how many there are.
        rate: frames a second.
        unit: of times; what the format likes by default.
        sound: its codec; none by default.
        sound_first: its stream comes before the picture.
        late_sound: its first time in seconds.
        options: of the codec.
        container: options of the container.
        aspect: of pixels.
        display: matrix.
        interlaced: the encoder is told so.
        metadata: of the file.
        frame: makes the picture of a frame from its number, in place of :func:`patches`.
    """
    import av

    path = Path(path)
    kind = FORMATS[path.suffix]
    if unit is None:
        unit = {'matroska': Fraction(1, 1000), 'avi': 1 / Fraction(rate), 'mpeg': 1 / Fraction(rate)}.get(
            kind, Fraction(1, 1000 if kind in ('webm', 'asf') else 90000)
        )
    chosen = {'libx264': {'crf': '4'}, 'libx265': {'crf': '4', 'x265-params': 'log-level=none'}}.get(codec, {})
    with av.open(str(path), 'w', format=kind, container_options=container or {}) as file:
        file.metadata.update(metadata or {})
        heard = file.add_stream(sound, rate=48000) if sound_first else None
        stream = file.add_stream(codec, rate=rate, options={**chosen, **(options or {})})
        context = stream.codec_context
        context.height, context.width = size
        context.pix_fmt = pixels
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = colours
        context.time_base = stream.time_base = unit
        if aspect is not None:
            context.sample_aspect_ratio = aspect
        if display is not None:
            stream.set_display_matrix(display)
        if interlaced:
            context.flags |= av.codec.context.Flags.interlaced_dct.value
        if sound and heard is None:
            heard = file.add_stream(sound, rate=48000)
        if heard is not None:
            heard.metadata['language'] = 'deu'
        if isinstance(times, int):
            times = [Fraction(number) / rate for number in range(times)]
        tones = _tones(late_sound)
        position = max(0, round(times[0] * 48000)) if late_sound >= times[0] else 0
        for number, time in enumerate(times):
            picture = (frame or patches)(number, pixels, size)
            picture.pts, picture.time_base = round(time / unit), unit
            file.mux(stream.encode(picture))
            while heard is not None and position < (time + Fraction(1, 10)) * 48000:
                file.mux(heard.encode(next(tones)))
                position += 1024
        file.mux(stream.encode(None))
        if heard is not None:
            file.mux(heard.encode(None))
    return path


def patches(number: int, pixels: str, size: tuple[int, int]) -> Any:
    """A frame of PyAV of patches that are colours of RGB; the values of the first plane tell the number."""
    import av

    frame = av.VideoFrame(size[1], size[0], pixels)
    kind = frame.format
    bits = max(part.bits for part in kind.components)
    packed = 1 if kind.is_planar else kind.padded_bits_per_pixel // 8  # values for a pixel
    for index, plane in enumerate(frame.planes):
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size).view(np.uint8 if bits == 8 else '<u2')
        down, across = -(-size[0] // plane.height), -(-size[1] // plane.width)
        y, x = np.indices(rows.shape)
        colour = np.random.default_rng(index).integers(*((80, 150) if index == 0 else (108, 148)), (40, 40))
        values = colour[y * down // PATCH % 40, (x // packed * across // PATCH + 7 * (x % packed)) % 40] << (bits - 8)
        rows[:] = values + ((8 * number % 48) << (bits - 8) if index == 0 else 0)
    return frame


def flat(colours: list[tuple[int, int, int]], matrix: str) -> Any:
    """What makes limited frames of one RGB colour each, by a matrix of :data:`WEIGHTS`."""
    red, blue = WEIGHTS[matrix]

    def make_frame(number: int, pixels: str, size: tuple[int, int]) -> Any:
        import av

        r, g, b = (value / 255 for value in colours[number])
        luma = red * r + (1 - red - blue) * g + blue * b
        values = 16 + 219 * luma, 128 + 112 * (b - luma) / (1 - blue), 128 + 112 * (r - luma) / (1 - red)
        frame = av.VideoFrame(size[1], size[0], pixels)
        for plane, value in zip(frame.planes, values, strict=True):
            np.frombuffer(plane, np.uint8)[:] = round(value)
        return frame

    return make_frame


def _tones(late: float) -> Any:
    import av

    noise = np.random.default_rng(3)
    position = round(late * 48000)
    while True:
        samples = (noise.standard_normal((2, 1024)) * 0.1).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(samples, 'fltp', 'stereo')
        frame.sample_rate, frame.pts, frame.time_base = 48000, position, Fraction(1, 48000)
        position += 1024
        yield frame


@dataclass
class Seen:
    """What a player finds in a video.

    Args:
        codec, pixels, size, colours, aspect, display: as of :func:`make`.
        times: of the frames, in seconds.
        planes: of the frames, as values of 8 bits.
        frames: of PyAV.
        sound: of each stream of sound, its codec and its packets: times in seconds and bytes.
        metadata: of the file.
        kinds: of all streams.
    """

    codec: str
    pixels: str
    size: tuple[int, int]
    colours: tuple[int, int, int, int]
    aspect: Fraction | None
    display: tuple[int, ...]
    interlaced: bool
    times: list[Fraction]
    planes: list[list[Array]]
    frames: list[Any]
    sound: list[tuple[str, list[tuple[float, bytes]]]]
    metadata: dict[str, str]
    kinds: list[str] = field(default_factory=list)


def look(path: Path | str) -> Seen:
    """Decode a video with PyAV alone."""
    import av

    with av.open(str(path)) as file:
        if file.format.name == 'avi':  # times that PyAV guesses there are a frame late
            file.flags &= ~av.container.Flags.gen_pts.value
        stream = file.streams.video[0]
        stated = tuple(
            getattr(stream.codec_context, key) for key in ('colorspace', 'color_primaries', 'color_trc', 'color_range')
        )
        frames = list(file.decode(stream))
        first = frames[0]
        said = (first.colorspace, first.color_primaries, first.color_trc, first.color_range)
        unstated = (2, 2, 2, 0)
        matrices = [bytes(data) for data in first.side_data if data.type.name == 'DISPLAYMATRIX']
        return Seen(
            codec=stream.codec_context.name,
            pixels=first.format.name,
            size=(first.height, first.width),
            colours=tuple(a if a != none else b for a, b, none in zip(said, stated, unstated, strict=True)),
            aspect=stream.sample_aspect_ratio,
            display=tuple(np.frombuffer(matrices[0], np.int32).tolist()) if matrices else (),
            interlaced=first.interlaced_frame,
            times=[(f.pts if f.pts is not None else f.dts) * f.time_base for f in frames],
            planes=[planes_of(frame) for frame in frames],
            frames=frames,
            sound=_heard(path),
            metadata=dict(file.metadata),
            kinds=[stream.type for stream in file.streams],
        )


def planes_of(frame: Any) -> list[Array]:
    """The planes of a frame, as values of 8 bits."""
    bits = max(part.bits for part in frame.format.components)
    found = []
    for plane in frame.planes:
        rows = np.frombuffer(plane, np.uint8).reshape(-1, abs(plane.line_size)).view(np.uint8 if bits == 8 else '<u2')
        found.append(rows[: plane.height, : plane.width] / 2 ** (bits - 8))
    return found


def _heard(path: Path | str) -> list[tuple[str, list[tuple[float, bytes]]]]:
    import av

    with av.open(str(path)) as file:
        packets: dict[int, list[tuple[float, bytes]]] = {stream.index: [] for stream in file.streams.audio}
        for packet in file.demux():
            if packet.stream_index in packets and packet.size:
                packets[packet.stream_index].append((float(packet.pts * packet.time_base), bytes(packet)))
        return [(stream.codec_context.name, packets[stream.index]) for stream in file.streams.audio]


def rgb(frame: Any, matrix: str) -> Array:
    """A frame of PyAV as (H, W, 3) of values from 0 to 255, each pixel with the chroma sample that lies over it."""
    red, blue = WEIGHTS[matrix]
    planes = planes_of(frame)
    height, width = planes[0].shape
    y, cb, cr = (
        plane.repeat(-(-height // plane.shape[0]), 0).repeat(-(-width // plane.shape[1]), 1)[:height, :width]
        for plane in planes
    )
    full = frame.color_range == 2 or frame.format.name.startswith('yuvj')
    luma = y / 255 if full else (y - 16) / 219
    cb, cr = ((values - 128) / (127.5 if full else 112) for values in (cb, cr))
    r, b = luma + cr * (1 - red), luma + cb * (1 - blue)
    return np.clip(np.dstack([r, (luma - red * r - blue * b) / (1 - red - blue), b]), 0, 1) * 255


def differences(a: Seen, b: Seen) -> list[float]:
    """The largest difference between two videos in each of their planes, in levels of 8 bits."""
    pairs = zip(a.planes, b.planes, strict=True)
    return np.max([[np.abs(x - y).max() for x, y in zip(p, q, strict=True)] for p, q in pairs], 0).tolist()
