"""Expressions that come from elsewhere: from another photo, a video, or OpenFace's CSV files."""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ganimation_jax.action_units import OPENFACE_MAXIMUM
from ganimation_jax.animation.animator import Animator
from ganimation_jax.animation.finding import NoFaceError, check_reader
from ganimation_jax.animation.watching import Watched, watch
from ganimation_jax.faces.openface_rows import Row, measure, rows_of
from ganimation_jax.files.unusable import UnusableFile
from ganimation_jax.media.frames import film, sound_of
from ganimation_jax.media.video import Film, tick_of

CSV_SUFFIXES = {".csv", ".tsv", ".txt"}
MOST_FRAMES = 1_000_000  # rows of a CSV file: eleven hours
CLOCK = Fraction(1, 1000)  # seconds: OpenFace writes timestamps with three digits


class Driver(NamedTuple):
    """What drives a photo."""

    times: list[Fraction]  # seconds from the start, increasing
    readings: list[np.ndarray | None]  # n each, [0, 1], NaN where not read; None: no face
    film: Film
    sound: Path | None
    noisy: bool  # read frame by frame by a network, so that it has to be smoothed


def is_csv(path: Path) -> bool:
    """By its ending."""
    return path.suffix.lower() in CSV_SUFFIXES


def read_expression(path: Path, units: Sequence[str]) -> dict[str, float]:
    """The intensities in a CSV file of one row, [0, 1], for the action units of a model.

    Raises:
      UnusableFile: it is no such file, or has several rows.
    """
    first = None
    for row in rows_of(path):
        if first is not None:
            detail = "keep the row that is meant, or use --drive, which takes a row per frame"
            raise UnusableFile("more than one row", detail, path)
        first = row
    if first is None:
        raise UnusableFile("no face in CSV", "it has only a header", path)
    named = _intensities(first, path)
    if not (known := {unit: named[unit] for unit in units if unit in named}):
        raise UnusableFile("CSV lacks action units", f"none of {' '.join(units)}", path)
    return known


def read_driver(
    animator: Animator,
    driver: Path,
    by: str,
    fps: float,
    progress: Callable[[int, int | None], None] | None = None,
) -> Driver:
    """The expressions of the largest face in a video, or those in a CSV file with a row per frame.

    Args:
      driver: a video, an animated picture, or a CSV file of OpenFace, whose intensities of 0-5
        are divided by 5.
      by: what reads a video: the model's ``critic``, or the ``annotator``, MediaPipe.
      fps: rows per second in a CSV file without the column ``timestamp``.
      progress: called after each frame of a video: frames done, and how many if known.

    Raises:
      NoFaceError: no frame has a face.
      UnusableFile: the file cannot be read.
      ValueError: ``by`` is neither, or the model has no critic.
      ImportError: PyAV or MediaPipe is not installed.
    """
    if is_csv(driver):
        return _from_csv(driver, animator.action_units, fps)
    check_reader(by, animator.model)
    times: list[Fraction] = []
    readings: list[np.ndarray | None] = []
    kind = film(driver)
    for moment, followed in watch(animator, driver, "largest"):
        times.append(moment.time)
        readings.append(reading(animator, followed[0], by) if followed else None)
        if progress is not None:
            progress(len(times), kind.total)
    _check_some(driver, readings)
    return Driver(times, readings, kind, sound_of(driver), noisy=True)


def reading(animator: Animator, watched: Watched, by: str) -> np.ndarray | None:
    """What a face shows in one frame: ``n``, NaN where not read; None if it is not found."""
    if watched.found is None or by == "critic":
        return None if watched.found is None else watched.found.aus
    try:
        read = animator.read(watched.view, by)
    except NoFaceError:
        return None
    return np.array([read.get(unit, np.nan) for unit in animator.action_units])


def _from_csv(path: Path, units: Sequence[str], fps: float) -> Driver:
    times: list[Fraction] = []
    readings: list[np.ndarray | None] = []
    for number, row in enumerate(rows_of(path)):
        if number == MOST_FRAMES:
            raise UnusableFile("too many rows", f"more than {MOST_FRAMES:,}", path)
        time = _time_of(row, path, number, fps)
        if times and time <= times[-1]:
            detail = f"row {number + 1} is not later than the one before: keep one face per frame"
            raise UnusableFile("rows out of order", detail, path)
        times.append(time)
        if row.get("success", "1").strip() in ("0", "0.0"):
            readings.append(None)
            continue
        named = _intensities(row, path)
        readings.append(np.array([named.get(unit, np.nan) for unit in units]))
    _check_some(path, readings)
    if all(np.isnan(reading).all() for reading in readings if reading is not None):
        raise UnusableFile("CSV lacks action units", f"none of {' '.join(units)}", path)
    length = times[-1] - times[0]
    rate = (len(times) - 1) / length if length else Fraction(fps).limit_denominator(1001)
    tick = tick_of(CLOCK) if "timestamp" in row else 1 / rate
    return Driver([time - times[0] for time in times], readings, Film(rate, tick), None, False)


def _time_of(row: Row, path: Path, number: int, fps: float) -> Fraction:
    if "timestamp" not in row:
        return number / Fraction(fps).limit_denominator(1001)
    try:
        seconds = float(row["timestamp"].replace(",", "."))
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < 1e6:
        detail = f"timestamp is {row['timestamp'][:20]!r}, in row {number + 1}"
        raise UnusableFile("unreadable CSV", detail, path)
    return round(seconds / CLOCK) * CLOCK


def _intensities(row: Row, path: Path) -> dict[str, float]:
    measured = measure(row, path, min_confidence=0.0)
    return {unit: value / OPENFACE_MAXIMUM for unit, value in measured.aus.items()}


def _check_some(driver: Path, readings: Sequence[np.ndarray | None]) -> None:
    if not any(reading is not None for reading in readings):
        raise NoFaceError(f"{driver}: there is no face in any frame")
