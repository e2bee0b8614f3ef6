"""Reads OpenFace's CSV files, also as spreadsheets, R and pandas save them.

Columns are found by name, because OpenFace 1 and 2 and their programs for single pictures (a
row per face, column ``face``) and for videos and folders (a row per frame, columns ``frame``
and ``success``) write different ones. ``AUxx_c`` (presence) is ignored.

Every part of the library reads such files with ``rows_of``. It accepts commas, semicolons, tabs
and vertical bars as separators, quoted cells, decimal commas, UTF-8 and UTF-16 with or without
a byte-order mark, and all three kinds of line ends.
"""

import codecs
import csv
import functools
import io
import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np

from ganimation_jax.action_units import ACTION_UNITS, OPENFACE_MAXIMUM
from ganimation_jax.files.unusable import UnusableFile

MOST_FACES = 1000  # rows read from a file that describes one picture
LANDMARKS = 68
FARTHEST = 1e9  # pixels: beyond it, arithmetic on landmarks would overflow
LONGEST_ROW = 1_000_000  # characters; rows with all of OpenFace's columns have about 6,000
SEPARATORS = (",", ";", "\t", "|")
# Columns that name the picture. OpenFace has none: people add one when they join its files.
FILE_COLUMNS = (
    *("file", "filename", "file_name", "path", "filepath", "file_path"),
    *("image", "image_name", "image_path", "img", "name", "input"),
)
# UTF-32 first, because its mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF8, "utf-8"),
)
_READ = {f"{code}_r" for code in ACTION_UNITS} | {
    *("confidence", "success", "frame", "face", "face_id", *FILE_COLUMNS)
}

Row = Mapping[str, str]
"""The cells of one row by the name of their column."""


class Rows(NamedTuple):
    """The rows of a CSV file that describe one picture, or one piece of a video."""

    path: Path
    offsets: tuple[int, ...] | None = None  # bytes from the start of the file; None: all rows
    first: int = 1  # the number that the file gives to the first frame of a video


class Measured(NamedTuple):
    """What was measured in one face."""

    aus: dict[str, float]  # code -> intensity in [0, 5], codes in the order of ACTION_UNITS
    confidence: float = math.nan  # [0, 1]; NaN when unknown
    points: np.ndarray | None = None  # 68 2, pixels of the picture; None where not in the file
    turn: float = math.nan  # degrees away from the camera, the larger of yaw and pitch
    frame: int | None = None  # as OpenFace counts them


class RowKey(NamedTuple):
    """Which picture, frame and face a row describes, and where the row starts."""

    file: str  # empty where the file has no such column
    frame: int
    face: int
    offset: int  # bytes from the start of the file


def rows_of(path: Path) -> Iterator[Row]:
    """All rows of a CSV file, one at a time; empty rows and repeated headers are passed over.

    Raises:
      UnusableFile: not a CSV file of OpenFace; the message names the file and says why.
    """
    layout = _layout(path)
    for record in _records(path, layout, layout.start):
        if record.cells != layout.columns:
            yield _row(path, layout, record.cells)


def read_rows(rows: Rows) -> list[Row]:
    """The rows, at most ``MOST_FACES`` of a whole file.

    Raises:
      UnusableFile: not a CSV file of OpenFace, or one without rows; the message names the file.
    """
    if rows.offsets is None:
        found = list(itertools.islice(rows_of(rows.path), MOST_FACES))
    else:
        layout = _layout(rows.path)
        records = (next(_records(rows.path, layout, offset), None) for offset in rows.offsets)
        found = [_row(rows.path, layout, record.cells) for record in records if record]
    if not found:
        raise UnusableFile("no face in CSV", "it has only a header", rows.path)
    return found


def index_rows(path: Path) -> Iterator[RowKey | UnusableFile]:
    """What each row is about, in the order of the file; holds one row at a time.

    Yields:
      The key of a row, or what is wrong with it.

    Raises:
      UnusableFile: not a CSV file of OpenFace.
    """
    layout = _layout(path)
    folded = {column.casefold(): column for column in layout.columns}
    named = next((folded[name] for name in FILE_COLUMNS if name in folded), "")
    for record in _records(path, layout, layout.start):
        if record.cells == layout.columns:
            continue
        try:
            row = _row(path, layout, record.cells)
            face = "face" if "face" in row else "face_id"
            frame, number = (_whole(row, column, path, "0") for column in ("frame", face))
        except UnusableFile as error:
            detail = f"{error.detail}, in the row that starts at byte {record.begin}"
            yield UnusableFile(error.reason, detail, path)
        else:
            yield RowKey(row.get(named, ""), frame, number, record.begin)


