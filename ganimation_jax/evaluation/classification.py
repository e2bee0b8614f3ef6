"""How often labels are read wrongly: of a group the strongest counts, of others what is above 0.5.

Intensities have no such error: ``agreement`` measures them.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from ganimation_jax.evaluation.means import mean
from ganimation_jax.evaluation.scores import LOWER, Scores
from ganimation_jax.types import Condition


def errors(
    group: str,
    conditions: Sequence[Condition],
    read: Float[np.ndarray, "b n"],
    wanted: Float[np.ndarray, "b n"],
) -> Scores:
    """The share of wrong readings, for each group of labels and all single labels together.

    Args:
      group: of the scores.
      conditions: n of them.
      read: probabilities or intensities.
      wanted: labels are 0 or 1.

    Yields:
      ``GROUP_error`` for each group, over the faces that show one of its members; ``labels_error``
      over all single labels. Nothing where all conditions are intensities.

    >>> emotion = [Condition(name, "one_of", "emotion") for name in ("happy", "sad")]
    >>> read, wanted = np.array([[0.7, 0.3], [0.6, 0.4]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> [(score.key, score.value) for score in errors("x", emotion, read, wanted)]
    [('x/emotion_error', 0.5)]
    """
    groups: dict[str, list[int]] = {}
    for place, condition in enumerate(conditions):
        if condition.kind == "one_of":
            groups.setdefault(condition.group, []).append(place)
    for name, places in groups.items():
        wrong = read[:, places].argmax(axis=1) != wanted[:, places].argmax(axis=1)
        known = wanted[:, places].max(axis=1) > 0.5
        yield mean(group, f"{name}_error", np.where(known, wrong, np.nan), better=LOWER)
    if single := [i for i, condition in enumerate(conditions) if condition.kind == "binary"]:
        wrong = (read[:, single] > 0.5) != (wanted[:, single] > 0.5)
        yield mean(group, "labels_error", wrong.mean(axis=1), better=LOWER)
