"""Pickles of NumPy arrays, read without trusting them.

A pickle is a program. This reader lets it rebuild dictionaries, text, numbers and
NumPy arrays, and call nothing else.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy._core import multiarray

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


def read(path: Path) -> Any:
    """What a pickle written by Python 2 or 3 holds: plain containers and NumPy arrays.

    Raises:
      ValueError: not a pickle, a damaged one, one that cannot be opened, or one that uses
        anything but NumPy arrays (the message names it).
    """
    try:
        with path.open("rb") as file:
            return _NumpyUnpickler(file, encoding="latin1").load()
    except (
        # Damaged bytes run as a damaged program: it can fail in all these ways.
        *(pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError),
        *(AttributeError, ImportError, MemoryError, OverflowError, OSError),
        *(RuntimeError, SystemError),
    ) as error:
        raise ValueError(f"cannot read {path}: {error}") from error
