"""The losses of GANimation (Pumarola et al., ECCV 2018, section 4.2), and those of pairs.

Pairs are pictures of one person that differ in the expression alone, so that the true edit is
known: generated people, drawn faces. The paper has none.
"""

import functools
import operator
from collections.abc import Callable, Iterable
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp

from ganimation_jax.features.perceptual import DistanceFn
from ganimation_jax.models.critic import Critic
from ganimation_jax.models.generator import Generator
from ganimation_jax.models.pair_critic import PairCritic
from ganimation_jax.steps import losses
from ganimation_jax.steps.augment import Augment
from ganimation_jax.steps.updates import Aux, FakesFn, Given, LossFn
from ganimation_jax.types import (
    Array,
    Batch,
    Conditions,
    Edit,
    Images,
    Metrics,
    Nets,
    Params,
    PerExample,
)

Heads = tuple[Array, Array]  # what the critic returns


class LossWeights(NamedTuple):
    """Weights of the loss terms; the defaults are the paper's (section 5), which has no pairs.

    The paper's 4000 multiplies a squared error that its code divides by the number of AUs
    and once more by the batch of 25: on a mean squared error that is 160.
    """

    penalty: float = 10.0
    aus: float = 160.0
    cycle: float = 10.0
    attention: float = 0.1
    total_variation: float = 1e-4
    adversarial: float = 1.0
    paired: float = 0.0  # difference from the true edit, where a batch knows it
    motion: float = 0.0  # variation of the motion between neighbouring pixels
    pair_critic: float = 0.0  # what the critic of pairs says of an edit
    pair_penalty: float = 0.0  # zero-centred penalties of that critic, on true and made edits


PAPER_WEIGHTS = LossWeights()


class Perceptual(NamedTuple):
    """Terms that compare faces by the features of a frozen network; the paper has none."""

    distance: DistanceFn  # the network's parameters are the step's frozen ones
    cycle: float = 0.0  # weight beside, or instead of, the identity term
    paired: float = 0.0  # weight beside, or instead of, the difference from the true edit


ONLY_PIXELS = Perceptual(lambda frozen, a, b: jnp.zeros(len(a)))


class Objectives(NamedTuple):
    """The losses of both networks, and the edits that the critic is trained against."""

    fakes: FakesFn
    critic: tuple[LossFn, ...]  # one optimiser update each: the published code has two
    generator: LossFn
    pairs: LossFn  # of the generator, from true edits alone
    reading: LossFn  # of the critic, from the action units of real faces alone
    judging: LossFn  # of the critic of pairs, if there is one


def uniform_shares(key: Array, size: int) -> PerExample:
    """How much of the real image each interpolate of the penalty holds: U(0, 1)."""
    return jax.random.uniform(key, (size,))


def edit(
    generator: Generator, nets: Nets, image: Images, want: Conditions, have: Conditions
) -> Edit:
    """``Model.edit`` (paper, eq. 1)."""
    return cast(Edit, generator.apply({"params": nets["generator"]}, image, want, have))


def judge(critic: Critic, params: Params, image: Images) -> tuple[PerExample, Conditions]:
    """Mean patch score and action units."""
    patches, aus = cast(Heads, critic.apply({"params": params}, image))
    return patches.mean(axis=(1, 2)), aus


