"""Equivalent implementations of the networks' convolutions; ``layers`` chooses the fastest.

Arrays are ``b h w c``, kernels ``kh kw in out``. Convolutions pad with zeros so that ``h``
becomes ``h / stride``; if that takes an odd number of zeros, one more stands before the image than
after it. A 3x3 kernel at stride 2 therefore has PyTorch's padding of 1. All implementations are
linear in both arguments, so they are differentiable to any order in forward and reverse mode.
Their values agree up to rounding.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from ganimation_jax.types import Array, Maps

Kernel = Float[Array, "k k c o"]
Convolved = Float[Array, "b h//{stride} w//{stride} o"]
Doubled = Float[Array, "b 2*h 2*w o"]
Statement = Callable[[Array, Array, int], Array]  # x, kernel, stride -> convolution
Transposed = Callable[[Array, Array], Array]  # x, kernel -> transposed convolution
LAYOUT = ("NHWC", "HWIO", "NHWC")

# Minimal filtering (Winograd 1980; Lavin & Gray 2016, section 4): m outputs of a filter with r
# taps take m + r - 1 products, out = A ((G filter) * (B data)), instead of m r. POINTS maps r to
# the points, besides infinity, at which the underlying polynomials are multiplied; m is 3. Larger
# tiles save more products but lose more precision, and are no faster because the additions then
# dominate. Of the other points tried for three taps, the best are hardly more precise.
POINTS = {2: (0, 1, -1), 3: (0, 0.5, -1, 2)}


@functools.cache
def minimal_filter(taps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return B, G and A of a filter in ``POINTS``, by Cook-Toom: n n, n taps, outputs n."""
    points = POINTS[taps]
    size = len(points) + 1

    def powers(count: int) -> np.ndarray:  # of each point; infinity has the highest only
        return np.vstack([np.vander(points, count, increasing=True), np.eye(count)[-1]])

    data = np.linalg.inv(powers(size)).T
    # Leading coefficients of 1 make most entries of B 0, 1 or -1. The scale moves to G, which is
    # applied to the filter only once for all pixels.
    highest = np.append(data[:-1, -2], 1)[:, None]
    return (data / highest).round(9), powers(taps) * highest, powers(size - taps + 1).T


def zeros_around(size: int, stride: int) -> tuple[int, int]:
    """Numbers of zeros before and after the image along an axis."""
    return (size - stride + 1) // 2, (size - stride) // 2


def direct(x: Maps, kernel: Kernel, stride: int) -> Convolved:
    """Convolve with XLA's own convolution."""
    pads = (zeros_around(kernel.shape[0], stride),) * 2
    return lax.conv_general_dilated(x, kernel, (stride, stride), pads, dimension_numbers=LAYOUT)


def with_fourth_channel(x: Maps, kernel: Kernel, stride: int) -> Convolved:
    """Apply ``direct`` with a fourth channel of zeros.

    With three channels, XLA's CPU convolution into about 24 takes up to 17 times as long.
    """
    x = jnp.pad(x, (*((0, 0),) * 3, (0, 1)))
    return direct(x, jnp.pad(kernel, (*((0, 0),) * 2, (0, 1), (0, 0))), stride)


def patches(x: Maps, kernel: Kernel, stride: int) -> Convolved:
    """Convolve by one matrix product of image patches and kernel."""
    size, pads = kernel.shape[0], zeros_around(kernel.shape[0], stride)
    height, width = x.shape[1] // stride, x.shape[2] // stride
    x = jnp.pad(x, ((0, 0), pads, pads, (0, 0)))
    taps = [
        x[:, i : i + stride * height : stride, j : j + stride * width : stride]
        for i in range(size)
        for j in range(size)
    ]
    return jnp.concatenate(taps, axis=-1) @ kernel.reshape(-1, kernel.shape[-1])


