"""Annotated faces on disk: one TFDS dataset, packed once, read at random.

``pack`` writes a TFDS dataset in ``array_record`` files and ``FaceDataset`` reads it;
neither needs TensorFlow. The layout under the directory given to both:

    annotated_faces/1.0.0/
      annotated_faces-{train,test}.array_record-*   the records, see ``FaceDataset``
      aus-{train,test}.npy                          all AUs in record order, if there are any
      labels-{train,test}.npy                       all labels in record order, if there are any
      pairs-{train,test}.npy                        groups of aligned faces, where there are any
      metadata.json, features.json, dataset_info.json
      sha256.json                                   digests of all these

TFDS stores records in the order of a hash of their id: two packings of the same
faces give the same bytes, and neighbours on disk have nothing in common.
"""

import contextlib
import hashlib
import io
import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core.example_serializer import ExampleSerializer

from ganimation_jax.conditions import Condition, check_labels
from ganimation_jax.data.pairs import ALONE
from ganimation_jax.data.records import (
    NAME,
    TABLES,
    VERSION,
    Face,
    Faces,
    Progress,
    RecordBuilder,
    serialize_in_order,
)

DIGESTS = "sha256.json"  # of the other files, beside them


class FaceDataset:
    """Random access to one split; picklable, so that Grain's workers can hold it.

    Record ``i`` is a dictionary: ``jpeg`` bytes of a square RGB picture, ``aus``
    float32 ``n`` in [0, 5], ``labels`` float32 ``m``, 0 or 1, ``id``, ``person`` (may be empty)
    and ``source`` text, ``transform`` float32 ``2 3`` from source pixels to crop pixels (see
    ``Face``). A dataset without action units has no ``aus``, one without labels no ``labels``.

    Attributes:
      action_units: the codes of the ``n`` columns of ``aus``.
      labels: the ``m`` columns of ``labels``.
      image_size: the side of every picture in pixels.
      annotator: what measured the action units.
      records_sha256: a digest of the records of all splits.

    Raises:
      FileNotFoundError: the directory holds no complete dataset.
      ValueError: it has no such split; the message lists those it has.
    """

    def __init__(self, directory: str | Path, split: str):
        self.directory, self.split = Path(directory), split
        folder = _folder(self.directory)
        if not folder.is_dir():
            raise FileNotFoundError(
                f"no dataset in {self.directory}; make one with: ganimation prepare"
                f" photos --images DIR --out {self.directory}"
            )
        builder = tfds.builder_from_directory(folder)
        if split not in builder.info.splits:
            splits = ", ".join(builder.info.splits)
            raise ValueError(
                f"{self.directory} has no split {split!r}; it has: {splits}. Prepare it again with "
                "another --test-fraction, or with --test-ids"
            )
        metadata = builder.info.metadata
        self.action_units: tuple[str, ...] = tuple(metadata["action_units"])
        listed = metadata.get("labels", ())  # datasets from before there were labels have none
        self.labels: tuple[Condition, ...] = tuple(Condition(**one) for one in listed)
        self.image_size: int = metadata["image_size"]
        self.annotator: str = metadata["annotator"]
        self.records_sha256: str = metadata.get("fingerprint", "")
        self._records = _open(builder, split)

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        record = self._records[index]
        record["jpeg"] = record.pop("image")
        for key in ("id", "person", "source"):
            record[key] = record[key].decode()
        return record

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """The action units, then the labels."""
        return tuple(Condition(code) for code in self.action_units) + self.labels

    def aus_table(self) -> np.ndarray:
        """All AUs in record order, float32 ``len n`` in [0, 5]; decodes no picture."""
        return self._table("aus", len(self.action_units))

    def label_table(self) -> np.ndarray:
        """All labels in record order, float32 ``len m``, 0 or 1; decodes no picture."""
        return self._table("labels", len(self.labels))

    def _table(self, name: str, columns: int) -> np.ndarray:
        if not columns:
            return np.zeros((len(self), 0), np.float32)
        return np.load(_folder(self.directory) / f"{name}-{self.split}.npy")

    def pair_groups(self) -> np.ndarray | None:
        """The group of each face in record order, int32; None in a dataset without groups.

        Faces of one group are aligned and show one person, so that any two are a pair. Faces
        in no group have ``pairs.ALONE``.
        """
        path = _folder(self.directory) / f"pairs-{self.split}.npy"
        return np.load(path) if path.exists() else None

    def __repr__(self) -> str:
        return f"FaceDataset({str(self.directory)!r}, {self.split!r})"

    def __reduce__(self) -> tuple:
        return FaceDataset, (self.directory, self.split)


