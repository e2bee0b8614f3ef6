"""What a record of a dataset holds, and the TFDS builder that writes records."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core.example_serializer import ExampleSerializer

NAME = "annotated_faces"
VERSION = "1.0.0"
SPLITS = ("train", "test")
DESCRIPTION = "Face crops with the intensities of their facial action units (0-5)."
# Two tables of a split, by their names in records; a dataset has at least one of them.
TABLES = ("aus", "labels")


class Face(NamedTuple):
    """One face to pack.

    ``transform`` maps a point (x, y) of the source picture to the crop,
    ``crop = transform @ (x, y, 1)``. Coordinates are continuous: (0, 0) is the
    outer corner of the first pixel, whose centre is (0.5, 0.5).
    """

    id: str
    split: str  # "train" or "test"
    person: str  # empty when unknown
    source: str  # the picture it was cut from
    aus: Sequence[float]  # n, [0, 5]
    transform: Sequence[Sequence[float]]  # 2 3
    jpeg: Path  # square, RGB
    labels: Sequence[float] = ()  # 0 or 1


class Faces(Protocol):
    """Faces that can be walked again and again: a list, or a file of them."""

    def __iter__(self) -> Iterator[Face]: ...
    def __len__(self) -> int: ...


Progress = Callable[[Iterable[Face], int, str], Iterable[Face]]


def features(image_size: int, action_units: int, labels: int = 0) -> tfds.features.FeaturesDict:
    """What a record holds, of so many action units and labels."""
    tables = {
        name: tfds.features.Tensor(shape=(count,), dtype=np.float32)
        for name, count in zip(TABLES, (action_units, labels), strict=True)
        if count
    }
    return tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(image_size, image_size, 3), encoding_format="jpeg"),
            **tables,
            "id": tfds.features.Text(),
            "person": tfds.features.Text(),
            "source": tfds.features.Text(),
            "transform": tfds.features.Tensor(shape=(2, 3), dtype=np.float32),
        }
    )


def examples(faces: Iterable[Face]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Faces as TFDS wants them: key and record."""
    for face in faces:
        tables = {"aus": face.aus, "labels": face.labels}
        record = {
            "image": face.jpeg,  # a path: TFDS stores the file's bytes as they are
            **{name: np.asarray(one, np.float32) for name, one in tables.items() if len(one)},
            "id": face.id,
            "person": face.person,
            "source": face.source,
            "transform": np.asarray(face.transform, np.float32),
        }
        yield face.id, record


def in_split(faces: Iterable[Face], split: str) -> Iterator[Face]:
    """Those of one split."""
    return (face for face in faces if face.split == split)


class RecordBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """The TFDS builder of one packing."""

    name = NAME
    VERSION = tfds.core.Version(VERSION)
    # Where TFDS looks for checksums of downloads, of which there are none; left to find it
    # out, version 4.9.10 imports importlib_resources, which it does not require.
    code_path = None

    def __init__(
        self,
        faces: Faces,
        metadata: dict[str, Any],
        progress: Progress,
        **kwargs: Any,
    ):
        self._faces, self._metadata, self._progress = faces, metadata, progress
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=DESCRIPTION,
            features=features(
                self._metadata["image_size"],
                len(self._metadata["action_units"]),
                len(self._metadata.get("labels", ())),
            ),
            metadata=tfds.core.MetadataDict(self._metadata),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
        counts = Counter(face.split for face in self._faces)
        return {
            split: examples(self._progress(in_split(self._faces, split), counts[split], split))
            for split in SPLITS
            if counts[split]
        }

    def _generate_examples(self) -> Iterator:
        raise NotImplementedError("the generators are made by _split_generators")


def serialize_in_order(serializer: ExampleSerializer, example: dict[str, Any]) -> bytes:
    """What TFDS does, but always the same bytes: its own puts the features in random order."""
    return serializer.get_tf_example(example).SerializeToString(deterministic=True)
