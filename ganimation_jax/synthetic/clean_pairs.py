"""Make two photos of one person differ in nothing but the expression.

A face generator keeps pose, light, hair and background only nearly when it changes the
expression. As training targets such pictures teach nothing, because what drifts is
larger than what was meant to change. ``clean`` therefore takes the moving part of the face
from the picture with the other expression and puts it into the base picture: aligned on
points that expression hardly moves, in the base picture's light, with a soft edge. All
expressions of a person are put into the same base picture, so that any two of the
results differ in the expression alone.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from scipy.ndimage import gaussian_filter
from scipy.spatial import ConvexHull

from ganimation_jax.faces.alignment import RIGID, apply, crop, similarity
from ganimation_jax.faces.landmarker import DetectedFace

# Points of MediaPipe's mesh around what expression moves: brows, eyes, nose, lips.
MOVING = (
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300, 46, 276),
    *(33, 263, 130, 359, 168, 129, 358, 98, 327, 2),
)
LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 270, 267, 0, 37, 40)
MOVING = (*MOVING, *LIPS)
# The jaw's outline from ear to ear, and with the forehead the outline of the face.
JAW = (132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361)
OUTLINE = (*JAW, 323, 454, 356, 389, 251, 284, 332, 297, 338, 10, 109, 67, 103, 54, 21, 162, 127)
OUTLINE = (*OUTLINE, 234, 93)
CHIN = 152
# Where light cannot be compared, because expression changes what is seen: eyes and mouth.
UNLIKE = (
    (70, 63, 105, 66, 107, 133, 145, 33),
    (300, 293, 334, 296, 336, 362, 374, 263),
    LIPS,
)
# As shares of the picture's side.
JAW_MOVES = 0.025  # the chin's step from which the jaw belongs to what is moved
SOFT = 0.027  # standard deviation of the blur of the mask
LIGHT = 0.09  # standard deviation of the blur over which light is compared
GROW = 1.12  # the hull of the moving points, around its centre


class Cleaned(NamedTuple):
    """A base picture with the expression of another."""

    image: np.ndarray  # uint8 size size 3
    seam: float  # mean difference along the edge, in levels
    transform: np.ndarray  # 2 3, from the other picture to this one


def clean(
    base: np.ndarray,
    base_face: DetectedFace,
    other: np.ndarray,
    other_face: DetectedFace,
    transform: np.ndarray,
    size: int,
) -> Cleaned:
    a = apply(transform, base_face.points.astype(np.float64))
    onto = similarity(other_face.points[list(RIGID)], a[list(RIGID)])
    b = apply(onto, other_face.points.astype(np.float64))
    here = crop(base, transform, size).astype(np.float32)
    there = crop(other, onto, size).astype(np.float32)
    mask = moving_part(a, b, size)[..., None]
    there += light_difference(here, there, mask * alike(a, b, size)[..., None], size)
    edge = mask * (1 - mask)
    seam = float((edge * np.abs(here - there)).sum() / (3 * edge.sum()))
    image = here + mask * (there - here)
    return Cleaned(image.round().clip(0, 255).astype(np.uint8), seam, onto)


def moving_part(a, b, size):
    def outlines(points, grow):
        return [_filled(_hull(p[list(points)], grow), size) for p in (a, b)]

    moving = _filled(_hull(np.concatenate([a[list(MOVING)], b[list(MOVING)]]), GROW), size)
    moving = np.minimum(moving, np.minimum(*outlines(OUTLINE, 0.97)))
    if abs(_jaw(a) - _jaw(b)) > JAW_MOVES * size:
        moving = np.maximum(moving, np.maximum(*outlines((*LIPS, *JAW), 0.98)))
    return gaussian_filter(moving, SOFT * size)


def _jaw(points):
    return np.linalg.norm(points[CHIN] - points[2])


def alike(a, b, size):
    skin = np.ones((size, size), np.float32)
    for part in UNLIKE:
        for points in (a, b):
            skin = np.minimum(skin, 1 - _filled(_hull(points[list(part)], 1.1), size))
    face = np.minimum(*(_filled(_hull(p[list(OUTLINE)], 0.95), size) for p in (a, b)))
    return skin * face


def light_difference(here, there, weight, size):
    blur = lambda x: gaussian_filter(x, (LIGHT * size, LIGHT * size, 0))
    return blur(weight * (here - there)) / (blur(weight) + 0.02)


def _hull(points, grow):
    corners = points[ConvexHull(points).vertices]
    centre = corners.mean(axis=0)
    return centre + grow * (corners - centre)


def _filled(outline, size):
    picture = Image.new("L", (size, size))
    ImageDraw.Draw(picture).polygon([tuple(p) for p in outline.tolist()], fill=1)
    return np.asarray(picture, np.float32)
