"""Applies compiled functions to any number of images."""

from collections.abc import Callable

import numpy as np


def in_batches(function: Callable, *arrays: np.ndarray, size: int = 32) -> np.ndarray:
    """Compute ``function(*arrays)`` in batches of ``size`` and return one array on the host.

    The last batch is padded by repeating its last example, so that only one shape is compiled.

    Args:
      function: maps one ``b ...`` argument per array to ``b ...``; examples are independent.
      arrays: at least one example each, all of the same length.

    Raises:
      ValueError: there are no examples, or the lengths differ.
    """
    count = len(arrays[0])
    if not count or any(len(array) != count for array in arrays):
        raise ValueError(f"need as many examples in each array: {[len(a) for a in arrays]}")
    results = []
    for start in range(0, count, size):
        index = np.minimum(np.arange(start, start + size), count - 1)
        results.append(np.asarray(function(*(array[index] for array in arrays))))
    return np.concatenate(results)[:count]
