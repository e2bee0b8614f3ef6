"""Track faces across frames and smooth their positions and action units.

A detector works on each frame independently, so its positions jitter by thousandths of a
face, and a pasted edit would jitter too. The one-euro filter (Casiez, Roussel & Vogel,
CHI 2012) smooths slow signals strongly and fast ones little.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from PIL import Image

from ganimation_jax.animation.photo_like import Pixels

SPEED_CUTOFF = 1.0  # Hz, cutoff of the speed estimate, as in the paper
# At rest, a fifth of the noise variance remains (noise of 1% of the side, 25 frames a second).
# At any speed, the position lags by less than 1 / (2 pi 5) of the face's side: 3%.
PLACE_CUTOFF, PLACE_BETA = 1.0, 5.0  # Hz; Hz per (sides per second)
# The first frame shows two thirds of a sudden change of expression.
AUS_CUTOFF, AUS_BETA = 1.5, 1.5  # Hz; Hz per (intensity per second)
NEAR = 0.5  # sides, the largest move between successive frames that is smoothed
FAR = 2.0  # sides, the largest jump that keeps the face's number; smoothing restarts
HELD = 5  # frames for which a face that is not found keeps its last position
CUT = 0.15  # of full scale, the mean difference of two frames above which there is a cut
GLANCE = 16  # pixels, the side of the thumbnails that are compared


class Filtered(NamedTuple):
    """State of a one-euro filter after a measurement."""

    value: Float[np.ndarray, " n"]  # smoothed
    speed: Float[np.ndarray, " n"]  # smoothed change per second
    time: float  # seconds


class Sighting(NamedTuple):
    """A face detected in one frame."""

    transform: Float[np.ndarray, "2 3"]  # similarity from frame pixels to crop pixels
    aus: Float[np.ndarray, " n"]  # [0, 1]


class Track(NamedTuple):
    """One face over time."""

    number: int  # constant over the whole track
    place: Filtered  # 4, the crop in the frame: x and y of its centre, log of its side, angle
    aus: Filtered  # n
    seen: int | None  # index among the frame's sightings; None if the face was not found
    missed: int = 0  # consecutive frames in which the face was not found, including this one

    def transform(self, size: int) -> Float[np.ndarray, "2 3"]:
        """Transform from frame pixels to pixels of a crop with side ``size``, float64 ``2 3``."""
        return _transform(self.place.value, size)


class Tracks(NamedTuple):
    """All faces that are tracked, and the number of tracks started so far."""

    faces: tuple[Track, ...] = ()
    born: int = 0


def one_euro(
    before: Filtered | None,
    value: np.ndarray,
    time: float,
    cutoff: float,
    beta: float,
    unit: np.ndarray | float = 1.0,
) -> Filtered:
    """One step of the one-euro filter (algorithm 1 of the paper), elementwise.

    Args:
      before: previous state; None for the first measurement, which is returned unchanged.
      value: measurement, ``n``.
      time: seconds, later than ``before``.
      cutoff: cutoff frequency at rest, Hz; a lower one smooths more.
      beta: how much the cutoff rises with speed; a higher one lags less.
      unit: unit in which speeds are measured, ``n`` or one for all values.
    """
    value = np.asarray(value, np.float64)
    if before is None:
        return Filtered(value, np.zeros_like(value), time)
    step = time - before.time
    speed = before.speed + _share(SPEED_CUTOFF, step) * (
        (value - before.value) / step - before.speed
    )
    share = _share(cutoff + beta * np.abs(speed) / unit, step)
    return Filtered(before.value + share * (value - before.value), speed, time)


def _share(cutoff: np.ndarray | float, step: float) -> np.ndarray | float:
    """Weight of a new measurement after ``step`` seconds (equation 5 of the paper)."""
    return 1 / (1 + 1 / (2 * np.pi * cutoff * step))


def smooth_both_ways(
    values: Float[np.ndarray, "frames n"], times: Sequence[float]
) -> Float[np.ndarray, "frames n"]:
    """Smooth action units forwards and backwards in time and average the two, to avoid lag.

    Args:
      values: ``frames n``, [0, 1].
      times: seconds, increasing.

    Returns:
      float64 ``frames n``, [0, 1].
    """
    passes = []
    for sign in (1, -1):
        state, smoothed = None, []
        for value, time in list(zip(values, times, strict=True))[::sign]:
            state = one_euro(state, value, sign * time, AUS_CUTOFF, AUS_BETA)
            smoothed.append(state.value)
        passes.append(np.stack(smoothed)[::sign])
    return (passes[0] + passes[1]) / 2


def follow(tracks: Tracks, sightings: Sequence[Sighting], time: float, size: int) -> Tracks:
    """Update the tracks with the sightings of one more frame.

    Each track takes the nearest sighting. If that is further than ``NEAR`` but within
    ``FAR``, the track keeps its number and its smoothing restarts. A track without a sighting
    keeps its position for up to ``HELD`` frames. Each remaining sighting starts a new track.
    After a cut (``is_cut``), pass ``Tracks(born=tracks.born)``.

    Args:
      tracks: tracks of the previous frame; ``Tracks()`` for the first frame.
      sightings: faces detected in this frame.
      time: seconds, later than that of the previous frame.
      size: side of the crops in pixels.
    """
    places = [place_of(sighting.transform, size) for sighting in sightings]
    near, far = _pairs(tracks.faces, places)
    faces = []
    for index, track in enumerate(tracks.faces):
        if index in near:
            seen = near[index]
            faces.append(_moved(track, seen, places[seen], sightings[seen].aus, time))
        elif index in far:
            seen = far[index]
            faces.append(_begun(track.number, seen, places[seen], sightings[seen].aus, time))
        elif track.missed < HELD:
            faces.append(track._replace(seen=None, missed=track.missed + 1))
    left = sorted(set(range(len(places))) - {*near.values(), *far.values()})
    for number, seen in enumerate(left, tracks.born):
        faces.append(_begun(number, seen, places[seen], sightings[seen].aus, time))
    return Tracks(tuple(faces), tracks.born + len(left))


def distance(one: Float[np.ndarray, "4"], other: Float[np.ndarray, "4"]) -> float:
    """Distance between two places in sides; a factor of 2 in size counts as 0.7 of a side."""
    side = np.exp((one[2] + other[2]) / 2)
    return float(np.hypot(*(one[:2] - other[:2])) / side + abs(one[2] - other[2]))


def place_of(transform: Float[np.ndarray, "2 3"], size: int) -> Float[np.ndarray, "4"]:
    """Centre, log of the side and angle of a crop in the frame, ``4``; see ``Track.place``."""
    matrix = transform[:, :2]
    centre = np.linalg.solve(matrix, np.full(2, size / 2) - transform[:, 2])
    scale = np.hypot(matrix[0, 0], matrix[1, 0])
    angle = np.arctan2(-matrix[1, 0], matrix[0, 0])
    return np.array([*centre, np.log(size / scale), angle])


def glance(image: Pixels) -> Float[np.ndarray, "16 16"]:
    """Grey thumbnail of a picture, uint8 ``h w 3``, for ``is_cut``: float ``16 16``, [0, 1]."""
    grey = Image.fromarray(image).convert("L")
    return np.asarray(grey.resize((GLANCE, GLANCE), Image.Resampling.BOX)) / 255


def is_cut(before: Float[np.ndarray, "16 16"], after: Float[np.ndarray, "16 16"]) -> bool:
    """Whether there is a cut between two successive frames, given as thumbnails (``glance``)."""
    return bool(np.abs(after - before).mean() > CUT)


def _begun(number: int, seen: int, place: np.ndarray, aus: np.ndarray, time: float) -> Track:
    return Track(number, one_euro(None, place, time, 0, 0), one_euro(None, aus, time, 0, 0), seen)


def _moved(track: Track, seen: int, place: np.ndarray, aus: np.ndarray, time: float) -> Track:
    x, y, side, angle = place
    turn = angle - track.place.value[3]
    nearest = np.array([x, y, side, angle - 2 * np.pi * round(turn / (2 * np.pi))])
    unit = np.array([np.exp(side), np.exp(side), 1, 1])
    return Track(
        track.number,
        one_euro(track.place, nearest, time, PLACE_CUTOFF, PLACE_BETA, unit),
        one_euro(track.aus, aus, time, AUS_CUTOFF, AUS_BETA),
        seen,
    )


def _pairs(
    faces: Sequence[Track], places: Sequence[np.ndarray]
) -> tuple[dict[int, int], dict[int, int]]:
    """Match tracks to sightings, the closest first: near matches, and matches after a jump.

    Both are dicts from the index of a track to the index of its sighting.
    """
    candidates = sorted(
        (distance(track.place.value, place), index, seen)
        for index, track in enumerate(faces)
        for seen, place in enumerate(places)
    )
    near: dict[int, int] = {}
    far: dict[int, int] = {}
    # Sorted by distance: near matches come first, so that a neighbour is not taken for a jump.
    for apart, index, seen in candidates:
        taken = {*near.values(), *far.values()}
        if apart <= FAR and index not in near | far and seen not in taken:
            (near if apart <= NEAR else far)[index] = seen
    return near, far


def _transform(place: np.ndarray, size: int) -> np.ndarray:
    """Inverse of ``place_of``, ``2 3``."""
    x, y, side, angle = place
    scale, cosine, sine = size / np.exp(side), np.cos(angle), np.sin(angle)
    matrix = scale * np.array([[cosine, sine], [-sine, cosine]])
    return np.column_stack([matrix, size / 2 - matrix @ (x, y)])