def measure(row: Row, path: Path, min_confidence: float) -> Measured:
    """Read and check one row.

    A file may lack some action units (OpenFace 1 does), but not all.

    Args:
      row: see ``read_rows``.
      path: the file that it comes from, for messages.
      min_confidence: the lowest acceptable confidence of OpenFace in its landmarks, [0, 1].

    Raises:
      UnusableFile: the row does not hold one well measured face; the message says why.
    """
    # OpenFace's program for single pictures writes no column success.
    if _number(row, "success", path, default="1") != 1:
        raise UnusableFile("OpenFace found no face", f"success is {row['success']}", path)
    confidence = _number(row, "confidence", path)
    if not confidence >= min_confidence:  # written so that NaN is refused too
        detail = f"{confidence:g} is below {min_confidence:g}"
        raise UnusableFile("low confidence", detail, path)
    if confidence > 1:
        raise UnusableFile("unreadable CSV", f"confidence is {confidence:g}, above 1", path)
    aus = {code: _number(row, f"{code}_r", path) for code in ACTION_UNITS if f"{code}_r" in row}
    points = None
    if "x_0" in row and f"y_{LANDMARKS - 1}" in row:
        flat = [_number(row, f"{axis}_{i}", path) for i in range(LANDMARKS) for axis in "xy"]
        points = np.array(flat).reshape(LANDMARKS, 2)
        if not (np.abs(points) <= FARTHEST).all():
            raise UnusableFile("unusable landmarks", "some are far outside any picture", path)
    angles = [_number(row, f"pose_R{axis}", path, default="nan") for axis in "xy"]
    turn = math.degrees(max(map(abs, angles)))
    frame = _whole(row, "frame", path) if "frame" in row else None
    return Measured(check_intensities(aus, path), confidence, points, turn, frame)


def check_intensities(aus: dict[str, float], path: Path) -> dict[str, float]:
    """The same intensities.

    Raises:
      UnusableFile: one is not in [0, 5].
    """
    for code, value in aus.items():
        if not 0 <= value <= OPENFACE_MAXIMUM:  # written so that NaN is refused too
            raise UnusableFile("intensity outside 0-5", f"{code} is {value:g}", path)
    return aus


class _Layout(NamedTuple):
    encoding: str
    start: int  # of the first row after the header, in bytes
    separator: str
    columns: tuple[str, ...]


class _Record(NamedTuple):
    cells: tuple[str, ...]
    begin: int  # bytes
    end: int


class _Lines:
    """Lines of text for the csv module, with their places in the file."""

    def __init__(self, text: TextIO, encoding: str, start: int):
        self._text, self._encoding = text, encoding
        self.begin = self.end = start  # of the record that is being read

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._text.readline(LONGEST_ROW + 1)
        self.end += len(line.encode(self._encoding))
        if self.end - self.begin > LONGEST_ROW:
            # Also what a quotation mark without its pair looks like.
            raise csv.Error(f"a row has more than {LONGEST_ROW:,} characters")
        if not line:
            raise StopIteration
        return line


