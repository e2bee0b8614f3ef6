"""What an evaluation found, and ``report.json``, in which it is kept."""

import json
import math
from typing import Any, NamedTuple

import numpy as np

SCHEMA = 1  # of report.json: counts up when older readers would read it wrongly


class Section(NamedTuple):
    """One thing that was measured, or the reason why it was not.

    Names of scores are paths. The first word of what a judge has read is
    ``<judge>_on_<images>`` or ``controllability_<judge>``. Below a score
    ``identity/verified`` stand its standard error ``identity/verified/se``, its value for each
    action unit ``.../AU12``, and figures to hold it against, such as
    ``identity/verified/same_person``.
    """

    name: str
    title: str
    about: str  # what is measured, how to read it, its baselines
    scores: dict[str, float]  # NaN: not defined
    missing: str = ""  # why it was not measured; then there are no scores


class Response(NamedTuple):
    """Controllability: each action unit alone asked for from 0 to 1, and what a judge read."""

    judge: str  # as in the names of its scores
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

    def quality(self, name: str) -> dict[str, str]:
        """How far a score's judge can be trusted: action unit -> "good", "low" or "none"."""
        head = name.partition("/")[0].removeprefix("controllability_")
        judge = head.partition("_on_")[0]
        said = next((one.quality for one in self.responses if one.judge == judge), {})
        return {unit: said.get(unit, "good") for unit in self.action_units}


def to_json(result: Result) -> str:
    """The text of ``report.json``; NaN becomes null.

    Raises:
      ValueError: shapes do not fit together, or a number is infinite.
      TypeError: the config or the facts hold what JSON cannot.
    """
    _check(result)
    record = result._asdict() | {
        "sections": [section._asdict() for section in result.sections],
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
            Section(**item | {"scores": {k: _number(v) for k, v in item["scores"].items()}})
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
