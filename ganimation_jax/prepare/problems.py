"""Problems with the input: with one file, or with the command."""

from typing import NamedTuple

from ganimation_jax.files.unusable import UnusableFile


class Skip(NamedTuple):
    """A skipped file or face: one line of ``skipped.csv``."""

    file: str
    reason: str  # one of a few categories, so that skips can be counted
    detail: str  # specific to this file: the value found, or the fix


def skip_of(error: UnusableFile, file: str) -> Skip:
    """Make the line for ``skipped.csv``; use ``file`` unless the error names another."""
    return Skip(str(error.file or file), error.reason, error.detail)


class UsageError(Exception):
    """The command cannot run as given. The message gives the reason."""
