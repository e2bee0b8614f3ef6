"""The look of the reports' pages: a self-contained document, its tables and pictures."""

import base64
import html
import io
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from ganimation_jax.action_units import ANATOMY
from ganimation_jax.evaluation.scores import HIGHER, ONE, Score

STYLE = """
*{box-sizing:border-box}
body{margin:0;background:#f5f7f9;color:#1f2933;
  font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1240px;margin:0 auto;padding:36px 28px 60px}
h1{font-size:28px;margin:0 0 4px}h2{font-size:19px;margin:0 0 4px}h3{font-size:14px;margin:0}
.sub{color:#616e7c;margin:0 0 18px}.note{color:#616e7c;font-size:13.5px;margin:0 0 14px;
  max-width:900px}
section,.tile{background:#fff;border:1px solid #e4e7eb;border-radius:10px}
section{padding:22px 24px;margin:0 0 20px}
.loud{border:2px solid #b23c17;border-radius:10px;background:#fff;padding:12px 18px;
  margin:0 0 20px}.loud p{margin:4px 0}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(270px,1fr));gap:14px;
  margin:0 0 20px}
.tile{padding:14px 18px}.tile b{font-size:26px;line-height:1.3;font-weight:650}
.tile h3{color:#3e4c59;font-weight:600}.tile p{margin:2px 0 0;font-size:13px;color:#616e7c}
.pm{font-size:.8em;color:#616e7c;font-weight:400;white-space:nowrap}
dl.facts{display:flex;flex-wrap:wrap;gap:6px 30px;margin:0 0 22px}
dl.facts div{min-width:0}dt{font-size:12px;color:#616e7c}dd{margin:0;overflow-wrap:anywhere}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:13.5px;font-variant-numeric:tabular-nums}
th{text-align:left;font-weight:600;vertical-align:bottom}
td,th{padding:3px 10px;border-bottom:1px solid #eceff2}
td.n,th.n{text-align:right;white-space:nowrap}td:first-child,th:first-child{padding-left:0}
th.group{border-left:1px solid #cbd2d9;text-align:center}.first{border-left:1px solid #cbd2d9}
td.none{text-align:center;color:#7b8794;font-style:italic}td.low{color:#7b8794;font-style:italic}
tfoot td{border-top:1px solid #9aa5b1;border-bottom:0;font-weight:600}
tfoot tr+tr td{border-top:0;font-weight:400}
.units td,.units th{padding:3px 7px;white-space:nowrap}
.units .group{white-space:normal}
.cards{display:grid;grid-template-columns:1fr 1fr;gap:20px;margin:0 0 20px}
.cards section{margin:0;overflow-x:auto}
.cards td{white-space:nowrap}.cards td:nth-child(3){white-space:normal}
@media(max-width:900px){.cards{grid-template-columns:1fr}}
.about{color:#616e7c;font-size:13px}
.multiples{display:grid;grid-template-columns:repeat(auto-fill,minmax(170px,1fr));gap:16px 12px}
.panels{display:grid;grid-template-columns:repeat(auto-fill,minmax(250px,1fr));gap:18px}
.multiples p,.panels p{margin:0;font-size:12px;color:#616e7c}
svg{display:block;width:100%;height:auto}svg text{font:10.5px system-ui,sans-serif;fill:#616e7c}
.key{display:flex;flex-wrap:wrap;gap:4px 20px;margin:0 0 12px;font-size:13px}
.key span{display:flex;align-items:center;gap:7px}.key svg{width:30px;flex:none}
figure{margin:0 0 18px}figcaption{font-weight:600;margin-bottom:6px}img{max-width:100%}
summary{cursor:pointer;font-size:19px;font-weight:700}
pre{overflow-x:auto;font-size:12.5px;line-height:1.45;margin:12px 0 0}
@media print{body{background:#fff;font-size:12px}main{max-width:none;padding:0}
  section,.tile{break-inside:avoid;border-color:#bbb}section:has(table){break-inside:auto}}
"""


class Column(NamedTuple):
    """A column of a table of action units."""

    name: str
    scores: Mapping[str, Score]  # action unit -> score
    direction: str = ""  # as of ``scores.better``: good cells are shaded


class Group(NamedTuple):
    """Columns of one judge."""

    title: str
    columns: Sequence[Column]
    quality: Mapping[str, str]  # action unit -> "good", "low" or "none"


