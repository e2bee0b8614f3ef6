"""``report/index.html``: one file, no network, that tells how well a run works."""

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ganimation_jax.action_units import ANATOMY
from ganimation_jax.evaluation import page
from ganimation_jax.evaluation.headlines import headlines
from ganimation_jax.evaluation.results import Response, Result, Section, to_json
from ganimation_jax.evaluation.scores import Score, better, read
from ganimation_jax.files.atomic import write_atomically
from ganimation_jax.reports import charts

PANELS = {
    "critic: edited - real score": ("critic/wasserstein",),
    "critic: input gradient norm": ("critic/gradient_norm",),
    "AU loss": ("critic/aus", "generator/aus"),
    "cycle loss": ("generator/cycle",),
    "attention (share kept)": ("generator/attention_mean",),
    "held-out: requested vs read change, r": ("edit_response/r",),
    "held-out: critic's reading of real faces, r": ("critic_on_real/r",),
    "held-out: mean pixel change of an edit (0-255)": ("edit_response/pixels",),
}
HOW_TO_READ_RESPONSES = (
    "Each action unit alone is asked for at intensities from 0 to 1 (across), and read in the edit "
    "(up), with standard errors. Dotted: exactly as asked. Below: slopes, 1 is perfect control, "
    "0 none. † Low confidence: the judge itself reads this unit badly."
)
History = Sequence[Mapping[str, float]]


def write_report(
    folder: Path, result: Result, pictures: Mapping[str, np.ndarray], history: History
) -> Path:
    """Write ``report/report.json`` and ``report/index.html``.

    Args:
      folder: of the run.
      result: what was found.
      pictures: title -> uint8 ``h w 3``, grids of samples.
      history: records of ``metrics.jsonl``.

    Returns:
      The page. Either file is whole or as it was before.

    Raises:
      ValueError: the result does not fit together (``results.to_json``).
      OSError: they cannot be written.
    """
    target = folder / "report"
    record = to_json(result)
    title = f"Evaluation of {result.facts.get('run', folder.name)}"
    body = [
        f"<h1>{html.escape(title)}</h1>",
        '<p class="sub">Facial expression editing by action units.</p>',
        facts_list(result.facts),
        _headlines(result),
        _missing(result),
        _controllability(result),
        _units(result),
        _sections(result),
        _pictures(pictures),
        training_curves(history),
        _appendix(result),
    ]
    target.mkdir(parents=True, exist_ok=True)
    write_atomically(target / "report.json", record)
    write_atomically(target / "index.html", page.document(title, body))
    return target / "index.html"


def facts_list(facts: Mapping[str, Any]) -> str:
    """What was evaluated, where and when."""
    items = "".join(
        f"<div><dt>{html.escape(name.replace('_', ' '))}</dt><dd>"
        f"{html.escape(f'{value:,}' if isinstance(value, int) else str(value))}</dd></div>"
        for name, value in facts.items()
    )
    return f'<dl class="facts">{items}</dl>'


def controllability(
    lines: Mapping[str, tuple[Response, Mapping[str, Score]]], action_units: Sequence[str]
) -> str:
    """One small chart an action unit.

    Args:
      lines: name -> what is drawn under it, and each action unit's slope.
      action_units: those of all responses.
    """
    if not lines:
        return ""
    actions = {unit.code: unit.action for unit in ANATOMY}
    top = max(float(np.nanmax(one.measured, initial=1)) for one, _ in lines.values())
    charted = []
    for place, unit in enumerate(action_units):
        drawn = charts.chart(
            [
                charts.Line(one.levels, one.measured[place], style, one.error[place])
                for style, (one, _) in enumerate(lines.values())
            ],
            (190, 150),
            (0, 1),
            (0, top),
            identity=True,
            markers=True,
        )
        told = (_slope(name, *line, unit) for name, line in lines.items())
        charted.append(
            f"<div><h3>{html.escape(unit)}</h3><p>{html.escape(actions.get(unit, ''))}</p>{drawn}"
            f"<p>{'<br>'.join(told)}</p></div>"
        )
    keys = charts.key([(name, style) for style, name in enumerate(lines)])
    return f'{keys}<div class="multiples">{"".join(charted)}</div>'


def training_curves(history: History) -> str:
    """The course of training, panel by panel, over thousands of images."""
    # What was not finite is null there.
    records = [{k: v for k, v in record.items() if v is not None} for record in history]
    for record in records:
        if "critic/real" in record and "critic/edited" in record:
            record["critic/wasserstein"] = record["critic/real"] + record["critic/edited"]
    panels = []
    for title, names in PANELS.items():
        lines = {name: _curve(records, name, style) for style, name in enumerate(names)}
        lines = {name: line for name, line in lines.items() if len(line.x)}
        if lines:
            few = max(len(line.x) for line in lines.values()) < 40
            drawn = charts.chart(list(lines.values()), (300, 180), markers=few)
            key = charts.key([(name, line.style) for name, line in lines.items()])
            panels.append(f"<div><h3>{title}</h3>{drawn}{key if len(lines) > 1 else ''}</div>")
    if not panels:
        return ""
    note = "Across: images trained on. Long curves are averaged over neighbouring records."
    return page.section("Training", f'<div class="panels">{"".join(panels)}</div>', note)


