"""The expression asked for: parsed, checked, and completed by what the face shows itself."""

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ganimation_jax.action_units import ACTION_UNITS, ANATOMY, EXPRESSIONS, positions

INTENSITY = 0.8
NEUTRAL = "neutral"
ROUNDING = 1e-5  # by which a computed intensity may exceed its range

Aus = str | Mapping[str, float] | np.ndarray
"""An expression by name, some action units by name, or all of them, ``n``."""
# What people call the expressions besides their names.
SYNONYMS = {
    "happy": (
        "smile",
        "smiling",
        "joy",
        "joyful",
        "happiness",
        "glad",
        "cheerful",
        "merry",
        "laugh",
    ),
    "sad": ("sadness", "unhappy", "sorrow", "frown", "crying", "depressed"),
    "angry": ("anger", "mad", "furious", "rage"),
    "surprised": ("surprise", "astonished", "amazed", "shock", "shocked"),
    "disgusted": ("disgust", "revulsion"),
    "afraid": ("fear", "fearful", "scared", "frightened", "terrified"),
    "contempt": ("contemptuous", "scorn", "disdain", "smirk"),
    "neutral": ("none", "calm", "relaxed", "normal", "rest"),
}


def parse(
    words: Iterable[str], units: Sequence[str], *, relative: bool = False
) -> dict[str, float]:
    """``["AU12=0.8", "6=.5"]`` -> ``{"AU12": 0.8, "AU06": 0.5}``.

    Args:
      words: an action unit and its intensity each, in [0, 1]; relative, in [-1, 1].
      units: those that the model has.

    Raises:
      ValueError: not of that form, a unit that the model does not have, or that comes twice,
        an intensity out of range.
    """
    aus: dict[str, float] = {}
    for word in words:
        name, equals, text = word.partition("=")
        try:
            value = float(text)
        except ValueError:
            equals = ""
        if not equals:
            raise ValueError(f"{word!r} is not of the form AU12=0.8")
        unit = unit_named(name, units)
        if unit in aus:
            raise ValueError(f"{unit} is asked for twice")
        aus[unit] = value
    return checked(aus, units, relative=relative)


def unit_named(name: str, units: Sequence[str]) -> str:
    """The unit that is meant by ``AU06``, ``au6`` or ``6``.

    Raises:
      ValueError: the model does not have it; the message says which is near, or what it has.
    """
    name = name.strip()
    number = re.fullmatch(r"(?:AU)?0*(\d{1,2})", name, re.IGNORECASE)
    code = f"AU{int(number[1]):02d}" if number and name not in units else name
    if code in ACTION_UNITS and code not in units:
        action = ANATOMY[ACTION_UNITS.index(code)].action
        raise ValueError(f"this model has no {code} ({action}); it has {' '.join(units)}")
    return units[positions([code], units)[0]]


def expression(name: str, units: Sequence[str], intensity: float = INTENSITY) -> dict[str, float]:
    """A basic emotion as a whole expression: its own units at one intensity, all others at 0.

    Units of its prototype that the model does not have are left out.

    Args:
      name: a key of ``EXPRESSIONS``, or ``neutral``.
      units: those that the model has.
      intensity: [0, 1].

    Raises:
      ValueError: no such expression, no unit of it in the model, or an intensity out of range.
    """
    if name != NEUTRAL and name not in EXPRESSIONS:
        raise ValueError(
            f"no expression {name!r}{suggestion(name)} "
            f"There are {NEUTRAL}, {', '.join(EXPRESSIONS)}"
        )
    prototype = EXPRESSIONS.get(name, ())
    if prototype and not set(prototype) & set(units):
        raise ValueError(f"{name} is made of {' '.join(prototype)}; the model has none of them")
    aus = {unit: intensity if unit in prototype else 0.0 for unit in units}
    checked({name: intensity}, [name])
    return aus


def suggestion(name: str) -> str:
    """The expression that is probably meant, as the end of a sentence: by synonym or spelling."""
    meant = {word: key for key, words in SYNONYMS.items() for word in (key, *words)}
    near = difflib.get_close_matches(name.strip().lower(), meant, n=1, cutoff=0.7)
    return f"; did you mean {meant[near[0]]}?" if near else "."


def checked(
    aus: Mapping[str, float], units: Sequence[str], *, relative: bool = False
) -> dict[str, float]:
    """The same, known to be intensities of units that the model has.

    Raises:
      ValueError: an unknown unit, or an intensity that is no number or outside [0, 1]
        (relative: [-1, 1]).
    """
    lowest = -1.0 if relative else 0.0
    result = {}
    for name, value in aus.items():
        unit = unit_named(name, units)
        if not (math.isfinite(value) and lowest <= value <= 1):
            raise ValueError(f"{unit}={value:g}: an intensity is from {lowest:g} to 1")
        result[unit] = float(value)
    return result


def resolve(aus: Aus, own: np.ndarray, units: Sequence[str], relative: bool = False) -> np.ndarray:
    """What a face is to show.

    Args:
      aus: the name of an expression. Or some units by name: all others keep the face's own
        intensity, so that ``{}`` is its own expression. Or all units as an array, ``n``.
      own: ``n``, what the face shows, [0, 1].
      units: names of the n units.
      relative: ``aus`` are added to what the face shows; the sum is clipped to [0, 1].

    Returns:
      float32 ``n``, [0, 1].

    Raises:
      ValueError: an unknown unit, an intensity out of range, or an array of another shape.
    """
    if isinstance(aus, str):
        aus = expression(aus, units)
    if isinstance(aus, Mapping):
        named = checked(aus, units, relative=relative)
        target = np.array(own, np.float32)
        places = [units.index(unit) for unit in named]
        values = np.array([named[units[place]] for place in places], np.float32)
        target[places] = target[places] + values if relative else values
        return target.clip(0, 1)
    whole = check_array(aus, (len(units),), -1.0 if relative else 0.0)
    return (own + whole if relative else whole).clip(0, 1).astype(np.float32)


def check_array(aus: np.ndarray, shape: tuple[int, ...], lowest: float = 0.0) -> np.ndarray:
    """Intensities as float32, known to be of that shape and in [lowest, 1].

    Raises:
      ValueError: they are not.
    """
    aus = np.asarray(aus, np.float32)
    if aus.shape != shape:
        raise ValueError(f"intensities of shape {aus.shape} where {shape} is wanted")
    wrong = ~((aus >= lowest - ROUNDING) & (aus <= 1 + ROUNDING))  # also where NaN
    if wrong.any():
        raise ValueError(f"intensity {aus[wrong][0]:g}: it is from {lowest:g} to 1")
    return aus.clip(lowest, 1)
