"""Read the action units of drawn people anew: by a readout, by OpenFace, or from a CSV file.

Drawing takes hours and reading minutes, so that the two are apart: people who are drawn
already are not drawn again when they are read another way.
"""

import csv
import functools
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ganimation_jax.action_units import ACTION_UNITS, OPENFACE_MAXIMUM
from ganimation_jax.faces import openface_program
from ganimation_jax.prepare.finders import landmarker_of_process
from ganimation_jax.prepare.parallel import Rescue, parallel_map, progress
from ganimation_jax.prepare.problems import Skip, UsageError
from ganimation_jax.prepare.readout import Readout
from ganimation_jax.prepare.shards import read_shards, write_shard
from ganimation_jax.prepare.splits import read_text
from ganimation_jax.prepare.work import Record

TOGETHER = 16  # people whose crops one run of OpenFace reads
Table = Mapping[str, dict[str, float]]  # id -> action unit -> intensity, 0-5


def read_by_readout(
    paths: Sequence[Path], readout: Path, model: Path | None, out: Path, workers: int
) -> list[Path]:
    """Files like ``paths``, one a person, with the action units that ``readout`` reads.

    Args:
      paths: what was drawn.
      readout: of ``fit-readout``.
      model: MediaPipe's.
      out: the dataset's folder, with the crops.
      workers: processes.
    """
    digest = hashlib.sha256(readout.read_bytes()).hexdigest()[:12]
    folder = out / f"readings-{digest}"
    folder.mkdir(exist_ok=True)
    work = functools.partial(
        _read_person, readout=readout, model=model, crops=out / "crops", folder=folder
    )

    def lost(path: Path) -> Path:
        return _relabel(path, folder, lambda name: None, "reading the crop kills the process")

    rescue = Rescue(lambda path: path.stem, lost)
    done = parallel_map(work, paths, workers, chunk=1, apart=True, rescue=rescue)
    return list(progress(done, len(paths), "reading"))


def read_by_openface(paths: Sequence[Path], program: Path, out: Path, workers: int) -> list[Path]:
    """Files like ``paths``, one a person, with the action units that OpenFace reads.

    Args:
      paths: what was drawn.
      program: from ``openface_program.checked_program``.
      out: the dataset's folder, with the crops.
      workers: processes, each of which runs OpenFace.

    Raises:
      UsageError: OpenFace failed; has its output.
    """
    digest = hashlib.sha256(program.read_bytes()).hexdigest()[:12]
    folder = out / f"readings-openface-{digest}"
    folder.mkdir(exist_ok=True)
    targets = [folder / path.name for path in paths]
    todo = [path for path, target in zip(paths, targets, strict=True) if not target.exists()]
    # Several people at a time, because starting OpenFace takes seconds.
    groups = [todo[i : i + TOGETHER] for i in range(0, len(todo), TOGETHER)]
    work = functools.partial(_read_people, program=program, crops=out / "crops", folder=folder)
    done = parallel_map(work, groups, workers, chunk=1, apart=True)
    for _ in progress(done, len(groups), f"groups of {TOGETHER} people read by OpenFace"):
        pass
    return targets


def read_from_table(paths: Sequence[Path], table: Table, out: Path) -> list[Path]:
    """Files like ``paths``, one a person, with the action units of ``read_csv``."""
    folder = out / "readings-csv"
    folder.mkdir(exist_ok=True)
    return [_relabel(path, folder, table.get, "no row in the CSV file") for path in paths]


def read_csv(path: Path) -> Table:
    """The action units in a CSV file: a row a picture, its name in ``id`` or ``image``.

    Intensities are in columns ``AU01_r`` or ``AU01``, as OpenFace has them.

    Raises:
      UsageError: it cannot be read, lacks these columns, or an intensity is no number in [0, 5].
    """
    rows = csv.DictReader(read_text(path).splitlines(), skipinitialspace=True)
    names = rows.fieldnames or ()
    key = next((name for name in ("id", "image") if name in names), None)
    columns = {code: name for code in ACTION_UNITS for name in (code, f"{code}_r") if name in names}
    if key is None or not columns:
        raise UsageError(f"{path} needs a column id or image, and columns AU01_r, AU02_r, ...")
    table = {}
    for row in rows:
        values = {code: _intensity(row[name], name, path) for code, name in columns.items()}
        table[Path(row[key]).stem] = values
    return table


def _intensity(text: str | None, column: str, path: Path) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = float("nan")
    if not 0 <= value <= OPENFACE_MAXIMUM:
        raise UsageError(f"{path}, column {column}: {text!r} is not a number from 0 to 5")
    return value


def _read_person(
    path: Path, *, readout: Path, model: Path | None, crops: Path, folder: Path
) -> Path:
    landmarker, fitted = landmarker_of_process(model), _readout(readout)

    def read(name: str) -> dict[str, float] | None:
        with Image.open(crops / f"{name}.jpg") as crop:
            faces = landmarker.faces(np.asarray(crop))
        return fitted.read(faces[0]) if faces else None

    target = folder / path.name
    return target if target.exists() else _relabel(path, folder, read, "no face in the crop")


def _read_people(paths: Sequence[Path], *, program: Path, crops: Path, folder: Path) -> None:
    names = [line.id for path in paths for line in read_shards([path]) if isinstance(line, Record)]
    readings: dict[str, dict[str, float]] = {}
    if names:
        images = []
        for name in names:
            with Image.open(crops / f"{name}.jpg") as crop:
                images.append(np.asarray(crop))
        try:
            read = openface_program.read_pictures(program, images, ACTION_UNITS)
        except (openface_program.OpenFaceError, ValueError) as error:
            raise UsageError(str(error)) from error
        for name, row in zip(names, read.astype(float) * OPENFACE_MAXIMUM, strict=True):
            found = zip(ACTION_UNITS, row.tolist(), strict=True)
            if units := {code: value for code, value in found if not math.isnan(value)}:
                readings[name] = units
    for path in paths:
        _relabel(path, folder, readings.get, "OpenFace found no face in the crop")


def _relabel(
    path: Path, folder: Path, read: Callable[[str], dict[str, float] | None], reason: str
) -> Path:
    """One person's file with what ``read`` says of each picture; None leaves it out."""
    lines = []
    for line in read_shards([path]):
        if isinstance(line, Record):
            aus = read(line.id)
            line = Skip(line.id, reason, "") if aus is None else line._replace(aus=aus)
        lines.append(line)
    target = folder / path.name
    write_shard(target, lines)
    return target


@functools.cache
def _readout(path: Path) -> Readout:
    return Readout.load(path)
