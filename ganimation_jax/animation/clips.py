"""Videos: edit the faces in one frame by frame, or let a face in one drive a photo.

Frames are read, edited and written one at a time: a longer video takes longer, not more
memory. Of a driver its action units are kept, some numbers a frame.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
from PIL import Image

from ganimation_jax.animation.animator import Animator
from ganimation_jax.animation.drivers import read_driver
from ganimation_jax.animation.finding import NoFaceError
from ganimation_jax.animation.tracking import smooth_both_ways
from ganimation_jax.animation.watching import steady, watch
from ganimation_jax.media.frames import film, sound_of
from ganimation_jax.media.moving import check_suffix, write_moments
from ganimation_jax.media.video import Moment

Progress = Callable[[int, int | None], None]  # frames done; of how many, None if not known
NO_TAGS: Mapping[str, str] = MappingProxyType({})
NEUTRAL = 10  # percentile of a driver's readings at which an action unit is held to be at rest


def edit_video(
    animator: Animator,
    source: Path,
    out: Path,
    target: Callable[[np.ndarray], np.ndarray],
    *,
    faces: str | int = "largest",
    side: int | None = None,
    tags: Mapping[str, str] = NO_TAGS,
    progress: Progress | None = None,
) -> int:
    """Edit the faces in a video; frames without a face pass unedited.

    A face is followed until it is gone: ``largest`` is the one that was largest when it
    came. Places and action units are smoothed over time. Where it is not found, but looks
    the same, it is edited where it was, for up to ``tracking.HELD`` frames.

    Args:
      source: any video that FFmpeg reads.
      out: ``.mp4``, with the sound of the source; ``.gif`` or ``.webp``, mute. Frames keep
        their times.
      target: from the action units that a face shows to those that it is to show: float32
        ``n`` in [0, 1], in the animator's order.
      faces: which, as for ``Animator.find``.
      side: larger frames are reduced to so many pixels along the longer side.
      tags: what the file says of itself.
      progress: called after each frame.

    Returns:
      How many frames were written.

    Raises:
      NoFaceError: there is no face in any frame; nothing is written.
      UnusableFile: the source is no video, or damaged.
      ValueError: ``out`` has another ending, or is the source; or targets out of range.
      OSError: it cannot be written.
      ImportError: PyAV or MediaPipe is not installed.
    """
    _check_names(source, out)

    def edited() -> Iterator[Moment]:
        empty = True
        for (image, time), followed in watch(animator, source, faces):
            if followed:
                empty = False
                found = [steady(image, watched, animator.image_size) for watched in followed]
                targets = np.stack([target(face.aus) for face in found])
                image = animator.with_faces(image, found, targets)
            yield Moment(image if side is None else within(image, side), time)
        if empty:
            raise NoFaceError(f"{source}: there is no face in any frame")

    kind = film(source)
    shown = _told(edited(), kind.total, progress)
    return write_moments(out, shown, kind, tags, sound=sound_of(source))


def drive(
    animator: Animator,
    photo: np.ndarray,
    driver: Path,
    out: Path,
    *,
    by: str = "critic",
    relative: bool = True,
    faces: str | int = "largest",
    fps: float = 25.0,
    tags: Mapping[str, str] = NO_TAGS,
    progress: Progress | None = None,
) -> int:
    """Give a photo the expressions of the largest face in a video, frame by frame.

    The driver is read once for its action units, which are smoothed over time. While it
    has no face the last expression stays; before the first it is the photo's own.

    Relative, a face of the photo shows its own action units, changed by how the driver's
    differ from neutral. That is the 10th percentile of each over the whole video: an action
    unit is at rest in most frames and never below, while a driver need not be neutral as a
    whole in any frame, least of all in the first.

    Args:
      photo: uint8 ``h w 3``.
      driver: any video that FFmpeg reads.
      out: ``.mp4``, with the sound of the driver; ``.gif`` or ``.webp``, mute. Frames are
        shown when the driver's are.
      by: what reads the driver: the model's ``critic``, or the ``annotator``, MediaPipe,
        which leaves the units that it does not serve to the photo.
      relative: otherwise all faces show the driver's action units as they are.
      faces: of the photo, as for ``Animator.find``.
      tags: what the file says of itself.
      progress: called after each frame, once the driver has been read.

    Returns:
      How many frames were written.

    Raises:
      NoFaceError: there is no face in the photo, or none in the driver; nothing is written.
      UnusableFile: the driver is no video, or damaged.
      ValueError: ``out`` has another ending, or is the driver; ``by`` is neither, or the model
        has no critic.
      OSError: it cannot be written.
      ImportError: PyAV or MediaPipe is not installed.
    """
    _check_names(driver, out)
    found = animator.find(photo, faces)
    times, readings, kind, sound, noisy = read_driver(animator, driver, by, fps)
    shows = expressions(readings, [float(time) for time in times], relative, noisy)
    targets = np.stack([[_given(face.aus, x, relative) for face in found] for x in shows])
    frames = animator.run(photo, found, targets)
    shown = (Moment(image, time) for image, time in zip(frames, times, strict=True))
    told = _told(shown, len(times), progress)
    return write_moments(out, told, kind, tags, sound=sound)


def within(image: np.ndarray, side: int) -> np.ndarray:
    """A picture, uint8 ``h w 3``, reduced to so many pixels along its longer side if larger."""
    height, width = image.shape[:2]
    share = side / max(height, width)
    if share >= 1:
        return image
    size = max(1, round(width * share)), max(1, round(height * share))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def expressions(
    readings: Sequence[np.ndarray | None],
    times: Sequence[float],
    relative: bool,
    noisy: bool = True,
) -> list[np.ndarray | None]:
    """What a driver shows in each frame, smoothed over time.

    Args:
      readings: action units ``n`` of each frame, [0, 1], NaN where not served; None where no
        face was found. One at least is not None.
      times: seconds, increasing.
      relative: what differs from neutral, in [-1, 1].

    Returns:
      For each frame ``n``; the last one where no face was found, None before the first.
    """
    seen = [place for place, reading in enumerate(readings) if reading is not None]
    smooth = np.stack([reading for reading in readings if reading is not None])
    if noisy:
        smooth = smooth_both_ways(smooth, [times[place] for place in seen])
    if relative:
        # Of the smooth ones: the 10th percentile of noise is below what is at rest.
        smooth = smooth - np.percentile(smooth, NEUTRAL, axis=0)
    last = np.searchsorted(seen, range(len(readings)), side="right") - 1
    return [smooth[place] if place >= 0 else None for place in last]


def _given(own: np.ndarray, shown: np.ndarray | None, relative: bool) -> np.ndarray:
    """What a face of the photo is to show: float32 ``n``, [0, 1]."""
    if shown is None:
        return own
    wanted = own + shown if relative else shown
    return np.where(np.isnan(wanted), own, wanted).clip(0, 1).astype(np.float32)


def _told(
    shown: Iterator[Moment], total: int | None, progress: Progress | None
) -> Iterator[Moment]:
    """The same, with each told."""
    for done, moment in enumerate(shown, 1):
        yield moment
        if progress is not None:
            progress(done, total)


def _check_names(source: Path, out: Path) -> None:
    check_suffix(out)
    if out.exists() and source.exists() and out.samefile(source):
        raise ValueError(f"{out} is what is read: write to another file")
