"""Tests whether each condition can be controlled alone, by requesting it from 0 to 1."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from ganimation_jax.evaluation.judges import Judge
from ganimation_jax.evaluation.means import (
    by_unit,
    defined_mean,
    error,
    over_faces,
)
from ganimation_jax.evaluation.readings import Progress
from ganimation_jax.evaluation.results import Response
from ganimation_jax.evaluation.scores import HIGHER, LOWER, ONE, Score, Scores
from ganimation_jax.features.batches import in_batches
from ganimation_jax.types import Edit

LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)


class Readings(NamedTuple):
    """One judge's readings of the edits."""

    judge: str
    quality: Mapping[str, str]
    levels: np.ndarray  # l, requested intensities
    intensity: np.ndarray  # f n l: reading of unit n in face f at level l; NaN if unread


def read_levels(
    image: np.ndarray,
    aus: np.ndarray,
    edit: Callable[[jax.Array, jax.Array, jax.Array], Edit],
    judges: Sequence[Judge],
    levels: Sequence[float] = LEVELS,
    batch_size: int = 32,
) -> list[Readings]:
    """Request each condition alone at every level; the others keep the face's own intensity.

    Every edit is made once and read by all judges. Memory holds the edits of one condition and
    level at a time. The number of edits is faces x conditions x levels: 32 faces with 17 units
    make 2,720.

    Args:
      image: ``f h w 3`` in [-1, 1].
      aus: ``f n``, the faces' own action units.
      edit: compiled function of image, want, have that returns an Edit.
      judges: judges with n columns each.
      levels: at least two intensities in [0, 1].
      batch_size: the most edits in a batch; only one shape is compiled.

    Raises:
      ValueError: there are no faces, or fewer than two levels.
    """
    if len(set(levels)) < 2 or not len(image):
        raise ValueError(f"{len(image)} faces and levels {tuple(levels)}: need one and two")
    shape = (*aus.shape, len(levels))
    intensity = [np.full(shape, np.nan) for _ in judges]
    size = min(batch_size, len(image))  # no padding of a few faces
    progress = Progress("edits of one condition each", int(np.prod(shape)))
    for unit in range(aus.shape[1]):
        for place, level in enumerate(levels):
            target = aus.copy()
            target[:, unit] = level
            edited = in_batches(
                lambda x, want, have: edit(x, want, have).image, image, target, aus, size=size
            )
            for judge, table in zip(judges, intensity, strict=True):
                table[:, unit, place] = judge.read(edited)[:, unit]
            progress.add(len(image))
    return [
        Readings(judge.name, judge.quality, np.array(levels), table)
        for judge, table in zip(judges, intensity, strict=True)
    ]


def response(readings: Readings) -> Response:
    """Compute response curves: mean reading per level, with its standard error over faces."""
    _, units, levels = readings.intensity.shape
    figures = over_faces(readings.intensity.reshape(-1, units * levels))
    errors = [error(figures.influence[:, [i]]) for i in range(units * levels)]
    return Response(
        judge=readings.judge,
        levels=readings.levels,
        measured=figures.value.reshape(units, levels),
        error=np.reshape(errors, (units, levels)),
        quality=dict(readings.quality),
    )


def scores(readings: Readings, units: Sequence[str]) -> Scores:
    """Score ``controllability_<judge>``: the slope of read against requested intensity.

    The slope is fitted by least squares in each face, then averaged: 1 is perfect control, 0 is
    none. A judge that reads too low or too high even in real faces scales the slope, so compare
    runs with the same judge.

    Yields:
      ``unread``, the share of edits in which the judge found no face; ``slope``, see
      ``means.by_unit``; and ``rises``, the share of faces in which the slope is above 0. A face
      counts for the units that were read at two or more levels.
    """
    group = f"controllability_{readings.judge}"
    served = np.isfinite(readings.intensity).any(axis=(0, 2))
    lost = ~np.isfinite(readings.intensity[:, served])
    yield Score(group, "unread", float(lost.mean()) if lost.size else 1.0, better=LOWER)
    slope = _slopes(readings)
    yield from by_unit(group, "slope", units, over_faces(slope), readings.quality, ONE)
    rises = np.where(np.isfinite(slope), slope > 0, np.nan)
    yield from by_unit(group, "rises", units, over_faces(rises), readings.quality, HIGHER)


def _slopes(readings: Readings) -> np.ndarray:
    """The slope in each face of each unit, ``f n``; NaN where it was not read."""
    measured = np.moveaxis(readings.intensity, -1, 0)  # l f n
    asked = np.broadcast_to(readings.levels[:, None, None], measured.shape)
    asked = np.where(np.isfinite(measured), asked, np.nan)
    asked = asked - defined_mean(asked)
    spread = defined_mean(asked * asked)
    return np.divide(
        defined_mean(asked * measured), spread, out=np.full(spread.shape, np.nan), where=spread > 0
    )
