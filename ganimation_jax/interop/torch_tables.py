"""PyTorch weights of methods that state the names of their arrays themselves.

``methods.published`` finds a method's table. Nothing here knows which method it is.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict

from ganimation_jax import methods
from ganimation_jax.conditions import parse
from ganimation_jax.interop.torch_names import from_torch, to_torch
from ganimation_jax.runs.load import Run
from ganimation_jax.steps.updates import fresh_state
from ganimation_jax.types import Batch, Model, Nets, Params, State

StateDict = Mapping[str, np.ndarray]
PUBLISHED_SIZE = 128
# Instance norms of the published codes may store these, and never use them.
UNUSED = ("running_mean", "running_var", "num_batches_tracked")


def import_published(
    method: str,
    states: Mapping[str, StateDict],
    image_size: int | None = None,
    conditions: tuple[str, ...] | None = None,
) -> tuple[dict[str, Any], State]:
    """A training state at step 0 from PyTorch state dicts, and the config of its networks.

    Args:
      method: its name.
      states: state dict of each network, by the network's name; networks without one are new.
      image_size: that the run is for; a critic's own where it has one, else 128.
      conditions: as configs spell them (``Smiling``, ``emotion=happy``), in the networks' order;
        None: those of the published model with as many.

    Raises:
      ValueError: a network has another name or other arrays, or the arguments disagree.
    """
    module, table = methods.load(method), table_of(method)
    if unknown := sorted(set(states) - set(table.NETWORKS)):
        raise ValueError(
            f"{method} has no network {', '.join(unknown)}; it has {', '.join(table.NETWORKS)}"
        )
    if table.NETWORKS[0] not in states:
        raise ValueError(f"{method} cannot be imported without its {table.NETWORKS[0]}")
    states = {net: _plain(state) for net, state in states.items()}
    fields = table.config(states)
    own = fields.setdefault("image_size", image_size or PUBLISHED_SIZE)
    if image_size not in (None, own):
        raise ValueError(f"the critic is for {own}x{own} images, not {image_size}")
    fields["conditions"] = _conditions(fields["conditions"], conditions)
    config = {"method": method, **fields}
    cfg = ConfigDict(config)
    model: Model = module.model(cfg)
    nets = _nets(model, states, table)
    # Shapes of the optimisers' states depend on no field; rates are only read in training.
    optimizers = module.build_optimizers(ConfigDict({"adam": (0.5, 0.999)}))
    return config, fresh_state(model, optimizers, nets)


def state_dicts(run: Run, nets: Nets) -> dict[str, StateDict]:
    """Networks of a run under PyTorch's names and in its layouts, float32.

    The inverse of ``import_published``.

    Args:
      run: the model.
      nets: the networks to write, as trained last or averaged.

    Raises:
      ValueError: the method has no published weights, or no such network.
    """
    table = table_of(run.config["method"])
    dicts: dict[str, StateDict] = {}
    for net in table.NETWORKS:
        if net in nets:
            flat = flatten_dict(nets[net], sep="/")
            names = table.names(net, nets[net])
            dicts[net] = {names[path]: to_torch(path, np.asarray(flat[path])) for path in names}
    return dicts


def files_of(run: Run, first: Path, others: Mapping[str, Path]) -> dict[str, Path]:
    """Which network each file gets: the first one ``first``.

    Raises:
      ValueError: a network is not one of the method's.
    """
    networks = table_of(run.config["method"]).NETWORKS
    if unknown := sorted(set(others) - set(networks[1:])):
        raise ValueError(
            f"no further network is named {', '.join(unknown)}; {run.config['method']} has "
            f"{', '.join(networks[1:])}"
        )
    return {networks[0]: first, **others}


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


def table_of(method: str) -> Any:
    """The names of a method's published weights.

    Raises:
      ValueError: there are none.
    """
    if (table := methods.published(method)) is None:
        raise ValueError(f"there are no published PyTorch weights of {method}")
    return table


def _conditions(found: tuple[str, ...] | int, asked: tuple[str, ...] | None) -> tuple[str, ...]:
    count = found if isinstance(found, int) else len(found)
    if asked is None:
        if isinstance(found, int):
            raise ValueError(
                f"name the conditions of these networks with --conditions (probably {count}, such "
                "as Smiling,Young or emotion=happy)"
            )
        return tuple(found)
    if len(asked) > count or (not isinstance(found, int) and len(asked) != count):
        raise ValueError(f"{len(asked)} conditions are named, but the networks have {count}")
    return tuple(str(one) for one in parse(asked))


def _nets(model: Model, states: Mapping[str, StateDict], table: Any) -> Nets:
    side, count = model.image_size, len(model.conditions)
    image, values = jnp.zeros((1, side, side, 3)), jnp.zeros((1, count))
    batch = Batch(image, values, values, image)
    shapes = jax.eval_shape(model.init, jax.random.key(0), batch)
    # XLA compiles the initial draws several times faster with its own generator.
    fresh = (
        {}
        if set(states) == set(shapes)
        else jax.jit(model.init)(jax.random.key(0, impl="rbg"), batch)
    )
    return {
        net: _params(net, states[net], table.names(net, shapes[net]), shapes[net])
        if net in states
        else fresh[net]
        for net in shapes
    }


def _params(net: str, state: StateDict, names: Mapping[str, str], shapes: Params) -> Params:
    missing = sorted(set(names.values()) - set(state))
    left_over = sorted(set(state) - set(names.values()))
    if missing or left_over:
        raise ValueError(f"{net} does not match: missing {missing}, left over {left_over}")
    found, wanted = {}, flatten_dict(shapes, sep="/")
    for path, name in names.items():
        array = np.asarray(state[name])
        found[path] = from_torch(path, array)
        if found[path].shape != wanted[path].shape:
            raise ValueError(
                f"{net}: {name} has shape {array.shape}, which would make {path} "
                f"{found[path].shape}, not {wanted[path].shape}"
            )
    return unflatten_dict(found, sep="/")


def _plain(state: StateDict) -> StateDict:
    plain = {name.removeprefix("module."): np.asarray(array) for name, array in state.items()}
    return {name: array for name, array in plain.items() if not name.endswith(UNUSED)}
