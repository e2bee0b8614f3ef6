"""Names of the arrays in CycleGAN's published PyTorch weights (pytorch-CycleGAN-and-pix2pix)."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ganimation_jax.types import Params

# The code names a critic after the generator that it trains: its D_A judges edits of G_A, which are
# images of the second domain.
NETWORKS = ("generator_ab", "generator_ba", "critic_b", "critic_a")  # G_A, G_B, D_A, D_B


def names(network: str, params: Params) -> dict[str, str]:
    """Our path of each parameter -> its name.

    Args:
      network: a name in ``NETWORKS``.
      params: its parameters, or shapes.

    Raises:
      ValueError: norms are affine, which those of the PyTorch code are not.
    """
    if any(name.endswith("norm") for name in params):
        raise ValueError(
            f"{network} has affine instance norms (generator.norm_affine), as the Torch 7 code "
            "has; the PyTorch code has none and could not hold their weights"
        )
    if network.startswith("critic"):
        depth = sum(name.startswith("down") for name in params)
        if params["score"]["kernel"].shape[0] == 1:  # PixelGAN
            places = {"down0": "net.0", "dense": "net.2", "score": "net.5"}
        else:
            places = {f"down{i}": f"model.{max(3 * i - 1, 0)}" for i in range(depth)}
            places |= {"dense": f"model.{3 * depth - 1}", "score": f"model.{3 * depth + 2}"}
    else:
        blocks = sum(name.endswith("_conv0") for name in params)
        numbers = {"stem": 1, "down0": 4, "down1": 7}
        numbers |= {"up0": 10 + blocks, "up1": 13 + blocks, "color": 17 + blocks}
        places = {layer: f"model.{number}" for layer, number in numbers.items()}
        for block in range(blocks):
            places[f"residual{block}_conv0"] = f"model.{10 + block}.conv_block.1"
            places[f"residual{block}_conv1"] = f"model.{10 + block}.conv_block.5"
    return {
        f"{layer}/{ours}": f"{place}.{theirs}"
        for layer, place in places.items()
        for ours, theirs in (("kernel", "weight"), ("bias", "bias"))
    }


def config(states: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, Any]:
    """The fields of a config that networks with these arrays have.

    Args:
      states: state dict of each network, by its name in ``NETWORKS``.

    Raises:
      ValueError: an array by which the sizes are known is missing.
    """
    generator = states["generator_ab"]
    stem = _kernel(generator, "model.1.weight", "generator")
    blocks = sum(bool(re.fullmatch(r"model\.\d+\.conv_block\.1\.weight", n)) for n in generator)
    found: dict[str, Any] = {
        "conditions": 2,
        "generator": {"width": stem.shape[0], "residual_blocks": blocks, "norm_affine": False},
        "critic": {"width": stem.shape[0], "depth": 3},
    }
    if critic := states.get("critic_b", states.get("critic_a")):
        pixel = "net.0.weight" in critic
        first = _kernel(critic, "net.0.weight" if pixel else "model.0.weight", "critic")
        kernels = sum(name.endswith(".weight") for name in critic)
        found["critic"] = {"width": first.shape[0], "depth": 0 if pixel else kernels - 2}
    return found


def _kernel(state: Mapping[str, np.ndarray], name: str, network: str) -> np.ndarray:
    if name not in state or state[name].ndim != 4:
        raise ValueError(
            f"not CycleGAN's {network}: no kernel {name} among {', '.join(sorted(state)[:6])} ..."
        )
    return state[name]
