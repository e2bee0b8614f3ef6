"""Expressions as people make them: a target, how much of it, and single changes on top."""

import json
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float32

NOTHING: Mapping[str, float] = MappingProxyType({})
VERSION = 1


class Recipe(NamedTuple):
    """How the expression of a face, or of one half of it, is changed.

    The result is what the face shows, moved towards ``target`` by the share ``strength``, plus
    ``moved``. Action units that are in neither keep the face's own intensity.
    """

    target: Mapping[str, float] = NOTHING  # by action unit, [0, 1]
    strength: float = 1.0  # [0, 1.5]; above 1 beyond the target
    moved: Mapping[str, float] = NOTHING  # by action unit, [-1, 1]

    def asks(self) -> bool:
        """Whether it changes anything."""
        return bool(self.strength and self.target) or any(self.moved.values())

    def by_unit(self) -> dict[str, float]:
        """What it asks for, whatever the face shows: the changes are added to the target."""
        asked = {unit: self.strength * value for unit, value in self.target.items()}
        return asked | {unit: asked.get(unit, 0.0) + by for unit, by in self.moved.items()}

    def values(
        self, own: Float[np.ndarray, " n"], units: Sequence[str]
    ) -> Float32[np.ndarray, " n"]:
        """The action units of the result.

        Args:
          own: what the face shows, ``n``, [0, 1]; NaN, where it was not measured, counts as 0.
          units: names of the n action units. Others in the recipe are ignored.

        Returns:
          float32 ``n``, [0, 1].
        """
        own = np.nan_to_num(np.asarray(own, np.float64))
        target = np.array([self.target.get(unit, own[i]) for i, unit in enumerate(units)])
        moved = np.array([self.moved.get(unit, 0.0) for unit in units])
        return (own + self.strength * (target - own) + moved).clip(0, 1).astype(np.float32)


class Look(NamedTuple):
    """The recipes for the two halves of a face, as the picture shows it."""

    left: Recipe = Recipe()
    right: Recipe = Recipe()

    def asks(self) -> bool:
        """Whether it changes anything."""
        return self.left.asks() or self.right.asks()

    def values(
        self, own: Float[np.ndarray, " n"], units: Sequence[str]
    ) -> Float32[np.ndarray, "2 n"]:
        """The action units of the left and the right half: float32 ``2 n``."""
        return np.stack([self.left.values(own, units), self.right.values(own, units)])


def as_json(halves: Float[np.ndarray, "2 n"], units: Sequence[str]) -> str:
    """An expression as a small JSON file.

    Args:
      halves: intensities of the left and the right half of the face, ``2 n``, [0, 1].
      units: names of the n action units.
    """
    left, right = (
        {unit: round(float(x), 4) for unit, x in zip(units, half, strict=True)} for half in halves
    )
    values = {"action_units": left} if left == right else {"left": left, "right": right}
    return json.dumps({"ganimation_expression": VERSION, **values}, indent=1) + "\n"


def from_json(text: str | bytes) -> tuple[dict[str, float], dict[str, float]]:
    """Read what ``as_json`` wrote: the intensities of the left and the right half.

    Raises:
      ValueError: the text is not such a file, or an intensity is outside [0, 1].
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("this is not an expression file: it is not JSON") from error
    if not isinstance(data, dict) or data.get("ganimation_expression") != VERSION:
        raise ValueError(
            f'this is not an expression file: it lacks "ganimation_expression": {VERSION}'
        )
    both = data.get("action_units")
    left, right = (both if both is not None else data.get(side) for side in ("left", "right"))
    return intensities(left, 0.0), intensities(right, 0.0)


def intensities(given: Any, lowest: float) -> dict[str, float]:
    """Check intensities by name, from JSON.

    Raises:
      ValueError: it is not an object of numbers from ``lowest`` to 1.
    """
    if not isinstance(given, dict):
        raise ValueError('an expression is an object such as {"AU12": 0.8}')
    for name, value in given.items():
        right = isinstance(value, int | float) and not isinstance(value, bool)
        if not (right and math.isfinite(value) and lowest <= value <= 1):
            raise ValueError(f"{str(name)[:40]}: its intensity is not from {lowest:g} to 1")
    return {name: float(value) for name, value in given.items()}
