"""What can be wrong with the input: with one file, or with the command."""

from pathlib import Path
from typing import NamedTuple


class Skip(NamedTuple):
    """One file or face left out of the dataset: a line of ``skipped.csv``."""

    file: str
    reason: str  # one of few, to be counted
    detail: str  # for this file, what was found or what to do


class UnusableFile(Exception):
    """This file cannot be used; the others can."""

    def __init__(self, reason: str, detail: str, file: Path | None = None):
        super().__init__(reason, detail, file)
        self.reason, self.detail, self.file = reason, detail, file

    def skip(self, file: str) -> Skip:
        """The line for ``skipped.csv``; ``file`` where the error names no other."""
        return Skip(str(self.file or file), self.reason, self.detail)


class UsageError(Exception):
    """The command cannot run as given; the message says why."""
