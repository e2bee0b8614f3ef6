"""OpenFace's measurements: rows of its CSV files of every kind, or of the published pickle.

Columns are found by name: OpenFace 1 and 2, single pictures (a row a face, column
``face``), videos and folders (a row a frame, columns ``frame``, ``success``) differ in
which they have. ``AUxx_c`` (presence) is ignored.
"""

import csv
import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ganimation_jax.action_units import ACTION_UNITS, OPENFACE_MAXIMUM
from ganimation_jax.files.unusable import UnusableFile
from ganimation_jax.prepare.problems import Skip

MOST_FACES = 1000  # rows read of a file that should be of one picture
LANDMARKS = 68
# Columns by which people name the picture when they join the files of many.
FILE_COLUMNS = ("file", "filename", "file_name", "image", "image_name", "img", "name", "input")


class Rows(NamedTuple):
    """Where the annotation of one picture, or piece of a video, is: rows of a CSV file."""

    path: Path
    offsets: tuple[int, ...] | None = None  # bytes from the start; None: all rows
    first: int = 1  # what the file calls the first frame of a video


class Values(NamedTuple):
    """An annotation in numbers: a row of the published code's pickle."""

    origin: str  # for messages
    aus: tuple[float, ...]  # 17, [0, 5]


class Measured(NamedTuple):
    """What was measured in one face."""

    aus: dict[str, float]  # code -> intensity in [0, 5], codes in the order of ACTION_UNITS
    confidence: float = math.nan  # [0, 1]; NaN when unknown
    points: np.ndarray | None = None  # 68 2, pixels of the picture; None where not in the file
    turn: float = math.nan  # degrees away from the camera, the larger of yaw and pitch
    frame: int | None = None  # as OpenFace counts them


class RowKey(NamedTuple):
    """What a row of a CSV file is about, and where it starts."""

    file: str  # empty where the file has no such column
    frame: int
    face: int
    offset: int


def read_rows(rows: Rows) -> list[dict[str, str]]:
    """The rows as dictionaries of text.

    Raises:
      UnusableFile: no CSV file of OpenFace; it names the file.
    """
    try:
        if rows.offsets is None:
            with rows.path.open(newline="", encoding="utf-8-sig") as file:
                lines = list(itertools.islice(filter(None, csv.reader(file)), 1 + MOST_FACES))
            header, found = _header(rows.path, lines[0] if lines else []), lines[1:]
        else:
            header = _header_of(rows.path)
            with rows.path.open("rb") as binary:
                found = [_line_at(binary, offset) for offset in rows.offsets]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UnusableFile("unreadable CSV", str(error), rows.path) from error
    if not found:
        raise UnusableFile("no face in CSV", "it has a header only", rows.path)
    for line in found:
        if len(line) != len(header):
            detail = f"{len(header)} columns, {len(line)} values"
            raise UnusableFile("unreadable CSV", detail, rows.path)
    return [dict(zip(header, [cell.strip() for cell in line], strict=True)) for line in found]


def measure(row: Mapping[str, str], path: Path, min_confidence: float) -> Measured:
    """One row, checked.

    A file may lack some action units (OpenFace 1 does), but not all.

    Raises:
      UnusableFile: not one well measured face; the reason says why.
    """
    # OpenFace's program for single pictures writes no column success.
    if _number(row, "success", path, default="1") != 1:
        raise UnusableFile("OpenFace found no face", f"success is {row['success']}", path)
    confidence = _number(row, "confidence", path)
    if not confidence >= min_confidence:  # so written, NaN is refused too
        detail = f"{confidence:g} is below {min_confidence:g}"
        raise UnusableFile("low confidence", detail, path)
    codes = [code for code in ACTION_UNITS if f"{code}_r" in row]
    aus = _checked({code: _number(row, f"{code}_r", path) for code in codes}, path)
    points = None
    if "x_0" in row and f"y_{LANDMARKS - 1}" in row:
        flat = [_number(row, f"{axis}_{i}", path) for i in range(LANDMARKS) for axis in "xy"]
        points = np.array(flat).reshape(LANDMARKS, 2)
    angles = [_number(row, f"pose_R{axis}", path, default="nan") for axis in "xy"]
    turn = math.degrees(max(map(abs, angles)))
    frame = int(_number(row, "frame", path)) if "frame" in row else None
    return Measured(aus, confidence, points, turn, frame)


def from_values(values: Values) -> Measured:
    """One row of the pickle.

    Raises:
      UnusableFile: not 17 numbers in [0, 5].
    """
    if len(values.aus) != len(ACTION_UNITS):
        detail = f"{len(values.aus)} numbers"
        raise UnusableFile("not 17 action units", detail, Path(values.origin))
    aus = dict(zip(ACTION_UNITS, values.aus, strict=True))
    return Measured(_checked(aus, Path(values.origin)))


def index_rows(path: Path) -> Iterator[RowKey | Skip]:
    """What each row is about, without holding any.

    Raises:
      UnusableFile: no CSV file of OpenFace.
    """
    try:
        header = _header_of(path)
        names = [name for name in FILE_COLUMNS if name in header]
        with path.open("rb") as file:
            file.readline()
            offset = file.tell()
            for line in file:
                if line.strip():
                    yield _row_key(path, header, names, line, offset)
                offset += len(line)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UnusableFile("unreadable CSV", str(error), path) from error


def _row_key(
    path: Path, header: Sequence[str], names: Sequence[str], line: bytes, offset: int
) -> RowKey | Skip:
    row = dict(zip(header, [cell.strip() for cell in line.decode().split(",")], strict=False))
    try:
        frame, face = (
            int(_number(row, key, path, default="0"))
            for key in ("frame", "face" if "face" in header else "face_id")
        )
    except UnusableFile as error:
        return Skip(f"{path}@{offset}", error.reason, error.detail)
    except (ValueError, OverflowError):  # NaN or infinity is no integer
        return Skip(f"{path}@{offset}", "unreadable CSV", "frame or face is not a number")
    return RowKey(row[names[0]] if names and names[0] in row else "", frame, face, offset)


@functools.lru_cache(maxsize=64)
def _header_of(path: Path) -> tuple[str, ...]:
    with path.open("rb") as file:
        return _header(path, _line_at(file, 0))


def _header(path: Path, line: Sequence[str]) -> tuple[str, ...]:
    if not line:
        raise UnusableFile("unreadable CSV", "it is empty", path)
    header = tuple(cell.strip() for cell in line)
    if not any(f"{code}_r" in header for code in ACTION_UNITS):
        missing = " ".join(f"{code}_r" for code in ACTION_UNITS)
        raise UnusableFile("CSV lacks action units", f"no column {missing}", path)
    if "confidence" not in header:
        raise UnusableFile("CSV lacks its confidence", "no column confidence", path)
    return header


def _line_at(file, offset: int) -> list[str]:
    file.seek(offset)
    return next(csv.reader([file.readline().decode("utf-8-sig")]), [])


def _number(row: Mapping[str, str], column: str, path: Path, default: str = "") -> float:
    cell = row.get(column, default)
    try:
        return float(cell)
    except ValueError as error:
        detail = f"{column} is {cell!r}, not a number"
        raise UnusableFile("unreadable CSV", detail, path) from error


def _checked(aus: dict[str, float], path: Path) -> dict[str, float]:
    for code, value in aus.items():
        if not 0 <= value <= OPENFACE_MAXIMUM:  # so written, NaN is refused too
            raise UnusableFile("intensity outside 0-5", f"{code} is {value:g}", path)
    return aus
