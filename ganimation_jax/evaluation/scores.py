"""A score: a figure with its standard error, what it is of, and which way is better."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

Better = Literal["", "lower is better", "higher is better", "1 is best"]
LOWER: Better = "lower is better"
HIGHER: Better = "higher is better"
ONE: Better = "1 is best"


class Score(NamedTuple):
    """One figure that an evaluator found.

    >>> Score("truth", "psnr", 27.5, se=0.2, baseline="no_edit").key
    'truth/psnr/no_edit'
    >>> Score("mediapipe_on_edits", "mae", 0.1, unit="AU12").key
    'mediapipe_on_edits/mae/AU12'
    """

    group: str  # what was compared: "mediapipe_on_edits", "truth"; "" if the name says it all
    name: str  # of the measure: "psnr"
    value: float  # NaN: not defined
    se: float = math.nan  # standard error; NaN: not known
    unit: str = ""  # the condition that it is of: "AU12"; "" for the mean over all
    baseline: str = ""  # of what else the same measure is: "no_edit"; or a remark on it: "bias"
    better: Better = ""  # "" where neither way is

    @property
    def key(self) -> str:
        """The name under which it is logged: ``group/name/baseline/unit``, empty parts left out."""
        return "/".join(filter(None, (self.group, self.name, self.baseline, self.unit)))


Scores = Iterator[Score]
Units = dict[tuple[str, str], dict[str, Score]]  # (group, name) -> unit -> score


def totals(scores: Iterable[Score]) -> list[Score]:
    """The scores over all units that are not baselines, in order."""
    return [score for score in scores if not score.unit and not score.baseline]


def baselines(score: Score, scores: Iterable[Score]) -> dict[str, Score]:
    """The baselines of a score, by name."""
    return {
        other.baseline: other
        for other in scores
        if other.baseline and not other.unit and (other.group, other.name) == score[:2]
    }


def by_unit(scores: Iterable[Score]) -> Units:
    """The scores of single units, in order."""
    units: Units = {}
    for score in scores:
        if score.unit and not score.baseline:
            units.setdefault((score.group, score.name), {})[score.unit] = score
    return units


def verdicts(scores: Sequence[Score | None]) -> list[str]:
    """Marks of one score over several runs.

    Returns:
      For each "" or: "*" better than all others by more than two standard errors of the
      difference; "=" the best figure, or within two standard errors of it; "?" the best figure,
      but without standard errors nobody knows whether that means anything.

    >>> verdicts([Score("x", "r", 0.5, 0.01, better=HIGHER), Score("x", "r", 0.6, 0.01)])
    ['', '*']
    """
    direction: Better = next((score.better for score in scores if score is not None), "")
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


def _badness(value: float, direction: Better) -> float:
    return abs(value - 1) if direction == ONE else value if direction == LOWER else -value


def _gap(difference: float, one: Score, other: Score) -> float:
    """In standard errors of the difference, as of independent samples; NaN if not known."""
    if difference == 0:
        return 0
    error = math.hypot(one.se, other.se)
    return difference / error if error else math.inf
