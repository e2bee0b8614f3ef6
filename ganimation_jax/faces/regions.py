"""Regions of a face, from MediaPipe's mesh: its outline, and where edits may show.

Points are in pixels of a crop, ``478 2`` as (x, y), in continuous coordinates.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

# The jaw's outline from ear to ear, and with the forehead the outline of the face.
JAW = (132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361)
FOREHEAD = (323, 454, 356, 389, 251, 284, 332, 297, 338, 10, 109, 67, 103, 54, 21, 162, 127)
OUTLINE = (*JAW, *FOREHEAD, 234, 93)
# Rings of skin around each eye, from the brow to the cheek bone, and the cheeks below.
EYES = (
    (70, 63, 105, 66, 107, 193, 128, 121, 120, 119, 118, 117, 111, 35, 124),
    (300, 293, 334, 296, 336, 417, 357, 350, 349, 348, 347, 346, 340, 265, 353),
)
CHEEKS = ((50, 205, 206, 203, 36, 101), (280, 425, 426, 423, 266, 330))
# Shares of the crop's side or factors:
GROW = 1.06  # factor by which the outline is enlarged: a jaw that drops leaves it
BELOW = 0.06  # and how much further the jaw may drop
SOFT = 0.03  # standard deviation of the blur of the edge
# Brightness of the eyes' surroundings as a share of the cheeks', below which they are covered.
COVERED = 0.3
# Degrees from the camera: edits have full strength up to the first, none from the second.
TURNED, AWAY = 40.0, 65.0


class Reach(NamedTuple):
    """Where an edit may show, how strongly, and why it is limited."""

    weight: np.ndarray  # float32 s s, [0, 1]
    notes: tuple[str, ...]  # for people


def reach(crop: np.ndarray, points: np.ndarray, turn: float) -> Reach:
    """Where and how strongly a face may be edited.

    An edit fades out at the outline of the face, so that it leaves hair and background alone. It
    is weaker on a head that is turned far, and leaves covered eyes alone.

    Args:
      crop: uint8 ``s s 3``.
      points: ``478 2``.
      turn: degrees away from the camera, the larger of yaw and pitch.
    """
    size, notes = len(crop), []
    dropped = points[list(JAW)] + (0, BELOW * size)
    outline = hull(np.concatenate([points[list(OUTLINE)], dropped]), GROW)
    weight = blurred(filled(outline, size), SOFT * size)
    strength = float(np.clip((AWAY - turn) / (AWAY - TURNED), 0, 1))
    if strength < 1:
        notes.append(
            f"the head is turned by {turn:.0f} degrees: the edit has {strength:.0%} of its strength"
        )
    if eyes_covered(crop, points):
        notes.append("the eyes are covered: they are left as they are")
        for eye in EYES:
            around = filled(hull(points[list(eye)], 1.25), size)
            weight *= 1 - blurred(around, SOFT * size)
    return Reach((strength * weight).astype(np.float32), tuple(notes))


def eyes_covered(crop: np.ndarray, points: np.ndarray) -> bool:
    """Whether something dark, such as sunglasses, hides both eyes.

    Compares the brightness of the surroundings of the eyes with that of the cheeks, so that it
    depends neither on skin nor on light. Eyes that are merely closed are not covered.
    """
    size = len(crop)
    grey = crop.astype(np.float32).mean(axis=-1)
    dark = []
    for eye, cheek in zip(EYES, CHEEKS, strict=True):
        around = grey[filled(hull(points[list(eye)], 1.0), size) > 0]
        skin = grey[filled(hull(points[list(cheek)], 1.0), size) > 0]
        if around.size == 0 or skin.size == 0:
            return False
        dark.append(float(np.median(around)) < COVERED * float(np.median(skin)))
    return all(dark)


# SciPy has both of these, and takes as long to import as a face to be found and edited.


def hull(points: np.ndarray, grow: float) -> np.ndarray:
    """The corners of the convex hull, in order, moved from its centre by the factor ``grow``."""
    ordered = sorted({(x, y) for x, y in points.tolist()})
    sides = []  # Andrew's monotone chain: from left to right and back
    for places in (ordered, ordered[::-1]):
        side: list[tuple[float, float]] = []
        for x, y in places:
            while len(side) > 1:
                (x0, y0), (x1, y1) = side[-2:]
                if (x1 - x0) * (y - y0) > (y1 - y0) * (x - x0):
                    break
                side.pop()
            side.append((x, y))
        sides += side[:-1]
    corners = np.array(sides)
    centre = corners.mean(axis=0)
    return centre + grow * (corners - centre)


def blurred(mask: np.ndarray, width: float) -> np.ndarray:
    """A mask ``s s``, [0, 1], blurred by a Gaussian of this standard deviation, mirrored beyond."""
    radius = round(4 * width)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / width) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    for axis in (0, 1):
        padded = np.pad(
            mask, [(radius, radius) if a == axis else (0, 0) for a in (0, 1)], "symmetric"
        )
        parts = np.lib.stride_tricks.sliding_window_view(padded, len(weights), axis)
        mask = parts @ weights
    return mask.clip(0, 1)  # sums of float32 may exceed 1


def filled(outline: np.ndarray, size: int) -> np.ndarray:
    """1 inside a polygon, 0 outside; float32 ``size size``."""
    picture = Image.new("L", (size, size))
    ImageDraw.Draw(picture).polygon([(x, y) for x, y in outline.tolist()], fill=1)
    return np.asarray(picture, np.float32)
