"""What the web page keeps of its visitors, makes of their photos, and its limits.

A visitor is one open page. Files for it are in a folder of its own, which goes when the
page is closed.
"""

import contextlib
import dataclasses
import secrets
import shutil
import threading
import time
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

LARGEST_FILE = 20 * 2**20  # bytes
LARGEST_PICTURE = 50_000_000  # pixels: 150 MB while it is read
PHOTO_SIDE = 4096  # pixels, the longer side: larger photos are reduced
VIEW_SIDE = 1024  # of the photo on the page
FILM_SIDE = 640
FILM_STEPS = 12  # from the face's own expression to the one asked for
FILM_REST = 6  # frames for which it rests at each end
FILM_RATE = 15  # frames a second
MOST_VISITORS = 24  # photos in memory, of up to 50 MB
MOST_FILES = 8  # of a visitor, at a time
FORGOTTEN = 600.0  # seconds after which an upload that nobody asked anything of is removed
PAINT = np.array((255, 60, 0), np.float32)  # the colour of where the model paints
OVERLAY = 0.75  # its opacity where nothing of the photo is kept


class Refused(ValueError):
    """What was asked for cannot be done; the message is for the person who asked."""


@dataclasses.dataclass(frozen=True)
class Photo:
    """A photo and the faces in it."""

    image: np.ndarray  # uint8 h w 3
    faces: tuple[Face, ...]  # the largest first

    def whose(self, everyone: bool) -> tuple[Face, ...]:
        """All faces, or the largest alone."""
        return self.faces if everyone else self.faces[:1]

    def within(self, side: int) -> "Photo":
        """The same, no larger than so many pixels a side."""
        height, width = self.image.shape[:2]
        if max(height, width) <= side:
            return self
        picture = Image.fromarray(self.image)
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
        # Not quite the same number: sides are whole pixels.
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
    """The photo of a visitor, and what is known of it."""

    folder: Path  # for its files
    photo: Photo
    shown: Photo  # as large as on the page
    before: Path  # the file of that
    own: tuple[float, ...]  # what the largest face shows, as sliders put it
    note: str  # for the person, about the photo

    def place(self, name: str) -> Path:
        """Where a new file of that name goes. The oldest files make room."""
        folders = [path for path in self.folder.iterdir() if path.is_dir()]
        folders.sort(key=lambda path: path.stat().st_mtime_ns)
        for old in folders[: max(0, len(folders) + 1 - MOST_FILES)]:
            shutil.rmtree(old)
        folder = self.folder / secrets.token_hex(8)
        folder.mkdir()
        return folder / name


class Visitors:
    """All open pages, by the key of their session.

    Args:
      root: where their folders go, and where uploads arrive.
      most: how many may have a photo at a time; who has been still the longest is forgotten.
    """

    def __init__(self, root: Path, most: int = MOST_VISITORS):
        self._root, self._most = root, most
        self._folders: dict[str, Path] = {}  # who did something last is last
        self._sittings: dict[str, Sitting] = {}
        self._lock = threading.Lock()  # pages are closed while others are served

    def fresh(self, key: str) -> Path:
        """A new, empty folder for a visitor; what was there before is removed."""
        with self._lock:
            self._forget(key)
            self._sweep()
            # Browsers choose the key: it is no name for a folder, and no secret.
            folder = self._root / f"visitor-{secrets.token_urlsafe(16)}"
            folder.mkdir()
            self._folders[key] = folder
            while len(self._folders) > self._most:
                self._forget(next(iter(self._folders)))
            return folder

    def sit(self, key: str, sitting: Sitting) -> None:
        """Keep a visitor's photo, unless the page was closed meanwhile."""
        with self._lock:
            if self._folders.get(key) == sitting.folder:
                self._sittings[key] = sitting

    def sitting(self, key: str) -> Sitting:
        """The photo that a visitor has there.

        Raises:
          Refused: there is none.
        """
        with self._lock:
            if key not in self._sittings:
                raise Refused("Drop a photo first.")
            self._folders[key] = self._folders.pop(key)
            return self._sittings[key]

    def leave(self, key: str) -> None:
        """A page was closed: forget its photo, remove its folder."""
        with self._lock:
            self._forget(key)

    def _sweep(self) -> None:
        """Remove uploads whose page was closed before they were read."""
        for path in self._root.iterdir():
            with contextlib.suppress(FileNotFoundError):  # it is being read just now
                idle = time.time() - path.stat().st_mtime
                if idle > FORGOTTEN and path not in self._folders.values():
                    shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _forget(self, key: str) -> None:
        self._sittings.pop(key, None)
        if (folder := self._folders.pop(key, None)) is not None:
            # A file that is being written may stand in the way: it goes with the root.
            shutil.rmtree(folder, ignore_errors=True)


