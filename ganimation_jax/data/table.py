"""``table.csv``: every face of a prepared dataset, a line each, for people and for packing."""

import csv
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.conditions import Condition
from ganimation_jax.data.records import Face

FIRST_COLUMNS = ("id", "split", "person", "file", "confidence", "side", "turn", "sharpness")
BINARY = "1"  # in the column of a binary label: the face shows it


class Row(NamedTuple):
    """One line of ``table.csv``; NaN where a figure is unknown."""

    face: Face
    confidence: float  # of the annotator, [0, 1]
    side: float  # pixels of the source picture that the side of the crop covers
    turn: float  # degrees away from the camera
    sharpness: float  # variance of the Laplacian of the crop


class FaceTable:
    """The faces of a prepared folder, read from its table anew each time they are walked.

    Attributes:
      action_units: the columns of ``Face.aus``.
      labels: the columns of ``Face.labels``. A binary label is a column of 0 and 1; a group is a
        column with the member that each face shows, and its members are sorted by name.

    Raises:
      FileNotFoundError: there is no table.
      ValueError: it is not one of ours.
    """

    def __init__(self, folder: Path):
        self.path, self.crops = folder / "table.csv", folder / "crops"
        with self.path.open(newline="", encoding="utf-8") as file:
            rows = csv.reader(file)
            header = next(rows, [])
            others = {*FIRST_COLUMNS, *ACTION_UNITS, "transform"}
            found: dict[str, set[str]] = {name: set() for name in header if name not in others}
            places = [(header.index(name), values) for name, values in found.items()]
            self._length = 0
            for row in rows:
                self._length += 1
                for place, values in places:
                    values.add(row[place])
        self.action_units = tuple(code for code in ACTION_UNITS if code in header)
        self._columns = {
            name: (BINARY,) if values <= {"0", "1"} else tuple(sorted(values))
            for name, values in found.items()
        }
        self.labels = tuple(
            Condition(name, "binary") if member == BINARY else Condition(member, "one_of", name)
            for name, members in self._columns.items()
            for member in members
        )
        if missing := {*FIRST_COLUMNS[:4], "transform"} - set(header):
            raise ValueError(f"{self.path} has no column {' '.join(sorted(missing))}")

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Face]:
        with self.path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                numbers = [float(value) for value in row["transform"].split()]
                yield Face(
                    id=row["id"],
                    split=row["split"],
                    person=row["person"],
                    source=row["file"],
                    aus=tuple(float(row[code]) for code in self.action_units),
                    transform=(numbers[:3], numbers[3:]),
                    jpeg=self.crops / f"{row['id']}.jpg",
                    labels=tuple(
                        float(row[name] == member)
                        for name, members in self._columns.items()
                        for member in members
                    ),
                )


def write_table(
    folder: Path,
    rows: Iterable[Row],
    action_units: Sequence[str],
    labels: Sequence[Condition] = (),
) -> None:
    """Write ``table.csv`` in one piece; ``transform`` is its 2 x 3 matrix, row by row."""
    columns = dict.fromkeys(one.group or one.name for one in labels)

    def shown(face: Face) -> list[str]:
        cells = dict.fromkeys(columns, "0")
        for one, value in zip(labels, face.labels, strict=True):
            if value:
                cells[one.group or one.name] = one.name if one.group else BINARY
        return list(cells.values())

    def lines() -> Iterator[list[Any]]:
        for face, *figures in rows:
            known = ["" if math.isnan(value) else value for value in figures]
            transform = " ".join(str(value) for line in face.transform for value in line)
            names = [face.id, face.split, face.person, face.source]
            yield [*names, *known, *face.aus, *shown(face), transform]

    write_csv(folder / "table.csv", [*FIRST_COLUMNS, *action_units, *columns, "transform"], lines())


def write_csv(path: Path, header: Sequence[str], lines: Iterable[Sequence]) -> None:
    """Write a CSV file that appears only when complete."""
    partial = path.with_suffix(".partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(lines)
    os.replace(partial, path)
