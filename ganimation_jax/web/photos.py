"""What the web page does with a visitor's photo: read it, find its faces, edit it."""

import contextlib
import dataclasses
import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ganimation_jax.animation import provenance
from ganimation_jax.animation.animator import Animator, Face, NoFaceError
from ganimation_jax.animation.pasting import spread
from ganimation_jax.animation.recipes import Look, Recipe, as_json, intensities
from ganimation_jax.animation.targets import STRONGEST
from ganimation_jax.media.encoding import encode
from ganimation_jax.media.photos import plain
from ganimation_jax.media.pictures import read_picture

LARGEST_PICTURE = 50_000_000  # pixels: 150 MB while it is read
PHOTO_SIDE = 4096  # pixels, the longer side: larger photos are scaled down
VIEW_SIDE = 1024  # of the photo on the page
PREVIEW_SIDE = 112  # pixels of a small picture of an expression
PAINT = np.array((255, 60, 0), np.float32)  # marks where the model paints
OVERLAY = 0.75  # its opacity where nothing of the photo is kept
QUALITY = 92  # of JPEG files
NOTHING_YET = "Nothing is edited yet: choose an expression first."


class Refused(ValueError):
    """A request that cannot be served; the message is for the visitor."""


@dataclasses.dataclass(frozen=True)
class Photo:
    """A photo and the faces in it."""

    image: np.ndarray  # uint8 h w 3
    faces: tuple[Face, ...]  # the largest first

    def within(self, side: int) -> "Photo":
        """The same photo, scaled down to at most ``side`` pixels a side."""
        height, width = self.image.shape[:2]
        if max(height, width) <= side:
            return self
        picture = Image.fromarray(self.image)
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
        # Not quite equal, because sides are whole pixels.
        x, y = width / picture.width, height / picture.height
        faces = []
        for face in self.faces:
            left, top, right, bottom = face.box
            faces.append(
                face._replace(
                    transform=face.transform * (x, y, 1),
                    box=(left / x, top / y, right / x, bottom / y),
                )
            )
        return Photo(np.asarray(picture), tuple(faces))


@dataclasses.dataclass(frozen=True)
class Sitting:
    """A visitor's photo and what was found in it."""

    photo: Photo
    shown: Photo  # at its size on the page
    note: str = ""  # to the visitor, about the photo
    others: dict[int, "Sitting"] = dataclasses.field(default_factory=dict)  # by other models


def read_upload(path: Path, largest: int) -> tuple[np.ndarray, str]:
    """Read an uploaded picture.

    Args:
      largest: bytes that the file may have.

    Returns:
      The picture, uint8 ``h w 3``, and a remark if it was scaled down.

    Raises:
      Refused: it is too large.
      UnusableFile: it is not a picture, or damaged.
    """
    if path.stat().st_size > largest:
        raise Refused(f"The file is larger than {largest // 2**20} MB.")
    width, height = _size(path)
    if width * height > LARGEST_PICTURE:
        raise Refused(
            f"The picture has {width} x {height} pixels, more than the "
            f"{LARGEST_PICTURE // 10**6} million that can be edited here."
        )
    image = read_picture(path).image
    if max(image.size) <= PHOTO_SIDE:
        return np.asarray(image), ""
    image.thumbnail((PHOTO_SIDE, PHOTO_SIDE), Image.Resampling.LANCZOS)
    return np.asarray(image), f"It was scaled down to {image.width} x {image.height} pixels."


