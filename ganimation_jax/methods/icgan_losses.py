"""The losses of IcGAN (Perarnau et al. 2016) and its step between the phases.

Conditions are in [0, 1] in a batch and in [-1, 1] in the networks: absent and present, or a scaled
intensity. The networks' batch statistics are entries of their own beside the parameters,
``NAME_statistics``, which no optimiser trains.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from ganimation_jax.models.dcgan import Critic, Encoder, Generator
from ganimation_jax.steps import loops
from ganimation_jax.steps.updates import Aux, FakesFn, Given, LossFn, advance
from ganimation_jax.types import (
    Array,
    Batch,
    Condition,
    Conditions,
    Edit,
    Images,
    Maps,
    Metrics,
    Nets,
    Params,
    PerExample,
    State,
    StepFn,
)

Noise = Float[Array, "b z"]


class Networks(NamedTuple):
    """The four networks, which two adversaries and two regressions train."""

    generator: Generator
    critic: Critic
    encoder_z: Encoder  # image -> noise
    encoder_y: Encoder  # image -> conditions


class Objectives(NamedTuple):
    """The losses of all networks, and the noise of the samples."""

    draw: FakesFn
    critic: LossFn
    generator: LossFn
    encoder_z: LossFn
    encoder_y: LossFn


def statistics_of(name: str) -> str:
    """The entry of a network's batch statistics."""
    return f"{name}_statistics"


def objectives(networks: Networks, *, wrong: float = 0.5, flip: bool = True) -> Objectives:
    """The losses.

    Args:
      networks: all four.
      wrong: weight of real images with wrong conditions among what the critic should refuse; the
        rest is the weight of samples. Published code: 0.5; the paper's objective: 0.
      flip: mirror half of the real images that the critic sees; the encoders see none mirrored.
    """
    generator, critic, encoder_z, encoder_y = networks
    latent = encoder_z.outputs

    def draw(nets: Nets, batch: Batch, key: Array) -> Noise:
        del nets
        return jax.random.normal(key, (len(batch.have), latent))

    def critic_loss(moving: Nets, given: Given) -> tuple[Array, Aux]:
        batch, noise = given.batch, given.fakes
        real = mirrored(given.key, batch.image) if flip else batch.image
        codes = joined(noise, batch.want)
        sample, of_generator = normed(generator, given.nets, "generator", codes, train=True)
        nets = given.nets | moving

        def score(image: Images, values: Conditions) -> PerExample:
            # Each pass has batch statistics of its own, and moves the running ones.
            score, nets[statistics_of("critic")] = normed(
                critic, nets, "critic", image, scaled(values), train=True
            )
            return score

        terms = {"critic/real": nn.softplus(-score(real, batch.have)).mean()}
        if wrong:
            if batch.wrong is None:
                raise ValueError("loss.wrong needs Sampling.wrong")
            terms["critic/wrong"] = wrong * nn.softplus(score(real, batch.wrong)).mean()
        terms["critic/sample"] = (1 - wrong) * nn.softplus(score(sample, batch.want)).mean()
        statistics = {
            statistics_of("generator"): of_generator,
            statistics_of("critic"): nets[statistics_of("critic")],
        }
        return _total(terms), Aux(terms, nets=statistics)

    def generator_loss(moving: Nets, given: Given) -> tuple[Array, Aux]:
        # The critic's sample once more, for its gradient: the statistics have moved already.
        codes = joined(given.fakes, given.batch.want)
        nets = given.nets | moving
        sample, _ = normed(generator, nets, "generator", codes, train=True)
        values = scaled(given.batch.want)
        score, statistics = normed(critic, nets, "critic", sample, values, train=True)
        return nn.softplus(-score).mean(), Aux({}, nets={statistics_of("critic"): statistics})

    def encoder_z_loss(moving: Nets, given: Given) -> tuple[Array, Aux]:
        noise = jax.random.normal(given.key, (len(given.batch.have), latent))
        sample = generate(generator, given.nets, noise, given.batch.have)
        return regression(encoder_z, "encoder_z", moving, given, sample, noise)

    def encoder_y_loss(moving: Nets, given: Given) -> tuple[Array, Aux]:
        image, have = given.batch.image, given.batch.have
        return regression(encoder_y, "encoder_y", moving, given, image, scaled(have))

    return Objectives(draw, critic_loss, generator_loss, encoder_z_loss, encoder_y_loss)


