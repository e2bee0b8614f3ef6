"""What a person reads after a run: the table of faces, the list of skipped files, a summary."""

import csv
import math
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ganimation_jax.data.dataset import SPLITS, Face
from ganimation_jax.prepare.problems import Skip


class Row(NamedTuple):
    """One line of ``table.csv``."""

    face: Face
    confidence: float  # [0, 1]; NaN when the annotator gives none


def write_table(path: Path, rows: Iterable[Row], action_units: Sequence[str]) -> None:
    """One line a face; ``transform`` is its 2 x 3 matrix, row by row."""
    header = ["id", "split", "person", "file", "confidence", *action_units, "transform"]
    lines = [
        [
            face.id,
            face.split,
            face.person,
            face.source,
            "" if math.isnan(confidence) else confidence,
            *face.aus,
            " ".join(str(value) for line in face.transform for value in line),
        ]
        for face, confidence in rows
    ]
    _write_csv(path, header, lines)


def write_skipped(path: Path, skips: Iterable[Skip]) -> None:
    """One line a file that was left out, with the reason."""
    _write_csv(path, Skip._fields, sorted(skips))


def summary(faces: Sequence[Face], skips: Sequence[Skip], skipped_csv: Path) -> str:
    """How many faces went where, and how many files were left out for which reason."""
    splits = Counter(face.split for face in faces)
    lines = [f"{len(faces)} faces: " + ", ".join(f"{splits[split]} {split}" for split in SPLITS)]
    people = [{face.person for face in faces if face.split == split} - {""} for split in SPLITS]
    if shared := set.intersection(*people):
        lines.append(f"warning: {len(shared)} people are in both splits")
    if skips:
        lines.append(f"{len(skips)} skipped, listed in {skipped_csv}:")
        reasons = Counter(skip.reason for skip in skips)
        lines += [f"{count:8d}  {reason}" for reason, count in reasons.most_common()]
    return "\n".join(lines)


def _write_csv(path: Path, header: Sequence[str], lines: Iterable[Sequence]) -> None:
    partial = path.with_suffix(".partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(lines)
    os.replace(partial, path)
