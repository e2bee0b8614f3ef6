"""GANimation (Pumarola et al., ECCV 2018)."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from ganimation_jax.features import perceptual
from ganimation_jax.methods.ganimation_losses import (
    ONLY_PIXELS,
    LossWeights,
    Objectives,
    Perceptual,
    edit,
    judge,
    objectives,
)
from ganimation_jax.models import layers
from ganimation_jax.models.critic import Critic, depth_for
from ganimation_jax.models.generator import CONDITIONS, Generator
from ganimation_jax.models.pair_critic import PairCritic
from ganimation_jax.steps import augment as augmentation
from ganimation_jax.steps import clipping, monitors, optimizers
from ganimation_jax.steps.updates import (
    Update,
    alternating,
    supervised,
)
from ganimation_jax.types import (
    Array,
    Batch,
    Condition,
    DataFacts,
    Model,
    Monitor,
    Nets,
    Optimizer,
    Params,
    Phase,
    Sampling,
    StepFn,
    Training,
)

# Fields of the config that the networks follow from: a run must keep them to the end.
MODEL_FIELDS = (
    "action_units",
    "image_size",
    "generator.",
    "critic.width",
    "critic.depth",
    "pair_critic.width",
    "pair_critic.depth",
)
PAIR_CRITIC = ("pair_critic", "width"), ("loss", "pair_critic")  # both 0: there is none
# Parts of the critic that its score does not depend on: their size does not make it steeper.
NOT_CLIPPED = ("aus",)
CONSOLE = ("critic/loss", "critic/penalty", "critic/aus", "generator/loss", "generator/aus")


def networks(cfg: ConfigDict) -> tuple[Generator, Critic]:
    """Generator and critic as ``cfg`` describes them."""
    dtype = jnp.dtype(cfg.dtype)
    critic = Critic(len(cfg.action_units), **cfg.critic, dtype=dtype)
    return Generator(**cfg.generator, dtype=dtype), critic


def pair_critic(cfg: ConfigDict) -> PairCritic | None:
    """The critic of pairs, if one is to be trained."""
    # Configs of runs from before it existed have no such section.
    section = cfg.get("pair_critic", ConfigDict({"width": 0}))
    return PairCritic(**section, dtype=jnp.dtype(cfg.dtype)) if section.width else None


def model(cfg: ConfigDict) -> Model:
    """GANimation as it is used; of ``cfg`` the networks, their size and action units matter."""
    return model_of(*networks(cfg), tuple(cfg.action_units), cfg.image_size, pair_critic(cfg))


def model_of(
    generator: Generator,
    critic: Critic,
    action_units: tuple[str, ...],
    image_size: int,
    of_pairs: PairCritic | None = None,
) -> Model:
    """A model of these networks; ``of_pairs`` is only trained."""

    def init(key: Array, batch: Batch) -> Nets:
        generator_key, critic_key = jax.random.split(key)
        image, want, have = batch.image, batch.want, batch.have
        nets = {
            "generator": generator.init(generator_key, image, want, have)["params"],
            "critic": critic.init(critic_key, image)["params"],
        }
        if of_pairs is not None:
            pair_key = jax.random.fold_in(key, len(nets))
            nets["pair_critic"] = of_pairs.init(pair_key, image, image, want)["params"]
        return nets

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


def step(
    aims: Objectives,
    by_name: dict[str, Optimizer],
    *,
    due: Callable[[Array], Array | bool] = lambda step: True,
    ema_decay: float = 0.999,
    unroll: bool = False,
) -> StepFn:
    """The published iteration: critic updates on each batch, one generator update on the last."""
    return alternating(
        by_name,
        fakes=aims.fakes,
        critic=[Update("critic", loss) for loss in aims.critic],
        generator=[Update("generator", aims.generator)],
        due=due,
        ema_decay=ema_decay,
        unroll=unroll,
    )


def training(cfg: ConfigDict, facts: DataFacts) -> Training:
    """GANimation as it is trained (configs/emotionet.py documents the fields)."""
    loss = cfg.loss.to_dict()
    for name in ("clip", "clip_when"):  # options of the critic's optimiser
        loss.pop(name, None)
    # Configs of runs from before some of these weights existed have the paper's.
    weights = LossWeights(**{k: loss.pop(k) for k in LossWeights._fields if k in loss})
    augment = augmentation.build(cfg.augment)
    load_frozen, terms = features(cfg)
    aims = objectives(
        *networks(cfg),
        weights,
        **loss,
        augment=augment,
        perceptual=terms,
        pair_critic=pair_critic(cfg),
    )
    by_name = build_optimizers(cfg, facts.examples)
    unroll, first = layers.on_cpu(), cfg.get("pairs_first", 0.0)
    due = start_of(cfg).due
    adversarial = step(aims, by_name, due=due, ema_decay=cfg.ema_decay, unroll=unroll)
    phases = [Phase("train", 1 - first, adversarial)] if first < 1 else []
    if first:
        phases.insert(0, Phase("pairs", first, pairs_step(cfg, aims, by_name, unroll)))
    return Training(
        phases=tuple(phases),
        sampling=Sampling(
            batches=cfg.n_critic,
            noise=cfg.data.target_noise,
            clip=cfg.data.clip_targets,
            flip=cfg.data.flip,
            paired=cfg.data.get("paired", 0.0),
        ),
        optimizers=by_name,
        load_frozen=load_frozen,
        monitors=(
            *monitors.of_attention(moves=cfg.generator.get("motion", 0.0) > 0),
            *monitors.of_edits(),
            *of_critic(cfg),
            *monitors.of_regression(constant_error=cfg.loss.aus * facts.variance),
        ),
        console=CONSOLE,
    )


def pairs_step(
    cfg: ConfigDict, aims: Objectives, by_name: dict[str, Optimizer], unroll: bool
) -> StepFn:
    """An iteration on pairs alone: the generator, and the critic, which learns to read faces."""
    generator, reading = Update("generator", aims.pairs), Update("critic", aims.reading)
    averaging = {"ema_decay": cfg.ema_decay, "unroll": unroll}
    if pair_critic(cfg) is None:
        return supervised(by_name, [generator, reading], **averaging)
    judging = Update("pair_critic", aims.judging)
    return alternating(
        by_name, fakes=aims.fakes, critic=[judging, reading], generator=[generator], **averaging
    )


def features(cfg: ConfigDict) -> tuple[Callable[[], Params], Perceptual]:
    """What loads the frozen network of ``cfg.perceptual``, and the terms that use it.

    Raises:
      ValueError: there is no such network, or a weight is negative.
    """
    # Configs of runs from before these terms existed have no such section.
    section = cfg.get("perceptual", ConfigDict())
    weights = {name: section.get(name, 0.0) for name in ("cycle", "paired")}
    for name, weight in weights.items():
        if weight < 0:
            raise ValueError(f"perceptual.{name} is {weight}; it must not be negative")
    if not any(weights.values()):
        return (lambda: ()), ONLY_PIXELS
    distance = perceptual.distance(section.network, cfg.data.eyes)
    return distance.load, Perceptual(distance.between, **weights)


def of_critic(cfg: ConfigDict) -> tuple[Monitor, ...]:
    """Monitors of the critic's score, if a penalty sets its scale. Clipped weights set none."""
    if cfg.loss.get("clip"):
        return ()
    patches = (cfg.image_size // 2 ** (cfg.critic.depth or depth_for(cfg.image_size))) ** 2
    return monitors.of_penalised_critic(image_size=cfg.image_size, patches=patches)


def start_of(cfg: ConfigDict) -> clipping.Start:
    """When the generator is updated: in every step, unless ``cfg.critic_start`` says otherwise."""
    return clipping.Start.of(cfg.get("n_critic", 1), cfg.get("critic_start", 0))


def build_optimizers(cfg: ConfigDict, epoch: int = 1) -> dict[str, Optimizer]:
    """The optimiser of either network; configs of imported weights need no rates.

    Args:
      cfg: the run.
      epoch: images in one.
    """
    lr, lr_critic, loss = cfg.get("lr", 0.0), cfg.get("lr_critic", 0.0), cfg.get("loss", {})
    updates = cfg.get("n_critic", 1) * (2 if loss.get("separate_penalty") else 1)
    build = functools.partial(optimizers.build, cfg, epoch)
    generator = build(lr, steps_after=start_of(cfg).steps_after)
    critic = Optimizer(("critic",), build(lr_critic or lr, updates_per_step=updates))
    clip = loss.get("clip", 0.0), loss.get("clip_when", "after"), NOT_CLIPPED
    found = {
        "generator": Optimizer(("generator",), generator),
        "critic": clipping.clip_weights(critic, *clip),
    }
    if pair_critic(cfg) is not None:
        found["pair_critic"] = Optimizer(("pair_critic",), build(lr_critic or lr))
    return found


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
    if first := cfg.get("pairs_first", 0.0):
        if not 0 < first <= 1:
            raise ValueError(f"pairs_first is {first}; it is a share of the images, at most 1")
        by_features = cfg.get("perceptual", {}).get("paired", 0.0)
        if not ((cfg.loss.paired or by_features) and cfg.data.paired):
            raise ValueError(
                f"pairs_first is {first}, which needs loss.paired and data.paired above 0 "
                "(perceptual.paired will do instead of loss.paired)"
            )
        if cfg.n_critic != 1:
            raise ValueError(f"pairs_first is {first} and n_critic {cfg.n_critic}; it must be 1")
    width, word = (cfg.get(name, {}).get(key, 0) for name, key in PAIR_CRITIC)
    if (width > 0) != (word > 0) or min(width, word) < 0:
        raise ValueError(
            f"pair_critic.width is {width} and loss.pair_critic {word}: a critic of pairs needs "
            "both above 0, and without one both are 0"
        )
    if width:
        steps = 2 ** (cfg.pair_critic.depth + 2)
        if cfg.pair_critic.depth < 1 or cfg.image_size % steps:
            raise ValueError(
                f"pair_critic.depth is {cfg.pair_critic.depth}: image_size {cfg.image_size} must "
                f"be a multiple of {steps}, and the depth at least 1"
            )
        if not first or cfg.data.paired != 1:
            raise ValueError(
                f"pair_critic.width is {cfg.pair_critic.width}, but pairs_first is {first} and "
                f"data.paired {cfg.data.paired}: that critic is trained while pairs_first lasts, "
                "and every example must be a pair (data.paired=1.0); width 0 trains none"
            )
    features(cfg)
    for network in ("generator", "critic"):
        if cfg[network].width <= 0:
            raise ValueError(f"{network}.width is {cfg[network].width}; it must be above 0")
    if cfg.loss.get("clip") and (cfg.loss.penalty or cfg.loss.separate_penalty):
        raise ValueError(
            f"loss.clip is {cfg.loss.clip} and loss.penalty {cfg.loss.penalty}: a critic is either "
            "clipped or penalised; set one to 0 (and loss.separate_penalty=False)"
        )
    if (start := cfg.get("critic_start", 0)) < 0 or (start and cfg.get("pairs_first", 0.0)):
        raise ValueError(
            f"critic_start is {start}; it must not be negative, and needs pairs_first=0"
        )
    if cfg.lr_critic < 0:
        raise ValueError(f"lr_critic is {cfg.lr_critic}; it must not be negative")
