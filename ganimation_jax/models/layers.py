"""Layers of the networks, and the choice of the implementation of each convolution.

Arrays are ``b h w c`` and kernels ``kh kw in out`` in all implementations ("statements"), which
differ only in speed (see ``cpu_convolutions``; BUILD_NOTES.md has the measurements).
On a CPU the gradients of XLA's own convolutions are slow, and minimal filtering saves more time by
its fewer products than its additions cost. On GPUs XLA recognises most convolutions and their
gradients as cuDNN's; ``GPU_SMALL_MAP`` and ``transposed_statement_of`` say where it does not.
"""

import contextlib
import functools
import operator
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Float

from ganimation_jax import backend
from ganimation_jax.models import cpu_convolutions
from ganimation_jax.types import Array, Conditions, Maps

Initializer = nn.initializers.Initializer
Initial = Literal["normal", "pytorch"]
Padding = Literal["zeros", "reflect"]

SMALL_MAP = 16  # largest side in pixels at which `patches` is fastest on a CPU
# Up to so many channels, and so many times the side in pixels, XLA's own convolution is as fast
# on a CPU as any other statement. It compiles in 0.4 s, minimal filtering in 6 s.
FEW_CHANNELS, SMALL_WORK = 64, 1024
FEWEST_CHANNELS = 16  # minimal filtering is faster from this number on
MANY_CHANNELS = 48  # the same for transposed convolutions; see also statement_of
# Largest side at which a GPU uses `patches`. XLA states the kernel gradient on such maps as a
# convolution by a dilated kernel, with examples as channels and transposed copies of all arrays
# (also the input gradient at a side of 4). As matrix products there are none of these.
GPU_SMALL_MAP = 8

INIT_STD = 0.02  # published: all kernels N(0, 0.02), biases 0
kernel_init = nn.initializers.normal(INIT_STD)

# Implementations that override the fastest; set by ``stated_by``.
_given: ContextVar[tuple[cpu_convolutions.Statement, cpu_convolutions.Transposed] | None] = (
    ContextVar("given", default=None)
)


