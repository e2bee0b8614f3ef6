"""The losses of CycleGAN (Zhu et al., ICCV 2017, section 3), and its pools of earlier edits."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Float

from ganimation_jax.models.patch_critic import PatchCritic
from ganimation_jax.models.transform import Transform
from ganimation_jax.steps import losses, pool
from ganimation_jax.steps.updates import Aux, FakesFn, Given, LossFn, RecallFn
from ganimation_jax.types import Array, Batch, Images, Metrics, Nets, Params, PerExample

Realism = Literal["squares", "log"]
Fakes = tuple[Array, Array]  # edits of the second domain, and of the first: in the pools' order
DrawFn = Callable[[Array, int], tuple[Array, Array]]


def squares(scores: Float[Array, "b p q"], real: bool) -> PerExample:
    """Squared difference from 1 for real images, from 0 for others (LSGAN)."""
    return jnp.square(scores - real).mean(axis=(1, 2))


def log_loss(scores: Float[Array, "b p q"], real: bool) -> PerExample:
    """Cross entropy of logits with 1 for real images, 0 for others."""
    target = jnp.full_like(scores, real)
    return optax.sigmoid_binary_cross_entropy(scores, target).mean(axis=(1, 2))


REALISM: dict[Realism, Callable[[Array, bool], Array]] = {"squares": squares, "log": log_loss}


class LossWeights(NamedTuple):
    """Weights of the loss terms; the defaults are the published ones."""

    cycle: float = 10.0
    identity: float = 0.5  # times ``cycle``


class Objectives(NamedTuple):
    """The losses of both sides, and the edits that the critics are trained against."""

    fakes: FakesFn
    recall: RecallFn | None
    critics: LossFn
    generators: LossFn


def objectives(
    generator: Transform,
    critic: PatchCritic,
    weights: LossWeights,
    *,
    realism: Realism = "squares",
    pool_size: int = 50,
    draw: DrawFn | None = None,
) -> Objectives:
    """The losses.

    Args:
      generator, critic: the networks.
      weights: of the loss terms.
      realism: of both losses: "squares" (published) or "log" (the paper's equation 1).
      pool_size: number of images in a pool; 0: the critics see the newest edits only.
      draw: key, batch size -> coins and places for a pool; None: ``pool.draw``.
    """
    error = REALISM[realism]

    def judged(params: Params, image: Images, real: bool) -> Float[Array, ""]:
        scores = cast(Array, critic.apply({"params": params}, image))
        return error(scores, real).mean()

    def both(given: Given) -> tuple[Images, Images]:
        return given.batch.image, _second(given.batch)

    def fakes(nets: Nets, batch: Batch, key: Array) -> Fakes:
        del key
        to_b, to_a = nets["generator_ab"], nets["generator_ba"]
        return (
            translate(generator, to_b, batch.image),
            translate(generator, to_a, _second(batch)),
        )

    def recall(memory: Any, fakes: Fakes, key: Array) -> tuple[tuple[pool.Pool, ...], Fakes]:
        drawn = draw or (lambda key, batch: pool.draw(key, pool_size, batch))
        keys = jax.random.split(key)
        found = [
            pool.exchange(stored, images, *drawn(one_key, len(images)))
            for stored, images, one_key in zip(memory, fakes, keys, strict=True)
        ]
        return tuple(new for new, _ in found), (found[0][1], found[1][1])

    def critics_loss(moving: Nets, given: Given) -> tuple[Array, Aux]:
        (a, b), (made_b, made_a) = both(given), given.fakes
        terms = {
            f"critics/{name}": (
                judged(moving[f"critic_{name}"], real, True)
                + judged(moving[f"critic_{name}"], made, False)
            )
            / 2
            for name, real, made in (("a", a, made_a), ("b", b, made_b))
        }
        return terms["critics/a"] + terms["critics/b"], Aux(terms)

    def generators_loss(moving: Nets, given: Given) -> tuple[Array, Aux]:
        to_b, to_a = moving["generator_ab"], moving["generator_ba"]
        terms = Metrics()
        for name, other, source, there, back in (
            ("a", "b", both(given)[0], to_b, to_a),
            ("b", "a", both(given)[1], to_a, to_b),
        ):
            judge, made = given.nets[f"critic_{other}"], translate(generator, there, source)
            cycle = losses.cycle_error(translate(generator, back, made), source).mean()
            terms |= {
                f"generators/adversarial_{name}": judged(judge, made, True),
                f"generators/cycle_{name}": weights.cycle * cycle,
            }
            if weights.identity:
                same = losses.cycle_error(translate(generator, back, source), source).mean()
                terms[f"generators/identity_{name}"] = weights.identity * weights.cycle * same
        return jnp.stack(list(terms.values())).sum(), Aux(terms)

    return Objectives(fakes, recall if pool_size else None, critics_loss, generators_loss)


def translate(generator: Transform, params: Params, image: Images) -> Images:
    """Images in the other domain."""
    return cast(Array, generator.apply({"params": params}, image))


def _second(batch: Batch) -> Images:
    if batch.other is None:
        raise ValueError("batches hold images of one domain; Sampling.domains draws two")
    return batch.other
