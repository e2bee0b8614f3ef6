"""Layouts of arrays: PyTorch's convolutions and ours."""

import numpy as np
from jaxtyping import Float32, Num


def from_torch(path: str, array: Num[np.ndarray, "..."]) -> Float32[np.ndarray, "..."]:
    """A PyTorch array in our layout; a copy.

    Args:
      path: our name of the parameter; those of transposed convolutions begin with "up".
      array: kernels ``out in kh kw``, or ``in out kh kw`` and flipped if transposed.

    Returns:
      Kernels ``kh kw in out``; other arrays keep their shape.
    """
    if array.ndim == 4 and path.startswith("up"):  # in out kh kw, applied flipped
        array = array.transpose(2, 3, 0, 1)[::-1, ::-1]
    elif array.ndim == 4:  # out in kh kw
        array = array.transpose(2, 3, 1, 0)
    return np.array(array, np.float32, order="C")


def to_torch(path: str, array: Num[np.ndarray, "..."]) -> Float32[np.ndarray, "..."]:
    """The inverse of ``from_torch``."""
    if array.ndim == 4 and path.startswith("up"):
        array = array[::-1, ::-1].transpose(2, 3, 0, 1)
    elif array.ndim == 4:
        array = array.transpose(3, 2, 0, 1)
    return np.array(array, np.float32, order="C")
