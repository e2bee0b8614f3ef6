"""Who reads action units in pictures: the run's critic, MediaPipe, OpenFace.

MediaPipe and OpenFace have seen neither the generator nor the critic. OpenFace is also what
annotates most training sets; MediaPipe is a stranger to those.
"""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ganimation_jax.action_units import OPENFACE_MAXIMUM, positions
from ganimation_jax.faces import blendshapes
from ganimation_jax.faces.landmarker import Landmarker
from ganimation_jax.faces.openface_rows import Rows, measure, read_rows
from ganimation_jax.features.batches import in_batches
from ganimation_jax.files.unusable import UnusableFile

# Units that OpenFace and MediaPipe both read well in real faces: those to compare models by.
WELL_JUDGED = ("AU01", "AU02", "AU05", "AU06", "AU07", "AU12", "AU25", "AU26", "AU45")
OPENFACE_SIDE = 256  # pixels: smaller crops are enlarged, for its detector misses small faces
OPENFACE_CONFIDENCE = 0.7  # below which its landmarks are off: as when a dataset is prepared
NO_FACE = ("no face in CSV", "OpenFace found no face", "low confidence")


class OpenFaceError(RuntimeError):
    """OpenFace ran, and failed or wrote nothing."""


class Judge(NamedTuple):
    """Reads the action units of faces."""

    name: str
    read: Callable[[np.ndarray], np.ndarray]
    """Float images ``b h w 3`` in [-1, 1] -> ``b n``, [0, 1] up to the critic's overshoot: a row
    of NaN where no face was found, a column of NaN for a unit that is not served."""
    quality: Mapping[str, str]  # action unit -> "good", "low" or "none": how far to trust it


def critic(read_aus: Callable, action_units: Sequence[str]) -> Judge:
    """The run's own critic; ``read_aus`` is image -> aus, and gets batches of 32."""
    return Judge(
        "critic",
        lambda images: in_batches(read_aus, images),
        dict.fromkeys(action_units, "good"),
    )


@contextlib.contextmanager
def mediapipe(action_units: Sequence[str], model: Path | None = None) -> Iterator[Judge]:
    """MediaPipe's landmarker, with the lines of ``faces.blendshapes``; closed on leaving.

    Crops are shown as they are: of 300 real ones it found the face in every one at 64, 128
    and 160 pixels, and enlarging them changed neither that nor the agreement with OpenFace.

    Args:
      action_units: those of the columns.
      model: ``face_landmarker.task``; by default looked for.

    Raises:
      ImportError, FileNotFoundError, ValueError: as ``Landmarker``.
    """
    columns = positions(action_units)
    with Landmarker(model) as landmarker:

        def read_face(image: np.ndarray) -> np.ndarray:
            faces = landmarker.faces(image)  # the largest first
            if not faces:
                return np.full(len(columns), np.nan, np.float32)
            return blendshapes.read_aus(faces[0].blendshapes)[columns]

        yield Judge(
            "mediapipe",
            lambda images: np.stack([read_face(image) for image in _bytes(images)]),
            {code: blendshapes.QUALITY[code].grade for code in action_units},
        )


def openface_binary(program: Path, action_units: Sequence[str]) -> Judge:
    """OpenFace itself.

    Args:
      program: its ``FaceLandmarkImg``, for single pictures. ``FeatureExtraction`` would take
        all faces for one person's video and calibrate them to each other.
      action_units: those of the columns.

    Returns:
      A judge whose ``read`` raises OpenFaceError, with what the program printed, where it fails
      or writes nothing.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it cannot be executed, or is ``FeatureExtraction``.
    """
    program = program.resolve()
    if not program.is_file():
        raise FileNotFoundError(f"no OpenFace at {program}: give its FaceLandmarkImg")
    if "FeatureExtraction" in program.name:
        raise ValueError(f"{program} reads videos: give FaceLandmarkImg, which is beside it")
    if not os.access(program, os.X_OK):
        raise ValueError(f"{program} is not executable: chmod +x it")

    def read(images: np.ndarray) -> np.ndarray:
        with tempfile.TemporaryDirectory(prefix="openface-") as scratch:
            pictures, out = Path(scratch) / "pictures", Path(scratch) / "out"
            write_images(pictures, images)
            _run(program, pictures, out)
            return _read_csvs(out, len(images), action_units)

    return Judge("openface", read, dict.fromkeys(action_units, "good"))


def openface_csvs(folder: Path, action_units: Sequence[str]) -> Judge:
    """What OpenFace wrote when the user ran it over the pictures of ``write_images``.

    Its ``read`` must be given the images that were written, all and in order. It raises
    ValueError where ``folder`` is clearly of another set, or a file in it is no use.

    Raises:
      FileNotFoundError: there is no such folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder} with OpenFace's CSV files")
    return Judge(
        "openface",
        lambda images: _read_csvs(folder, len(images), action_units),
        dict.fromkeys(action_units, "good"),
    )


def write_images(folder: Path, images: np.ndarray) -> None:
    """Float images ``b h w 3`` as ``00000.png``, ..., of at least 256 pixels for OpenFace."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(_bytes(images)):
        picture = Image.fromarray(image)
        if picture.width < OPENFACE_SIDE:
            picture = picture.resize((OPENFACE_SIDE,) * 2, Image.Resampling.BICUBIC)
        picture.save(folder / f"{i:05}.png")


def _bytes(images: np.ndarray) -> np.ndarray:
    """[-1, 1] to uint8 [0, 255]."""
    return np.clip(np.rint((images + 1) * 127.5), 0, 255).astype(np.uint8)


def _run(program: Path, pictures: Path, out: Path) -> None:
    try:
        done = subprocess.run(
            [program, "-fdir", pictures, "-out_dir", out, "-aus"],
            cwd=program.parent,  # where it looks for its models
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:  # built for another machine
        raise OpenFaceError(f"{program} cannot be run: {error}") from error
    if done.returncode == 0 and any(out.glob("*.csv")):
        return
    what = f"ended with {done.returncode}" if done.returncode else "wrote no CSV file"
    said = (done.stderr.strip() or done.stdout.strip())[-2000:]
    raise OpenFaceError(f"{program} {what}; it said: {said or 'nothing'}")


def _read_csvs(folder: Path, count: int, action_units: Sequence[str]) -> np.ndarray:
    """float32 ``count n``, a row a picture; NaN where it has no file or no face."""
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


def _read_csv(path: Path, action_units: Sequence[str]) -> np.ndarray:
    """What OpenFace read in the face that it is surest of."""
    nothing = np.full(len(action_units), np.nan)
    try:
        faces = [measure(row, path, min_confidence=0) for row in read_rows(Rows(path))]
    except UnusableFile as error:
        if error.reason in NO_FACE:
            return nothing
        raise ValueError(f"{error.file}: {error.reason}, {error.detail}") from error
    surest = max(faces, key=lambda face: face.confidence)
    if surest.confidence < OPENFACE_CONFIDENCE:
        return nothing
    intensities = [surest.aus.get(code, np.nan) for code in action_units]
    return np.array(intensities) / OPENFACE_MAXIMUM
