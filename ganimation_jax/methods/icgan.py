"""IcGAN, the invertible conditional GAN (Perarnau et al. 2016).

Four networks in three phases of one run: a conditional DCGAN learns to make faces of noise and
conditions; one encoder learns to read the noise in its samples, another to read the conditions in
real faces. An edit makes the face anew, of its noise and the wanted conditions. Nothing keeps the
person: noise of 100 numbers describes a face only roughly. Images are 64x64, as published; the
networks are not known to train at more.
"""

import functools
import math

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from ganimation_jax.conditions import parse
from ganimation_jax.methods.icgan_losses import (
    Networks,
    edit,
    objectives,
    read,
    refreshing,
    scaled,
    statistics_of,
)
from ganimation_jax.models import layers
from ganimation_jax.models.dcgan import Critic, Encoder, Generator
from ganimation_jax.steps import monitors
from ganimation_jax.steps.optimizers import early_adam
from ganimation_jax.steps.updates import Update, alternating, supervised
from ganimation_jax.types import (
    Array,
    Batch,
    Condition,
    DataFacts,
    Model,
    Nets,
    Optimizer,
    Phase,
    Sampling,
    Training,
)

MODEL_FIELDS = ("conditions", "image_size", "latent", "generator.", "critic.", "encoder.")
CONSOLE = ("critic/loss", "generator/loss", "encoder_z/loss", "encoder_y/loss")
SIZES = (16, 32, 64)  # sides of images; published: 64
ADVERSARIAL = ("generator", "critic")


def networks(cfg: ConfigDict) -> Networks:
    """The four networks as ``cfg`` describes them."""
    dtype, encoder = jnp.dtype(cfg.dtype), cfg.encoder
    return Networks(
        Generator(cfg.image_size, cfg.generator.width, bias=True, dtype=dtype),
        Critic(cfg.critic.width, bias=True, dtype=dtype),
        Encoder(cfg.latent, encoder.hidden_z, encoder.width, dtype),
        Encoder(len(cfg.conditions), encoder.hidden_y, encoder.width, dtype),
    )


def model(cfg: ConfigDict) -> Model:
    """IcGAN as it is used; of ``cfg`` the networks, their size and conditions matter."""
    return model_of(networks(cfg), parse(cfg.conditions), cfg.image_size)


def model_of(networks: Networks, conditions: tuple[Condition, ...], image_size: int) -> Model:
    """A model of these networks."""

    def init(key: Array, batch: Batch) -> Nets:
        keys, nets = jax.random.split(key, len(networks)), Nets()
        codes = jnp.zeros((len(batch.want), networks.encoder_z.outputs + len(conditions)))
        inputs = {"generator": (codes,), "critic": (batch.image, scaled(batch.want))}
        for one, (name, network) in zip(keys, networks._asdict().items(), strict=True):
            made = network.init(one, *inputs.get(name, (batch.image,)), train=False)
            nets |= {name: made["params"], statistics_of(name): made["statistics"]}
        return nets

    return Model(
        conditions=conditions,
        image_size=image_size,
        init=init,
        edit=functools.partial(edit, networks),
        read=functools.partial(read, networks, conditions),
        edits_with=with_statistics("generator", "encoder_z"),
        averaged=(),
        reads_with=with_statistics("encoder_y"),
    )


def with_statistics(*names: str) -> tuple[str, ...]:
    """Networks and their batch statistics."""
    return (*names, *map(statistics_of, names))


