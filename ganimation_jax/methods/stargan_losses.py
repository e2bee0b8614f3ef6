"""The losses of StarGAN (Choi et al., CVPR 2018, section 3), and what it makes of labels."""

import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Float

from ganimation_jax.models.critic import Critic
from ganimation_jax.models.transform import Transform
from ganimation_jax.steps import losses
from ganimation_jax.steps.updates import Aux, FakesFn, Given, LossFn
from ganimation_jax.types import (
    Array,
    Batch,
    Condition,
    Conditions,
    Images,
    Metrics,
    Nets,
    Params,
    PerExample,
)

Heads = tuple[Array, Array]  # what the critic returns


class LossWeights(NamedTuple):
    """Weights of the loss terms; the defaults are the published ones."""

    penalty: float = 10.0
    labels: float = 1.0
    cycle: float = 10.0


class Labels(NamedTuple):
    """How a vector of conditions divides into answers of the critic.

    A face shows one label of a group, which a softmax classifies. A sigmoid classifies each other
    label by itself.
    """

    single: tuple[int, ...]  # places of the labels that stand for themselves
    groups: tuple[tuple[int, ...], ...]  # places of the labels of each group
    # Joint training of two sets (paper, section 3.3): a face that shows a label of this group is of
    # the second set, whose other labels are not known, and any other face is of the first.
    masked_by: int | None = None

    def second(self, values: Conditions) -> PerExample:
        """Whether faces with these labels are of the second set: 0 or 1."""
        assert self.masked_by is not None
        return values[:, jnp.array(self.groups[self.masked_by])].max(axis=-1)

    def entering(self, values: Conditions) -> Float[Array, "b m"]:
        """What the generator is given: the labels and, of two sets, the mask (2 more)."""
        if self.masked_by is None:
            return values
        second = self.second(values)[:, None]
        return jnp.concatenate([values, 1 - second, second], axis=-1)

    def error(self, logits: Conditions, values: Conditions) -> PerExample:
        """Classification loss: summed over single labels and over groups."""
        logits, errors = logits.astype(jnp.float32), []
        if self.single:
            places = jnp.array(self.single)
            each = optax.sigmoid_binary_cross_entropy(logits[:, places], values[:, places])
            known = 1.0 if self.masked_by is None else 1 - self.second(values)
            errors.append(known * each.sum(axis=-1))
        for group in self.groups:  # a face that shows no label of a group has no error there
            places = jnp.array(group)
            errors.append(optax.softmax_cross_entropy(logits[:, places], values[:, places]))
        return functools.reduce(operator.add, errors)

    def probabilities(self, logits: Conditions) -> Conditions:
        """Probability of each label."""
        found = jax.nn.sigmoid(logits)
        for group in self.groups:
            places = jnp.array(group)
            found = found.at[:, places].set(jax.nn.softmax(logits[:, places], axis=-1))
        return found

    def entropy(self, shares: Sequence[float]) -> float:
        """The loss of the best constant answer.

        Args:
          shares: of the training faces that show each label.
        """

        def term(share: float) -> float:
            return -share * math.log(share) if share > 0 else 0.0

        single = sum(term(shares[i]) + term(1 - shares[i]) for i in self.single)
        return single + sum(term(shares[i]) for group in self.groups for i in group)


def labels_of(conditions: Sequence[Condition], masked_by: str = "") -> Labels:
    """How these conditions divide.

    Args:
      conditions: binary labels and members of groups.
      masked_by: the group that the faces of a second set show; "": there is one set.

    Raises:
      ValueError: a condition is an intensity; or there is no such group.
    """
    if units := [one.name for one in conditions if one.kind == "intensity"]:
        raise ValueError(
            f"conditions: {', '.join(units)} are intensities, but StarGAN edits by labels "
            "(emotions, attributes); choose labels, or train GANimation"
        )
    single = tuple(i for i, one in enumerate(conditions) if one.kind == "binary")
    names = list(dict.fromkeys(one.group for one in conditions if one.kind == "one_of"))
    groups = tuple(
        tuple(i for i, one in enumerate(conditions) if one.kind == "one_of" and one.group == name)
        for name in names
    )
    if masked_by and masked_by not in names:
        raise ValueError(
            f"masked_by {masked_by!r} is no group of the conditions (groups: "
            f"{', '.join(names) or 'none'}); it names the labels of the second set, or is ''"
        )
    return Labels(single, groups, names.index(masked_by) if masked_by else None)


