"""GANimation (Pumarola et al., ECCV 2018)."""

import functools
import operator
from collections.abc import Callable
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
from jax import Array
from ml_collections import ConfigDict

from ganimation_jax.models import layers
from ganimation_jax.models.critic import Critic, depth_for
from ganimation_jax.models.generator import CONDITIONS, Generator
from ganimation_jax.steps import augment as augmentation
from ganimation_jax.steps import losses, monitors, optimizers
from ganimation_jax.steps.augment import Augment
from ganimation_jax.steps.updates import Aux, FakesFn, Given, LossFn, Update, alternating
from ganimation_jax.types import (
    Batch,
    Condition,
    DataFacts,
    Edit,
    Metrics,
    Model,
    Nets,
    Optimizer,
    Params,
    Phase,
    Sampling,
    StepFn,
    Training,
)

Heads = tuple[Array, Array]  # what either network returns

# Fields of the config that the networks follow from: a run must keep them to the end.
MODEL_FIELDS = ("action_units", "image_size", "generator.", "critic.width", "critic.depth")
CONSOLE = ("critic/loss", "critic/penalty", "critic/aus", "generator/loss", "generator/aus")


# Charts of a report: titles and the metrics drawn in each.
PANELS = {
    "critic: score of real faces, and the negative one of edits": ("critic/real", "critic/edited"),
    "critic: input gradient norm": ("critic/gradient_norm",),
    "AU loss": ("critic/aus", "generator/aus"),
    "cycle loss": ("generator/cycle",),
    "attention (share kept)": ("generator/attention_mean",),
}


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


class Objectives(NamedTuple):
    """The losses of both networks, and the edits that the critic is trained against."""

    fakes: FakesFn
    critic: tuple[LossFn, ...]  # one optimiser update each: the published code has two
    generator: LossFn


def uniform_shares(key: Array, size: int) -> Array:
    """How much of the real image each interpolate of the penalty holds: U(0, 1), ``b``."""
    return jax.random.uniform(key, (size,))


def networks(cfg: ConfigDict) -> tuple[Generator, Critic]:
    """Generator and critic as ``cfg`` describes them."""
    dtype = jnp.dtype(cfg.dtype)
    critic = Critic(len(cfg.action_units), **cfg.critic, dtype=dtype)
    return Generator(**cfg.generator, dtype=dtype), critic


def model(cfg: ConfigDict) -> Model:
    """GANimation as it is used; of ``cfg`` the networks, their size and action units matter."""
    return model_of(*networks(cfg), tuple(cfg.action_units), cfg.image_size)


def model_of(
    generator: Generator, critic: Critic, action_units: tuple[str, ...], image_size: int
) -> Model:
    """A model of these networks."""

    def init(key: Array, batch: Batch) -> Nets:
        generator_key, critic_key = jax.random.split(key)
        return {
            "generator": generator.init(generator_key, batch.image, batch.want, batch.have)[
                "params"
            ],
            "critic": critic.init(critic_key, batch.image)["params"],
        }

    def read(nets: Nets, image: Array) -> Array:
        return judge(critic, nets["critic"], image)[1]

    return Model(
        conditions=tuple(Condition(unit) for unit in action_units),
        image_size=image_size,
        init=init,
        edit=functools.partial(edit, generator),
        read=read,
        edits_with=("generator",),
        averaged=("generator",),
        reads_with=("critic",),
        needs_have=generator.condition == "difference",
    )


def edit(generator: Generator, nets: Nets, image: Array, want: Array, have: Array) -> Edit:
    """``Model.edit`` (paper, eq. 1)."""
    return cast(Edit, generator.apply({"params": nets["generator"]}, image, want, have))


def judge(critic: Critic, params: Params, image: Array) -> tuple[Array, Array]:
    """Mean patch score ``b`` and action units ``b n``."""
    patches, aus = cast(Heads, critic.apply({"params": params}, image))
    return patches.mean(axis=(1, 2)), aus


def objectives(
    generator: Generator,
    critic: Critic,
    weights: LossWeights = PAPER_WEIGHTS,
    *,
    attention_norm: losses.Norm = "l2",
    separate_penalty: bool = False,
    draw_shares: Callable[[Array, int], Array] = uniform_shares,
    augment: Augment | None = None,
) -> Objectives:
    """The losses (paper, section 4.2).

    Args:
      generator, critic: the networks.
      weights: of the loss terms.
      attention_norm: "l2" (paper) or "l1" (published code) for magnitude and smoothness.
      separate_penalty: give the penalty an optimiser step of its own, after the one on
        the Wasserstein and AU terms (published code).
      draw_shares: key, batch size -> the penalty's mixing shares.
      augment: of all that the critic is trained on or judges; None: it sees images as they are.
    """

    def fakes(nets: Nets, batch: Batch, key: Array) -> Array:
        del key
        return edit(generator, nets, batch.image, batch.want, batch.have).image

    def penalised_score(params: Params, image: Array) -> Array:
        # The paper penalises the gradient 'per image'; both published codes take the sum.
        patches, _ = cast(Heads, critic.apply({"params": params}, image))
        return patches.sum(axis=(1, 2))

    def seen(given: Given) -> tuple[Array, Array, Array]:
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
        back = edit(generator, moving, there.image, batch.have, batch.want)
        shown = augment(key, there.image) if augment else there.image
        score, read = judge(critic, given.nets["critic"], shown)
        attentions = [cast(Array, one.attention) for one in (there, back)]
        magnitude = [losses.attention_magnitude(a, attention_norm).mean() for a in attentions]
        variation = [losses.total_variation(a, attention_norm).mean() for a in attentions]
        terms = {
            "generator/adversarial": -score.mean(),
            "generator/aus": weights.aus * losses.au_error(read, batch.want).mean(),
            "generator/cycle": weights.cycle * losses.cycle_error(back.image, batch.image).mean(),
            "generator/attention": weights.attention * (magnitude[0] + magnitude[1]),
            "generator/total_variation": weights.total_variation * (variation[0] + variation[1]),
        }
        metrics = terms | {"generator/attention_mean": attentions[0].mean()}
        return _total(terms), Aux(metrics)

    critic_losses = (realism_loss, penalty_loss) if separate_penalty else (whole_loss,)
    return Objectives(fakes, critic_losses, generator_loss)


