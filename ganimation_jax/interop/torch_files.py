"""PyTorch's ``.pth`` files as plain arrays: the one place that imports torch."""

import pickle
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np

# What torch's readers raise on bytes that they cannot make sense of.
DAMAGE = (
    RuntimeError, EOFError, LookupError, ValueError, TypeError, AttributeError, AssertionError,
    struct.error,
)  # fmt: skip


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """Names to arrays, float32, from what ``torch.save(network.state_dict())`` wrote.

    Only tensors and plain containers are unpickled: a file cannot run code.

    Raises:
      FileNotFoundError: there is no such file.
      ImportError: torch is not installed.
      ValueError: not a state dict; the message says what it is.
    """
    torch = require_torch()
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with warnings.catch_warnings():
            # Of pickles that torch did not write; those that matter are refused below.
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # Torch's own message recommends weights_only=False, which would run the file's code.
        raise ValueError(
            f"{path}: refused: it holds Python objects other than tensors, or is no PyTorch file"
        ) from error
    except DAMAGE as error:
        raise ValueError(f"{path}: damaged, or no PyTorch file") from error
    if not isinstance(state, Mapping):
        raise ValueError(f"{path}: not a state dict but a {type(state).__name__}")
    others = [str(name) for name, value in state.items() if not isinstance(value, torch.Tensor)]
    if others or not state:
        raise ValueError(
            f"{path}: not a plain state dict of tensors (other entries: "
            f"{', '.join(others[:8]) or 'it is empty'}); save network.state_dict() by itself"
        )
    return {name: value.detach().float().numpy() for name, value in state.items()}


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
