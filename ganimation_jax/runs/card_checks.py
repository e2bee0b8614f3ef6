"""Whether a model's card and weights are sound, before anything large is made of them."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict
from jax import Array
from ml_collections import ConfigDict

from ganimation_jax import methods
from ganimation_jax.runs.plain import plain_convolutions
from ganimation_jax.types import Batch, Model, Nets

SHA256 = re.compile(r"[0-9a-f]{64}")
LARGEST_IMAGE = 2048  # pixels a side
NEEDED = {"config": dict, "step": int, "weights": dict}
WRONG = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


def check_card(card: Mapping[str, Any], path: Path) -> None:
    """Refuse a card that lacks something, or holds values of another kind.

    Raises:
      ValueError: names the file and the field.
    """
    missing = [name for name in NEEDED if name not in card]
    if missing:
        raise ValueError(f"{path} is no model's card: it lacks {', '.join(missing)}")
    for name, kind in NEEDED.items():
        if not isinstance(card[name], kind) or isinstance(card[name], bool):
            raise ValueError(f"{path}: {name} is {_short(card[name])}, not of type {kind.__name__}")
    weights, config = card["weights"], card["config"]
    if not isinstance(weights.get("sha256"), str) or not SHA256.fullmatch(weights["sha256"]):
        raise ValueError(f"{path} is no model's card: it lacks a SHA-256 of the weights")
    url = weights.get("url", "")
    if not isinstance(url, str) or (url and not url.startswith("https://")):
        raise ValueError(f"{path}: weights.url is {_short(url)}; weights come over https only")
    if card["step"] < 0:
        raise ValueError(f"{path}: step is {card['step']}")
    size, units = config.get("image_size"), config.get("action_units")
    if not isinstance(size, int) or not 4 <= size <= LARGEST_IMAGE:
        raise ValueError(
            f"{path}: config.image_size is {_short(size)}, not a number from 4 to {LARGEST_IMAGE}"
        )
    if units is not None and not (
        isinstance(units, list) and units and all(isinstance(unit, str) for unit in units)
    ):
        raise ValueError(f"{path}: config.action_units is {_short(units)}, not a list of names")


def model_of(config: Mapping[str, Any], nets: Nets, source: str) -> Model:
    """The model that a config describes, if these weights are its weights.

    Raises:
      ValueError: no model follows from the config, or one with other weights.
    """
    fields = methods.load(config["method"]).MODEL_FIELDS
    arrays = [np.shape(array) for array in jax.tree.leaves(nets)]
    # No size of a network is larger than the largest of its arrays, or than their number.
    largest = max([LARGEST_IMAGE, len(arrays), *(size for shape in arrays for size in shape)])
    for name, value in flatten_dict(dict(config), sep=".").items():
        number = isinstance(value, int | float)
        if name.startswith(fields) and number and not abs(value) <= largest:
            raise ValueError(f"{source}: config.{name} is {_short(value)}: no network is so large")
    try:
        model: Model = methods.load(config["method"]).model(ConfigDict(config))
        wanted = _wanted(model)
    except WRONG as error:
        first = str(error).splitlines()[:1]
        raise ValueError(
            f"{source}: its config makes no model ({type(error).__name__}: {' '.join(first)})"
        ) from error
    for network in {*model.edits_with, *model.averaged}:
        if network not in nets:
            raise ValueError(f"{source} lacks the weights of {network}")
    for network, params in nets.items():
        expected, found = _shapes(wanted.get(network, {})), _shapes(params)
        if expected != found:
            names = sorted(expected.items() ^ found.items())
            raise ValueError(
                f"{source}: its weights are not those of its config: {network}/{names[0][0]} and "
                f"{len({name for name, _ in names}) - 1} more"
            )
    return model


def check_finite(nets: Nets, source: str) -> None:
    """Refuse weights that are NaN or infinite.

    Raises:
      ValueError: names one.
    """
    for name, array in flatten_dict(dict(nets), sep="/").items():
        values = np.asarray(array)
        if values.dtype.kind == "f" and not math.isfinite(float(np.sum(values, dtype=np.float64))):
            count = int(np.count_nonzero(~np.isfinite(values)))
            if count:
                raise ValueError(f"{source}: {count} weights of {name} are not finite")


def _wanted(model: Model) -> Nets:
    """Shapes of the model's networks. Nothing is computed or compiled: commands wait for this."""
    image = jax.ShapeDtypeStruct((1, model.image_size, model.image_size, 3), np.float32)
    conditions = jax.ShapeDtypeStruct((1, len(model.conditions)), np.float32)

    def init(image: Array, conditions: Array) -> Nets:
        return model.init(jax.random.key(0), Batch(image, conditions, conditions, image))

    with plain_convolutions():
        return jax.eval_shape(init, image, conditions)


def _shapes(params: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: np.shape(array) for name, array in flatten_dict(dict(params), sep="/").items()}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"{text[:57]}..."