def initializers(
    initial: Initial, fan_in: int, std: float = INIT_STD
) -> tuple[Initializer, Initializer]:
    """The initial distributions of a kernel and of its bias.

    Args:
      initial: "normal": N(0, std), and biases of 0 (published for GANimation and CycleGAN);
        "pytorch": PyTorch's default, U(-1, 1) / sqrt(fan_in), for both (StarGAN).
      fan_in: weights of an output value, as PyTorch counts them: kernel size times input channels;
        for transposed convolutions, times *output* channels.
      std: standard deviation of "normal".
    """
    if initial == "normal":
        return nn.initializers.normal(std), nn.initializers.zeros

    def uniform(key: Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
        bound = fan_in**-0.5
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return uniform, uniform


def conv(
    x: Float[Array, "b h w i"],
    kernel: Float[Array, "k k i o"],
    stride: int = 1,
    padding: Padding = "zeros",
) -> Float[Array, "b h//{stride} w//{stride} o"]:
    """Convolve so that ``h`` becomes ``h / stride``.

    With "reflect" (stride 1, odd kernels), pixels mirrored at the border, which is not repeated,
    take the place of the zeros.
    """
    if padding == "reflect":
        edge = kernel.shape[0] // 2
        pads = (edge, edge)
        x = jnp.pad(x, ((0, 0), pads, pads, (0, 0)), mode="reflect")
        # The statements pad with zeros themselves; what these reach is cut off again.
        return conv(x, kernel)[:, edge:-edge, edge:-edge]
    return statement_of(x.shape[1], kernel.shape[0], stride, *kernel.shape[2:])(x, kernel, stride)


def statement_of(
    side: int, size: int, stride: int, channels: int, features: int
) -> cpu_convolutions.Statement:
    """Choose the fastest implementation of a convolution on this backend.

    Args:
      side: side of the feature map in pixels.
      size, stride: size and stride of the kernel.
      channels, features: number of input and output channels.
    """
    if given := _given.get():
        return given[0]
    if on_cpu():
        most = max(channels, features)
        if min(channels, features) > 4 and most <= FEW_CHANNELS and side * most <= SMALL_WORK:
            return cpu_convolutions.direct
        if stride == 2 and side <= SMALL_MAP:
            return cpu_convolutions.patches
        if (size, stride) == (4, 1):
            return cpu_convolutions.patches if side <= SMALL_MAP else cpu_convolutions.direct
        if size in (3, 4) and min(channels, features) >= FEWEST_CHANNELS:
            return cpu_convolutions.winograd
        # The heads, and images into layers of medium width; see these two functions.
        if channels >= MANY_CHANNELS and features <= 4 and side > SMALL_MAP:
            return cpu_convolutions.to_few_features
        if channels == 3 and FEWEST_CHANNELS < features < MANY_CHANNELS:
            return cpu_convolutions.with_fourth_channel
    if on_gpu() and stride == 2 and side <= GPU_SMALL_MAP:
        return cpu_convolutions.patches
    return cpu_convolutions.direct


def conv_transpose(
    x: Float[Array, "b h w i"], kernel: Float[Array, "k k i o"]
) -> Float[Array, "b 2*h 2*w o"]:
    """Transposed convolution at stride 2, kernel 4x4 or 3x3.

    As PyTorch's with padding 1 and, for a 3x3 kernel, output padding 1.
    """
    return transposed_statement_of(*kernel.shape[2:])(x, kernel)


def transposed_statement_of(channels: int, features: int) -> cpu_convolutions.Transposed:
    """Choose the fastest implementation of a transposed convolution on this backend.

    On GPUs XLA would pad the dilated input, convolve its zeros, too (four times the products), and
    take the gradient of the kernel for a convolution by a kernel as large as the map.
    """
    if given := _given.get():
        return given[1]
    if on_gpu():
        return cpu_convolutions.transposed_subpixel
    if not on_cpu():
        return cpu_convolutions.transposed
    if min(channels, features) >= MANY_CHANNELS:
        return cpu_convolutions.transposed_winograd
    return cpu_convolutions.transposed_subpixel


def on_cpu() -> bool:
    """Whether the backend is a CPU, where XLA's own convolutions are not the fastest."""
    return backend.name() == "cpu"


def on_gpu() -> bool:
    """Whether the backend is a GPU, where XLA calls cuDNN for convolutions."""
    return backend.name() == "gpu"


@contextlib.contextmanager
def stated_by(
    conv: cpu_convolutions.Statement, transposed: cpu_convolutions.Transposed
) -> Iterator[None]:
    """Trace networks with these implementations on any backend, inside this context.

    Functions that ``jit`` has already traced keep their implementations.
    """
    token = _given.set((conv, transposed))
    try:
        yield
    finally:
        _given.reset(token)


class Conv(nn.Module):
    """Convolution; ``stride`` divides the size."""

    features: int
    size: int
    stride: int = 1
    bias: bool = False
    dtype: DTypeLike = jnp.float32
    init_std: float = INIT_STD
    initial: Initial = "normal"
    padding: Padding = "zeros"

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h2 w2 o"]:
        """Convolve."""
        shape = (self.size, self.size, x.shape[-1], self.features)
        draws = initializers(self.initial, self.size**2 * x.shape[-1], self.init_std)
        kernel = self.param("kernel", draws[0], shape).astype(self.dtype)
        x = conv(x.astype(self.dtype), kernel, self.stride, self.padding)
        return _add_bias(self, x, draws[1])


class ConvTranspose(nn.Module):
    """Transposed convolution at stride 2: doubles the size. Kernels are 4x4 or 3x3."""

    features: int
    size: int = 4
    bias: bool = False
    dtype: DTypeLike = jnp.float32
    initial: Initial = "normal"

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b 2*h 2*w o"]:
        """Convolve."""
        shape = (self.size, self.size, x.shape[-1], self.features)
        draws = initializers(self.initial, self.size**2 * self.features)
        kernel = self.param("kernel", draws[0], shape).astype(self.dtype)
        return _add_bias(self, conv_transpose(x.astype(self.dtype), kernel), draws[1])


class ResizeConv(nn.Module):
    """Nearest-neighbour upsampling by 2, then a 3x3 convolution.

    The upsampled map has equal neighbouring pixels, so their taps can be summed beforehand. The
    layer is therefore computed as a transposed convolution with a 4x4 kernel of nine free
    parameters, which takes 4 products per pixel and pair of channels instead of 9.
    """

    features: int
    bias: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b 2*h 2*w o"]:
        """Convolve."""
        kernel = self.param("kernel", kernel_init, (3, 3, x.shape[-1], self.features))
        # Tap t of the 4x4 kernel is the sum of the taps k and k-1 that read the same pixel.
        taps = jnp.array([[1, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 1]], kernel.dtype)
        kernel = jnp.einsum("yk,xl,klio->yxio", taps, taps, kernel)
        return _add_bias(self, conv_transpose(x.astype(self.dtype), kernel.astype(self.dtype)))


UPSAMPLING = {"transposed": ConvTranspose, "resize": ResizeConv}


class ConditionedConv(nn.Module):
    """Convolution of an image concatenated with one constant plane per condition value.

    The kernel has the layout of the published code, image channels first. The planes are never
    materialised; see ``cpu_convolutions.constant_planes``.
    """

    features: int
    size: int
    bias: bool = False
    dtype: DTypeLike = jnp.float32
    initial: Initial = "normal"

    @nn.compact
    def __call__(
        self, image: Float[Array, "b h w i"], values: Conditions
    ) -> Float[Array, "b h w o"]:
        """Convolve."""
        channels = image.shape[-1]
        shape = (self.size, self.size, channels + values.shape[-1], self.features)
        draws = initializers(self.initial, self.size**2 * shape[2])
        kernel = self.param("kernel", draws[0], shape).astype(self.dtype)
        x = conv(image.astype(self.dtype), kernel[:, :, :channels])
        planes = cpu_convolutions.constant_planes(
            values.astype(self.dtype), kernel[:, :, channels:], *image.shape[1:3]
        )
        return _add_bias(self, x + planes, draws[1])


class InstanceNorm(nn.Module):
    """Normalise every channel of every image over its pixels, in float32 (eps 1e-5)."""

    affine: bool = True
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Maps) -> Maps:
        """Normalise."""
        x = x.astype(jnp.float32)
        x = x - x.mean(axis=(1, 2), keepdims=True)
        x = x * lax.rsqrt(jnp.square(x).mean(axis=(1, 2), keepdims=True) + 1e-5)
        if self.affine:
            x = x * self.param("scale", nn.initializers.ones, x.shape[-1:])
            x = x + self.param("bias", nn.initializers.zeros, x.shape[-1:])
        return x.astype(self.dtype)