def _curve(records: History, name: str, style: int) -> charts.Line:
    points = [(record["images"], record[name]) for record in records if name in record]
    x, y = np.array(points, np.float64).reshape(-1, 2).T
    return charts.Line(x, y, style)


def _slope(name: str, response: Response, slopes: Mapping[str, Score], unit: str) -> str:
    quality = response.quality.get(unit, "good")
    if quality == "none":
        return f"{html.escape(name)}: not judged"
    slope = page.with_error(slopes[unit]) if unit in slopes else "-"
    return f"{html.escape(name)}: {slope}{'†' if quality == 'low' else ''}"


def slopes(result: Result, judge: str) -> dict[str, Score]:
    """The slope of each action unit's response; empty if it was not measured."""
    for section in result.sections:
        units = read(section, result.action_units)[1]
        if f"controllability_{judge}" in units:
            return units[f"controllability_{judge}"]
    return {}


def unit_groups(result: Result) -> dict[str, page.Group]:
    """Scores of single action units: judge and images, such as "critic_on_real" -> columns."""
    groups = {}
    for section in result.sections:
        units = read(section, result.action_units)[1]
        heads = list(dict.fromkeys(name.partition("/")[0] for name in units))
        for head in heads:
            columns = [
                page.Column(_metric(name), scores, better(name))
                for name, scores in units.items()
                if name.partition("/")[0] == head
            ]
            title = section.title if len(heads) == 1 else head.replace("_", " ")
            groups[head] = page.Group(title, columns, result.quality(head))
    return groups


def _metric(name: str) -> str:
    return name.partition("/")[2] or "slope"


def _headlines(result: Result) -> str:
    tiles = []
    for one in headlines(result):
        against = f"<p>{page.notes(one.baselines)}</p>" if one.baselines else ""
        tiles.append(
            f'<div class="tile"><h3>{html.escape(one.title)}</h3><b>{page.with_error(one.score)}'
            f"</b>{against}<p>{html.escape(one.reading)}</p></div>"
        )
    return f'<h2>How well does it work?</h2><div class="tiles">{"".join(tiles)}</div>'


def _missing(result: Result) -> str:
    items = "".join(
        f"<tr><td>{html.escape(one.title)}</td><td>{html.escape(one.missing)}</td></tr>"
        for one in result.sections
        if one.missing
    )
    return page.section("Not measured", f"<table>{items}</table>") if items else ""


def _controllability(result: Result) -> str:
    if not result.responses:
        return ""
    lines = {one.judge: (one, slopes(result, one.judge)) for one in result.responses}
    return page.section(
        "Controllability", controllability(lines, result.action_units), HOW_TO_READ_RESPONSES
    )


def _units(result: Result) -> str:
    groups = list(unit_groups(result).values())
    if not groups:
        return ""
    note = (
        "mae: mean absolute error, intensities 0-1. r: correlation. icc: agreement, ICC(3,1). "
        "† Low confidence: the judge itself reads this unit badly. 'Not judged': it cannot read "
        "it. '-': not defined, as for a unit that never varies."
    )
    table = page.unit_table(result.action_units, groups)
    return page.section("Action units one by one", table, note)


def _sections(result: Result) -> str:
    measured = [one for one in result.sections if not one.missing]
    cards = "".join(_section(one, result.action_units) for one in measured)
    return f'<div class="cards">{cards}</div>'


def _section(section: Section, action_units: Sequence[str]) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(_label(score.name, section))}</td>"
        f'<td class="n">{page.with_error(score)}</td><td>{page.notes(score.notes)}</td>'
        f'<td class="about">{better(score.name)}</td></tr>'
        for score in read(section, action_units)[0]
    )
    return page.section(section.title, f"<table>{rows}</table>", section.about)


def _label(name: str, section: Section) -> str:
    if name == section.name:
        return "mean slope" if name.startswith("controllability_") else name
    return name.removeprefix(f"{section.name}/").replace("_", " ")


def _pictures(pictures: Mapping[str, np.ndarray]) -> str:
    if not pictures:
        return ""
    shown = "".join(page.picture(title, pixels) for title, pixels in pictures.items())
    return page.section("Samples", shown)


def _appendix(result: Result) -> str:
    scores = {name: value for one in result.sections for name, value in one.scores.items()}
    rows = "".join(
        f'<tr><td>{html.escape(name)}</td><td class="n">{page.number(value)}</td></tr>'
        for name, value in scores.items()
    )
    config = html.escape(json.dumps(result.config, indent=2, default=str))
    return (
        f"<section><details><summary>All scores</summary><table>{rows}</table></details></section>"
        f"<section><details><summary>Config</summary><pre>{config}</pre></details></section>"
    )
