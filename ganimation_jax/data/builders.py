"""Prepared folders as TFDS datasets, for those who know ``tfds``.

    import tensorflow_datasets as tfds
    import ganimation_jax.data.builders  # registers them

    builder = tfds.builder("face_folder/mediapipe", data_dir="DATASETS", file_format="array_record")
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(
            manual_dir="PREPARED", try_download_gcs=False
        )
    )
    faces = builder.as_data_source("train")

``PREPARED`` is what ``ganimation prepare`` wrote: ``table.csv`` and
``crops``. That command also packs it, for ``FaceDataset``; this is another way to the
same records. TensorFlow is not needed.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.conditions import Condition, describe
from ganimation_jax.data.records import DESCRIPTION, SPLITS, examples, features, in_split
from ganimation_jax.data.table import FaceTable


@dataclasses.dataclass(eq=False, kw_only=True)
class FaceConfig(tfds.core.BuilderConfig):
    """Which faces a folder holds; give your own as ``config=FaceConfig(name="mine", ...)``."""

    image_size: int = 128
    action_units: tuple[str, ...] = ACTION_UNITS
    labels: tuple[Condition, ...] = ()


OPENFACE = FaceConfig(name="openface", description="128 x 128, all 17 action units.")
MEDIAPIPE = FaceConfig(
    name="mediapipe",
    description="128 x 128, the 16 action units that MediaPipe serves.",
    action_units=tuple(code for code in ACTION_UNITS if code != "AU09"),
)


class FaceFolder(tfds.core.GeneratorBasedBuilder):
    """Faces that ``ganimation prepare`` has cropped and annotated."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [OPENFACE, MEDIAPIPE]  # noqa: RUF012 - TFDS's own way
    MANUAL_DOWNLOAD_INSTRUCTIONS = "manual_dir is a folder that `ganimation prepare` wrote."
    code_path = None  # see ganimation_jax.data.dataset
    homepage = ""
    citation = ""

    def _info(self) -> tfds.core.DatasetInfo:
        config = self.builder_config
        return tfds.core.DatasetInfo(
            builder=self,
            description=DESCRIPTION,
            features=features(config.image_size, len(config.action_units), len(config.labels)),
            homepage=self.homepage,
            citation=self.citation,
            metadata=tfds.core.MetadataDict(
                action_units=list(config.action_units),
                labels=[one._asdict() for one in config.labels],
            ),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
        table = FaceTable(Path(dl_manager.manual_dir))
        if table.action_units != self.builder_config.action_units:
            raise ValueError(
                f"{table.path} has the action units {' '.join(table.action_units)}, the config"
                f" {self.builder_config.name!r} has {' '.join(self.builder_config.action_units)}"
            )
        if table.labels != self.builder_config.labels:
            raise ValueError(
                f"{table.path} has the labels {describe(table.labels)}, the config"
                f" {self.builder_config.name!r} has {describe(self.builder_config.labels)}"
            )
        present = Counter(face.split for face in table)
        return {split: self._generate_examples(table, split) for split in SPLITS if present[split]}

    def _generate_examples(self, table: FaceTable, split: str) -> Iterator:
        return examples(in_split(table, split))


class EmotioNet(FaceFolder):
    """EmotioNet's faces (Ohio State University; a million pictures by their addresses)."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Ask for the lists at the homepage, download the pictures that they name, run"
        " `ganimation prepare emotionet --manual-dir DIR --out PREPARED`,"
        " and give PREPARED as manual_dir."
    )
    homepage = "https://cbcsl.ece.ohio-state.edu/EmotionNetChallenge/index.html"
    citation = """@inproceedings{benitez2016emotionet,
  title = {EmotioNet: An Accurate, Real-Time Algorithm for the Automatic Annotation of a Million
           Facial Expressions in the Wild},
  author = {Benitez-Quiroz, C. Fabian and Srinivasan, Ramprakash and Martinez, Aleix M.},
  booktitle = {CVPR},
  year = {2016}
}"""
