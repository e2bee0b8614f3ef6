"""``report.html``: one file, no network, that shows what a dataset holds and lacks."""

import base64
import html
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image

from ganimation_jax.action_units import ANATOMY
from ganimation_jax.data.dataset import SPLITS
from ganimation_jax.files.atomic import write_atomically
from ganimation_jax.prepare.card import About
from ganimation_jax.prepare.merge import Merged
from ganimation_jax.prepare.survey import ACTIVE, Example, Survey
from ganimation_jax.reports import svg

THUMB = 96  # pixels

STYLE = """
*{box-sizing:border-box}
body{margin:0;background:#f5f7f9;color:#1f2933;
  font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1200px;margin:0 auto;padding:36px 28px 60px}
h1{font-size:28px;margin:0 0 4px}h2{font-size:19px;margin:0 0 4px}
.sub{color:#616e7c;margin:0 0 22px}.note{color:#616e7c;font-size:13.5px;margin:0 0 16px}
section,.tile{background:#fff;border:1px solid #e4e7eb;border-radius:10px}
section{padding:22px 24px;margin:0 0 20px}.tile{padding:14px 18px}
.tiles{display:grid;grid-template-columns:repeat(4,1fr);gap:14px;margin:0 0 20px}
.tile b{display:block;font-size:26px;line-height:1.25}.tile span{color:#616e7c;font-size:13px}
.two{display:grid;grid-template-columns:1fr 1fr;gap:36px}
.sheet{display:grid;grid-template-columns:repeat(10,1fr);gap:10px}
figure{margin:0}img{display:block;width:100%;border-radius:5px}
figcaption{font-size:10.5px;line-height:1.3;color:#616e7c;text-align:center;margin-top:3px}
.unit{display:grid;grid-template-columns:236px 1fr;gap:26px;padding:16px 0}
.unit{border-top:1px solid #e4e7eb}
.unit h3{margin:0;font-size:16px}.unit p{margin:0 0 6px;color:#616e7c;font-size:13px}
.strip{display:grid;grid-template-columns:34px repeat(10,1fr);gap:6px;margin-bottom:6px}
.strip{align-items:center}
.strip>span{font-size:12px;color:#616e7c}
table.bars{border-collapse:collapse;width:100%;font-size:14px}
.bars td{padding:3px 10px 3px 0;white-space:nowrap}.bars .n{text-align:right;
  font-variant-numeric:tabular-nums}.bars .bar{width:55%;padding-right:0}
.bar div{height:12px;border-radius:3px}
svg text{font:11px system-ui,sans-serif;fill:#616e7c}svg .value{font-size:10.5px}
svg .value[fill="#fff"]{fill:#fff}
.beside{display:flex;gap:40px;overflow-x:auto}.beside>div:last-child{flex:1;min-width:220px}
@media(max-width:800px){.two,.unit{grid-template-columns:1fr}.tiles{grid-template-columns:1fr 1fr}
.sheet{grid-template-columns:repeat(5,1fr)}}
"""


def write_report(path: Path, crops: Path, merged: Merged, about: About) -> None:
    """Write the report; ``crops`` is where the pictures are."""
    survey = merged.survey
    body = [
        f"<h1>{html.escape(about.origin or 'Faces')}</h1>",
        f'<p class="sub">Action units by {html.escape(about.annotator)}. Licence of the pictures:'
        f" {html.escape(about.licence)}.</p>",
        _tiles(merged),
        f'<section class="two"><div><h2>Splits</h2>{_splits(survey)}</div>'
        f"<div><h2>Skipped</h2>{_reasons(merged)}</div></section>",
        _sheet(survey, crops),
        _correlation(survey),
        _units(survey, about, crops),
    ]
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(about.origin or 'Faces')}</title><style>{STYLE}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )
    write_atomically(path, page.encode())


