"""Means over faces with their standard errors, over all or for each condition.

A figure over faces is a value and an ``influence``: by how much each face pulls it, to first
order (Hampel 1974). For a mean that is the face's own value minus the mean; correlations have
their own. The standard error of any such figure, and of an average of several that were measured
in the same faces, is the spread of the summed influences over the root of their number
(the infinitesimal jackknife). Nothing need be normal; below about 20 faces it is too small.
Faces of one person are not independent: with ``persons`` their influences are summed first.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ganimation_jax.evaluation.scores import Better, Score


class Figures(NamedTuple):
    """One figure an action unit, measured over the same b faces."""

    value: np.ndarray  # n; NaN where it is not defined
    influence: np.ndarray  # b n; NaN where a face was not read


def defined_mean(x: np.ndarray) -> np.ndarray:
    """Mean over the first axis of what is not NaN; NaN where nothing is. b ... -> ..."""
    present = np.isfinite(x)
    total, count = np.where(present, x, 0).sum(axis=0), present.sum(axis=0)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def over_faces(values: np.ndarray) -> Figures:
    """The mean of each column of ``b n``; NaNs are ignored."""
    values = np.asarray(values, np.float64)
    value = defined_mean(values)
    return Figures(value, values - value)


def mean(
    group: str,
    name: str,
    values: np.ndarray,
    *,
    baseline: str = "",
    better: Better = "",
    persons: Sequence[str] | None = None,
) -> Score:
    """The mean over the b values that are not NaN, as a score.

    Args:
      group, name, baseline, better: of the score.
      values: ``b``.
      persons: b names, for a standard error over persons; by default each value is one.

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
    """The figure of each unit, and the mean over those that the judge reads well.

    Args:
      group, name, better: of the scores.
      units: names of the n columns.
      figures: of a judge.
      quality: how far the judge can be trusted with each unit, "good", "low" or "none"; units
        that are not in it are good.

    Yields:
      The mean over good units; that over low ones, if there are any, as the baseline
      "low_confidence"; each unit. A unit that has no figure is NaN and in no mean.
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


def error(influence: np.ndarray, persons: Sequence[str] | None = None) -> float:
    """Standard error of the average of m figures; NaN below two faces, or two persons.

    Args:
      influence: ``b m``.
      persons: b names; the influences of one person are summed.
    """
    present = np.isfinite(influence)
    if not present.any():
        return float("nan")
    share = np.where(present, influence, 0) / np.maximum(present.sum(axis=0), 1)
    pull = share.mean(axis=1)[present.any(axis=1)]  # of each face on the average
    if persons is not None:
        names = np.asarray(persons)[present.any(axis=1)]
        _, whose = np.unique(names, return_inverse=True)
        pull = np.bincount(whose, pull)
    if len(pull) < 2:
        return float("nan")
    return float(np.sqrt(np.square(pull).sum() * len(pull) / (len(pull) - 1)))
