"""Training steps, composed of optimiser updates.

A method states its losses; these functions turn them into a step ``state, batches, run key,
frozen -> state, metrics``. They know no network and no loss.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import optax

from ganimation_jax.steps.gathering import whole
from ganimation_jax.steps.loops import scan
from ganimation_jax.steps.optimizers import choose
from ganimation_jax.types import (
    Array,
    Batch,
    Metrics,
    Model,
    Nets,
    Optimizer,
    Params,
    State,
    StepFn,
    to_float,
)


class Given(NamedTuple):
    """What a loss is given besides the networks that it trains."""

    nets: Nets  # the other networks; no gradient flows to them
    batch: Batch  # float images in [-1, 1]
    fakes: Any  # what ``fakes`` made of the batch
    key: Array
    frozen: Params  # of ``Training.load_frozen``
    memory: Any  # ``State.memory``


class Aux(NamedTuple):
    """What a loss returns beside its value."""

    metrics: Metrics
    memory: Any = None  # the new ``State.memory``; None: unchanged
    nets: Nets | None = None  # new values of networks that no optimiser trains


@runtime_checkable
class LossFn(Protocol):
    """A loss to differentiate with respect to ``moving``."""

    def __call__(self, moving: Nets, given: Given) -> tuple[Array, Aux]:
        """The float32 scalar, averaged over the batch, and what else is known."""
        ...


class Update(NamedTuple):
    """One optimiser update on one loss."""

    optimizer: str  # its name among the optimisers; it says which networks move
    loss: LossFn


@runtime_checkable
class FakesFn(Protocol):
    """What the generators make of a batch for the critics; a pytree of ``b ...`` arrays."""

    def __call__(self, nets: Nets, batch: Batch, key: Array) -> Any:
        """Float images in, float images out."""
        ...


@runtime_checkable
class RecallFn(Protocol):
    """Replace fakes by older ones (an image pool)."""

    def __call__(self, memory: Any, fakes: Any, key: Array) -> tuple[Any, Any]:
        """Returns the new memory and the fakes that the critics see."""
        ...


def make_init(
    model: Model,
    optimizers: Mapping[str, Optimizer],
    init_memory: Callable[[Nets], Any] = lambda nets: (),
) -> Callable[[Array], State]:
    """``key -> state`` with fresh parameters. Run it under ``jit`` or ``eval_shape``."""

    def init(key: Array) -> State:
        image = jnp.zeros((1, model.image_size, model.image_size, 3))
        conditions = jnp.zeros((1, len(model.conditions)))
        nets = model.init(key, Batch(image, conditions, conditions, image))
        return fresh_state(model, optimizers, nets, init_memory(nets))

    return init


def fresh_state(
    model: Model, optimizers: Mapping[str, Optimizer], nets: Nets, memory: Any = ()
) -> State:
    """The state of a training that begins with these parameters."""
    return State(
        step=jnp.zeros((), jnp.int32),
        nets=nets,
        opt={
            name: optimizer.transform.init(_pick(nets, optimizer.trains))
            for name, optimizer in optimizers.items()
        },
        ema=jax.tree.map(jnp.copy, _pick(nets, model.averaged)),  # a copy: the state is donated
        memory=memory,
    )


def alternating(
    optimizers: Mapping[str, Optimizer],
    *,
    fakes: FakesFn,
    critic: Sequence[Update],
    generator: Sequence[Update],
    order: Literal["critic_first", "at_once"] = "critic_first",
    recall: RecallFn | None = None,
    due: Callable[[Array], Array | bool] = lambda step: True,
    ema_decay: float = 0.999,
    unroll: bool = False,
) -> StepFn:
    """A step of adversarial training: critic updates on each batch, then the generators'.

    Args:
      optimizers: by name.
      fakes: what the critics are trained against. The generators do not move during the
        critics' updates, so the fakes of all batches are made in one pass.
      critic: updates on each batch, in this order.
      generator: updates on the last batch, in this order.
      order: "critic_first": the generators meet the updated critics (GANimation, StarGAN);
        "at_once": both meet the other as it was before the step (CycleGAN).
      recall: an image pool; ``State.memory`` is what it remembers.
      due: number of the step -> whether the generators are updated in it. In the other steps their
        losses are computed and nothing of theirs changes.
      ema_decay: of the moving averages, per step. Early on the average runs over the steps so
        far: decay = min(ema_decay, (1 + step) / (10 + step)).
      unroll: state the critic updates one after the other instead of as a ``scan``, because
        XLA's CPU convolutions run half as fast inside a loop; elsewhere a scan compiles faster.

    Returns:
      the step. Metrics of the critics are averaged over the batches.
    """

    def step(
        state: State, batches: Batch, run_key: Array, frozen: Params = ()
    ) -> tuple[State, Metrics]:
        count = batches.have.shape[0]
        critic_key, generator_key = jax.random.split(jax.random.fold_in(run_key, state.step))
        critic_keys = jax.random.split(critic_key, count)
        batches = _as_float(batches)
        made = _split(fakes(whole(state.nets), _merge(batches), critic_key), count)
        moving, opts, others = _part(state, optimizers, critic)

        def body(carry: Any, inputs: tuple[Batch, Any, Array]) -> tuple[Any, Metrics]:
            moving, opts, memory = carry
            batch, fakes, key = inputs
            if recall is not None:
                memory, fakes = recall(memory, fakes, key)
            given = Given(others, batch, fakes, key, frozen, memory)
            moving, opts, memory, metrics = run_updates(optimizers, critic, moving, opts, given)
            return (moving, opts, memory), metrics

        carry, critic_metrics = scan(
            body, (moving, opts, state.memory), (batches, made, critic_keys), unroll
        )
        critic_nets, critic_opts, memory = carry
        # What no optimiser trains is passed on in either order.
        moved = untrained(state.nets, optimizers) if order == "at_once" else critic_nets
        met = _pick(critic_nets, tuple(moved))
        last, last_made = jax.tree.map(lambda x: x[-1], (batches, made))
        moving, opts, others = _part(replace(state, nets=state.nets | met), optimizers, generator)
        given = Given(others, last, last_made, generator_key, frozen, memory)
        moving, opts, memory, metrics = run_updates(
            optimizers, generator, moving, opts, given, due=due(state.step)
        )
        state = replace(
            state,
            nets=state.nets | critic_nets | moving,
            opt=state.opt | critic_opts | opts,
            memory=memory,
        )
        return advance(state, ema_decay), jax.tree.map(jnp.mean, critic_metrics) | metrics

    return step


def supervised(
    optimizers: Mapping[str, Optimizer],
    updates: Sequence[Update],
    *,
    ema_decay: float = 0.999,
    unroll: bool = False,
) -> StepFn:
    """A step of ordinary training: the updates, in order, on each batch.

    Args:
      optimizers: by name.
      updates: their losses are given no fakes.
      ema_decay, unroll: as for ``alternating``.
    """

    def step(
        state: State, batches: Batch, run_key: Array, frozen: Params = ()
    ) -> tuple[State, Metrics]:
        keys = jax.random.split(jax.random.fold_in(run_key, state.step), batches.have.shape[0])
        moving, opts, others = _part(state, optimizers, updates)

        def body(carry: Any, inputs: tuple[Batch, Array]) -> tuple[Any, Metrics]:
            moving, opts, memory = carry
            batch, key = inputs
            given = Given(others, batch, (), key, frozen, memory)
            moving, opts, memory, metrics = run_updates(optimizers, updates, moving, opts, given)
            return (moving, opts, memory), metrics

        (moving, opts, memory), metrics = scan(
            body, (moving, opts, state.memory), (_as_float(batches), keys), unroll
        )
        state = replace(state, nets=state.nets | moving, opt=state.opt | opts, memory=memory)
        return advance(state, ema_decay), jax.tree.map(jnp.mean, metrics)

    return step


def run_updates(
    optimizers: Mapping[str, Optimizer],
    updates: Sequence[Update],
    moving: Nets,
    opts: dict[str, optax.OptState],
    given: Given,
    due: Array | bool = True,
) -> tuple[Nets, dict[str, optax.OptState], Any, Metrics]:
    """Optimiser updates on one batch, one after the other.

    Where a loss or gradient is not finite, parameters, optimiser, memory and what the loss says of
    other networks stay as they were: see ``optimizers.guarded``.

    Args:
      optimizers: by name.
      updates: each sees the networks as the one before left them.
      moving: the networks that any of them trains, and those that nothing trains.
      opts: the optimisers' states, by name.
      given: what the losses are given; its ``nets`` are the networks that do not move.
      due: False: everything stays as it was; only the metrics are computed.

    Returns:
      the networks, the optimisers' states, the memory, and the losses' metrics with, for each
      optimiser, ``NAME/loss`` (the sum over its updates), ``NAME/parameter_gradient`` (the
      largest norm) and ``NAME/skipped`` (the share of updates that were skipped).
    """
    memory, metrics = given.memory, Metrics()
    found: dict[str, list[tuple[Array, Array, Array]]] = {}
    for name, loss_fn in updates:
        trained = whole(optimizers[name].before(_pick(moving, optimizers[name].trains)))
        fixed = given.nets | {k: v for k, v in moving.items() if k not in trained}
        inputs = given._replace(nets=whole(fixed), memory=memory)
        (loss, aux), grads = jax.value_and_grad(loss_fn, has_aux=True)(trained, inputs)
        norm = optax.tree.norm(grads)
        finite = jnp.isfinite(loss) & jnp.isfinite(norm)
        valid = finite & due
        changes, opt = optimizers[name].transform.update(grads, opts[name], trained, valid=valid)
        moving = moving | optimizers[name].after(optax.apply_updates(trained, changes))
        if aux.nets is not None:
            moving = moving | choose(valid, aux.nets, _pick(moving, tuple(aux.nets)))
        opts = opts | {name: opt}
        if aux.memory is not None:
            memory = choose(valid, aux.memory, memory)
        metrics |= aux.metrics
        found.setdefault(name, []).append((loss, norm, 1.0 - finite))
    for name, values in found.items():
        loss, norm, skipped = map(jnp.stack, zip(*values, strict=True))
        metrics |= {
            f"{name}/loss": loss.sum(),
            f"{name}/parameter_gradient": norm.max(),
            f"{name}/skipped": skipped.mean(),
        }
    return moving, opts, memory, metrics


def advance(state: State, ema_decay: float = 0.999) -> State:
    """Count a step, and move the averages towards its networks (see ``alternating``)."""
    decay = jnp.minimum(ema_decay, (1 + state.step) / (10 + state.step))
    new = _pick(state.nets, tuple(state.ema))
    ema = optax.incremental_update(new, state.ema, 1 - decay)
    return replace(state, step=state.step + 1, ema=ema)


def _part(
    state: State, optimizers: Mapping[str, Optimizer], updates: Sequence[Update]
) -> tuple[Nets, dict[str, optax.OptState], Nets]:
    """The networks that ``updates`` move, the states of their optimisers, the other networks."""
    names = {update.optimizer for update in updates}
    moved = {net for name in names for net in optimizers[name].trains}
    moved |= untrained(state.nets, optimizers)
    moving = {name: params for name, params in state.nets.items() if name in moved}
    others = {name: params for name, params in state.nets.items() if name not in moved}
    return moving, {name: state.opt[name] for name in sorted(names)}, others


def untrained(nets: Nets, optimizers: Mapping[str, Optimizer]) -> set[str]:
    """Names of the networks that no optimiser trains, such as batch statistics."""
    return nets.keys() - {net for optimizer in optimizers.values() for net in optimizer.trains}


def _pick(nets: Nets, names: Sequence[str]) -> Nets:
    return {name: nets[name] for name in names}


def _as_float(batches: Batch) -> Batch:
    other = None if batches.other is None else to_float(batches.other)
    return batches._replace(image=to_float(batches.image), other=other)


def _merge(tree: Batch) -> Batch:
    # Example-major, so that an axis sharded over devices stays sharded: n b ... -> b*n ...
    return jax.tree.map(lambda x: x.swapaxes(0, 1).reshape(-1, *x.shape[2:]), tree)


def _split(tree: Any, n: int) -> Any:
    # b*n ... -> n b ...
    return jax.tree.map(lambda x: x.reshape(-1, n, *x.shape[1:]).swapaxes(0, 1), tree)
