"""The dataset card: ``README.md`` beside the data, in the form that dataset hosts read."""

import math
from pathlib import Path
from typing import NamedTuple

from ganimation_jax.action_units import ANATOMY
from ganimation_jax.data.records import SPLITS
from ganimation_jax.faces.blendshapes import QUALITY, Quality
from ganimation_jax.files.atomic import write_atomically
from ganimation_jax.prepare.merge import Merged
from ganimation_jax.prepare.survey import Survey
from ganimation_jax.prepare.work import Plan
from ganimation_jax.version import __version__


class About(NamedTuple):
    """What the card says beyond what the data show."""

    annotator: str
    origin: str
    licence: str
    quality: dict[str, str] | None = None  # of each action unit; None: not known


def mediapipe_quality() -> dict[str, str]:
    """How well MediaPipe's readings agree with people's coding of each action unit."""
    return {code: _words(quality) for code, quality in QUALITY.items()}


def _words(quality: Quality) -> str:
    if math.isnan(quality.r):
        return "not read"
    if math.isnan(quality.auc):
        return f"low: not compared with people; r {quality.r:.2f} with OpenFace"
    grade = "at chance" if quality.grade == "none" else quality.grade
    return f"{grade}: AUC {quality.auc:.2f} against people, r {quality.r:.2f} with OpenFace"


def write_card(path: Path, merged: Merged, about: About, plan: Plan) -> None:
    """Write the card."""
    write_atomically(path, "\n".join(_lines(merged, about, plan)).encode())


def _lines(merged: Merged, about: About, plan: Plan) -> list[str]:
    survey, size = merged.survey, plan.search.size
    people = set.union(*survey.people.values())
    lines = [
        f"# {about.origin or 'Annotated faces'}",
        "",
        f"{survey.count} face crops of {size} x {size} pixels with {_annotation(merged)}.",
        "",
        "| | |",
        "|---|---|",
        f"| source | {about.origin or 'not stated'} |",
        f"| licence of the pictures | {about.licence} |",
        f"| annotator | {about.annotator or 'none: labels only'} |",
        f"| crops | {_CROPS[plan.search.by]} |",
        f"| faces | {survey.count}: "
        + ", ".join(f"{count} {split}" for split, count in sorted(survey.splits.items()))
        + " |",
        f"| people | {len(people) or 'not known'} |",
        f"| skipped | {merged.reasons.total()} (`skipped.csv` says which and why) |",
        f"| filters | {_filters(plan)} |",
        f"| made by | ganimation_jax {__version__} |",
        "",
        "These are pictures of people. Use them only as their licence and the law allow.",
    ]
    if survey.labels:
        lines += _labels(survey)
    if merged.action_units:
        lines += _units(merged, about)
    if merged.reasons:
        lines += ["", "## Skipped", "", "| reason | count |", "|---|---|"]
        lines += [f"| {reason} | {count} |" for reason, count in merged.reasons.most_common()]
    return [*lines, ""]


def _annotation(merged: Merged) -> str:
    units, labels = len(merged.action_units), len(merged.survey.label_counts)
    parts = [f"the intensities (0-5) of {units} facial action units"] * bool(units)
    return " and ".join(parts + [f"{labels} label{'s' * (labels > 1)}"] * bool(labels))


def _labels(survey: Survey) -> list[str]:
    header = " | ".join(SPLITS)
    lines = ["", "## Labels", "", f"| | kind | {header} |", "|---|---|" + "---|" * len(SPLITS)]
    for one, counts in survey.label_counts:
        kind = f"one of {one.group}" if one.group else "binary"
        lines.append(f"| {one.name} | {kind} | {' | '.join(map(str, counts))} |")
    return lines


def _units(merged: Merged, about: About) -> list[str]:
    survey = merged.survey
    lines = [
        "",
        "## Action units",
        "",
        f"| | | mean | deviation | active (>= 1) | {'annotation' if about.quality else ''} |",
        "|---|---|---|---|---|---|",
    ]
    actions = {unit.code: unit.action for unit in ANATOMY}
    for unit, code in enumerate(merged.action_units):
        figures = f"{survey.mean[unit]:.2f} | {survey.deviation[unit]:.2f}"
        quality = (about.quality or {}).get(code, "")
        lines.append(
            f"| {code} | {actions[code]} | {figures} | {survey.active[unit]:.0%} | {quality} |"
        )
    if absent := [unit.code for unit in ANATOMY if unit.code not in merged.action_units]:
        lines += ["", f"Not in the dataset: {', '.join(absent)}."]
    return lines


_CROPS = {
    "square": "as given, resized",
    "celeba": "as given, or CelebA's alignment brought to the canonical place of the eyes",
    "openface": "aligned by OpenFace's landmarks",
    "mediapipe": "aligned by MediaPipe's landmarks",
}


def _filters(plan: Plan) -> str:
    limits = [
        (plan.min_confidence > 0, f"confidence from {plan.min_confidence:g}"),
        (plan.min_side > 0, f"side from {plan.min_side:g} pixels"),
        (plan.max_turn < 180, f"head turned by up to {plan.max_turn:g} degrees"),
        (plan.blur > 0, f"sharpness from {plan.blur:g}"),
        (plan.every > 1, f"every {plan.every}th frame"),
    ]
    return ", ".join(text for used, text in limits if used) or "none"
