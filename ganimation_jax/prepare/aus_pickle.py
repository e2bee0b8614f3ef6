"""The published code's ``aus_openface.pkl``."""

from pathlib import Path

import numpy as np

from ganimation_jax.files import pickles
from ganimation_jax.prepare.problems import UsageError


def read_aus_pickle(path: Path) -> dict[str, np.ndarray]:
    """Read a pickled dictionary of id -> AU intensities, written by Python 2 or 3.

    Raises:
      UsageError: not a pickle, a damaged one, one that uses anything but NumPy
        arrays (the message names it), or one that is not such a dictionary.
    """
    try:
        content = pickles.read(path)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if not isinstance(content, dict) or not all(
        isinstance(key, str) and isinstance(value, np.ndarray) for key, value in content.items()
    ):
        raise UsageError(f"{path} is not a dictionary of id -> array of action units")
    return content
