"""Judges, which measure action units in images: the model's own reader, MediaPipe, OpenFace.

MediaPipe and OpenFace have seen neither the model nor its edits. OpenFace also annotates most
training sets; MediaPipe is independent of them.
"""

import contextlib
import os
import queue
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.evaluation.readings import remembering
from ganimation_jax.faces import blendshapes, openface_program
from ganimation_jax.faces.landmarker import BORDER, FACE_LANDMARKER, Landmarker
from ganimation_jax.features.batches import in_batches

# The area under the ROC curve of a judge's intensities against human FACS coding, on about 250
# colour photos (Compound Facial Expressions of Emotion): OpenFace's and MediaPipe's. .5 is chance.
HUMAN_AGREEMENT = {
    "AU01": (0.87, 0.91),
    "AU02": (0.87, 0.92),
    "AU04": (0.94, 0.77),
    "AU05": (0.91, 0.96),
    "AU06": (0.70, 0.50),
    "AU07": (0.73, 0.78),
    "AU09": (0.96, 0.38),
    "AU10": (0.74, 0.62),
    "AU12": (1.00, 1.00),
    "AU15": (0.80, 0.89),
    "AU17": (0.94, 0.89),
    "AU20": (0.70, 0.77),
    "AU25": (0.90, 0.87),
    "AU26": (0.91, 0.89),
}
GOOD, CHANCE = 0.75, 0.55  # areas: at least GOOD is well judged, at most CHANCE not at all
OWN = "own"  # the name of the model's own reader
# Landmarkers per core: each waits for MediaPipe's own threads most of the time, so that more than
# one keeps a core busy.
PER_CORE = 2


class Judge(NamedTuple):
    """A reader of action units, with its reliability for each."""

    name: str
    read: Callable[[np.ndarray], np.ndarray]
    """Float images ``b h w 3`` in [-1, 1] -> ``b n``, [0, 1] or a little beyond for a model's own
    reader: a row of NaN where no face was found, a column of NaN for a unit that is not judged."""
    quality: Mapping[str, str]  # action unit -> reliability: "good", "low" or "none"


def graded(place: int, action_units: Sequence[str]) -> dict[str, str]:
    """Grade a judge's reliability for each unit by its agreement with human coders.

    Units without human coding have low confidence. Other conditions are not judged.

    Args:
      place: index of the judge in ``HUMAN_AGREEMENT``: 0 is OpenFace, 1 is MediaPipe.
      action_units: names of the units.

    >>> graded(1, ["AU12", "AU06", "AU10", "AU45"])
    {'AU12': 'good', 'AU06': 'none', 'AU10': 'low', 'AU45': 'low'}
    """

    def grade(unit: str) -> str:
        if unit not in ACTION_UNITS:
            return "none"
        area = HUMAN_AGREEMENT.get(unit, (0.6, 0.6))[place]
        return "good" if area >= GOOD else "none" if area <= CHANCE else "low"

    return {unit: grade(unit) for unit in action_units}


# Units that both judges read well. Compare models by these.
WELL_JUDGED = tuple(unit for unit, areas in HUMAN_AGREEMENT.items() if min(areas) >= GOOD)


def own_reader(read: Callable, names: Sequence[str]) -> Judge:
    """Wrap the model's own reader; ``read`` maps images to conditions in batches of 32."""
    return Judge(OWN, lambda images: in_batches(read, images), dict.fromkeys(names, "good"))


