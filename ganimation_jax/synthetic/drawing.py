"""Anti-aliased shapes in face coordinates, in plain numpy.

The origin of face coordinates is midway between the eyes. u points to the picture's right, v
down, and the unit is the picture's width. Every shape is a function of (u, v) that returns
coverage in [0, 1] per pixel, so pictures of all sizes show the same face.

At 64x64, numpy's cost depends on the number of calls more than on array sizes. Hence a shape is
drawn only in its bounding box, left and right are drawn together by folding u to |u|, and all
shading of the skin is summed in one plane before it is applied to three colours.
"""

import functools
import math
from typing import Any, NamedTuple

import numpy as np

EYE_LINE = (0.4985, 0.3965)  # midpoint of the eyes in the crop, as in aligned face datasets
DEPTH = 0.17  # distance of the face's middle from the plane of its outline

Array = np.ndarray
Window = tuple[slice, slice]
Color = tuple[float, float, float]


@functools.lru_cache(maxsize=8)
def pixel_centres(image_size: int) -> tuple[Array, Array]:
    """Return columns [1, w] and rows [h, 1] of pixel centres in (0, 1), read-only float32."""
    centres = (np.arange(image_size, dtype=np.float32) + np.float32(0.5)) / image_size
    centres.setflags(write=False)
    return centres[None, :], centres[:, None]


def planes(color: Color) -> Array:
    """Convert a colour to float32 [3, 1, 1], for multiplication with planes of light."""
    return np.array(color, np.float32)[:, None, None]


def scaled(color: Color, factor: float) -> Color:
    """Make a colour lighter or darker."""
    return (color[0] * factor, color[1] * factor, color[2] * factor)


def clip01(values: Array) -> Array:
    """Clip to [0, 1] in place; cheaper than np.clip on small arrays."""
    np.maximum(values, 0, out=values)
    return np.minimum(values, 1, out=values)


def window_fade(values: Array, centre: float, half_width: float) -> Array:
    """A window: 1 at `centre`, falling smoothly to 0 at `half_width` on either side."""
    offset = (values - centre) * (1 / half_width)
    offset *= offset
    return np.maximum(np.subtract(1, offset, out=offset), 0, out=offset)


def step(values: Array, start: float, end: float) -> Array:
    """Smoothstep from 0 at `start` to 1 at `end`, which may be smaller than `start`."""
    t = clip01((values - start) * (1 / (end - start)))
    return t * t * (3 - 2 * t)


def band(v: Array, top: Array | float, bottom: Array | float, soft: float) -> Array:
    """Coverage of the area between two curves, by the exact box filter along v.

    As a result, a closing eye or mouth fades in proportion to its opening instead of flickering
    between pixel rows.
    """
    half = soft / 2
    overlap = np.minimum(bottom, v + half) - np.maximum(top, v - half)
    return clip01(overlap * (1 / soft))


def disc(u: Array, v: Array, radius_u: float, radius_v: float, soft: float) -> Array:
    """Coverage of an ellipse around the origin, with an edge of width `soft`."""
    r = np.sqrt((u * (1 / radius_u)) ** 2 + (v * (1 / radius_v)) ** 2)
    return clip01((1 - r) * (min(radius_u, radius_v) / soft) + 0.5)


def bump(u: Array, v: Array, radius_u: float, radius_v: float) -> Array:
    """A soft hill around the origin: (1 - r^2)^2 inside the ellipse, 0 outside."""
    r2 = (u * (1 / radius_u)) ** 2
    r2 += (v * (1 / radius_v)) ** 2
    hill = np.maximum(np.subtract(1, r2, out=r2), 0, out=r2)
    return np.multiply(hill, hill, out=hill)


def line(distance: Array, width: float, pixel: float) -> Array:
    """Profile of a soft line, 1 at distance 0.

    A line thinner than a pixel is widened to one pixel and dimmed by the same factor, so that it
    has the same weight at every picture size.
    """
    wide = math.hypot(width, 0.75 * pixel)
    profile = window_fade(distance, 0, wide)
    profile *= profile
    profile *= width / wide
    return profile


def ripples(phase: Array) -> Array:
    """Parallel wrinkles: dark (1) at whole numbers of `phase`, light (0) between, rounded."""
    wave = np.cos(phase * np.float32(2 * math.pi))
    wave += 1
    wave *= wave
    return np.multiply(wave, 0.25, out=wave)


class Pose(NamedTuple):
    """Pose of the head: angles in radians, shifts in picture widths."""

    yaw: float  # > 0 looks to the picture's right
    pitch: float  # > 0 looks down
    roll: float  # > 0 tilts clockwise
    shift_u: float
    shift_v: float
    scale: float


