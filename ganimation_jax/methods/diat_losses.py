"""The losses of DIAT 2016 (Li, Zuo and Zhang, arXiv 1610.05586, v1 and v2).

Pure functions of images, one float32 per example, and what is composed of them. As printed,
squared Frobenius norms are sums over an image: their weights depend on the image size.
"""

import functools
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Float

from ganimation_jax.features.perceptual import MapsFn, content_error
from ganimation_jax.steps.updates import Aux, FakesFn, Given, LossFn
from ganimation_jax.types import Array, Batch, Images, Maps, Metrics, Nets, Params, PerExample

# What an image looks like to a network of the step: the maps that the identity loss compares.
LooksFn = Callable[[Given, Array], tuple[Array, ...]]
LEVELS = (4, 5)  # of the critic, in DIAT-A


class Networks(NamedTuple):
    """The networks that learn; reconstruction and enhancement have the transform's shape."""

    transform: nn.Module  # image -> image
    critic: nn.Module  # image -> logit, maps
    denoiser: nn.Module  # image -> image


class Weights(NamedTuple):
    """Weights of the transform network's terms beside the attribute loss."""

    identity: float = 1.0  # lambda
    smooth: float = 0.0  # gamma; 0: no denoiser is needed
    levels: tuple[float, ...] = (1.0, 1.0)  # of the maps that the identity loss compares


class Enhancement(NamedTuple):
    """How the enhancement network is trained: by a local mask, or by blurred images."""

    mask: Array | None  # h w 1: 1 where the attribute is; None: the global form
    maps: MapsFn | None = None  # of the frozen "enhancement" network; the local form's
    weights: tuple[float, ...] = (1.0, 1.0, 1.0)  # beta, of these maps
    blur: Callable[[Array], Array] = lambda image: image  # the global form's B


class Objectives(NamedTuple):
    """The losses of all phases, and the edits that the critic is trained against."""

    reconstruction: LossFn
    denoiser: LossFn
    fakes: FakesFn
    critic: LossFn
    transform: LossFn
    enhancement: LossFn


def squared_distance(a: Maps, b: Maps) -> PerExample:
    """Squared Frobenius norm of the difference."""
    return jnp.square(a.astype(jnp.float32) - b).sum(axis=(1, 2, 3))


def judged_real(logits: PerExample) -> PerExample:
    """-log D."""
    return jax.nn.softplus(-logits)


def judged_made(logits: PerExample) -> PerExample:
    """-log(1 - D)."""
    return jax.nn.softplus(logits)


def attribute_error(logits: PerExample, saturating: bool) -> PerExample:
    """What the transform network loses by being recognised.

    Args:
      logits: the critic's, of edits.
      saturating: log(1 - D), as in the paper's minimax objective (printed as "1 - log D"); its
        gradient vanishes where the critic is sure. Otherwise -log D (Goodfellow et al. 2014).
    """
    return -judged_made(logits) if saturating else judged_real(logits)


def enhancement_error(
    how: Enhancement, frozen: Params, enhanced: Images, made: Images, image: Images
) -> Metrics:
    """Terms of the local form, averaged over the batch.

    Args:
      how: the mask, maps and weights.
      frozen: parameters of the network that ``how.maps`` reads.
      enhanced: the enhancement of ``made``.
      made: the transform of ``image``.
      image: the faces.
    """
    mask, maps = how.mask, how.maps
    if mask is None or maps is None:
        raise ValueError("the local form of the enhancement needs a mask and feature maps")
    outside = squared_distance((1 - mask) * enhanced, (1 - mask) * image)
    inside = content_error(maps(frozen, mask * enhanced), maps(frozen, mask * made), how.weights)
    return {"enhancement/pixels": outside.mean(), "enhancement/features": inside.mean()}


def face_looks(maps: MapsFn) -> LooksFn:
    """To the frozen face network (DIAT)."""
    return lambda given, image: maps(given.frozen["identity"], image)


def critic_looks(critic: nn.Module, levels: tuple[int, ...] = LEVELS) -> LooksFn:
    """To the critic as it is in this step (DIAT-A); levels count from 1."""

    def looks(given: Given, image: Images) -> tuple[Array, ...]:
        _, maps = apply(critic, given.nets["critic"], image)
        return tuple(maps[level - 1] for level in levels)

    return looks