@contextlib.contextmanager
def mediapipe(
    action_units: Sequence[str], model: Path | None = None, threads: int | None = None
) -> Iterator[Judge]:
    """MediaPipe's landmarker with the linear maps of ``faces.blendshapes``; closed on exit.

    Crops are not enlarged. In a test on 300 real crops it found every face at 64, 128 and 160
    pixels, and enlarging changed neither that nor the agreement with OpenFace. Blendshapes of
    pictures are cached on disk (``readings``).

    Args:
      action_units: names of the columns.
      model: path of ``face_landmarker.task``; located automatically by default.
      threads: number of pictures read at a time, each by its own landmarker; by default two per
        core.

    Raises:
      ImportError, FileNotFoundError, ValueError: see ``Landmarker``.
    """
    quality = graded(1, action_units)
    # The last column of ``_units`` is for units that are not judged.
    columns = [-1 if quality[unit] == "none" else ACTION_UNITS.index(unit) for unit in action_units]
    count = threads or PER_CORE * (os.cpu_count() or 1)
    with contextlib.ExitStack() as stack:
        idle: queue.SimpleQueue[Landmarker] = queue.SimpleQueue()
        for _ in range(count):
            idle.put(stack.enter_context(Landmarker(model)))
        pool = stack.enter_context(ThreadPoolExecutor(count))

        def read_one(image: np.ndarray) -> np.ndarray:
            landmarker = idle.get()
            try:
                return _blendshapes(landmarker, image)
            finally:
                idle.put(landmarker)

        read_blendshapes = remembering(
            lambda images: np.stack(list(pool.map(read_one, images))),
            "mediapipe",
            f"{version('mediapipe')} {FACE_LANDMARKER.sha256} border {BORDER}",
        )

        def read(images: np.ndarray) -> np.ndarray:
            return np.stack([_units(row)[columns] for row in read_blendshapes(_bytes(images))])

        yield Judge("mediapipe", read, quality)


def _blendshapes(landmarker: Landmarker, image: np.ndarray) -> np.ndarray:
    """The blendshapes of the largest face, float32 52; NaN without a face."""
    faces = landmarker.faces(image)
    return faces[0].blendshapes if faces else np.full(len(blendshapes.NAMES), np.nan, np.float32)


def _units(coefficients: np.ndarray) -> np.ndarray:
    """Action units, then one NaN; all NaN where the blendshapes are. 52 -> 18."""
    units = np.full(len(ACTION_UNITS) + 1, np.nan, np.float32)
    if np.isfinite(coefficients).all():
        units[:-1] = blendshapes.read_aus(coefficients)
    return units


def openface_binary(program: Path, action_units: Sequence[str]) -> Judge:
    """Run OpenFace itself.

    Args:
      program: OpenFace's ``FaceLandmarkImg``.
      action_units: names of the columns.

    Returns:
      A judge whose ``read`` raises OpenFaceError with the program's output if the program
      fails, hangs or writes nothing.

    Raises:
      FileNotFoundError, ValueError: see ``openface_program.checked_program``.
    """
    program = openface_program.checked_program(program)

    def read(images: np.ndarray) -> np.ndarray:
        return openface_program.read_pictures(program, _bytes(images), action_units)

    # Not kept on disk, because nothing says which version of OpenFace this is.
    return Judge("openface", remembering(read, "openface"), graded(0, action_units))


def openface_csvs(folder: Path, action_units: Sequence[str]) -> Judge:
    """Read the CSV files that OpenFace wrote for the pictures of ``write_images``.

    The judge's ``read`` needs all the written images, in the same order. It raises ValueError
    if ``folder`` clearly belongs to another set, or if a file in it cannot be used.

    Raises:
      FileNotFoundError: the folder does not exist.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder} with OpenFace's CSV files")
    return Judge(
        "openface",
        lambda images: openface_program.read_csvs(folder, len(images), action_units),
        graded(0, action_units),
    )


def write_images(folder: Path, images: np.ndarray) -> None:
    """Write float images ``b h w 3`` as ``00000.png``, ..., at least 256 pixels a side."""
    openface_program.write_pictures(folder, _bytes(images))


def _bytes(images: np.ndarray) -> np.ndarray:
    """Convert [-1, 1] to uint8 [0, 255]."""
    return np.clip(np.rint((images + 1) * 127.5), 0, 255).astype(np.uint8)
