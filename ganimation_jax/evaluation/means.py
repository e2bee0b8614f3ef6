"""Means over faces with their standard errors, one or one for each action unit.

A figure over faces is a value and an ``influence``: by how much each face pulls it, to first
order (Hampel 1974). For a mean that is the face's own value minus the mean; correlations have
theirs. The standard error of any such figure, and of an average of several that were measured
in the same faces, is the spread of the summed influences over the root of their number
(the infinitesimal jackknife). Nothing need be normal; below some 20 faces it is too small.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

Values = Iterator[tuple[str, float]]


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
    """The mean of each column of ``b n``; NaNs are left out."""
    values = np.asarray(values, np.float64)
    value = defined_mean(values)
    return Figures(value, values - value)


def mean(name: str, values: np.ndarray) -> Values:
    """``name`` and its standard error ``name/se``, over the b values that are not NaN."""
    figures = over_faces(np.asarray(values)[:, None])
    yield name, float(figures.value[0])
    yield f"{name}/se", error(figures.influence)


def by_unit(
    name: str, action_units: Sequence[str], figures: Figures, quality: Mapping[str, str]
) -> Values:
    """Each action unit's figure, and the mean over those that the judge reads well.

    Args:
      name: of the mean; an action unit's is ``name/AU12``.
      action_units: names of the n columns.
      figures: of a judge.
      quality: how far it can be trusted with each, "good", "low" or "none"; what is not
        in it is good.

    Yields:
      ``name`` over good units; ``name/low_confidence`` over low ones if there are any; each
      unit. All with ``/se``. A unit that has no figure is NaN and in no mean.
    """
    grades = np.array([quality.get(code, "good") for code in action_units])
    for suffix, grade in (("", "good"), ("/low_confidence", "low")):
        members = (grades == grade) & np.isfinite(figures.value)
        if grade == "good" or (grades == grade).any():
            yield f"{name}{suffix}", float(defined_mean(figures.value[members]))
            yield f"{name}{suffix}/se", error(figures.influence[:, members])
    for i, code in enumerate(action_units):
        yield f"{name}/{code}", float(figures.value[i])
        yield f"{name}/{code}/se", error(figures.influence[:, [i]])


def error(influence: np.ndarray) -> float:
    """Standard error of the average of m figures. b m -> scalar; NaN below two faces."""
    present = np.isfinite(influence)
    faces = int(present.any(axis=1).sum())
    if faces < 2:
        return float("nan")
    share = np.where(present, influence, 0) / np.maximum(present.sum(axis=0), 1)
    pull = share.mean(axis=1)  # of each face on the average
    return float(np.sqrt(np.square(pull).sum() * faces / (faces - 1)))
