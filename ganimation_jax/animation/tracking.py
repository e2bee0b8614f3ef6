"""Faces followed from frame to frame, and what is measured of them made steady.

A detector looks at each frame anew: what it finds trembles, by thousandths of a face,
and an edit pasted there trembles with it. The one-euro filter (Casiez, Roussel & Vogel,
CHI 2012) smooths what rests and lets through what moves.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

SPEED_CUTOFF = 1.0  # Hz, for the filter's own idea of the speed: the paper's
# At rest a fifth of the variance of noise is left (of 1% of the side, at 25 frames a second).
# However fast a face moves, its place lags by less than 1 / (2 pi 5) of its side: 3%.
PLACE_CUTOFF, PLACE_BETA = 1.0, 5.0  # Hz; Hz by sides a second
# Of a sudden change of expression two thirds show in its first frame.
AUS_CUTOFF, AUS_BETA = 1.5, 1.5  # Hz; Hz by units a second
NEAR = 0.5  # sides between two places of one face in successive frames
FAR = 2.0  # sides by which it can have jumped, and starts anew there
HELD = 5  # frames for which a face that is not found is believed to be where it was
CUT = 0.15  # of full scale: what two frames differ by on average if they are of two scenes
GLANCE = 16  # pixels along a side of what is compared of them


class Filtered(NamedTuple):
    """What a one-euro filter knows after a measurement."""

    value: np.ndarray  # n: smoothed
    speed: np.ndarray  # n: of it, a second
    time: float  # seconds


class Sighting(NamedTuple):
    """A face as it was found in one frame."""

    transform: np.ndarray  # 2 3: pixels of the frame to those of the crop, a similarity
    aus: np.ndarray  # n, [0, 1]


class Track(NamedTuple):
    """One face over time."""

    number: int  # stays the same
    place: Filtered  # 4, of the crop in the frame: its centre's x and y, log of its side, angle
    aus: Filtered  # n
    seen: int | None  # place among the frame's sightings; None if it was not found
    missed: int = 0  # frames in which it has not been found, up to now

    def transform(self, size: int) -> np.ndarray:
        """Pixels of the frame to those of the crop, of ``size`` pixels; float64 ``2 3``."""
        return _transform(self.place.value, size)


class Tracks(NamedTuple):
    """All faces that are followed, and how many there have ever been."""

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
    """One step of the one-euro filter (algorithm 1 of the paper), for each number alone.

    Args:
      before: None for the first measurement, which passes unchanged.
      value: ``n``.
      time: seconds, later than ``before``.
      cutoff: Hz, at rest: lower is steadier.
      beta: by how much the cutoff rises with speed: higher lags less.
      unit: in which speeds are counted, ``n`` or one for all.
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
    """What a new measurement counts, after ``step`` seconds (equation 5 of the paper)."""
    return 1 / (1 + 1 / (2 * np.pi * cutoff * step))


def smooth_both_ways(values: np.ndarray, times: Sequence[float]) -> np.ndarray:
    """Action units over time, smoothed from both ends and averaged: they lag nowhere.

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
    """The faces after one more frame.

    The nearest sighting continues a face. One that is further off, yet could be it after a
    jump, takes its number and starts anew. Faces not found are held where they were, for
    ``HELD`` frames; sightings that are left over are new faces. After a cut
    (``is_cut``), give ``Tracks(born=tracks.born)``.

    Args:
      tracks: the faces before; ``Tracks()`` for the first frame.
      sightings: of this frame.
      time: seconds, later than before.
      size: pixels of the crops' sides.
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


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Between two places, in sides; a face of twice the size is as far off as .7 of a side."""
    side = np.exp((one[2] + other[2]) / 2)
    return float(np.hypot(*(one[:2] - other[:2])) / side + abs(one[2] - other[2]))


def place_of(transform: np.ndarray, size: int) -> np.ndarray:
    """Centre, log of the side and angle of a crop in the frame, ``4``."""
    matrix = transform[:, :2]
    centre = np.linalg.solve(matrix, np.full(2, size / 2) - transform[:, 2])
    scale = np.hypot(matrix[0, 0], matrix[1, 0])
    angle = np.arctan2(-matrix[1, 0], matrix[0, 0])
    return np.array([*centre, np.log(size / scale), angle])


def glance(image: np.ndarray) -> np.ndarray:
    """A picture, uint8 ``h w 3``, as far as a cut is to be known by it: float ``16 16``, [0, 1]."""
    grey = Image.fromarray(image).convert("L")
    return np.asarray(grey.resize((GLANCE, GLANCE), Image.Resampling.BOX)) / 255


def is_cut(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether the glances at two successive frames show two scenes."""
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
    """Which sighting is which face: those nearby, and those that jumped; the closest first."""
    candidates = sorted(
        (distance(track.place.value, place), index, seen)
        for index, track in enumerate(faces)
        for seen, place in enumerate(places)
    )
    near: dict[int, int] = {}
    far: dict[int, int] = {}
    # All that are near before any that is far: a neighbour is no jump.
    for apart, index, seen in candidates:
        taken = {*near.values(), *far.values()}
        if apart <= FAR and index not in near | far and seen not in taken:
            (near if apart <= NEAR else far)[index] = seen
    return near, far


def _transform(place: np.ndarray, size: int) -> np.ndarray:
    """The way back from ``place_of``: ``2 3``."""
    x, y, side, angle = place
    scale, cosine, sine = size / np.exp(side), np.cos(angle), np.sin(angle)
    matrix = scale * np.array([[cosine, sine], [-sine, cosine]])
    return np.column_stack([matrix, size / 2 - matrix @ (x, y)])
