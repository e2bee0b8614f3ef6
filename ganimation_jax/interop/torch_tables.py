"""What import and export of PyTorch weights share: a method's table of names, and its networks.

``methods.published`` finds a method's table. Nothing here knows which method it is.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from ganimation_jax import methods
from ganimation_jax.types import Batch, Model, Nets, Params


def table_of(method: str) -> Any:
    """The names of a method's published weights; ``methods`` says what a table has.

    Raises:
      ValueError: there are none.
    """
    if (table := methods.published(method)) is None:
        raise ValueError(f"there are no published PyTorch weights of {method}")
    return table


def networks_given(critic: Path | None, words: Sequence[str]) -> dict[str, Path]:
    """Files by network, from ``--critic FILE`` and any number of ``--net NETWORK=FILE``.

    Raises:
      ValueError: a word has another form, or a network is named twice.
    """
    files = {"critic": critic} if critic else {}
    for word in words:
        net, equals, file = word.partition("=")
        if not (net and equals and file):
            raise ValueError(f"--net {word!r} is not of the form NETWORK=FILE")
        if net in files:
            raise ValueError(f"the network {net} has two files: {files[net]} and {file}")
        files[net] = Path(file)
    return files


def files_of(method: str, first: Path, others: Mapping[str, Path]) -> dict[str, Path]:
    """The file of each network: the method's first network has ``first``.

    Raises:
      ValueError: a network is not one of the method's, or its weights were not published.
    """
    first_network, *further = table_of(method).NETWORKS
    if unknown := sorted(set(others) - set(further)):
        raise ValueError(
            f"no further network is named {', '.join(unknown)}; {method} has {', '.join(further)}"
        )
    return {first_network: first, **others}


def model_of(config: Mapping[str, Any]) -> Model:
    """The model that a config of imported weights describes."""
    return methods.load(config["method"]).model(ConfigDict({"dtype": "float32"} | dict(config)))


def example(model: Model) -> Batch:
    """One black image and conditions of 0, from which networks know their shapes."""
    side, values = model.image_size, jnp.zeros((1, len(model.conditions)))
    image = jnp.zeros((1, side, side, 3))
    return Batch(image, values, values, image)


def shapes_of(model: Model) -> Nets:
    """The shapes of a model's parameters."""
    return jax.eval_shape(model.init, jax.random.key(0), example(model))


def check_arrays(net: str, params: Params, shapes: Params, names: Mapping[str, str]) -> None:
    """Refuse arrays that are not those of the published network.

    Args:
      net: the network's name, for the message.
      params: its arrays.
      shapes: those it should have.
      names: of the arrays in PyTorch.

    Raises:
      ValueError: lists the arrays that are missing, left over, or of another shape.
    """
    found, wanted = flatten_dict(params, sep="/"), flatten_dict(shapes, sep="/")
    wrong = [
        f"{names.get(path, 'no name')} ({path} is {_shape(found, path)}, not "
        f"{_shape(wanted, path)})"
        for path in dict.fromkeys((*wanted, *found))
        if _shape(found, path) != _shape(wanted, path)
    ]
    if wrong:
        raise ValueError(f"{net} is not the published network: {'; '.join(wrong)}")


def _shape(arrays: Mapping[str, Any], path: str) -> tuple[int, ...] | str:
    return tuple(arrays[path].shape) if path in arrays else "missing"
