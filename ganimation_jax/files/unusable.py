"""A file that cannot be used."""

from pathlib import Path


class UnusableFile(Exception):
    """This file cannot be used; others can.

    Args:
      reason: one of few, to be counted.
      detail: for this file, what was found or what to do.
      file: where it is another than the one that was asked for.
    """

    def __init__(self, reason: str, detail: str, file: Path | None = None):
        super().__init__(reason, detail, file)
        self.reason, self.detail, self.file = reason, detail, file

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason
