"""Names of the arrays in the published PyTorch weights of GANimation.

There are two layouts: ``official`` (albertpumarola/GANimation), whose norms are affine, and
``replicate`` (donydchen/ganimation_replicate), whose convolutions have biases instead. Both number
the layers of one ``nn.Sequential`` in the same way.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.methods.torch_names import count, kernel
from ganimation_jax.models.critic import depth_for
from ganimation_jax.types import Nets

NETWORKS = ("generator", "critic")  # required: the first
CONDITIONS = "action_units"
CONFIG = "emotionet"
Layout = Literal["official", "replicate"]


class Names(NamedTuple):
    """Prefixes of names, which distinguish the layouts."""

    trunk: str
    residual: str
    color: str
    attention: str
    score: str
    aus: str


LAYOUTS: dict[Layout, Names] = {
    # 'attetion' is spelled as in the published code.
    "official": Names("main", "main", "img_reg.0", "attetion_reg.0", "conv1", "conv2"),
    "replicate": Names("model", "conv_block", "color_top.0", "au_top.0", "dis_top", "aus_top"),
}


def names(nets: Nets) -> dict[str, dict[str, str]]:
    """Our path of each parameter -> its name, for each network.

    Args:
      nets: parameters, or shapes, of the generator and, if it is there, of the critic.

    Raises:
      ValueError: no published layout has the generator's arrays.
    """
    generator = nets["generator"]
    norm_affine, conv_bias = "stem_norm" in generator, "bias" in generator["stem"]
    if norm_affine == conv_bias:
        raise ValueError(
            f"no published layout has norm_affine={norm_affine} and conv_bias={conv_bias}: "
            "official has True and False, replicate False and True"
        )
    layout: Layout = "official" if norm_affine else "replicate"
    blocks = sum(name.endswith("_conv0") for name in generator)
    tables = {"generator": generator_names(layout, blocks)}
    if "critic" in nets:
        depth = sum(name.startswith("down") for name in nets["critic"])
        tables["critic"] = critic_names(layout, depth)
    return tables


def config(states: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, Any]:
    """The fields of a config that networks with these arrays have.

    Args:
      states: state dict of each network, by its name in ``NETWORKS``.

    Raises:
      ValueError: neither published layout, or the networks do not belong together.
    """
    generator, critic = states["generator"], states.get("critic")
    layout = _layout(generator, "generator")
    of = LAYOUTS[layout]
    width, inputs = kernel(generator, f"{of.trunk}.0.weight", "the generator").shape[:2]
    units = inputs - 3
    official = layout == "official"
    found: dict[str, Any] = {
        "action_units": ACTION_UNITS if units == len(ACTION_UNITS) else range(units, units + 1),
        "generator": {
            "width": width,
            "residual_blocks": count(generator, rf"{of.trunk}\.\d+\.{of.residual}\.0\.weight"),
            "norm_affine": official,
            "conv_bias": not official,
        },
        "critic": {"width": width, "depth": 0},
    }
    if critic is None:
        return found
    if (other := _layout(critic, "critic")) != layout:
        raise ValueError(f"the generator is of the {layout} layout, the critic of the {other}")
    depth = count(critic, rf"{of.trunk}\.\d+\.weight")
    aus = kernel(critic, f"{of.aus}.weight", "the critic")
    if len(aus) != units:
        raise ValueError(
            f"the generator has {units} action units, the critic {len(aus)}: not of one run"
        )
    found["image_size"] = size = aus.shape[-1] * 2**depth  # the kernel is as large as the last map
    found["critic"] = {
        "width": len(kernel(critic, f"{of.trunk}.0.weight", "the critic")),
        "depth": 0 if _is_default_depth(depth, size) else depth,
    }
    return found


def generator_names(layout: Layout, residual_blocks: int) -> dict[str, str]:
    """Our parameter path -> its name in PyTorch, for a generator."""
    names = LAYOUTS[layout]
    convs = {"stem": ("stem_norm", 0), "down0": ("down0_norm", 3), "down1": ("down1_norm", 6)}
    convs |= {"up0": ("up0_norm", 9 + residual_blocks), "up1": ("up1_norm", 12 + residual_blocks)}
    places = {
        conv: (norm, f"{names.trunk}.{index}", f"{names.trunk}.{index + 1}")
        for conv, (norm, index) in convs.items()
    }
    for block in range(residual_blocks):
        prefix = f"{names.trunk}.{9 + block}.{names.residual}"
        for i in (0, 1):
            norm = f"residual{block}_norm{i}"
            places[f"residual{block}_conv{i}"] = (
                norm,
                f"{prefix}.{3 * i}",
                f"{prefix}.{3 * i + 1}",
            )

    table = {"color": f"{names.color}.weight", "attention": f"{names.attention}.weight"}
    for conv, (norm, conv_name, norm_name) in places.items():
        table[f"{conv}/kernel"] = f"{conv_name}.weight"
        if layout == "official":  # affine norms, convolutions without bias
            table[f"{norm}/scale"] = f"{norm_name}.weight"
            table[f"{norm}/bias"] = f"{norm_name}.bias"
        else:
            table[f"{conv}/bias"] = f"{conv_name}.bias"
    return table


def critic_names(layout: Layout, depth: int) -> dict[str, str]:
    """Our parameter path -> its name in PyTorch, for a critic."""
    names = LAYOUTS[layout]
    table = {"score/kernel": f"{names.score}.weight", "aus": f"{names.aus}.weight"}
    for i in range(depth):
        table[f"down{i}/kernel"] = f"{names.trunk}.{2 * i}.weight"
        table[f"down{i}/bias"] = f"{names.trunk}.{2 * i}.bias"
    return table


def _layout(state: Mapping[str, np.ndarray], network: str) -> Layout:
    marks = {
        layout: f"{names.color if network == 'generator' else names.score}.weight"
        for layout, names in LAYOUTS.items()
    }
    for layout, mark in marks.items():
        if mark in state:
            return layout
    raise ValueError(
        f"not a {network} of a published layout: no {' or '.join(marks.values())} among "
        f"{', '.join(sorted(state)[:8])} ..."
    )


def _is_default_depth(depth: int, image_size: int) -> bool:
    try:
        return depth == depth_for(image_size)
    except ValueError:  # a size that only this critic's own depth fits
        return False