class Patch(NamedTuple):
    """A shape's bounding box: its position in the picture and its face coordinates."""

    window: Window
    u: Array  # h w
    v: Array  # h w


class Canvas:
    """A picture being painted: `rgb` float32 [3, h, w], `relief` float32 [h, w].

    `relief` sums light (> 0) and shadow (< 0) on the skin.
    """

    def __init__(self, image_size: int, pose: Pose):
        self.size = image_size
        self.pose = pose
        self.pixel = 1 / (image_size * pose.scale)  # a pixel's width in face coordinates
        self._cos = math.cos(pose.roll) * pose.scale
        self._sin = math.sin(pose.roll) * pose.scale
        self._centre = (EYE_LINE[0] + pose.shift_u, EYE_LINE[1] + pose.shift_v)
        columns, rows = pixel_centres(image_size)
        self.columns, self.rows = columns, rows
        x, y = columns - self._centre[0], rows - self._centre[1]
        cos, sin = self._cos / pose.scale**2, self._sin / pose.scale**2
        self.u = x * cos + y * sin
        self.v = y * cos - x * sin
        # The middle of the face is nearer than its outline, so it moves further when the head
        # turns. Parallax on a paraboloid approximates the rotation in 3D.
        depth = _depth(self.u, self.v)
        self.u -= depth * math.sin(pose.yaw)
        self.v -= depth * math.sin(pose.pitch)
        self.rgb = np.empty((3, image_size, image_size), np.float32)
        self.relief = np.zeros((image_size, image_size), np.float32)
        self.whole = Patch((slice(None), slice(None)), self.u, self.v)

    def patch(self, left: float, top: float, right: float, bottom: float) -> Patch:
        """Return the part of the picture that shows this box of face coordinates."""
        yaw, pitch = math.sin(self.pose.yaw), math.sin(self.pose.pitch)
        xs, ys = [], []
        for u, v in ((left, top), (right, top), (left, bottom), (right, bottom)):
            depth = float(_depth(u, v))
            u, v = u + yaw * depth, v + pitch * depth
            xs.append(u * self._cos - v * self._sin)
            ys.append(u * self._sin + v * self._cos)
        # A box across the face bulges between its corners where the face is nearest.
        bulge = 2 / self.size + 0.5 * DEPTH * max(abs(yaw), abs(pitch))
        columns = self._range(min(xs) - bulge, max(xs) + bulge, self._centre[0])
        rows = self._range(min(ys) - bulge, max(ys) + bulge, self._centre[1])
        window = (rows, columns)
        return Patch(window, self.u[window], self.v[window])

    def _range(self, low: float, high: float, centre: float) -> slice:
        first = min(max(int((low + centre) * self.size), 0), self.size)
        last = min(max(math.ceil((high + centre) * self.size), first), self.size)
        return slice(first, last)

    def paint(self, patch: Patch, coverage: Array, color: Color | Array) -> None:
        """Blend a colour, [3] or [3, h, w], over the picture, weighted by `coverage`."""
        region = self.rgb[:, patch.window[0], patch.window[1]]
        if isinstance(color, tuple):
            color = planes(color)
        region += coverage * (color - region)

    def shade(self, patch: Patch, amount: Array) -> None:
        """Add light or shadow to the skin. Call this before the skin is painted."""
        self.relief[patch.window] += amount


def _depth(u: Any, v: Any) -> Any:
    """Depth of a point of the face: a paraboloid that levels off behind the ears."""
    depth = DEPTH * (1 - (u * (1 / 0.37)) ** 2 - ((v - 0.06) * (1 / 0.52)) ** 2)
    if isinstance(depth, float):
        return max(depth, -0.06)
    return np.maximum(depth, -0.06, out=depth)


def blur(rgb: Array, sigma: float) -> Array:
    """Gaussian blur of [c, h, w] by repeated three-tap filters; `sigma` is in pixels."""
    if sigma < 0.05:
        return rgb
    passes = math.ceil(sigma**2 / 0.6)
    side = sigma**2 / passes / 2  # a three-tap filter's variance is twice its side weight
    for _ in range(passes):
        for axis in (1, 2):
            before, after = _neighbours(rgb, axis)
            rgb = rgb * (1 - 2 * side) + (before + after) * side
    return rgb


def _neighbours(rgb: Array, axis: int) -> tuple[Array, Array]:
    first = rgb.take([0], axis)
    last = rgb.take([-1], axis)
    inner = slice(None, -1), slice(1, None)
    index = (slice(None),) * axis
    before = np.concatenate((first, rgb[(*index, inner[0])]), axis)
    after = np.concatenate((rgb[(*index, inner[1])], last), axis)
    return before, after
