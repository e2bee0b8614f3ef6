"""What all ways to animate are made of: a model, and the faces in photos."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np

from ganimation_jax.animation.finding import READERS, Face, Finder, NoFaceError, Seen, check_photo
from ganimation_jax.animation.loading import Model, load_model
from ganimation_jax.animation.pasting import paste, spread
from ganimation_jax.animation.targets import Aus, check_array, resolve
from ganimation_jax.faces.landmarker import Landmarker
from ganimation_jax.types import Edit, to_float

__all__ = ["BATCH", "Animator", "Explanation", "Face", "NoFaceError"]

BATCH = 8  # crops edited at once


class Explanation(NamedTuple):
    """An edit of a photo's largest face, and how it came about."""

    edited: np.ndarray  # uint8 h w 3, the photo
    attention: np.ndarray  # float32 h w, [0, 1]: the share of the photo that is kept
    color: np.ndarray  # uint8 s s 3, what is painted
    crop: np.ndarray  # uint8 s s 3, the face as the model sees it
    aus: np.ndarray  # float32 n, [0, 1], what it was given


class Animator:
    """Edits the expression of faces in photos: uint8 ``h w 3``, RGB, of any size.

    A target expression is given by name, ``{"AU12": 0.8}``, all other action units staying
    as the face's own, or as an array of all, ``n``, in the order of ``action_units``. With
    ``relative`` it is added to what the face shows.

    ``faces`` says which faces of a photo: ``largest``, ``all``, or the N largest. With
    ``aligned`` the photo is a square face crop like those that the model was trained on,
    and is used as a whole: nothing is looked for, and a model with a critic does without
    MediaPipe.

    Methods that look for faces raise NoFaceError, a ValueError, if there is none, and
    ImportError if MediaPipe is not installed. All raise TypeError for arrays that are no
    photos, and ValueError for targets that the model cannot be given.

    Args:
      model: what ``load_model`` returns.
      landmarker: MediaPipe's ``face_landmarker.task``; by default looked for.
    """

    def __init__(self, model: Model, landmarker: Path | None = None):
        self._model, self._finder = model, Finder(model, landmarker)

    @classmethod
    def load(cls, model: str | Path, *, landmarker: Path | None = None) -> Self:
        """From a run's workdir or a name such as "lfw-64": takes and raises as ``load_model``."""
        return cls(load_model(model), landmarker)

    @property
    def model(self) -> Model:
        """The model."""
        return self._model

    @property
    def action_units(self) -> tuple[str, ...]:
        """Names of the n action units, in the order of target arrays."""
        return self._model.action_units

    @property
    def image_size(self) -> int:
        """Side s of the crops that the model edits."""
        return self._model.image_size

    @property
    def landmarker(self) -> Landmarker:
        """What finds faces; opened when it is first needed."""
        return self._finder.landmarker

    def close(self) -> None:
        """Free the landmarker; it is opened again when it is needed again."""
        self._finder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def find(
        self,
        image: np.ndarray,
        faces: str | int = "largest",
        *,
        aligned: bool = False,
        tiles: Sequence[int] | None = None,
    ) -> list[Face]:
        """The faces of a photo, the largest first; at least one.

        Args:
          tiles: see ``Landmarker.faces``. By default one look for ``largest``, and at parts of
            the photo, which takes a second, where that finds none or other faces are wanted.
        """
        return [self._finder.measured(seen) for seen in self._seek(image, faces, aligned, tiles)]

    def read(
        self, image: np.ndarray, by: str = "critic", aligned: bool = False
    ) -> dict[str, float]:
        """The action units that the largest face shows.

        Args:
          by: the model's ``critic``; or the ``annotator``, MediaPipe: the units that it does
            not serve are left out.

        Raises:
          ValueError: ``by`` is neither, or the model has no critic.
        """
        if by not in READERS:
            raise ValueError(f"action units are read by {' or '.join(READERS)}, not {by!r}")
        (seen,) = self._seek(image, "largest", aligned)
        critic = by == "critic"
        aus = self._finder.by_critic(seen.face) if critic else self._finder.by_annotator(seen)
        units = zip(self.action_units, aus.tolist(), strict=True)
        return {unit: value for unit, value in units if value == value}  # not NaN

    def edit(
        self,
        image: np.ndarray,
        aus: Aus,
        *,
        relative: bool = False,
        faces: str | int = "largest",
        aligned: bool = False,
    ) -> np.ndarray:
        """The photo with another expression: uint8 ``h w 3``."""
        found, targets = self._aim(image, aus, relative, faces, aligned)
        return self.with_faces(image, found, targets)

    def transfer(
        self,
        image: np.ndarray,
        reference: np.ndarray,
        by: str = "critic",
        *,
        faces: str | int = "largest",
        aligned: bool = False,
    ) -> np.ndarray:
        """The photo with the expression of the largest face in another; ``by`` as in ``read``."""
        aus = self.read(reference, by, aligned)
        return self.edit(image, aus, faces=faces, aligned=aligned)

    def explain(
        self, image: np.ndarray, aus: Aus, *, relative: bool = False, aligned: bool = False
    ) -> Explanation:
        """An edit of the largest face with all that the model makes for it."""
        found, targets = self._aim(image, aus, relative, "largest", aligned)
        edit, face = self._edits(found, targets), found[0]
        kept = _kept(edit)
        painted = edit.image if edit.color is None else edit.color
        return Explanation(
            edited=_pasted(image, found, np.asarray(edit.image)),
            attention=spread(kept, face.transform, image.shape[:2], outside=1.0),
            color=_levels(np.asarray(painted)[0]).round().clip(0, 255).astype(np.uint8),
            crop=face.crop,
            aus=targets[0],
        )

    def attention(self, face: Face, aus: np.ndarray) -> np.ndarray:
        """The share of a face's crop that an edit keeps: float32 ``s s``, [0, 1]."""
        targets = check_array(aus, (len(self.action_units),))[None]
        return _kept(self._edits([face], targets))

    def with_faces(
        self, image: np.ndarray, faces: Sequence[Face], targets: np.ndarray | Sequence[np.ndarray]
    ) -> np.ndarray:
        """The photo with faces given each its own expression.

        Args:
          faces: k of them, in this photo.
          targets: ``k n``, [0, 1].

        Returns:
          uint8 ``h w 3``.
        """
        (edited,) = self.run(image, faces, np.asarray(targets, np.float32)[None])
        return edited

    def frames(
        self,
        image: np.ndarray,
        targets: np.ndarray,
        *,
        faces: str | int = "largest",
        aligned: bool = False,
    ) -> Iterator[np.ndarray]:
        """The photo with one expression after the other, the same for all its faces.

        Faces are looked for now; edits are made in batches, as they are taken.

        Args:
          targets: ``f n``, [0, 1].
        """
        found = self._found(image, faces, aligned, measured=False)
        targets = np.asarray(targets, np.float32)
        return self.run(image, found, np.repeat(targets[:, None], len(found), axis=1))

    def sweep(
        self,
        image: np.ndarray,
        unit: str,
        levels: Sequence[float],
        *,
        faces: str | int = "largest",
        aligned: bool = False,
    ) -> Iterator[np.ndarray]:
        """One action unit at one intensity after the other, all others as the face's own."""
        found = self.find(image, faces, aligned=aligned)
        return self.run(image, found, self.targets(found, [{unit: x} for x in levels]))

    def interpolate(
        self,
        image: np.ndarray,
        aus_a: Aus,
        aus_b: Aus,
        frames: int,
        *,
        faces: str | int = "largest",
        aligned: bool = False,
    ) -> Iterator[np.ndarray]:
        """From one expression to another in equal steps, both of them among the ``frames``.

        ``{}`` stands for the face's own expression.
        """
        if frames < 2:
            raise ValueError(f"from one expression to another takes 2 frames, not {frames}")
        found = self.find(image, faces, aligned=aligned)
        start, stop = self.targets(found, [aus_a, aus_b])
        steps = np.linspace(0, 1, frames, dtype=np.float32)[:, None, None]
        return self.run(image, found, start + (stop - start) * steps)

    def targets(
        self, faces: Sequence[Face], wanted: Sequence[Aus], relative: bool = False
    ) -> np.ndarray:
        """Each of f expressions as each of k faces is to show it: float32 ``f k n``."""
        units = self.action_units
        rows = [resolve(aus, face.aus, units, relative) for aus in wanted for face in faces]
        return np.reshape(rows, (len(wanted), len(faces), len(units)))

    def run(
        self, image: np.ndarray, faces: Sequence[Face], targets: np.ndarray
    ) -> Iterator[np.ndarray]:
        """``with_faces`` for one set of targets after the other, ``f k n``, in batches."""
        check_photo(image)
        wanted = check_array(targets, (len(targets), len(faces), len(self.action_units)))
        step = max(1, BATCH // max(1, len(faces)))

        def made() -> Iterator[np.ndarray]:
            for start in range(0, len(wanted), step):
                part = wanted[start : start + step]
                if not faces:
                    yield from (image.copy() for _ in part)
                    continue
                edits = self._edits([*faces] * len(part), np.concatenate(part))
                edited = np.asarray(edits.image)
                for frame in np.split(edited, len(part)):
                    yield _pasted(image, faces, frame)

        return made()

    def _aim(
        self, image: np.ndarray, aus: Aus, relative: bool, faces: str | int, aligned: bool
    ) -> tuple[list[Face], np.ndarray]:
        """The faces, and what each is to show: float32 ``k n``."""
        found = self._found(image, faces, aligned, relative or isinstance(aus, Mapping))
        return found, self.targets(found, [aus], relative)[0]

    def _found(
        self, image: np.ndarray, faces: str | int, aligned: bool, measured: bool
    ) -> list[Face]:
        """The faces; measured only if need be, because that may take a detector."""
        if measured or self._model.needs_have:
            return self.find(image, faces, aligned=aligned)
        return [seen.face for seen in self._seek(image, faces, aligned)]

    def _seek(
        self,
        image: np.ndarray,
        faces: str | int,
        aligned: bool,
        tiles: Sequence[int] | None = None,
    ) -> list[Seen]:
        """The faces, not measured yet."""
        return [self._finder.whole(image)] if aligned else self._finder.seek(image, faces, tiles)

    def _edits(self, faces: Sequence[Face], targets: np.ndarray) -> Edit:
        """Edits of k faces, targets ``k n``; NumPy arrays.

        Of BATCH crops at once or of single ones, since JAX compiles for each size anew.
        """
        crops, parts = np.stack([face.crop for face in faces]), []
        have = np.nan_to_num(np.stack([face.aus for face in faces]))
        while count := len(crops):
            size = BATCH if count > BATCH // 2 else 1
            chosen = np.minimum(np.arange(size), count - 1)  # the last one fills up
            image = to_float(jnp.asarray(crops[chosen]))
            edit = self._model.edit(image, targets[chosen], have[chosen])
            parts.append(jax.tree.map(lambda array, n=count: np.asarray(array)[:n], edit))
            crops, targets, have = crops[size:], targets[size:], have[size:]
        return jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)


def _kept(edit: Edit) -> np.ndarray:
    """The share of the source that the first edit keeps, ``s s``: 0 if the model has no mask."""
    if edit.attention is None:
        return np.zeros(edit.image.shape[1:3], np.float32)
    return np.asarray(edit.attention)[0, ..., 0].clip(0, 1)


def _levels(image: np.ndarray) -> np.ndarray:
    """[-1, 1] to [0, 255], not rounded."""
    return (image + 1) * 127.5


def _pasted(image: np.ndarray, faces: Sequence[Face], edited: np.ndarray) -> np.ndarray:
    """A photo with its edited crops, ``k s s 3`` in [-1, 1]."""
    for face, after in zip(faces, edited, strict=True):
        image = paste(image, _levels(after) - face.crop, face.transform)
    return image
