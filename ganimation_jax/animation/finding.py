"""Find the faces in a photo, crop them to a model's size and read their action units."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, UInt8
from PIL import Image

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.animation.loading import LoadedModel
from ganimation_jax.animation.photo_like import Pixels
from ganimation_jax.faces import blendshapes
from ganimation_jax.faces.alignment import align, apply, crop, similarity
from ganimation_jax.faces.crops import CANONICAL_EYES
from ganimation_jax.faces.landmarker import Landmarker
from ganimation_jax.faces.regions import Reach, reach

log = logging.getLogger(__name__)

TILES = (1, 2, 3, 5)  # see ``Landmarker.faces``; finds faces down to 1/20 of the photo
READERS = ("critic", "annotator")
CANONICAL = np.array(CANONICAL_EYES)


class NoFaceError(ValueError):
    """No face was found where at least one is required."""


class Face(NamedTuple):
    """A face in a photo, cropped for a model."""

    crop: UInt8[np.ndarray, "s s 3"]
    transform: Float[np.ndarray, "2 3"]  # from photo pixels to crop pixels
    box: tuple[float, float, float, float]  # left, top, right, bottom in the photo
    aus: Float32[np.ndarray, " n"]  # [0, 1]; NaN where not measured
    reach: Reach | None = None  # where edits may show; None: everywhere in the crop


class Seen(NamedTuple):
    """A detected face whose action units have not been read yet."""

    face: Face
    image: Pixels  # the photo
    blendshapes: Float[np.ndarray, "52"] | None  # None if landmarks were not detected


class Reading(NamedTuple):
    """Action units of one face in a photo."""

    box: tuple[float, float, float, float]  # left, top, right, bottom in pixels of the photo
    aus: dict[str, float]  # intensities, [0, 1]


class Finder:
    """Finds faces for one model. It opens MediaPipe on first use and keeps it until closed.

    Args:
      model: defines the size of the crops, the position of the eyes in them, and the critic.
      landmarker: path of MediaPipe's ``face_landmarker.task``; by default it is searched for
        (``assets.locate``).
    """

    def __init__(self, model: LoadedModel, landmarker: Path | None = None):
        self._model, self._file = model, landmarker
        self._landmarker: Landmarker | None = None
        self._warned = False

    @property
    def landmarker(self) -> Landmarker:
        """MediaPipe's landmarker; raises ImportError if MediaPipe is not installed."""
        if self._landmarker is None:
            self._landmarker = Landmarker(self._file)
        return self._landmarker

    def close(self) -> None:
        """Free MediaPipe's landmarker; the next use opens it again."""
        if self._landmarker is not None:
            self._landmarker.close()
            self._landmarker = None

    def seek(
        self, image: np.ndarray, faces: str | int, tiles: Sequence[int] | None = None
    ) -> list[Seen]:
        """The faces of a photo, the largest first; at least one.

        Args:
          faces: ``largest``, ``all`` or the number of faces.
          tiles: see ``Landmarker.faces``. By default, a single face is searched for in the
            whole photo first, and in tiles only if none is found. Several faces are always
            searched for in tiles.

        Raises:
          NoFaceError: no face was found.
          ValueError: ``faces`` has another value.
        """
        wanted = how_many(faces)
        size, eyes = self._model.image_size, np.array(self._model.eyes)
        looks: list[Sequence[int]] = [(1,), TILES] if wanted == 1 else [TILES]
        for look in [tiles] if tiles else looks:
            if found := align(self.landmarker, image, size, look):
                break
        else:
            raise NoFaceError("no face was found")
        to_model = _square(similarity(CANONICAL * size, eyes * size))
        seen = []
        for detected, transform, cut in found[:wanted]:
            if not np.array_equal(eyes, CANONICAL):
                transform = (to_model @ _square(transform))[:2]
                cut = crop(image, transform, size)
            turn = max(abs(detected.pose.yaw), abs(detected.pose.pitch))
            limits = reach(cut, apply(transform, detected.points), turn)
            face = Face(cut, transform, detected.box, self._unknown(), limits)
            seen.append(Seen(face, image, detected.blendshapes))
        return seen

    def whole(self, image: Pixels) -> Seen:
        """Treat a photo that is already an aligned face crop as one face.

        Raises:
          ValueError: the photo is not square.
        """
        height, width = image.shape[:2]
        if height != width:
            raise ValueError(f"an aligned face crop is square; this is {width}x{height}")
        size, cut = self._model.image_size, image
        if width != size:
            resized = Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS)
            cut = np.asarray(resized)
        scale = size / width
        transform = np.array([[scale, 0.0, 0.0], [0.0, scale, 0.0]])

        box = (0.0, 0.0, float(width), float(height))
        return Seen(Face(cut, transform, box, self._unknown()), image, None)

    def measured(self, seen: Seen) -> Face:
        """The face with its action units, from the critic, or from MediaPipe without a critic.

        Action units that MediaPipe does not measure are set to 0, with a warning in the log. Where
        a model has labels alone and reads none, nothing is measured and all are 0.
        """
        if self._model.read_aus is not None:
            return seen.face._replace(aus=self.by_critic(seen.face))
        if not has_intensities(self._model):
            return seen.face._replace(aus=np.zeros_like(seen.face.aus))
        aus = self.by_annotator(seen)
        unserved = [unit for unit, x in zip(self._model.action_units, aus, strict=True) if x != x]
        if unserved and not self._warned:
            log.warning("MediaPipe does not read %s: taken for 0", ", ".join(unserved))
            self._warned = True
        return seen.face._replace(aus=np.nan_to_num(aus))

    def by_critic(self, face: Face) -> Float32[np.ndarray, " n"]:
        """Action units of a face from the critic: float32 ``n``, [0, 1].

        Raises:
          ValueError: the model has no critic.
        """
        if self._model.read_aus is None:
            raise ValueError(f"{self._model.name} has no critic; action units by the annotator")
        (aus,) = np.asarray(self._model.read_aus(as_input(face.crop[None])))
        return aus.clip(0, 1).astype(np.float32)

    def by_annotator(self, seen: Seen) -> Float32[np.ndarray, " n"]:
        """Action units from MediaPipe: float32 ``n``, [0, 1]; NaN for units it does not measure.

        Raises:
          NoFaceError: the photo is an aligned crop in which MediaPipe finds no face.
        """
        coefficients = seen.blendshapes
        if coefficients is None:
            found = self.landmarker.faces(seen.image)
            if not found:
                raise NoFaceError("no face was found in the crop, to read its action units from")
            coefficients = found[0].blendshapes
        read = blendshapes.read_aus(coefficients)
        known = dict(zip(ACTION_UNITS, read.tolist(), strict=True))
        return np.array([known.get(u, np.nan) for u in self._model.action_units], np.float32)

    def _unknown(self) -> np.ndarray:
        return np.full(len(self._model.action_units), np.nan, np.float32)


