"""StarGAN (Choi et al., CVPR 2018): one generator for any number of labels."""

import operator
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from ganimation_jax.conditions import parse
from ganimation_jax.methods.stargan_losses import (
    Labels,
    LossWeights,
    Objectives,
    labels_of,
    objectives,
)
from ganimation_jax.models import layers
from ganimation_jax.models.critic import Critic, depth_for
from ganimation_jax.models.transform import Transform
from ganimation_jax.steps import clipping, monitors, optimizers
from ganimation_jax.steps.updates import Update, alternating
from ganimation_jax.types import (
    Array,
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
    State,
    StepFn,
    Training,
)

# Fields of the config that the networks follow from: a run must keep them to the end.
MODEL_FIELDS = ("conditions", "masked_by", "image_size", "generator.", "critic.")
# Parts of the critic that its score does not depend on: their size does not make it steeper.
NOT_CLIPPED = ("aus",)
SETS = (slice(-1), slice(-1, None))  # all batches but the last of the second set, and that
CONSOLE = ("critic/loss", "critic/penalty", "critic/labels", "generator/loss", "generator/labels")


def networks(cfg: ConfigDict) -> tuple[Transform, Critic]:
    """Generator and critic as ``cfg`` describes them."""
    dtype = jnp.dtype(cfg.get("dtype", "float32"))
    count = len(cfg.conditions)
    critic = Critic(count, cfg.critic.width, cfg.critic.depth, initial="pytorch", dtype=dtype)
    return Transform(**cfg.generator, dtype=dtype), critic


def model(cfg: ConfigDict) -> Model:
    """StarGAN as it is used; of ``cfg`` the networks, their size and conditions matter."""
    conditions = parse(cfg.conditions)
    labels = labels_of(conditions, cfg.get("masked_by", ""))
    return model_of(*networks(cfg), conditions, labels, cfg.image_size)


def model_of(
    generator: Transform,
    critic: Critic,
    conditions: tuple[Condition, ...],
    labels: Labels,
    image_size: int,
) -> Model:
    """A model of these networks."""

    def init(key: Array, batch: Batch) -> Nets:
        generator_key, critic_key = jax.random.split(key)
        entering = labels.entering(batch.want)
        return {
            "generator": generator.init(generator_key, batch.image, entering)["params"],
            "critic": critic.init(critic_key, batch.image)["params"],
        }

    def edit(nets: Nets, image: Array, want: Array, have: Array) -> Edit:
        del have
        params = {"params": nets["generator"]}
        return Edit(cast(Array, generator.apply(params, image, labels.entering(want))))

    def read(nets: Nets, image: Array) -> Array:
        _, logits = cast(tuple[Array, Array], critic.apply({"params": nets["critic"]}, image))
        return labels.probabilities(logits)

    return Model(
        conditions=conditions,
        image_size=image_size,
        init=init,
        edit=edit,
        read=read,
        edits_with=("generator",),
        averaged=("generator",),
        reads_with=("critic",),
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
        critic=[Update("critic", aims.critic)],
        generator=[Update("generator", aims.generator)],
        due=due,
        ema_decay=ema_decay,
        unroll=unroll,
    )


def for_two_sets(step: StepFn) -> StepFn:
    """A step whose batches alternate between two sets, each with its own generator update.

    As in the published code, each update of the generator follows the last critic update on its
    set: the first set's comes before the critic sees the second set's last batch.
    """

    def run(
        state: State, batches: Batch, run_key: Array, frozen: Params = ()
    ) -> tuple[State, Metrics]:
        keys = jax.random.split(run_key)
        before, last = (jax.tree.map(operator.itemgetter(i), batches) for i in SETS)
        middle, first = step(state, before, keys[0], frozen)
        end, second = step(middle, last, keys[1], frozen)
        metrics = jax.tree.map(lambda *values: sum(values) / 2, first, second)
        return replace(end, step=state.step + 1), metrics

    return run


