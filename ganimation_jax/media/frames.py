"""Read frames of videos (PyAV) and of animated GIF, WebP, PNG and AVIF (Pillow)."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence

from ganimation_jax.files.unusable import UnusableFile
from ganimation_jax.media import colours, video
from ganimation_jax.media.pictures import is_animation, opened, over_white, split
from ganimation_jax.media.video import Film, Moment

THOUSANDTH = Fraction(1, 1000)  # seconds, the unit of durations in animated pictures
# Milliseconds. Browsers show a frame with a duration below 20 ms for 100 ms.
SHORTEST, USUAL = 20, 100


def film(path: Path) -> Film:
    """Timing and colour properties of a video or an animated picture.

    Raises:
      UnusableFile: the file is not a video or an animated picture, or is damaged.
      ImportError: the file is a video and PyAV is not installed.
    """
    if not _is_picture(path):
        return video.film(path)
    durations = [duration for _, duration in _frames(path)]
    rate = Fraction(1000 * len(durations), sum(durations))
    return Film(rate, THOUSANDTH, len(durations))


def moments(path: Path) -> Iterator[Moment]:
    """Yield all frames in presentation order, upright, in sRGB, transparency on white.

    Raises:
      UnusableFile: the file is not a video or an animated picture, or is damaged; frames
        before the damage have been yielded.
      ImportError: the file is a video and PyAV is not installed.
    """
    if not _is_picture(path):
        yield from video.moments(path)
        return
    time = 0
    for image, duration in _frames(path):
        yield Moment(np.asarray(image), time * THOUSANDTH)
        time += duration


def sound_of(path: Path) -> Path | None:
    """The file to take the sound from; None for animated pictures, which have no sound."""
    return None if _is_picture(path) else path


def _is_picture(path: Path) -> bool:
    try:
        return is_animation(path)
    except UnusableFile:
        return False


def _frames(path: Path) -> Iterator[tuple[Image.Image, int]]:
    """Yield frames and their durations in milliseconds."""
    with opened(path) as (file, _):
        profile = file.info.get("icc_profile")
        for frame in ImageSequence.Iterator(file):
            frame.load()
            color, alpha = split(frame)
            image = over_white(colours.to_srgb(color, profile), alpha)
            duration = round(frame.info.get("duration") or 0)
            yield image, duration if duration >= SHORTEST else USUAL
