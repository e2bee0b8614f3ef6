"""``compare.html``: several evaluated runs on one page."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ganimation_jax.evaluation import unit_tables
from ganimation_jax.evaluation.results import Response, Result
from ganimation_jax.evaluation.scores import Score
from ganimation_jax.files.atomic import write_atomically
from ganimation_jax.reports import page

Results = Mapping[str, Result]
Rows = dict[str, tuple[list[Score | None], list[str]]]  # key -> of each run: score, mark


def write_page(
    out: Path,
    results: Results,
    reports: Mapping[str, Path],
    rows: Rows,
    warnings: Sequence[str],
    legend: str,
) -> Path:
    """Write ``compare.html``.

    Args:
      out: the folder for it; made if absent.
      results: by the runs' short names.
      reports: folders of the runs' reports, which are linked.
      rows: of the table of scores.
      warnings: why scores may not be comparable.
      legend: what the marks mean.

    Raises:
      OSError: it cannot be written.
    """
    first, *others = results.values()
    units = [unit for unit in first.action_units if all(unit in one.action_units for one in others)]
    text = page.render(
        "comparison",
        title="Runs compared",
        warnings=warnings,
        links={name: _link(out, reports[name]) for name in results},
        facts=_facts(results),
        scores=[
            {
                "key": key,
                "cells": list(zip(scores, marks, strict=True)),
                "better": next(score.better for score in scores if score),
            }
            for key, (scores, marks) in rows.items()
        ],
        legend=legend,
        control=_responses(results, units),
        responses_note=unit_tables.RESPONSES_NOTE,
        units=_units(results, units),
    )
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / "compare.html", text)
    return out / "compare.html"


def _link(out: Path, report: Path) -> str:
    return Path(os.path.relpath(report / "index.html", out)).as_posix()


def _facts(results: Results) -> list[dict[str, Any]]:
    rows = []
    for name in dict.fromkeys(fact for result in results.values() for fact in result.facts):
        cells = [str(result.facts.get(name, "-")) for result in results.values()]
        rows.append({"name": name, "cells": cells, "differs": len(set(cells)) > 1})
    return rows


def _responses(results: Results, units: Sequence[str]) -> dict[str, Any]:
    """By judge."""
    judges = dict.fromkeys(one.judge for result in results.values() for one in result.responses)
    found = {}
    for judge in judges:
        lines = {
            name: (_only(one, result, units), unit_tables.slopes(result, judge))
            for name, result in results.items()
            for one in result.responses
            if one.judge == judge
        }
        found[judge] = unit_tables.controllability(lines, units)
    return found


def _only(response: Response, result: Result, units: Sequence[str]) -> Response:
    """Of these conditions, in this order."""
    rows = [result.action_units.index(unit) for unit in units]
    return response._replace(measured=response.measured[rows], error=response.error[rows])


def _units(results: Results, units: Sequence[str]) -> dict[str, Any]:
    """One table for each section: each measure, and under it each run. By title."""
    found = {name: unit_tables.groups(result) for name, result in results.items()}
    tables = {}
    for section in dict.fromkeys(section for groups in found.values() for section in groups):
        having = {name: groups[section] for name, groups in found.items() if section in groups}
        first = next(iter(having.values()))
        groups = [
            unit_tables.Group(
                column.name,
                [
                    unit_tables.Column(name, one.scores, one.better)
                    for name, group in having.items()
                    for one in group.columns
                    if one.name == column.name
                ],
                first.quality,
            )
            for column in first.columns
        ]
        tables[first.title] = unit_tables.table(units, groups)
    return tables
