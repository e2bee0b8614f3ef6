"""Recorded numbers of IcGAN and the WGANs: arrays of PyTorch's layout in ours, and comparisons.

A golden file holds the arrays of a network under PyTorch's names. ``read`` returns them under ours:
``params/...`` and ``statistics/...`` of the networks in ``models/dcgan.py``.
"""

import numpy as np
import pytest
from flax.traverse_util import unflatten_dict
from helpers import GOLDENS

FOLDER = GOLDENS / "neighbours"
NORMS = {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "variance"}


def load(name):
    """A golden file, or a skipped test where there is none."""
    path = FOLDER / f"{name}.npz"
    if not path.exists():
        pytest.skip(f"no golden arrays at {path}: set GANIMATION_GOLDENS")
    return np.load(path)


def under(golden, prefix):
    return {
        name.removeprefix(prefix): golden[name]
        for name in golden.files
        if name.startswith(prefix) and name.count("/") == prefix.count("/")
    }


def images(array):
    """... c h w -> ... h w c."""
    return np.moveaxis(array, -3, -1)


def conv(array):
    """Out in kh kw -> kh kw in out."""
    return array.transpose(2, 3, 1, 0)


def transposed(array):
    """In out kh kw, applied flipped -> kh kw in out."""
    return array.transpose(2, 3, 0, 1)[::-1, ::-1]


def first_transposed(array):
    """That of a 1x1 map, where nothing is flipped: in out kh kw -> kh kw in out."""
    return array.transpose(2, 3, 0, 1)


def dense(array):
    return array.T


def dense_of_map(channels):
    """A dense layer that reads a flattened map of so many channels: c h w -> h w c."""

    def convert(array):
        side = round((array.shape[1] // channels) ** 0.5)
        maps = array.reshape(-1, channels, side, side)
        return maps.transpose(0, 2, 3, 1).reshape(len(array), -1).T

    return convert


def dense_to_map(channels):
    """A dense layer that makes a map of so many channels, weights and biases."""

    def convert(array):
        side = round((len(array) // channels) ** 0.5)
        maps = array.reshape(channels, side, side, -1).transpose(1, 2, 0, 3)
        return maps.reshape(len(array), -1).T if array.ndim == 2 else maps.reshape(-1)

    return convert


def read(arrays, table):
    """Arrays by PyTorch's name in our tree.

    Args:
      arrays: by name, as ``a.b.weight``.
      table: PyTorch's name without the last part -> (our path of the weight, how it is converted,
        our path of the bias); norms are ``(path,)``.
    """
    flat = {}
    for name, array in arrays.items():
        layer, _, kind = name.rpartition(".")
        path, *rest = table[layer]
        if not rest:
            collection = "statistics" if kind.startswith("running") else "params"
            flat[collection, *path, NORMS[kind]] = array
        elif kind == "weight":
            flat["params", *path] = rest[0](array)
        else:
            convert_bias = rest[2] if len(rest) > 2 else np.asarray
            flat["params", *rest[1]] = convert_bias(array)
    return {key: np.array(value, np.float32) for key, value in flat.items()}


def tree(flat):
    """Params and statistics, nested."""
    nested = unflatten_dict(flat)
    return {"params": nested["params"], "statistics": nested.get("statistics", {})}


def check_change(got, start, want, dead, limit=1e-3):
    """The change of a whole network's arrays, against that of the golden ones.

    Args:
      got, start, want: arrays by path: ours, those both began with, the golden ones.
      dead: paths whose numbers nobody can reproduce; the README of the goldens lists them.
      limit: of the difference's L2 norm, relative to that of the change.
    """
    assert got.keys() == want.keys()
    assert set(dead) <= want.keys()
    kept = [path for path in sorted(want) if path not in dead]
    assert kept
    ours = np.concatenate([np.ravel(np.float64(got[path]) - start[path]) for path in kept])
    theirs = np.concatenate([np.ravel(np.float64(want[path]) - start[path]) for path in kept])
    error = np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
    assert error < limit, error


def relative_l2(got, want):
    got, want = np.float64(got), np.float64(want)
    return np.linalg.norm(got - want) / np.linalg.norm(want)
