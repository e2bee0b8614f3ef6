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

import jax
import jax.numpy as jnp
from flax import linen as nn
from ml_collections import ConfigDict

from ganimation_jax.conditions import Condition, parse
from ganimation_jax.features import perceptual
from ganimation_jax.methods import diat_masks, diat_parts
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
from ganimation_jax.steps.updates import LossFn, Update, alternating, supervised
from ganimation_jax.types import (
    Array,
    Batch,
    DataFacts,
    Edit,
    Model,
    Nets,
    Optimizer,
    Params,
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


def parts_of(cfg: ConfigDict) -> diat_parts.Parts:
    """The parts that ``cfg`` needs."""
    return diat_parts.Parts(bool(cfg.loss.smooth), cfg.enhancement.form != "none")


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
    parts: diat_parts.Parts,
    remove: bool,
) -> Model:
    """A model of these networks, which makes its one condition appear, or disappear."""

    def init(key: Array, batch: Batch) -> Nets:
        others = {"critic": networks.critic, "denoiser": networks.denoiser}
        shapes = {name: others.get(name, networks.transform) for name in (*parts.phases, "critic")}
        nets = diat_parts.init_all(key, shapes, batch.image)
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
        return Edit(jnp.where(diat_parts.asked(want, remove), jnp.clip(made, -1, 1), image))

    return Model(
        conditions=conditions,
        image_size=image_size,
        init=init,
        edit=edit,
        read=None,
        edits_with=("transform", "enhancement") if parts.enhanced else ("transform",),
        averaged=(),
        undoes=False,
    )


def enhance(network: nn.Module, params: Params, image: Array) -> Array:
    """The enhancement: what its network draws is added to the image. b h w 3 -> b h w 3."""
    return image + apply(network, params, image)


def training(cfg: ConfigDict, facts: DataFacts) -> Training:
    """DIAT as it is trained (configs/diat.py documents the fields)."""
    sampling, frozen = diat_parts.sample(cfg, facts), frozen_networks(cfg)
    by_name, unroll = build_optimizers(cfg), layers.on_cpu()
    aims = build_objectives(cfg)

    def alone(name: str, loss: LossFn) -> StepFn:
        return supervised(by_name, [Update(name, loss)], unroll=unroll)

    steps = {
        "reconstruction": alone("reconstruction", aims.reconstruction),
        "denoiser": alone("denoiser", aims.denoiser),
        "transform": alternating(
            by_name,
            fakes=aims.fakes,
            critic=[Update("critic", aims.critic)],
            generator=[Update("transform", aims.transform)],
            unroll=unroll,
        ),
        "enhancement": alone("enhancement", aims.enhancement),
    }
    return Training(
        phases=diat_parts.phases(cfg, parts_of(cfg), steps),
        sampling=sampling,
        optimizers=by_name,
        load_frozen=lambda: {name: load() for name, load in frozen.items()},
        monitors=monitors.of_edits(),
        console=CONSOLE,
    )


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
    return diat_parts.optimizers_of(
        cfg, {name: (name,) for name in (*parts_of(cfg).phases, "critic")}
    )


def check(cfg: ConfigDict) -> None:
    """Refuse what cannot be trained.

    Raises:
      ValueError: names the field, its value and what to do.
    """
    diat_parts.check_shared(cfg)
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
    diat_parts.check_phases(cfg, parts)
