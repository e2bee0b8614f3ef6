"""What reports show of single conditions: a table of scores, and charts of controllability."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ganimation_jax.action_units import ANATOMY
from ganimation_jax.evaluation.results import Response, Result, Section
from ganimation_jax.evaluation.scores import HIGHER, ONE, Better, Score, by_unit
from ganimation_jax.reports import charts
from ganimation_jax.reports.page import number

ACTIONS = {unit.code: unit.action for unit in ANATOMY}
RESPONSES_NOTE = (
    "Each condition alone is requested at intensities from 0 to 1 (horizontal axis) and read in "
    "the edit (vertical axis), with standard errors. Dotted: exactly as requested. Below: slopes, "
    "1 is perfect control, 0 none. † Low confidence: the judge itself reads this unit badly."
)
UNITS_NOTE = (
    "mae: mean absolute error, intensities 0-1. r: correlation. icc: agreement, ICC(3,1). "
    "† Low confidence: the judge itself reads this unit badly. 'Not judged': it cannot read "
    "it. '-': not defined, as for a unit that never varies."
)


class Column(NamedTuple):
    """A column of a table of conditions."""

    name: str
    scores: Mapping[str, Score]  # by condition
    better: Better = ""  # cells are shaded where higher values, or 1, are better


class Group(NamedTuple):
    """The columns of one judge."""

    title: str
    columns: Sequence[Column]
    quality: Mapping[str, str]  # condition -> "good", "low" or "none"

    @property
    def names(self) -> list[str]:
        """Of the columns."""
        return [column.name for column in self.columns]


def groups(result: Result) -> dict[str, Group]:
    """The scores of single conditions, by section."""
    found = {}
    for section in result.sections:
        columns = [
            Column(name, scores, next(iter(scores.values())).better)
            for (_, name), scores in by_unit(section.scores).items()
        ]
        if columns:
            found[section.name] = Group(section.title, columns, section.quality)
    return found


def table(units: Sequence[str], shown: Sequence[Group]) -> dict[str, Any]:
    """Conditions in rows, judges in columns; means are over well judged units only.

    A unit that a judge cannot read is marked, and never part of a mean.
    """
    rows = [
        {
            "unit": unit,
            "action": ACTIONS.get(unit, ""),
            "groups": [_cells(group, unit) for group in shown],
        }
        for unit in units
    ]
    means = [_means(units, shown, "good", "mean of units judged well")]
    if any("low" in group.quality.values() for group in shown):
        means.append(_means(units, shown, "low", "mean of low confidence†"))
    return {"groups": shown, "rows": rows, "means": means}


def _cells(group: Group, unit: str) -> list[dict[str, Any]] | None:
    quality = group.quality.get(unit, "good")
    if quality == "none":
        return None
    cells = []
    for column in group.columns:
        score = column.scores.get(unit)
        value = score.value if score else math.nan
        known = score is not None and not math.isnan(score.se)
        cells.append(
            {
                "text": "-" if math.isnan(value) else f"{value:.2f}",
                "low": quality == "low",
                "shade": round(0.32 * _goodness(value, column.better), 2),
                "error": number(score.se) if score is not None and known else "",
            }
        )
    return cells


def _goodness(value: float, better: Better) -> float:
    """From 0 to 1, for scores that are best at 1; 0 for others."""
    if math.isnan(value) or better not in (HIGHER, ONE):
        return 0
    return min(max(value, 0), 1) if better == HIGHER else max(1 - abs(1 - value), 0)


def _means(
    units: Sequence[str], shown: Sequence[Group], quality: str, title: str
) -> dict[str, Any]:
    found = []
    for group in shown:
        members = [unit for unit in units if group.quality.get(unit, "good") == quality]
        cells = []
        for column in group.columns:
            values = [column.scores[unit].value for unit in members if unit in column.scores]
            known = [value for value in values if not math.isnan(value)]
            mean = f"{np.mean(known):.2f}" if known else ""
            cells.append({"text": mean, "count": len(known)} if known else None)
        found.append(cells)
    return {"title": title, "groups": found}


def slopes(result: Result, judge: str) -> dict[str, Score]:
    """The slope of each condition's response; empty if it was not measured."""
    section = next((one for one in result.sections if _controls(one, judge)), None)
    if section is None:
        return {}
    return next(iter(by_unit(section.scores).values()), {})


def _controls(section: Section, judge: str) -> bool:
    return section.kind == "control" and section.judge == judge


def controllability(
    lines: Mapping[str, tuple[Response, Mapping[str, Score]]], units: Sequence[str]
) -> dict[str, Any] | None:
    """One small chart for each condition, and the key of the lines; None without lines.

    Args:
      lines: name -> what is drawn under it, and each condition's slope.
      units: those of all responses.
    """
    if not lines:
        return None
    top = max(float(np.nanmax(one.measured, initial=1)) for one, _ in lines.values())
    charted = []
    for place, unit in enumerate(units):
        drawn = [
            charts.Line(one.levels, one.measured[place], style, one.error[place])
            for style, (one, _) in enumerate(lines.values())
        ]
        charted.append(
            {
                "unit": unit,
                "action": ACTIONS.get(unit, ""),
                "drawing": charts.chart(
                    drawn, (190, 150), (0, 1), (0, top), identity=True, markers=True
                ),
                "lines": [
                    {
                        "name": name,
                        "quality": response.quality.get(unit, "good"),
                        "slope": found.get(unit),
                    }
                    for name, (response, found) in lines.items()
                ],
            }
        )
    key = [(name, charts.swatch(style)) for style, name in enumerate(lines)]
    return {"key": key, "charts": charted}
