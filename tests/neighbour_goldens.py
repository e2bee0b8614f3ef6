"""Recorded numbers of the neighbouring methods' published PyTorch code, in our layouts."""

import re

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from helpers import GOLDENS

from ganimation_jax.interop.torch_arrays import from_torch

FOLDER = GOLDENS / "neighbours"
UNUSED = re.compile(r"running_|num_batches")


class Golden:
    """One file, by name."""

    def __init__(self, name):
        self.arrays = np.load(FOLDER / f"{name}.npz")

    def __getitem__(self, name):
        return self.arrays[name]

    def image(self, name):  # ... c h w -> ... h w c
        return np.moveaxis(self.arrays[name], -3, -1)

    def state_dict(self, prefix):
        """What stands under ``prefix/``; empty if nothing does."""
        found = {n.removeprefix(f"{prefix}/"): self.arrays[n] for n in self.names(f"{prefix}/")}
        return {name: array for name, array in found.items() if not UNUSED.search(name)}

    def names(self, prefix=""):
        return [name for name in self.arrays.files if name.startswith(prefix)]

    def config(self):
        return {n.removeprefix("config/"): self.arrays[n].item() for n in self.names("config/")}

    def rows(self):
        """The recorded losses, a dict of each row."""
        names = self.arrays["loss_names"].tolist()
        return [dict(zip(names, row, strict=True)) for row in self.arrays["losses"]]


def params_of(state, table):
    """A network's parameters from a state dict: every array is used, and none is missing."""
    assert set(state) == set(table.values())
    return unflatten_dict({path: from_torch(path, state[n]) for path, n in table.items()}, sep="/")


def relative_update(start, got, want, dead):
    """Relative L2 difference of a network's change since ``start``, dead numbers left out.

    ``dead``: path -> index of numbers whose true gradient is zero.
    """
    start, got, want = (flatten_dict(tree, sep="/") for tree in (start, got, want))
    errors = sizes = 0.0
    for path, first in start.items():
        error = np.asarray(got[path]) - want[path]
        size = want[path] - first
        if path in dead:
            error, size = np.array(error), np.array(size)
            error[dead[path]] = size[dead[path]] = 0
        errors += np.square(error, dtype=np.float64).sum()
        sizes += np.square(size, dtype=np.float64).sum()
    assert sizes > 0
    return (errors / sizes) ** 0.5