class Objectives(NamedTuple):
    """The losses of both networks, and the edits that the critic is trained against."""

    fakes: FakesFn
    critic: LossFn
    generator: LossFn


def uniform_shares(key: Array, size: int) -> PerExample:
    """How much of the real image each interpolate of the penalty holds: U(0, 1)."""
    return jax.random.uniform(key, (size,))


def objectives(
    generator: Transform,
    critic: Critic,
    labels: Labels,
    weights: LossWeights,
    *,
    draw_shares: Callable[[Array, int], Array] = uniform_shares,
) -> Objectives:
    """The losses (paper, equations 5 and 6, with WGAN-GP's adversarial loss).

    Args:
      generator, critic: the networks.
      labels: what the critic classifies.
      weights: of the loss terms.
      draw_shares: key, batch size -> the penalty's mixing shares.
    """

    def edit(nets: Nets, image: Images, want: Conditions) -> Images:
        params = {"params": nets["generator"]}
        return cast(Array, generator.apply(params, image, labels.entering(want)))

    def judge(params: Params, image: Images) -> tuple[PerExample, Conditions]:
        patches, logits = cast(Heads, critic.apply({"params": params}, image))
        return patches.mean(axis=(1, 2)), logits

    def fakes(nets: Nets, batch: Batch, key: Array) -> Images:
        del key
        return edit(nets, batch.image, batch.want)

    def penalised_score(params: Params, image: Images) -> PerExample:
        patches, _ = cast(Heads, critic.apply({"params": params}, image))
        return patches.sum(axis=(1, 2))

    def critic_loss(moving: Nets, given: Given) -> tuple[Array, Aux]:
        params, batch, edited = moving["critic"], given.batch, given.fakes
        # In pairs, so that an axis sharded over devices stays sharded.
        pairs = jnp.stack([batch.image, edited], axis=1)  # b 2 h w 3
        scores, logits = judge(params, pairs.reshape(-1, *pairs.shape[2:]))
        terms = {
            "critic/real": -scores[0::2].mean(),
            "critic/edited": scores[1::2].mean(),
            "critic/labels": weights.labels * labels.error(logits[0::2], batch.have).mean(),
        }
        if not weights.penalty:  # a critic with clipped weights
            return _total(terms), Aux(terms)
        mixed = losses.interpolate(batch.image, edited, draw_shares(given.key, len(edited)))
        penalty, norm = losses.gradient_penalty(penalised_score, params, mixed)
        terms["critic/penalty"] = weights.penalty * penalty.mean()
        return _total(terms), Aux(terms | {"critic/gradient_norm": norm.mean()})

    def generator_loss(moving: Nets, given: Given) -> tuple[Array, Aux]:
        batch = given.batch
        there = edit(moving, batch.image, batch.want)
        score, logits = judge(given.nets["critic"], there)
        back = edit(moving, there, batch.have)
        terms = {
            "generator/adversarial": -score.mean(),
            "generator/labels": weights.labels * labels.error(logits, batch.want).mean(),
            "generator/cycle": weights.cycle * losses.cycle_error(back, batch.image).mean(),
        }
        return _total(terms), Aux(terms)

    return Objectives(fakes, critic_loss, generator_loss)


def _total(terms: Metrics) -> Array:
    return functools.reduce(operator.add, terms.values())
