"""Exactly equal statements of the networks' convolutions, of which ``blocks`` takes the fastest.

Arrays are ``b h w c``, kernels ``kh kw in out``. A convolution here pads with zeros so that
``h`` becomes ``h / stride``; kernels are 3x3 or 7x7 at stride 1 and 4x4 at stride 2. All
statements are linear in both arguments, so that they differentiate to any order, forward and
backward. Values agree to rounding.
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

Statement = Callable[[Array, Array, int], Array]  # x, kernel, stride -> convolution
LAYOUT = ("NHWC", "HWIO", "NHWC")

# Minimal filtering (Winograd 1980; Lavin & Gray 2016, section 4): two outputs of a filter with
# r taps take r + 1 products, out = A ((G filter) * (B data)), where plain sums take 2 r.
MINIMAL_FILTERS = {
    2: (
        np.array([[1, -1, 0], [0, 1, 0], [0, 1, -1]]),  # B
        np.array([[1, 0], [1, 1], [0, 1]]),  # G
        np.array([[1, 1, 0], [0, 1, -1]]),  # A
    ),
    3: (
        np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]]),
        np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]]),
        np.array([[1, 1, 1, 0], [0, 1, -1, -1]]),
    ),
}


def direct(x: Array, kernel: Array, stride: int) -> Array:
    """As XLA's own convolution. b h w i -> b h/stride w/stride o."""
    pad = (kernel.shape[0] - stride) // 2
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), ((pad, pad),) * 2, dimension_numbers=LAYOUT
    )


def patches(x: Array, kernel: Array, stride: int) -> Array:
    """As one matrix product of image patches and kernel. b h w i -> b h/stride w/stride o."""
    size, pad = kernel.shape[0], (kernel.shape[0] - stride) // 2
    height, width = x.shape[1] // stride, x.shape[2] // stride
    x = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    taps = [
        x[:, i : i + stride * height : stride, j : j + stride * width : stride]
        for i in range(size)
        for j in range(size)
    ]
    return jnp.concatenate(taps, axis=-1) @ kernel.reshape(-1, kernel.shape[-1])


def winograd(x: Array, kernel: Array, stride: int) -> Array:
    """By minimal filtering on tiles of 2x2 outputs. b h w i -> b h/stride w/stride o.

    A 3x3 kernel takes 16 products a tile and channel pair in place of 36. A 4x4 kernel at
    stride 2 is a 2x2 one over the four pixels of each 2x2 block as channels: 9 in place of 16.
    """
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    if stride == 2:
        x, kernel = _blocks_to_channels(x), _blocks_to_channels(kernel[None])[0]
    return _minimal_filtering(x, kernel)


def _blocks_to_channels(x: Array) -> Array:
    # b 2h 2w c ... -> b h w 4c ...: of images, and of kernels after a first axis.
    b, height, width, *rest = x.shape
    x = x.reshape(b, height // 2, 2, width // 2, 2, *rest).swapaxes(2, 3)
    return x.reshape(b, height // 2, width // 2, 4 * rest[0], *rest[1:])


def _minimal_filtering(x: Array, kernel: Array) -> Array:
    """Correlation without padding, ``b h w i`` -> ``b h-r+1 w-r+1 o``, for r x r kernels."""
    taps, _, channels, features = kernel.shape
    data, filters, outputs = MINIMAL_FILTERS[taps]
    points = len(data)
    b, height, width = x.shape[0], x.shape[1] - taps + 1, x.shape[2] - taps + 1
    down, across = -(-height // 2), -(-width // 2)  # tiles
    x = jnp.pad(x, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)))

    rows = _combine(data, [x[:, i : i + 2 * down - 1 : 2] for i in range(points)])
    tiles = [
        _combine(data, [row[:, :, j : j + 2 * across - 1 : 2] for j in range(points)])
        for row in rows
    ]
    g = filters.astype(kernel.dtype)
    kernels = jnp.einsum("pi,qj,ijco->pqco", g, g, kernel)
    # One large matrix product for each point of the transform: this is where the time goes.
    products = [
        [tiles[p][q].reshape(-1, channels) @ kernels[p, q] for q in range(points)]
        for p in range(points)
    ]
    half = [_combine(outputs, row) for row in products]  # columns done: points x 2
    pixels = [_combine(outputs, list(column)) for column in zip(*half, strict=True)]
    shape = (b, down, across, features)
    out_rows = [
        jnp.stack([pixels[q][p].reshape(shape) for q in range(2)], axis=3) for p in range(2)
    ]
    out = jnp.stack(out_rows, axis=2).reshape(b, 2 * down, 2 * across, features)
    return out[:, :height, :width]


def _combine(matrix: np.ndarray, terms: list[Array]) -> list[Array]:
    """``matrix @ terms``, written out: nearly all entries are 0, 1 or -1."""
    return [
        sum(weight * term for weight, term in zip(row.tolist(), terms, strict=True) if weight)
        for row in matrix
    ]


def transposed(x: Array, kernel: Array) -> Array:
    """4x4 stride-2 transposed convolution, as XLA's own of the dilated input.

    ``b h w i`` -> ``b 2h 2w o``; PyTorch's with padding 1.
    """
    return lax.conv_transpose(x, kernel, (2, 2), ((2, 2), (2, 2)), dimension_numbers=LAYOUT)


def transposed_subpixel(x: Array, kernel: Array) -> Array:
    """``transposed`` as four 2x2 convolutions, one per phase of the output, interleaved.

    Output row 2m sees rows m-1 and m through taps 0 and 2; row 2m+1 sees m and m+1 through
    taps 1 and 3. Columns likewise.
    """

    def phase(row: int, column: int) -> Array:
        pads = ((1 - row, row), (1 - column, column))
        taps = kernel[row::2, column::2]
        return lax.conv_general_dilated(x, taps, (1, 1), pads, dimension_numbers=LAYOUT)

    b, h, w, _ = x.shape
    rows = [jnp.stack([phase(row, 0), phase(row, 1)], axis=3) for row in (0, 1)]  # b h w 2 o
    return jnp.stack(rows, axis=2).reshape(b, 2 * h, 2 * w, kernel.shape[-1])


def constant_planes(values: Array, kernel: Array, height: int, width: int) -> Array:
    """Convolution of images that are constant in every channel, without making them.

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
    responses = direct(ones, kernel.reshape(size, size, 1, -1), 1)
    responses = responses.reshape(size, size, *kernel.shape[2:])  # k k n o
    x = jnp.einsum("bn,yxno->byxo", values, responses)

    def repeat_middle(x: Array, axis: int, length: int) -> Array:
        before, middle, after = jnp.split(x, (pad, pad + 1), axis=axis)
        shape = list(x.shape)
        shape[axis] = length - 2 * pad
        return jnp.concatenate([before, jnp.broadcast_to(middle, shape), after], axis=axis)

    return repeat_middle(repeat_middle(x, 2, width), 1, height)
