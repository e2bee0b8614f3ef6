"""Compiled functions over any number of images."""

from collections.abc import Callable

import numpy as np


def in_batches(function: Callable, *arrays: np.ndarray, size: int = 32) -> np.ndarray:
    """``function(*arrays)``, ``size`` examples at a time, as one array on the host.

    The last batch is filled up by repeating its last example, so that one shape is compiled.

    Args:
      function: ``b ...`` (one for each array) -> ``b ...``, example by example.
      arrays: at least one example; all of one length.

    Raises:
      ValueError: no examples, or lengths that differ.
    """
    count = len(arrays[0])
    if not count or any(len(array) != count for array in arrays):
        raise ValueError(f"need as many examples in each array: {[len(a) for a in arrays]}")
    results = []
    for start in range(0, count, size):
        index = np.minimum(np.arange(start, start + size), count - 1)
        results.append(np.asarray(function(*(array[index] for array in arrays))))
    return np.concatenate(results)[:count]
