"""Health of the attention mask."""

from collections.abc import Iterator

import numpy as np

PAINTED = 0.1  # share of new colour above which a pixel counts as touched


def health(attention: np.ndarray) -> Iterator[tuple[str, float]]:
    """Mean, shares of pixels at either end, roughness, and how much is touched.

    Args:
      attention: ``b h w 1`` in [0, 1], the share of the source that is kept. All near 1:
        the edit does nothing; all near 0: the whole picture is painted anew.

    Yields:
      ``attention/mean``, ``near_0``, ``near_1``; ``attention/tv``, the total variation per
      pixel: 0 is flat, 2 a checkerboard; ``attention/touched``, the share of pixels
      that change by more than a tenth: the smaller, the sparser the edit.
    """
    down, right = np.diff(attention, axis=1), np.diff(attention, axis=2)
    yield "attention/mean", float(attention.mean())
    yield "attention/near_0", float((attention < 0.05).mean())
    yield "attention/near_1", float((attention > 0.95).mean())
    yield "attention/tv", float((np.abs(down).sum() + np.abs(right).sum()) / attention.size)
    yield "attention/touched", float((1 - attention > PAINTED).mean())
