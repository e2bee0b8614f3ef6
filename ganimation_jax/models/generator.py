"""The generator (paper, section 4.1 and appendix): one trunk, two heads."""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from ganimation_jax.models import layers

CONDITIONS = ("concat", "film")


class Generator(nn.Module):
    """Image and action units in, attention and colour out.

    Attributes:
      width: channels after the first convolution (published: 64).
      residual_blocks: blocks at a quarter of the image size (published: 6).
      condition: how action units enter: "concat", as constant planes beside the image
        (published), or "film", as scale and shift of each channel after each norm, linear in
        the action units (Perez et al., AAAI 2018).
      norm_affine, conv_bias: instance norm with scale and shift and convolutions without
        bias (official code), or the reverse (``ganimation_replicate``). Heads have no bias.
      dtype: of convolutions; norms and parameters stay float32.
    """

    width: int = 64
    residual_blocks: int = 6
    condition: str = "concat"
    norm_affine: bool = True
    conv_bias: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, image: Array, aus: Array) -> tuple[Array, Array]:
        """Apply.

        Args:
          image: ``b h w 3`` in [-1, 1]; sides divisible by 4.
          aus: ``b n``, the action units that the edited face shall have, in [0, 1].

        Returns:
          attention ``b h w 1`` in [0, 1], the share of the source to keep, and colour
          ``b h w 3`` in [-1, 1]; float32.
        """
        bias, dtype, film = self.conv_bias, self.dtype, self.condition == "film"
        conv = partial(layers.Conv, bias=bias, dtype=dtype)

        def norm(name: str, x: Array) -> Array:
            x = layers.InstanceNorm(self.norm_affine, dtype, name=name)(x)
            return layers.Film(name=name.replace("norm", "film"))(x, aus) if film else x

        if film:
            x = conv(self.width, 7, name="stem")(image)
        else:
            x = layers.ConditionedConv(self.width, 7, bias, dtype, name="stem")(image, aus)
        x = nn.relu(norm("stem_norm", x))
        for i, factor in enumerate((2, 4)):
            x = conv(self.width * factor, 4, 2, name=f"down{i}")(x)
            x = nn.relu(norm(f"down{i}_norm", x))
        for i in range(self.residual_blocks):
            y = conv(x.shape[-1], 3, name=f"residual{i}_conv0")(x)
            y = nn.relu(norm(f"residual{i}_norm0", y))
            y = conv(x.shape[-1], 3, name=f"residual{i}_conv1")(y)
            x = x + norm(f"residual{i}_norm1", y)
        for i, factor in enumerate((2, 1)):
            x = layers.ConvTranspose(self.width * factor, bias, dtype, name=f"up{i}")(x)
            x = nn.relu(norm(f"up{i}_norm", x))
        return self._heads(x)

    def _heads(self, x: Array) -> tuple[Array, Array]:
        # Both heads read the same features: one convolution with 3 + 1 channels.
        shape = (7, 7, x.shape[-1])
        color = self.param("color", layers.kernel_init, (*shape, 3))
        attention = self.param("attention", layers.kernel_init, (*shape, 1))
        kernel = jnp.concatenate([color, attention], axis=-1).astype(self.dtype)
        x = layers.conv(x, kernel).astype(jnp.float32)
        return nn.sigmoid(x[..., 3:]), jnp.tanh(x[..., :3])


def blend(image: Array, attention: Array, color: Array) -> Array:
    """Edited image (paper, eq. 1): attention is the share of the source that is kept."""
    return attention * image + (1 - attention) * color
