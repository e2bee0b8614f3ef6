"""Adam, RMSProp, learning-rate schedules and gradient clipping."""

from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from ganimation_jax import backend

Epochs = jax.Array | float


def _linear(epoch: Epochs, epochs: float, decay_epochs: float) -> jax.Array:
    return jnp.clip((epochs - epoch) / max(decay_epochs, 1e-9), 0, 1)


def _before_epoch(number: Epochs, epochs: float, decay_epochs: float) -> jax.Array:
    return 1 - jnp.clip((number - (epochs - decay_epochs)) / (decay_epochs + 1), 0, 1)


# Each maps (epochs trained, total epochs, epochs of decay) to a factor of the learning rate.
DECAYS: dict[str, Callable[[jax.Array, float, float], jax.Array]] = {
    "smooth": _linear,
    "constant": lambda epoch, *spans: jnp.ones_like(epoch),
    # official code: lowered after each epoch, never 0
    "by_epoch": lambda epoch, *spans: _linear(jnp.floor(epoch), *spans),
    # ganimation_replicate: 0 in the last epoch
    "by_next_epoch": lambda epoch, *spans: _linear(jnp.floor(epoch) + 1, *spans),
    # CycleGAN's code since 2020: lowered from one epoch before the last ones, 0 in the last
    "cyclegan": lambda epoch, *spans: _before_epoch(jnp.floor(epoch) + 2, *spans),
    # CycleGAN's code before 2020: never 0
    "cyclegan_2017": lambda epoch, *spans: _before_epoch(jnp.floor(epoch) + 1, *spans),
    # Loshchilov and Hutter 2017, eq. 5, without restarts
    "cosine": lambda epoch, *spans: (1 - jnp.cos(jnp.pi * _linear(epoch, *spans))) / 2,
}


def decay_factor(
    epoch: Epochs, epochs: float, decay_epochs: float, decay: str = "smooth"
) -> jax.Array:
    """Factor of the learning rate: 1, then falling to 0 over the last ``decay_epochs``.

    Args:
      epoch: number of epochs trained so far, including the fraction of the current one.
      epochs: number of epochs of the whole training.
      decay_epochs: number of epochs at the end over which the learning rate decays.
      decay: a name in ``DECAYS``.
    """
    return DECAYS[decay](jnp.asarray(epoch, jnp.float32), epochs, decay_epochs)


def warmup_factor(images: jax.Array | int, warmup_images: int) -> jax.Array:
    """Factor of the learning rate: rises linearly over the first ``warmup_images``, then 1."""
    return jnp.minimum(jnp.asarray(images, jnp.float32) / warmup_images, 1)


def guarded(
    optimizer: optax.GradientTransformation,
) -> optax.GradientTransformationExtraArgs:
    """Wrap ``optimizer`` so that ``update(..., valid=False)`` leaves parameters and state as is.

    The updates are then 0.
    """

    def update(
        grads: optax.Updates,
        state: optax.OptState,
        params: optax.Params | None = None,
        *,
        valid: jax.Array | bool = True,
    ) -> tuple[optax.Updates, optax.OptState]:
        updates, moved = optimizer.update(grads, state, params)
        updates = jax.tree.map(lambda x: jnp.where(valid, x, 0), updates)
        # XLA fuses the selection into the optimiser's own pass over the parameters.
        return updates, choose(valid, moved, state)

    return optax.GradientTransformationExtraArgs(optimizer.init, update)


def adam(
    rate: optax.Schedule, b1: float, b2: float, *, held: bool | None = None
) -> optax.GradientTransformationExtraArgs:
    """``guarded(optax.adam(rate, b1, b2))``, with the order of operations fit to the backend.

    Args:
      rate: schedule from the number of updates to the learning rate.
      b1: decay of the first moment.
      b2: decay of the second moment.
      held: store the new moments before they are used to update the parameters. Otherwise XLA
        reads gradients and old moments three times, which costs a tenth of a critic update on
        a CPU. A GPU does everything in one pass. Default: True on a CPU, else False.
    """
    plain = optax.adam(rate, b1, b2)
    if not (backend.name() == "cpu" if held is None else held):
        return guarded(plain)

    def update(
        grads: optax.Updates,
        state: optax.OptState,
        params: optax.Params | None = None,
        *,
        valid: jax.Array | bool = True,
    ) -> tuple[optax.Updates, optax.OptState]:
        del params
        moments, schedule = cast(tuple[optax.ScaleByAdamState, optax.ScaleByScheduleState], state)
        count = optax.safe_increment(moments.count)
        moved = optax.ScaleByAdamState(
            count,
            optax.tree.update_moment(grads, moments.mu, b1, 1),
            optax.tree.update_moment_per_elem_norm(grads, moments.nu, b2, 2),
        )
        after = optax.ScaleByScheduleState(optax.safe_increment(schedule.count))
        state = jax.lax.optimization_barrier(choose(valid, (moved, after), state))
        scale = -1 * jnp.where(valid, rate(schedule.count), 0)
        updates = jax.tree.map(
            lambda m, v: scale * (m / (jnp.sqrt(v) + 1e-8)),
            optax.tree.bias_correction(state[0].mu, b1, count),
            optax.tree.bias_correction(state[0].nu, b2, count),
        )
        return updates, state

    return optax.GradientTransformationExtraArgs(plain.init, update)


