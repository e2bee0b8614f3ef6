"""Whole networks for losses, where their parameters are split over devices.

XLA is free to gather either a split kernel or the activations that it meets. It chooses by sizes
within one layer, and for the critic's deepest layer it gathered the activations of all devices.
Losses are therefore given whole networks: each device gathers parameters once per update, and
activations stay where their examples are.
"""

from collections.abc import Callable
from contextvars import ContextVar

from ganimation_jax.types import Array, Batch, Metrics, Nets, Params, State, StepFn

GatherFn = Callable[[Nets], Nets]

_gather: ContextVar[GatherFn] = ContextVar("gather", default=lambda nets: nets)


def whole(nets: Nets) -> Nets:
    """The networks on every device; the argument itself outside ``make_whole_step``."""
    return _gather.get()(nets)


def make_whole_step(step: StepFn, gather: GatherFn) -> StepFn:
    """``step`` with ``gather`` for ``whole``, such as ``parallel.sharding.gather``."""

    def whole_step(
        state: State, batches: Batch, run_key: Array, frozen: Params = ()
    ) -> tuple[State, Metrics]:
        token = _gather.set(gather)
        try:
            return step(state, batches, run_key, frozen)
        finally:
            _gather.reset(token)

    return whole_step
