"""``report/index.html``: one file, no network, that shows how well a model works."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ganimation_jax.evaluation import unit_tables
from ganimation_jax.evaluation.headlines import headlines
from ganimation_jax.evaluation.results import Result, Section, to_json
from ganimation_jax.evaluation.scores import baselines, totals
from ganimation_jax.files.atomic import write_atomically
from ganimation_jax.reports import charts, page

# Held-out scores whose course during training is shown; all others would be too many.
FOLLOWED = (
    *("own_on_real/r", "own_on_edits/r", "edit_response/r", "edit_response/pixels"),
    *("truth/psnr", "true_edit/psnr", "reconstruction/psnr", "attention/mean"),
)
FEW = 40  # points that are marked one by one
History = Sequence[Mapping[str, float | None]]


def write_report(
    folder: Path, result: Result, pictures: Mapping[str, np.ndarray], history: History
) -> Path:
    """Write ``report.json`` and ``index.html``.

    Args:
      folder: for them; made if absent.
      result: what was found.
      pictures: title -> uint8 ``h w 3``, grids of samples.
      history: records of ``metrics.jsonl`` of the model's training; empty if it is not known.

    Returns:
      The page. Either file is complete or as it was before.

    Raises:
      ValueError: the result does not fit together (``results.to_json``).
      OSError: they cannot be written.
    """
    record = to_json(result)
    lines = {one.judge: (one, unit_tables.slopes(result, one.judge)) for one in result.responses}
    text = page.render(
        "evaluation",
        title=f"Evaluation of {result.facts.get('run', folder.name)}",
        facts=result.facts,
        headlines=list(headlines(result)),
        missing=[one for one in result.sections if one.missing],
        control=unit_tables.controllability(lines, result.action_units),
        responses_note=unit_tables.RESPONSES_NOTE,
        units=unit_tables.table(result.action_units, list(unit_tables.groups(result).values())),
        units_note=unit_tables.UNITS_NOTE,
        sections=[_card(one) for one in result.sections if not one.missing],
        pictures={title: page.data_uri(pixels) for title, pixels in pictures.items()},
        panels=training_curves(history),
        all_scores=[score for one in result.sections for score in one.scores],
        config=json.dumps(result.config, indent=2, default=str),
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "report.json", record)
    write_atomically(folder / "index.html", text)
    return folder / "index.html"


def _card(section: Section) -> dict[str, Any]:
    shown = totals(section.scores)
    named = {(score.group, score.name) for score in shown}
    # Such as a count, which is of baselines only.
    alone = [score for score in section.scores if score[:2] not in named and not score.unit]
    rows = [
        {
            "label": page.words(score.name if score.group == section.name else score.key),
            "score": score,
            "baselines": baselines(score, section.scores),
        }
        for score in shown
    ]
    rows += [
        {"label": page.words(f"{one.name}, {one.baseline}"), "score": one, "baselines": {}}
        for one in alone
    ]
    return {"title": section.title, "about": section.about, "rows": rows}


def training_curves(history: History) -> list[dict[str, Any]]:
    """The course of each training metric, and of the main held-out scores, over images.

    Args:
      history: records of ``metrics.jsonl``; values that were not finite are None there.
    """
    # Scores of held-out faces come in records of their own: with a score for each condition.
    scored = [any(name in record for name in FOLLOWED) for record in history]
    trained = {
        name
        for record, is_scored in zip(history, scored, strict=True)
        if not is_scored
        for name in record
    }
    names = [name for name in dict.fromkeys(n for r in history for n in r) if name in trained]
    panels = []
    for name in [*names, *FOLLOWED]:
        points = [
            (record["images"], record[name])
            for record in history
            if name != "images" and record.get(name) is not None
        ]
        if points:
            x, y = np.array(points, np.float64).T
            drawing = charts.chart([charts.Line(x, y)], (300, 180), markers=len(x) < FEW)
            panels.append({"title": name, "drawing": drawing})
    return panels