def early_adam(
    rate: optax.Schedule, b1: float, b2: float, eps: float = 1e-8
) -> optax.GradientTransformationExtraArgs:
    """Adam as Torch 7 and TensorFlow compute it: ``eps`` is added before the bias correction.

    The update is rate sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps). PyTorch and optax correct
    the root first, so that early in training their ``eps`` weighs less. The difference shows where
    gradients are below 1e-7. The state is that of ``adam``.

    Args:
      rate: schedule from the number of updates to the learning rate.
      b1: decay of the first moment.
      b2: decay of the second moment.
      eps: added to the root of the uncorrected second moment.
    """
    plain = optax.adam(rate, b1, b2)

    def update(
        grads: optax.Updates, state: optax.OptState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.OptState]:
        del params
        moments, schedule = cast(tuple[optax.ScaleByAdamState, optax.ScaleByScheduleState], state)
        count = optax.safe_increment(moments.count)
        first = optax.tree.update_moment(grads, moments.mu, b1, 1)
        second = optax.tree.update_moment_per_elem_norm(grads, moments.nu, b2, 2)
        scale = -rate(schedule.count) * jnp.sqrt(1 - b2**count) / (1 - b1**count)
        updates = jax.tree.map(lambda m, v: scale * m / (jnp.sqrt(v) + eps), first, second)
        after = optax.ScaleByScheduleState(optax.safe_increment(schedule.count))
        return updates, (optax.ScaleByAdamState(count, first, second), after)

    return guarded(optax.GradientTransformation(plain.init, update))


def rmsprop(
    rate: optax.Schedule, decay: float = 0.99, eps: float = 1e-8
) -> optax.GradientTransformationExtraArgs:
    """RMSProp with PyTorch's defaults: ``eps`` is added to the root, not under it.

    Args:
      rate: schedule from the number of updates to the learning rate.
      decay: decay of the mean of squared gradients, which starts at 0.
      eps: added to its root.
    """
    return guarded(optax.rmsprop(rate, decay, eps, eps_in_sqrt=False))


# Each maps (schedule, the pair ``cfg.adam``) to an optimiser.
OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformationExtraArgs]] = {
    "adam": adam,
    "rmsprop": lambda rate, *decays: rmsprop(rate),
}


def choose(valid: jax.Array | bool, new: Any, old: Any) -> Any:
    """The tree ``new`` if ``valid``, else ``old``."""
    return jax.tree.map(lambda new, old: jnp.where(valid, new, old), new, old)


def clipped(
    optimizer: optax.GradientTransformationExtraArgs, max_norm: float
) -> optax.GradientTransformationExtraArgs:
    """Wrap ``optimizer`` to clip the global norm of the gradients to ``max_norm``.

    The state is that of ``optimizer``. ``optax.chain`` would add a level to the tree, and then
    runs with and without clipping could not load each other's checkpoints.
    """
    clip = optax.clip_by_global_norm(max_norm)

    def update(
        grads: optax.Updates,
        state: optax.OptState,
        params: optax.Params | None = None,
        **extra: Any,
    ) -> tuple[optax.Updates, optax.OptState]:
        grads, _ = clip.update(grads, optax.EmptyState())
        return optimizer.update(grads, state, params, **extra)

    return optax.GradientTransformationExtraArgs(optimizer.init, update)


def build(
    cfg: ConfigDict,
    epoch: int,
    lr: float,
    *,
    updates_per_step: int = 1,
    steps_after: Callable[[jax.Array], jax.Array] | None = None,
    factor: Callable[[jax.Array], jax.Array] | None = None,
) -> optax.GradientTransformationExtraArgs:
    """The optimiser of ``cfg``, with its schedule and gradient clipping.

    The structure of its state depends on ``cfg.optimizer`` alone.

    Args:
      cfg: config of the run. If it has no schedule (imported weights), only the moments are
        used.
      epoch: number of images in an epoch.
      lr: learning rate before warm-up and decay.
      updates_per_step: number of updates of this optimiser per training step.
      steps_after: number of updates -> number of training steps, for an optimiser that does not
        update in every step.
      factor: number of updates so far -> a further factor of the learning rate.

    Raises:
      ValueError: the learning rate, the warm-up or the clipping norm is negative; or there is no
        such optimiser.
    """
    name = cfg.get("optimizer", "adam")  # configs of older runs have no such field
    if name not in OPTIMIZERS:
        raise ValueError(f"optimizer {name!r} is not one of {', '.join(OPTIMIZERS)}")
    warmup, max_norm = cfg.get("warmup_images", 0), cfg.get("clip_norm", 0.0)
    if lr < 0:
        raise ValueError(f"lr is {lr}; it must not be negative")
    if warmup < 0:
        raise ValueError(f"warmup_images is {warmup}; it must not be negative")
    if max_norm < 0:
        raise ValueError(f"clip_norm is {max_norm}; it must not be negative, and 0 is none")

    def rate(count: jax.Array) -> jax.Array:
        images_per_step = cfg.n_critic * cfg.batch_size
        steps = steps_after(count) if steps_after else count // updates_per_step
        images = steps * images_per_step
        share = decay_factor(images / epoch, cfg.epochs, cfg.decay_epochs, cfg.decay)
        if warmup:  # counted at the end of the step, so that the first factor is not 0
            share *= warmup_factor(images + images_per_step, warmup)
        if factor:
            share *= factor(count)
        return lr * share

    optimizer = OPTIMIZERS[name](rate, *cfg.adam)
    return clipped(optimizer, max_norm) if max_norm else optimizer
