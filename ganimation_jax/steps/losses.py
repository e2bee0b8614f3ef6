"""Losses of GANimation (paper, section 4.2): pure functions, one float32 per example.

Callers average over the batch and weight. ``norm`` chooses between the paper's squares
("l2") and the published code's absolute values ("l1").
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from ganimation_jax.types import Array, Conditions, Maps, Params, PerExample

Norm = Literal["l1", "l2"]
CHANGED = 0.12  # mean difference of a block, of 2, from which it counts as wholly changed
MAGNITUDES: dict[str, Callable[[Array], Array]] = {"l1": jnp.abs, "l2": jnp.square}


def au_error(predicted: Conditions, target: Conditions) -> PerExample:
    """Conditional expression loss (eq. 3): mean over AUs of the squared error."""
    return jnp.square(predicted.astype(jnp.float32) - target).mean(axis=-1)


def cycle_error(reconstructed: Maps, image: Maps) -> PerExample:
    """Identity loss (eq. 4): mean absolute difference."""
    return jnp.abs(reconstructed.astype(jnp.float32) - image).mean(axis=(1, 2, 3))


def attention_magnitude(attention: Float[Array, "b h w 1"], norm: Norm = "l2") -> PerExample:
    """Attention regulariser (eq. 2, second term), as a mean over pixels.

    The paper writes an un-normalised norm. Summed over 128x128 pixels at its weight of 0.1
    that term would outweigh all others together; the published code takes a mean too.
    """
    return MAGNITUDES[norm](attention.astype(jnp.float32)).mean(axis=(1, 2, 3))


def total_variation(attention: Float[Array, "b h w 1"], norm: Norm = "l2") -> PerExample:
    """Smoothness of the attention (eq. 2, first term), summed over pixels."""
    attention = attention.astype(jnp.float32)
    down = MAGNITUDES[norm](attention[:, 1:] - attention[:, :-1])
    right = MAGNITUDES[norm](attention[:, :, 1:] - attention[:, :, :-1])
    return down.sum(axis=(1, 2, 3)) + right.sum(axis=(1, 2, 3))


def true_edit_error(
    edited: Maps, truth: Maps, source: Maps | None = None, emphasis: float = 0.0
) -> PerExample:
    """Mean absolute difference from the true edit, averaged over scales.

    Besides the pixels themselves, means over 2x2 and 4x4 blocks are compared, so that a lip a
    pixel off costs less than one that is missing.

    Args:
      edited, truth: sides must be divisible by 4.
      source: the face before the edit; needed for ``emphasis`` only.
      emphasis: errors in the 4x4 blocks that the true edit changes weigh up to
        ``1 + emphasis`` times as much, because most of a face does not change, and copying it
        would otherwise be nearly right.
    """
    difference = edited.astype(jnp.float32) - truth
    weight = jnp.ones_like(difference[:, ::4, ::4, :1])
    if source is not None and emphasis:
        changed = _blocks(jnp.abs(source - truth), 4).mean(axis=-1, keepdims=True)
        weight += emphasis * jnp.clip(changed / CHANGED, 0, 1)
    errors = []
    for side in (1, 2, 4):
        weights = weight.repeat(4 // side, axis=1).repeat(4 // side, axis=2)
        errors.append((weights * jnp.abs(_blocks(difference, side))).mean(axis=(1, 2, 3)))
    return sum(errors[1:], errors[0]) / len(errors)


def _blocks(image: Maps, side: int) -> Float[Array, "b h//{side} w//{side} c"]:
    """Means over blocks of pixels."""
    b, height, width, c = image.shape
    blocks = image.reshape(b, height // side, side, width // side, side, c)
    return blocks.mean(axis=(2, 4))


def motion_variation(motion: Float[Array, "b h w 2"]) -> PerExample:
    """Mean absolute difference between neighbours, in pixels.

    With it a field that moves skin moves all of it together.
    """
    motion = motion.astype(jnp.float32)
    down = jnp.abs(motion[:, 1:] - motion[:, :-1]).mean(axis=(1, 2, 3))
    return down + jnp.abs(motion[:, :, 1:] - motion[:, :, :-1]).mean(axis=(1, 2, 3))


def mean_where(values: PerExample, chosen: Bool[Array, " b"]) -> Float[Array, ""]:
    """Mean over the chosen examples, 0 if there are none."""
    return jnp.where(chosen, values, 0).sum() / jnp.maximum(chosen.sum(), 1)


def interpolate(real: Maps, edited: Maps, share: PerExample) -> Maps:
    """Points between real and edited images; ``share`` is the weight of the real one."""
    share = share.reshape(-1, 1, 1, 1)
    return share * real + (1 - share) * edited


def gradient_penalty(
    score: Callable[[Params, Array], Array], params: Params, mixed: Maps
) -> tuple[PerExample, PerExample]:
    """Penalty on the norm of the critic's input gradient (Gulrajani et al. 2017, eq. 3).

    Args:
      score: params, images ``b h w c`` -> ``b``; no example may depend on another.
      params: the critic's parameters.
      mixed: images between real and edited ones.

    Returns:
      ``(|grad| - 1)^2`` and ``|grad|``, one float32 each per example. Both can be differentiated
      with respect to ``params`` and ``mixed``, so that other penalties can be made of the norm.
    """
    norm = gradient_norm(score, params, mixed)
    return jnp.square(norm - 1), norm


def relativistic(better: PerExample, worse: PerExample) -> PerExample:
    """How far one score is from being above the other (Jolicoeur-Martineau, ICLR 2019).

    The critic is given a real image's score and a fake's, and the generator the same two the
    other way round. R3GAN (Huang et al., NeurIPS 2024, eq. 2) trains with nothing but this and
    ``zero_centred_penalty`` on both.
    """
    return jax.nn.softplus(worse.astype(jnp.float32) - better)


def zero_centred_penalty(
    score: Callable[[Params, Array], Array], params: Params, images: Maps
) -> tuple[PerExample, PerExample]:
    """Half the squared norm of the input gradient: R1 and R2 (Mescheder et al., ICML 2018).

    Args:
      score, params, images: as for ``gradient_penalty``; R1 is given real images, R2 fakes.

    Returns:
      ``|grad|^2 / 2`` and ``|grad|``, one float32 each per example.
    """
    norm = gradient_norm(score, params, images)
    return jnp.square(norm) / 2, norm


def gradient_norm(
    score: Callable[[Params, Array], Array], params: Params, images: Maps
) -> PerExample:
    """Norm of the gradient of ``score`` with respect to each image.

    Its gradient is computed forward over reverse. With g the input gradient and v its
    cotangent, the gradient of the norm is that of the directional derivative of the score
    along v, ``v . g(params)``, which one ``jvp`` gives. Reversing through ``jax.grad`` instead
    holds more in memory and is slower (BUILD_NOTES.md).

    Args:
      score, params: as for ``gradient_penalty``.
      images: at which the gradient is taken.
    """

    def value(params: Params, images: Array) -> tuple[Array, Array]:
        grads = jax.grad(lambda x: score(params, x).sum())(images).astype(jnp.float32)
        return jnp.sqrt(jnp.square(grads).sum(axis=(1, 2, 3)) + 1e-12), grads

    @jax.custom_vjp
    def norm_of(params: Params, images: Array) -> Array:
        return value(params, images)[0]

    def forward(params: Any, images: Any) -> tuple[Array, Any]:
        values = jax.tree.map(
            lambda x: x.value, (params, images), is_leaf=lambda x: hasattr(x, "perturbed")
        )
        norm, grads = value(*values)
        # Usually nobody differentiates with respect to the images: then that is not computed.
        return norm, (*values, norm, grads, () if images.perturbed else None)

    def backward(saved: Any, cotangent: Any) -> tuple[Params, Array]:
        params, images, norm, grads, with_images = saved
        direction = (cotangent / norm).reshape(-1, 1, 1, 1) * grads
        direction = direction.astype(images.dtype)

        def along(params: Params, images: Array) -> Array:
            # The weight is in the direction, so that the way back through the critic starts
            # from ones, as it did for the value: XLA finds it done and does not repeat it.
            return jax.jvp(lambda x: score(params, x).sum(), (images,), (direction,))[1]

        if with_images is None:
            return jax.grad(along)(params, images), jnp.zeros_like(images)
        return jax.grad(along, argnums=(0, 1))(params, images)

    norm_of.defvjp(forward, backward, symbolic_zeros=True)
    return norm_of(params, images)