def objectives(
    generator: Generator,
    critic: Critic,
    weights: LossWeights = PAPER_WEIGHTS,
    *,
    attention_norm: losses.Norm = "l2",
    separate_penalty: bool = False,
    paired_emphasis: float = 0.0,
    draw_shares: Callable[[Array, int], Array] = uniform_shares,
    augment: Augment | None = None,
    perceptual: Perceptual = ONLY_PIXELS,
    pair_critic: PairCritic | None = None,
) -> Objectives:
    """The losses (paper, section 4.2).

    Args:
      generator, critic: the networks.
      weights: of the loss terms.
      attention_norm: "l2" (paper) or "l1" (published code) for magnitude and smoothness.
      separate_penalty: give the penalty an optimiser step of its own, after the one on
        the Wasserstein and AU terms (published code).
      paired_emphasis: see ``losses.true_edit_error``.
      draw_shares: key, batch size -> the penalty's mixing shares.
      augment: of all that the critic is trained on or judges; None: it sees images as they are.
      perceptual: distances between features, added to those between pixels.
      pair_critic: what compares edits with true ones, where all examples are pairs; relativistic,
        as R3GAN trains (see ``losses.relativistic``). Its name among the nets is "pair_critic".
    """

    def fakes(nets: Nets, batch: Batch, key: Array) -> Images:
        del key
        return edit(generator, nets, batch.image, batch.want, batch.have).image

    def penalised_score(params: Params, image: Images) -> PerExample:
        # The paper penalises the gradient 'per image'; both published codes take the sum.
        patches, _ = cast(Heads, critic.apply({"params": params}, image))
        return patches.sum(axis=(1, 2))

    def seen(given: Given) -> tuple[Images, Images, Array]:
        """Real and edited images as the critic gets them, and a key for the rest."""
        real, edited = given.batch.image, given.fakes
        if augment is None:
            return real, edited, given.key
        # One draw for a face and its edit, and for both losses: they are given the same key.
        key, augment_key = jax.random.split(given.key)
        return augment(augment_key, real), augment(augment_key, edited), key

    def realism_loss(moving: Nets, given: Given) -> tuple[Array, Aux]:
        real, edited, _ = seen(given)
        # Both at once: no image depends on another, and the kernels are read once. In pairs,
        # so that an axis sharded over devices stays sharded.
        pairs = jnp.stack([real, edited], axis=1)  # b 2 h w 3
        scores, aus = judge(critic, moving["critic"], pairs.reshape(-1, *pairs.shape[2:]))
        real_score, edited_score = scores[0::2], scores[1::2]
        terms = {
            "critic/real": -real_score.mean(),
            "critic/edited": edited_score.mean(),
            "critic/aus": weights.aus * losses.au_error(aus[0::2], given.batch.have).mean(),
        }
        return _total(terms), Aux(terms)

    def penalty_loss(moving: Nets, given: Given) -> tuple[Array, Aux]:
        real, edited, key = seen(given)
        mixed = losses.interpolate(real, edited, draw_shares(key, len(edited)))
        if not _counts(weights.penalty):  # only measured: its gradient would take long
            held = jax.lax.stop_gradient(moving["critic"])
            norm = losses.gradient_norm(penalised_score, held, mixed)
            nothing = jnp.zeros(())
            return nothing, Aux({"critic/penalty": nothing, "critic/gradient_norm": norm.mean()})
        penalty, norm = losses.gradient_penalty(penalised_score, moving["critic"], mixed)
        loss = weights.penalty * penalty.mean()
        return loss, Aux({"critic/penalty": loss, "critic/gradient_norm": norm.mean()})

    def whole_loss(moving: Nets, given: Given) -> tuple[Array, Aux]:
        loss, aux = realism_loss(moving, given)
        penalty, penalty_aux = penalty_loss(moving, given)
        return loss + penalty, Aux(aux.metrics | penalty_aux.metrics)

    def generator_loss(moving: Nets, given: Given) -> tuple[Array, Aux]:
        batch, key = given.batch, given.key
        there = edit(generator, moving, batch.image, batch.want, batch.have)
        shown = augment(key, there.image) if augment else there.image
        score, read = judge(critic, given.nets["critic"], shown)
        terms = {
            "generator/adversarial": -weights.adversarial * score.mean(),
            "generator/aus": weights.aus * losses.au_error(read, batch.want).mean(),
        }
        attentions = [cast(Array, there.attention)]
        if _counts(weights.cycle) or _counts(perceptual.cycle):
            back = edit(generator, moving, there.image, batch.have, batch.want)
            attentions.append(cast(Array, back.attention))
            if _counts(weights.cycle):
                cycle = losses.cycle_error(back.image, batch.image).mean()
                terms["generator/cycle"] = weights.cycle * cycle
            if _counts(perceptual.cycle):
                apart = perceptual.distance(given.frozen, back.image, batch.image).mean()
                terms["generator/perceptual_cycle"] = perceptual.cycle * apart
        magnitude = [losses.attention_magnitude(a, attention_norm).mean() for a in attentions]
        variation = [losses.total_variation(a, attention_norm).mean() for a in attentions]
        terms["generator/attention"] = weights.attention * _added(magnitude)
        terms["generator/total_variation"] = weights.total_variation * _added(variation)
        terms |= pair_terms(there, batch, given.frozen)
        return _total(terms), Aux(terms | {"generator/attention_mean": attentions[0].mean()})

    def pair_terms(there: Edit, batch: Batch, frozen: Params) -> Metrics:
        terms = Metrics()
        if _counts(weights.paired) or _counts(perceptual.paired):
            if batch.other is None or batch.paired is None:
                raise ValueError(
                    "loss.paired needs pairs, and so does perceptual.paired; data.paired is the "
                    "share of them"
                )
            if _counts(weights.paired):
                error = losses.true_edit_error(
                    there.image, batch.other, batch.image, paired_emphasis
                )
                terms["generator/paired"] = weights.paired * losses.mean_where(error, batch.paired)
            if _counts(perceptual.paired):
                apart = perceptual.distance(frozen, there.image, batch.other)
                apart = losses.mean_where(apart, batch.paired)
                terms["generator/perceptual_paired"] = perceptual.paired * apart
        if _counts(weights.motion) and there.motion is not None:
            variation = losses.motion_variation(there.motion).mean()
            terms["generator/motion"] = weights.motion * variation
        return terms

    def pairs_loss(moving: Nets, given: Given) -> tuple[Array, Aux]:
        batch = given.batch
        there = edit(generator, moving, batch.image, batch.want, batch.have)
        terms = pair_terms(there, batch, given.frozen)
        if _counts(weights.pair_critic):
            params = given.nets["pair_critic"]
            made, true = pair_scores(params, batch, there.image, cast(Array, batch.other))
            fooled = losses.relativistic(made, true).mean()
            terms["generator/pair_critic"] = weights.pair_critic * fooled
        kept = cast(Array, there.attention).mean()
        return _total(terms), Aux(terms | {"generator/attention_mean": kept})

    def reading_loss(moving: Nets, given: Given) -> tuple[Array, Aux]:
        image = given.batch.image
        _, read = judge(critic, moving["critic"], augment(given.key, image) if augment else image)
        loss = weights.aus * losses.au_error(read, given.batch.have).mean()
        return loss, Aux({"critic/aus": loss})

    def pair_scores(params: Params, batch: Batch, *edits: Images) -> tuple[PerExample, ...]:
        """Mean patch scores of edits of the batch's images."""
        critic, difference = cast(PairCritic, pair_critic), batch.want - batch.have
        scores = (critic.apply({"params": params}, batch.image, x, difference) for x in edits)
        return tuple(cast(Array, score).mean(axis=(1, 2)) for score in scores)

    def judging_loss(moving: Nets, given: Given) -> tuple[Array, Aux]:
        batch, params = given.batch, moving["pair_critic"]
        truth = cast(Array, batch.other)
        true, made = pair_scores(params, batch, truth, given.fakes)
        penalties, norms = zip(
            *(
                losses.zero_centred_penalty(lambda p, x: pair_scores(p, batch, x)[0], params, edits)
                for edits in (truth, given.fakes)
            ),
            strict=True,
        )
        terms = {
            "pair_critic/relativistic": losses.relativistic(true, made).mean(),
            "pair_critic/penalty": weights.pair_penalty * _added(penalties).mean(),
        }
        return _total(terms), Aux(terms | {"pair_critic/gradient_norm": jnp.stack(norms).mean()})

    critic_losses = (realism_loss, penalty_loss) if separate_penalty else (whole_loss,)
    return Objectives(fakes, critic_losses, generator_loss, pairs_loss, reading_loss, judging_loss)


def _counts(weight: float | Array) -> bool:
    """Whether a term is computed: unless its weight is the number 0. A traced weight counts."""
    return not (isinstance(weight, int | float) and weight == 0)


def _total(terms: Metrics) -> Array:
    return _added(terms.values())


def _added(values: Iterable[Array]) -> Array:
    return functools.reduce(operator.add, values)