class Film(nn.Module):
    """Scale and shift every channel by a linear function of the conditions (FiLM)."""

    @nn.compact
    def __call__(self, x: Maps, values: Conditions) -> Maps:
        """Modulate."""
        scale, shift = jnp.split(nn.Dense(2 * x.shape[-1], name="dense")(values), 2, axis=-1)
        return (x * (1 + scale[:, None, None]) + shift[:, None, None]).astype(x.dtype)


def blocks_to_channels(x: Maps, side: int) -> Float[Array, "b h//{side} w//{side} {side}*{side}*c"]:
    """Move the pixels of each ``side`` x ``side`` block to channels."""
    b, height, width, c = x.shape
    x = x.reshape(b, height // side, side, width // side, side, c).swapaxes(2, 3)
    return x.reshape(b, height // side, width // side, side * side * c)


def channels_to_blocks(x: Maps, side: int) -> Float[Array, "b h*{side} w*{side} c//{side}**2"]:
    """Invert ``blocks_to_channels``."""
    b, height, width, channels = x.shape
    x = x.reshape(b, height, width, side, side, channels // side**2).swapaxes(2, 3)
    return x.reshape(b, height * side, width * side, channels // side**2)


def without_grid(x: Maps, period: int) -> Maps:
    """Remove patterns that repeat every ``period`` pixels, except a constant.

    The average over ``period`` pixels, applied twice along each axis, so that it is centred. Its
    response is zero at the frequencies of the grid: maps drawn block by block otherwise differ
    systematically between the pixels of a block, and a critic's gradient makes use of it. With
    ``period`` 1 nothing changes.
    """
    if period == 1:
        return x
    taps = [period - abs(i) for i in range(1 - period, period)]
    for axis in (1, 2):
        padded, length = repeat_edges(x, period - 1, axis), x.shape[axis]
        shifted = [lax.slice_in_dim(padded, i, i + length, axis=axis) for i in range(len(taps))]
        weighted = [tap / period**2 * part for tap, part in zip(taps, shifted, strict=True)]
        x = functools.reduce(operator.add, weighted)
    return x


def repeat_edges(x: Array, count: int, axis: int) -> Array:
    """Pad with ``count`` copies of the first and of the last entry along an axis.

    ``jnp.pad`` also slices the axis of the examples, whose gradient devices would then exchange,
    and the converter to ONNX gives its result a wrong shape.
    """
    length = x.shape[axis]
    first, last = (lax.slice_in_dim(x, i, i + 1, axis=axis) for i in (0, length - 1))
    return jnp.concatenate([*[first] * count, x, *[last] * count], axis)


def _add_bias(
    module: Conv | ConvTranspose | ResizeConv | ConditionedConv,
    x: Array,
    draw: Initializer = nn.initializers.zeros,
) -> Array:
    if not module.bias:
        return x
    return x + module.param("bias", draw, x.shape[-1:]).astype(x.dtype)
