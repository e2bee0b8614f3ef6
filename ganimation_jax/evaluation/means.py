"""Means over faces with standard errors, overall and per condition.

A statistic over faces has a value and an ``influence``: the first-order effect of each face on
it (Hampel 1974). For a mean, the influence is the face's own value minus the mean; correlations
have their own formula. The standard error of a statistic, or of an average of several statistics
over the same faces, is the standard deviation of the summed influences divided by the square
root of their number (the infinitesimal jackknife). It assumes no normal distribution, but is too
small below about 20 faces. Faces of one person are not independent, so with ``persons`` their
influences are summed first.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from ganimation_jax.evaluation.scores import Better, Score


class Figures(NamedTuple):
    """One statistic per action unit, measured over the same b faces."""

    value: np.ndarray  # n; NaN where undefined
    influence: np.ndarray  # b n; NaN for faces without a reading


def defined_mean(x: Float[np.ndarray, "b ..."]) -> Float[np.ndarray, "..."]:
    """Mean over the first axis, ignoring NaN; NaN where all values are NaN."""
    present = np.isfinite(x)
    total, count = np.where(present, x, 0).sum(axis=0), present.sum(axis=0)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def over_faces(values: Shaped[np.ndarray, "b n"]) -> Figures:
    """Average each column, ignoring NaN."""
    values = np.asarray(values, np.float64)
    value = defined_mean(values)
    return Figures(value, values - value)


def mean(
    group: str,
    name: str,
    values: Shaped[np.ndarray, " b"],
    *,
    baseline: str = "",
    better: Better = "",
    persons: Sequence[str] | None = None,
) -> Score:
    """Average b values as a score, ignoring NaN.

    Args:
      group, name, baseline, better: fields of the score.
      values: of the faces.
      persons: b names, for a standard error over persons. By default each value counts as one
        person.

    >>> mean("x", "distance", np.array([1.0, 3.0]))[:4]
    ('x', 'distance', 2.0, 1.0)
    """
    figures = over_faces(np.asarray(values)[:, None])
    se = error(figures.influence, persons)
    return Score(group, name, float(figures.value[0]), se, baseline=baseline, better=better)


def by_unit(
    group: str,
    name: str,
    units: Sequence[str],
    figures: Figures,
    quality: Mapping[str, str],
    better: Better = "",
) -> Iterator[Score]:
    """Score each unit, and average the units that the judge reads well.

    Args:
      group, name, better: fields of the scores.
      units: names of the n columns.
      figures: statistics of one judge.
      quality: the judge's reliability for each unit, "good", "low" or "none". Missing units
        count as good.

    Yields:
      The mean over good units; the mean over low ones, if any, as the baseline
      "low_confidence"; then each unit. A unit without a value is NaN and excluded from means.
    """
    grades = np.array([quality.get(unit, "good") for unit in units])
    for baseline, grade in (("", "good"), ("low_confidence", "low")):
        members = (grades == grade) & np.isfinite(figures.value)
        if grade == "good" or (grades == grade).any():
            value, se = (
                float(defined_mean(figures.value[members])),
                error(figures.influence[:, members]),
            )
            yield Score(group, name, value, se, baseline=baseline, better=better)
    for i, unit in enumerate(units):
        value, se = float(figures.value[i]), error(figures.influence[:, [i]])
        yield Score(group, name, value, se, unit=unit, better=better)


def error(influence: Float[np.ndarray, "b m"], persons: Sequence[str] | None = None) -> float:
    """Standard error of the average of m statistics; NaN below two faces or two persons.

    Args:
      influence: of b faces.
      persons: b names; the influences of one person are summed.
    """
    present = np.isfinite(influence)
    if not present.any():
        return float("nan")
    share = np.where(present, influence, 0) / np.maximum(present.sum(axis=0), 1)
    pull = share.mean(axis=1)[present.any(axis=1)]  # influence of each face on the average
    if persons is not None:
        names = np.asarray(persons)[present.any(axis=1)]
        _, whose = np.unique(names, return_inverse=True)
        pull = np.bincount(whose, pull)
    if len(pull) < 2:
        return float("nan")
    return float(np.sqrt(np.square(pull).sum() * len(pull) / (len(pull) - 1)))
