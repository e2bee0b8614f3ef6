"""DCGAN's networks (Radford, Metz and Chintala 2016) as IcGAN and WGAN use them.

Batch norms keep running statistics in the variable collection ``statistics``, beside ``params``:

    variables = {"params": params, "statistics": statistics}
    scores, changed = critic.apply(variables, image, train=True, mutable=["statistics"])
    scores = critic.apply(variables, image, train=False)  # uses the statistics as they are

Sides are 4 times a power of two; published: 64.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Float, Float32

from ganimation_jax.models import layers
from ganimation_jax.types import Array

SMALLEST_MAP = 4  # side of the map between the vector and the first or last convolution
MOMENTUM = 0.1  # share of the new batch in the running statistics


class BatchNorm(nn.Module):
    """Normalise every channel over batch and pixels, in float32 (eps 1e-5).

    In training the batch's own mean and variance are used, and the running statistics move towards
    them: towards the unbiased variance, as in PyTorch and Torch 7.

    Attributes:
      initial: "normal": scales N(1, 0.02); "uniform": U(0, 1), Torch 7's default. Shifts are 0.
      dtype: of the result.
    """

    initial: Literal["normal", "uniform"] = "normal"
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b *rest c"], train: bool) -> Float[Array, "b *rest c"]:
        """Normalise; with ``train``, by this batch."""
        x, shape = x.astype(jnp.float32), x.shape[-1:]
        mean = self.variable("statistics", "mean", jnp.zeros, shape)
        variance = self.variable("statistics", "variance", jnp.ones, shape)
        scale = self.param("scale", SCALES[self.initial], shape)
        shift = self.param("bias", nn.initializers.zeros, shape)
        if not train:
            x = (x - mean.value) / jnp.sqrt(variance.value + 1e-5)
            return (x * scale + shift).astype(self.dtype)
        axes = tuple(range(x.ndim - 1))
        count = x.size // x.shape[-1]
        of_batch = x.mean(axes)
        x = x - of_batch
        spread = jnp.square(x).mean(axes)
        if self.is_mutable_collection("statistics") and not self.is_initializing():
            unbiased = spread * count / (count - 1)
            mean.value = (1 - MOMENTUM) * mean.value + MOMENTUM * of_batch
            variance.value = (1 - MOMENTUM) * variance.value + MOMENTUM * unbiased
        return (x / jnp.sqrt(spread + 1e-5) * scale + shift).astype(self.dtype)


def _around_one(key: Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
    return 1 + nn.initializers.normal(layers.INIT_STD)(key, shape, dtype)


SCALES: dict[str, nn.initializers.Initializer] = {
    "normal": _around_one,
    "uniform": nn.initializers.uniform(1.0),
}


class Generator(nn.Module):
    """Codes to images.

    Attributes:
      image_size: side of the images.
      width: channels before the last layer (published: 64); each layer before it has twice as many.
      bias: biases of convolutions (IcGAN) or none (WGAN).
      norm: batch norms after all layers but the last.
      extra: 3x3 convolutions before the last layer.
      dtype: of convolutions; norms and parameters stay float32.
    """

    image_size: int = 64
    width: int = 64
    bias: bool = False
    norm: bool = True
    extra: int = 0
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, codes: Float[Array, "b n"], train: bool) -> Float32[Array, "b h h 3"]:
        """Generate.

        Args:
          codes: noise, with the conditions behind it if there are any.
          train: normalise by this batch.

        Returns:
          images in [-1, 1].
        """
        up = partial(layers.ConvTranspose, bias=self.bias, dtype=self.dtype)

        def after(name: str, x: Array) -> Array:
            norm = BatchNorm(dtype=self.dtype, name=f"{name}_norm")
            return nn.relu(norm(x, train) if self.norm else x)

        halvings = _halvings(self.image_size) - 1
        features = self.width * 2**halvings
        # The published transposed convolution of a 1x1 map is a dense layer in its layout.
        shape = (SMALLEST_MAP, SMALLEST_MAP, codes.shape[-1], features)
        kernel = self.param("first", layers.kernel_init, shape).astype(self.dtype)
        x = jnp.einsum("bi,yxio->byxo", codes.astype(self.dtype), kernel)
        if self.bias:
            x += self.param("first_bias", nn.initializers.zeros, (features,)).astype(x.dtype)
        x = after("first", x)
        for i in range(halvings):
            features //= 2
            x = after(f"up{i}", up(features, name=f"up{i}")(x))
        for i in range(self.extra):
            conv = layers.Conv(features, 3, dtype=self.dtype, name=f"extra{i}")
            x = after(f"extra{i}", conv(x))
        return jnp.tanh(up(3, name="image")(x).astype(jnp.float32))


class Critic(nn.Module):
    """Images, and conditions if there are any, to one number each; leaky ReLU 0.2.

    Attributes:
      width: channels of the first convolution (published: 64); each further one doubles them.
      bias: biases of convolutions (IcGAN) or none (WGAN).
      norm: batch norms after all convolutions but the first and the last.
      extra: 3x3 convolutions after the first.
      dtype: of convolutions; norms and parameters stay float32.
    """

    width: int = 64
    bias: bool = False
    norm: bool = True
    extra: int = 0
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        image: Float[Array, "b h h 3"],
        values: Float[Array, "b n"] | None = None,
        *,
        train: bool,
    ) -> Float32[Array, " b"]:
        """Score images.

        Args:
          image: in [-1, 1].
          values: conditions; they join the maps of the first convolution as planes.
          train: normalise by this batch.

        Returns:
          unbounded: the logit of being real, or a Wasserstein score.
        """
        down = partial(layers.Conv, size=4, stride=2, bias=self.bias, dtype=self.dtype)

        def after(name: str, x: Array) -> Array:
            norm = BatchNorm(dtype=self.dtype, name=f"{name}_norm")
            return nn.leaky_relu(norm(x, train) if self.norm else x, 0.2)

        features = self.width
        x = nn.leaky_relu(down(features, name="first")(image), 0.2)
        for i in range(self.extra):
            conv = layers.Conv(features, 3, dtype=self.dtype, name=f"extra{i}")
            x = after(f"extra{i}", conv(x))
        if values is not None:
            planes = jnp.broadcast_to(values[:, None, None], (*x.shape[:3], values.shape[-1]))
            x = jnp.concatenate([x, planes.astype(x.dtype)], axis=-1)
        for i in range(_halvings(image.shape[1]) - 1):
            features *= 2
            x = after(f"down{i}", down(features, name=f"down{i}")(x))
        kernel = self.param("score", layers.kernel_init, (*x.shape[1:], 1)).astype(self.dtype)
        score = jnp.einsum("byxi,yxio->bo", x, kernel)
        if self.bias:
            score += self.param("score_bias", nn.initializers.zeros, (1,)).astype(score.dtype)
        return score[:, 0].astype(jnp.float32)


class Encoder(nn.Module):
    """Images to codes or conditions (IcGAN).

    Attributes:
      outputs: numbers for each image.
      hidden: width of the dense layer before the last (published: 4096 for codes, 512 for
        conditions).
      width: channels of the first of four convolutions (published: 32); each doubles them.
      dtype: of convolutions and dense layers; norms and parameters stay float32.
    """

    outputs: int
    hidden: int
    width: int = 32
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, image: Float[Array, "b h h 3"], train: bool) -> Float32[Array, "b n"]:
        """Encode.

        Args:
          image: in [-1, 1]; sides divisible by 16.
          train: normalise by this batch.

        Returns:
          ``outputs`` unbounded numbers for each image.
        """

        def after(name: str, x: Array) -> Array:
            return nn.relu(BatchNorm("uniform", self.dtype, name=f"{name}_norm")(x, train))

        down = partial(layers.Conv, size=5, stride=2, bias=True, dtype=self.dtype)
        x = image
        for i in range(4):
            layer = down(self.width * 2**i, initial="pytorch", name=f"down{i}")
            x = after(f"down{i}", layer(x))
        x = after(
            "hidden", dense(self.hidden, math.prod(x.shape[1:]), "hidden", self.dtype)(_flat(x))
        )
        return dense(self.outputs, self.hidden, "codes", self.dtype)(x).astype(jnp.float32)


class DenseGenerator(nn.Module):
    """WGAN's generator without convolutions: four dense layers with ReLU between, and no tanh.

    Attributes:
      image_size: side of the images.
      width: numbers in the hidden layers (published: 512).
    """

    image_size: int = 64
    width: int = 512

    @nn.compact
    def __call__(self, codes: Float[Array, "b n"]) -> Float[Array, "b h h 3"]:
        """Generate."""
        x = _hidden(codes, self.width)
        x = dense(3 * self.image_size**2, self.width, "last")(x)
        return x.reshape(len(x), self.image_size, self.image_size, 3)


class DenseCritic(nn.Module):
    """WGAN's critic without convolutions: four dense layers with ReLU between.

    Attributes:
      width: numbers in the hidden layers (published: 512).
    """

    width: int = 512

    @nn.compact
    def __call__(self, image: Float[Array, "b h h 3"]) -> Float[Array, " b"]:
        """Score images."""
        return dense(1, self.width, "last")(_hidden(_flat(image), self.width))[:, 0]


def dense(
    features: int, inputs: int, name: str, dtype: DTypeLike = jnp.float32
) -> Callable[[Array], Array]:
    """A dense layer with PyTorch's and Torch 7's default initial values."""
    kernel, bias = layers.initializers("pytorch", inputs)
    return nn.Dense(features, dtype=dtype, kernel_init=kernel, bias_init=bias, name=name)


def _hidden(x: Array, width: int) -> Array:
    for i in range(3):
        x = nn.relu(dense(width, x.shape[-1], f"dense{i}")(x))
    return x


def _flat(x: Array) -> Array:
    return x.reshape(x.shape[0], math.prod(x.shape[1:]))


def _halvings(side: int) -> int:
    """How often ``side`` halves until it is that of the smallest map.

    Raises:
      ValueError: it never is.
    """
    halvings = (side // SMALLEST_MAP).bit_length() - 1
    if side < 2 * SMALLEST_MAP or side != SMALLEST_MAP * 2**halvings:
        raise ValueError(f"image_size {side} is not 4 times a power of two; use 16, 32 or 64")
    return halvings