def _tiles(merged: Merged) -> str:
    survey = merged.survey
    people = len(set.union(*survey.people.values()))
    tiles = [
        (f"{survey.count:,}", "faces"),
        (f"{people:,}" if people else "not known", "people"),
        (str(len(merged.action_units)), "action units"),
        (f"{merged.reasons.total():,}", "skipped"),
    ]
    inner = "".join(
        f'<div class="tile"><b>{value}</b><span>{name}</span></div>' for value, name in tiles
    )
    return f'<div class="tiles">{inner}</div>'


def _splits(survey: Survey) -> str:
    sides = [(f"{side}-{2 * side - 1} px", count) for side, count in sorted(survey.sides.items())]
    return (
        svg.bars([(split, survey.splits[split]) for split in SPLITS])
        + '<h2 style="margin-top:20px">Size in the source</h2>'
        + svg.bars(sides)
    )


def _reasons(merged: Merged) -> str:
    if not merged.reasons:
        return '<p class="note">Nothing.</p>'
    note = '<p class="note">skipped.csv names every one.</p>'
    return note + svg.bars(merged.reasons.most_common(), svg.RED)


def _sheet(survey: Survey, crops: Path) -> str:
    faces = "".join(
        _figure(example, crops, _strongest(survey, example)) for example in survey.sheet
    )
    return (
        "<section><h2>Faces</h2>"
        f'<p class="note">Drawn at random, with their strongest action units (from {ACTIVE:g}).</p>'
        f'<div class="sheet">{faces}</div></section>'
    )


def _correlation(survey: Survey) -> str:
    counts = (survey.active * survey.count).round().astype(int).tolist()
    active = svg.bars(list(zip(survey.action_units, counts, strict=True)))
    return (
        "<section><h2>Co-activation</h2>"
        '<p class="note">Correlation between the intensities of two action units over all faces:'
        " red rise together, blue exclude each other.</p>"
        f'<div class="beside"><div>{svg.heat_map(survey.correlation, survey.action_units)}</div>'
        f'<div><h2>Active</h2><p class="note">Faces with an intensity from {ACTIVE:g}.</p>'
        f"{active}</div></div></section>"
    )


def _units(survey: Survey, about: About, crops: Path) -> str:
    actions = {unit.code: unit.action for unit in ANATOMY}
    rows = []
    for unit, code in enumerate(survey.action_units):
        quality = (about.quality or {}).get(code)
        figures = (
            f"mean {survey.mean[unit]:.2f} &middot; sd {survey.deviation[unit]:.2f}"
            f" &middot; active {survey.active[unit]:.0%}"
        )
        note = f"<p>{html.escape(quality)}</p>" if quality else ""
        strips = _strip("high", survey.high(unit), unit, crops) + _strip(
            "low", survey.low(unit), unit, crops
        )
        rows.append(
            f'<div class="unit"><div><h3>{code} {actions[code]}</h3><p>{figures}</p>{note}'
            f"{svg.histogram(survey.histogram[unit])}</div><div>{strips}</div></div>"
        )
    return (
        "<section><h2>Action units</h2>"
        '<p class="note">Histogram of intensities 0-5 (heights: square root of the share), and the'
        f" faces with the most and the least.</p>{''.join(rows)}</section>"
    )


def _strip(name: str, examples: Iterable[Example], unit: int, crops: Path) -> str:
    faces = "".join(_figure(one, crops, f"{one.aus[unit]:.2f}") for one in examples)
    return f'<div class="strip"><span>{name}</span>{faces}</div>'


def _figure(example: Example, crops: Path, caption: str) -> str:
    with Image.open(crops / f"{example.id}.jpg") as crop:
        small = crop.resize((THUMB, THUMB), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=82)
    source = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
    return (
        f'<figure title="{html.escape(example.id)}"><img alt="" src="{source}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _strongest(survey: Survey, example: Example, most: int = 2) -> str:
    pairs: Sequence[tuple[float, str]] = sorted(
        zip(example.aus, survey.action_units, strict=True), reverse=True
    )
    named = [f"{code}&nbsp;{value:.1f}" for value, code in pairs[:most] if value >= ACTIVE]
    return "<br>".join(named) or "neutral"