def regression(
    encoder: Encoder, name: str, moving: Nets, given: Given, image: Images, target: Conditions
) -> tuple[Array, Aux]:
    """Mean squared error of what an encoder reads in images, over all entries."""
    read, statistics = normed(encoder, given.nets | moving, name, image, train=True)
    loss = jnp.square(read - target).mean()
    return loss, Aux({}, nets={statistics_of(name): statistics})


def refreshing(generator: Generator, latent: int) -> StepFn:
    """A step that moves the generator's running statistics by one pass, and nothing else.

    They trail behind the parameters while these move. The encoder of noise learns from samples
    that are normalised by them.
    """

    def step(
        state: State, batches: Batch, run_key: Array, frozen: Params = ()
    ) -> tuple[State, Metrics]:
        del frozen
        keys = jax.random.split(jax.random.fold_in(run_key, state.step), len(batches.have))
        name = statistics_of("generator")

        def one(nets: Nets, inputs: tuple[Array, Array]) -> tuple[Nets, Array]:
            key, have = inputs
            codes = joined(jax.random.normal(key, (len(have), latent)), have)
            _, moved = normed(generator, nets, "generator", codes, train=True)
            pairs = zip(jax.tree.leaves(moved), jax.tree.leaves(nets[name]), strict=True)
            change = jnp.stack([jnp.abs(new - old).max() for new, old in pairs]).max()
            return nets | {name: moved}, change

        nets, changes = loops.scan(one, state.nets, (keys, batches.have), unroll=False)
        return advance(replace(state, nets=nets)), {"generator/statistics_change": changes.mean()}

    return step


def edit(networks: Networks, nets: Nets, image: Images, want: Conditions, have: Conditions) -> Edit:
    """``Model.edit``: the face's noise, and the wanted conditions in place of its own."""
    del have
    noise, _ = normed(networks.encoder_z, nets, "encoder_z", image, train=False)
    return Edit(generate(networks.generator, nets, noise, want))


def read(
    networks: Networks, conditions: Sequence[Condition], nets: Nets, image: Images
) -> Conditions:
    """``Model.read``: intensities as regressed; the others are 1 where they are present, else 0.

    Binary conditions are present where the regression is above 0 (published). Of conditions that
    exclude one another, the one with the highest regression is.
    """
    codes, _ = normed(networks.encoder_y, nets, "encoder_y", image, train=False)
    groups: dict[str, list[int]] = {}
    columns = []
    for i, condition in enumerate(conditions):
        if condition.kind == "intensity":
            columns.append((codes[:, i] + 1) / 2)
        else:
            columns.append((codes[:, i] > 0).astype(codes.dtype))
        if condition.kind == "one_of":
            groups.setdefault(condition.group, []).append(i)
    for places in groups.values():
        first = codes[:, jnp.asarray(places)].argmax(axis=-1)
        for rank, i in enumerate(places):
            columns[i] = (first == rank).astype(codes.dtype)
    return jnp.stack(columns, axis=-1)


def generate(generator: Generator, nets: Nets, noise: Noise, values: Conditions) -> Images:
    """Images of noise and conditions in [0, 1], by the running statistics."""
    return normed(generator, nets, "generator", joined(noise, values), train=False)[0]


def normed(network: nn.Module, nets: Nets, name: str, *inputs: Array, train: bool) -> Any:
    """What a network returns, and its statistics afterwards."""
    held = {"params": nets[name], "statistics": nets[statistics_of(name)]}
    if not train:
        return network.apply(held, *inputs, train=False), held["statistics"]
    result, changed = network.apply(held, *inputs, train=True, mutable=["statistics"])
    return result, cast(dict, changed)["statistics"]


def mirrored(key: Array, image: Maps) -> Maps:
    """Half of the images mirrored."""
    coins = jax.random.bernoulli(key, shape=(len(image), 1, 1, 1))
    return jnp.where(coins, image[:, :, ::-1], image)


def joined(noise: Noise, values: Conditions) -> Float[Array, "b z+n"]:
    """What the generator takes: noise, then conditions in [0, 1]."""
    return jnp.concatenate([noise, scaled(values)], axis=-1)


def scaled(values: Array) -> Array:
    """[0, 1] to [-1, 1]."""
    return 2 * values - 1


def _total(terms: Metrics) -> Array:
    return jnp.stack(list(terms.values())).sum()
