"""Several steps or updates, one after the other."""

import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ganimation_jax.types import Array, Metrics, State


def repeat(step: Callable[..., Any], *, unroll: bool = False) -> Callable[..., Any]:
    """``step`` as many times as there are batches, in one call of the device.

    Args:
      step: what to repeat; its batches get one more leading axis, the steps.
      unroll: state them one after the other, because XLA's CPU convolutions run half as fast in
        a loop.

    Returns:
      ``step`` for several steps, with the metrics averaged over them. Arguments after the run
      key are the same in all.
    """

    def steps(state: State, batches: Any, run_key: Array, *args: Any) -> tuple[State, Metrics]:
        def one(state: State, batch: Any) -> tuple[State, Metrics]:
            return step(state, batch, run_key, *args)

        state, metrics = scan(one, state, batches, unroll)
        return state, jax.tree.map(jnp.mean, metrics)

    return steps


def scan(body: Callable[..., Any], carry: Any, inputs: Any, unroll: bool) -> tuple[Any, Any]:
    """``jax.lax.scan``; unrolled, or of one step, surely no loop (scan keeps one of length 1)."""
    length = jax.tree.leaves(inputs)[0].shape[0]
    if not unroll and length > 1:
        return jax.lax.scan(body, carry, inputs)
    results = []
    for i in range(length):
        carry, result = body(carry, jax.tree.map(operator.itemgetter(i), inputs))
        results.append(result)
    return carry, jax.tree.map(lambda *leaves: jnp.stack(leaves), *results)
