"""The canonical crop from the 68 landmarks of OpenFace, without MediaPipe."""

import numpy as np

from ganimation_jax.faces.alignment import similarity

# Outlines of both eyes, bridge, tip and underside of the nose, and their positions in the
# canonical crop, as a share of its side. The positions are medians over 2,946 faces of LFW, which
# MediaPipe found in crops whose position in OpenFace's picture is known.
POINTS = (27, 28, 29, 30, 33, *range(36, 48))
CANONICAL = (
    *((0.5002, 0.3859), (0.4992, 0.4442), (0.4982, 0.5021), (0.4979, 0.5617), (0.4964, 0.6260)),
    *((0.2911, 0.3966), (0.3284, 0.3780), (0.3698, 0.3783)),
    *((0.4049, 0.4011), (0.3679, 0.4082), (0.3270, 0.4081)),
    *((0.5911, 0.4019), (0.6277, 0.3793), (0.6691, 0.3806)),
    *((0.7043, 0.3995), (0.6709, 0.4099), (0.6310, 0.4096)),
)


def transform_of_openface(points: np.ndarray, size: int) -> np.ndarray:
    """The transform from the picture to a face's canonical crop, float64 ``2 3``.

    Args:
      points: ``68 2``, the columns ``x_i`` and ``y_i`` of OpenFace's CSV file.
      size: side of the crop in pixels.

    Raises:
      ValueError: there are not 68 points, or they coincide or are not finite.
    """
    points = np.asarray(points, np.float64)
    if points.shape != (68, 2):
        raise ValueError(f"68 landmarks (x, y) wanted, the shape is {points.shape}")
    # OpenFace's origin is the centre of the first pixel, ours is its outer corner.
    return similarity(points[list(POINTS)] + 0.5, np.multiply(CANONICAL, size))
