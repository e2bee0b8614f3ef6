"""Target expressions: parse and check them, and fill in the face's own action units."""

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Float, Float32, Num
from numpy.typing import ArrayLike

from ganimation_jax.action_units import ACTION_UNITS, ANATOMY, positions

STRENGTH, STRONGEST = 1.0, 1.5  # of an expression: what looks natural, and the most allowed
NEUTRAL = "neutral"
# Intensities of each expression at strength 1, chosen by looking at edits of unseen faces: the
# prototypes of ``action_units.EXPRESSIONS``, and units that people show beside them.
PRESETS: dict[str, dict[str, float]] = {
    "happy": {"AU06": 0.5, "AU12": 0.9, "AU25": 0.5},
    "sad": {"AU01": 0.5, "AU04": 0.4, "AU15": 0.7, "AU17": 0.4},
    "angry": {"AU04": 0.9, "AU05": 0.3, "AU07": 0.6, "AU23": 0.6, "AU09": 0.2},
    "surprised": {"AU01": 0.8, "AU02": 0.8, "AU05": 0.7, "AU25": 0.5, "AU26": 0.4},
    "disgusted": {"AU09": 0.6, "AU10": 0.6, "AU17": 0.4, "AU04": 0.4, "AU07": 0.3},
    "afraid": {"AU01": 0.8, "AU02": 0.5, "AU04": 0.5, "AU05": 0.7, "AU20": 0.7, "AU25": 0.5},
    "contempt": {"AU12": 0.35, "AU14": 0.5},
}
ROUNDING = 1e-5  # tolerance by which a computed intensity may exceed its range

