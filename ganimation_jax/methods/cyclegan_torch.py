"""Names of the arrays in CycleGAN's published PyTorch weights (pytorch-CycleGAN-and-pix2pix)."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ganimation_jax.methods.torch_names import count, kernel
from ganimation_jax.types import Nets, Params

# The code names a critic after the generator that it trains: its D_A judges edits of G_A, which are
# images of the second domain.
NETWORKS = ("generator_ab", "generator_ba", "critic_b", "critic_a")  # G_A, G_B, D_A, D_B
CONDITIONS = "conditions"
CONFIG = "cyclegan"


def names(nets: Nets) -> dict[str, dict[str, str]]:
    """Our path of each parameter -> its name, for each network.

    Args:
      nets: parameters, or shapes, by a name in ``NETWORKS``.

    Raises:
      ValueError: norms are affine, which those of the PyTorch code are not.
    """
    return {net: _names(net, params) for net, params in nets.items()}


def config(states: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, Any]:
    """The fields of a config that networks with these arrays have.

    Args:
      states: state dict of each network, by its name in ``NETWORKS``.

    Raises:
      ValueError: an array by which the sizes are known is missing.
    """
    generator = states["generator_ab"]
    width = len(kernel(generator, "model.1.weight", "CycleGAN's generator"))
    blocks = count(generator, r"model\.\d+\.conv_block\.1\.weight")
    found: dict[str, Any] = {
        "conditions": range(1, 3),  # one label with and without, or two members of a group
        "generator": {"width": width, "residual_blocks": blocks, "norm_affine": False},
        "critic": {"width": width, "depth": 3},
    }
    if critic := states.get("critic_b", states.get("critic_a")):
        pixel = "net.0.weight" in critic
        first = kernel(critic, "net.0.weight" if pixel else "model.0.weight", "CycleGAN's critic")
        depth = 0 if pixel else count(critic, r".*\.weight") - 2
        found["critic"] = {"width": len(first), "depth": depth}
    return found


def _names(network: str, params: Params) -> dict[str, str]:
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
