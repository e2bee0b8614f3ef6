"""CycleGAN (Zhu et al., ICCV 2017): two generators between two kinds of face, without pairs."""

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from ganimation_jax.conditions import parse
from ganimation_jax.methods.cyclegan_losses import (
    REALISM,
    LossWeights,
    Objectives,
    objectives,
    translate,
)
from ganimation_jax.models import layers
from ganimation_jax.models.patch_critic import PatchCritic
from ganimation_jax.models.transform import Transform
from ganimation_jax.steps import monitors, optimizers, pool
from ganimation_jax.steps.updates import Update, alternating
from ganimation_jax.types import (
    Array,
    Batch,
    Condition,
    DataFacts,
    Domain,
    Edit,
    Model,
    Nets,
    Optimizer,
    Phase,
    Sampling,
    StepFn,
    Training,
)

# Fields of the config that the networks follow from: a run must keep them to the end.
MODEL_FIELDS = ("conditions", "image_size", "generator.", "critic.")
CONSOLE = ("critics/a", "critics/b", "generators/cycle_a", "generators/cycle_b")
GENERATORS = ("generator_ab", "generator_ba")  # from the first domain to the second, and back
CRITICS = ("critic_a", "critic_b")  # of images of the first domain, and of the second


def networks(cfg: ConfigDict) -> tuple[Transform, PatchCritic]:
    """A generator and a critic as ``cfg`` describes them; there are two of each."""
    dtype = jnp.dtype(cfg.get("dtype", "float32"))
    affine = cfg.generator.norm_affine
    generator = Transform(
        cfg.generator.width,
        cfg.generator.residual_blocks,
        resize=3,
        padding="reflect",
        norm_affine=affine,
        bias=True,
        initial="normal",
        dtype=dtype,
    )
    return generator, PatchCritic(**cfg.critic, norm_affine=affine, dtype=dtype)


def model(cfg: ConfigDict) -> Model:
    """CycleGAN as it is used; of ``cfg`` the networks, their size and conditions matter."""
    return model_of(*networks(cfg), parse(cfg.conditions), cfg.image_size)


def model_of(
    generator: Transform, critic: PatchCritic, conditions: tuple[Condition, ...], image_size: int
) -> Model:
    """A model of two such generators and two such critics."""

    def init(key: Array, batch: Batch) -> Nets:
        keys = jax.random.split(key, 4)
        made = zip((*GENERATORS, *CRITICS), (generator, generator, critic, critic), strict=True)
        return {
            name: network.init(keys[i], batch.image)["params"]
            for i, (name, network) in enumerate(made)
        }

    def edit(nets: Nets, image: Array, want: Array, have: Array) -> Edit:
        del have
        first, second = (translate(generator, nets[name], image) for name in GENERATORS)
        way = direction(want)[:, None, None, None]
        return Edit(jnp.where(way > 0, first, jnp.where(way < 0, second, image)))

    return Model(
        conditions=conditions,
        image_size=image_size,
        init=init,
        edit=edit,
        read=None,
        edits_with=GENERATORS,
        averaged=GENERATORS,
    )


def direction(want: Array) -> Array:
    """Which generator an edit takes: 1 to the second domain, -1 to the first, 0 none. b n -> b.

    There is no intensity. With one condition, the second domain is what shows it, and values above
    0.5 ask for it. With two, the larger value decides; equal ones leave the image as it is.
    """
    first = want[:, 0] if want.shape[-1] > 1 else 1 - want[:, 0]
    return jnp.sign(want[:, -1] - first)


def domains_of(conditions: tuple[Condition, ...]) -> tuple[Domain, Domain]:
    """The two kinds of face that a model translates between.

    Raises:
      ValueError: there are neither one nor two conditions, or two that a face may show together.
    """
    names = [one.name for one in conditions]
    if len(conditions) == 1:
        return Domain(names[0], shown=False), Domain(names[0])
    if len(conditions) != 2:
        raise ValueError(
            f"conditions: {len(conditions)} are named ({', '.join(names)}), but a CycleGAN "
            "translates between two kinds of face: name one condition (faces without it, and with "
            "it) or two of a group, such as neutral,happy; train one model for each pair"
        )
    if conditions[0].kind != "one_of" or conditions[0].group != conditions[1].group:
        raise ValueError(
            f"conditions: a face may show {names[0]} and {names[1]} together; name two of a "
            "group, such as neutral,happy, or one condition"
        )
    return Domain(names[0]), Domain(names[1])


