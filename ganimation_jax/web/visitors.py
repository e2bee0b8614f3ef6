"""Visitors of the web page: their photos, their files, and the limits on both.

A visitor is one open page, which holds a connection for as long as it is open. When that ends,
the visitor's photo is forgotten and the visitor's files are deleted.
"""

import contextlib
import dataclasses
import secrets
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

from ganimation_jax.web.photos import Sitting

LARGEST_FILE = 20 * 2**20  # bytes of a photo
LARGEST_VIDEO = 256 * 2**20  # bytes
VIDEOS = ("/api/video", "/api/drive")  # requests whose uploads are videos
MOST_VISITORS = 24  # photos in memory, of up to 50 MB
MOST_FILES = 8  # of a visitor at a time
VISITOR_BYTES = 512 * 2**20  # of a visitor's files, before the next one is added
UPLOAD_QUOTA = 512 * 2**20  # bytes of all uploads that arrive or are used at a time
SMALLEST_FILE = 4096  # bytes of the disk, at least


class Full(Exception):
    """There is no room for an upload; the message is for the visitor."""


class Gone(Exception):
    """The server has no photo of this visitor (any more): the page sends it again."""


@dataclasses.dataclass
class _Visitor:
    pages: int = 0  # connections that are open
    folder: Path | None = None  # for files, made when it is first needed
    sitting: Sitting | None = None


class Visitors:
    """All open pages, by their keys.

    Args:
      root: the folder for their folders and for uploads.
      most: how many may have a photo at a time. The visitor that did nothing for the longest
        time loses its photo first.
    """

    def __init__(self, root: Path, most: int = MOST_VISITORS):
        self._root, self._most = root, most
        self._visitors: dict[str, _Visitor] = {}  # the most recently active one is last
        self._pending = 0  # bytes of uploads in use
        self._lock = threading.Lock()  # pages are closed while others are served

    @contextlib.contextmanager
    def visiting(self, key: str) -> Iterator[None]:
        """Keep what a visitor has for as long as the page is open."""
        with self._lock:
            self._visitors.setdefault(key, _Visitor()).pages += 1
        try:
            yield
        finally:
            with self._lock:
                visitor = self._visitors[key]
                visitor.pages -= 1
                if not visitor.pages:
                    del self._visitors[key]
                    _remove(visitor.folder)

    @contextlib.contextmanager
    def uploading(self, size: int) -> Iterator[None]:
        """Reserve room for an upload while it arrives and is used.

        Raises:
          Full: other uploads take all the room.
        """
        size = max(size, SMALLEST_FILE)
        with self._lock:
            if self._pending + size > UPLOAD_QUOTA:
                raise Full("The server has too many uploads to handle: try again in some minutes.")
            self._pending += size
        try:
            yield
        finally:
            with self._lock:
                self._pending -= size

    @contextlib.contextmanager
    def upload(self, suffix: str = "") -> Iterator[Path]:
        """A path for an upload; the file is removed on leaving."""
        path = self._root / f"upload-{secrets.token_hex(8)}{suffix}"
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def seat(self, key: str, sitting: Sitting) -> None:
        """Keep a visitor's new photo in place of the old one.

        Raises:
          Gone: the page was closed.
        """
        with self._lock:
            self._active(key).sitting = sitting
            seated = [visitor for visitor in self._visitors.values() if visitor.sitting]
            for visitor in seated[: -self._most]:
                visitor.sitting = None

    def sitting(self, key: str) -> Sitting:
        """A visitor's photo.

        Raises:
          Gone: there is none.
        """
        with self._lock:
            sitting = self._active(key).sitting
        if sitting is None:
            raise Gone
        return sitting

    def place(self, key: str, name: str) -> Path:
        """A path for a new file of that name. The oldest files are removed to make room.

        Raises:
          Gone: the page was closed.
        """
        with self._lock:
            visitor = self._active(key)
            if visitor.folder is None:
                # Browsers choose the key, so it does not name the folder.
                visitor.folder = self._root / f"visitor-{secrets.token_hex(16)}"
                visitor.folder.mkdir()
            folders = sorted(visitor.folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)
            sizes = [sum(file.stat().st_size for file in folder.iterdir()) for folder in folders]
            for number, old in enumerate(folders):
                if len(folders) - number >= MOST_FILES or sum(sizes[number:]) > VISITOR_BYTES:
                    shutil.rmtree(old)
            folder = visitor.folder / secrets.token_hex(8)
            folder.mkdir()
            return folder / name

    def file(self, key: str, folder: str, name: str) -> Path | None:
        """A file that ``place`` gave this visitor; None if there is no such file."""
        with self._lock:
            visitor = self._visitors.get(key)
            if visitor is None or visitor.folder is None:
                return None
            files = {(path.parent.name, path.name): path for path in visitor.folder.glob("*/*")}
        return files.get((folder, name))

    def _active(self, key: str) -> _Visitor:
        if key not in self._visitors:
            raise Gone
        visitor = self._visitors[key] = self._visitors.pop(key)
        return visitor


def _remove(folder: Path | None) -> None:
    # A file that is being written may stand in the way: the server's folder goes in the end.
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
