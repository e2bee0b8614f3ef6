"""The critic of GANimation (paper, section 4.1) and StarGAN.

A PatchGAN that also reads the conditions of a face: action units, or logits of attributes.
"""

import math
from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Float, Float32

from ganimation_jax.models import layers
from ganimation_jax.types import Array

PUBLISHED_DEPTH = 6  # strided convolutions at 128x128; each further one doubles the width


def depth_for(image_size: int) -> int:
    """Number of strided convolutions for an image size: down to 2x2 patches, at most six.

    64 -> 5, 128 -> 6 (published), 256 -> 6 (4x4 patches, as in StarGAN's code at 256).

    Raises:
      ValueError: no depth divides the size evenly.
    """
    depth = min(image_size.bit_length() - 2, PUBLISHED_DEPTH)
    if image_size < 16 or image_size % 2**depth:
        near = max(16, round(image_size / 64) * 64)
        raise ValueError(
            f"image_size {image_size} does not halve evenly {depth} times, as the critic needs; "
            f"use 16, 32, 64 or a multiple of 64 such as {near}"
        )
    return depth


class Critic(nn.Module):
    """Maps an image to patch scores and conditions; no normalisation, leaky ReLU 0.01.

    Attributes:
      action_units: number of action units to regress, or of logits.
      width: channels after the first convolution (published: 64); each further one doubles them.
      depth: number of strided convolutions; 0 uses ``depth_for`` the image size.
      init_std: standard deviation of the initial kernels. Without normalisation, the critic's
        signal shrinks with the width: at width 16, the published 0.02 gives features in which
        faces differ by less than the biases do. 0.02 * sqrt(64 / width) keeps the signal of the
        published width.
      initial: "normal", or "pytorch", which ignores ``init_std``; see ``layers.initializers``.
      dtype: dtype of the convolutions; parameters stay float32.
    """

    action_units: int
    width: int = 64
    depth: int = 0
    init_std: float = layers.INIT_STD
    initial: layers.Initial = "normal"
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, image: Float[Array, "b h h 3"]
    ) -> tuple[Float32[Array, "b p p"], Float32[Array, "b n"]]:
        """Score images.

        Args:
          image: in [-1, 1].

        Returns:
          Patch scores and conditions, both unbounded, with p = h / 2**depth.
        """
        conv = partial(layers.Conv, dtype=self.dtype, init_std=self.init_std, initial=self.initial)
        x = image
        for i in range(self.depth or depth_for(image.shape[1])):
            x = nn.leaky_relu(conv(self.width * 2**i, 4, 2, True, name=f"down{i}")(x), 0.01)
        score = conv(1, 3, name="score")(x)[..., 0]
        # The published 'valid' convolution is as large as the map: a dense layer in its layout.
        shape = (*x.shape[1:], self.action_units)
        draw, _ = layers.initializers(self.initial, math.prod(shape[:3]), self.init_std)
        kernel = self.param("aus", draw, shape).astype(self.dtype)
        aus = jnp.einsum("byxc,yxcn->bn", x, kernel)
        return score.astype(jnp.float32), aus.astype(jnp.float32)
