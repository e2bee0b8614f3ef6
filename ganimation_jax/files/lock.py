"""One run at a time in a folder.

The lock is the operating system's (``flock``): it is free as soon as its holder is dead, whatever
ended it. Some network file systems refuse ``flock``. There, each program that wants the folder
writes a file that says who it is and counts up in it, every few seconds; a file whose count stands
still belongs to a dead program. That takes longer to decide, and says so.
"""

import contextlib
import errno
import fcntl
import logging
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger(__name__)

LOCK = ".lock"
BEAT = 2.0  # seconds between signs of life
DEAD = 15.0  # seconds without any, after which a program is taken for dead
UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
WAITING, HOLDING = "waiting", "holding"


@contextlib.contextmanager
def hold(folder: Path, part: str = "") -> Iterator[None]:
    """Hold a folder, or one part of it, as long as the context lasts.

    Args:
      folder: exists.
      part: name of the part: excluded are others who want the same part or the whole folder.
        Empty: the whole folder.

    Raises:
      BlockingIOError: another program holds it; names the folder and, if known, the program.
      OSError: the folder cannot be written.
    """
    with contextlib.ExitStack() as stack:
        try:
            _flock(stack, folder, part)
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
            log.warning(
                "%s does not support locks (%s): files %s*--* say who uses it",
                folder,
                error.strerror,
                LOCK,
            )
            stack.enter_context(_hold_by_file(folder, part))
        yield


def _flock(stack: contextlib.ExitStack, folder: Path, part: str) -> None:
    # Whoever wants a part shares the whole with those who want other parts.
    wanted = [("", fcntl.LOCK_SH), (part, fcntl.LOCK_EX)] if part else [("", fcntl.LOCK_EX)]
    for name, kind in wanted:
        path = _path(folder, name)
        file = stack.enter_context(path.open("a+"))
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _busy(folder, (_content(path) or "").strip()) from error
        file.truncate(0)  # what it says is of a program that has ended
        if kind == fcntl.LOCK_EX:
            file.write(_who())
            file.flush()


@contextlib.contextmanager
def _hold_by_file(folder: Path, part: str) -> Iterator[None]:
    claim = _Claim(folder, part)
    try:
        while rivals := claim.rivals():
            for rival in rivals:
                claim.outlive(rival)
        claim.state = HOLDING
        claim.beat()
        yield
    finally:
        claim.end()


class _Claim:
    """A file that says that this program wants the folder, or has it.

    Two that ask at the same time see each other, because each writes its file before it looks:
    the one whose file's name sorts first gets the folder.
    """

    def __init__(self, folder: Path, part: str):
        self.state = WAITING
        self._folder, self._part, self._count = folder, part, 0
        self._path = folder / f"{_path(folder, part).name}--{uuid.uuid4().hex}"
        self._ended = threading.Event()
        self._writing = threading.Lock()
        self.beat()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()

    def beat(self) -> None:
        """Write a new sign of life."""
        with self._writing:
            if not self._ended.is_set():
                self._count += 1
                self._path.write_text(f"{self.state}\n{_who()}\n{self._count}\n")

    def rivals(self) -> list[Path]:
        """Files of others who want the same, or the whole folder."""
        claims = {path for path in self._folder.glob(f"{LOCK}*--*") if path != self._path}
        if self._part:
            whole, same = _path(self._folder, ""), _path(self._folder, self._part)
            claims = {p for p in claims if p.name.split("--")[0] in (whole.name, same.name)}
        return sorted(claims)

    def outlive(self, rival: Path) -> None:
        """Return when a rival is gone or dead; raise if it has the folder, or comes first."""
        waited, first = 0.0, _content(rival)
        while (content := _content(rival)) is not None and waited < DEAD:
            alive = content != first
            state, who, *_ = [*content.splitlines(), "", ""]
            if alive and (state == HOLDING or rival.name < self._path.name):
                raise _busy(self._folder, who)
            if alive:
                waited, first = 0.0, content
            self._ended.wait(BEAT / 4)
            waited += BEAT / 4
        if content is not None:
            log.warning("%s is of a program that has ended: removed", rival)
            rival.unlink(missing_ok=True)

    def end(self) -> None:
        """Give the folder back."""
        self._ended.set()
        self._thread.join()
        with self._writing:
            self._path.unlink(missing_ok=True)

    def _live(self) -> None:
        while not self._ended.wait(BEAT):
            try:
                self.beat()
            except OSError as error:  # the next one may succeed
                log.warning("cannot write %s: %s", self._path, error)


def _path(folder: Path, part: str) -> Path:
    return folder / (f"{LOCK}-{part}" if part else LOCK)


def _content(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return None


def _who() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"


def _busy(folder: Path, who: str) -> BlockingIOError:
    return BlockingIOError(
        f"another run is at work in {folder}{f' ({who})' if who else ''}: wait until it has "
        "ended, or choose another folder"
    )