def pack(
    out: Path,
    faces: Faces,
    *,
    action_units: Sequence[str],
    image_size: int,
    annotator: str,
    labels: Sequence[Condition] = (),
    group_of: Callable[[Face], str] | None = None,
    progress: Progress = lambda faces, count, split: faces,
) -> bool:
    """Write ``faces`` as the dataset under ``out``, replacing an earlier one.

    The dataset is built in a temporary folder and renamed when complete. After an
    interruption, the earlier dataset is unchanged and packing can be repeated.

    Args:
      out: directory of the dataset.
      faces: what to pack, ids unique; a split without faces is not written. They are
        walked several times and never held (``FaceTable`` reads them from a file).
      action_units: codes of the columns of ``Face.aus``.
      image_size: the side of every picture in pixels.
      annotator: what measured the action units.
      labels: the columns of ``Face.labels``.
      group_of: names the group in which a face is aligned with others of the same person, or
        gives an empty text. None: no faces are aligned.
      progress: gets the faces of a split, their number and its name, and passes the
        faces through, to report on them.

    Returns:
      False if the dataset already has exactly this content and was not written again.

    Raises:
      OSError: it cannot be written; an earlier dataset is unchanged.
      ValueError: there are no faces, or neither action units nor labels; or two labels, or a
        label and an action unit, have the same name.
    """
    if not faces:
        raise ValueError("no face to pack")
    if not (action_units or labels):
        raise ValueError("faces to pack need action units or labels; they have neither")
    check_labels(labels)
    metadata = {
        "action_units": list(action_units),
        "image_size": image_size,
        "annotator": annotator,
        "fingerprint": _fingerprint(faces),
    }
    if labels:
        metadata["labels"] = [one._asdict() for one in labels]
    groups = None if group_of is None else {face.id: group_of(face) for face in faces}
    if groups is not None:
        text = json.dumps(groups, sort_keys=True)
        metadata["groups"] = hashlib.sha256(text.encode()).hexdigest()
    target = _folder(out)
    with contextlib.suppress(FileNotFoundError, ValueError):  # ValueError: damaged
        known = json.loads((target / "metadata.json").read_text())
        if known == metadata and (target / DIGESTS).is_file() and not damaged_files(out):
            return False

    staging = out / ".packing"
    shutil.rmtree(staging, ignore_errors=True)
    builder = RecordBuilder(faces, metadata, progress, data_dir=staging, file_format="array_record")
    tfds.disable_progress_bar()
    with (
        contextlib.redirect_stdout(io.StringIO()),  # TFDS announces downloads; there are none
        mock.patch.object(ExampleSerializer, "serialize_example", serialize_in_order),
    ):
        try:
            # Without this flag TFDS asks a Google bucket for a dataset of our name.
            builder.download_and_prepare(
                download_config=tfds.download.DownloadConfig(try_download_gcs=False)
            )
        except RuntimeError as error:  # so array_record calls a full disk
            raise OSError(f"cannot write the dataset in {out}: {error}") from error
    for split in builder.info.splits:
        # Read back rather than remembered: the tables are in the order of the records.
        records = _open(builder, split)
        for name in TABLES:
            if name in builder.info.features:
                table = np.stack([record[name] for record in records])
                np.save(_folder(staging) / f"{name}-{split}.npy", table)
        if groups is not None:
            names = [groups[record["id"].decode()] for record in records]
            np.save(_folder(staging) / f"pairs-{split}.npy", numbered(names))
    (_folder(staging) / DIGESTS).write_text(json.dumps(_digests(_folder(staging)), indent=1))
    # Renamed, not deleted, to make room: half a deletion would look like a dataset.
    if target.exists():
        target.rename(staging / "replaced")
    target.parent.mkdir(exist_ok=True)
    _folder(staging).rename(target)
    shutil.rmtree(staging)
    return True


def damaged_files(directory: str | Path) -> list[str]:
    """Names of files of the dataset that are not as ``pack`` wrote them; none if there is none."""
    folder = _folder(Path(directory))
    if not (folder / DIGESTS).is_file():
        return []
    try:
        expected = dict(json.loads((folder / DIGESTS).read_text()))
    except (ValueError, TypeError):
        return [DIGESTS]
    found = _digests(folder)
    return sorted(name for name in expected | found if found.get(name) != expected.get(name))


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file."""
    digests = {}
    for path in sorted(folder.iterdir()):
        if path.name != DIGESTS:
            with path.open("rb") as file:
                digests[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


def numbered(names: Sequence[str]) -> np.ndarray:
    """Groups by number in place of name, int32; ``ALONE`` where the name is empty."""
    known = {name: number for number, name in enumerate(sorted(set(names) - {""}))}
    return np.array([known.get(name, ALONE) for name in names], np.int32)


def _folder(directory: Path) -> Path:
    return directory / NAME / VERSION


def _open(builder: tfds.core.DatasetBuilder, split: str) -> Sequence[dict[str, Any]]:
    return builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})


def _fingerprint(faces: Iterable[Face]) -> str:
    """Changes with anything in the records."""
    digest = hashlib.sha256()
    for face in faces:
        text = repr(face._replace(jpeg=Path()))
        # Without labels as it was before there were labels: packed datasets stay as they are.
        digest.update(text.replace(", labels=())", ")").encode())
        digest.update(hashlib.sha256(face.jpeg.read_bytes()).digest())
    return digest.hexdigest()
