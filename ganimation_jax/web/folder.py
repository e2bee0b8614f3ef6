"""The server's folder for uploads and edits, which is removed whatever ends the server."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIX = "ganimation-web-"


@contextlib.contextmanager
def server_folder(parent: Path | None = None) -> Iterator[Path]:
    """An empty folder that only this user can read, removed on leaving.

    A server that is killed cannot remove its folder. It held a lock on it, which the system
    releases, so that the next start recognises the folder and removes it.

    Args:
      parent: by default the system's folder for temporary files.

    Raises:
      OSError: it cannot be made.
    """
    parent = (parent or Path(tempfile.gettempdir())).resolve()
    remove_abandoned(parent)
    # Under another name until it is locked: a server that starts now would remove it.
    fresh = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=parent))
    lock = _lock(fresh)
    folder = fresh.rename(parent / fresh.name.removeprefix("."))
    try:
        yield folder
    finally:
        # Nothing else may keep the files: a file that is being written now can fail.
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def remove_abandoned(parent: Path) -> list[Path]:
    """Remove this user's server folders that no server holds; returns them."""
    removed = []
    for folder in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # another start removes it just now
            about = folder.lstat()
            mine = about.st_uid == os.getuid() and not folder.is_symlink() and folder.is_dir()
            if mine and (lock := _lock(folder)) is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)
                removed.append(folder)
    return removed


def _lock(folder: Path) -> int | None:
    """A descriptor that holds the folder; None if another does, or the disk has no locks."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
