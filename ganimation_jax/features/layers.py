"""Layers shared by the pretrained networks. Arrays are ``b h w c``, kernels ``kh kw i o``."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Float

from ganimation_jax.types import Array, Maps, RawImages, to_float

# By default, accelerators round float32 to fewer bits. Scores must not depend on the machine.
PRECISION = lax.Precision.HIGHEST


class Layer(NamedTuple):
    """A convolution, with any fixed-statistics normalisation folded into it."""

    kernel: Array  # kh kw i o
    bias: Array  # o


def make_layer(kernel: ArrayLike, bias: ArrayLike) -> Layer:
    """Put weights from a file on the device."""
    return Layer(jnp.asarray(kernel), jnp.asarray(bias))


def convolve(
    layer: Layer, x: Float[Array, "b h w i"], stride: int = 1, padding: int | str = 0
) -> Float[Array, "b h2 w2 o"]:
    """Convolve with ``padding`` zeros on each side, or "SAME"."""
    pads = padding if isinstance(padding, str) else ((padding, padding),) * 2
    y = lax.conv_general_dilated(
        x,
        layer.kernel,
        (stride, stride),
        pads,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=PRECISION,
    )
    return y + layer.bias


def max_pool(x: Maps, size: int, stride: int, padding: int = 0) -> Float[Array, "b h2 w2 c"]:
    """Take the maximum of each window, ignoring padding."""
    return lax.reduce_window(x, -jnp.inf, lax.max, *_windows(size, stride, padding))


def average_pool(x: Maps, size: int, stride: int, padding: int = 0) -> Float[Array, "b h2 w2 c"]:
    """Average the pixels of each window, ignoring padding."""
    windows = _windows(size, stride, padding)
    ones = jnp.ones((1, *x.shape[1:3], 1), x.dtype)
    count = lax.reduce_window(ones, 0.0, lax.add, *windows)
    return lax.reduce_window(x, 0.0, lax.add, *windows) / count


def imagenet_scale(image: RawImages) -> Float[Array, "b h w 3"]:
    """Normalise images as torchvision's classifiers do."""
    mean, std = jnp.array([0.485, 0.456, 0.406]), jnp.array([0.229, 0.224, 0.225])
    return ((to_float(image) + 1) / 2 - mean) / std


class TooSmall(ValueError):
    """Images are too small for a network."""


def need(image: Array, side: int, network: str) -> None:
    """Reject images that a network's pooling would shrink to nothing.

    Raises:
      TooSmall: the images are not ``b h w 3`` with both sides at least ``side``.
    """
    if image.ndim != 4 or image.shape[-1] != 3 or min(image.shape[1:3]) < side:
        raise TooSmall(
            f"{network} needs images b h w 3 of at least {side} pixels a side: {image.shape}"
        )


def _windows(size: int, stride: int, padding: int) -> tuple:
    return (1, size, size, 1), (1, stride, stride, 1), ((0, 0), *((padding, padding),) * 2, (0, 0))
