"""``config.init_from``: begin a run with the weights of a trained model."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from ganimation_jax.runs.load import Run
from ganimation_jax.types import Params, State

log = logging.getLogger(__name__)
SHOWN = 3  # arrays named in a message


def check_fits(run: Run, shapes: State, names: Sequence[str], source: str) -> None:
    """Refuse weights that are not of the networks that are to be trained.

    A network that is only trained, such as a further critic, may be missing in the run: it begins
    at random, and the log says so.

    Args:
      run: whose weights they are.
      shapes: of the new run's state.
      names: of the new run's conditions.
      source: ``init_from``, for messages.

    Raises:
      ValueError: says what differs, and which fields to set.
    """
    if tuple(names) != run.names:
        raise ValueError(
            f"init_from {source} knows the conditions {', '.join(run.names)}, not "
            f"{', '.join(names)}; set action_units to those"
        )
    for network, wanted in shapes.nets.items():
        used = (*run.model.edits_with, *run.model.reads_with)
        if network not in run.nets and network not in used:
            log.info("init_from %s has no %s: it begins at random", source, network)
            continue
        if wrong := _differences(wanted, run.nets.get(network, {})):
            fields = {"image_size": run.image_size} | {
                f"{network}.{name}": value for name, value in run.config.get(network, {}).items()
            }
            listed = ", ".join(f"{name}={value}" for name, value in fields.items())
            raise ValueError(
                f"init_from {source} has another {network}: {wrong}; it was trained with {listed}"
            )


def with_weights(state: State, run: Run) -> State:
    """A fresh state with a run's networks and moving averages; its optimisers start anew.

    Networks that the run lacks stay as they are: see ``check_fits``.
    """
    nets = {name: run.nets.get(name, fresh) for name, fresh in state.nets.items()}
    return replace(state, nets=nets, ema={name: run.ema[name] for name in state.ema})


def _differences(wanted: Params, given: Params) -> str:
    expected, found = _shapes(wanted), _shapes(given)
    wrong = [
        f"{name} is {found.get(name, 'missing')}, not {expected.get(name, 'there')}"
        for name in sorted(expected.keys() | found.keys())
        if expected.get(name) != found.get(name)
    ]
    more = [f"and {len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else []
    return "; ".join(wrong[:SHOWN] + more)


def _shapes(params: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: np.shape(array) for name, array in flatten_dict(params, sep="/").items()}