def training(cfg: ConfigDict, facts: DataFacts) -> Training:
    """IcGAN as it is trained (configs/icgan.py documents the fields)."""
    nets, by_name = networks(cfg), build_optimizers(cfg)
    aims = objectives(nets, wrong=cfg.loss.wrong, flip=cfg.data.flip)
    unroll = layers.on_cpu()
    adversarial = alternating(
        by_name,
        fakes=aims.draw,
        critic=[Update("critic", aims.critic)],
        generator=[Update("generator", aims.generator)],
        unroll=unroll,
    )
    steps = {
        "gan": adversarial,
        "refresh": refreshing(nets.generator, cfg.latent),
        "encoder_z": supervised(by_name, [Update("encoder_z", aims.encoder_z)], unroll=unroll),
        "encoder_y": supervised(by_name, [Update("encoder_y", aims.encoder_y)], unroll=unroll),
    }
    shares = phase_shares(cfg, facts.examples)
    return Training(
        phases=tuple(Phase(name, shares[name], step) for name, step in steps.items()),
        sampling=Sampling(batches=cfg.n_critic, clip=False, flip=False, wrong=bool(cfg.loss.wrong)),
        optimizers=by_name,
        monitors=monitors.of_log_loss() + monitors.of_encoders(constant_error=4 * facts.variance),
        console=CONSOLE,
    )


def phase_shares(cfg: ConfigDict, examples: int) -> dict[str, float]:
    """The share of each phase of all images; that of the refresh is so many whole calls.

    Args:
      cfg: of the run.
      examples: number of training faces.

    Raises:
      ValueError: the run is too short.
    """
    per_call = cfg.n_critic * cfg.batch_size * cfg.steps_per_call
    calls, refresh = math.ceil(cfg.epochs * examples / per_call), cfg.refresh
    of_refresh = math.ceil(refresh / cfg.steps_per_call)
    parts = cfg.phases.to_dict()
    left = calls - of_refresh
    if left < len(parts):
        raise ValueError(
            f"{calls} calls of {per_call} images are too few for three phases and a refresh of "
            f"{refresh} steps; raise epochs or lower refresh"
        )
    # Cut at whole calls, so that rounding changes no phase.
    gan = round(left * parts["gan"] / sum(parts.values()))
    encoder_z = round(left * parts["encoder_z"] / sum(parts.values()))
    counts = {"gan": gan, "refresh": of_refresh, "encoder_z": encoder_z}
    counts["encoder_y"] = left - gan - encoder_z
    return {name: count / calls for name, count in counts.items()}


def build_optimizers(cfg: ConfigDict) -> dict[str, Optimizer]:
    """Adam for each network, as Torch 7 computes it, at constant rates."""

    def optimizer(name: str) -> Optimizer:
        adversarial = name in ADVERSARIAL
        rate = cfg.lr if adversarial else cfg.lr_encoder
        decays = cfg.adam if adversarial else cfg.adam_encoder
        return Optimizer((name,), early_adam(lambda count: rate, *decays))

    return {name: optimizer(name) for name in Networks._fields}


def check(cfg: ConfigDict) -> None:
    """Refuse what cannot be trained.

    Raises:
      ValueError: names the field, its value and what to do.
    """
    if cfg.image_size not in SIZES:
        raise ValueError(
            f"image_size is {cfg.image_size}; IcGAN's networks are made for 64 (or 16 or 32): use "
            "another method for larger images"
        )
    if cfg.batch_size < 2:
        raise ValueError(f"batch_size is {cfg.batch_size}; batch norms need 2 images or more")
    if cfg.decay != "constant":
        raise ValueError(f"decay is {cfg.decay!r}; IcGAN trains at constant rates: 'constant'")
    if not 0 <= cfg.loss.wrong < 1:
        raise ValueError(f"loss.wrong is {cfg.loss.wrong}; it is a share, at least 0 and below 1")
    if cfg.augment.policy:
        raise ValueError(f"augment.policy is {cfg.augment.policy!r}; IcGAN has none: leave it ''")
    sizes = ("generator.width", "critic.width", "encoder.width", "encoder.hidden_z")
    for name in (*sizes, "encoder.hidden_y", "latent", "lr_encoder"):
        value = functools.reduce(getattr, name.split("."), cfg)
        if value <= 0:
            raise ValueError(f"{name} is {value}; it must be above 0")
    for name in ("gan", "encoder_z", "encoder_y"):
        if cfg.phases[name] <= 0:
            raise ValueError(f"phases.{name} is {cfg.phases[name]}; it must be above 0")
    if cfg.refresh < 0:
        raise ValueError(f"refresh is {cfg.refresh} steps; it must not be negative")
