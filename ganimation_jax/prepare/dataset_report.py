"""``report.html``: one file, no network, that shows what a dataset holds and lacks."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ganimation_jax.action_units import ANATOMY
from ganimation_jax.data.records import SPLITS
from ganimation_jax.files.atomic import write_atomically
from ganimation_jax.prepare.card import About
from ganimation_jax.prepare.merge import Merged
from ganimation_jax.prepare.survey import ACTIVE, Example, Survey
from ganimation_jax.reports import charts, page

THUMB = 96  # pixels
THUMB_QUALITY = 82


def write_report(path: Path, crops: Path, merged: Merged, about: About) -> None:
    """Write the report.

    Args:
      path: of the page.
      crops: the folder of the pictures.
      merged: the dataset.
      about: its origin, annotator and licence.

    Raises:
      OSError: it cannot be written, or a crop cannot be read.
    """
    survey = merged.survey
    people = len(set.union(*survey.people.values()))
    counts = (survey.active * survey.count).round().astype(int).tolist()
    text = page.render(
        "dataset",
        title=about.origin or "Faces",
        annotator=about.annotator,
        licence=about.licence,
        tiles=[
            (f"{survey.count:,}", "faces"),
            (f"{people:,}" if people else "not known", "people"),
            *_counts(merged),
            (f"{merged.reasons.total():,}", "skipped"),
        ],
        splits=[(split, survey.splits[split]) for split in SPLITS],
        sides=[(f"{side}-{2 * side - 1} px", n) for side, n in sorted(survey.sides.items())],
        reasons=merged.reasons.most_common(),
        active=f"{ACTIVE:g}",
        sheet=[_face(one, crops, _caption(survey, one)) for one in survey.sheet],
        labels=[(str(one), sum(counts)) for one, counts in survey.label_counts],
        correlation=charts.heat_map(survey.correlation, survey.action_units),
        actives=list(zip(survey.action_units, counts, strict=True)),
        units=[_unit(survey, about, crops, unit) for unit in range(len(survey.action_units))],
    )
    write_atomically(path, text)


def _counts(merged: Merged) -> list[tuple[str, str]]:
    counts = {"action units": len(merged.action_units), "labels": len(merged.survey.label_counts)}
    return [(str(count), name) for name, count in counts.items() if count]


def _unit(survey: Survey, about: About, crops: Path, unit: int) -> dict[str, Any]:
    code = survey.action_units[unit]

    def strip(examples: Iterable[Example]) -> list[dict[str, Any]]:
        return [_face(one, crops, [f"{one.aus[unit]:.2f}"]) for one in examples]

    return {
        "code": code,
        "action": next(one.action for one in ANATOMY if one.code == code),
        "figures": f"mean {survey.mean[unit]:.2f} · sd {survey.deviation[unit]:.2f}"
        f" · active {survey.active[unit]:.0%}",
        "quality": (about.quality or {}).get(code, ""),
        "histogram": charts.histogram(survey.histogram[unit]),
        "high": strip(survey.high(unit)),
        "low": strip(survey.low(unit)),
    }


def _face(example: Example, crops: Path, caption: list[str]) -> dict[str, Any]:
    with Image.open(crops / f"{example.id}.jpg") as crop:
        small = crop.convert("RGB").resize((THUMB, THUMB), Image.Resampling.LANCZOS)
    source = page.data_uri(np.asarray(small), THUMB_QUALITY)
    return {"id": example.id, "source": source, "caption": caption}


def _caption(survey: Survey, example: Example, most: int = 2) -> list[str]:
    """The labels that a face shows, or its strongest action units."""
    if survey.labels:
        return list(example.labels) or ["no label"]
    pairs = sorted(zip(example.aus, survey.action_units, strict=True), reverse=True)
    return [f"{code} {value:.1f}" for value, code in pairs[:most] if value >= ACTIVE] or ["neutral"]
