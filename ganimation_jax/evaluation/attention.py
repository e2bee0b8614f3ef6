"""Health of the attention mask."""

from collections.abc import Iterator

import numpy as np


def health(attention: np.ndarray) -> Iterator[tuple[str, float]]:
    """Mean, and the shares of pixels at either end.

    Args:
      attention: ``b h w 1`` in [0, 1], the share of the source that is kept. All near 1:
        the edit does nothing; all near 0: the whole picture is painted anew.
    """
    yield "attention/mean", float(attention.mean())
    yield "attention/near_0", float((attention < 0.05).mean())
    yield "attention/near_1", float((attention > 0.95).mean())
