"""A trained model as two files: ``NAME.safetensors`` and its card, ``NAME.json``.

The weights are bfloat16; of networks with a moving average they are the average. The card holds
the config, what the model was trained on, its licence and how well it does, and the SHA-256 of
the weights, which may be at an address instead of beside it.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy
from flax.traverse_util import flatten_dict, unflatten_dict

from ganimation_jax.files.assets import Asset, locate
from ganimation_jax.files.atomic import write_atomically
from ganimation_jax.runs import card_checks
from ganimation_jax.types import Nets

WEIGHTS, CARD = ".safetensors", ".json"  # suffixes


class Pretrained(NamedTuple):
    """A model that was read."""

    card: dict[str, Any]  # at least config, step, weights
    nets: Nets  # float32 NumPy arrays


def read(path: Path) -> Pretrained:
    """A model from its card or its weights, whichever ``path`` names.

    Weights that are not beside the card come from the address in it, once.

    Raises:
      FileNotFoundError: the card or the weights are not there, or cannot be had.
      ValueError: the card is not one, the weights are not those that it speaks of.
    """
    card = _read_card(path.with_suffix(CARD))
    said, beside = card["weights"], path.with_suffix(WEIGHTS)
    asset = Asset(
        name=path.stem.replace("-", "_"),
        file=f"{said['sha256']}{WEIGHTS}",  # in the cache, where names of models may collide
        sha256=said["sha256"],
        get=f"put {beside.name} beside {path.with_suffix(CARD)}",
        url=said.get("url", ""),
    )
    weights = locate(asset, beside if beside.is_file() or not asset.url else None)
    networks: dict[str, dict[str, np.ndarray]] = {}
    try:
        with safetensors.safe_open(weights, framework="numpy") as file:
            for key in file.offset_keys():
                network, _, name = key.partition("/")
                array = file.get_tensor(key).astype(np.float32)
                networks.setdefault(network, {})[name] = array
    except safetensors.SafetensorError as error:
        raise ValueError(f"{weights} is damaged: {error}") from error
    nets = {name: unflatten_dict(flat, sep="/") for name, flat in networks.items()}
    card_checks.check_finite(nets, str(weights))
    return Pretrained(card, nets)


def write(path: Path, nets: Nets, card: dict[str, Any]) -> None:
    """Write a model, rounded to bfloat16; the reverse of ``read``.

    Args:
      path: of the weights, ``NAME.safetensors``; the card goes beside it.
      nets: the networks as they are used: averaged where there is an average.
      card: config, step and whatever else is to be known; ``weights`` is added.

    Raises:
      ValueError: ``path`` has another suffix; a weight is not finite.
      OSError: it cannot be written.
    """
    if path.suffix != WEIGHTS:
        raise ValueError(f"{path}: weights are written as NAME{WEIGHTS}")
    card_checks.check_finite(nets, str(path))
    arrays = {
        f"{network}/{name}": np.asarray(array).astype(ml_dtypes.bfloat16)
        for network, params in nets.items()
        for name, array in flatten_dict(params, sep="/").items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    content = safetensors.numpy.save(arrays)
    card = {**card, "weights": {"sha256": hashlib.sha256(content).hexdigest(), "url": ""}}
    write_atomically(path, content)
    write_atomically(path.with_suffix(CARD), f"{json.dumps(card, indent=1)}\n".encode())


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it holds something else.
    """
    try:
        value = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds no JSON object")
    return value


def _read_card(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: it says what the weights beside it are")
    card = read_object(path)
    card_checks.check_card(card, path)
    return card
