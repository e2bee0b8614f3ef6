"""Where in an aligned face an attribute is: masks for DIAT's enhancement network."""

import numpy as np

Point = tuple[float, float]
Eyes = tuple[Point, Point]

# Convex hulls in crops whose eyes are at PLACES, as fractions of the sides: (right, down). They
# hold MediaPipe's points of the region in 90% of 18 generated portraits, aligned as `prepare` does,
# and leave room for an opening mouth and for glasses. The left halves are mirrored.
PLACES: Eyes = ((0.351, 0.396), (0.646, 0.397))
_LEFT: dict[str, tuple[Point, ...]] = {
    "mouth": ((0.5, 0.62), (0.38, 0.645), (0.31, 0.70), (0.36, 0.78), (0.5, 0.83)),
    "eyes": ((0.5, 0.25), (0.30, 0.25), (0.19, 0.30), (0.19, 0.44), (0.30, 0.49), (0.5, 0.49)),
    "face": (
        (0.5, 0.12), (0.35, 0.13), (0.21, 0.22), (0.15, 0.35), (0.15, 0.50), (0.19, 0.68),
        (0.30, 0.84), (0.42, 0.94), (0.5, 0.96),
    ),
}  # fmt: skip
REGIONS = tuple(_LEFT)


def mask(region: str, eyes: Eyes, size: int) -> np.ndarray:
    """A region of faces whose eyes are at these places.

    Args:
      region: one of ``REGIONS``.
      eyes: of the images, the picture's left one first, as fractions of the sides.
      size: side of the images in pixels.

    Returns:
      float32 ``size size 1``: 1 inside the hull, 0 outside.

    Raises:
      ValueError: there is no such region.
    """
    if region not in REGIONS:
        raise ValueError(f"region {region!r} is not one of {', '.join(REGIONS)}")
    left = _LEFT[region]
    hull = np.array([*left, *((1 - x, y) for x, y in reversed(left))])
    given, canonical = np.array(eyes), np.array(PLACES)
    scale = np.linalg.norm(given[1] - given[0]) / np.linalg.norm(canonical[1] - canonical[0])
    hull = given.mean(axis=0) + scale * (hull - canonical.mean(axis=0))
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    inside = np.ones((size, size), bool)
    for start, end in zip(hull, np.roll(hull, -1, axis=0), strict=True):
        along = end - start  # down the left side and up the right: the inside is to the left
        inside &= along[0] * (y - start[1]) - along[1] * (x - start[0]) <= 0
    return inside[..., None].astype(np.float32)
