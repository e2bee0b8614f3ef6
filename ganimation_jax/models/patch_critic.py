"""The PatchGAN critic (Isola et al., CVPR 2017) with which CycleGAN judges images."""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Float

from ganimation_jax.models import layers
from ganimation_jax.types import Array, Images

WIDEST = 8  # times the first width


class PatchCritic(nn.Module):
    """Scores overlapping patches; instance norm, leaky ReLU 0.2. Its scores are logits.

    With three strided layers each score sees 70x70 pixels.

    Attributes:
      width: channels after the first convolution; each further one doubles them, up to
        ``WIDEST`` times.
      depth: number of strided convolutions (published: 3); 0 scores each pixel by itself with
        1x1 convolutions (PixelGAN).
      norm_affine: instance norms with scale and shift (CycleGAN's Torch 7 code).
      initial: see ``layers.initializers``.
      dtype: of the convolutions; norms and parameters stay float32.
    """

    width: int = 64
    depth: int = 3
    norm_affine: bool = False
    initial: layers.Initial = "normal"
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, image: Images) -> Float[Array, "b p q"]:
        """Score images.

        Args:
          image: in [-1, 1].

        Returns:
          scores of p x q patches. With zeros around the image of PyTorch's padding 1, the last two
          convolutions, at stride 1, make the map smaller by 1 each: 128 pixels give 14x14 scores.
        """
        conv = partial(layers.Conv, bias=True, dtype=self.dtype, initial=self.initial)

        def norm(name: str, x: Array) -> Array:
            return layers.InstanceNorm(self.norm_affine, self.dtype, name=name)(x)

        def dense(features: int, name: str, x: Array) -> Array:
            if not self.depth:
                return conv(features, size=1, name=name)(x)
            # Padded by 2 before and 1 after, so that the first row and column are not PyTorch's.
            return conv(features, size=4, name=name)(x)[:, 1:, 1:]

        x = image
        if not self.depth:
            x = nn.leaky_relu(dense(self.width, "down0", x), 0.2)
        for i in range(self.depth):
            x = conv(self.width * min(2**i, WIDEST), size=4, stride=2, name=f"down{i}")(x)
            x = nn.leaky_relu(norm(f"down{i}_norm", x) if i else x, 0.2)
        x = dense(self.width * min(2 ** max(self.depth, 1), WIDEST), "dense", x)
        x = nn.leaky_relu(norm("dense_norm", x), 0.2)
        return dense(1, "score", x)[..., 0].astype(jnp.float32)
