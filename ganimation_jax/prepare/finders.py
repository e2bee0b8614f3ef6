"""Four ways to locate the faces of a picture. Each returns transforms and crops."""

import functools
import math
from collections.abc import Callable, Sequence
from importlib import metadata
from multiprocessing.util import Finalize
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ganimation_jax.action_units import ACTION_UNITS, OPENFACE_MAXIMUM
from ganimation_jax.faces import alignment
from ganimation_jax.faces.blendshapes import read_aus
from ganimation_jax.faces.crops import CANONICAL_EYES
from ganimation_jax.faces.landmarker import FACE_LANDMARKER, INSTALL, DetectedFace, Landmarker
from ganimation_jax.faces.openface_points import transform_of_openface
from ganimation_jax.faces.openface_rows import Measured
from ganimation_jax.files.assets import locate
from ganimation_jax.files.unusable import UnusableFile
from ganimation_jax.media.pictures import Picture
from ganimation_jax.prepare.problems import UsageError
from ganimation_jax.prepare.readout import Readout

# CelebA's own alignment (img_align_celeba): picture size and eye centres.
CELEBA_SIZE = (178, 218)
CELEBA_EYES = ((69.5, 111.5), (108.5, 111.5))


class Search(NamedTuple):
    """Settings for finding faces; part of the plan that determines the result."""

    by: str  # a key of FINDERS
    size: int  # side of the crops
    every_face: bool = False  # not only the largest face
    tiles: tuple[int, ...] = (1,)  # see ``Landmarker.faces``
    confidence: float = 0.5  # MediaPipe's minimum confidence in a face
    model: Path | None = None
    readout: Path | None = None
    version: str = ""  # version of MediaPipe, if used


def mediapipe_search(
    size: int,
    *,
    every_face: bool = False,
    tiles: Sequence[int] = (1,),
    confidence: float = 0.5,
    model: Path | None,
    readout: Path | None = None,
) -> Search:
    """Set up a MediaPipe search and check its requirements before any process starts.

    Raises:
      ImportError: MediaPipe is not installed.
      OSError: the model file is missing and cannot be downloaded.
      UsageError: the model or readout file is not a valid one.
    """
    # Check the user's paths first: installing a package does not help with a wrong path.
    if readout is not None:
        Readout.load(readout)
    try:
        if model is not None:
            locate(FACE_LANDMARKER, model)
        try:
            version = metadata.version("mediapipe")
        except metadata.PackageNotFoundError as error:
            raise ImportError(f"finding faces needs MediaPipe: {INSTALL}") from error
        model = locate(FACE_LANDMARKER, model)
    except (ValueError, FileNotFoundError) as error:
        raise UsageError(str(error)) from error
    return Search("mediapipe", size, every_face, tuple(tiles), confidence, model, readout, version)


class Found(NamedTuple):
    """One face of a picture."""

    measured: Measured
    transform: np.ndarray  # 2 3, picture -> crop
    crop: Image.Image  # size x size, RGB
    jpeg: Path | None = None  # a file that already is the crop


def find_square(picture: Picture, labels: Sequence[Measured], search: Search) -> list[Found]:
    """Use the whole picture as a face crop.

    Raises:
      UnusableFile: the picture is not square.
    """
    width, height = picture.image.size
    if width != height:
        raise UnusableFile(
            "picture is not square",
            f"it is {width}x{height}; a face crop must be square: cut one around the face",
        )
    scale = search.size / width
    transform = np.array([[scale, 0.0, 0.0], [0.0, scale, 0.0]])
    if width == search.size:
        return [Found(_label(labels), transform, picture.image, picture.jpeg)]
    crop = picture.image.resize((search.size, search.size), Image.Resampling.LANCZOS)
    return [Found(_label(labels), transform, crop)]


