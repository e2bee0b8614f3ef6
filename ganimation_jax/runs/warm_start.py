"""``config.init_from``: begin a run with the weights of a trained model."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from ganimation_jax.runs.load import Run
from ganimation_jax.types import GanState, Params

SHOWN = 3  # arrays named in a message


def check_fits(run: Run, shapes: GanState, action_units: Sequence[str], source: str) -> None:
    """Refuse weights that are not of the networks that are to be trained.

    Args:
      run: whose weights they are.
      shapes: of the new run's state.
      action_units: of the new run.
      source: ``init_from``, for messages.

    Raises:
      ValueError: says what differs, and which fields to set.
    """
    if tuple(action_units) != run.action_units:
        raise ValueError(
            f"init_from {source} knows the action units {', '.join(run.action_units)}, not "
            f"{', '.join(action_units)}; set action_units to those"
        )
    pairs = {
        "generator": (shapes.generator.params, run.generator),
        "critic": (shapes.critic.params, run.critic),
    }
    for network, (wanted, given) in pairs.items():
        if wrong := _differences(wanted, given):
            theirs = {"image_size": run.image_size} | {
                f"{network}.{name}": value for name, value in run.config[network].items()
            }
            fields = ", ".join(f"{name}={value}" for name, value in theirs.items())
            raise ValueError(
                f"init_from {source} has another {network}: {wrong}; it was trained with {fields}"
            )


def with_weights(state: GanState, run: Run) -> GanState:
    """A fresh state with a run's networks and moving average; its optimisers start anew."""
    return replace(
        state,
        generator=replace(state.generator, params=run.generator),
        critic=replace(state.critic, params=run.critic),
        ema=run.ema,
    )


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