def _size(path: Path) -> tuple[int, int]:
    """Width and height from the header, before anything is decoded; 0 0 if it has none."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as picture:
            return picture.size
    except Image.DecompressionBombError as error:
        raise Refused("The picture has too many pixels to be edited here.") from error
    except (OSError, SyntaxError, ValueError):
        return 0, 0  # read_picture reports what is wrong with it


def warm_up(animator: Animator) -> None:
    """Load and compile in advance, so that the first visitor need not wait.

    Raises:
      ImportError: MediaPipe is not installed.
    """
    side = animator.image_size
    animator.landmarker.faces(np.zeros((side, side, 3), np.uint8))
    with contextlib.suppress(NoFaceError):  # the model may not read faces
        animator.find(np.zeros((side, side, 3), np.uint8), aligned=True)
    animator.warm_up()


def sit_down(animator: Animator, image: np.ndarray, remark: str = "") -> Sitting:
    """Find the faces of a photo, once for all edits of it.

    Raises:
      NoFaceError: there is none.
    """
    photo = Photo(image, tuple(animator.find(image, "all")))
    return Sitting(photo, photo.within(VIEW_SIDE), remark)


def facts(sitting: Sitting, units: Sequence[str]) -> dict[str, Any]:
    """What the page needs to know of a photo: its size, its faces, what they show."""
    height, width = sitting.photo.image.shape[:2]
    faces = []
    for face in sitting.photo.faces:
        left, top, right, bottom = face.box
        box = [left / width, top / height, right / width, bottom / height]
        shows = np.clip(np.nan_to_num(face.aus), 0, 1).tolist()
        faces.append(
            {
                "box": [round(min(max(float(x), 0), 1), 4) for x in box],
                "own": {unit: round(x, 4) for unit, x in zip(units, shows, strict=True)},
            }
        )
    return {"width": width, "height": height, "faces": faces, "note": sitting.note}


def parse_looks(data: Any, count: int) -> list[Look]:
    """The looks of all faces of a photo, from a request.

    Args:
      data: a list of ``{"left": recipe, "right": recipe}``, or null for a face that keeps its
        expression; a recipe is ``{"target": {...}, "strength": 0.8, "moved": {...}}``.
      count: how many faces there are.

    Raises:
      Refused: it is something else.
    """
    if not isinstance(data, list) or len(data) != count:
        raise Refused(f"The photo has {count} faces: send a list of as many expressions.")
    try:
        return [Look() if one is None else Look(_recipe(one, "left"), _recipe(one, "right"))
                for one in data]  # fmt: skip
    except ValueError as error:
        raise Refused(str(error)) from error


def _recipe(one: Any, side: str) -> Recipe:
    given = one.get(side) if isinstance(one, dict) else None
    if not isinstance(given, dict):
        raise ValueError("an expression has a recipe for the left and the right half")
    strength = given.get("strength", 1.0)
    if not isinstance(strength, int | float) or not 0 <= strength <= STRONGEST:
        raise ValueError(f"A strength is from 0 to {STRONGEST:g}.")
    target = intensities(given.get("target", {}), 0.0)
    return Recipe(target, strength, intensities(given.get("moved", {}), -1.0))


def edited(animator: Animator, photo: Photo, looks: Sequence[Look]) -> np.ndarray:
    """The photo with the looks that ask for something: uint8 ``h w 3``."""
    asked = [(face, look) for face, look in zip(photo.faces, looks, strict=True) if look.asks()]
    if not asked:
        return photo.image
    return animator.with_faces(photo.image, [face for face, _ in asked], halves(animator, asked))


def halves(animator: Animator, asked: Sequence[tuple[Face, Look]]) -> np.ndarray:
    """What faces have to show: ``k 2 n``."""
    return np.stack([look.values(face.aus, animator.action_units) for face, look in asked])


def view(animator: Animator, sitting: Sitting, looks: Sequence[Look], overlay: bool) -> bytes:
    """The edit as the page shows it, a JPEG file; without a request, that is the photo itself.

    Args:
      overlay: also mark in colour where the model paints.
    """
    shown = sitting.shown
    image = edited(animator, shown, looks)
    if overlay:
        for face, look in zip(shown.faces, looks, strict=True):
            left, _ = look.values(face.aus, animator.action_units)
            kept = spread(animator.attention(face, left), face.transform, image.shape[:2], 1.0)
            alpha = OVERLAY * (1 - kept[..., None])
            image = np.round(image + alpha * (PAINT - image)).astype(np.uint8)
    return encode(plain(image), "JPEG", tags(animator, shown, looks) if marks(looks) else {})


def marks(looks: Sequence[Look]) -> bool:
    """Whether a picture with these looks is an edit."""
    return any(look.asks() for look in looks)


def tags(animator: Animator, photo: Photo, looks: Sequence[Look]) -> dict[str, str]:
    """Provenance of an edit: the expression of its first edited face."""
    face, look = next((f, x) for f, x in zip(photo.faces, looks, strict=True) if x.asks())
    left, right = look.values(face.aus, animator.action_units)
    said = provenance.describe(animator.model, left)
    if (left != right).any():
        other = provenance.describe(animator.model, right).action_units
        said = said._replace(action_units=f"left {said.action_units} right {other}")
    return provenance.as_tags(said)


def picture(animator: Animator, sitting: Sitting, looks: Sequence[Look], kind: str) -> bytes:
    """The edit at the photo's own size, as a ``PNG``, ``JPEG`` or ``WEBP`` file.

    Raises:
      Refused: nothing is edited yet.
    """
    if not marks(looks):
        raise Refused(NOTHING_YET)
    image = edited(animator, sitting.photo, looks)
    return encode(plain(image), kind, tags(animator, sitting.photo, looks))


def expression_file(animator: Animator, face: Face, look: Look) -> bytes:
    """The expression of one face, as a small JSON file."""
    return as_json(look.values(face.aus, animator.action_units), animator.action_units).encode()


def previews(animator: Animator, face: Face, looks: Sequence[Look]) -> bytes:
    """Small pictures of a face with one look after the other, side by side in a JPEG file."""
    size, side = animator.image_size, PREVIEW_SIDE
    alone = face._replace(transform=np.array([[1.0, 0, 0], [0, 1.0, 0]]))
    targets = np.stack([halves(animator, [(face, look)]) for look in looks])
    sheet = Image.new("RGB", (side * len(looks), side))
    inner = round(size * 0.08)  # more face, less of what is around it
    for place, image in enumerate(animator.run(face.crop, [alone], targets)):
        small = Image.fromarray(image).crop((inner, inner, size - inner, size - inner))
        sheet.paste(small.resize((side, side), Image.Resampling.LANCZOS), (place * side, 0))
    file = io.BytesIO()
    sheet.save(file, "JPEG", quality=88)
    return file.getvalue()