def document(title: str, body: Sequence[str]) -> str:
    """A page that needs nothing else."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )


def section(title: str, inner: str, note: str = "") -> str:
    """A card; the title and the note are plain text."""
    about = f'<p class="note">{html.escape(note)}</p>' if note else ""
    return f"<section><h2>{html.escape(title)}</h2>{about}{inner}</section>"


def number(value: float) -> str:
    """At most four digits that matter; "-" for NaN."""
    if math.isnan(value):
        return "-"
    if float(value).is_integer() and abs(value) < 1e12:
        return f"{value:,.0f}"
    size = abs(value)
    if size < 0.01:
        return f"{value:.2g}"
    return f"{value:.{3 if size < 10 else 1 if size < 1000 else 0}f}"


def with_error(score: Score) -> str:
    """``0.41 ± 0.02``, as HTML."""
    if not score.error > 0:  # NaN, or exact
        return number(score.value)
    places = min(max(1 - math.floor(math.log10(score.error)), 0), 4)  # two digits of the error
    return f'{score.value:.{places}f} <span class="pm">± {score.error:.{places}f}</span>'


def notes(scores: Mapping[str, Score]) -> str:
    """Baselines and remarks in a row, as HTML."""
    words = (
        f"{html.escape(word.replace('_', ' '))}&nbsp;{with_error(one)}"
        for word, one in scores.items()
    )
    return "; ".join(words)


def unit_table(action_units: Sequence[str], groups: Sequence[Group]) -> str:
    """Action units in rows, judges in columns; means count well judged units only.

    What a judge cannot read is marked, never averaged in.
    """
    actions = {unit.code: unit.action for unit in ANATOMY}
    top = "".join(
        f'<th class="group" colspan="{len(group.columns)}">{html.escape(group.title)}</th>'
        for group in groups
    )
    names = "".join(
        f'<th class="n{" first" if not place else ""}">{html.escape(column.name)}</th>'
        for group in groups
        for place, column in enumerate(group.columns)
    )
    rows = "".join(
        f"<tr><td>{html.escape(unit)}</td><td>{html.escape(actions.get(unit, ''))}</td>"
        f"{''.join(_cells(group, unit) for group in groups)}</tr>"
        for unit in action_units
    )
    means = _means(action_units, groups, "good", "mean of units judged well")
    if any("low" in group.quality.values() for group in groups):
        means += _means(action_units, groups, "low", "mean of low confidence†")
    return (
        f'<div class="wide"><table class="units"><thead><tr><th colspan="2"></th>{top}</tr>'
        f"<tr><th>unit</th><th>action</th>{names}</tr></thead><tbody>{rows}</tbody>"
        f"<tfoot>{means}</tfoot></table></div>"
    )


def _cells(group: Group, unit: str) -> str:
    quality = group.quality.get(unit, "good")
    if quality == "none":
        return f'<td class="none first" colspan="{len(group.columns)}">not judged</td>'
    cells = []
    for place, column in enumerate(group.columns):
        score = column.scores.get(unit)
        value = score.value if score else math.nan
        kind = "n" + (" first" if not place else "") + (" low" if quality == "low" else "")
        strength = 0.32 * _goodness(value, column.direction)
        shade = f' style="background:rgba(28,93,153,{strength:.2f})"' if strength else ""
        tip = f' title="± {number(score.error)}"' if score and score.error == score.error else ""
        mark = "†" if quality == "low" else ""
        text = "-" if math.isnan(value) else f"{value:.2f}"
        cells.append(f'<td class="{kind}"{shade}{tip}>{text}{mark}</td>')
    return "".join(cells)


def _goodness(value: float, direction: str) -> float:
    """From 0 to 1, for scores that are best at 1; 0 for others."""
    if math.isnan(value) or direction not in (HIGHER, ONE):
        return 0
    return min(max(value, 0), 1) if direction == HIGHER else max(1 - abs(1 - value), 0)


def _means(action_units: Sequence[str], groups: Sequence[Group], quality: str, title: str) -> str:
    cells = []
    for group in groups:
        units = [unit for unit in action_units if group.quality.get(unit, "good") == quality]
        for place, column in enumerate(group.columns):
            values = [column.scores[unit].value for unit in units if unit in column.scores]
            known = [value for value in values if not math.isnan(value)]
            mean = (
                f'{np.mean(known):.2f}&nbsp;<span class="pm">({len(known)})</span>' if known else ""
            )
            cells.append(f'<td class="n{" first" if not place else ""}">{mean}</td>')
    return f'<tr><td colspan="2">{title}</td>{"".join(cells)}</tr>'


def picture(title: str, pixels: np.ndarray) -> str:
    """An image, uint8 ``h w 3``, inside the page."""
    buffer = io.BytesIO()
    # Full colour resolution: halved, red lips bleed. A PNG of faces is five times larger.
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90, subsampling=0)
    source = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
    name = html.escape(title)
    return f'<figure><figcaption>{name}</figcaption><img alt="{name}" src="{source}"></figure>'
