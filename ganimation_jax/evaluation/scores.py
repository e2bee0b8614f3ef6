"""Reading a section's flat scores: their errors, action units, and which way is better."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from ganimation_jax.evaluation.results import Section

LOWER, HIGHER, ONE = "lower is better", "higher is better", "1 is best"
_BETTER = {
    **dict.fromkeys(("mae", "rmse", "distance", "fid", "lpips", "unread"), LOWER),
    **dict.fromkeys(
        ("r", "icc", "psnr", "psnr_changed", "ssim", "verified", "attention_iou"), HIGHER
    ),
}


class Score(NamedTuple):
    """A figure with all that stands below it."""

    name: str
    value: float
    error: float  # standard error; NaN: not known
    notes: dict[str, "Score"]  # baselines, counts, ..., by their last word


Units = dict[str, dict[str, Score]]  # name of the score over all units -> action unit -> score


def better(name: str) -> str:
    """Which way a score is better; "" if that is no question, as for a baseline.

    The last word of the name decides, and of that what is before a network's or
    version's name: ``KID-VGG16``, ``LPIPS-Alex``, ``ICC(3,1)``.
    """
    word = name.rpartition("/")[2].lower()
    if name.startswith("controllability_") and "/" not in name:
        return ONE  # a slope
    family = word.partition("-")[0].partition("(")[0]
    return LOWER if family in ("kid", "frechet") else _BETTER.get(family, "")


def read(section: Section, action_units: Sequence[str]) -> tuple[list[Score], Units]:
    """The scores of a section over all action units, and those of each.

    Returns:
      In the order of the section. A name whose parent is also a score is a note of that.
    """
    totals: list[Score] = []
    units: Units = {}
    for name in section.scores:
        parent, _, word = name.rpartition("/")
        if word in action_units:
            units.setdefault(parent, {})[word] = _score(section, name, action_units)
        elif word != "se" and parent not in section.scores:
            totals.append(_score(section, name, action_units))
    return totals, units


def _score(section: Section, name: str, action_units: Sequence[str]) -> Score:
    below = [
        other.rpartition("/")[2] for other in section.scores if other.rpartition("/")[0] == name
    ]
    notes = {
        word: _score(section, f"{name}/{word}", action_units)
        for word in below
        if word != "se" and word not in action_units
    }
    error = section.scores.get(f"{name}/se", math.nan)
    return Score(name, section.scores[name], error, notes)


def verdicts(name: str, scores: Sequence[Score | None]) -> list[str]:
    """Marks of one score over several runs.

    Returns:
      For each "" or: "*" better than all others by more than two standard errors of the
      difference; "=" the best figure, or within two standard errors of it; "?" the best figure,
      but without the errors nobody knows whether that means anything.
    """
    direction = better(name)
    marks = [""] * len(scores)
    known = {i: s for i, s in enumerate(scores) if s is not None and math.isfinite(s.value)}
    if not direction or len(known) < 2:
        return marks
    badness = {i: _badness(s.value, direction) for i, s in known.items()}
    best = min(badness, key=lambda i: badness[i])
    gaps = {i: _gap(badness[i] - badness[best], known[i], known[best]) for i in known if i != best}
    near = [i for i, gap in gaps.items() if gap <= 2]
    for i in near:
        marks[i] = "="
    unknown = any(math.isnan(gap) for gap in gaps.values())
    marks[best] = "=" if near else "?" if unknown else "*"
    return marks


def _badness(value: float, direction: str) -> float:
    return abs(value - 1) if direction == ONE else value if direction == LOWER else -value


def _gap(difference: float, one: Score, other: Score) -> float:
    """In standard errors of the difference, as of independent samples; NaN if not known."""
    if difference == 0:
        return 0
    error = math.hypot(one.error, other.error)
    return difference / error if error else math.inf
