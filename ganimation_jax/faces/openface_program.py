"""Runs OpenFace's FaceLandmarkImg, which the user has installed, on pictures."""

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ganimation_jax.action_units import OPENFACE_MAXIMUM
from ganimation_jax.faces.openface_rows import Rows, measure, read_rows
from ganimation_jax.files.unusable import UnusableFile

SIDE = 256  # pixels; smaller crops are enlarged because OpenFace's detector misses small faces
CONFIDENCE = 0.7  # landmarks are unreliable below it; `prepare` uses the same limit
SECONDS = (120.0, 10.0)  # time limits: to start, and per picture
NO_FACE = ("no face in CSV", "OpenFace found no face", "low confidence")


class OpenFaceError(RuntimeError):
    """OpenFace failed, took too long or wrote nothing."""


def checked_program(path: Path) -> Path:
    """The full path of OpenFace's ``FaceLandmarkImg``.

    ``FeatureExtraction`` is refused, because it treats all faces as one person's video and
    calibrates them to each other.

    Raises:
      FileNotFoundError: the program does not exist.
      ValueError: it cannot be executed, or is ``FeatureExtraction``.
    """
    program = path.resolve()
    if not program.is_file():
        raise FileNotFoundError(f"no OpenFace at {program}: give its FaceLandmarkImg")
    if "FeatureExtraction" in program.name:
        raise ValueError(f"{program} reads videos: give FaceLandmarkImg, which is beside it")
    if not os.access(program, os.X_OK):
        raise ValueError(f"{program} is not executable: chmod +x it")
    return program


def read_pictures(
    program: Path, images: Sequence[np.ndarray] | np.ndarray, action_units: Sequence[str]
) -> np.ndarray:
    """Run OpenFace on pictures; returns intensities in [0, 1], float32 ``b n``.

    A row is NaN where no face was found, a column is NaN for a unit that this OpenFace does not
    measure.

    Args:
      program: from ``checked_program``.
      images: uint8 ``h w 3``, each with one face that fills it.
      action_units: names of the columns.

    Raises:
      OpenFaceError: the program failed, took too long or wrote nothing; has its output.
      ValueError: a file that it wrote cannot be used.
    """
    with tempfile.TemporaryDirectory(prefix="openface-") as scratch:
        pictures, out = Path(scratch) / "pictures", Path(scratch) / "out"
        write_pictures(pictures, images)
        start, each = SECONDS
        _run(program, pictures, out, start + each * len(images))
        return read_csvs(out, len(images), action_units)


def write_pictures(folder: Path, images: Sequence[np.ndarray] | np.ndarray) -> None:
    """Write uint8 images ``h w 3`` as ``00000.png``, ..., at least 256 pixels wide."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(images):
        picture = Image.fromarray(image)
        if picture.width < SIDE:
            picture = picture.resize((SIDE,) * 2, Image.Resampling.BICUBIC)
        picture.save(folder / f"{i:05}.png")


def read_csvs(folder: Path, count: int, action_units: Sequence[str]) -> np.ndarray:
    """Read what OpenFace wrote for the ``count`` pictures of ``write_pictures``.

    Returns:
      Intensities in [0, 1], float32 ``count n``; a row of NaN without a file or a face.

    Raises:
      ValueError: the folder clearly belongs to other pictures, or a file cannot be used.
    """
    numbers = [int(path.stem) for path in folder.glob("*.csv") if path.stem.isdigit()]
    if not numbers or max(numbers) >= count:
        found = f"up to {max(numbers):05}.csv" if numbers else "none of them"
        raise ValueError(
            f"{folder} should hold OpenFace's 00000.csv to {count - 1:05}.csv, it has {found}"
        )
    rows = np.full((count, len(action_units)), np.nan, np.float32)
    for number in numbers:
        rows[number] = _read_csv(folder / f"{number:05}.csv", action_units)
    return rows


def _run(program: Path, pictures: Path, out: Path, seconds: float) -> None:
    try:
        done = subprocess.run(
            [program, "-fdir", pictures, "-out_dir", out, "-aus"],
            cwd=program.parent,  # OpenFace looks for its models here
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=seconds,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise OpenFaceError(f"{program} did not end within {seconds:.0f} s") from error
    except OSError as error:  # such as a program built for another machine
        raise OpenFaceError(f"{program} cannot be run: {error}") from error
    if done.returncode == 0 and any(out.glob("*.csv")):
        return
    what = f"ended with {done.returncode}" if done.returncode else "wrote no CSV file"
    said = (done.stderr.strip() or done.stdout.strip())[-2000:]
    raise OpenFaceError(f"{program} {what}; it said: {said or 'nothing'}")


def _read_csv(path: Path, action_units: Sequence[str]) -> np.ndarray:
    """Return OpenFace's readings of the face with the highest confidence."""
    nothing = np.full(len(action_units), np.nan)
    try:
        faces = [measure(row, path, min_confidence=0) for row in read_rows(Rows(path))]
    except UnusableFile as error:
        if error.reason in NO_FACE:
            return nothing
        raise ValueError(f"{error.file}: {error.reason}, {error.detail}") from error
    surest = max(faces, key=lambda face: face.confidence)
    if surest.confidence < CONFIDENCE:
        return nothing
    intensities = [surest.aus.get(code, np.nan) for code in action_units]
    return np.array(intensities) / OPENFACE_MAXIMUM
