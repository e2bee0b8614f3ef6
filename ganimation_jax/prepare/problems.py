"""What can be wrong with the input: with one file, or with the command."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

Result = TypeVar("Result")


class Skip(NamedTuple):
    """One file left out of the dataset: a line of ``skipped.csv``."""

    file: str
    reason: str  # one of few, to be counted
    detail: str  # for this file, what was found or what to do


class UnusableFile(Exception):
    """This file cannot be used; the others can."""

    def __init__(self, reason: str, detail: str):
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


class UsageError(Exception):
    """The command cannot run as given; the message says why."""


def unless_unusable(function: Callable[..., Result], file: Path, **kwargs) -> Result | Skip:
    """``function(file, **kwargs)``, or the line for ``skipped.csv`` if the file is unusable."""
    try:
        return function(file, **kwargs)
    except UnusableFile as error:
        return Skip(str(file), error.reason, error.detail)
