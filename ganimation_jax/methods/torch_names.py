"""What the tables of published PyTorch names (``NAME_torch.py``) share."""

import re
from collections.abc import Mapping

import numpy as np


def count(state: Mapping[str, np.ndarray], pattern: str) -> int:
    """The number of arrays whose whole name matches."""
    return sum(bool(re.fullmatch(pattern, name)) for name in state)


def kernel(state: Mapping[str, np.ndarray], name: str, network: str) -> np.ndarray:
    """The kernel of a convolution.

    Raises:
      ValueError: there is none of this name, or it has not four axes; the message begins with
        ``network``.
    """
    if name not in state:
        listed = ", ".join(sorted(state)[:6])
        raise ValueError(f"{network} has no kernel {name}; it has {listed} ...")
    if state[name].ndim != 4:
        raise ValueError(f"{network}: {name} has shape {state[name].shape}: a kernel has 4 axes")
    return state[name]
