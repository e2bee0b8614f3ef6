"""The critic of pairs: is the second picture a true edit of the first?"""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Float, Float32

from ganimation_jax.models import layers
from ganimation_jax.types import Array

WIDEST = 16  # times the first width
CONDITIONED = 2  # the layer after which the request is added, on maps of an eighth of the side
SLOPE = 0.2  # of the leaky ReLU
SPREAD = 0.25  # about the standard deviation of the differences asked for; they enter divided by it
# What it sees of a face's crop, as fractions of the side: nothing else changes in an edit.
TOP, BOTTOM, LEFT, RIGHT = 3 / 16, 15 / 16, 1 / 8, 7 / 8


class PairCritic(nn.Module):
    """Scores overlapping patches of a face before and after an edit; no normalisation.

    It sees both pictures and the change of action units that was asked for, so that an edit that
    is too weak looks as false to it as one that is not a face. Kernels are drawn as He et al.
    (ICCV 2015) do, because without norms the signal keeps its size only so.

    Attributes:
      width: channels after the first convolution; each further one doubles them, up to
        ``WIDEST`` times.
      depth: number of strided convolutions. With 4, a score sees 78x78 pixels.
      dtype: of the convolutions; parameters stay float32.
    """

    width: int = 24
    depth: int = 4
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        source: Float[Array, "b h h 3"],
        edited: Float[Array, "b h h 3"],
        difference: Float[Array, "b n"],
    ) -> Float32[Array, "b p q"]:
        """Score edits.

        Args:
          source, edited: in [-1, 1].
          difference: the action units asked for minus those of the source.

        Returns:
          unbounded scores, with p = 3/4 h / 2**depth.
        """
        side = source.shape[1]
        rows = slice(round(TOP * side), round(BOTTOM * side))
        columns = slice(round(LEFT * side), round(RIGHT * side))
        x = jnp.concatenate([source, edited], axis=-1)[:, rows, columns]

        def conv(features: int, size: int, stride: int, name: str, x: Array, gain: float) -> Array:
            std = (gain / (size**2 * x.shape[-1])) ** 0.5
            layer = layers.Conv(features, size, stride, True, self.dtype, std, name=name)
            return layer(x)

        for i in range(self.depth):
            features = self.width * min(2**i, WIDEST)
            x = conv(features, 4, 2, f"down{i}", x, 2.0)
            if i == min(CONDITIONED, self.depth - 1):
                wanted = nn.Dense(features, name="request", dtype=self.dtype)(difference / SPREAD)
                x = x + wanted[:, None, None]
            x = nn.leaky_relu(x, SLOPE)
        return conv(1, 3, 1, "score", x, 1.0)[..., 0].astype(jnp.float32)
