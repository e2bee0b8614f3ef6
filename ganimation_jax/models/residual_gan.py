"""The residual networks of WGAN-GP (Gulrajani et al. 2017, appendix C; ``gan_64x64.py``), 64x64.

The generator's batch norms always use the batch's own statistics, in sampling as well. The critic
has layer norms, because the penalty is on each image's gradient and batch norms mix the images.
"""

from functools import partial
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from ganimation_jax.types import Array, Maps

GENERATOR_WIDTHS = (8, 4, 2, 1)  # times ``width``
CRITIC_WIDTHS = (2, 4, 8, 8)
# Uniform, of standard deviation sqrt(4 / (fan in + fan out)), or sqrt(2 / ...).
WIDE = nn.initializers.variance_scaling(2.0, "fan_avg", "uniform")
NARROW = nn.initializers.variance_scaling(1.0, "fan_avg", "uniform")
# Whether channels are normalised over batch and pixels, or each image over its pixels and channels.
AXES = {"batch": (0, 1, 2), "layer": (1, 2, 3)}

Kind = Literal["batch", "layer"]


class Norm(nn.Module):
    """Normalise with this batch's statistics (eps 1e-5); scale and shift of each channel."""

    kind: Kind

    @nn.compact
    def __call__(self, x: Maps) -> Maps:
        """Normalise."""
        axes, shape = AXES[self.kind], x.shape[-1:]
        x = x - x.mean(axes, keepdims=True)
        x = x * jax.lax.rsqrt(jnp.square(x).mean(axes, keepdims=True) + 1e-5)
        scale = self.param("scale", nn.initializers.ones, shape)
        return x * scale + self.param("bias", nn.initializers.zeros, shape)


class Block(nn.Module):
    """Norm, ReLU, convolution, twice, beside a shortcut; doubles or halves the size.

    Attributes:
      features: channels of the result.
      up: whether to double the size (before the first convolution and the shortcut) or to halve it
        (after the second convolution, before the shortcut).
      norm: kind of norm.
    """

    features: int
    up: bool
    norm: Kind

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h2 w2 o"]:
        """Apply."""
        within = self.features if self.up else x.shape[-1]
        shortcut = nn.Conv(self.features, (1, 1), kernel_init=NARROW, name="shortcut")
        conv = partial(nn.Conv, kernel_size=(3, 3), kernel_init=WIDE)
        y = nn.relu(Norm(self.norm, name="norm1")(x))
        y = conv(within, use_bias=False, name="conv1")(_double(y) if self.up else y)
        y = nn.relu(Norm(self.norm, name="norm2")(y))
        y = conv(self.features, name="conv2")(y)
        if self.up:
            return y + shortcut(_double(x))
        return _halve(y) + shortcut(_halve(x))


class Generator(nn.Module):
    """Noise to images of 64x64.

    Attributes:
      width: channels before the last layer (published: 64).
    """

    width: int = 64

    @nn.compact
    def __call__(self, noise: Float[Array, "b n"]) -> Float[Array, "b 64 64 3"]:
        """Generate, in [-1, 1]."""
        features = 8 * self.width
        x = nn.Dense(16 * features, kernel_init=NARROW, name="input")(noise)
        x = x.reshape(len(x), 4, 4, features)
        for i, factor in enumerate(GENERATOR_WIDTHS):
            x = Block(factor * self.width, up=True, norm="batch", name=f"block{i}")(x)
        x = nn.relu(Norm("batch", name="norm")(x))
        return jnp.tanh(nn.Conv(3, (3, 3), kernel_init=WIDE, name="output")(x))


class Critic(nn.Module):
    """Images of 64x64 to one score each.

    Attributes:
      width: channels of the first convolution (published: 64).
    """

    width: int = 64

    @nn.compact
    def __call__(self, image: Float[Array, "b 64 64 3"]) -> Float[Array, " b"]:
        """Score images."""
        x = nn.Conv(self.width, (3, 3), kernel_init=NARROW, name="input")(image)
        for i, factor in enumerate(CRITIC_WIDTHS):
            x = Block(factor * self.width, up=False, norm="layer", name=f"block{i}")(x)
        x = x.reshape(len(x), -1)
        return nn.Dense(1, kernel_init=NARROW, name="output")(x)[:, 0]


def _double(x: Array) -> Array:
    # b h w c -> b 2h 2w c: each pixel becomes a block of four.
    return x.repeat(2, axis=1).repeat(2, axis=2)


def _halve(x: Array) -> Array:
    # b h w c -> b h/2 w/2 c: means of blocks of four.
    b, height, width, c = x.shape
    return x.reshape(b, height // 2, 2, width // 2, 2, c).mean(axis=(2, 4))
