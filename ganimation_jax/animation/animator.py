"""``Animator``: a model that edits faces in photos."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32
from numpy.typing import ArrayLike

from ganimation_jax.animation.editing import (
    Aimed,
    Explanation,
    edit_faces,
    edit_photos,
    explain_edit,
    share_kept,
)
from ganimation_jax.animation.finding import Face, Finder, NoFaceError, Reading, Seen, check_reader
from ganimation_jax.animation.labels import decided, spelled_out
from ganimation_jax.animation.loading import LoadedModel, load_model
from ganimation_jax.animation.photo_like import PhotoLike, Pixels, pixels_of
from ganimation_jax.animation.targets import Aus, check_array, resolve
from ganimation_jax.faces.landmarker import Landmarker

if TYPE_CHECKING:
    from ipywidgets import Widget

__all__ = ["Animator", "Explanation", "Face", "NoFaceError", "PhotoLike", "Reading"]


class Animator:
    """Edits the expression of faces in photos.

    A photo is a path, a Pillow image or a uint8 array ``h w 3``. An expression is

    - the name of one: ``"happy"``, ``"sad"``, ``"neutral"``, ...
    - some action units, ``{"AU12": 0.8}``; those you do not name keep the face's own intensity
    - all of them as an array ``n``, in the order of ``action_units``

    A model that knows labels takes their names, ``"happy"`` or ``{"Smiling": 1}``: see ``labels``.

    Intensities are in [0, 1]. With ``relative`` they are added to what the face shows and are
    in [-1, 1].

    ``faces`` selects the faces of a photo: ``"largest"``, ``"all"``, or the N largest. With
    ``aligned`` the photo is itself a square face crop like those of the training set: no face is
    searched for, and a model with a critic works without MediaPipe.

    Example:
      >>> from ganimation_jax import Animator
      >>> photo = "ganimation_jax/pretrained/portrait.jpg"
      >>> with Animator.load("people-128") as animator:
      ...     brows_up = animator.edit(photo, {"AU01": 0.8, "AU02": 0.8})
      ...     sad = animator.edit(photo, "sad")
      ...     smile_before, smile_after = (animator.read(x)["AU12"] for x in (photo, sad))
      >>> sad.shape, sad.dtype
      ((256, 256, 3), dtype('uint8'))
      >>> smile_after < smile_before - 0.1
      True

    Raises:
      NoFaceError: (a ValueError) there is no face in a photo.
      ImportError: MediaPipe, which finds faces, is not installed.
      TypeError: an array is no photo.
      ValueError: the model cannot show what is asked for, or a file is no picture.

    Args:
      model: what ``load_model`` returns.
      landmarker: MediaPipe's ``face_landmarker.task``; by default it is searched for.
    """

    def __init__(self, model: LoadedModel, landmarker: Path | None = None):
        self._model, self._finder = model, Finder(model, landmarker)

    @classmethod
    def load(cls, model: str | Path, *, landmarker: Path | None = None) -> "Animator":
        """Load a run's workdir or a named model such as ``"lfw-64"``; see ``load_model``."""
        return cls(load_model(model), landmarker)

    @property
    def model(self) -> LoadedModel:
        """The model."""
        return self._model

    @property
    def action_units(self) -> tuple[str, ...]:
        """Names of the n action units, in the order of target arrays."""
        return self._model.action_units

    @property
    def image_size(self) -> int:
        """Side s of the crops that the model edits, in pixels."""
        return self._model.image_size

    @property
    def landmarker(self) -> Landmarker:
        """What finds faces; opened when it is first needed, or asked for."""
        return self._finder.landmarker

    def warm_up(self) -> None:
        """Compile what the first edit would have to wait for: that of a single face."""
        side, nothing = self.image_size, np.zeros(len(self.action_units), np.float32)
        blank = Face(np.zeros((side, side, 3), np.uint8), np.eye(2, 3), (0, 0, side, side), nothing)
        edit_faces(self._model, [blank], nothing[None])
        if self._model.read_aus is not None:
            self._finder.by_critic(blank)

    def close(self) -> None:
        """Free the landmarker; it is opened again when it is needed again."""
        self._finder.close()

    def __enter__(self) -> "Animator":
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
        photo: PhotoLike,
        faces: str | int = "largest",
        *,
        aligned: bool = False,
        tiles: Sequence[int] | None = None,
    ) -> list[Face]:
        """The faces of a photo, the largest first; at least one.

        Args:
          tiles: see ``Landmarker.faces``. By default the whole photo is searched once. Its parts
            are searched too, which takes a second, if that finds nothing or more than the
            largest face is wanted.
        """
        image = pixels_of(photo)
        return [self._finder.measured(seen) for seen in self._seek(image, faces, aligned, tiles)]

    def read(self, photo: PhotoLike, by: str = "critic", aligned: bool = False) -> dict[str, float]:
        """The action units that the largest face shows.

        Args:
          by: the model's ``critic``; or the ``annotator``, MediaPipe, which does not serve all
            units: the others are left out.

        Raises:
          ValueError: ``by`` is neither, or the model has no critic.
        """
        return self.read_all(photo, by, faces="largest", aligned=aligned)[0].aus

    def read_all(
        self,
        photo: PhotoLike,
        by: str = "critic",
        *,
        faces: str | int = "all",
        aligned: bool = False,
    ) -> list[Reading]:
        """As ``read``, for several faces, the largest first; at least one."""
        check_reader(by, self._model)
        read = []
        for seen in self._seek(pixels_of(photo), faces, aligned):
            critic = by == "critic"
            aus = self._finder.by_critic(seen.face) if critic else self._finder.by_annotator(seen)
            units = zip(self.action_units, aus.tolist(), strict=True)
            # NaN, which does not equal itself, marks units that are not served.
            read.append(Reading(seen.face.box, {unit: x for unit, x in units if x == x}))
        return read

    def edit(
        self,
        photo: PhotoLike,
        aus: Aus,
        *,
        relative: bool = False,
        faces: str | int = "largest",
        aligned: bool = False,
    ) -> Pixels:
        """The photo with another expression: uint8 ``h w 3``, sRGB."""
        image = pixels_of(photo)
        return self.with_faces(image, *self._aim(image, aus, relative, faces, aligned))

    def edit_all(
        self,
        photos: Iterable[PhotoLike],
        aus: Aus,
        *,
        relative: bool = False,
        faces: str | int = "largest",
        aligned: bool = False,
    ) -> Iterator[Pixels]:
        """``edit`` of one photo after the other, with their faces edited in batches.

        Photos are taken one by one, as they are needed.
        """

        def aimed() -> Iterator[Aimed]:
            for photo in photos:
                image = pixels_of(photo)
                yield Aimed(image, *self._aim(image, aus, relative, faces, aligned))

        return edit_photos(self._model, aimed())

    def transfer(
        self,
        photo: PhotoLike,
        reference: PhotoLike,
        by: str = "critic",
        *,
        faces: str | int = "largest",
        aligned: bool = False,
    ) -> Pixels:
        """The photo with the expression of the largest face in another; ``by`` as in ``read``."""
        read = decided(self.read(reference, by, aligned), self._model.conditions)
        return self.edit(photo, read, faces=faces, aligned=aligned)

    def explain(
        self, photo: PhotoLike, aus: Aus, *, relative: bool = False, aligned: bool = False
    ) -> Explanation:
        """An edit of the largest face with everything that the model computes for it."""
        image = pixels_of(photo)
        (face,), (target,) = self._aim(image, aus, relative, "largest", aligned)
        return explain_edit(self._model, image, face, target)

    def widget(self, photo: PhotoLike) -> "Widget":
        """The photo above a slider for each action unit, for Jupyter (extra ``notebook``)."""
        from ganimation_jax.animation.notebook import widget

        return widget(self, pixels_of(photo))

    def attention(self, face: Face, aus: ArrayLike) -> Float32[np.ndarray, "s s"]:
        """The share of a face's crop that an edit keeps: float32 ``s s``, [0, 1]."""
        targets = check_array(aus, (len(self.action_units),))[None]
        return share_kept(edit_faces(self._model, [face], targets))

    def with_faces(self, image: np.ndarray, faces: Sequence[Face], targets: ArrayLike) -> Pixels:
        """The photo with each of some faces given its own expression.

        Args:
          faces: k of them, in this photo.
          targets: ``k n``, [0, 1]; or ``k 2 n``, for the left and the right half of each.

        Returns:
          uint8 ``h w 3``.
        """
        return next(self.run(image, faces, np.asarray(targets, np.float32)[None]))

    def frames(
        self,
        photo: PhotoLike,
        targets: ArrayLike,
        *,
        faces: str | int = "largest",
        aligned: bool = False,
    ) -> Iterator[Pixels]:
        """The photo with one expression after the other, the same for all its faces.

        Faces are searched for at once; edits are made in batches, as they are taken.

        Args:
          targets: ``f n``, [0, 1].
        """
        image = pixels_of(photo)
        found = self._found(image, faces, aligned, measured=False)
        targets = np.asarray(targets, np.float32)
        return self.run(image, found, np.repeat(targets[:, None], len(found), axis=1))

    def sweep(
        self,
        photo: PhotoLike,
        unit: str,
        intensities: np.ndarray | Sequence[float],
        *,
        faces: str | int = "largest",
        aligned: bool = False,
    ) -> Iterator[Pixels]:
        """One action unit at several intensities, while all others keep the face's own."""
        image = pixels_of(photo)
        found = self.find(image, faces, aligned=aligned)
        return self.run(image, found, self.targets(found, [{unit: x} for x in intensities]))

    def interpolate(
        self,
        photo: PhotoLike,
        aus_a: Aus,
        aus_b: Aus,
        frames: int,
        *,
        faces: str | int = "largest",
        aligned: bool = False,
    ) -> Iterator[Pixels]:
        """From one expression to another in equal steps, both of them among the ``frames``.

        ``{}`` is the face's own expression.
        """
        if frames < 2:
            raise ValueError(f"from one expression to another takes 2 frames, not {frames}")
        image = pixels_of(photo)
        found = self.find(image, faces, aligned=aligned)
        start, stop = self.targets(found, [aus_a, aus_b])
        steps = np.linspace(0, 1, frames, dtype=np.float32)[:, None, None]
        return self.run(image, found, start + (stop - start) * steps)

    def targets(
        self, faces: Sequence[Face], wanted: Sequence[Aus], relative: bool = False
    ) -> Float32[np.ndarray, "f k n"]:
        """Each of f expressions as each of k faces has to show it: float32 ``f k n``."""
        units = self.action_units
        whole = [spelled_out(aus, self._model.conditions) for aus in wanted]
        rows = [resolve(aus, face.aus, units, relative) for aus in whole for face in faces]
        return np.array(rows, np.float32).reshape(len(wanted), len(faces), len(units))

    def run(self, image: np.ndarray, faces: Sequence[Face], targets: ArrayLike) -> Iterator[Pixels]:
        """``with_faces`` for one set of targets after the other, ``f k n`` or ``f k 2 n``."""
        image, rows = pixels_of(image), np.asarray(targets, np.float32)
        halves = (2,) if rows.ndim == 4 else ()
        wanted = check_array(rows, (len(rows), len(faces), *halves, len(self.action_units)))
        return edit_photos(self._model, (Aimed(image, faces, row) for row in wanted))

    def _aim(
        self, image: np.ndarray, aus: Aus, relative: bool, faces: str | int, aligned: bool
    ) -> tuple[list[Face], Float32[np.ndarray, "k n"]]:
        """The faces, and what each has to show: float32 ``k n``."""
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
        """The faces, not read yet."""
        return [self._finder.whole(image)] if aligned else self._finder.seek(image, faces, tiles)
