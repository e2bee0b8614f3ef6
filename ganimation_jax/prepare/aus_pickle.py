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
    aus: tuple[float, ...]  # 17, [0, 5]; none where the pickle has something else
    problem: str = ""  # what the pickle has instead


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
    shape = value.shape if isinstance(value, np.ndarray) else (len(value),)
    if shape != (len(ACTION_UNITS),):
        return Values(origin, (), f"it has the shape {shape}")
    if isinstance(value, np.ndarray) and value.dtype.kind == "b":
        return Values(origin, (), "an array of truth values")
    if not all(isinstance(number, int | float | np.number) for number in value):
        return Values(origin, (), f"a {type(value).__name__} that holds other things than numbers")
    return Values(origin, tuple(float(number) for number in value))


def from_values(values: Values) -> Measured:
    """One entry of the pickle, checked.

    Raises:
      UnusableFile: not 17 numbers in [0, 5].
    """
    if len(values.aus) != len(ACTION_UNITS):
        raise UnusableFile("not 17 action units", values.problem, Path(values.origin))
    aus = dict(zip(ACTION_UNITS, values.aus, strict=True))
    return Measured(check_intensities(aus, Path(values.origin)))
