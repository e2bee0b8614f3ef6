"""How well conditions are read, and how well edits follow the request.

The model's own reader is a judge that the edits may have been trained to please: use it to see
whether training works, and the judges in ``judges`` to compare methods.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float

from ganimation_jax.evaluation.means import Figures, by_unit, defined_mean, over_faces
from ganimation_jax.evaluation.scores import HIGHER, LOWER, Score, Scores


def agreement(
    group: str,
    units: Sequence[str],
    read: np.ndarray,
    wanted: np.ndarray,
    quality: Mapping[str, str] | None = None,
) -> Scores:
    """Mean absolute error, Pearson correlation and ICC(3,1), for each unit and on average.

    Args:
      group: of the scores.
      units: names of the n columns.
      read, wanted: ``b n``, in [0, 1]. A row of NaN is a face that was not read, a column a
        unit that is not served; neither enters any figure.
      quality: of the judge in each unit, see ``means.by_unit``; by default all good.

    Yields:
      ``unread``, the share of faces not read. Then ``mae``, ``r`` and ``icc``, as ``by_unit``. A
      unit that does not vary in ``read`` or ``wanted`` has no correlation: it is NaN, and the
      average is over the others.

    Raises:
      ValueError: ``read`` and ``wanted`` differ in shape.

    >>> wanted = np.array([[0.0], [0.5], [1.0]])
    >>> scores = {score.key: score.value for score in agreement("x", ["AU12"], wanted / 2, wanted)}
    >>> scores["x/unread"], scores["x/mae"], round(scores["x/r"], 6)
    (0.0, 0.25, 1.0)
    """
    if read.shape != wanted.shape:
        raise ValueError(f"read {read.shape} and wanted {wanted.shape} differ in shape")
    pairs = np.stack([read, wanted]).astype(np.float64)
    pairs[:, ~np.isfinite(pairs).all(axis=0)] = np.nan
    yield Score(group, "unread", float((~np.isfinite(read)).all(axis=1).mean()), better=LOWER)
    grades = quality or {}
    absolute = over_faces(np.abs(pairs[0] - pairs[1]))
    yield from by_unit(group, "mae", units, absolute, grades, LOWER)
    yield from by_unit(group, "r", units, _pearson(pairs), grades, HIGHER)
    yield from by_unit(group, "icc", units, consistency(pairs), grades, HIGHER)


def change_correlation(
    read_change: Float[np.ndarray, "b n"], wanted_change: Float[np.ndarray, "b n"]
) -> Scores:
    """``edit_response/r``: requested against read change, all units together."""
    pooled = correlation(read_change.reshape(-1, 1), wanted_change.reshape(-1, 1))
    yield Score("edit_response", "r", float(pooled[0]), better=HIGHER)


def correlation(
    a: Float[np.ndarray, "b n"], b: Float[np.ndarray, "b n"]
) -> Float[np.ndarray, " n"]:
    """Pearson correlation of columns; NaN where a column is constant."""
    pairs = np.stack([a, b]).astype(np.float64)
    pairs[:, ~np.isfinite(pairs).all(axis=0)] = np.nan
    return _pearson(pairs).value


def consistency(ratings: Float[np.ndarray, "k b n"]) -> Figures:
    """ICC(3,1) of Shrout and Fleiss (1979): how far judges agree up to a constant each.

    ``(BMS - EMS) / (BMS + (k - 1) EMS)`` of the two-way analysis of variance, which is the
    mean covariance of two judges over the mean variance of one.

    Args:
      ratings: of k judges; NaN in all of them or in none.

    Returns:
      n values in [-1 / (k - 1), 1]; NaN where no judge's ratings vary.
    """
    count = len(ratings)
    centred = ratings - np.stack([defined_mean(judge) for judge in ratings])[:, None]
    squares = np.square(centred).sum(axis=0)
    variance = squares / count  # b n: of each face
    covariance = (np.square(centred.sum(axis=0)) - squares) / (count * (count - 1))
    value = _ratio(
        defined_mean(covariance), defined_mean(variance), np.any(_varies(ratings), axis=0)
    )
    return Figures(value, (covariance - value * variance) / _positive(defined_mean(variance)))


def _pearson(pairs: Float[np.ndarray, "2 b n"]) -> Figures:
    """Of n units; NaN in both or in neither."""
    a, b = pairs - np.stack([defined_mean(judge) for judge in pairs])[:, None]
    scale = np.sqrt(defined_mean(a * a) * defined_mean(b * b))
    value = _ratio(defined_mean(a * b), scale, np.all(_varies(pairs), axis=0))
    z_a, z_b = (x / _positive(np.sqrt(defined_mean(x * x))) for x in (a, b))
    return Figures(value, z_a * z_b - value / 2 * (z_a**2 + z_b**2))


def _varies(ratings: Float[np.ndarray, "k b n"]) -> Bool[np.ndarray, "k n"]:
    """Whether values differ; the variance of equal ones is only nearly 0."""
    present = np.isfinite(ratings)
    highest = np.where(present, ratings, -np.inf).max(axis=1)
    return highest > np.where(present, ratings, np.inf).min(axis=1)


def _ratio(numerator: np.ndarray, denominator: np.ndarray, where: np.ndarray) -> np.ndarray:
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=where)


def _positive(x: np.ndarray) -> np.ndarray:
    """Divisors; where one is 0 or NaN the value is NaN anyway."""
    return np.where(x > 0, x, np.nan)
