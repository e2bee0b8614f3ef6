"""The published code's ``aus_openface.pkl``, read without trusting it.

A pickle is a program. This reader lets it rebuild dictionaries, text, numbers and
NumPy arrays, and call nothing else.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy._core import multiarray

from ganimation_jax.prepare.problems import UsageError

# NumPy 2 renamed numpy.core; pickles carry the name of the NumPy that wrote them.
_ALLOWED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): multiarray._reconstruct,
    ("numpy.core.multiarray", "scalar"): multiarray.scalar,
    ("numpy._core.multiarray", "_reconstruct"): multiarray._reconstruct,
    ("numpy._core.multiarray", "scalar"): multiarray.scalar,
}


class _NumpyUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(
                f"it wants to use {module}.{name}, and only NumPy arrays are allowed"
            )
        return _ALLOWED[module, name]


def read_aus_pickle(path: Path) -> dict[str, np.ndarray]:
    """Read a pickled dictionary of id -> AU intensities, written by Python 2 or 3.

    Raises:
      UsageError: not a pickle, a damaged one, one that uses anything but NumPy
        arrays (the message names it), or one that is not such a dictionary.
    """
    try:
        with path.open("rb") as file:
            content = _NumpyUnpickler(file, encoding="latin1").load()
    except (
        # Damaged bytes run as a damaged program: it can fail in all these ways.
        *(pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError),
        *(AttributeError, ImportError, MemoryError, OverflowError, OSError),
        *(RuntimeError, SystemError),
    ) as error:
        raise UsageError(f"cannot read {path}: {error}") from error
    if not isinstance(content, dict) or not all(
        isinstance(key, str) and isinstance(value, np.ndarray) for key, value in content.items()
    ):
        raise UsageError(f"{path} is not a dictionary of id -> array of action units")
    return content
