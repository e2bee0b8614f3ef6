"""What DIAT 2016 and 2018 share as methods: phases, data, optimisers, checks."""

import functools
from typing import NamedTuple

import jax
import optax
from flax import linen as nn
from ml_collections import ConfigDict

from ganimation_jax.conditions import Domain, parse
from ganimation_jax.methods.diat_losses import LEVELS
from ganimation_jax.steps.optimizers import early_adam
from ganimation_jax.types import Array, DataFacts, Nets, Optimizer, Phase, Sampling, StepFn


class Parts(NamedTuple):
    """Which phases a run has besides the adversarial one, and so which networks."""

    denoised: bool  # reconstruction and denoiser
    enhanced: bool = False

    @property
    def phases(self) -> tuple[str, ...]:
        """Names of the phases, in order: each trains the network of its name."""
        before = ("reconstruction", "denoiser") if self.denoised else ()
        return (*before, "transform", *(("enhancement",) if self.enhanced else ()))


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


def optimizers_of(cfg: ConfigDict, trained: dict[str, tuple[str, ...]]) -> dict[str, Optimizer]:
    """Adam for each network at a constant rate, as Torch 7 computes it.

    Args:
      cfg: the run.
      trained: networks by the name of their optimiser.
    """

    def transform(name: str) -> optax.GradientTransformationExtraArgs:
        own = name == "denoiser"
        rate, decays = (cfg.lr_denoiser, cfg.adam_denoiser) if own else (cfg.lr, cfg.adam)
        return early_adam(lambda count: rate, *decays)

    return {name: Optimizer(networks, transform(name)) for name, networks in trained.items()}


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
