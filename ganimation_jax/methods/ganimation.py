"""GANimation (Pumarola et al., ECCV 2018) as a ``Method``."""

import functools
import operator
from collections.abc import Callable
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
from jax import Array
from ml_collections import ConfigDict

from ganimation_jax.models.critic import Critic
from ganimation_jax.models.generator import Generator, blend
from ganimation_jax.steps import augment as augmentation
from ganimation_jax.steps import losses
from ganimation_jax.steps.augment import Augment
from ganimation_jax.types import Batch, Edit, Method, Metrics, Params

Heads = tuple[Array, Array]  # what either network returns


class LossWeights(NamedTuple):
    """Weights of the loss terms; the defaults are the paper's (section 5).

    The paper's 4000 multiplies a squared error that its code divides by the number of AUs
    and once more by the batch of 25: on a mean squared error that is 160.
    """

    penalty: float = 10.0
    aus: float = 160.0
    cycle: float = 10.0
    attention: float = 0.1
    total_variation: float = 1e-4


PAPER_WEIGHTS = LossWeights()


def uniform_shares(key: Array, size: int) -> Array:
    """How much of the real image each interpolate of the penalty holds: U(0, 1), ``b``."""
    return jax.random.uniform(key, (size,))


def ganimation(
    generator: Generator,
    critic: Critic,
    weights: LossWeights = PAPER_WEIGHTS,
    *,
    attention_norm: losses.Norm = "l2",
    separate_penalty: bool = False,
    draw_shares: Callable[[Array, int], Array] = uniform_shares,
    augment: Augment | None = None,
) -> Method:
    """Compose networks and losses.

    Args:
      generator, critic: the networks.
      weights: of the loss terms.
      attention_norm: "l2" (paper) or "l1" (published code) for magnitude and smoothness.
      separate_penalty: give the penalty an optimiser step of its own, after the one on
        the Wasserstein and AU terms (published code).
      draw_shares: key, batch size -> the penalty's mixing shares.
      augment: of all that the critic is trained on or judges; None: it sees images as they are.
    """

    def init(key: Array, image: Array, aus: Array) -> dict[str, Params]:
        generator_key, critic_key = jax.random.split(key)
        return {
            "generator": generator.init(generator_key, image, aus)["params"],
            "critic": critic.init(critic_key, image)["params"],
        }

    def edit(params: Params, image: Array, aus: Array) -> Edit:
        attention, color = cast(Heads, generator.apply({"params": params}, image, aus))
        return Edit(blend(image, attention, color), attention, color)

    def judge(params: Params, image: Array) -> tuple[Array, Array]:
        patches, aus = cast(Heads, critic.apply({"params": params}, image))
        return patches.mean(axis=(1, 2)), aus

    def penalised_score(params: Params, image: Array) -> Array:
        # The paper penalises the gradient 'per image'; both published codes take the sum.
        patches, _ = cast(Heads, critic.apply({"params": params}, image))
        return patches.sum(axis=(1, 2))

    def seen(key: Array, batch: Batch, edited: Array) -> tuple[Array, Array, Array]:
        """Real and edited images as the critic gets them, and a key for the rest."""
        if augment is None:
            return batch.image, edited, key
        # One draw for a face and its edit, and for both losses: they are given the same key.
        key, augment_key = jax.random.split(key)
        return augment(augment_key, batch.image), augment(augment_key, edited), key

    def realism_loss(
        params: Params, batch: Batch, edited: Array, key: Array
    ) -> tuple[Array, Metrics]:
        real, edited, _ = seen(key, batch, edited)
        # Both at once: no image depends on another, and the kernels are read once. In pairs,
        # so that an axis sharded over devices stays sharded.
        pairs = jnp.stack([real, edited], axis=1)  # b 2 h w 3
        scores, aus = judge(params, pairs.reshape(-1, *pairs.shape[2:]))
        real_score, edited_score = scores[0::2], scores[1::2]
        real_aus = aus[0::2]
        terms = {
            "critic/real": -real_score.mean(),
            "critic/edited": edited_score.mean(),
            "critic/aus": weights.aus * losses.au_error(real_aus, batch.have).mean(),
        }
        return _total(terms), terms

    def penalty_loss(
        params: Params, batch: Batch, edited: Array, key: Array
    ) -> tuple[Array, Metrics]:
        real, edited, key = seen(key, batch, edited)
        mixed = losses.interpolate(real, edited, draw_shares(key, len(edited)))
        penalty, norm = losses.gradient_penalty(penalised_score, params, mixed)
        loss = weights.penalty * penalty.mean()
        return loss, {"critic/penalty": loss, "critic/gradient_norm": norm.mean()}

    def whole_loss(
        params: Params, batch: Batch, edited: Array, key: Array
    ) -> tuple[Array, Metrics]:
        loss, metrics = realism_loss(params, batch, edited, key)
        penalty, penalty_metrics = penalty_loss(params, batch, edited, key)
        return loss + penalty, metrics | penalty_metrics

    def generator_loss(
        params: Params, critic_params: Params, batch: Batch, key: Array
    ) -> tuple[Array, Metrics]:
        there = edit(params, batch.image, batch.want)
        back = edit(params, there.image, batch.have)
        score, read = judge(critic_params, augment(key, there.image) if augment else there.image)
        attentions = (there.attention, back.attention)
        magnitude = [losses.attention_magnitude(a, attention_norm).mean() for a in attentions]
        variation = [losses.total_variation(a, attention_norm).mean() for a in attentions]
        terms = {
            "generator/adversarial": -score.mean(),
            "generator/aus": weights.aus * losses.au_error(read, batch.want).mean(),
            "generator/cycle": weights.cycle * losses.cycle_error(back.image, batch.image).mean(),
            "generator/attention": weights.attention * (magnitude[0] + magnitude[1]),
            "generator/total_variation": weights.total_variation * (variation[0] + variation[1]),
        }
        return _total(terms), terms | {"generator/attention_mean": there.attention.mean()}

    return Method(
        init=init,
        translate=lambda params, batch: edit(params, batch.image, batch.want).image,
        critic_losses=(realism_loss, penalty_loss) if separate_penalty else (whole_loss,),
        generator_loss=generator_loss,
        edit=edit,
        read_aus=lambda params, image: judge(params, image)[1],
    )


def _total(terms: Metrics) -> Array:
    return functools.reduce(operator.add, terms.values())


def build(cfg: ConfigDict) -> Method:
    """GANimation as ``cfg`` describes it (configs/emotionet.py documents the fields)."""
    dtype = jnp.dtype(cfg.dtype)
    loss = cfg.loss.to_dict()
    weights = LossWeights(*(loss.pop(name) for name in LossWeights._fields))
    generator = Generator(**cfg.generator, dtype=dtype)
    critic = Critic(len(cfg.action_units), **cfg.critic, dtype=dtype)
    # Runs from before there was augmentation, and imported weights, have no such field.
    augment = augmentation.build(cfg.augment) if "augment" in cfg else None
    return ganimation(generator, critic, weights, **loss, augment=augment)