def training(cfg: ConfigDict, facts: DataFacts) -> Training:
    """StarGAN as it is trained (configs/stargan.py documents the fields)."""
    conditions = parse(cfg.conditions)
    labels = labels_of(conditions, cfg.masked_by)
    weights = LossWeights(**{name: cfg.loss[name] for name in LossWeights._fields})
    by_name = build_optimizers(cfg, facts.examples)
    aims = objectives(*networks(cfg), labels, weights)
    depth = cfg.critic.depth or depth_for(cfg.image_size)
    sizes = {"image_size": cfg.image_size, "patches": (cfg.image_size // 2**depth) ** 2}
    shares = [facts.shown.get(one.name, 0) / max(facts.examples, 1) for one in conditions]
    options = {"ema_decay": cfg.ema_decay, "unroll": layers.on_cpu()}
    train = step(aims, by_name, due=start_of(cfg).due, **options)
    two = bool(cfg.masked_by)
    return Training(
        phases=(Phase("train", 1.0, for_two_sets(train) if two else train),),
        sampling=Sampling(batches=cfg.n_critic * (1 + two), flip=cfg.data.flip, permute=True),
        optimizers=by_name,
        monitors=(
            *monitors.of_edits(
                advice="Raise loss.labels, or lower loss.cycle; see critic_labels_flat"
            ),
            *(() if cfg.loss.clip else monitors.of_penalised_critic(**sizes)),
            *monitors.of_classification(constant_error=weights.labels * labels.entropy(shares)),
        ),
        console=CONSOLE,
    )


def start_of(cfg: ConfigDict) -> clipping.Start:
    """When the generator is updated: in every step, unless ``cfg.critic_start`` says otherwise."""
    return clipping.Start.of(cfg.get("n_critic", 1), cfg.get("critic_start", 0))


def build_optimizers(cfg: ConfigDict, epoch: int = 1) -> dict[str, Optimizer]:
    """Adam for either network; configs of imported weights need no rates.

    Args:
      cfg: the run.
      epoch: images in one.
    """
    lr, n_critic, every = cfg.get("lr", 0.0), cfg.get("n_critic", 1), cfg.get("decay_every", 0)

    def build(name: str, rate: float, updates: int) -> Optimizer:
        def factor(count: Array) -> Array:
            total, decay = (
                round(n * epoch / cfg.batch_size) for n in (cfg.epochs, cfg.decay_epochs)
            )
            return published_factor(count * (n_critic // updates), total, decay, every)

        transform = optimizers.build(
            cfg,
            epoch,
            rate,
            updates_per_step=updates,
            steps_after=start_of(cfg).steps_after if name == "generator" else None,
            factor=factor if every else None,
        )
        return Optimizer((name,), transform)

    loss = cfg.get("loss", {})
    clip = loss.get("clip", 0.0), loss.get("clip_when", "after"), NOT_CLIPPED
    critic = build("critic", cfg.get("lr_critic", 0.0) or lr, n_critic)
    return {
        "generator": build("generator", lr, 1),
        "critic": clipping.clip_weights(critic, *clip),
    }


def published_factor(updates: Array, total: int, decay: int, every: int) -> Array:
    """Factor of the learning rate in the published code, which hardly lowers it.

    After every ``every``-th critic update in the last ``decay``, the rate falls by its initial
    value divided by ``decay``: with 1,000 and 100,000, by 0.1% in all.

    Args:
      updates: of the critic so far.
      total: critic updates of the whole training.
      decay: how many of these, at the end, lower the rate.
      every: updates between two steps of the rate.
    """
    lowered = jnp.maximum(updates // every - (total - decay) // every, 0)
    return 1 - lowered / decay


def check(cfg: ConfigDict) -> None:
    """Refuse what cannot be trained.

    Raises:
      ValueError: names the field, its value and what to do.
    """
    depth = cfg.critic.depth or depth_for(cfg.image_size)
    if cfg.image_size % 2**depth or cfg.image_size % 4:
        raise ValueError(
            f"image_size {cfg.image_size} does not halve {depth} times (critic.depth), or is not "
            "a multiple of 4; use 64, 128 or 256, or set critic.depth=0"
        )
    labels_of(parse(cfg.conditions), cfg.masked_by)
    if cfg.loss.clip and cfg.loss.penalty:
        raise ValueError(
            f"loss.clip is {cfg.loss.clip} and loss.penalty {cfg.loss.penalty}: a critic is either "
            "clipped or penalised; set one to 0"
        )
    if cfg.critic_start and (cfg.masked_by or cfg.critic_start < 0):
        raise ValueError(
            f"critic_start is {cfg.critic_start}; it must not be negative, and needs masked_by=''"
        )
    for network in ("generator", "critic"):
        if cfg[network].width <= 0:
            raise ValueError(f"{network}.width is {cfg[network].width}; it must be above 0")
    if cfg.augment.policy:
        raise ValueError(
            f"augment.policy {cfg.augment.policy!r}: {cfg.method} does not augment its critic's "
            "inputs; set it to ''"
        )
