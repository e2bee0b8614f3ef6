"""Action units read from photos and videos, as rows of a table."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from ganimation_jax.animation.animator import Animator
from ganimation_jax.animation.drivers import reading
from ganimation_jax.animation.inputs import Input
from ganimation_jax.animation.watching import watch

PLACES = ("file", "frame", "time", "face", "left", "top", "right", "bottom")


class Line(NamedTuple):
    """What one face shows in a photo or in one frame of a video."""

    file: str
    frame: int | None  # from 0; None in photos
    time: float | None  # seconds
    face: int  # from 0, the largest first; in a video the same number is the same face
    box: tuple[float, float, float, float]  # left, top, right, bottom in pixels
    aus: dict[str, float]  # [0, 1]; without those that were not read


def read_lines(animator: Animator, one: Input, by: str, faces: str | int) -> Iterator[Line]:
    """The faces of a photo, or of each frame of a video or animated picture.

    Raises:
      NoFaceError, UnusableFile, ValueError, ImportError: see ``Animator.read_all`` and ``watch``.
    """
    name = str(one.source)
    if not one.moves:
        for face, (box, aus) in enumerate(animator.read_all(one.source, by, faces=faces)):
            yield Line(name, None, None, face, box, aus)
        return
    for frame, (moment, followed) in enumerate(watch(animator, one.source, faces)):
        for watched in followed:
            values = reading(animator, watched, by)
            if watched.found is not None and values is not None:
                units = zip(animator.action_units, values.tolist(), strict=True)
                aus = {unit: value for unit, value in units if value == value}  # not NaN
                time = round(float(moment.time), 6)
                yield Line(name, frame, time, watched.track.number, watched.found.box, aus)


def as_csv(lines: Sequence[Line], units: Sequence[str]) -> str:
    """A line each below a header; a cell is empty where nothing was read."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*PLACES, *units])
    writer.writerows(_cells(line, units) for line in lines)
    return buffer.getvalue()


def as_json(lines: Sequence[Line], units: Sequence[str]) -> str:
    """A list with an object for each line; its intensities are in ``aus``."""
    made: list[dict[str, Any]] = []
    for line in lines:
        cells = dict(zip(PLACES, _cells(line, ()), strict=True))
        aus = {unit: round(line.aus[unit], 4) for unit in units if unit in line.aus}
        made.append({key: value for key, value in cells.items() if value != ""} | {"aus": aus})
    return json.dumps(made, indent=1, ensure_ascii=False) + "\n"


def as_table(lines: Sequence[Line], units: Sequence[str]) -> str:
    """Text for a terminal: intensities with two digits, files by the end of their names."""
    head = ["file", "frame", "face", *units]
    rows = [
        [
            line.file if len(line.file) <= 32 else f"…{line.file[-31:]}",
            "" if line.frame is None else str(line.frame),
            str(line.face),
            *(f"{line.aus[unit]:.2f}" if unit in line.aus else "-" for unit in units),
        ]
        for line in lines
    ]
    if all(line.frame is None for line in lines):
        head, rows = [head[0], *head[2:]], [[row[0], *row[2:]] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    text = ""
    for row in [head, *rows]:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        text += "  ".join(cells).rstrip() + "\n"
    return text


FORMS: dict[str, Callable[[Sequence[Line], Sequence[str]], str]] = {
    "csv": as_csv,
    "json": as_json,
    "table": as_table,
}


def _cells(line: Line, units: Sequence[str]) -> list[Any]:
    frame = "" if line.frame is None else line.frame
    time = "" if line.time is None else line.time
    box = [round(value, 1) for value in line.box]
    values = [round(line.aus[unit], 4) if unit in line.aus else "" for unit in units]
    return [line.file, frame, time, line.face, *box, *values]
