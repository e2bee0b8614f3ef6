"""What can be wrong with the input: with one file, or with the command."""

from typing import NamedTuple

from ganimation_jax.files.unusable import UnusableFile


class Skip(NamedTuple):
    """One file or face skipped: a line of ``skipped.csv``."""

    file: str
    reason: str  # one of few, to be counted
    detail: str  # for this file, what was found or what to do


def skip_of(error: UnusableFile, file: str) -> Skip:
    """The line for ``skipped.csv``; ``file`` where the error names no other."""
    return Skip(str(error.file or file), error.reason, error.detail)


class UsageError(Exception):
    """The command cannot run as given; the message says why."""