def take_upload(path: Path) -> tuple[np.ndarray, str]:
    """An uploaded picture, uint8 ``h w 3``, and what was done to it, in words. The file is removed.

    Raises:
      Refused: it is too large.
      UnusableFile: it is no picture, or damaged.
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
        with contextlib.suppress(OSError):  # of a name that has come twice
            path.parent.rmdir()
    if max(image.size) <= PHOTO_SIDE:
        return np.asarray(image), ""
    image.thumbnail((PHOTO_SIDE, PHOTO_SIDE), Image.Resampling.LANCZOS)
    return np.asarray(image), f" It was reduced to {image.width} x {image.height} pixels."


def _size(path: Path) -> tuple[int, int]:
    """From the header, before anything is decoded; 0 0 if Pillow knows no such picture."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as picture:
            return picture.size
    except Image.DecompressionBombError as error:
        raise Refused("The picture has too many pixels to be edited here.") from error
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError, ValueError):
        return 0, 0  # read_picture says what is wrong with it


def warm_up(animator: Animator) -> None:
    """Load and compile what the first visitor would have to wait for.

    Raises:
      ImportError: MediaPipe is not installed.
    """
    side, nothing = animator.image_size, np.zeros(len(animator.action_units), np.float32)
    blank = np.zeros((side, side, 3), np.uint8)
    animator.landmarker.faces(blank)
    with contextlib.suppress(NoFaceError):  # where there is no critic to read it
        animator.find(blank, aligned=True)
    animator.attention(Face(blank, np.eye(2, 3), (0, 0, side, side), nothing), nothing)


def sit_down(folder: Path, animator: Animator, image: np.ndarray, remark: str) -> Sitting:
    """Begin with a photo. Its faces are looked for here, and not again.

    Raises:
      NoFaceError: there are none.
    """
    photo = Photo(image, tuple(animator.find(image, "all")))
    shown = photo.within(VIEW_SIDE)
    before = folder / "before.jpg"
    Image.fromarray(shown.image).save(before, quality=92)
    count = len(photo.faces)
    note = "The photo is at the left, the edit at the right."
    if count > 1:
        note = f"{count} faces were found; the sliders begin with what the largest shows. {note}"
    return Sitting(folder, photo, shown, before, own_values(photo.faces[0]), note + remark)


def own_values(face: Face) -> tuple[float, ...]:
    """What a face shows, as the sliders can show it."""
    return tuple(round(float(value), 2) for value in np.clip(np.nan_to_num(face.aus), 0, 1))


def expression_values(units: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """Neutral and the expressions that these action units can show, as values of sliders."""
    names = [NEUTRAL, *(name for name, parts in EXPRESSIONS.items() if set(parts) & set(units))]
    return {name: tuple(expression(name, units).values()) for name in names}


def save_view(
    animator: Animator, sitting: Sitting, values: Sequence[float], everyone: bool, overlay: bool
) -> Path:
    """The edit as the page shows it; the photo itself where nothing is asked of it.

    Args:
      everyone: all faces, not only the largest.
      overlay: also show, in colour, where the model paints.
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
    """The edit at the photo's own size, as PNG.

    Raises:
      Refused: there is none.
    """
    aus = _asked(sitting, values, everyone)
    image = _edited(animator, sitting.photo, aus, everyone)
    path = sitting.place("edited.png")
    provenance.save_image(path, image, provenance.describe(animator.model, aus))
    return path


def save_film(
    animator: Animator, sitting: Sitting, values: Sequence[float], everyone: bool, kind: str
) -> Path:
    """From the face's own expression to the edit and back, as ``gif`` or ``mp4``.

    Raises:
      Refused: there is no edit.
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
    """Whether anything but the face's own expression is asked for."""
    return everyone or tuple(values) != sitting.own


def _asked(sitting: Sitting, values: Sequence[float], everyone: bool) -> np.ndarray:
    if not _asks(sitting, values, everyone):
        raise Refused("Nothing is edited yet: move a slider first.")
    return _aus(values)


def _aus(values: Sequence[float]) -> np.ndarray:
    # Browsers send what they like.
    return np.clip(np.nan_to_num(np.array(values, np.float32)), 0, 1)
