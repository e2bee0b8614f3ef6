"""Names of the arrays in StarGAN's published PyTorch weights (yunjey/stargan)."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ganimation_jax.methods.torch_names import count, kernel
from ganimation_jax.types import Nets, Params

NETWORKS = ("generator", "critic")  # required: the first
CONDITIONS = "conditions"
CONFIG = "stargan"
# The labels that the published models were trained with, by their number.
CELEBA = ("Black_Hair", "Blond_Hair", "Brown_Hair", "Male", "Young")
# RaFD's folders in alphabetical order, of which contemptuous and fearful have other names here.
RAFD = ("angry", "contempt", "disgusted", "afraid", "happy", "neutral", "sad", "surprised")
LABELS = {5: CELEBA, 8: tuple(f"emotion={name}" for name in RAFD)}


def names(nets: Nets) -> dict[str, dict[str, str]]:
    """Our path of each parameter -> its name, for each network.

    Args:
      nets: parameters, or shapes, by a name in ``NETWORKS``.
    """
    write = {"generator": _generator, "critic": _critic}
    return {net: write[net](params) for net, params in nets.items()}


def config(states: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, Any]:
    """The fields of a config that networks with these arrays have.

    Args:
      states: state dict of each network, by its name in ``NETWORKS``.

    Raises:
      ValueError: an array by which the sizes are known is missing.
    """
    generator = states["generator"]
    width, inputs = kernel(generator, "main.0.weight", "StarGAN's generator").shape[:2]
    labels, blocks = inputs - 3, count(generator, r"main\.\d+\.main\.0\.weight")
    found: dict[str, Any] = {
        "conditions": LABELS.get(labels, range(labels, labels + 1)),
        "masked_by": "",
        "generator": {"width": width, "residual_blocks": blocks},
        "critic": {"width": width, "depth": 0},
    }
    if critic := states.get("critic"):
        depth = count(critic, r"main\.\d+\.weight")
        width = len(kernel(critic, "main.0.weight", "StarGAN's critic"))
        found["critic"] = {"width": width, "depth": depth}
        last_map = kernel(critic, "conv2.weight", "StarGAN's critic").shape[-1]
        found["image_size"] = last_map * 2**depth
    return found


def _critic(params: Params) -> dict[str, str]:
    table = {"score/kernel": "conv1.weight", "aus": "conv2.weight"}
    for i in range(sum(name.startswith("down") for name in params)):
        table |= _conv(f"down{i}", f"main.{2 * i}", bias=True)
    return table


def _generator(params: Params) -> dict[str, str]:
    blocks = sum(name.endswith("_conv0") for name in params)
    table = {"color/kernel": f"main.{15 + blocks}.weight"}
    places = {"stem": 0, "down0": 3, "down1": 6, "up0": 9 + blocks, "up1": 12 + blocks}
    for layer, place in places.items():
        table |= _conv(layer, f"main.{place}") | _norm(f"{layer}_norm", f"main.{place + 1}")
    for block in range(blocks):
        for i in (0, 1):
            layer, place = f"residual{block}", f"main.{9 + block}.main"
            table |= _conv(f"{layer}_conv{i}", f"{place}.{3 * i}")
            table |= _norm(f"{layer}_norm{i}", f"{place}.{3 * i + 1}")
    return table


def _conv(layer: str, place: str, bias: bool = False) -> dict[str, str]:
    table = {f"{layer}/kernel": f"{place}.weight"}
    return table | {f"{layer}/bias": f"{place}.bias"} if bias else table


def _norm(layer: str, place: str) -> dict[str, str]:
    return {f"{layer}/scale": f"{place}.weight", f"{layer}/bias": f"{place}.bias"}
