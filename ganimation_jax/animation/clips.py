"""Edit the faces in a video, or animate a photo with the expressions of a driving video.

Frames are read, edited and written one at a time, so memory does not grow with the length of
the video. Only the action units of a driving video are kept in memory.
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

Progress = Callable[[int, int | None], None]  # frames done; total, None if not known
NO_TAGS: Mapping[str, str] = MappingProxyType({})
NEUTRAL = 10  # percentile of a driver's readings that is taken as an action unit's level at rest


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
    """Edit the faces in a video; frames without a face are written unedited.

    A face is tracked until it is gone. ``largest`` is therefore the face that was largest when
    tracking started. Positions and action units are smoothed over time. If a face is not
    found but its region looks the same, it is edited at its last position, for up to
    ``tracking.HELD`` frames.

    Args:
      source: any video that FFmpeg reads.
      out: ``.mp4`` with the sound of the source, or ``.gif`` or ``.webp`` without sound.
        Frames keep their times.
      target: function from the action units of a face to the target, both float32 ``n`` in
        [0, 1], in the animator's order. The target may also be ``2 n``, for the left and the
        right half of the face.
      faces: which faces to edit, as for ``Animator.find``.
      side: larger frames are reduced to this many pixels along the longer side.
      tags: provenance to write into the file, names and values.
      progress: called after each frame.

    Returns:
      The number of frames written.

    Raises:
      NoFaceError: there is no face in any frame; nothing is written.
      UnusableFile: the source is not a video, or is damaged.
      ValueError: ``out`` has another suffix or is the source, or a target is out of range.
      OSError: ``out`` cannot be written.
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
    on_read: Progress | None = None,
) -> int:
    """Transfer the expressions of the largest face in a video to a photo, frame by frame.

    The driver's action units are read first and smoothed over time. In frames of the driver
    without a face the last expression stays; before the first face, the photo keeps its own.

    With ``relative``, each face of the photo gets its own action units plus the driver's
    difference from neutral. Neutral is the 10th percentile of each action unit over the
    whole video, because an action unit is at rest in most frames and never below. A single
    frame would not do, because the driver may not be fully neutral in any frame.

    Args:
      photo: uint8 ``h w 3``.
      driver: any video that FFmpeg reads.
      out: ``.mp4`` with the sound of the driver, or ``.gif`` or ``.webp`` without sound.
        Frames have the times of the driver's frames.
      by: how to read the driver: ``critic``, the model's critic, or ``annotator``, MediaPipe.
        Action units that MediaPipe does not measure keep the photo's own intensity.
      relative: if False, all faces get the driver's action units unchanged.
      faces: which faces of the photo to edit, as for ``Animator.find``.
      tags: provenance to write into the file, names and values.
      progress: called after each frame, once the driver has been read.
      on_read: called after each frame of the driver that has been read.

    Returns:
      The number of frames written.

    Raises:
      NoFaceError: there is no face in the photo or in the driver; nothing is written.
      UnusableFile: the driver is not a video, or is damaged.
      ValueError: ``out`` has another suffix or is the driver, ``by`` is unknown, or the model
        has no critic.
      OSError: ``out`` cannot be written.
      ImportError: PyAV or MediaPipe is not installed.
    """
    _check_names(driver, out)
    found = animator.find(photo, faces)
    times, readings, kind, sound, noisy = read_driver(animator, driver, by, fps, on_read)
    shows = expressions(readings, [float(time) for time in times], relative, noisy)
    targets = np.stack([[_given(face.aus, x, relative) for face in found] for x in shows])
    frames = animator.run(photo, found, targets)
    shown = (Moment(image, time) for image, time in zip(frames, times, strict=True))
    told = _told(shown, len(times), progress)
    return write_moments(out, told, kind, tags, sound=sound)


def within(image: np.ndarray, side: int) -> np.ndarray:
    """Reduce a picture, uint8 ``h w 3``, to at most ``side`` pixels along its longer side."""
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
    """The expression of a driver in each frame, smoothed over time.

    Args:
      readings: action units ``n`` of each frame, [0, 1], NaN where not measured; None for
        frames without a face. At least one is not None.
      times: seconds, increasing.
      relative: return differences from neutral, in [-1, 1].
      noisy: smooth the readings over time.

    Returns:
      Action units ``n`` for each frame. A frame without a face repeats the last expression;
      frames before the first face are None.
    """
    seen = [place for place, reading in enumerate(readings) if reading is not None]
    smooth = np.stack([reading for reading in readings if reading is not None])
    if noisy:
        smooth = smooth_both_ways(smooth, [times[place] for place in seen])
    if relative:
        # Computed after smoothing, because noise would put the percentile below the rest level.
        smooth = smooth - np.percentile(smooth, NEUTRAL, axis=0)
    last = np.searchsorted(seen, range(len(readings)), side="right") - 1
    return [smooth[place] if place >= 0 else None for place in last]


def _given(own: np.ndarray, shown: np.ndarray | None, relative: bool) -> np.ndarray:
    """Target of a face of the photo: float32 ``n``, [0, 1]."""
    if shown is None:
        return own
    wanted = own + shown if relative else shown
    return np.where(np.isnan(wanted), own, wanted).clip(0, 1).astype(np.float32)


def _told(
    shown: Iterator[Moment], total: int | None, progress: Progress | None
) -> Iterator[Moment]:
    """Yield the same moments and report each to ``progress``."""
    for done, moment in enumerate(shown, 1):
        yield moment
        if progress is not None:
            progress(done, total)


def _check_names(source: Path, out: Path) -> None:
    check_suffix(out)
    if out.exists() and source.exists() and out.samefile(source):
        raise ValueError(f"{out} is what is read: write to another file")
