"""Frames of a video, one after the other, and videos of them, by PyAV (the extra ``video``).

Nothing here holds a video: frames come and go one at a time.
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
SEGMENT = 60.0  # seconds of a video that one process takes at a time
CRF = "18"  # x264's: hardly to be told from the source
# Codecs of sound that go into MP4 as they are, and that players look for there.
COPIED = {"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"}
FINEST = 10_000  # ticks a second at least, so that starts of sound and pictures fit one clock
AAC_RATES = (48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000)
# FFmpeg's readers that may be used, by its names. It also has some for playlists, which name
# other files and addresses that it would open.
DEMUXERS = "mov,matroska,avi,mpeg,mpegts,mpegvideo,asf,flv,ogg,m4v,h264,hevc,gif,apng"
# FFmpeg's numbers for the colours of a picture.
BT709, UNSPECIFIED, LIMITED = 1, 2, 1
# Of its ways between RGB and YUV the exact one: SWS_BICUBIC, _FULL_CHR_H_INT, _FULL_CHR_H_INP and
# _ACCURATE_RND. Its default takes 1 to 1.4 levels off every colour on the way there and back.
EXACTLY = 0x4 | 0x2000 | 0x4000 | 0x40000


class Probe(NamedTuple):
    """What a video says of itself."""

    seconds: float | None  # None where it does not say
    rate: float  # frames a second


class Film(NamedTuple):
    """How a video runs."""

    rate: Fraction  # frames a second, on average
    tick: Fraction  # seconds: times are whole multiples of it when written
    total: int | None = None  # of frames, as the file says; None where it does not
    primaries: int = BT709  # what red, green and blue are: FFmpeg's numbers, which
    transfer: int = BT709  # pass from the source to what is made of it


class Moment(NamedTuple):
    """One frame."""

    image: np.ndarray  # uint8 h w 3, upright, of square pixels
    time: Fraction  # seconds from the start of the video, be that of pictures or of sound


def probe(path: Path) -> Probe:
    """Open a video and look.

    Raises:
      UnusableFile: it is no video.
      ImportError: PyAV is not installed.
    """
    with _open(path) as container:
        length = container.duration
        seconds = None if length is None else length / _av().time_base
        return Probe(seconds, float(_rate(container.streams.video[0])))


def tags_of(path: Path) -> dict[str, str]:
    """The container's metadata, names and values.

    Raises:
      UnusableFile: it is no video.
      ImportError: PyAV is not installed.
    """
    with _open(path) as container:
        return dict(container.metadata)


def film(path: Path) -> Film:
    """Open a video and look at how it runs.

    Raises:
      UnusableFile: it is no video.
      ImportError: PyAV is not installed.
    """
    with _open(path) as container:
        stream, length = container.streams.video[0], container.duration
        rate, total = _rate(stream), stream.frames or None
        if total is None and length is not None:
            total = round(Fraction(length, _av().time_base) * rate)
        context = stream.codec_context
        colours = (context.color_primaries, context.color_trc)
        # 0 is reserved, and what some write who do not know.
        known = (BT709 if number in (0, UNSPECIFIED) else number for number in colours)
        return Film(rate, tick_of(stream.time_base), total, *known)


def frame_range(start: float, stop: float, rate: float) -> tuple[int, float]:
    """The first frame from ``start`` on, and the first from ``stop`` on (may be infinite)."""
    return math.ceil(start * rate), math.ceil(stop * rate) if stop < math.inf else math.inf


def frames(path: Path, start: float, stop: float, every: int) -> Iterator[tuple[int, Image.Image]]:
    """Every ``every``-th frame shown from ``start`` until before ``stop``, upright, RGB.

    Frames are numbered from 0 by the time at which they are shown, so that a number
    names the same frame wherever reading began; of two at one number the first counts.
    Holds one frame at a time.

    Raises:
      UnusableFile: the video is damaged; frames before that have been yielded.
      ImportError: PyAV is not installed.
    """
    try:
        with _open(path) as container:
            stream = container.streams.video[0]
            stream.thread_type = "SLICE"  # processes share the cores already
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
    """A whole part of ``base`` seconds that is fine enough; MPEG's tick if it is too fine."""
    return base / math.ceil(FINEST * base) if base > Fraction(1, 10**6) else Fraction(1, 90_000)


def moments(path: Path) -> Iterator[Moment]:
    """Every frame in the order shown. Of two at one time the first counts.

    Raises:
      UnusableFile: the video is damaged; frames before that have been yielded.
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
    """A frame as it is meant to be seen."""
    # What says nothing of its colours has those of its size; FFmpeg takes all for small.
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

    Frames of odd sides get one more row or column, equal to the last: H.264 halves the
    resolution of colour, and so no pixel is lost or moved.

    Args:
      path: overwritten; what an error leaves there is no video.
      shown: at least one, all of one size, at increasing times.
      film: rate, and the tick in whole multiples of which times are written.
      tags: the container's metadata, of any names.
      sound: a video whose best stream of sound is kept, if it has any. Its packets are
        copied if the codec is one of ``COPIED``; otherwise it is encoded again, as AAC.

    Raises:
      OSError: it cannot be written.
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
        # Lazily, so that no more than one packet of each waits.
        for packet in heapq.merge(*packets, key=lambda packet: packet.dts * packet.time_base):
            if packet.stream is stream:
                packet.duration = round(1 / film.rate / film.tick)  # matters for the last one
            container.mux(packet)


def _encoded(stream: Any, shown: Iterable[Moment], film: Film) -> Iterator[Any]:
    """Packets of a stream of pictures."""
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
    """Packets of the sound of ``source``, for a new stream of ``container``."""
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
    """Count the times of a packet or frame from ``origin``, in seconds."""
    ticks = round(origin / timed.time_base)
    for name in ("pts", "dts"):
        if (value := getattr(timed, name)) is not None:
            setattr(timed, name, value - ticks)


def _origin(container: Any) -> Fraction:
    """When the first of pictures and sound starts, in the container's seconds."""
    streams = [container.streams.video[0], container.streams.best("audio")]
    return min(Fraction((s.start_time or 0) * s.time_base) for s in streams if s is not None)


def _open(path: Path) -> Any:
    """A container with pictures, to be closed.

    Raises:
      UnusableFile: it is none.
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