def _total(terms: Metrics) -> Array:
    return functools.reduce(operator.add, terms.values())


def step(
    aims: Objectives,
    by_name: dict[str, Optimizer],
    *,
    ema_decay: float = 0.999,
    unroll: bool = False,
) -> StepFn:
    """The published iteration: critic updates on each batch, one generator update on the last."""
    return alternating(
        by_name,
        fakes=aims.fakes,
        critic=[Update("critic", loss) for loss in aims.critic],
        generator=[Update("generator", aims.generator)],
        ema_decay=ema_decay,
        unroll=unroll,
    )


def training(cfg: ConfigDict, facts: DataFacts) -> Training:
    """GANimation as it is trained (configs/emotionet.py documents the fields)."""
    loss = cfg.loss.to_dict()
    weights = LossWeights(*(loss.pop(name) for name in LossWeights._fields))
    augment = augmentation.build(cfg.augment)
    aims = objectives(*networks(cfg), weights, **loss, augment=augment)
    by_name = build_optimizers(cfg, facts.examples)
    one_step = step(aims, by_name, ema_decay=cfg.ema_decay, unroll=layers.on_cpu())
    return Training(
        phases=(Phase("train", 1.0, one_step),),
        sampling=Sampling(
            batches=cfg.n_critic,
            noise=cfg.data.target_noise,
            clip=cfg.data.clip_targets,
            flip=cfg.data.flip,
            paired=cfg.data.paired,
        ),
        optimizers=by_name,
        monitors=(
            *monitors.of_attention(),
            *monitors.of_edits(),
            *monitors.of_penalised_critic(
                image_size=cfg.image_size,
                patches=(cfg.image_size // 2 ** (cfg.critic.depth or depth_for(cfg.image_size)))
                ** 2,
            ),
            *monitors.of_regression(constant_error=cfg.loss.aus * facts.variance),
        ),
        console=CONSOLE,
    )


def build_optimizers(cfg: ConfigDict, epoch: int = 1) -> dict[str, Optimizer]:
    """Adam for either network; configs of imported weights need no rates.

    Args:
      cfg: the run.
      epoch: images in one.
    """
    lr, lr_critic = cfg.get("lr", 0.0), cfg.get("lr_critic", 0.0)
    updates = cfg.get("n_critic", 1) * (2 if cfg.get("loss", {}).get("separate_penalty") else 1)
    build = functools.partial(optimizers.build, cfg, epoch)
    return {
        "generator": Optimizer(("generator",), build(lr, updates_per_step=1)),
        "critic": Optimizer(("critic",), build(lr_critic or lr, updates_per_step=updates)),
    }


def check(cfg: ConfigDict) -> None:
    """Refuse what cannot be trained.

    Raises:
      ValueError: names the field, its value and what to do.
    """
    depth = cfg.critic.depth or depth_for(cfg.image_size)
    # Configs of runs from before these options have no such fields.
    patch, motion = cfg.generator.get("patch", 1), cfg.generator.get("motion", 0.0)
    if patch < 1:
        raise ValueError(f"generator.patch is {patch}; it must be 1 or more pixels")
    if motion < 0:
        raise ValueError(f"generator.motion is {motion} pixels; it must not be negative")
    if cfg.image_size % 2**depth or cfg.image_size % (4 * patch):
        raise ValueError(
            f"image_size {cfg.image_size} does not halve {depth} times (critic.depth), or is not "
            f"a multiple of {4 * patch} (generator: 4 times generator.patch); use 64, 128 or 256, "
            "or set critic.depth=0"
        )
    for field, choices in (("condition", CONDITIONS), ("upsample", layers.UPSAMPLING)):
        value = cfg.generator.get(field, next(iter(choices)))
        if value not in choices:
            raise ValueError(f"generator.{field} {value!r} is not one of {', '.join(choices)}")
    for network in ("generator", "critic"):
        if cfg[network].width <= 0:
            raise ValueError(f"{network}.width is {cfg[network].width}; it must be above 0")
    if cfg.lr_critic < 0:
        raise ValueError(f"lr_critic is {cfg.lr_critic}; it must not be negative")
