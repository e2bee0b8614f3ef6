"""Cut faces out upright, at one size and place: the canonical crop.

In it the centres of the eyes are at (.351, .396) and (.646, .397) of the side, and
forehead to chin take 80% of it. A transform is a ``2 3`` similarity from pixels of the
picture to pixels of the crop, ``crop = transform @ (x, y, 1)``, in continuous
coordinates: (0, 0) is the outer corner of the first pixel, whose centre is (0.5, 0.5).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from ganimation_jax.faces.landmarker import DetectedFace, Landmarker, Pose

# Points of MediaPipe's mesh that expression hardly moves: corners of the eyes, bridge and
# underside of the nose; and where they are in the canonical crop, of side 1. The places are the
# mean shape (generalised Procrustes) of 2,946 faces in the wild, LFW's, turned and scaled
# to put the centres of the eyes where they are said to be above.
RIGID = (33, 133, 362, 263, 168, 6, 195, 2)
CANONICAL = (
    *((0.2876, 0.3920), (0.4144, 0.4000), (0.5819, 0.4009), (0.7101, 0.3931)),
    *((0.4967, 0.3796), (0.4966, 0.4182), (0.4958, 0.4825), (0.4955, 0.6152)),
)
VIEW = 256  # side of the crop in which a face is looked at again
JUMP = 0.2  # eye distances by which it may then have moved; further, it is a neighbour's
STAYS = 0.05  # below which it has not; .01 is usual, .15 for a face seen upside down
LOOKS = 3


class AlignedFace(NamedTuple):
    """One face and its canonical crop."""

    face: DetectedFace  # in pixels of the picture
    transform: np.ndarray  # 2 3
    crop: np.ndarray  # uint8 size size 3


def align(
    landmarker: Landmarker, image: np.ndarray, size: int, tiles: Sequence[int] = (1,)
) -> list[AlignedFace]:
    """Cut out all faces of a picture, uint8 ``h w 3``; the largest first, none is an empty list.

    Each is looked at twice, see ``refine``. Where that leaves none, the picture may lie on
    its side or head: the same again with it turned.
    """
    for turns in (0, 1, 3, 2):  # quarter turns anticlockwise
        upright = np.ascontiguousarray(np.rot90(image, turns))
        seen = [refine(landmarker, upright, face) for face in landmarker.faces(upright, tiles)]
        faces = [_turned_back(face, turns, image.shape) for face in seen if face]
        if faces:
            break
    transforms = [transform_of(face, size) for face in faces]
    return [
        AlignedFace(face, transform, crop(image, transform, size))
        for face, transform in zip(faces, transforms, strict=True)
    ]


def refine(landmarker: Landmarker, image: np.ndarray, face: DetectedFace) -> DetectedFace | None:
    """The same face, measured again in its canonical crop, whatever its size and roll were.

    Again until it stays where it is: a first fit to a small or tilted face may be off.
    None if it does not, or is not found there: most such were no face, or one seen
    upside down.
    """
    for _ in range(LOOKS):
        seen = _look_again(landmarker, image, face)
        if seen is None:
            return None
        if _moved(face, seen) <= STAYS:
            return seen
        face = seen
    return None


def _look_again(
    landmarker: Landmarker, image: np.ndarray, face: DetectedFace
) -> DetectedFace | None:
    """What is found in the face's own crop, and near enough to be the same face."""
    transform = transform_of(face, VIEW)
    back = invert(transform)
    tilt = np.degrees(np.arctan2(back[1, 0], back[0, 0]))
    seen = [
        DetectedFace(
            apply(back, inner.points).astype(np.float32),
            inner.blendshapes,
            _rolled(inner.pose, tilt),
        )
        for inner in landmarker.faces(crop(image, transform, VIEW))
    ]
    closest = min(seen, key=lambda other: _moved(face, other), default=None)
    return None if closest is None or _moved(face, closest) > JUMP else closest


def _moved(face: DetectedFace, other: DetectedFace) -> float:
    """How far the rigid points moved on average, in eye distances."""
    steps = np.linalg.norm(other.points - face.points, axis=1)[list(RIGID)]
    return float(steps.mean() / face.eye_distance)


