"""What the web page does with a visitor's photo: read it, find its faces, edit it, save it."""

import contextlib
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ganimation_jax.action_units import EXPRESSIONS
from ganimation_jax.animation import provenance
from ganimation_jax.animation.animator import Animator, Face, NoFaceError
from ganimation_jax.animation.pasting import spread
from ganimation_jax.animation.targets import NEUTRAL, expression
from ganimation_jax.media.moving import write_moving
from ganimation_jax.media.pictures import read_picture
from ganimation_jax.web.visitors import LARGEST_FILE, Photo, Refused, Sitting

LARGEST_PICTURE = 50_000_000  # pixels: 150 MB while it is read
PHOTO_SIDE = 4096  # pixels, the longer side: larger photos are scaled down
VIEW_SIDE = 1024  # of the photo on the page
FILM_SIDE = 640
FILM_STEPS = 12  # frames from the face's own expression to the requested one
FILM_REST = 6  # still frames at each end
FILM_RATE = 15  # frames a second
PAINT = np.array((255, 60, 0), np.float32)  # marks where the model paints
OVERLAY = 0.75  # its opacity where nothing of the photo is kept


def take_upload(path: Path) -> tuple[np.ndarray, str]:
    """Read an uploaded picture and delete its file.

    Returns:
      The picture, uint8 ``h w 3``, and a remark if it was scaled down.

    Raises:
      Refused: it is too large.
      UnusableFile: it is not a picture, or damaged.
    """
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise Refused(f"The file is larger than {LARGEST_FILE // 2**20} MB.")
        width, height = _size(path)
        if width * height > LARGEST_PICTURE:
            raise Refused(
                f"The picture has {width} x {height} pixels, more than the "
                f"{LARGEST_PICTURE // 10**6} million that can be edited here."
            )
        image = read_picture(path).image
    except FileNotFoundError as error:
        raise Refused("The upload was lost: try it again.") from error
    finally:
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # uploaded twice under two names
            path.parent.rmdir()
    if max(image.size) <= PHOTO_SIDE:
        return np.asarray(image), ""
    image.thumbnail((PHOTO_SIDE, PHOTO_SIDE), Image.Resampling.LANCZOS)
    return np.asarray(image), f" It was scaled down to {image.width} x {image.height} pixels."


def _size(path: Path) -> tuple[int, int]:
    """Width and height from the header, before anything is decoded; 0 0 if it has none."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as picture:
            return picture.size
    except Image.DecompressionBombError as error:
        raise Refused("The picture has too many pixels to be edited here.") from error
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError, ValueError):
        return 0, 0  # read_picture reports what is wrong with it


def warm_up(animator: Animator) -> None:
    """Load and compile in advance, so that the first visitor need not wait.

    Raises:
      ImportError: MediaPipe is not installed.
    """
    side, nothing = animator.image_size, np.zeros(len(animator.action_units), np.float32)
    blank = np.zeros((side, side, 3), np.uint8)
    animator.landmarker.faces(blank)
    with contextlib.suppress(NoFaceError):  # the model may not read faces
        animator.find(blank, aligned=True)
    animator.attention(Face(blank, np.eye(2, 3), (0, 0, side, side), nothing), nothing)


def sit_down(folder: Path, animator: Animator, image: np.ndarray, remark: str) -> Sitting:
    """Find the faces of a photo, once for all edits of it.

    Raises:
      NoFaceError: there is none.
    """
    photo = Photo(image, tuple(animator.find(image, "all")))
    shown = photo.within(VIEW_SIDE)
    before = folder / "before.jpg"
    Image.fromarray(shown.image).save(before, quality=92)
    count = len(photo.faces)
    note = "Left: the photo. Right: the edit."
    if count > 1:
        note = f"{count} faces were found; the sliders start from the largest face. {note}"
    return Sitting(folder, photo, shown, before, own_values(photo.faces[0]), note + remark)


def own_values(face: Face) -> tuple[float, ...]:
    """A face's action units, rounded to the sliders' steps."""
    return tuple(round(float(value), 2) for value in np.clip(np.nan_to_num(face.aus), 0, 1))


def expression_values(units: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """Slider values of neutral and of each expression that uses these action units."""
    names = [NEUTRAL, *(name for name, parts in EXPRESSIONS.items() if set(parts) & set(units))]
    return {name: tuple(expression(name, units).values()) for name in names}


def save_view(
    animator: Animator, sitting: Sitting, values: Sequence[float], everyone: bool, overlay: bool
) -> Path:
    """Write the edit as the page shows it; without a request, that is the photo itself.

    Args:
      everyone: edit all faces, not only the largest.
      overlay: also mark in colour where the model paints.
    """
    if not overlay and not _asks(sitting, values, everyone):
        return sitting.before
    aus, shown = _aus(values), sitting.shown
    image = _edited(animator, shown, aus, everyone)
    if overlay:
        for face in shown.whose(everyone):
            kept = spread(animator.attention(face, aus), face.transform, image.shape[:2], 1.0)
            alpha = OVERLAY * (1 - kept[..., None])
            image = np.round(image + alpha * (PAINT - image)).astype(np.uint8)
    path = sitting.place("edited.jpg")
    provenance.save_image(path, image, provenance.describe(animator.model, aus))
    return path


def save_picture(
    animator: Animator, sitting: Sitting, values: Sequence[float], everyone: bool
) -> Path:
    """Write the edit at the photo's own size, as PNG.

    Raises:
      Refused: nothing is edited yet.
    """
    aus = _asked(sitting, values, everyone)
    image = _edited(animator, sitting.photo, aus, everyone)
    path = sitting.place("edited.png")
    provenance.save_image(path, image, provenance.describe(animator.model, aus))
    return path


def save_film(
    animator: Animator, sitting: Sitting, values: Sequence[float], everyone: bool, kind: str
) -> Path:
    """Write a film from the face's own expression to the edit and back, ``gif`` or ``mp4``.

    Raises:
      Refused: nothing is edited yet.
      ImportError: PyAV is not installed, for ``mp4``.
    """
    aus, own = _asked(sitting, values, everyone), _aus(sitting.own)
    photo = sitting.shown.within(FILM_SIDE)
    faces = photo.whose(everyone)
    steps = np.linspace(0, 1, FILM_STEPS + 1, dtype=np.float32)[1:, None]
    targets = np.repeat((own + steps * (aus - own))[:, None], len(faces), axis=1)
    there = [photo.image, *animator.run(photo.image, faces, targets)]
    rest = [there[-1]] * FILM_REST
    frames = [there[0]] * FILM_REST + there[1:] + rest + there[-2:0:-1]
    path = sitting.place(f"edited.{kind}")
    tags = provenance.as_tags(provenance.describe(animator.model, aus))
    write_moving(path, frames, fps=FILM_RATE, tags=tags)
    return path


def _edited(animator: Animator, photo: Photo, aus: np.ndarray, everyone: bool) -> np.ndarray:
    faces = photo.whose(everyone)
    return animator.with_faces(photo.image, faces, np.stack([aus] * len(faces)))


def _asks(sitting: Sitting, values: Sequence[float], everyone: bool) -> bool:
    """Whether anything but the face's own expression is requested."""
    return everyone or tuple(values) != sitting.own


def _asked(sitting: Sitting, values: Sequence[float], everyone: bool) -> np.ndarray:
    if not _asks(sitting, values, everyone):
        raise Refused("Nothing is edited yet: move a slider first.")
    return _aus(values)


def _aus(values: Sequence[float]) -> np.ndarray:
    # A browser may send anything.
    return np.clip(np.nan_to_num(np.array(values, np.float32)), 0, 1)
