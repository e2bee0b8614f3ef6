"""``table.csv``: every face of a prepared dataset, a line each, for people and for packing."""

import csv
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.data.dataset import Face

FIRST_COLUMNS = ("id", "split", "person", "file", "confidence", "side", "turn", "sharpness")


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

    Raises:
      FileNotFoundError: there is no table.
      ValueError: it is not one of ours.
    """

    def __init__(self, folder: Path):
        self.path, self.crops = folder / "table.csv", folder / "crops"
        with self.path.open(newline="", encoding="utf-8") as file:
            rows = csv.reader(file)
            header = next(rows, [])
            self._length = sum(1 for _ in rows)
        self.action_units = tuple(code for code in ACTION_UNITS if code in header)
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
                )


def write_table(folder: Path, rows: Iterable[Row], action_units: Sequence[str]) -> None:
    """Write ``table.csv`` in one piece; ``transform`` is its 2 x 3 matrix, row by row."""

    def lines() -> Iterator[list[Any]]:
        for face, *figures in rows:
            yield [
                *(face.id, face.split, face.person, face.source),
                *("" if math.isnan(value) else value for value in figures),
                *face.aus,
                " ".join(str(value) for line in face.transform for value in line),
            ]

    write_csv(folder / "table.csv", [*FIRST_COLUMNS, *action_units, "transform"], lines())


def write_csv(path: Path, header: Sequence[str], lines: Iterable[Sequence]) -> None:
    """Write a CSV file that appears only when complete."""
    partial = path.with_suffix(".partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(lines)
    os.replace(partial, path)
