"""Visitors of the web page: their photos, their edits, and the limits on both.

A visitor is one open page. Its files are in a folder of its own, which is deleted when the
page is closed.
"""

import contextlib
import dataclasses
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from ganimation_jax.animation.animator import Face

LARGEST_FILE = 20 * 2**20  # bytes
MOST_VISITORS = 24  # photos in memory, of up to 50 MB
MOST_FILES = 8  # of a visitor at a time
VISITOR_BYTES = 64 * 2**20  # of a visitor's files, before the next one is added
UPLOAD_QUOTA = 256 * 2**20  # bytes of all uploads that are on their way or wait to be used
SMALLEST_FILE = 4096  # bytes of the disk, at least
FORGOTTEN = 600.0  # seconds after which an upload that no page has used is removed


class Refused(ValueError):
    """A request that cannot be served; the message is for the visitor."""


class Full(Exception):
    """There is no room for an upload; the message is for the visitor."""


@dataclasses.dataclass(frozen=True)
class Photo:
    """A photo and the faces in it."""

    image: np.ndarray  # uint8 h w 3
    faces: tuple[Face, ...]  # the largest first

    def whose(self, everyone: bool) -> tuple[Face, ...]:
        """All faces, or only the largest."""
        return self.faces if everyone else self.faces[:1]

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

    folder: Path  # for the visitor's files
    photo: Photo
    shown: Photo  # at its size on the page
    before: Path  # a file of ``shown``
    own: tuple[float, ...]  # the largest face's action units, as the sliders show them
    note: str  # to the visitor, about the photo

    def place(self, name: str) -> Path:
        """A path for a new file of that name. The oldest files are removed to make room."""
        folders = [path for path in self.folder.iterdir() if path.is_dir()]
        folders.sort(key=lambda path: path.stat().st_mtime_ns)
        sizes = [sum(file.stat().st_size for file in folder.iterdir()) for folder in folders]
        for place, old in enumerate(folders):
            if len(folders) - place >= MOST_FILES or sum(sizes[place:]) > VISITOR_BYTES:
                shutil.rmtree(old)
        folder = self.folder / secrets.token_hex(8)
        folder.mkdir()
        return folder / name


class Visitors:
    """All open pages, by the key of their session.

    Args:
      root: the folder for their folders, and for uploads.
      most: how many may have a photo at a time; the one that did nothing for the longest time
        is forgotten first.
    """

    def __init__(self, root: Path, most: int = MOST_VISITORS):
        self._root, self._most = root, most
        self._sittings: dict[str, Sitting] = {}  # the most recently active visitor is last
        self._arriving: dict[str, Path] = {}  # folders of visitors who begin with a photo
        self._pending = 0  # bytes of uploads that are on their way
        self._lock = threading.Lock()  # pages are closed while others are served

    def owns(self, path: str) -> bool:
        """Whether a file is in the folder of uploads and edits."""
        try:
            return Path(path).resolve().is_relative_to(self._root)
        except ValueError:  # a null byte
            return False

    @contextlib.contextmanager
    def uploading(self, size: int) -> Iterator[None]:
        """Reserve room for an upload while it arrives.

        Raises:
          Full: uploads that nobody has used yet take all the room.
        """
        with self._lock:
            self._sweep()
            if self._waiting() + self._pending + size > UPLOAD_QUOTA:
                raise Full("The server has too many uploads to handle: try again in some minutes.")
            self._pending += size
        try:
            yield
        finally:
            with self._lock:
                self._pending -= size

    @contextlib.contextmanager
    def arriving(self, key: str) -> Iterator[Path]:
        """A new, empty folder for a visitor who begins with a photo.

        The photo that the visitor has is kept until the new one is seated; the folder of one
        that is not seated in the context is removed.
        """
        with self._lock:
            self._sweep()
            # Browsers choose the key: it is no name for a folder, and no secret.
            folder = self._root / f"visitor-{secrets.token_urlsafe(16)}"
            folder.mkdir()
            self._arriving[key] = folder
        try:
            yield folder
        finally:
            with self._lock:
                if self._arriving.get(key) == folder:
                    del self._arriving[key]
                if folder not in self._folders():
                    _remove(folder)

    def seat(self, sitting: Sitting, key: str) -> None:
        """Keep a visitor's new photo in place of the old one, unless the page was closed."""
        with self._lock:
            if self._arriving.get(key) == sitting.folder:
                self._forget(key)
                self._sittings[key] = sitting
                while len(self._sittings) > self._most:
                    self._forget(next(iter(self._sittings)))

    def sitting(self, key: str) -> Sitting:
        """A visitor's photo.

        Raises:
          Refused: there is none.
        """
        with self._lock:
            if key not in self._sittings:
                raise Refused("Drop a photo first.")
            self._sittings[key] = self._sittings.pop(key)
            return self._sittings[key]

    def has_photo(self, key: str) -> bool:
        """Whether a visitor has a photo."""
        with self._lock:
            return key in self._sittings

    def leave(self, key: str) -> None:
        """A page was closed: forget its photo, remove its folder."""
        with self._lock:
            self._arriving.pop(key, None)
            self._forget(key)

    def _folders(self) -> set[Path]:
        """Of all visitors."""
        return {*self._arriving.values(), *(one.folder for one in self._sittings.values())}

    def _uploads(self) -> list[Path]:
        folders = self._folders()
        return [path for path in self._root.iterdir() if path not in folders]

    def _waiting(self) -> int:
        """Bytes on the disk of uploads that have arrived; an empty file takes some, too."""
        total = 0
        for path in self._uploads():
            with contextlib.suppress(FileNotFoundError):  # it was read just now
                files = path.rglob("*") if path.is_dir() else [path]
                total += sum(max(file.stat().st_size, SMALLEST_FILE) for file in files)
        return total

    def _sweep(self) -> None:
        """Remove uploads whose page was closed before they were read."""
        for path in self._uploads():
            with contextlib.suppress(FileNotFoundError):  # it was read just now
                if time.time() - path.stat().st_mtime > FORGOTTEN:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _forget(self, key: str) -> None:
        if (sitting := self._sittings.pop(key, None)) is not None:
            _remove(sitting.folder)


def _remove(folder: Path) -> None:
    # A file that is being written may stand in the way: a later sweep removes it.
    shutil.rmtree(folder, ignore_errors=True)