def find_celeba(picture: Picture, labels: Sequence[Measured], search: Search) -> list[Found]:
    """Use a square face crop, or crop a picture of CelebA's aligned version (178 x 218)."""
    if picture.image.size != CELEBA_SIZE:
        return find_square(picture, labels, search)
    target = np.multiply(CANONICAL_EYES, search.size)
    transform = alignment.similarity(np.array(CELEBA_EYES), target)
    return [_cut(picture, _label(labels), transform, search.size)]


def find_openface(picture: Picture, labels: Sequence[Measured], search: Search) -> list[Found]:
    """Locate faces by OpenFace's landmarks, largest first.

    Raises:
      UnusableFile: there are no landmarks, or they lie outside the picture.
    """
    found = []
    for label in labels:
        if label.points is None:
            raise UnusableFile("CSV lacks landmarks", "no columns x_0 ... y_67: run OpenFace -2Dfp")
        try:
            transform = transform_of_openface(label.points, search.size)
        except ValueError as error:
            raise UnusableFile("unusable landmarks", str(error)) from error
        centre = label.points.mean(axis=0)
        # If OpenFace lost the face, its landmarks and crop size are arbitrary.
        if not (
            (centre >= 0).all()
            and (centre <= picture.image.size).all()
            and side_of(transform, search.size) < 4 * max(picture.image.size)
        ):
            raise UnusableFile("unusable landmarks", "the face is not in the picture")
        found.append(_cut(picture, label, transform, search.size))
    return sorted(found, key=lambda face: -side_of(face.transform, search.size))


def find_mediapipe(picture: Picture, labels: Sequence[Measured], search: Search) -> list[Found]:
    """Find faces with MediaPipe, largest first; it measures them unless there are labels.

    Raises:
      UnusableFile: MediaPipe finds no face.
    """
    image, landmarker = (
        np.asarray(picture.image),
        landmarker_of_process(search.model, search.confidence),
    )
    faces = alignment.align(landmarker, image, search.size, search.tiles)
    if not faces:
        raise UnusableFile("no face", "none found; small faces: try --tiles 1 2 3 5")
    found = []
    for number, aligned in enumerate(faces):
        measured = _measure(aligned.face, search.readout)
        if labels and number == 0:
            measured = labels[0]._replace(turn=measured.turn)
        found.append(Found(measured, aligned.transform, Image.fromarray(aligned.crop)))
    return found


FINDERS: dict[str, Callable[[Picture, Sequence[Measured], Search], list[Found]]] = {
    "square": find_square,
    "celeba": find_celeba,
    "openface": find_openface,
    "mediapipe": find_mediapipe,
}


@functools.cache  # one per process, because it takes a second to start
def landmarker_of_process(model: Path | None, confidence: float = 0.5) -> Landmarker:
    """Return the landmarker of this worker process of ``parallel_map``."""
    landmarker = Landmarker(model, confidence=confidence)
    # Not closed by atexit, because Python has by then stopped the threads MediaPipe needs.
    Finalize(None, landmarker.close, exitpriority=1)
    return landmarker


def side_of(transform: np.ndarray, size: int) -> float:
    """Side of the crop in pixels of the picture."""
    return size / math.sqrt(abs(float(np.linalg.det(transform[:, :2]))))


def _label(labels: Sequence[Measured]) -> Measured:
    """The first annotation; without any, no action unit is known."""
    return labels[0] if labels else Measured({})


def _cut(picture: Picture, measured: Measured, transform: np.ndarray, size: int) -> Found:
    crop = Image.fromarray(alignment.crop(np.asarray(picture.image), transform, size))
    return Found(measured, transform, crop)


def _measure(face: DetectedFace, readout: Path | None) -> Measured:
    turn = max(abs(face.pose.yaw), abs(face.pose.pitch))
    if readout is not None:
        return Measured(_readout(readout).read(face), turn=turn)
    aus = read_aus(face.blendshapes) * OPENFACE_MAXIMUM
    served = zip(ACTION_UNITS, aus.tolist(), strict=True)
    return Measured({code: value for code, value in served if not math.isnan(value)}, turn=turn)


@functools.cache
def _readout(path: Path) -> Readout:
    return Readout.load(path)
