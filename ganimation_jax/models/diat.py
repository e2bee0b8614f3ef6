"""Networks of DIAT (Li, Zuo and Zhang 2016; 2018) besides its transform network of 2016.

The papers' code is not public. What they leave open is decided here and in docs/methods.md.
"""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Float, Float32

from ganimation_jax.models import layers
from ganimation_jax.types import Array, Images, Maps

MASK_SCALE = 4  # side of the square of pixels that one value of the mask stands for
BLUR = 5, 1.0  # of the enlarged mask: size of the window and standard deviation, in pixels


def widths(first: int, count: int) -> tuple[int, ...]:
    """Channels that double from layer to layer, up to eight times the first's."""
    return tuple(first * min(2**i, 8) for i in range(count))


class Critic(nn.Module):
    """Maps an image to one number, and shows its feature maps; no normalisation, leaky ReLU 0.2.

    Attributes:
      widths: channels after each strided convolution. DIAT compares the last two maps of five.
      init_std: standard deviation of the initial kernels.
      dtype: of the convolutions; parameters stay float32.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    init_std: float = layers.INIT_STD
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, image: Images) -> tuple[Float32[Array, " b"], tuple[Array, ...]]:
        """Judge images.

        Args:
          image: in [-1, 1]; sides divisible by 2 for each convolution.

        Returns:
          unbounded, the logit of being real or a Wasserstein score; and the activations
          ``b h w c`` of each convolution, largest map first.
        """
        conv = partial(layers.Conv, size=4, stride=2, bias=True, init_std=self.init_std)
        x, maps = image, []
        for i, features in enumerate(self.widths):
            x = nn.leaky_relu(conv(features, dtype=self.dtype, name=f"down{i}")(x), 0.2)
            maps.append(x)
        kernel_init = nn.initializers.normal(self.init_std)
        score = nn.Dense(1, kernel_init=kernel_init, dtype=self.dtype, name="score")
        return score(x.reshape(len(x), -1))[:, 0].astype(jnp.float32), tuple(maps)


class Denoiser(nn.Module):
    """Two 3x3 convolutions with ReLU between: removes the artefacts of another network.

    Attributes:
      width: channels between them.
      dtype: of the convolutions; parameters stay float32.
    """

    width: int = 64
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, image: Images) -> Float32[Array, "b h w 3"]:
        """Denoise."""
        conv = partial(layers.Conv, size=3, bias=True, dtype=self.dtype, initial="pytorch")
        x = nn.relu(conv(self.width, name="first")(image))
        return conv(3, name="second")(x).astype(jnp.float32)


class UNet(nn.Module):
    """Encoder and decoder with summed skips; enlarges by moving channels to pixels (DIAT 2018).

    Attributes:
      widths: channels after each convolution that halves the size; as many double it. The paper has
        ten convolutions in all.
      dtype: of convolutions; norms and parameters stay float32.
    """

    widths: tuple[int, ...] = (32, 64, 128, 256, 256)
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, image: Images) -> Float32[Array, "b h w 3"]:
        """Transform.

        Args:
          image: in [-1, 1]; sides divisible by 2 for each width, and then at least 2.

        Returns:
          images in [-1, 1].
        """
        conv = partial(layers.Conv, bias=True, dtype=self.dtype)

        def after(name: str, x: Array) -> Array:
            return nn.relu(layers.InstanceNorm(True, self.dtype, name=f"{name}_norm")(x))

        x, skips = image, []
        for i, features in enumerate(self.widths):
            skips.append(x)
            x = after(f"down{i}", conv(features, 4, 2, name=f"down{i}")(x))
        for i, skip in reversed(list(enumerate(skips))[1:]):
            x = conv(4 * skip.shape[-1], 3, name=f"up{i}")(x)
            x = after(f"up{i}", layers.channels_to_blocks(x, 2)) + skip
        x = layers.channels_to_blocks(conv(4 * 3, 3, name="color")(x), 2)
        return jnp.tanh(x.astype(jnp.float32))


class Mask(nn.Module):
    """Says which squares of pixels an edit changes (DIAT 2018): five convolutions.

    No norm precedes the sigmoid: one over the image would fix the share of the mask.

    Attributes:
      width: channels of the first four convolutions.
      dtype: of convolutions; norms and parameters stay float32.
    """

    width: int = 64
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, image: Images) -> Float32[Array, "b h//4 w//4 1"]:
        """The mask before it is binarised, in [0, 1]."""
        conv = partial(layers.Conv, bias=True, dtype=self.dtype)
        x = image
        for i, (size, stride) in enumerate([(4, 2), (4, 2), (3, 1), (3, 1)]):
            x = conv(self.width, size, stride, name=f"conv{i}")(x)
            x = nn.relu(layers.InstanceNorm(True, self.dtype, name=f"conv{i}_norm")(x))
        return nn.sigmoid(conv(1, 3, name="mask")(x).astype(jnp.float32))


def edited_share(soft: Float[Array, "b h w 1"]) -> Float[Array, "b 4*h 4*w 1"]:
    """The share of the edit in every pixel: binarised, enlarged, with soft edges.

    Args:
      soft: in [0, 1].

    Returns:
      shares in [0, 1]. The gradient passes the threshold of 0.5 as if it were not there
      (straight through).
    """
    binary = (soft > 0.5).astype(jnp.float32) + (soft - lax.stop_gradient(soft))
    large = jnp.repeat(jnp.repeat(binary, MASK_SCALE, axis=1), MASK_SCALE, axis=2)
    return blurred(large, *BLUR)


def blurred(x: Maps, size: int, std: float) -> Maps:
    """Blur by a Gaussian; pixels at the border are repeated outwards.

    Args:
      x: what is blurred.
      size: side of the window in pixels, odd.
      std: standard deviation in pixels.
    """
    at = jnp.arange(size) - size // 2
    kernel = jnp.exp(-jnp.square(at / std) / 2)
    kernel /= kernel.sum()
    edge = size // 2
    x = layers.repeat_edges(layers.repeat_edges(x, edge, 1), edge, 2)
    height, width = x.shape[1] - 2 * edge, x.shape[2] - 2 * edge
    down = jnp.stack([x[:, i : i + height] for i in range(size)], axis=-1)
    x = jnp.matmul(down, kernel, precision=lax.Precision.HIGHEST)
    right = jnp.stack([x[:, :, i : i + width] for i in range(size)], axis=-1)
    return jnp.matmul(right, kernel, precision=lax.Precision.HIGHEST)
