"""How well action units are read, and how well edits obey.

The judge here is the run's own critic, which the generator was trained to please: use it to
see whether training works, not to compare methods.
"""

from collections.abc import Iterator, Sequence

import numpy as np

Values = Iterator[tuple[str, float]]


def agreement(
    name: str, action_units: Sequence[str], read: np.ndarray, wanted: np.ndarray
) -> Values:
    """Mean absolute error and Pearson correlation, per action unit and on average.

    Args:
      name: of the comparison; metrics are ``name/mae``, ``name/mae/AU12``, ...
      action_units: names of the n columns.
      read, wanted: ``b n``, in [0, 1].

    Yields:
      An action unit that does not vary in ``read`` or ``wanted`` has no correlation: it is
      NaN, and the average is over the others.
    """
    errors = np.abs(read - wanted).mean(axis=0)
    correlations = correlation(read, wanted)
    yield f"{name}/mae", float(errors.mean())
    yield f"{name}/r", _mean_of_defined(correlations)
    for unit, error, r in zip(action_units, errors, correlations, strict=True):
        yield f"{name}/mae/{unit}", float(error)
        yield f"{name}/r/{unit}", float(r)


def change_correlation(read_change: np.ndarray, wanted_change: np.ndarray) -> Values:
    """``edit_response/r``: requested against read change of intensity, all units together."""
    pooled = correlation(read_change.reshape(-1, 1), wanted_change.reshape(-1, 1))
    yield "edit_response/r", float(pooled[0])


def correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson correlation of columns, ``b n, b n -> n``; NaN where a column is constant."""
    varies = (np.ptp(a, axis=0) > 0) & (np.ptp(b, axis=0) > 0)
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    scale = np.sqrt(np.square(a).sum(axis=0) * np.square(b).sum(axis=0))
    return np.divide((a * b).sum(axis=0), scale, out=np.full_like(scale, np.nan), where=varies)


def _mean_of_defined(values: np.ndarray) -> float:
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if defined.size else float("nan")
