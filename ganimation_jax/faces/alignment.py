"""Align faces: crop them upright, with a fixed size and position (the canonical crop).

In the canonical crop, the centres of the eyes are at (.351, .396) and (.646, .397) of the
side, and the face takes 80% of the side from forehead to chin. A transform is a ``2 3``
similarity from picture pixels to crop pixels, ``crop = transform @ (x, y, 1)``, in continuous
coordinates: (0, 0) is the outer corner of the first pixel, whose centre is (0.5, 0.5).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from ganimation_jax.faces.landmarker import DetectedFace, Landmarker, Pose

# Points of MediaPipe's mesh that expressions hardly move (corners of the eyes, bridge and
# underside of the nose), and their positions in the canonical crop, as a share of its side. The
# positions are the mean shape (generalised Procrustes) of 2,946 faces of LFW, rotated and scaled
# so that the centres of the eyes are where the module's docstring says.
RIGID = (33, 133, 362, 263, 168, 6, 195, 2)
CANONICAL = (
    *((0.2876, 0.3920), (0.4144, 0.4000), (0.5819, 0.4009), (0.7101, 0.3931)),
    *((0.4967, 0.3796), (0.4966, 0.4182), (0.4958, 0.4825), (0.4955, 0.6152)),
)
VIEW = 256  # pixels, side of the crop in which a face is detected again
JUMP = 0.2  # eye distances, the largest move in that crop; above it, it is another face
STAYS = 0.05  # eye distances, a move that counts as none; .01 is usual, .15 if upside down
LOOKS = 3  # detections in the crop at most


class AlignedFace(NamedTuple):
    """One face and its canonical crop."""

    face: DetectedFace  # in picture pixels
    transform: np.ndarray  # 2 3
    crop: np.ndarray  # uint8 size size 3


def align(
    landmarker: Landmarker, image: np.ndarray, size: int, tiles: Sequence[int] = (1,)
) -> list[AlignedFace]:
    """Crop all faces of a picture, uint8 ``h w 3``; the largest first, an empty list if none.

    Each face is detected again in its crop, see ``refine``. If no face is left, the picture
    may be rotated: detection is repeated in the three other orientations until one has faces.
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
    """Detect the face again in its canonical crop, independently of its size and roll.

    This is repeated until the landmarks stop moving, at most ``LOOKS`` times, because the first
    fit to a small or tilted face may be inaccurate. Returns None if they keep moving or the
    face is not found in the crop: most such detections are false, or of a face upside down.
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
    """The face detected in the face's own crop; None if none is near enough to be the same."""
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
    """Mean distance that the rigid points moved, in eye distances."""
    steps = np.linalg.norm(other.points - face.points, axis=1)[list(RIGID)]
    return float(steps.mean() / face.eye_distance)