def winograd(x: Maps, kernel: Kernel, stride: int) -> Convolved:
    """Convolve by minimal filtering of tiles.

    Per tile of 3x3 outputs and pair of channels, a 3x3 kernel takes 25 products instead of 81. A
    4x4 kernel at stride 2 is a 2x2 kernel if the pixels of each 2x2 block become channels: it
    takes 16 products instead of 36. A 3x3 kernel at stride 2 is a 4x4 kernel with zeros at its end.
    """
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    if stride == 2:
        missing = (0, 4 - kernel.shape[0])
        kernel = jnp.pad(kernel, (missing, missing, (0, 0), (0, 0)))
        x, kernel = _blocks_to_channels(x), _blocks_to_channels(kernel[None])[0]
    return _minimal_filtering(x, kernel)


def _blocks_to_channels(x: Array) -> Array:
    # b 2h 2w c ... -> b h w 4c ...: for images, and for kernels with an extra first axis.
    b, height, width, *rest = x.shape
    x = x.reshape(b, height // 2, 2, width // 2, 2, *rest).swapaxes(2, 3)
    return x.reshape(b, height // 2, width // 2, 4 * rest[0], *rest[1:])


# Not for speed, which XLA's inlining makes the same: layers of equal shapes are traced once.
@jax.jit
def _minimal_filtering(x: Array, kernel: Array) -> Array:
    """Correlate without padding with r x r kernels, ``b h w i`` -> ``b h-r+1 w-r+1 o``."""
    taps, _, channels, features = kernel.shape
    data, filters, outputs = minimal_filter(taps)
    side, points = outputs.shape  # numbers of a tile's outputs and products, per axis
    b, height, width = x.shape[0], x.shape[1] - taps + 1, x.shape[2] - taps + 1
    down, across = -(-height // side), -(-width // side)  # numbers of tiles
    # One more tile along each axis, because the last tiles overlap it.
    pads = [(0, side * (n + 1) - size) for n, size in ((down, x.shape[1]), (across, x.shape[2]))]
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))

    rows = _combine(data, _overlapping(x, 1, side, points))
    tiles = [_combine(data, _overlapping(row, 2, side, points)) for row in rows]
    # Sums are written out because XLA turns an einsum with 3x5 matrices into slow products.
    columns = [_combine(filters, list(row)) for row in kernel]  # r x points
    kernels = [_combine(filters, list(column)) for column in zip(*columns, strict=True)]
    # One large matrix product per point of the transform takes most of the time.
    products = [
        [tiles[p][q].reshape(-1, channels) @ kernels[q][p] for q in range(points)]
        for p in range(points)
    ]
    half = [_combine(outputs, row) for row in products]  # columns done: points x side
    pixels = [_combine(outputs, list(column)) for column in zip(*half, strict=True)]
    shape = (b, down, across, features)
    out_rows = [
        jnp.stack([pixels[q][p].reshape(shape) for q in range(side)], axis=3) for p in range(side)
    ]
    out = jnp.stack(out_rows, axis=2).reshape(b, side * down, side * across, features)
    return out[:, :height, :width]


def _overlapping(x: Array, axis: int, stride: int, size: int) -> list[Array]:
    """Return the first, second, ... elements of windows of ``size`` at every ``stride``.

    Uses splitting, because its gradient is a concatenation. The gradient of strided slices is a
    sum of pads, which takes twice as long on a CPU.
    """
    windows = x.shape[axis] // stride - 1
    x = x.reshape(*x.shape[:axis], windows + 1, stride, *x.shape[axis + 1 :])
    here = lax.slice_in_dim(x, 0, windows, axis=axis)
    after = lax.slice_in_dim(x, 1, windows + 1, axis=axis)
    after = lax.slice_in_dim(after, 0, size - stride, axis=axis + 1)
    parts = [p for half in (here, after) for p in jnp.split(half, half.shape[axis + 1], axis + 1)]
    return [part.squeeze(axis + 1) for part in parts]


def _combine(matrix: np.ndarray, terms: list[Array]) -> list[Array]:
    """Compute ``matrix @ terms`` as written-out sums: many entries are 0, 1 or -1."""
    return [
        sum(weight * term for weight, term in zip(row.tolist(), terms, strict=True) if weight)
        for row in matrix
    ]


def products(x: Maps, kernel: Kernel, stride: int) -> Convolved:
    """Convolve at stride 1 by one matrix product of pixels and kernel, then a shifted sum.

    Needs as many times the memory of the result as the kernel has
    taps, so it suits few features.
    """
    del stride
    size, _, channels, features = kernel.shape
    taps = kernel.transpose(2, 0, 1, 3).reshape(channels, -1)
    x = (x.reshape(-1, channels) @ taps).reshape(*x.shape[:3], size, size * features)

    def shifted_sum(parts: Array, axis: int) -> Array:  # over the second-to-last axis
        zero, middle, pads = jnp.zeros((), parts.dtype), size // 2, [(0, 0, 0)] * 4
        shifted = []
        for i, part in enumerate(jnp.split(parts, size, axis=-2)):
            pads[axis] = (middle - i, i - middle, 0)  # negative padding crops
            shifted.append(lax.pad(part.squeeze(-2), zero, pads))
        return functools.reduce(jnp.add, shifted)

    rows = shifted_sum(x, 1)
    return shifted_sum(rows.reshape(*rows.shape[:3], size, features), 2)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def to_few_features(x: Maps, kernel: Kernel, stride: int) -> Convolved:
    """Apply ``direct``, but compute the derivative by the kernel with ``products``.

    XLA's own kernel gradient is slow for few output features.
    """
    return direct(x, kernel, stride)


@to_few_features.defjvp
def _to_few_features_jvp(
    stride: int, primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    (x, kernel), (dx, dkernel) = primals, tangents
    change = to_few_features(dx, kernel, stride) + products(x, dkernel, stride)
    return to_few_features(x, kernel, stride), change


def transposed(x: Maps, kernel: Kernel) -> Doubled:
    """Stride-2 transposed convolution, by XLA's own convolution of the dilated input.

    Equals PyTorch's with padding 1, for 4x4 kernels, and with an
    output padding of 1 as well, for 3x3 kernels.
    """
    pads = (kernel.shape[0] - 2, 2)
    return lax.conv_transpose(x, kernel, (2, 2), (pads, pads), dimension_numbers=LAYOUT)


def transposed_subpixel(x: Maps, kernel: Kernel) -> Doubled:
    """Compute ``transposed`` as four interleaved 2x2 convolutions, one per output phase."""

    def convolve(x: Array, taps: Array) -> Array:
        return lax.conv_general_dilated(x, taps, (1, 1), "VALID", dimension_numbers=LAYOUT)

    return _by_phases(x, kernel, convolve)


def transposed_winograd(x: Maps, kernel: Kernel) -> Doubled:
    """Compute ``transposed_subpixel`` with minimal filtering for the four convolutions."""
    return _by_phases(x, kernel, _minimal_filtering)


def _by_phases(x: Array, kernel: Array, convolve: Callable[[Array, Array], Array]) -> Array:
    """Compute a transposed convolution by four convolutions without padding.

    Output row 2m depends on rows m-1 and m through taps 0 and 2, and row 2m+1 on rows m and m+1
    through taps 1 and 3. The same holds for columns. A 3x3 kernel lacks tap 0.
    """
    missing = (4 - kernel.shape[0], 0)
    kernel = jnp.pad(kernel, (missing, missing, (0, 0), (0, 0)))

    def phase(row: int, column: int) -> Array:
        pads = ((0, 0), (1 - row, row), (1 - column, column), (0, 0))
        return convolve(jnp.pad(x, pads), kernel[row::2, column::2])

    b, h, w, _ = x.shape
    rows = [jnp.stack([phase(row, 0), phase(row, 1)], axis=3) for row in (0, 1)]  # b h w 2 o
    return jnp.stack(rows, axis=2).reshape(b, 2 * h, 2 * w, kernel.shape[-1])


def constant_planes(
    values: Float[Array, "b n"], kernel: Float[Array, "k k n o"], height: int, width: int
) -> Float[Array, "b {height} {width} o"]:
    """Convolve images that are constant in every channel, without materialising them.

    Pixels differ only because of zero padding. A k x k image has one pixel of every kind (near
    each border, and one inside), so its result is expanded by repeating the inner pixel.

    Args:
      values: the constant of each plane.
      kernel: k is odd.
      height, width: size of the planes, at least k.
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