Aus = str | Mapping[str, float] | np.ndarray | Sequence[float]
"""An expression by name, some action units by name, or all of them, ``n``."""
# Other words for the expressions, used to suggest the right name.
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
      words: each is an action unit and its intensity, in [0, 1].
      units: action units of the model.
      relative: intensities are changes, in [-1, 1].

    Raises:
      ValueError: a word is not of this form, the model does not have the action unit, an
        action unit is repeated, or an intensity is out of range.
    """
    aus: dict[str, float] = {}
    for word in words:
        name, equals, text = word.partition("=")
        try:
            value = float(text)
        except ValueError:
            equals = ""
        if not equals:
            example = "AU12=0.8" if set(units) & set(ACTION_UNITS) else f"{units[0]}=1"
            raise ValueError(f"{word!r} is not of the form {example}")
        unit = unit_named(name, units)
        if unit in aus:
            raise ValueError(f"{unit} is asked for twice")
        aus[unit] = value
    return checked(aus, units, relative=relative)


def unit_named(name: str, units: Sequence[str]) -> str:
    """The model's name of an action unit given as ``AU06``, ``au6`` or ``6``, or of a label.

    Raises:
      ValueError: the model does not have this action unit; the message suggests a similar name
        or lists the model's action units.
    """
    name = name.strip()
    number = re.fullmatch(r"(?:AU)?0*(\d{1,2})", name, re.IGNORECASE)
    code = f"AU{int(number[1]):02d}" if number and name not in units else name
    if code in ACTION_UNITS and code not in units:
        action = ANATOMY[ACTION_UNITS.index(code)].action
        raise ValueError(f"this model has no {code} ({action}); it has {' '.join(units)}")
    lower = {unit.lower(): unit for unit in units}
    if code.lower() in lower:
        return lower[code.lower()]
    if not set(units) & set(ACTION_UNITS):
        near = difflib.get_close_matches(code.lower(), lower, n=1, cutoff=0.5)
        hint = f"; did you mean {lower[near[0]]}?" if near else ""
        raise ValueError(f"this model has no {name!r}; it has {' '.join(units)}{hint}")
    return units[positions([code], units)[0]]


def expression(name: str, units: Sequence[str], strength: float = STRENGTH) -> dict[str, float]:
    """A basic emotion as a full target: its action units as in ``PRESETS``, all others at 0.

    Action units of the preset that the model does not have are ignored.

    Args:
      name: a key of ``PRESETS``, or ``neutral``.
      units: action units of the model.
      strength: factor of the intensities, [0, 1.5]; they stay in [0, 1].

    Raises:
      ValueError: the expression is unknown, the model has none of its action units, or the
        strength is out of range.
    """
    if name != NEUTRAL and name not in PRESETS:
        raise ValueError(
            f"no expression {name!r}{suggestion(name)} There are {NEUTRAL}, {', '.join(PRESETS)}"
        )
    preset = PRESETS.get(name, {})
    if preset and not set(preset) & set(units):
        raise ValueError(f"{name} is made of {' '.join(preset)}; the model has none of them")
    if not 0 <= strength <= STRONGEST:
        raise ValueError(f"{name}={strength:g}: a strength is from 0 to {STRONGEST:g}")
    return {unit: min(1.0, strength * preset.get(unit, 0.0)) for unit in units}


def suggestion(name: str) -> str:
    """The end of an error message that suggests an expression, by synonym or spelling."""
    meant = {word: key for key, words in SYNONYMS.items() for word in (key, *words)}
    near = difflib.get_close_matches(name.strip().lower(), meant, n=1, cutoff=0.7)
    return f"; did you mean {meant[near[0]]}?" if near else "."


def checked(
    aus: Mapping[str, float], units: Sequence[str], *, relative: bool = False
) -> dict[str, float]:
    """Check intensities given by name and return them by the model's names.

    Raises:
      ValueError: an action unit is unknown, or an intensity is not finite or is outside
        [0, 1] ([-1, 1] if ``relative``).
    """
    lowest = -1.0 if relative else 0.0
    result = {}
    for name, value in aus.items():
        unit = unit_named(name, units)
        if not (math.isfinite(value) and lowest <= value <= 1):
            raise ValueError(f"{unit}={value:g}: an intensity is from {lowest:g} to 1")
        result[unit] = float(value)
    return result


def resolve(
    aus: Aus, own: Num[np.ndarray, " n"], units: Sequence[str], relative: bool = False
) -> Float32[np.ndarray, " n"]:
    """The target action units of a face.

    Args:
      aus: the name of an expression; or intensities by action unit, where units you do not
        name keep the face's own intensity (``{}`` is its own expression); or an array of all
        intensities, ``n``.
      own: the face's own action units, ``n``, [0, 1].
      units: names of the n action units.
      relative: add ``aus`` to the face's own action units and clip the sum to [0, 1].

    Returns:
      float32 ``n``, [0, 1].

    Raises:
      ValueError: an action unit is unknown, an intensity is out of range, or the array has
        another shape.
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


def on_half(
    half: str | None, targets: Float[np.ndarray, "*b n"], own: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "..."]:
    """Targets of one half of each face, while the other half keeps the face's own expression.

    Args:
      half: ``left`` or ``right``, in the picture; None: both halves.
      targets: ``... n``.
      own: the faces' own action units, which broadcast to ``targets``.

    Returns:
      ``... 2 n``, for the left and the right half; the targets themselves where both are meant.
    """
    if half is None:
        return targets
    kept = np.broadcast_to(own, targets.shape)
    return np.stack([targets, kept] if half == "left" else [kept, targets], axis=-2)


def check_array(
    aus: ArrayLike, shape: tuple[int, ...], lowest: float = 0.0
) -> Float32[np.ndarray, "..."]:
    """Check that intensities have this shape and are in [lowest, 1]; return them as float32.

    Raises:
      ValueError: the shape differs, or an intensity is out of range.
    """
    aus = np.asarray(aus, np.float32)
    if aus.shape != shape:
        raise ValueError(f"intensities of shape {aus.shape} where {shape} is wanted")
    wrong = ~((aus >= lowest - ROUNDING) & (aus <= 1 + ROUNDING))  # also where NaN
    if wrong.any():
        raise ValueError(f"intensity {aus[wrong][0]:g}: it is from {lowest:g} to 1")
    return aus.clip(lowest, 1)
