"""Make two pictures of one person differ in nothing but the expression.

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
from scipy.ndimage import gaussian_filter

from ganimation_jax.faces.alignment import RIGID, apply, crop, similarity
from ganimation_jax.faces.landmarker import DetectedFace
from ganimation_jax.faces.regions import JAW, OUTLINE, filled, hull

# Points of MediaPipe's mesh that expressions move: brows, eyes and nose, lips.
LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 270, 267, 0, 37, 40)
BROWS = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300, 46, 276)
EYES_AND_NOSE = (33, 263, 130, 359, 168, 129, 358, 98, 327, 2)
MOVING = BROWS + EYES_AND_NOSE + LIPS
CHIN, NOSE = 152, 2
# Light cannot be compared at the eyes, brows and mouth, because expressions change these.
UNLIKE = (
    (70, 63, 105, 66, 107, 133, 145, 33),
    (300, 293, 334, 296, 336, 362, 374, 263),
    LIPS,
)
GROW = 1.12  # factor by which the hull of the moving points is enlarged
# As shares of the picture's side:
JAW_MOVES = 0.025  # change of the distance from nose to chin, from which the jaw is moved too
SOFT = 0.027  # standard deviation of the blur of the mask
LIGHT = 0.09  # standard deviation of the blur over which light is compared


class Cleaned(NamedTuple):
    """A base picture with the expression of another."""

    image: np.ndarray  # uint8 size size 3
    seam: float  # mean difference of both along the edge, in levels
    transform: np.ndarray  # 2 3, from the other picture to this one


def clean(
    base: np.ndarray,
    base_face: DetectedFace,
    other: np.ndarray,
    other_face: DetectedFace,
    transform: np.ndarray,
    size: int,
) -> Cleaned:
    """Put the expression of another picture into the base picture's crop.

    Args:
      base, other: uint8 ``h w 3``, of one person.
      base_face, other_face: the faces in them.
      transform: ``2 3``, from the base picture to its crop.
      size: of the crop, in pixels.
    """
    a = apply(transform, base_face.points.astype(np.float64))
    onto = similarity(other_face.points[list(RIGID)], a[list(RIGID)])
    b = apply(onto, other_face.points.astype(np.float64))
    here = crop(base, transform, size).astype(np.float32)
    there = crop(other, onto, size).astype(np.float32)
    mask = moving_part(a, b, size)[..., None]
    there += _light(here - there, mask * _comparable(a, b, size)[..., None], size)
    edge = mask * (1 - mask)
    seam = float((edge * np.abs(here - there)).sum() / (3 * edge.sum()))
    image = here + mask * (there - here)
    return Cleaned(image.round().clip(0, 255).astype(np.uint8), seam, onto)


def moving_part(a: np.ndarray, b: np.ndarray, size: int) -> np.ndarray:
    """Where the expression is: 1 where the other picture is to be seen, 0 where the base is.

    The enlarged hull of brows, nose and lips in both pictures, as far as it is face in both.
    Where the mouth opens or closes, also all that is jaw in one of them.

    Args:
      a, b: ``478 2``, the mesh in either picture, in pixels of the crop.
      size: of the crop.

    Returns:
      Float32 ``size size`` in [0, 1], with a soft edge.
    """
    moving = hull(np.concatenate([a[list(MOVING)], b[list(MOVING)]]), GROW)
    mask = filled(moving, size) * _face(a, size, 0.97) * _face(b, size, 0.97)
    if abs(_jaw_length(a) - _jaw_length(b)) > JAW_MOVES * size:
        for points in (a, b):
            lower = filled(hull(points[[*LIPS, *JAW]], 0.98), size)
            mask = np.maximum(mask, lower)
    return gaussian_filter(mask, SOFT * size)


def _comparable(a: np.ndarray, b: np.ndarray, size: int) -> np.ndarray:
    """1 where both pictures show skin that expression leaves alone."""
    skin = _face(a, size, 0.95) * _face(b, size, 0.95)
    for part in UNLIKE:
        for points in (a, b):
            skin = skin * (1 - filled(hull(points[list(part)], 1.1), size))
    return skin


def _light(difference: np.ndarray, weight: np.ndarray, size: int) -> np.ndarray:
    """The slowly varying part of ``difference``, ``h w 3``, as ``weight`` lets it be seen."""

    def blur(values: np.ndarray) -> np.ndarray:
        return gaussian_filter(values, (LIGHT * size, LIGHT * size, 0))

    # The constant fades the correction out where nothing near can be compared.
    return blur(weight * difference) / (blur(weight) + 0.02)


def _jaw_length(points: np.ndarray) -> float:
    return float(np.linalg.norm(points[CHIN] - points[NOSE]))


def _face(points: np.ndarray, size: int, grow: float) -> np.ndarray:
    return filled(hull(points[list(OUTLINE)], grow), size)