def as_input(crops: UInt8[np.ndarray, "*b s s 3"]) -> Float32[np.ndarray, "*b s s 3"]:
    """Crops as networks take them: uint8 to float32 in [-1, 1].

    By NumPy, because each of the two operations would be a program for JAX to compile.
    """
    return crops.astype(np.float32) / np.float32(127.5) - np.float32(1)


def how_many(faces: str | int) -> int | None:
    """The number of faces to take, from the largest; None for all.

    Raises:
      ValueError: ``faces`` is not ``largest``, ``all`` or a positive integer.
    """
    if faces in ("largest", "all"):
        return 1 if faces == "largest" else None
    if isinstance(faces, int) and faces > 0:
        return faces
    raise ValueError(f"faces: largest, all or a number of them, not {faces!r}")


def check_reader(by: str, model: LoadedModel) -> None:
    """Raise ValueError if ``by`` is not a reader, or is the critic and the model has none."""
    if by not in READERS:
        raise ValueError(f"action units are read by {' or '.join(READERS)}, not {by!r}")
    labels = "" if has_intensities(model) else " ".join(model.action_units)
    if labels and by == "annotator":
        raise ValueError(f"{labels} are labels, which MediaPipe does not read: name what you want")
    if labels and model.read_aus is None:
        raise ValueError(f"{model.name} does not read its labels, {labels}: name what you want")
    if by == "critic" and model.read_aus is None:
        raise ValueError(f"{model.name} has no critic to read action units: use the annotator")


def has_intensities(model: LoadedModel) -> bool:
    """Whether some condition of a model is an action unit, and not a label."""
    return any(condition.kind == "intensity" for condition in model.conditions)


def _square(transform: np.ndarray) -> np.ndarray:
    """A ``2 3`` transform as a ``3 3`` matrix."""
    return np.vstack([transform, (0, 0, 1)])
