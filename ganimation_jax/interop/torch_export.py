"""Weights of a run as the published PyTorch implementations store them.

Methods with a table of names of their own are written by ``torch_tables``. The layout of GANimation
follows from the generator: the official code has affine norms, ``ganimation_replicate`` has
convolutions with biases.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from flax.traverse_util import flatten_dict
from jaxtyping import Float32

from ganimation_jax import methods
from ganimation_jax.interop import torch_tables
from ganimation_jax.interop.torch_files import write_state_dict
from ganimation_jax.interop.torch_names import Layout, critic_names, generator_names, to_torch
from ganimation_jax.runs.load import Run
from ganimation_jax.types import Nets, Params


def layout_of(generator_params: Params) -> Layout:
    """The published layout that has these arrays.

    Raises:
      ValueError: neither has them; the message names the two settings in question.
    """
    norm_affine, conv_bias = "stem_norm" in generator_params, "bias" in generator_params["stem"]
    if norm_affine == conv_bias:
        raise ValueError(
            f"no published layout has norm_affine={norm_affine} and conv_bias={conv_bias}: "
            "official has True and False, replicate False and True"
        )
    return "official" if norm_affine else "replicate"


def generator_to_state_dict(params: Params) -> dict[str, Float32[np.ndarray, "..."]]:
    """A generator's parameters under PyTorch's names and in its array layouts, float32.

    The exact inverse of ``torch_import.generator_from_state_dict``.

    Raises:
      ValueError: no published layout has these arrays.
    """
    blocks = sum(name.endswith("_conv0") for name in params)
    return _rename(params, generator_names(layout_of(params), blocks))


def critic_to_state_dict(
    params: Params, layout: Layout = "official"
) -> dict[str, Float32[np.ndarray, "..."]]:
    """As ``generator_to_state_dict``, for a critic. The two layouts differ only in names."""
    return _rename(params, critic_names(layout, sum(name.startswith("down") for name in params)))


def _rename(params: Params, names: dict[str, str]) -> dict[str, Float32[np.ndarray, "..."]]:
    flat = flatten_dict(params, sep="/")
    if set(flat) != set(names):
        raise ValueError(f"no published network has these arrays: {sorted(set(flat) ^ set(names))}")
    return {name: to_torch(path, np.asarray(flat[path])) for path, name in names.items()}


def write_torch(run: Run, nets: Nets, path: Path, others: Mapping[str, Path]) -> None:
    """Write PyTorch state dicts that the published codes load.

    Args:
      run: the model.
      nets: the networks to write: as trained last, or averaged.
      path: file of the first network's state dict, a generator.
      others: files of further networks, by their names.

    Raises:
      ImportError: torch is not installed.
      ValueError: no published layout has these networks, or there is no such network.
      OSError: a file cannot be written.
    """
    if methods.published(run.config["method"]):
        dicts = torch_tables.state_dicts(run, nets)
        files = torch_tables.files_of(run, path, others)
        arrays = {file: dicts[net] for net, file in files.items()}
    elif run.config["method"] == "ganimation":
        if unknown := sorted(set(others) - {"critic"}):
            raise ValueError(f"no further network is named {', '.join(unknown)}; there is critic")
        arrays = {path: generator_to_state_dict(nets["generator"])}
        if file := others.get("critic"):
            layout = layout_of(nets["generator"])
            arrays[file] = critic_to_state_dict(run.nets["critic"], layout)
    else:
        raise ValueError(f"--format torch: no published code stores a {run.config['method']}")
    for file, state in arrays.items():
        write_state_dict(file, state)
