"""After DIAT 2018 (Li, Zuo and Zhang, arXiv 1610.05586, v4): a mask chooses what is edited.

As in DIAT 2016 a model makes one attribute appear, or disappear. A U-Net F draws the whole face,
a second network draws a mask m, and the edit is m F(x) + (1 - m) x. GANimation's attention is
1 - m. The critic is a Wasserstein critic with a gradient penalty. There are no numbers in public:
docs/methods.md lists what is decided here.
"""

import jax.numpy as jnp
from ml_collections import ConfigDict

from ganimation_jax.conditions import Condition, parse
from ganimation_jax.features import perceptual
from ganimation_jax.methods import diat2018_losses, diat_losses, diat_parts
from ganimation_jax.methods.diat2018_losses import Networks, Weights
from ganimation_jax.models import layers
from ganimation_jax.models.diat import MASK_SCALE, Critic, Denoiser, Mask, UNet, widths
from ganimation_jax.steps import monitors
from ganimation_jax.steps.updates import Update, alternating, supervised
from ganimation_jax.types import Array, Batch, DataFacts, Edit, Model, Nets, Optimizer, Training

MODEL_FIELDS = (
    "conditions", "remove", "image_size", "transform.", "mask.", "critic.", "denoiser.",
    "loss.smooth",
)  # fmt: skip
CONSOLE = ("critic/loss", "critic/penalty", "transform/adversarial", "transform/edited_share")


def networks(cfg: ConfigDict) -> Networks:
    """The networks as ``cfg`` describes them."""
    dtype, critic = jnp.dtype(cfg.dtype), cfg.critic
    return Networks(
        UNet(widths(cfg.transform.width, cfg.transform.depth), dtype),
        Mask(cfg.mask.width, dtype),
        Critic(widths(critic.width, critic.depth), critic.init_std, dtype),
        Denoiser(cfg.denoiser.width, dtype),
    )


def model(cfg: ConfigDict) -> Model:
    """DIAT 2018 as it is used; of ``cfg`` the networks, their size and the attribute matter."""
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
        shapes = {"reconstruction": networks.transform} | networks._asdict()
        names = (*parts.phases, "mask", "critic")
        return diat_parts.init_all(key, {name: shapes[name] for name in names}, batch.image)

    def edit(nets: Nets, image: Array, want: Array, have: Array) -> Edit:
        del have
        made, chosen = diat2018_losses.edit(networks, nets, image), diat_parts.asked(want, remove)
        attention = jnp.where(chosen, jnp.asarray(made.attention), 1.0)
        return Edit(jnp.where(chosen, made.image, image), attention, made.color)

    return Model(
        conditions=conditions,
        image_size=image_size,
        init=init,
        edit=edit,
        read=None,
        edits_with=("transform", "mask"),
        averaged=(),
        undoes=False,
    )


def parts_of(cfg: ConfigDict) -> diat_parts.Parts:
    """The parts that ``cfg`` needs."""
    return diat_parts.Parts(bool(cfg.loss.smooth))


def training(cfg: ConfigDict, facts: DataFacts) -> Training:
    """DIAT 2018 as it is trained (configs/diat_parts.py documents the fields)."""
    made, parts, by_name = networks(cfg), parts_of(cfg), build_optimizers(cfg)
    face = perceptual.network(cfg.identity.network, cfg.data.eyes)
    seen = perceptual.pick(face.maps, face.late)
    weights = Weights(
        **cfg.loss, expected_ratio=cfg.expected_ratio, levels=tuple(cfg.identity.weights)
    )
    aims = diat2018_losses.objectives(made, weights, seen)
    before = diat_losses.objectives(
        diat_losses.Networks(made.transform, made.critic, made.denoiser),
        diat_losses.Weights(levels=weights.levels),
        diat_losses.face_looks(seen),
    )
    unroll = layers.on_cpu()
    steps = {
        "reconstruction": supervised(
            by_name, [Update("reconstruction", before.reconstruction)], unroll=unroll
        ),
        "denoiser": supervised(by_name, [Update("denoiser", before.denoiser)], unroll=unroll),
        "transform": alternating(
            by_name,
            fakes=aims.fakes,
            critic=[Update("critic", aims.critic)],
            generator=[Update("transform", aims.transform)],
            unroll=unroll,
        ),
    }
    steps = {name: step for name, step in steps.items() if name in parts.phases}
    needs_face = weights.identity or parts.denoised
    return Training(
        phases=diat_parts.phases(cfg, parts, steps),
        sampling=diat_parts.sample(cfg, facts),
        optimizers=by_name,
        load_frozen=lambda: {"identity": face.load()} if needs_face else {},
        monitors=(
            *monitors.of_edits(),
            *monitors.of_penalised_critic(image_size=cfg.image_size, patches=1),
            *monitors.of_edited_share(metric="transform/edited_share"),
        ),
        console=CONSOLE,
    )


def build_optimizers(cfg: ConfigDict) -> dict[str, Optimizer]:
    """Adam for each network at a constant rate; transform and mask have one."""
    trained = {name: (name,) for name in (*parts_of(cfg).phases, "critic")}
    return diat_parts.optimizers_of(cfg, trained | {"transform": ("transform", "mask")})


def check(cfg: ConfigDict) -> None:
    """Refuse what cannot be trained.

    Raises:
      ValueError: names the field, its value and what to do.
    """
    diat_parts.check_shared(cfg)
    perceptual.network(cfg.identity.network, cfg.data.eyes)
    depth = cfg.transform.depth
    if depth < 1 or cfg.image_size % 2**depth or cfg.image_size < 2 ** (depth + 1):
        raise ValueError(
            f"image_size {cfg.image_size} does not halve {depth} times to 2 pixels or more "
            "(transform.depth)"
        )
    if cfg.image_size % MASK_SCALE:
        raise ValueError(f"image_size {cfg.image_size} is not a multiple of {MASK_SCALE} (mask)")
    if cfg.critic.depth != diat_losses.LEVELS[-1]:
        raise ValueError(
            f"critic.depth is {cfg.critic.depth}; loss.perceptual reads the critic's layers 4 and "
            "5: set it to 5"
        )
    if not 0 < cfg.expected_ratio < 1:
        raise ValueError(
            f"expected_ratio is {cfg.expected_ratio}; it is a share of the image, above 0 and "
            "below 1"
        )
    for name in ("transform", "mask"):
        if cfg[name].width <= 0:
            raise ValueError(f"{name}.width is {cfg[name].width}; it must be above 0")
    diat_parts.check_phases(cfg, parts_of(cfg))