def _layout(path: Path) -> _Layout:
    """How the file is written, from its first bytes and its header."""
    try:
        stat = path.stat()
    except OSError as error:
        raise UnusableFile("unreadable CSV", error.strerror or str(error), path) from error
    return _layout_of(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _layout_of(path: Path, size: int, changed: int) -> _Layout:
    if not path.is_file():  # reading a pipe or a device would never end
        raise UnusableFile("unreadable CSV", "it is not a regular file", path)
    if not size:
        raise UnusableFile("unreadable CSV", "it is empty", path)
    encoding, start = _encoding(path)
    problem: UnusableFile | None = None
    for separator in SEPARATORS:
        layout = _Layout(encoding, start, separator, ())
        try:
            records = _records(path, layout, start)
            header = next(records, None)
            # Some spreadsheets write a first line that says what separates the cells.
            if header and header.cells[0].startswith("sep="):
                header = next(records, None)
        except UnusableFile as error:  # quotation marks may fit another separator
            problem = problem or error
            continue
        if header is None:
            raise UnusableFile("unreadable CSV", "it has no header", path)
        columns = _without_trailing(header.cells)
        if any(f"{code}_r" in columns for code in ACTION_UNITS):
            return _Layout(encoding, header.end, separator, _checked_columns(columns, path))
    if problem is not None:
        raise problem
    missing = " ".join(f"{code}_r" for code in ACTION_UNITS)
    raise UnusableFile("CSV lacks action units", f"no column {missing}", path)


def _checked_columns(columns: tuple[str, ...], path: Path) -> tuple[str, ...]:
    if "confidence" not in columns:
        raise UnusableFile("CSV lacks its confidence", "no column confidence", path)
    counts = Counter(columns)
    if twice := sorted(name for name in _READ if counts[name] > 1):
        raise UnusableFile("unreadable CSV", f"two columns are named {twice[0]}", path)
    return columns


def _encoding(path: Path) -> tuple[str, int]:
    """The encoding, and the length of its mark."""
    with _opened(path) as file:
        head = file.read(4)
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding, len(mark)
    # Without a mark, UTF-16 shows by the zero bytes of its first, Latin letter.
    if head[1:2] == b"\0":
        return "utf-16-le", 0
    return ("utf-16-be" if head[:1] == b"\0" else "utf-8"), 0


def _records(path: Path, layout: _Layout, start: int) -> Iterator[_Record]:
    """The records from a byte of the file on, their cells stripped; empty ones are left out."""
    with _opened(path) as file:
        file.seek(start)
        text = io.TextIOWrapper(file, layout.encoding, newline="")
        lines = _Lines(text, layout.encoding, start)
        cells = csv.reader(lines, delimiter=layout.separator, skipinitialspace=True, strict=True)
        try:
            for record in cells:
                if any(record):
                    stripped = tuple(cell.strip() for cell in record)
                    yield _Record(stripped, lines.begin, lines.end)
                lines.begin = lines.end
        except UnicodeDecodeError as error:
            detail = "neither UTF-8 nor UTF-16 text: save it as UTF-8"
            raise UnusableFile("unreadable CSV", detail, path) from error
        except (OSError, csv.Error) as error:
            raise UnusableFile("unreadable CSV", str(error), path) from error


def _opened(path: Path) -> io.BufferedReader:
    try:
        return path.open("rb")
    except OSError as error:
        raise UnusableFile("unreadable CSV", error.strerror or str(error), path) from error


def _row(path: Path, layout: _Layout, cells: tuple[str, ...]) -> Row:
    width = len(layout.columns)
    if len(cells) > width:
        cells = (*cells[:width], *_without_trailing(cells[width:]))
    if len(cells) != width:
        raise UnusableFile("unreadable CSV", f"{width} columns, {len(cells)} values", path)
    return dict(zip(layout.columns, cells, strict=True))


def _without_trailing(cells: tuple[str, ...]) -> tuple[str, ...]:
    """The cells without empty ones at the end, which separators at the end of a line make."""
    while cells and not cells[-1]:
        cells = cells[:-1]
    return cells


def _number(row: Row, column: str, path: Path, default: str = "") -> float:
    cell = row.get(column, default)
    try:
        # A comma here is a decimal comma: as a separator it would have split the cell.
        return float(cell if "." in cell else cell.replace(",", "."))
    except ValueError as error:
        detail = f"{column} is {_shortened(cell)!r}, not a number"
        raise UnusableFile("unreadable CSV", detail, path) from error


def _whole(row: Row, column: str, path: Path, default: str = "") -> int:
    value = _number(row, column, path, default)
    if not (value.is_integer() and 0 <= value < 2**53):  # NaN and infinity are no integers
        detail = f"{column} is {_shortened(row[column])!r}, not a whole number"
        raise UnusableFile("unreadable CSV", detail, path)
    return int(value)


def _shortened(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}..."
