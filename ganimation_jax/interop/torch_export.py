"""Weights of a run as the published PyTorch implementations store them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from flax.traverse_util import flatten_dict
from jaxtyping import Float32

from ganimation_jax.interop import torch_tables
from ganimation_jax.interop.torch_arrays import to_torch
from ganimation_jax.interop.torch_files import write_state_dict
from ganimation_jax.runs.load import Run
from ganimation_jax.types import Nets


def state_dicts(method: str, nets: Nets) -> dict[str, dict[str, Float32[np.ndarray, "..."]]]:
    """Networks under PyTorch's names and in its array layouts, float32.

    The exact inverse of ``torch_import.import_published``.

    Args:
      method: its name.
      nets: the method's networks, as trained last or averaged. Those that the published code does
        not have are left out.

    Returns:
      The state dict of each network, by its name.

    Raises:
      ValueError: the method has no published weights, or networks that the published code could
        not hold: the message lists the arrays in question.
    """
    table = torch_tables.table_of(method)
    published = {net: nets[net] for net in table.NETWORKS if net in nets}
    dicts = {}
    for net, names in table.names(published).items():
        flat = flatten_dict(published[net], sep="/")
        if odd := sorted(set(flat) ^ set(names)):
            raise ValueError(f"{net} is not the published network, because of: {', '.join(odd)}")
        dicts[net] = {name: to_torch(path, np.asarray(flat[path])) for path, name in names.items()}
    return dicts


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
    method = run.config["method"]
    files = torch_tables.files_of(method, path, others)
    if missing := sorted(set(files) - set(nets)):
        raise ValueError(f"the model was shared without its {', '.join(missing)}")
    dicts = state_dicts(method, nets)
    _check_published(run, nets, dicts)
    for net, file in files.items():
        write_state_dict(file, dicts[net])


def _check_published(
    run: Run, nets: Nets, dicts: Mapping[str, Mapping[str, Float32[np.ndarray, "..."]]]
) -> None:
    """Refuse networks that an import would not make again, such as kernels of other sizes."""
    method = run.config["method"]
    table = torch_tables.table_of(method)
    try:
        found = table.config(dicts)
    except ValueError as error:
        raise ValueError(f"the published code has no such networks: {error}") from error
    fields = found | {
        "method": method,
        "image_size": run.image_size,
        table.CONDITIONS: run.config[table.CONDITIONS],
    }
    shapes = torch_tables.shapes_of(torch_tables.model_of(fields))
    names = table.names({net: nets[net] for net in dicts})
    for net in dicts:
        torch_tables.check_arrays(net, nets[net], shapes[net], names[net])
