"""Frames of a video, one after the other, by PyAV (the extra ``video``)."""

import math
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from PIL import Image

from ganimation_jax.prepare.problems import UnusableFile

VIDEO_SUFFIXES = {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv"}
SEGMENT = 60.0  # seconds of a video that one process takes at a time


class Probe(NamedTuple):
    """What a video says of itself."""

    seconds: float | None  # None where it does not say
    rate: float  # frames a second


def probe(path: Path) -> Probe:
    """Open a video and look.

    Raises:
      UnusableFile: it is no video.
      ImportError: PyAV is not installed.
    """
    av = _av()
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise UnusableFile("unreadable video", "it has no pictures", path)
            length = container.duration
            seconds = None if length is None else length / av.time_base
            return Probe(seconds, _rate(container.streams.video[0]))
    except (av.FFmpegError, OSError) as error:
        raise UnusableFile("unreadable video", str(error), path) from error


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
    av = _av()
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "SLICE"  # processes share the cores already
            rate = _rate(stream)
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
                yield number, frame.to_image().rotate(frame.rotation, expand=True)
    except (av.FFmpegError, OSError) as error:
        raise UnusableFile("unreadable video", str(error), path) from error


def _rate(stream: Any) -> float:
    return float(stream.average_rate or stream.guessed_rate or 25)


def _av() -> ModuleType:
    try:
        import av
    except ImportError as error:
        raise ImportError("videos need PyAV: pip install 'ganimation-jax[video]'") from error
    return av
