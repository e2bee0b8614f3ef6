"""Encoder, residual blocks, decoder: the transform network of many image-to-image methods.

Johnson, Alahi and Fei-Fei (ECCV 2016) introduced the shape. StarGAN, CycleGAN and DIAT each use it
with their own padding, kernels and norms; GANimation's generator has the same trunk.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, Protocol, runtime_checkable

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Float

from ganimation_jax.models import layers
from ganimation_jax.types import Array, Conditions, Images, Maps


@runtime_checkable
class Layer(Protocol):
    """Makes a convolution with so many output channels."""

    def __call__(self, features: int, *, name: str) -> Callable[[Array], Array]:
        """A module of this name."""
        ...


def trunk(
    x: Maps,
    residual_blocks: int,
    *,
    down: Layer,
    conv: Layer,
    up: Layer,
    norm: Callable[[str, Array], Array],
) -> Maps:
    """From the features of the first convolution to those that the last one reads.

    Two convolutions halve the size and double the channels, residual blocks follow (without a
    nonlinearity after the sum), and two transposed convolutions restore size and channels. Call
    it in a compact method: the layers become its module's, ``down0``, ``down0_norm``, ...,
    ``residual0_conv0``, ``residual0_norm0``, ..., ``up0``, ``up0_norm``, ...

    Args:
      x: sides divisible by 4.
      residual_blocks: number of blocks on the smallest map.
      down, conv, up: convolutions that halve, keep and double the size.
      norm: name and features -> normalised features.
    """
    width = x.shape[-1]
    for i, factor in enumerate((2, 4)):
        x = nn.relu(norm(f"down{i}_norm", down(width * factor, name=f"down{i}")(x)))
    for i in range(residual_blocks):
        y = conv(x.shape[-1], name=f"residual{i}_conv0")(x)
        y = nn.relu(norm(f"residual{i}_norm0", y))
        y = conv(x.shape[-1], name=f"residual{i}_conv1")(y)
        x = x + norm(f"residual{i}_norm1", y)
    for i, factor in enumerate((2, 1)):
        x = nn.relu(norm(f"up{i}_norm", up(width * factor, name=f"up{i}")(x)))
    return x


class Transform(nn.Module):
    """Image in, image out. The defaults are StarGAN's generator.

    Attributes:
      width: channels after the first convolution; there are four times as many in the blocks.
      residual_blocks: blocks on the smallest map.
      size: side of the first and the last kernel.
      resize: side of the kernels that halve and double the size: 4 (StarGAN), or 3 with
        PyTorch's output padding of 1 on the way up (CycleGAN, DIAT).
      padding: around the first and last convolution and those of the blocks: "zeros" or "reflect".
        The strided convolutions pad with zeros.
      norm_affine: instance norms with scale and shift.
      bias: biases of all convolutions, the last one included.
      initial: initial distribution of kernels and biases; see ``layers.initializers``.
      dtype: of convolutions; norms and parameters stay float32.
    """

    width: int = 64
    residual_blocks: int = 6
    size: int = 7
    resize: Literal[3, 4] = 4
    padding: layers.Padding = "zeros"
    norm_affine: bool = True
    bias: bool = False
    initial: layers.Initial = "pytorch"
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, image: Images, values: Conditions | None = None) -> Float[Array, "b h w 3"]:
        """Apply.

        Args:
          image: in [-1, 1]; sides divisible by 4.
          values: conditions, which enter as constant planes beside the image; None: the
            network has none.

        Returns:
          images in [-1, 1], float32.

        Raises:
          ValueError: there are conditions and the padding is "reflect": the instance norm would
            remove constant planes without a border.
        """
        common: dict[str, Any] = {"bias": self.bias, "dtype": self.dtype, "initial": self.initial}
        conv: Any = partial(layers.Conv, padding=self.padding, **common)

        def norm(name: str, x: Array) -> Array:
            return layers.InstanceNorm(self.norm_affine, self.dtype, name=name)(x)

        if values is None:
            x = conv(self.width, size=self.size, name="stem")(image)
        elif self.padding == "zeros":
            stem = layers.ConditionedConv(self.width, self.size, name="stem", **common)
            x = stem(image, values)
        else:
            raise ValueError("conditions as planes need padding='zeros': they act at the border")
        x = trunk(
            nn.relu(norm("stem_norm", x)),
            self.residual_blocks,
            down=partial(layers.Conv, size=self.resize, stride=2, **common),
            conv=partial(conv, size=3),
            up=partial(layers.ConvTranspose, size=self.resize, **common),
            norm=norm,
        )
        x = conv(3, size=self.size, name="color")(x)
        return jnp.tanh(x.astype(jnp.float32))
