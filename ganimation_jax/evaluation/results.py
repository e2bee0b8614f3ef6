"""The result of an evaluation, and ``report.json``, which keeps it."""

import json
import math
from typing import Any, Literal, NamedTuple

import numpy as np

from ganimation_jax.evaluation.scores import Score

SCHEMA = 2  # of report.json: incremented when older readers would misread it
Kind = Literal["", "edits", "real", "control", "sets"]


class Section(NamedTuple):
    """One thing that was measured, or the reason why it was not."""

    name: str
    title: str
    about: str  # what is measured, how to read it, its baselines
    scores: list[Score]
    missing: str = ""  # why it was not measured; then there are no scores
    kind: Kind = ""  # a judge read "edits", "real" faces, tried "control"; distances of "sets"
    judge: str = ""  # who read, for the first three kinds
    quality: dict[str, str] = {}  # noqa: RUF012 - of the judge; units not in it are good


class Response(NamedTuple):
    """Controllability: each action unit alone requested from 0 to 1, and what a judge read."""

    judge: str
    levels: np.ndarray  # l, requested intensities in [0, 1]
    measured: np.ndarray  # n l, mean reading of each action unit; NaN: not judged
    error: np.ndarray  # n l, its standard error
    quality: dict[str, str]  # action unit -> "good", "low" or "none"


class Result(NamedTuple):
    """All that one evaluation of one run found."""

    facts: dict[str, str | int | float]  # run, step, images, data, examples, date, device, ...
    config: dict[str, Any]
    action_units: tuple[str, ...]
    sections: list[Section]
    responses: list[Response]


def to_json(result: Result) -> str:
    """The text of ``report.json``; NaN becomes null.

    Raises:
      ValueError: shapes do not fit together, or a number is infinite.
      TypeError: the config or the facts hold what JSON cannot.
    """
    _check(result)
    record = result._asdict() | {
        "sections": [
            section._asdict() | {"scores": [_record(score) for score in section.scores]}
            for section in result.sections
        ],
        "responses": [response._asdict() for response in result.responses],
    }
    text = json.dumps({"schema": SCHEMA} | _plain(record), indent=1, allow_nan=False)
    return text + "\n"


def from_json(text: str) -> Result:
    """The inverse of ``to_json``.

    Raises:
      ValueError: it is not a report, one of another version, or a damaged one.
    """
    record = json.loads(text)  # its error is a ValueError and says where
    if not isinstance(record, dict) or "schema" not in record:
        raise ValueError("not a report of an evaluation: it has no schema version")
    if (schema := record.pop("schema")) != SCHEMA:
        raise ValueError(
            f"a report of schema version {schema}, and this is ganimation_jax with {SCHEMA}: "
            "run --mode=eval again, or use the version that wrote it"
        )
    try:
        sections = [
            Section(**item | {"scores": [_score(score) for score in item["scores"]]})
            for item in record["sections"]
        ]
        responses = [
            Response(**item | {key: np.array(item[key], np.float64) for key in _ARRAYS})
            for item in record["responses"]
        ]
        changed = {"sections": sections, "responses": responses}
        changed["action_units"] = tuple(record["action_units"])
        changed["facts"] = {key: _number(value) for key, value in record["facts"].items()}
        result = Result(**record | changed)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"a damaged report: {type(error).__name__} {error}") from error
    _check(result)
    return result


def _record(score: Score) -> dict[str, Any]:
    """With its key, for people and programs that look for one score."""
    return {"key": score.key} | score._asdict()


def _score(item: dict[str, Any]) -> Score:
    fields = {name: value for name, value in item.items() if name != "key"}
    return Score(**fields | {name: _number(item[name]) for name in ("value", "se")})


_ARRAYS = ("levels", "measured", "error")


def _check(result: Result) -> None:
    for section in result.sections:
        if section.missing and section.scores:
            raise ValueError(f"section {section.name} has scores, and a reason why it has none")
    for one in result.responses:
        want = (len(result.action_units), len(one.levels))
        if one.measured.shape != want or one.error.shape != want:
            raise ValueError(
                f"response of {one.judge}: measured {one.measured.shape} and error "
                f"{one.error.shape} are not {want}, action units by levels"
            )


def _plain(value: Any) -> Any:
    """Without NumPy, tuples and NaN."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _number(value: Any) -> Any:
    return math.nan if value is None else value