def apply(network: nn.Module, params: Params, image: Images) -> Any:
    """What a network makes of images."""
    return network.apply({"params": params}, image)


def objectives(
    networks: Networks,
    weights: Weights,
    looks: LooksFn,
    *,
    saturating: bool = False,
    enhancement: Enhancement | None = None,
    enhance: Callable[[Params, Array], Array] | None = None,
) -> Objectives:
    """The losses of all phases.

    Args:
      networks: those that learn.
      weights: of the transform network's terms.
      looks: how the identity loss sees an image.
      saturating: see ``attribute_error``.
      enhancement: how the enhancement network is trained; None: there is none.
      enhance: the enhancement network's parameters, images -> images.
    """
    transform = functools.partial(apply, networks.transform)
    denoise = functools.partial(apply, networks.denoiser)

    def identity_error(given: Given, made: Images, image: Images) -> Float[Array, ""]:
        seen = looks(given, made), looks(given, image)
        return content_error(*seen, weights.levels).mean()

    def reconstruction_loss(moving: Nets, given: Given) -> tuple[Array, Aux]:
        image = given.batch.image
        rebuilt = transform(moving["reconstruction"], image)
        loss = identity_error(given, rebuilt, image)
        pixels = jnp.abs(rebuilt - image).mean()
        return loss, Aux({"reconstruction/identity": loss, "reconstruction/pixels": pixels})

    def denoiser_loss(moving: Nets, given: Given) -> tuple[Array, Aux]:
        image = given.batch.image
        rebuilt = transform(given.nets["reconstruction"], image)
        terms = {
            "denoiser/rebuilt": squared_distance(denoise(moving["denoiser"], rebuilt), image),
            "denoiser/clean": squared_distance(denoise(moving["denoiser"], image), image),
        }
        return _totalled(terms)

    def fakes(nets: Nets, batch: Batch, key: Array) -> Images:
        del key
        return transform(nets["transform"], batch.image)

    def critic_loss(moving: Nets, given: Given) -> tuple[Array, Aux]:
        terms = {
            "critic/real": judged_real(_judge(networks.critic, moving["critic"], guide(given))),
            "critic/edited": judged_made(_judge(networks.critic, moving["critic"], given.fakes)),
        }
        return _totalled(terms)

    def transform_loss(moving: Nets, given: Given) -> tuple[Array, Aux]:
        image = given.batch.image
        made = transform(moving["transform"], image)
        logits = _judge(networks.critic, given.nets["critic"], made)
        terms = {
            "transform/attribute": attribute_error(logits, saturating),
            "transform/identity": weights.identity * identity_error(given, made, image),
        }
        if weights.smooth:
            roughness = squared_distance(denoise(given.nets["denoiser"], made), made)
            terms["transform/smooth"] = weights.smooth * roughness
        return _totalled(terms)

    def enhancement_loss(moving: Nets, given: Given) -> tuple[Array, Aux]:
        if enhancement is None or enhance is None:
            raise ValueError("this run has no enhancement network")
        image = given.batch.image
        if enhancement.mask is None:
            restored = enhance(moving["enhancement"], enhancement.blur(image))
            return _totalled({"enhancement/blurred": squared_distance(restored, image)})
        made = transform(given.nets["transform"], image)
        enhanced = enhance(moving["enhancement"], made)
        frozen = given.frozen["enhancement"]
        return _totalled(enhancement_error(enhancement, frozen, enhanced, made, image))

    return Objectives(
        reconstruction_loss, denoiser_loss, fakes, critic_loss, transform_loss, enhancement_loss
    )


def guide(given: Given) -> Images:
    """Faces that have the attribute.

    Raises:
      ValueError: the batch has none.
    """
    if given.batch.other is None:
        raise ValueError("the batch has no guide images: they are drawn by Sampling.domains")
    return given.batch.other


def _judge(critic: nn.Module, params: Params, image: Images) -> PerExample:
    logits, _ = apply(critic, params, image)
    return logits


def _totalled(terms: Metrics) -> tuple[Array, Aux]:
    """Sum and metrics of terms, each averaged over the batch."""
    terms = {name: value.mean() for name, value in terms.items()}
    return functools.reduce(operator.add, terms.values()), Aux(terms)
