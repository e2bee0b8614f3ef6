"""Losses of GANimation (paper, section 4.2): pure functions, one float32 per example.

Callers average over the batch and weight. ``norm`` chooses between the paper's squares
("l2") and the published code's absolute values ("l1").
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array

from ganimation_jax.types import Params

Norm = Literal["l1", "l2"]
MAGNITUDES: dict[str, Callable[[Array], Array]] = {"l1": jnp.abs, "l2": jnp.square}


def au_error(predicted: Array, target: Array) -> Array:
    """Conditional expression loss (eq. 3): mean over AUs of the squared error. b n, b n -> b."""
    return jnp.square(predicted.astype(jnp.float32) - target).mean(axis=-1)


def cycle_error(reconstructed: Array, image: Array) -> Array:
    """Identity loss (eq. 4): mean absolute difference. b h w c, b h w c -> b."""
    return jnp.abs(reconstructed.astype(jnp.float32) - image).mean(axis=(1, 2, 3))


def attention_magnitude(attention: Array, norm: Norm = "l2") -> Array:
    """Attention regulariser (eq. 2, second term), as a mean over pixels. b h w 1 -> b.

    The paper writes an un-normalised norm. Summed over 128x128 pixels at its weight of 0.1
    that term would outweigh all others together; the published code takes a mean too.
    """
    return MAGNITUDES[norm](attention.astype(jnp.float32)).mean(axis=(1, 2, 3))


def total_variation(attention: Array, norm: Norm = "l2") -> Array:
    """Smoothness of the attention (eq. 2, first term), summed over pixels. b h w 1 -> b."""
    attention = attention.astype(jnp.float32)
    down = MAGNITUDES[norm](attention[:, 1:] - attention[:, :-1])
    right = MAGNITUDES[norm](attention[:, :, 1:] - attention[:, :, :-1])
    return down.sum(axis=(1, 2, 3)) + right.sum(axis=(1, 2, 3))


def interpolate(real: Array, edited: Array, share: Array) -> Array:
    """Points between real and edited images; ``share`` (b) is the weight of the real one."""
    share = share.reshape(-1, 1, 1, 1)
    return share * real + (1 - share) * edited


def gradient_penalty(
    score: Callable[[Params, Array], Array], params: Params, mixed: Array
) -> tuple[Array, Array]:
    """Penalty on the norm of the critic's input gradient (Gulrajani et al. 2017, eq. 3).

    Args:
      score: params, images ``b h w c`` -> ``b``; no example may depend on another.
      params: the critic's parameters, to which the penalty is differentiated.
      mixed: images ``b h w c`` between real and edited ones.

    Returns:
      ``(|grad| - 1)^2`` and ``|grad|``, one float32 each per example.

    The value is plain; the gradient to ``params`` is computed forward over reverse. With g
    the input gradient and v its cotangent held fixed, the penalty's parameter gradient is
    that of the directional derivative of the score along v, ``v . g(params)``, which one
    ``jvp`` gives; reversing through ``jax.grad`` instead holds more and is slower (BUILD_NOTES.md).
    """

    def value(params: Params, mixed: Array) -> tuple[Array, Array, Array]:
        grads = jax.grad(lambda x: score(params, x).sum())(mixed).astype(jnp.float32)
        norm = jnp.sqrt(jnp.square(grads).sum(axis=(1, 2, 3)) + 1e-12)
        return jnp.square(norm - 1), norm, grads

    @jax.custom_vjp
    def penalise(params: Params, mixed: Array) -> tuple[Array, Array]:
        return value(params, mixed)[:2]

    def forward(params: Params, mixed: Array) -> tuple[tuple[Array, Array], Any]:
        penalty, norm, grads = value(params, mixed)
        return (penalty, norm), (params, mixed, norm, grads)

    def backward(saved: Any, cotangents: tuple[Array, Array]) -> tuple[Params, Array]:
        params, mixed, norm, grads = saved
        weight, _ = cotangents  # the norm is only reported
        direction = (weight * 2 * (norm - 1) / norm).reshape(-1, 1, 1, 1) * grads
        direction = direction.astype(mixed.dtype)

        def along(params: Params) -> Array:
            # The weight is in the direction, so that the way back through the critic starts
            # from ones, as it did for the value: XLA finds it done and does not repeat it.
            return jax.jvp(lambda x: score(params, x).sum(), (mixed,), (direction,))[1]

        return jax.grad(along)(params), jnp.zeros_like(mixed)

    penalise.defvjp(forward, backward)
    return penalise(params, jax.lax.stop_gradient(mixed))
