"""After DIAT, deep identity-aware transfer of facial attributes (Li, Zuo and Zhang 2016).

A model makes one attribute appear, or disappear; another attribute is another run. Inputs lack the
attribute, guide images have it, and no two are of one person. Four phases of one run:

1. reconstruction g learns to return a face, by the identity loss alone: its artefacts are those
   that this loss lets pass.
2. the denoiser f learns to remove them, and to leave faces as they are.
3. the transform T learns against a critic that knows the guide images, with the identity loss, and
   pays for what f would remove.
4. the enhancement E learns to restore what T changed elsewhere (local form), or detail (global).

DIAT-A sees identity by the critic's own maps; it needs no phase 1 or 2. DIAT has no cycle loss,
although GANimation's paper says so. No code is public: docs/methods.md lists what is decided here.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax import Array
from ml_collections import ConfigDict

from ganimation_jax.conditions import Condition, Domain, parse
from ganimation_jax.features import perceptual
from ganimation_jax.methods import diat_masks
from ganimation_jax.methods.diat_losses import (
    LEVELS,
    Enhancement,
    LooksFn,
    Networks,
    Objectives,
    Weights,
    apply,
    critic_looks,
    face_looks,
    objectives,
)
from ganimation_jax.models import layers
from ganimation_jax.models.diat import Critic, Denoiser, blurred, widths
from ganimation_jax.models.transform import Transform
from ganimation_jax.steps import monitors
from ganimation_jax.steps.optimizers import early_adam
from ganimation_jax.steps.updates import Update, alternating, supervised
from ganimation_jax.types import (
    Batch,
    DataFacts,
    Edit,
    Model,
    Nets,
    Optimizer,
    Params,
    Phase,
    Sampling,
    StepFn,
    Training,
)

MODEL_FIELDS = (
    "conditions", "remove", "image_size", "transform.", "critic.", "denoiser.",
    "enhancement.form", "loss.smooth",
)  # fmt: skip
CONSOLE = ("critic/loss", "transform/attribute", "transform/identity", "transform/smooth")
FORMS = ("local", "global", "none")
ADAPTIVE = "critic"  # in place of a face network: DIAT-A


class Parts(NamedTuple):
    """Which phases a run has besides the adversarial one, and so which networks."""

    denoised: bool  # reconstruction and denoiser
    enhanced: bool = False

    @property
    def phases(self) -> tuple[str, ...]:
        """Names of the phases, in order: each trains the network of its name."""
        before = ("reconstruction", "denoiser") if self.denoised else ()
        return (*before, "transform", *(("enhancement",) if self.enhanced else ()))


def parts_of(cfg: ConfigDict) -> Parts:
    """The parts that ``cfg`` needs."""
    return Parts(bool(cfg.loss.smooth), cfg.enhancement.form != "none")


def networks(cfg: ConfigDict) -> Networks:
    """The networks as ``cfg`` describes them."""
    dtype = jnp.dtype(cfg.dtype)
    critic = cfg.critic
    return Networks(
        Transform(
            **cfg.transform, size=9, resize=3, norm_affine=True, bias=True, initial="normal",
            dtype=dtype,
        ),
        Critic(widths(critic.width, critic.depth), critic.init_std, dtype),
        Denoiser(cfg.denoiser.width, dtype),
    )  # fmt: skip


def model(cfg: ConfigDict) -> Model:
    """DIAT as it is used; of ``cfg`` the networks, their size and the attribute matter."""
    return model_of(networks(cfg), parse(cfg.conditions), cfg.image_size, parts_of(cfg), cfg.remove)


def model_of(
    networks: Networks,
    conditions: tuple[Condition, ...],
    image_size: int,
    parts: Parts,
    remove: bool,
) -> Model:
    """A model of these networks, which makes its one condition appear, or disappear."""

    def init(key: Array, batch: Batch) -> Nets:
        others = {"critic": networks.critic, "denoiser": networks.denoiser}
        shapes = {name: others.get(name, networks.transform) for name in (*parts.phases, "critic")}
        nets = init_all(key, shapes, batch.image)
        if parts.enhanced:
            # It adds nothing at first, so that edits can be looked at before its phase.
            blank = jax.tree.map(jnp.zeros_like, nets["enhancement"]["color"])
            nets["enhancement"] = nets["enhancement"] | {"color": blank}
        return nets

    def edit(nets: Nets, image: Array, want: Array, have: Array) -> Edit:
        del have
        made = apply(networks.transform, nets["transform"], image)
        if parts.enhanced:
            made = enhance(networks.transform, nets["enhancement"], made)
        return Edit(jnp.where(asked(want, remove), jnp.clip(made, -1, 1), image))

    return Model(
        conditions=conditions,
        image_size=image_size,
        init=init,
        edit=edit,
        read=None,
        edits_with=("transform", "enhancement") if parts.enhanced else ("transform",),
        averaged=(),
    )


def init_all(key: Array, networks: dict[str, nn.Module], image: Array) -> Nets:
    """Fresh parameters of networks that see an image."""
    keys = jax.random.split(key, len(networks))
    return {
        name: network.init(one, image)["params"]
        for one, (name, network) in zip(keys, networks.items(), strict=True)
    }


def asked(want: Array, remove: bool) -> Array:
    """Whether the edit that the model knows is wanted, ``b 1 1 1``; others keep their faces."""
    return (want[:, 0] > 0.5)[:, None, None, None] != remove


def enhance(network: nn.Module, params: Params, image: Array) -> Array:
    """The enhancement: what its network draws is added to the image. b h w 3 -> b h w 3."""
    return image + apply(network, params, image)


def training(cfg: ConfigDict, facts: DataFacts) -> Training:
    """DIAT as it is trained (configs/diat.py documents the fields)."""
    sampling, frozen = sample(cfg, facts), frozen_networks(cfg)
    by_name, unroll = build_optimizers(cfg), layers.on_cpu()
    aims = build_objectives(cfg)

    def alone(name: str, loss: str = "") -> StepFn:
        update = Update(name, getattr(aims, loss or name))
        return supervised(by_name, [update], unroll=unroll)

    steps = {
        "reconstruction": alone("reconstruction"),
        "denoiser": alone("denoiser"),
        "transform": alternating(
            by_name,
            fakes=aims.fakes,
            critic=[Update("critic", aims.critic)],
            generator=[Update("transform", aims.transform)],
            unroll=unroll,
        ),
        "enhancement": alone("enhancement"),
    }
    return Training(
        phases=phases(cfg, parts_of(cfg), steps),
        sampling=sampling,
        optimizers=by_name,
        load_frozen=lambda: {name: load() for name, load in frozen.items()},
        monitors=monitors.of_edits(),
        console=CONSOLE,
    )


def phases(cfg: ConfigDict, parts: Parts, steps: dict[str, StepFn]) -> tuple[Phase, ...]:
    """The phases of a run; those without a share are left out (see ``check_phases``)."""
    shares = {name: cfg.phases[name] for name in parts.phases}
    return tuple(Phase(name, share, steps[name]) for name, share in shares.items() if share)


def domains(cfg: ConfigDict) -> tuple[Domain, Domain]:
    """The faces that are edited, and the guide images."""
    (attribute,) = parse(cfg.conditions)
    inputs = Domain(cfg.inputs) if cfg.inputs else Domain(attribute.name, cfg.remove)
    return inputs, Domain(attribute.name, not cfg.remove)


def sample(cfg: ConfigDict, facts: DataFacts) -> Sampling:
    """What the loader draws.

    Raises:
      ValueError: the dataset does not have the condition of the input faces.
    """
    pair = domains(cfg)
    if facts.shown and cfg.inputs and cfg.inputs not in facts.shown:
        raise ValueError(
            f"inputs is {cfg.inputs!r}, a condition that the faces do not have; they have "
            f"{', '.join(facts.shown)}"
        )
    return Sampling(batches=cfg.n_critic, flip=cfg.data.flip, domains=pair)


def frozen_networks(cfg: ConfigDict) -> dict[str, Callable[[], Params]]:
    """What loads each frozen network, by its name in the step."""
    loads = {}
    if cfg.identity.network != ADAPTIVE:
        loads["identity"] = perceptual.network(cfg.identity.network, cfg.data.eyes).load
    if cfg.enhancement.form == "local":
        loads["enhancement"] = perceptual.network(cfg.enhancement.network, cfg.data.eyes).load
    return loads


def looks(cfg: ConfigDict, critic: nn.Module) -> LooksFn:
    """How the identity loss sees a face: two late maps of a face network, or of the critic."""
    if cfg.identity.network == ADAPTIVE:
        return critic_looks(critic, LEVELS)
    network = perceptual.network(cfg.identity.network, cfg.data.eyes)
    return face_looks(perceptual.pick(network.maps, network.late))


def build_objectives(cfg: ConfigDict) -> Objectives:
    """The losses that ``cfg`` describes."""
    made = networks(cfg)
    return objectives(
        made,
        Weights(cfg.loss.identity, cfg.loss.smooth, tuple(cfg.identity.weights)),
        looks(cfg, made.critic),
        saturating=cfg.loss.saturating,
        enhancement=build_enhancement(cfg),
        enhance=functools.partial(enhance, made.transform),
    )


def build_enhancement(cfg: ConfigDict) -> Enhancement | None:
    """How the enhancement network is trained."""
    how = cfg.enhancement
    if how.form == "none":
        return None
    if how.form == "global":
        std = how.blur * cfg.image_size / 128
        return Enhancement(None, blur=lambda image: blurred(image, 2 * math.ceil(3 * std) + 1, std))
    network = perceptual.network(how.network, cfg.data.eyes)
    region = jnp.asarray(diat_masks.mask(how.region, cfg.data.eyes, cfg.image_size))
    return Enhancement(region, perceptual.pick(network.maps, (0, 1, 2)), tuple(how.weights))


def build_optimizers(cfg: ConfigDict) -> dict[str, Optimizer]:
    """Adam for each network at a constant rate, as Torch 7 computes it."""
    return optimizers_of(cfg, {name: (name,) for name in (*parts_of(cfg).phases, "critic")})


def optimizers_of(cfg: ConfigDict, trained: dict[str, tuple[str, ...]]) -> dict[str, Optimizer]:
    """The same for given networks.

    Args:
      cfg: the run.
      trained: networks by the name of their optimiser.
    """

    def transform(name: str) -> optax.GradientTransformationExtraArgs:
        own = name == "denoiser"
        rate, decays = (cfg.lr_denoiser, cfg.adam_denoiser) if own else (cfg.lr, cfg.adam)
        return early_adam(lambda count: rate, *decays)

    return {name: Optimizer(networks, transform(name)) for name, networks in trained.items()}


def check(cfg: ConfigDict) -> None:
    """Refuse what cannot be trained.

    Raises:
      ValueError: names the field, its value and what to do.
    """
    check_shared(cfg)
    parts = parts_of(cfg)
    if cfg.image_size % 4:
        raise ValueError(f"image_size {cfg.image_size} is not a multiple of 4 (transform)")
    identity = (ADAPTIVE, *perceptual.NETWORKS)
    for field, value, choices in (
        ("identity.network", cfg.identity.network, identity),
        ("enhancement.form", cfg.enhancement.form, FORMS),
        ("enhancement.network", cfg.enhancement.network, tuple(perceptual.NETWORKS)),
        ("enhancement.region", cfg.enhancement.region, diat_masks.REGIONS),
    ):
        if value not in choices:
            raise ValueError(f"{field} {value!r} is not one of {', '.join(choices)}")
    if cfg.identity.network == ADAPTIVE and cfg.critic.depth != LEVELS[-1]:
        raise ValueError(
            f"critic.depth is {cfg.critic.depth}, but identity.network={ADAPTIVE!r} (DIAT-A) reads "
            f"the critic's layers {LEVELS[0]} and {LEVELS[1]}: set it to {LEVELS[1]}"
        )
    if cfg.identity.network == ADAPTIVE and parts.denoised:
        raise ValueError(
            f"identity.network is {ADAPTIVE!r} (DIAT-A), which has no denoiser: set loss.smooth=0"
        )
    if cfg.enhancement.blur <= 0:
        raise ValueError(f"enhancement.blur is {cfg.enhancement.blur} pixels; it must be above 0")
    check_phases(cfg, parts)


def check_shared(cfg: ConfigDict) -> None:
    """What is refused in both years.

    Raises:
      ValueError: names the field, its value and what to do.
    """
    if len(cfg.conditions) != 1:
        raise ValueError(
            f"conditions are {', '.join(cfg.conditions)}; a DIAT model knows one, such as Smiling: "
            "train a model for each"
        )
    if cfg.image_size % 2**cfg.critic.depth:
        raise ValueError(
            f"image_size {cfg.image_size} does not halve {cfg.critic.depth} times (critic.depth)"
        )
    if cfg.decay != "constant":
        raise ValueError(f"decay is {cfg.decay!r}; DIAT trains at constant rates: 'constant'")
    if cfg.augment.policy:
        raise ValueError(f"augment.policy is {cfg.augment.policy!r}; DIAT has none: leave it ''")
    if len(cfg.identity.weights) != len(LEVELS):
        raise ValueError(
            f"identity.weights are {cfg.identity.weights}; give one for each of two maps"
        )
    for name in ("critic.width", "denoiser.width", "lr_denoiser"):
        value = functools.reduce(getattr, name.split("."), cfg)
        if value <= 0:
            raise ValueError(f"{name} is {value}; it must be above 0")
    for name, weight in cfg.loss.items():
        if weight < 0:
            raise ValueError(f"loss.{name} is {weight}; it must not be negative")


def check_phases(cfg: ConfigDict, parts: Parts) -> None:
    """Refuse phases without a share, unless the run begins with trained networks.

    Raises:
      ValueError: names the field.
    """
    for name in parts.phases:
        share = cfg.phases[name]
        if share < 0 or (not share and (name == "transform" or not cfg.init_from)):
            raise ValueError(
                f"phases.{name} is {share}; it must be above 0 (with init_from, 0 leaves a phase "
                "other than transform out)"
            )
