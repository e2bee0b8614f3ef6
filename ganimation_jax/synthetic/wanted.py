"""Which expressions to draw of a person, so that every action unit is seen often enough."""

import numpy as np

from ganimation_jax.action_units import ACTION_UNITS

# What rises together in faces that are made on purpose. Each person gets some, each as often.
DECK = (
    ("AU06", "AU12"),
    ("AU06", "AU12", "AU25"),
    ("AU06", "AU12", "AU25", "AU26"),
    ("AU01", "AU02", "AU05", "AU25", "AU26"),
    ("AU25", "AU26"),
    ("AU25", "AU26", "AU45"),
    ("AU45",),
    ("AU01", "AU02"),
    ("AU02", "AU05"),
    ("AU04", "AU07"),
    ("AU04", "AU05", "AU07", "AU23"),
    ("AU01", "AU04", "AU15"),
    ("AU01", "AU04", "AU15", "AU17"),
    ("AU04", "AU09", "AU10"),
    ("AU09", "AU10", "AU25"),
    ("AU01", "AU02", "AU04", "AU05", "AU20", "AU25"),
    ("AU15", "AU17"),
    ("AU20", "AU25"),
    ("AU17", "AU23"),
    ("AU12", "AU14"),
    (),  # all at rest
)
STRONG = (2.0, 4.0)  # intensities asked for, 0-5
AT_REST = 0.7  # probability that all other action units of the face go to zero


def wanted(rng: np.random.Generator, count: int) -> list[np.ndarray]:
    """Expressions for one person, all different: ``count`` rows of intensities, 0-5.

    Returns:
      Float64 17 each, in the order of ``ACTION_UNITS``; NaN where the face keeps its own.

    Raises:
      ValueError: the deck holds fewer than ``count``.
    """
    if count > len(DECK):
        raise ValueError(f"there are {len(DECK)} different expressions, not {count}")
    rows = []
    for place in rng.permutation(len(DECK))[:count]:
        units = DECK[place]
        row = np.full(len(ACTION_UNITS), np.nan)
        if not units or rng.random() < AT_REST:
            row[:] = 0
        row[[ACTION_UNITS.index(code) for code in units]] = rng.uniform(*STRONG, len(units))
        rows.append(row)
    return rows
