"""A file that cannot be used, and the first check of every file: that it is a regular one."""

import stat
from pathlib import Path

# What a path can name besides a regular file, and what people call it.
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


class UnusableFile(Exception):
    """This file cannot be used; others can.

    Args:
      reason: one of a few, so that files can be counted by it.
      detail: what was found in this file, or what to do about it.
      file: the file meant, if it is not the one that the caller asked for.
    """

    def __init__(self, reason: str, detail: str, file: Path | None = None):
        super().__init__(reason, detail, file)
        self.reason, self.detail, self.file = reason, detail, file

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


def check_regular(path: Path) -> None:
    """Refuse what is no regular file, without opening it: opening a named pipe can wait for ever.

    Symbolic links are followed.

    Raises:
      UnusableFile: it is a folder, named pipe, socket or device.
      OSError: it does not exist or must not be looked at.
    """
    kind = stat.S_IFMT(path.stat().st_mode)
    if kind != stat.S_IFREG:
        raise UnusableFile("not a regular file", KINDS.get(kind, "something else"))
