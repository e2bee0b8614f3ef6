"""OpenFace's measurements of one face: from a CSV file, or from a row of the pickle."""

import csv
import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ganimation_jax.action_units import ACTION_UNITS, OPENFACE_MAXIMUM
from ganimation_jax.prepare.problems import UnusableFile


class Annotation(NamedTuple):
    """The action units measured in one picture."""

    aus: dict[str, float]  # code -> intensity in [0, 5], codes in the order of ACTION_UNITS
    confidence: float  # [0, 1]; NaN when unknown


def read_openface_csv(path: Path, min_confidence: float) -> Annotation:
    """Read the one face of an OpenFace CSV; columns are found by name.

    The intensities are the columns ``AUxx_r``; ``AUxx_c`` (presence) is ignored.
    A file may lack some action units (OpenFace 1 does), but not all.

    Raises:
      UnusableFile: not exactly one well measured face; the reason says why.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            # A header and at most two rows: a video's CSV has thousands.
            lines = list(itertools.islice(filter(None, csv.reader(file)), 3))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UnusableFile("unreadable CSV", str(error)) from error
    if not lines:
        raise UnusableFile("unreadable CSV", "it is empty")
    header, *rows = [[cell.strip() for cell in line] for line in lines]
    codes = [code for code in ACTION_UNITS if f"{code}_r" in header]
    if not codes:
        missing = " ".join(f"{code}_r" for code in ACTION_UNITS)
        raise UnusableFile("CSV lacks action units", f"no column {missing}")
    if "confidence" not in header:
        raise UnusableFile("CSV lacks its confidence", "no column confidence")
    if not rows:
        raise UnusableFile("no face in CSV", "it has a header only")
    if len(rows) > 1:
        raise UnusableFile("more than one face in CSV", "keep one row: a picture, a face, a file")
    if len(rows[0]) != len(header):
        raise UnusableFile("unreadable CSV", f"{len(header)} columns, {len(rows[0])} values")
    row = dict(zip(header, rows[0], strict=True))
    # OpenFace's program for single pictures writes no column success.
    if _number(row, "success", default="1") != 1:
        raise UnusableFile("OpenFace found no face", f"success is {row['success']}")
    confidence = _number(row, "confidence")
    if not confidence >= min_confidence:  # so written, NaN is refused too
        raise UnusableFile("low confidence", f"{confidence:g} is below {min_confidence:g}")
    return Annotation(_checked({code: _number(row, f"{code}_r") for code in codes}), confidence)


def from_array(aus: np.ndarray) -> Annotation:
    """Check one array of the published code's pickle, the 17 action units in order.

    Raises:
      UnusableFile: not 17 numbers in [0, 5].
    """
    if aus.shape != (len(ACTION_UNITS),) or aus.dtype.kind not in "iuf":
        raise UnusableFile("not 17 action units", f"shape {aus.shape}, type {aus.dtype}")
    return Annotation(_checked(dict(zip(ACTION_UNITS, aus.tolist(), strict=True))), math.nan)


def _number(row: Mapping[str, str], column: str, default: str = "") -> float:
    cell = row.get(column, default)
    try:
        return float(cell)
    except ValueError as error:
        raise UnusableFile("unreadable CSV", f"{column} is {cell!r}, not a number") from error


def _checked(aus: dict[str, float]) -> dict[str, float]:
    for code, value in aus.items():
        if not 0 <= value <= OPENFACE_MAXIMUM:  # so written, NaN is refused too
            raise UnusableFile("intensity outside 0-5", f"{code} is {value:g}")
    return aus
