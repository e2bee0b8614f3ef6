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
import safetensors.numpy
from flax.traverse_util import flatten_dict, unflatten_dict

from ganimation_jax.files.atomic import write_atomically
from ganimation_jax.runs import cards
from ganimation_jax.runs.cards import CARD, WEIGHTS
from ganimation_jax.types import Nets


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
    found = cards.find(path)
    networks: dict[str, dict[str, np.ndarray]] = {}
    for key, array in cards.arrays(found.weights).items():
        network, _, name = key.partition("/")
        networks.setdefault(network, {})[name] = array
    nets = {name: unflatten_dict(flat, sep="/") for name, flat in networks.items()}
    return Pretrained(found.card, nets)


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
    weights = flatten_dict(dict(nets), sep="/")
    cards.check_finite(weights, str(path))
    arrays = {name: np.asarray(x).astype(ml_dtypes.bfloat16) for name, x in weights.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    content = safetensors.numpy.save(arrays)
    card = {**card, "weights": {"sha256": hashlib.sha256(content).hexdigest(), "url": ""}}
    write_atomically(path, content)
    write_atomically(path.with_suffix(CARD), f"{json.dumps(card, indent=1)}\n".encode())
