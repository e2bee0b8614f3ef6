"""The published code's ``aus_openface.pkl``."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.faces.openface_rows import Measured, check_intensities
from ganimation_jax.files import pickles
from ganimation_jax.files.unusable import UnusableFile
from ganimation_jax.prepare.problems import UsageError


class Values(NamedTuple):
    """The annotation of one picture as numbers."""

    origin: str  # for messages
    aus: tuple[float, ...]  # [0, 5]; 17 of them, or ``problem`` says what else there is
    problem: str = ""


def read_aus_pickle(path: Path) -> dict[str, Values]:
    """Read a pickled dictionary of id -> intensities of action units, of Python 2 or 3.

    Ids may be text, bytes or whole numbers; intensities an array, a list or a tuple of numbers.

    Raises:
      UsageError: not a pickle, a damaged one, one that uses anything but plain containers and
        NumPy arrays (the message names it), or one that is not such a dictionary.
    """
    try:
        content = pickles.read(path)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise UsageError(f"{path} holds a {kind}, not a dictionary of id -> action units")
    found: dict[str, Values] = {}
    for key, value in content.items():
        if not (
            isinstance(key, str | bytes | int) and isinstance(value, np.ndarray | list | tuple)
        ):
            kinds = f"{type(key).__name__} -> {type(value).__name__}"
            raise UsageError(f"{path} should hold id -> array of action units, but has {kinds}")
        name = key.decode("latin1") if isinstance(key, bytes) else str(key)
        if name in found:
            raise UsageError(f"{path} has two entries for the id {name!r}")
        found[name] = _values(f"{path}:{name}", value)
    return found


def _values(origin: str, value: np.ndarray | list | tuple) -> Values:
    if isinstance(value, np.ndarray):
        if value.ndim != 1 or value.dtype.kind not in "iuf":
            return Values(origin, (), f"an array of shape {value.shape} and type {value.dtype}")
        return Values(origin, tuple(float(number) for number in value))
    if not all(isinstance(number, int | float | np.integer | np.floating) for number in value):
        return Values(origin, (), f"a {type(value).__name__} of something else than numbers")
    return Values(origin, tuple(float(number) for number in value))


def from_values(values: Values) -> Measured:
    """One entry of the pickle, checked.

    Raises:
      UnusableFile: not 17 numbers in [0, 5].
    """
    if len(values.aus) != len(ACTION_UNITS):
        detail = values.problem or f"{len(values.aus)} numbers"
        raise UnusableFile("not 17 action units", detail, Path(values.origin))
    aus = dict(zip(ACTION_UNITS, values.aus, strict=True))
    return Measured(check_intensities(aus, Path(values.origin)))
