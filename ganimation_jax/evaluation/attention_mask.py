"""Whether a model's attention mask is healthy. Only for models that have one."""

import numpy as np
from jaxtyping import Float

from ganimation_jax.evaluation.scores import Score, Scores

PAINTED = 0.1  # share of new colour above which a pixel counts as touched


def health(attention: Float[np.ndarray, "b h w 1"]) -> Scores:
    """Mean, shares of pixels at either end, roughness, and how much is touched.

    Args:
      attention: in [0, 1], the share of the source that is kept. All near 1:
        the edit does nothing; all near 0: the whole picture is painted anew.

    Yields:
      ``attention/mean``, ``near_0``, ``near_1``; ``tv``, the total variation per pixel: 0 is
      flat, 2 a checkerboard; ``touched``, the share of pixels that change by more than a tenth:
      the smaller, the sparser the edit.

    >>> [score.value for score in health(np.ones((1, 4, 4, 1)))]
    [1.0, 0.0, 1.0, 0.0, 0.0]
    """
    down, right = np.diff(attention, axis=1), np.diff(attention, axis=2)
    variation = float((np.abs(down).sum() + np.abs(right).sum()) / attention.size)
    yield Score("attention", "mean", float(attention.mean()))
    yield Score("attention", "near_0", float((attention < 0.05).mean()))
    yield Score("attention", "near_1", float((attention > 0.95).mean()))
    yield Score("attention", "tv", variation)
    yield Score("attention", "touched", float((1 - attention > PAINTED).mean()))