def step(
    aims: Objectives,
    by_name: dict[str, Optimizer],
    *,
    ema_decay: float = 0.999,
    unroll: bool = False,
) -> StepFn:
    """The published iteration: both updates start from the networks as they were before it."""
    return alternating(
        by_name,
        fakes=aims.fakes,
        critic=[Update("critics", aims.critics)],
        generator=[Update("generators", aims.generators)],
        order="at_once",
        recall=aims.recall,
        ema_decay=ema_decay,
        unroll=unroll,
    )


def init_memory(pool_size: int, image_size: int) -> tuple[pool.Pool, ...]:
    """Empty pools of edits of the second domain and of the first; none for a size of 0."""
    if not pool_size:
        return ()
    return tuple(pool.empty(pool_size, (image_size, image_size, 3)) for _ in range(2))


def training(cfg: ConfigDict, facts: DataFacts) -> Training:
    """CycleGAN as it is trained (configs/cyclegan.py documents the fields)."""
    domains = domains_of(parse(cfg.conditions))
    sampling = Sampling(flip=cfg.data.flip, domains=domains)
    by_name = build_optimizers(cfg, facts.epoch(sampling))
    aims = objectives(
        *networks(cfg),
        LossWeights(cfg.loss.cycle, cfg.loss.identity),
        realism=cfg.loss.realism,
        pool_size=cfg.pool_size,
    )
    train = step(aims, by_name, ema_decay=cfg.ema_decay, unroll=layers.on_cpu())
    return Training(
        phases=(Phase("train", 1.0, train),),
        sampling=sampling,
        optimizers=by_name,
        init_memory=lambda nets: init_memory(cfg.pool_size, cfg.image_size),
        monitors=(
            *monitors.of_edits(advice="Lower loss.identity, then loss.cycle (to 1 or 2)"),
            *monitors.of_winning_critics(),
        ),
        console=CONSOLE,
    )


def build_optimizers(cfg: ConfigDict, epoch: int = 1) -> dict[str, Optimizer]:
    """One Adam for both generators and one for both critics; imported weights need no rates.

    Args:
      cfg: the run.
      epoch: images in one: those of the larger domain.
    """
    lr, lr_critic = cfg.get("lr", 0.0), cfg.get("lr_critic", 0.0)
    return {
        "generators": Optimizer(GENERATORS, optimizers.build(cfg, epoch, lr)),
        "critics": Optimizer(CRITICS, optimizers.build(cfg, epoch, lr_critic or lr)),
    }


def check(cfg: ConfigDict) -> None:
    """Refuse what cannot be trained.

    Raises:
      ValueError: names the field, its value and what to do.
    """
    domains_of(parse(cfg.conditions))
    if cfg.image_size % 2 ** max(2, cfg.critic.depth):
        raise ValueError(
            f"image_size {cfg.image_size} does not halve {max(2, cfg.critic.depth)} times "
            "(critic.depth, and twice in the generators); use 64, 128 or 256"
        )
    if cfg.image_size < 3 * 2**cfg.critic.depth:
        raise ValueError(
            f"image_size {cfg.image_size} leaves no score with critic.depth {cfg.critic.depth}; "
            "lower it"
        )
    if cfg.loss.realism not in REALISM:
        raise ValueError(f"loss.realism {cfg.loss.realism!r} is not one of {', '.join(REALISM)}")
    if cfg.n_critic != 1:
        raise ValueError(f"n_critic is {cfg.n_critic}; CycleGAN updates both sides once a step: 1")
    if cfg.pool_size < 0:
        raise ValueError(f"pool_size is {cfg.pool_size}; it must not be negative, and 0 is none")
    for network in ("generator", "critic"):
        if cfg[network].width <= 0:
            raise ValueError(f"{network}.width is {cfg[network].width}; it must be above 0")
    if cfg.augment.policy:
        raise ValueError(
            f"augment.policy {cfg.augment.policy!r}: CycleGAN does not augment its critics' "
            "inputs; set it to ''"
        )
