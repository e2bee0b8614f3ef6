"""``compare.html``: several evaluated runs on one page."""

import html
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ganimation_jax.evaluation import page
from ganimation_jax.evaluation.report import (
    HOW_TO_READ_RESPONSES,
    controllability,
    slopes,
    unit_groups,
)
from ganimation_jax.evaluation.results import Response, Result
from ganimation_jax.evaluation.scores import Score, better
from ganimation_jax.files.atomic import write_atomically

Results = Mapping[str, Result]


def write_page(
    out: Path,
    results: Results,
    folders: Mapping[str, Path],
    rows: Mapping[str, tuple[Sequence[Score | None], Sequence[str]]],
    warnings: Sequence[str],
    legend: str,
) -> Path:
    """Write ``compare.html``.

    Args:
      out: the folder for it; made if absent.
      results: by the runs' short names.
      folders: of the runs: their reports are linked.
      rows: name of a score -> its value in each run, and its mark.
      warnings: why figures may not compare.
      legend: what the marks mean.

    Raises:
      OSError: it cannot be written.
    """
    units = [
        unit
        for unit in next(iter(results.values())).action_units
        if all(unit in result.action_units for result in results.values())
    ]
    body = [
        "<h1>Runs compared</h1>",
        '<p class="sub">Samples and training curves are in each run\'s own report.</p>',
        _warnings(warnings),
        _facts(out, results, folders),
        _scores(list(results), rows, legend),
        *_responses(results, units),
        _units(results, units),
    ]
    out.mkdir(parents=True, exist_ok=True)
    path = out / "compare.html"
    write_atomically(path, page.document("Runs compared", body))
    return path


def _warnings(warnings: Sequence[str]) -> str:
    told = "".join(f"<p>{html.escape(warning)}</p>" for warning in warnings)
    return f'<div class="loud"><b>Take care</b>{told}</div>' if told else ""


def _facts(out: Path, results: Results, folders: Mapping[str, Path]) -> str:
    links = "".join(f"<th>{_link(out, folders[name], name)}</th>" for name in results)
    facts = dict.fromkeys(fact for result in results.values() for fact in result.facts)
    rows = []
    for fact in facts:
        values = [str(result.facts.get(fact, "-")) for result in results.values()]
        strong = "b" if len(set(values)) > 1 else "span"
        cells = "".join(f"<td><{strong}>{html.escape(value)}</{strong}></td>" for value in values)
        rows.append(f"<tr><td>{html.escape(fact.replace('_', ' '))}</td>{cells}</tr>")
    inner = f'<div class="wide"><table><tr><th></th>{links}</tr>{"".join(rows)}</table></div>'
    return page.section("Runs", inner, "In bold: what differs.")


def _link(out: Path, folder: Path, name: str) -> str:
    target = os.path.relpath(folder / "report" / "index.html", out)
    return f'<a href="{html.escape(Path(target).as_posix())}">{html.escape(name)}</a>'


def _scores(
    names: Sequence[str],
    rows: Mapping[str, tuple[Sequence[Score | None], Sequence[str]]],
    legend: str,
) -> str:
    lines = []
    for name, (scores, marks) in rows.items():
        cells = "".join(_cell(*pair) for pair in zip(scores, marks, strict=True))
        lines.append(
            f'<tr><td>{html.escape(name)}</td>{cells}<td class="about">{better(name)}</td></tr>'
        )
    heads = "".join(f'<th class="n">{html.escape(name)}</th>' for name in names)
    inner = (
        f'<div class="wide"><table><tr><th>score</th>{heads}<th></th></tr>{"".join(lines)}'
        "</table></div>"
    )
    return page.section("Scores", inner, legend)


def _cell(score: Score | None, mark: str) -> str:
    text = page.with_error(score) if score else "-"
    return f'<td class="n">{f"<b>{text}</b>" if mark == "*" else text} {mark or "&nbsp;"}</td>'


def _responses(results: Results, units: Sequence[str]) -> list[str]:
    judges = dict.fromkeys(one.judge for result in results.values() for one in result.responses)
    cards = []
    for judge in judges:
        lines = {
            name: (_only(one, result, units), slopes(result, judge))
            for name, result in results.items()
            for one in result.responses
            if one.judge == judge
        }
        inner = controllability(lines, units)
        cards.append(page.section(f"Controllability, {judge}", inner, HOW_TO_READ_RESPONSES))
    return cards


def _only(response: Response, result: Result, units: Sequence[str]) -> Response:
    """Of these action units, in this order."""
    rows = [result.action_units.index(unit) for unit in units]
    return response._replace(measured=response.measured[rows], error=response.error[rows])


def _units(results: Results, units: Sequence[str]) -> str:
    """One table a judge: each metric, and under it each run."""
    found = {name: unit_groups(result) for name, result in results.items()}
    heads = dict.fromkeys(head for groups in found.values() for head in groups)
    tables = []
    for head in heads:
        having = {name: groups[head] for name, groups in found.items() if head in groups}
        first = next(iter(having.values()))
        groups = [
            page.Group(
                column.name,
                [
                    page.Column(name, one.scores, one.direction)
                    for name, group in having.items()
                    for one in group.columns
                    if one.name == column.name
                ],
                first.quality,
            )
            for column in first.columns
        ]
        tables.append(page.section(first.title, page.unit_table(units, groups)))
    return "".join(tables)
