"""Detect, track and smooth the faces of a video, frame by frame."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ganimation_jax.animation.animator import Animator
from ganimation_jax.animation.finding import Face, NoFaceError, how_many
from ganimation_jax.animation.tracking import (
    GLANCE,
    Sighting,
    Track,
    Tracks,
    distance,
    follow,
    glance,
    is_cut,
    place_of,
)
from ganimation_jax.faces.alignment import apply, crop, invert
from ganimation_jax.media.frames import moments
from ganimation_jax.media.video import Moment

AROUND = 25  # frames between two searches for small faces; each takes a second
WINDOW = 2.0  # sides of a face, the window around its last position that is searched
ONE = 0.25  # sides, the distance below which two detections are one face
# Of full scale. If a face is not found and its region changed by more than this on average since
# it was last found, then the face is hidden or has left.
GONE = 0.08


class Watched(NamedTuple):
    """A face in one frame."""

    track: Track  # smoothed position and action units
    found: Face | None  # the detection; None if the face was not found in this frame
    view: np.ndarray  # uint8 h w 3, the part of the frame around the face


def watch(
    animator: Animator, source: Path, faces: str | int
) -> Iterator[tuple[Moment, list[Watched]]]:
    """Yield the frames of a video, each with the faces that are tracked in it.

    A face is tracked until it is gone, and only then replaced by another. ``largest`` is
    therefore the face that was largest when tracking started. A face that is not found keeps
    its last position while the picture there stays the same.

    Args:
      faces: which faces to track, as for ``Animator.find``.

    Raises:
      UnusableFile: the file is not a video, or is damaged.
      ValueError: ``faces`` is not one of the values of ``Animator.find``.
      ImportError: PyAV or MediaPipe is not installed.
    """
    wanted, size = how_many(faces), animator.image_size
    tracks, last = Tracks(), None
    looks: dict[int, np.ndarray] = {}  # thumbnails of the tracked faces, by number
    for number, moment in enumerate(moments(source)):
        now = glance(moment.image)
        cut = last is not None and is_cut(last, now)
        last = now
        if cut:
            tracks = Tracks(born=tracks.born)
        found = _look(animator, moment.image, tracks, wanted, cut or number % AROUND == 0)
        sightings = [Sighting(face.transform, face.aus) for face in found]
        tracks = follow(tracks, sightings, float(moment.time), size)
        shown, before, looks = [], looks, {}
        for track in _chosen(tracks.faces, before, wanted):
            look = glance(crop(moment.image, track.transform(GLANCE), GLANCE))
            face = None if track.seen is None else found[track.seen]
            looks[track.number] = before.get(track.number, look) if face is None else look
            if np.abs(look - looks[track.number]).mean() < GONE:
                view = moment.image[_window(track, moment.image.shape)]
                shown.append(Watched(track, face, view))
        yield moment, shown


def steady(image: np.ndarray, watched: Watched, size: int) -> Face:
    """The face at its smoothed position, cropped from its frame, uint8 ``h w 3``, to ``size``."""
    transform = watched.track.transform(size)
    corners = apply(invert(transform), np.array([(0, 0), (size, 0), (0, size), (size, size)]))
    (left, top), (right, bottom) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    box = (left, top, right, bottom) if watched.found is None else watched.found.box
    aus = watched.track.aus.value.astype(np.float32)
    reach = None if watched.found is None else watched.found.reach
    return Face(crop(image, transform, size), transform, box, aus, reach)


def _look(
    animator: Animator, image: np.ndarray, tracks: Tracks, wanted: int | None, around: bool
) -> list[Face]:
    """Detect faces: first near the tracked positions, then in the whole frame if necessary.

    Searching near a tracked position is fast and also finds small faces. The whole frame is
    searched if a tracked face was not found, and with ``around`` also for new faces, unless
    only one face is wanted. The search for small faces runs only with ``around``, because it
    takes a second.
    """
    found = []
    for track in tracks.faces:
        rows, columns = _window(track, image.shape)
        near = _found(animator, image[rows, columns], "largest", (1,))
        found += [_shifted(face, columns.start, rows.start) for face in near]
    others = around and wanted != 1
    if others or len(found) < max(1, len(tracks.faces)):
        which = "largest" if wanted == 1 else "all"
        found += _found(animator, image, which, None if around else (1,))
    places = [place_of(face.transform, animator.image_size) for face in found]
    return [
        face
        for index, face in enumerate(found)
        if all(distance(places[index], place) > ONE for place in places[:index])
    ]


def _found(
    animator: Animator, image: np.ndarray, faces: str, tiles: tuple[int, ...] | None
) -> list[Face]:
    """``animator.find``, with an empty list where no face is found."""
    try:
        return animator.find(image, faces, tiles=tiles) if image.size else []
    except NoFaceError:
        return []


def _window(track: Track, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """The part of a frame, of ``shape``, in which to search; empty if the face left the frame."""
    x, y, side, _ = track.place.value
    half = WINDOW / 2 * np.exp(side)
    top, bottom = np.clip((y - half, y + half), 0, shape[0]).astype(int)
    left, right = np.clip((x - half, x + half), 0, shape[1]).astype(int)
    return slice(top, bottom), slice(left, right)


def _shifted(face: Face, x: int, y: int) -> Face:
    """A face found in a window that starts at ``x``, ``y``, in coordinates of the frame."""
    transform = face.transform.copy()
    transform[:, 2] -= transform[:, :2] @ (x, y)
    left, top, right, bottom = face.box
    return face._replace(transform=transform, box=(left + x, top + y, right + x, bottom + y))


def _chosen(faces: Sequence[Track], before: Collection[int], wanted: int | None) -> list[Track]:
    """The ``wanted`` faces: those tracked before come first, then the largest of the others."""
    ranked = sorted(faces, key=lambda track: (track.number not in before, -track.place.value[2]))
    return ranked[:wanted]
