"""PyTorch's ``.pth`` files as plain arrays; the one module that imports torch, to write them."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np

from ganimation_jax.files.npz import ZIP_DAMAGE
from ganimation_jax.files.pickles import DAMAGE
from ganimation_jax.interop.torch_pickle import Archive, Tensor, array_of, numbers_of, open_archive

# Beyond this no weight of a network that works lies; a flipped bit of an exponent does.
LARGEST = 1e15


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """Names to arrays, float32, from what ``torch.save(network.state_dict())`` wrote.

    PyTorch is not needed, and nothing in the file is called. Arrays may be read-only.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: not a state dict of finite, dense tensors, or damaged; the message says what
        it is, with the tensor's name.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if not path.is_file():
        raise ValueError(f"{path}: not a regular file")
    with path.open("rb") as file:
        try:
            with warnings.catch_warnings(action="ignore"):
                archive = open_archive(file, path.stat().st_size)
        except (*DAMAGE, *ZIP_DAMAGE) as error:
            said = str(error) if isinstance(error, ValueError | DAMAGE[0]) else "it is damaged"
            raise ValueError(
                f"{path}: refused: {said or 'it is damaged'} (is it a PyTorch file?)"
            ) from error
        return _arrays(path, archive)


def _arrays(path: Path, archive: Archive) -> dict[str, np.ndarray]:
    state = archive.content
    if not isinstance(state, Mapping):
        raise ValueError(f"{path}: not a state dict but a {type(state).__name__}")
    others = [str(name)[:40] for name, value in state.items() if not isinstance(value, Tensor)]
    if others or not state:
        raise ValueError(
            f"{path}: not a plain state dict of tensors (other entries: "
            f"{', '.join(others[:8]) or 'it is empty'}); save network.state_dict() by itself"
        )
    if odd := [name for name in state if not isinstance(name, str)]:
        raise ValueError(f"{path}: a tensor is named {str(odd[0])[:40]!r}: names must be text")
    storages: dict[tuple, tuple[np.ndarray, bool]] = {}
    arrays = {}
    for name, tensor in state.items():
        try:
            if tensor.storage not in storages:
                storages[tensor.storage] = _storage(archive, tensor)
            numbers, sound = storages[tensor.storage]
            arrays[name] = array_of(tensor, numbers)
            if not sound and not (np.abs(arrays[name]) <= LARGEST).all():
                raise ValueError("has weights that are not finite, or larger than any can be")
        except (ValueError, *ZIP_DAMAGE) as error:
            raise ValueError(f"{path}: damaged or unusable: the tensor {name} {error}") from error
    return arrays


def _storage(archive: Archive, tensor: Tensor) -> tuple[np.ndarray, bool]:
    """The numbers as float32, and whether all are finite and of a sensible size."""
    numbers = numbers_of(tensor.storage, archive.read(tensor.storage), archive.order)
    with np.errstate(over="ignore", invalid="ignore"):
        numbers = numbers.astype(np.float32, copy=False)
        return numbers, bool((np.abs(numbers) <= LARGEST).all())


def write_state_dict(path: Path, state: Mapping[str, np.ndarray]) -> None:
    """Write arrays as ``torch.save`` writes a state dict; folders are made.

    Raises:
      ImportError: torch is not installed.
    """
    torch = require_torch()
    path.parent.mkdir(parents=True, exist_ok=True)
    # Copies: restored arrays may be read-only, which torch warns about.
    torch.save({name: torch.tensor(array) for name, array in state.items()}, path)


def require_torch() -> ModuleType:
    """PyTorch.

    Raises:
      ImportError: it is not installed; the message names the extra.
    """
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            "PyTorch is needed for .pth files: pip install 'ganimation-jax[torch]'"
        ) from error
    return torch
