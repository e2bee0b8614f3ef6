"""Read the frames of a video, and write videos, with PyAV (the extra ``video``).

Frames are processed one at a time; no video is held in memory.
"""

import contextlib
import heapq
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ganimation_jax.files.unusable import UnusableFile, check_regular

VIDEO_SUFFIXES = {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv"}
SEGMENT = 60.0  # seconds of a video that one process handles at a time
CRF = "18"  # x264's quality: visually almost identical to the source
# Audio codecs that are copied into MP4 unchanged, because players support them there.
COPIED = {"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"}
FINEST = 10_000  # ticks per second at least, so that sound and pictures start at exact times
AAC_RATES = (48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000)
# FFmpeg's demuxers that may be used. Those for playlists are excluded, because a playlist names
# other files and addresses, which FFmpeg would open.
DEMUXERS = "mov,matroska,avi,mpeg,mpegts,mpegvideo,asf,flv,ogg,m4v,h264,hevc,gif,apng"
# FFmpeg's constants for the colour properties of a picture.
BT709, UNSPECIFIED, LIMITED = 1, 2, 1
# FFmpeg's flags for an exact conversion between RGB and YUV: SWS_BICUBIC, _FULL_CHR_H_INT,
# _FULL_CHR_H_INP and _ACCURATE_RND. A round trip with its default darkens every colour by 1 to 1.4
# levels.
EXACTLY = 0x4 | 0x2000 | 0x4000 | 0x40000


class Probe(NamedTuple):
    """Length and frame rate of a video, from its metadata."""

    seconds: float | None  # length; None if unknown
    rate: float  # frames per second


class Film(NamedTuple):
    """Timing and colour properties of a video."""

    rate: Fraction  # average frames per second
    tick: Fraction  # seconds; written times are whole multiples of it
    total: int | None = None  # number of frames according to the file; None if unknown
    primaries: int = BT709  # colour primaries, FFmpeg's constant, copied from the source
    transfer: int = BT709  # transfer function, FFmpeg's constant, copied from the source


class Moment(NamedTuple):
    """One frame and its time."""

    image: np.ndarray  # uint8 h w 3, upright, with square pixels
    time: Fraction  # seconds from the start of the pictures or the sound, whichever is first


def probe(path: Path) -> Probe:
    """Read the length and frame rate of a video.

    Raises:
      UnusableFile: the file is not a video.
      ImportError: PyAV is not installed.
    """
    with _open(path) as container:
        length = container.duration
        seconds = None if length is None else length / _av().time_base
        return Probe(seconds, float(_rate(container.streams.video[0])))


def tags_of(path: Path) -> dict[str, str]:
    """The container's metadata, names and values.

    Raises:
      UnusableFile: the file is not a video.
      ImportError: PyAV is not installed.
    """
    with _open(path) as container:
        return dict(container.metadata)


def film(path: Path) -> Film:
    """Read the timing and colour properties of a video.

    Raises:
      UnusableFile: the file is not a video.
      ImportError: PyAV is not installed.
    """
    with _open(path) as container:
        stream, length = container.streams.video[0], container.duration
        rate, total = _rate(stream), stream.frames or None
        if total is None and length is not None:
            total = round(Fraction(length, _av().time_base) * rate)
        context = stream.codec_context
        colours = (context.color_primaries, context.color_trc)
        # 0 is reserved, but some encoders write it for unspecified colours.
        known = (BT709 if number in (0, UNSPECIFIED) else number for number in colours)
        return Film(rate, tick_of(stream.time_base), total, *known)


def frame_range(start: float, stop: float, rate: float) -> tuple[int, float]:
    """Numbers of the first frames at or after ``start`` and ``stop``; the latter may be inf."""
    return math.ceil(start * rate), math.ceil(stop * rate) if stop < math.inf else math.inf


def frames(path: Path, start: float, stop: float, every: int) -> Iterator[tuple[int, Image.Image]]:
    """Yield every ``every``-th frame with a time in [``start``, ``stop``), upright, RGB.

    Frames are numbered from 0 by presentation time, so a number means the same frame wherever
    reading starts. If two frames have one number, the first is used. One frame is in memory at
    a time.

    Raises:
      UnusableFile: the video is damaged; frames before the damage have been yielded.
      ImportError: PyAV is not installed.
    """
    try:
        with _open(path) as container:
            stream = container.streams.video[0]
            stream.thread_type = "SLICE"  # several processes already use all cores
            rate = float(_rate(stream))
            origin = float((stream.start_time or 0) * stream.time_base)
            if start > 0:
                container.seek(int((origin + start) / stream.time_base), stream=stream)
            first, end = frame_range(start, stop, rate)
            last = -1
            for frame in container.decode(stream):
                if frame.time is None:
                    raise UnusableFile("unreadable video", "a frame without a time", path)
                number = round((frame.time - origin) * rate)
                if number >= end:
                    break
                if number < first or number <= last or number % every:
                    continue
                last = number
                # FFmpeg's angle turns the stored frame anticlockwise, as Pillow's does.
                image = frame.to_image(interpolation=EXACTLY)
                yield number, image.rotate(frame.rotation, expand=True)
    except (_av().FFmpegError, OSError) as error:
        raise UnusableFile("unreadable video", str(error), path) from error


def tick_of(base: Fraction) -> Fraction:
    """``base`` seconds divided by an integer to give a fine enough tick.

    If ``base`` is a microsecond or less, MPEG's tick of 1/90,000 s.
    """
    return base / math.ceil(FINEST * base) if base > Fraction(1, 10**6) else Fraction(1, 90_000)


def moments(path: Path) -> Iterator[Moment]:
    """Yield all frames in presentation order. If two have one time, the first is used.

    Raises:
      UnusableFile: the video is damaged; frames before the damage have been yielded.
      ImportError: PyAV is not installed.
    """
    last = None
    try:
        with _open(path) as container:
            stream, origin = container.streams.video[0], _origin(container)
            for frame in container.decode(stream):
                if frame.pts is None:
                    raise UnusableFile("unreadable video", "a frame without a time", path)
                time = frame.pts * frame.time_base - origin
                if last is None or time > last:
                    last = time
                    yield Moment(_pixels(frame, stream.sample_aspect_ratio), time)
    except (_av().FFmpegError, OSError) as error:
        raise UnusableFile("unreadable video", str(error), path) from error


def _pixels(frame: Any, aspect: Fraction | None) -> np.ndarray:
    """Decode a frame to upright RGB with square pixels."""
    # Without colour metadata, large pictures are BT.709 by convention. FFmpeg would treat them
    # as small ones.
    large = frame.width >= 1280 or frame.height > 576
    rgb = frame.to_ndarray(
        format="rgb24",
        width=round(frame.width * (aspect or 1)),
        src_colorspace=BT709 if frame.colorspace == UNSPECIFIED and large else None,
        interpolation=EXACTLY,
    )
    # FFmpeg's angle turns the stored frame anticlockwise, as Pillow's does.
    return np.asarray(Image.fromarray(rgb).rotate(frame.rotation, expand=True))


def write_mp4(
    path: Path,
    shown: Iterator[Moment],
    film: Film,
    tags: Mapping[str, str],
    sound: Path | None = None,
) -> None:
    """Write a video as H.264 in MP4; every frame keeps its time.

    Odd heights and widths are padded by repeating the last row or column, because H.264 halves
    the resolution of colour. No pixel is lost or moved.

    Args:
      path: overwritten; after an error the file is not a valid video.
      shown: at least one frame, all of one size, at increasing times.
      film: frame rate, tick and colour properties.
      tags: the container's metadata; any names are allowed.
      sound: a video whose best audio stream is kept, if it has one. Its packets are copied
        if the codec is in ``COPIED``; otherwise it is encoded again as AAC.

    Raises:
      OSError: the file cannot be written.
      UnusableFile: the sound is damaged.
      ImportError: PyAV is not installed.
    """
    av, first = _av(), next(shown)
    options = {"movflags": "use_metadata_tags+faststart"}
    with contextlib.ExitStack() as stack:
        container = stack.enter_context(av.open(str(path), "w", format="mp4", options=options))
        container.metadata.update(tags)
        stream = container.add_stream("libx264", film.rate, {"crf": CRF}, time_base=film.tick)
        height, width = first.image.shape[:2]
        stream.width, stream.height = width + width % 2, height + height % 2
        context = stream.codec_context
        context.colorspace, context.color_range = BT709, LIMITED
        context.color_primaries, context.color_trc = film.primaries, film.transfer
        packets = [_encoded(stream, itertools.chain([first], shown), film)]
        if sound is not None:
            source = stack.enter_context(_open(sound))
            packets.append(_heard(source, container, sound))
        # Merged lazily, so that at most one packet of each stream is in memory.
        for packet in heapq.merge(*packets, key=lambda packet: packet.dts * packet.time_base):
            if packet.stream is stream:
                packet.duration = round(1 / film.rate / film.tick)  # used for the last one
            container.mux(packet)


def _encoded(stream: Any, shown: Iterable[Moment], film: Film) -> Iterator[Any]:
    """Encode frames and yield the packets."""
    av = _av()
    for image, time in shown:
        height, width = image.shape[:2]
        even = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
        frame = av.VideoFrame.from_ndarray(even).reformat(
            format="yuv420p",
            dst_colorspace=BT709,
            dst_color_range=LIMITED,
            interpolation=EXACTLY,
        )
        frame.pts, frame.time_base = round(time / film.tick), film.tick
        yield from stream.encode(frame)
    yield from stream.encode()


def _heard(source: Any, container: Any, path: Path) -> Iterator[Any]:
    """Yield the audio packets of ``source``, for a new stream of ``container``."""
    old, origin = source.streams.best("audio"), _origin(source)
    if old is None:
        return iter(())
    context = old.codec_context
    if copied := context.codec.canonical_name in COPIED:
        new = container.add_stream_from_template(old)
    else:
        rate = context.sample_rate if context.sample_rate in AAC_RATES else 48_000
        layout = "mono" if context.layout.nb_channels == 1 else "stereo"
        new = container.add_stream("aac", rate, bit_rate=192_000, layout=layout)

    def packets() -> Iterator[Any]:
        try:
            for packet in source.demux(old):
                if copied and packet.dts is not None:  # the last one, empty, has none
                    _shift(packet, origin)
                    packet.stream = new
                    yield packet
                for frame in [] if copied else packet.decode():
                    _shift(frame, origin)
                    yield from new.encode(frame)
            if not copied:
                yield from new.encode()
        except (_av().FFmpegError, OSError) as error:
            raise UnusableFile("unreadable sound", str(error), path) from error

    return packets()


def _shift(timed: Any, origin: Fraction) -> None:
    """Make the times of a packet or frame relative to ``origin``, in seconds."""
    ticks = round(origin / timed.time_base)
    for name in ("pts", "dts"):
        if (value := getattr(timed, name)) is not None:
            setattr(timed, name, value - ticks)


def _origin(container: Any) -> Fraction:
    """The start of the pictures or the sound, whichever is first, in the container's seconds."""
    streams = [container.streams.video[0], container.streams.best("audio")]
    return min(Fraction((s.start_time or 0) * s.time_base) for s in streams if s is not None)


def _open(path: Path) -> Any:
    """Open a container that has a video stream; the caller closes it.

    Raises:
      UnusableFile: the file cannot be read or has no video stream.
      ImportError: PyAV is not installed.
    """
    av = _av()
    try:
        check_regular(path)
        container = av.open(str(path), options={"format_whitelist": DEMUXERS})
    except (av.FFmpegError, OSError, ValueError) as error:
        raise UnusableFile("unreadable video", str(error), path) from error
    if not container.streams.video:
        container.close()
        raise UnusableFile("unreadable video", "it has no pictures", path)
    return container


def _rate(stream: Any) -> Fraction:
    return Fraction(stream.average_rate or stream.guessed_rate or 25)


def _av() -> ModuleType:
    try:
        import av
    except ImportError as error:
        raise ImportError("videos need PyAV: pip install 'ganimation-jax[video]'") from error
    return av
