"""Check that a config makes a model of the weights beside it, before anything large is made."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict
from jax import Array
from ml_collections import ConfigDict

from ganimation_jax import methods
from ganimation_jax.runs.cards import LARGEST_IMAGE, short
from ganimation_jax.runs.plain import plain_convolutions
from ganimation_jax.types import Batch, Model, Nets

WRONG = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


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
            raise ValueError(f"{source}: config.{name} is {short(value)}: no network is so large")
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
