"""The training step of any ``Method``: critic updates, one generator update, a moving average.

The engine knows no method: everything about networks and losses is in the ``Method`` that
it is given.
"""

import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from ganimation_jax.types import (
    Batch,
    GanState,
    Method,
    Metrics,
    NetState,
    Optimizers,
    Params,
    to_float,
)

TrainStep = Callable[[GanState, Batch, Array], tuple[GanState, Metrics]]


def make_init(
    method: Method, optimizers: Optimizers, image_size: int, action_units: int
) -> Callable[[Array], GanState]:
    """``key -> state`` with fresh parameters. Run it under ``jit`` or ``eval_shape``."""

    def init(key: Array) -> GanState:
        image = jnp.zeros((1, image_size, image_size, 3))
        params = method.init(key, image, jnp.zeros((1, action_units)))
        generator, critic = params["generator"], params["critic"]
        return GanState(
            step=jnp.zeros((), jnp.int32),
            generator=NetState(generator, optimizers.generator.init(generator)),
            critic=NetState(critic, optimizers.critic.init(critic)),
            ema=jax.tree.map(jnp.copy, generator),  # a copy: the state is donated
        )

    return init


def update(
    optimizer: optax.GradientTransformationExtraArgs,
    net: NetState,
    loss_fn: Callable[..., tuple[Array, Metrics]],
    *args: Any,
) -> tuple[NetState, Array, Metrics]:
    """One optimiser update of ``net`` on ``loss_fn(params, *args) -> loss, metrics``.

    Where loss or gradient is not finite, parameters and optimiser stay as they were: see
    ``optimizers.guarded``.

    Returns:
      the network; the loss; the metrics with ``parameter_gradient``, the norm over all
      parameters, and ``skipped``, 1 where the update was left out, else 0.
    """
    (loss, metrics), grads = jax.value_and_grad(loss_fn, has_aux=True)(net.params, *args)
    norm = optax.tree.norm(grads)
    finite = jnp.isfinite(loss) & jnp.isfinite(norm)
    updates, opt_state = optimizer.update(grads, net.opt_state, net.params, valid=finite)
    net = NetState(optax.apply_updates(net.params, updates), opt_state)
    return net, loss, metrics | {"parameter_gradient": norm, "skipped": 1.0 - finite}


def update_critic(
    method: Method,
    optimizer: optax.GradientTransformationExtraArgs,
    critic: NetState,
    batch: Batch,
    edited: Array,
    key: Array,
) -> tuple[NetState, Metrics]:
    """The critic after one update for each of the method's critic losses on one batch."""
    losses, metrics = [], Metrics()
    for loss_fn in method.critic_losses:
        critic, loss, terms = update(optimizer, critic, loss_fn, batch, edited, key)
        losses.append((loss, terms.pop("parameter_gradient"), terms.pop("skipped")))
        metrics |= terms
    loss, gradient, skipped = map(jnp.stack, zip(*losses, strict=True))
    return critic, metrics | {
        "critic/loss": loss.sum(),
        "critic/parameter_gradient": gradient.max(),
        "critic/skipped": skipped.mean(),
    }


def update_generator(
    method: Method,
    optimizer: optax.GradientTransformationExtraArgs,
    generator: NetState,
    critic_params: Params,
    batch: Batch,
    key: Array,
) -> tuple[NetState, Metrics]:
    """The generator after one update against a fixed critic."""
    generator, loss, metrics = update(
        optimizer, generator, method.generator_loss, critic_params, batch, key
    )
    for name in ("parameter_gradient", "skipped"):
        metrics[f"generator/{name}"] = metrics.pop(name)
    return generator, metrics | {"generator/loss": loss}


def make_train_step(
    method: Method,
    optimizers: Optimizers,
    *,
    ema_decay: float = 0.999,
    unroll: bool = False,
) -> TrainStep:
    """The step that ``train`` compiles.

    Args:
      method: what to train.
      optimizers: of its two networks.
      ema_decay: of the generator's moving average, per step. Early on the average runs over
        the steps there have been: decay = min(ema_decay, (1 + step) / (10 + step)).
      unroll: state the critic updates one after the other instead of as a ``scan``: XLA's
        CPU convolutions run half as fast inside a loop; elsewhere a scan compiles faster.

    Returns:
      ``state, batch, run key -> state, metrics``, where batch leaves are ``n_critic b ...``:
      one critic update on each, then one generator update on the last, as in the published
      code. Metrics of the critic are averaged over its updates.
    """

    def train_step(state: GanState, batch: Batch, run_key: Array) -> tuple[GanState, Metrics]:
        n_critic = batch.have.shape[0]
        critic_key, generator_key = jax.random.split(jax.random.fold_in(run_key, state.step))
        critic_keys = jax.random.split(critic_key, n_critic)
        batch = batch._replace(image=to_float(batch.image))
        # The generator does not move during the critic's updates: edit all batches at once.
        edited = _split(method.translate(state.generator.params, _merge(batch)), n_critic)

        def critic_step(critic: NetState, inputs: tuple[Batch, Array, Array]):
            return update_critic(method, optimizers.critic, critic, *inputs)

        inputs = (batch, edited, critic_keys)
        critic, critic_metrics = _scan(critic_step, state.critic, inputs, unroll)
        last = jax.tree.map(lambda x: x[-1], batch)
        generator, generator_metrics = update_generator(
            method, optimizers.generator, state.generator, critic.params, last, generator_key
        )
        decay = jnp.minimum(ema_decay, (1 + state.step) / (10 + state.step))
        ema = optax.incremental_update(generator.params, state.ema, 1 - decay)
        state = GanState(step=state.step + 1, generator=generator, critic=critic, ema=ema)
        return state, jax.tree.map(jnp.mean, critic_metrics) | generator_metrics

    return train_step


def repeat(train_step: Callable[..., Any], *, unroll: bool = False) -> Callable[..., Any]:
    """``train_step`` as many times as there are batches, in one call of the device.

    Args:
      train_step: what to repeat; its batches get one more leading axis, the steps.
      unroll: as for ``make_train_step``.

    Returns:
      ``train_step`` for several steps, with the metrics averaged over them. Arguments after
      the run key are the same in all.
    """

    def train_steps(
        state: GanState, batches: Any, run_key: Array, *args: Any
    ) -> tuple[GanState, Metrics]:
        def one(state: GanState, batch: Any) -> tuple[GanState, Metrics]:
            return train_step(state, batch, run_key, *args)

        state, metrics = _scan(one, state, batches, unroll)
        return state, jax.tree.map(jnp.mean, metrics)

    return train_steps


def _scan(body: Callable[..., Any], carry: Any, inputs: Any, unroll: bool) -> tuple[Any, Any]:
    """``jax.lax.scan``; unrolled, or of one step, surely no loop (scan keeps one of length 1)."""
    length = jax.tree.leaves(inputs)[0].shape[0]
    if not unroll and length > 1:
        return jax.lax.scan(body, carry, inputs)
    results = []
    for i in range(length):
        carry, result = body(carry, jax.tree.map(operator.itemgetter(i), inputs))
        results.append(result)
    return carry, jax.tree.map(lambda *leaves: jnp.stack(leaves), *results)


def _merge(tree: Batch) -> Batch:
    # Example-major, so that an axis sharded over devices stays sharded: n b ... -> b*n ...
    return jax.tree.map(lambda x: x.swapaxes(0, 1).reshape(-1, *x.shape[2:]), tree)


def _split(x: Array, n: int) -> Array:
    return x.reshape(-1, n, *x.shape[1:]).swapaxes(0, 1)  # b*n ... -> n b ...