def transform_of(face: DetectedFace, size: int) -> np.ndarray:
    """The transform of a face to its canonical crop of ``size`` pixels, float64 ``2 3``."""
    return similarity(face.points[list(RIGID)], np.multiply(CANONICAL, size))


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The rotation, scale and shift nearest to taking ``source`` to ``target``, ``n 2`` each.

    Least squares, without reflection (Umeyama 1991, equations 40-43). Returns float64 ``2 3``.

    Raises:
      ValueError: the source points coincide, or are not finite.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    from_mean, to_mean = source.mean(axis=0), target.mean(axis=0)
    a, b = source - from_mean, target - to_mean
    spread = np.square(a).sum()
    if not (np.isfinite(spread) and spread > 0):
        raise ValueError("landmarks that coincide or are not finite fix no transform")
    # In the plane the optimum is a complex number: rotation and scale in one.
    cosine, sine = (a * b).sum() / spread, (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / spread
    matrix = np.array([[cosine, -sine], [sine, cosine]])
    return np.column_stack([matrix, to_mean - matrix @ from_mean])


def apply(transform: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points ``... 2`` transformed."""
    return points @ transform[:, :2].T + transform[:, 2]


def invert(transform: np.ndarray) -> np.ndarray:
    """The transform from crop pixels to picture pixels, float64 ``2 3``."""
    return np.linalg.inv(np.vstack([transform, [0, 0, 1]]))[:2]


def crop(image: np.ndarray, transform: np.ndarray, size: int) -> np.ndarray:
    """The crop of ``size`` pixels; beyond its edges the picture is mirrored.

    Detail too fine for the crop is filtered out. A picture finer than the crop is shrunk
    to twice the crop's resolution, sampled at that, and halved: Lanczos filters shrink,
    a bicubic one samples.

    Args:
      image: uint8 ``h w 3``.
      transform: ``2 3``, a similarity.

    Returns:
      uint8 ``size size 3``.
    """
    back = invert(transform)
    scale = np.sqrt(abs(np.linalg.det(back[:, :2])))  # picture pixels a crop pixel
    finer = 2 if scale > 1 else 1
    shrink = max(scale / finer, 1)
    corners = apply(back, np.array([(0, 0), (0, size), (size, 0), (size, size)]))
    margin = 3 * shrink + 3  # what the filters look at around a pixel
    left, top = np.floor(corners.min(axis=0) - margin).astype(int)
    right, bottom = np.ceil(corners.max(axis=0) + margin).astype(int)
    rows, columns = np.arange(top, bottom), np.arange(left, right)
    part = image[np.ix_(_mirrored(rows, image.shape[0]), _mirrored(columns, image.shape[1]))]

    picture = Image.fromarray(part)
    width, height = round(picture.width / shrink), round(picture.height / shrink)
    # From the finer crop to the shrunk part, whose sides are rounded each for itself.
    factors = np.array([[width / picture.width], [height / picture.height]])
    sampling = np.column_stack([back[:, :2] / finer, back[:, 2] - (left, top)]) * factors
    if shrink > 1:
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    channels = []
    # In floats, for on bytes Pillow's transform cuts fractions off: half a level too dark.
    for channel in picture.split():
        cut = channel.convert("F").transform(
            (finer * size, finer * size),
            Image.Transform.AFFINE,
            tuple(sampling.ravel()),
            Image.Resampling.BICUBIC,
        )
        channels.append(np.asarray(cut.resize((size, size), Image.Resampling.LANCZOS)))
    return np.stack(channels, axis=-1).round().clip(0, 255).astype(np.uint8)


def _mirrored(places: np.ndarray, length: int) -> np.ndarray:
    """Any integers to [0, length), reflected at both outer edges as often as need be."""
    places = places % (2 * length)
    return np.minimum(places, 2 * length - 1 - places)


def _turned_back(face: DetectedFace, turns: int, shape: tuple[int, ...]) -> DetectedFace:
    """A face found in ``np.rot90(image, turns)``, in the picture itself, of ``shape``."""
    (x, y), (height, width) = face.points.T, shape[:2]
    # np.rot90 takes (x, y) to (y, w - x), once more to (w - x, h - y), then to (h - y, x).
    back = ((x, y), (width - y, x), (width - x, height - y), (y, height - x))[turns]
    return face._replace(points=np.stack(back, axis=1), pose=_rolled(face.pose, 90 * turns))


def _rolled(pose: Pose, degrees: float) -> Pose:
    return pose._replace(roll=float((pose.roll + degrees + 180) % 360 - 180))
