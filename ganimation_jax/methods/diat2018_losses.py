"""The losses of DIAT 2018 (arXiv 1610.05586, v4), in which a mask chooses what is edited."""

import functools
import operator
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Float

from ganimation_jax.features.perceptual import MapsFn, content_error
from ganimation_jax.methods.diat_losses import (
    LEVELS,
    apply,
    critic_looks,
    face_looks,
    guide,
    squared_distance,
)
from ganimation_jax.models.diat import edited_share
from ganimation_jax.steps import losses
from ganimation_jax.steps.updates import Aux, FakesFn, Given, LossFn
from ganimation_jax.types import Array, Batch, Edit, Images, Metrics, Nets, Params, PerExample

Share = Float[Array, "b h w 1"]


class Networks(NamedTuple):
    """The networks that learn; the reconstruction network has the transform's shape."""

    transform: nn.Module  # image -> image
    mask: nn.Module  # image -> soft mask
    critic: nn.Module  # image -> score, maps
    denoiser: nn.Module  # image -> image


class Weights(NamedTuple):
    """Weights of the terms; none is published."""

    adversarial: float = 1.0
    perceptual: float = 1.0  # on the critic's own maps
    identity: float = 1.0  # on the face network's
    smooth: float = 0.0  # perceptual regularisation by the denoiser
    ratio: float = 1.0  # attribute ratio
    penalty: float = 10.0
    expected_ratio: float = 0.2  # share of the image that the attribute takes
    levels: tuple[float, ...] = (1.0, 1.0)  # of the maps, for both perceptual terms


class Objectives(NamedTuple):
    """The losses of the last phase, and the edits that the critic is trained against."""

    fakes: FakesFn
    critic: LossFn
    transform: LossFn


def uniform_shares(key: Array, size: int) -> PerExample:
    """How much of the guide image each interpolate of the penalty holds: U(0, 1)."""
    return jax.random.uniform(key, (size,))


def combine(
    image: Images, transformed: Images, soft: Float[Array, "b h//4 w//4 1"]
) -> tuple[Images, Share]:
    """The edit, and the share of it in every pixel.

    Args:
      image: x.
      transformed: F(x).
      soft: the mask before it is binarised, in [0, 1].

    Returns:
      m F(x) + (1 - m) x, and m.
    """
    share = edited_share(soft)
    return share * transformed + (1 - share) * image, share


def edit(networks: Networks, nets: Nets, image: Images) -> Edit:
    """What becomes of a face. Its attention is the share that is kept, 1 - m."""
    transformed = apply(networks.transform, nets["transform"], image)
    made, share = combine(image, transformed, apply(networks.mask, nets["mask"], image))
    return Edit(made, 1 - share, transformed)


def ratio_error(share: Share, expected: float) -> PerExample:
    """Attribute ratio: squared difference of the mean share from the expected one."""
    return jnp.square(share.mean(axis=(1, 2, 3)) - expected)


def objectives(
    networks: Networks,
    weights: Weights,
    face: MapsFn,
    *,
    draw_shares: Callable[[Array, int], Array] = uniform_shares,
) -> Objectives:
    """The losses.

    Args:
      networks: those that learn.
      weights: of the terms.
      face: maps of the frozen "identity" network.
      draw_shares: key, batch size -> the penalty's mixing shares, of the guide image.
    """
    by_critic = critic_looks(networks.critic, LEVELS)
    by_face = face_looks(face)

    def score(params: Params, image: Images) -> PerExample:
        return apply(networks.critic, params, image)[0]

    def fakes(nets: Nets, batch: Batch, key: Array) -> Images:
        del key
        return edit(networks, nets, batch.image).image

    def critic_loss(moving: Nets, given: Given) -> tuple[Array, Aux]:
        real, edited, critic = guide(given), given.fakes, moving["critic"]
        mixed = losses.interpolate(real, edited, draw_shares(given.key, len(edited)))
        penalty, norm = losses.gradient_penalty(score, critic, mixed)
        terms = {
            "critic/real": -score(critic, real).mean(),
            "critic/edited": score(critic, edited).mean(),
            "critic/penalty": weights.penalty * penalty.mean(),
        }
        return _total(terms), Aux(terms | {"critic/gradient_norm": norm.mean()})

    def transform_loss(moving: Nets, given: Given) -> tuple[Array, Aux]:
        image = given.batch.image
        made, kept, _ = edit(networks, moving, image)[:3]
        share = 1 - jnp.asarray(kept)
        critic_maps = by_critic(given, made), by_critic(given, image)
        scores = score(given.nets["critic"], made)
        terms = {
            "transform/adversarial": -weights.adversarial * scores.mean(),
            "transform/perceptual": weights.perceptual
            * content_error(*critic_maps, weights.levels).mean(),
            "transform/ratio": weights.ratio * ratio_error(share, weights.expected_ratio).mean(),
        }
        if weights.identity:
            seen = by_face(given, made), by_face(given, image)
            apart = content_error(*seen, weights.levels).mean()
            terms["transform/identity"] = weights.identity * apart
        if weights.smooth:
            denoised = apply(networks.denoiser, given.nets["denoiser"], made)
            terms["transform/smooth"] = weights.smooth * squared_distance(denoised, made).mean()
        return _total(terms), Aux(terms | {"transform/edited_share": share.mean()})

    return Objectives(fakes, critic_loss, transform_loss)


def _total(terms: Metrics) -> Array:
    return functools.reduce(operator.add, terms.values())
