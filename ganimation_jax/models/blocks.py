"""Layers of the networks, with the formulation of each convolution chosen in one place.

Arrays are ``b h w c``, kernels ``kh kw in out``, whatever the formulation: it decides speed
and nothing else. XLA's CPU convolutions have slow gradients in two cases, for which an
exactly equal statement is many times faster (BUILD_NOTES.md has the measurements):
transposed convolutions, and strided convolutions on small maps with many channels.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

SMALL_MAP = 16  # pixels a side, up to which patches @ kernel wins on a CPU

INIT_STD = 0.02  # published: all kernels N(0, 0.02), biases 0
kernel_init = nn.initializers.normal(INIT_STD)


def conv(x: Array, kernel: Array, stride: int = 1) -> Array:
    """Convolution with zero padding that maps ``h`` to ``h / stride``. b h w i -> b h' w' o."""
    if stride == 2 and _on_cpu() and x.shape[1] <= SMALL_MAP:
        return conv_patches(x, kernel, stride)
    return conv_direct(x, kernel, stride)


def conv_transpose(x: Array, kernel: Array) -> Array:
    """4x4 stride-2 transposed convolution, PyTorch's with padding 1. b h w i -> b 2h 2w o."""
    return conv_transpose_subpixel(x, kernel) if _on_cpu() else conv_transpose_direct(x, kernel)


def conv_direct(x: Array, kernel: Array, stride: int) -> Array:
    """``conv`` as XLA's own convolution."""
    pad = (kernel.shape[0] - stride) // 2
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), ((pad, pad),) * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def conv_patches(x: Array, kernel: Array, stride: int) -> Array:
    """``conv`` as one matrix product of image patches and kernel."""
    size, pad = kernel.shape[0], (kernel.shape[0] - stride) // 2
    height, width = x.shape[1] // stride, x.shape[2] // stride
    x = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    taps = [
        x[:, i : i + stride * height : stride, j : j + stride * width : stride]
        for i in range(size)
        for j in range(size)
    ]
    return jnp.concatenate(taps, axis=-1) @ kernel.reshape(-1, kernel.shape[-1])


def conv_transpose_direct(x: Array, kernel: Array) -> Array:
    """``conv_transpose`` as XLA's own convolution of the dilated input."""
    return lax.conv_transpose(
        x, kernel, (2, 2), ((2, 2), (2, 2)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def conv_transpose_subpixel(x: Array, kernel: Array) -> Array:
    """``conv_transpose`` as four 2x2 convolutions, one per phase of the output, interleaved.

    Output row 2m sees rows m-1 and m through taps 0 and 2; row 2m+1 sees m and m+1 through
    taps 1 and 3. Columns likewise.
    """

    def phase(row: int, column: int) -> Array:
        pads = ((1 - row, row), (1 - column, column))
        taps = kernel[row::2, column::2]
        return lax.conv_general_dilated(
            x, taps, (1, 1), pads, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    b, h, w, _ = x.shape
    rows = [jnp.stack([phase(row, 0), phase(row, 1)], axis=3) for row in (0, 1)]  # b h w 2 o
    return jnp.stack(rows, axis=2).reshape(b, 2 * h, 2 * w, kernel.shape[-1])


def conv_constant_planes(values: Array, kernel: Array, height: int, width: int) -> Array:
    """``conv`` of images that are constant in every channel, without making them.

    Args:
      values: ``b n``, the constant of each plane.
      kernel: ``k k n o``, k odd.
      height, width: size of the planes, at least k.

    Returns:
      ``b h w o``. Only zero padding makes pixels differ: a k x k image holds one pixel of
      every kind (near each border, and one inside), and the one inside is repeated.
    """
    size, pad = kernel.shape[0], kernel.shape[0] // 2
    ones = jnp.ones((1, size, size, 1), kernel.dtype)
    responses = conv_direct(ones, kernel.reshape(size, size, 1, -1), 1)
    responses = responses.reshape(size, size, *kernel.shape[2:])  # k k n o
    x = jnp.einsum("bn,yxno->byxo", values, responses)

    def repeat_middle(x: Array, axis: int, length: int) -> Array:
        before, middle, after = jnp.split(x, (pad, pad + 1), axis=axis)
        shape = list(x.shape)
        shape[axis] = length - 2 * pad
        return jnp.concatenate([before, jnp.broadcast_to(middle, shape), after], axis=axis)

    return repeat_middle(repeat_middle(x, 2, width), 1, height)


def _on_cpu() -> bool:
    return jax.default_backend() == "cpu"


class Conv(nn.Module):
    """Zero-padded convolution; ``stride`` divides the size."""

    features: int
    size: int
    stride: int = 1
    bias: bool = False
    dtype: DTypeLike = jnp.float32
    init_std: float = INIT_STD

    @nn.compact
    def __call__(self, x: Array) -> Array:  # b h w i -> b h/stride w/stride o
        """Convolve."""
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.normal(self.init_std), shape)
        return _add_bias(self, conv(x.astype(self.dtype), kernel.astype(self.dtype), self.stride))


class ConvTranspose(nn.Module):
    """4x4 stride-2 transposed convolution: doubles the size."""

    features: int
    bias: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:  # b h w i -> b 2h 2w o
        """Convolve."""
        kernel = self.param("kernel", kernel_init, (4, 4, x.shape[-1], self.features))
        return _add_bias(self, conv_transpose(x.astype(self.dtype), kernel.astype(self.dtype)))


class ConditionedConv(nn.Module):
    """Convolution of an image joined with one constant plane per condition value.

    The kernel is that of the published code, image channels first, but the planes are
    never made: see ``conv_constant_planes``.
    """

    features: int
    size: int
    bias: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, image: Array, values: Array) -> Array:  # b h w i, b n -> b h w o
        """Convolve."""
        channels = image.shape[-1]
        shape = (self.size, self.size, channels + values.shape[-1], self.features)
        kernel = self.param("kernel", kernel_init, shape).astype(self.dtype)
        x = conv(image.astype(self.dtype), kernel[:, :, :channels])
        planes = conv_constant_planes(
            values.astype(self.dtype), kernel[:, :, channels:], *image.shape[1:3]
        )
        return _add_bias(self, x + planes)


class InstanceNorm(nn.Module):
    """Normalise every channel of every image over its pixels, in float32 (eps 1e-5)."""

    affine: bool = True
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:  # b h w c -> b h w c
        """Normalise."""
        x = x.astype(jnp.float32)
        x = x - x.mean(axis=(1, 2), keepdims=True)
        x = x * lax.rsqrt(jnp.square(x).mean(axis=(1, 2), keepdims=True) + 1e-5)
        if self.affine:
            x = x * self.param("scale", nn.initializers.ones, x.shape[-1:])
            x = x + self.param("bias", nn.initializers.zeros, x.shape[-1:])
        return x.astype(self.dtype)


def _add_bias(module: Conv | ConvTranspose | ConditionedConv, x: Array) -> Array:
    if not module.bias:
        return x
    return x + module.param("bias", nn.initializers.zeros, x.shape[-1:]).astype(x.dtype)