def transform_of(face: DetectedFace, size: int) -> np.ndarray:
    """The transform from the picture to a face's canonical crop of side ``size``, ``2 3``."""
    return similarity(face.points[list(RIGID)], np.multiply(CANONICAL, size))


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Fit the similarity (rotation, scale, shift) from ``source`` to ``target``, ``n 2`` each.

    Least squares without reflection (Umeyama 1991, equations 40-43). Returns float64 ``2 3``.

    Raises:
      ValueError: the source points coincide, or are not finite.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    from_mean, to_mean = source.mean(axis=0), target.mean(axis=0)
    a, b = source - from_mean, target - to_mean
    spread = np.square(a).sum()
    if not (np.isfinite(spread) and spread > 0):
        raise ValueError("landmarks that coincide or are not finite fix no transform")
    # In two dimensions the optimal rotation and scale are one complex number.
    cosine, sine = (a * b).sum() / spread, (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / spread
    matrix = np.array([[cosine, -sine], [sine, cosine]])
    return np.column_stack([matrix, to_mean - matrix @ from_mean])


def apply(transform: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Transform points, ``... 2``."""
    return points @ transform[:, :2].T + transform[:, 2]


def invert(transform: np.ndarray) -> np.ndarray:
    """The transform from crop pixels to picture pixels, float64 ``2 3``."""
    return np.linalg.inv(np.vstack([transform, [0, 0, 1]]))[:2]


def crop(image: np.ndarray, transform: np.ndarray, size: int) -> np.ndarray:
    """Crop a picture to ``size`` pixels; outside its edges the picture is mirrored.

    Detail too fine for the crop is filtered out. A picture finer than the crop is reduced to
    twice the crop's resolution (Lanczos), sampled (bicubic), and halved (Lanczos).

    Args:
      image: uint8 ``h w 3``.
      transform: ``2 3``, a similarity.

    Returns:
      uint8 ``size size 3``.
    """
    back = invert(transform)
    scale = np.sqrt(abs(np.linalg.det(back[:, :2])))  # picture pixels per crop pixel
    finer = 2 if scale > 1 else 1
    shrink = max(scale / finer, 1)
    corners = apply(back, np.array([(0, 0), (0, size), (size, 0), (size, size)]))
    margin = 3 * shrink + 3  # support of the filters around a pixel
    left, top = np.floor(corners.min(axis=0) - margin).astype(int)
    right, bottom = np.ceil(corners.max(axis=0) + margin).astype(int)
    part = _part(image, slice(top, bottom), slice(left, right))
    picture = Image.fromarray(part)
    width, height = round(picture.width / shrink), round(picture.height / shrink)
    # Maps the finer crop to the reduced part, whose sides are rounded separately.
    factors = np.array([[width / picture.width], [height / picture.height]])
    sampling = np.column_stack([back[:, :2] / finer, back[:, 2] - (left, top)]) * factors
    if shrink > 1:
        # A large face is first averaged over whole pixels, to a third of the crop's pixels.
        picture = picture.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    channels = []
    # In floats, because on bytes Pillow's transform truncates, which darkens by half a level.
    for channel in picture.split():
        cut = channel.convert("F").transform(
            (finer * size, finer * size),
            Image.Transform.AFFINE,
            tuple(sampling.ravel()),
            Image.Resampling.BICUBIC,
        )
        channels.append(np.asarray(cut.resize((size, size), Image.Resampling.LANCZOS)))
    return np.stack(channels, axis=-1).round().clip(0, 255).astype(np.uint8)


def _part(image: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
    """A part of a picture, which may reach beyond its edges: there the picture is mirrored."""
    ends = [
        (part.start, part.stop, length)
        for part, length in zip((rows, columns), image.shape[:2], strict=True)
    ]
    inner = image[tuple(slice(max(start, 0), max(stop, 0)) for start, stop, _ in ends)]
    beyond = [(max(-start, 0), max(stop - length, 0)) for start, stop, length in ends]
    if not any(map(any, beyond)):
        return inner
    if all(max(sides) <= n for sides, n in zip(beyond, inner.shape[:2], strict=True)):
        return np.pad(inner, (*beyond, (0, 0)), mode="symmetric")
    down, right = (_mirrored(np.arange(start, stop), n) for start, stop, n in ends)
    return image[down].take(right, axis=1)


def _mirrored(places: np.ndarray, length: int) -> np.ndarray:
    """Map any integers to [0, length) by repeated reflection at both outer edges."""
    places = places % (2 * length)
    return np.minimum(places, 2 * length - 1 - places)


def _turned_back(face: DetectedFace, turns: int, shape: tuple[int, ...]) -> DetectedFace:
    """Convert a face found in ``np.rot90(image, turns)`` to the picture itself, of ``shape``."""
    (x, y), (height, width) = face.points.T, shape[:2]
    # np.rot90 takes (x, y) to (y, w - x), once more to (w - x, h - y), then to (h - y, x).
    back = ((x, y), (width - y, x), (width - x, height - y), (y, height - x))[turns]
    return face._replace(points=np.stack(back, axis=1), pose=_rolled(face.pose, 90 * turns))


def _rolled(pose: Pose, degrees: float) -> Pose:
    return pose._replace(roll=float((pose.roll + degrees + 180) % 360 - 180))
