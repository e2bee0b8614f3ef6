"""The few scores that show how well a model works, with a line on how to read each."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from ganimation_jax.evaluation.judges import OWN
from ganimation_jax.evaluation.results import Result, Section
from ganimation_jax.evaluation.scores import Score, baselines, totals


class Headline(NamedTuple):
    """A score with what to compare it with."""

    title: str
    score: Score
    baselines: dict[str, Score]
    reading: str


SHOWN_AS = {OWN: "The model itself", "mediapipe": "MediaPipe", "openface": "OpenFace"}


class _Rule(NamedTuple):
    where: str  # kind of a section, or group of a score
    name: str  # of the score; "" for all
    title: str  # {judge}: who read; {name}: the score's name
    read: Callable[[float, Mapping[str, float]], str]
    judge: str = ""  # only if this one read


def headlines(result: Result) -> Iterator[Headline]:
    """The headlines of a result, the most telling first."""
    for rule in _RULES:
        for section in result.sections:
            if not rule.judge or rule.judge == section.judge:
                for score in totals(section.scores):
                    # A score of another group in a section is not of its kind.
                    kind = section.kind if score.group in ("", section.name) else ""
                    here = rule.where in (kind, score.group)
                    if here and rule.name in ("", score.name):
                        yield _headline(rule, score, section)


def _headline(rule: _Rule, score: Score, section: Section) -> Headline:
    judge = SHOWN_AS.get(section.judge, section.judge)
    title = rule.title.format(judge=judge, name=score.name)
    beside = baselines(score, section.scores)
    values = {name: baseline.value for name, baseline in beside.items()}
    known = math.isfinite(score.value)
    return Headline(title, score, beside, rule.read(score.value, values) if known else "")


def _follows(slope: float, baselines: Mapping[str, float]) -> str:
    scale = "(1: exactly as requested, 0: not at all)"
    if slope > 1.3:
        return f"Edits overshoot {scale}."
    if slope > 0.7:
        return f"Edits follow the request {scale}."
    return f"Edits fall short {scale}." if slope > 0.3 else f"Edits hardly follow {scale}."


def _agrees(r: float, baselines: Mapping[str, float]) -> str:
    words = ((0.7, "Strong"), (0.4, "Clear"), (0.2, "Weak"), (-math.inf, "Hardly any"))
    word = next(word for bound, word in words if r >= bound)
    return f"{word} agreement (1: perfect, 0: chance)."


def _off(mae: float, baselines: Mapping[str, float]) -> str:
    rival = baselines.get("no_edit", math.nan)
    if math.isnan(rival):
        return "Mean distance from the request; intensities run from 0 to 1."
    verb = "Nearer to" if mae < rival else "No nearer to"
    return f"{verb} the request than the unedited picture."


def _same_person(distance: float, baselines: Mapping[str, float]) -> str:
    same, other = baselines.get("same_person", math.nan), baselines.get("other_person", math.nan)
    if math.isnan(same):
        return "Euclidean; below 0.6 the network assigns two pictures to one person."
    if distance < same:
        return "Closer to its source than another picture of the same person is."
    if distance < other:
        return (
            "Further from its source than another picture of the same person, nearer than "
            "another person."
        )
    return "As far from its source as another person: identity is lost." if other == other else ""


def _set_distance(value: float, baselines: Mapping[str, float]) -> str:
    return "Distance of edits from real faces; near 0 the network cannot tell the two sets apart."


def _fidelity(psnr: float, baselines: Mapping[str, float]) -> str:
    rival = baselines.get("no_edit", math.nan)
    if math.isnan(rival):
        return "dB; higher is nearer, 100 is equality."
    verb = "Nearer to" if psnr > rival else "No nearer to"
    return f"dB; {verb.lower()} the true picture than the unedited one."


def _overlaps(iou: float, baselines: Mapping[str, float]) -> str:
    if iou <= baselines.get("everything", 0):
        return "The mask finds the changing pixels no better than painting everything."
    return "The mask finds the changing pixels (1: exactly)."


def _keeps(share: float, baselines: Mapping[str, float]) -> str:
    if share > 0.97:
        return "Nearly all of the source is kept: little is painted. Pixels may be moved."
    if share < 0.1:
        return "Nearly everything is painted anew: the mask does not localise."
    return "Share of the source that the mask keeps."


_RULES = (
    _Rule("control", "slope", "{judge}: slope of read against requested intensity", _follows),
    _Rule("true_edit", "psnr", "PSNR to the true edit of the person", _fidelity),
    _Rule("edits", "r", "{judge}: requested and read intensities correlate", _agrees),
    _Rule("edits", "mae", "{judge}: mean error of edits", _off),
    _Rule("edit_response", "r", "The model itself: requested and read changes correlate", _agrees),
    _Rule("truth", "psnr", "PSNR to the true edit", _fidelity),
    _Rule("truth", "attention_iou", "Painted against truly changed, IoU", _overlaps),
    _Rule("reconstruction", "psnr", "PSNR of edits undone", _fidelity),
    _Rule("identity", "distance", "Distance of faces, source to edit", _same_person),
    _Rule("sets", "", "{name}", _set_distance),
    _Rule("attention", "mean", "Attention: share kept", _keeps),
    _Rule("real", "r", "The model as a reader of real faces: correlation", _agrees, OWN),
)
