"""The few numbers that tell how well a run works, and a line on how to read each."""

import fnmatch
import math
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from ganimation_jax.evaluation.results import Result
from ganimation_jax.evaluation.scores import Score, read


class Headline(NamedTuple):
    """A number with what to hold it against."""

    title: str
    score: Score
    baselines: dict[str, Score]
    reading: str


class _Rule(NamedTuple):
    pattern: str  # of the score's name
    title: str  # {judge}: the first word of the name; {name}: its last
    read: Callable[[float, Mapping[str, float]], str]
    siblings: tuple[str, ...] = ()  # baselines that stand beside the score, not below it


def headlines(result: Result) -> Iterator[Headline]:
    """Those of a result that are known, the most telling first."""
    found = {
        score.name: score
        for section in result.sections
        for score in read(section, result.action_units)[0]
    }
    for rule in _RULES:
        for name in fnmatch.filter(found, rule.pattern):
            yield _headline(rule, found[name], found)


def _headline(rule: _Rule, score: Score, found: Mapping[str, Score]) -> Headline:
    folder, _, last = score.name.rpartition("/")
    head = score.name.partition("/")[0].removeprefix("controllability_")
    title = rule.title.format(judge=head.partition("_on_")[0], name=last)
    beside = {
        word: found[f"{folder}/{word}"] for word in rule.siblings if f"{folder}/{word}" in found
    }
    baselines = beside | score.notes
    if "unread" in baselines and not baselines["unread"].value:
        del baselines["unread"]  # the judge found every face
    values = {word: baseline.value for word, baseline in baselines.items()}
    known = math.isfinite(score.value)
    return Headline(title, score, baselines, rule.read(score.value, values) if known else "")


def _obeys(slope: float, baselines: Mapping[str, float]) -> str:
    scale = "(1: exactly as asked, 0: not at all)"
    if slope > 1.3:
        return f"Edits overshoot {scale}."
    if slope > 0.7:
        return f"Edits do what is asked for {scale}."
    return f"Edits fall short {scale}." if slope > 0.3 else f"Edits hardly follow {scale}."


def _agrees(r: float, baselines: Mapping[str, float]) -> str:
    words = ((0.7, "Strong"), (0.4, "Clear"), (0.2, "Weak"), (-math.inf, "Hardly any"))
    word = next(word for bound, word in words if r >= bound)
    return f"{word} agreement (1: perfect, 0: chance)."


def _off(mae: float, baselines: Mapping[str, float]) -> str:
    rival = baselines.get("no_edit", math.nan)
    if math.isnan(rival):
        return "Mean distance from what was asked for; intensities run from 0 to 1."
    verb = "Nearer to" if mae < rival else "No nearer to"
    return f"{verb} what was asked for than the unedited picture."


def _same_person(distance: float, baselines: Mapping[str, float]) -> str:
    same, other = baselines.get("same_person", math.nan), baselines.get("other_person", math.nan)
    if math.isnan(same):
        return "Euclidean; below 0.6 the network takes two pictures for one person."
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
        return "dB; higher is nearer, 100: the very picture."
    verb = "Nearer to" if psnr > rival else "No nearer to"
    return f"dB; {verb.lower()} the true picture than the unedited one."


def _overlaps(iou: float, baselines: Mapping[str, float]) -> str:
    if iou <= baselines.get("everything", 0):
        return "The mask finds what must change no better than painting everything."
    return "The mask finds what must change (1: exactly)."


def _keeps(share: float, baselines: Mapping[str, float]) -> str:
    if share > 0.97:
        return "Nearly all of the source is kept: the edit does next to nothing."
    if share < 0.1:
        return "Nearly everything is painted anew: the mask does not localise."
    return "Share of the source that the mask keeps."


_RULES = (
    _Rule("controllability_*", "{judge}: slope of read against asked intensity", _obeys),
    _Rule("*_on_edits/r", "{judge}: requested and read intensities correlate", _agrees),
    _Rule("*_on_edits/mae", "{judge}: mean error of edits", _off),
    _Rule("edit_response/r", "Critic: requested and read changes correlate", _agrees),
    _Rule("truth/psnr", "PSNR to the true edit", _fidelity),
    _Rule("truth/attention_iou", "Painted against truly changed, IoU", _overlaps),
    _Rule("reconstruction/psnr", "PSNR, there and back again", _fidelity),
    _Rule(
        "identity/distance",
        "Distance of faces, source to edit",
        _same_person,
        ("same_person", "other_person"),
    ),
    _Rule("*KID-*", "{name}", _set_distance),
    _Rule("*FID", "{name}", _set_distance),
    _Rule("attention/mean", "Attention: share kept", _keeps),
    _Rule("critic_on_real/r", "Critic as a reader of real faces: correlation", _agrees),
)
