"""The dataset on disk: what goes in comes out, whole or not at all."""

import io
import itertools
import json
import pickle
import shutil
import subprocess
import sys

import grain
import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.conditions import Condition
from ganimation_jax.data import builders
from ganimation_jax.data.dataset import FaceDataset, pack
from ganimation_jax.data.records import Face
from ganimation_jax.data.table import Row, write_table

UNITS = ("AU01", "AU12", "AU45")
SIZE = 16


def make_faces(folder, train=7, test=3):
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    faces = []
    for number in range(train + test):
        path = folder / f"é{number:02d}.jpg"
        Image.fromarray(rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)).save(path)
        faces.append(
            Face(
                id=path.stem,
                split="train" if number < train else "test",
                person="Zoë" if number % 2 else "",
                source=f"somewhere/{number}.png",
                aus=tuple(rng.uniform(0, 5, len(UNITS))),
                transform=((0.5, 0.1, number), (-0.1, 0.5, 2)),
                jpeg=path,
            )
        )
    return faces


def pack_faces(out, faces):
    return pack(out, faces, action_units=UNITS, image_size=SIZE, annotator="a test")


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed")
    faces = make_faces(folder / "crops")
    assert pack_faces(folder, faces)
    return folder, {face.id: face for face in faces}


@pytest.mark.parametrize(("split", "count"), [("train", 7), ("test", 3)])
def test_records_round_trip_exactly(packed, split, count):
    folder, faces = packed
    dataset = FaceDataset(folder, split)
    assert len(dataset) == count
    assert dataset.action_units == UNITS
    assert (dataset.image_size, dataset.annotator) == (SIZE, "a test")
    seen = set()
    for record in dataset:
        face = faces[record["id"]]
        seen.add(face.id)
        assert face.split == split
        assert record["jpeg"] == face.jpeg.read_bytes()
        assert (record["person"], record["source"]) == (face.person, face.source)
        np.testing.assert_array_equal(record["aus"], np.float32(face.aus), strict=True)
        np.testing.assert_array_equal(record["transform"], np.float32(face.transform), strict=True)
    assert seen == {face.id for face in faces.values() if face.split == split}


def test_aus_table_is_in_record_order(packed):
    dataset = FaceDataset(packed[0], "train")
    by_record = np.stack([record["aus"] for record in dataset])
    np.testing.assert_array_equal(dataset.aus_table(), by_record, strict=True)


def test_pickles_and_tells_what_it_is(packed):
    dataset = FaceDataset(packed[0], "test")
    again = pickle.loads(pickle.dumps(dataset))
    assert repr(again) == repr(dataset) == f"FaceDataset('{packed[0]}', 'test')"
    assert again[2]["jpeg"] == dataset[2]["jpeg"]


def test_grain_reads_it(packed):
    source = FaceDataset(packed[0], "train")
    stream = (
        grain.MapDataset.source(source)
        .seed(0)
        .shuffle()
        .map(
            lambda record: {
                "image": np.asarray(Image.open(io.BytesIO(record["jpeg"]))),
                "aus": record["aus"],
            }
        )
        .batch(7)
    )
    batch = stream[0]
    assert batch["image"].shape == (7, SIZE, SIZE, 3)
    got = batch["aus"][np.lexsort(batch["aus"].T)]
    want = source.aus_table()[np.lexsort(source.aus_table().T)]
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("index", [-1, 7])
def test_index_out_of_range(packed, index):
    with pytest.raises(IndexError, match=f"record {index} of 7"):
        FaceDataset(packed[0], "train")[index]


def test_no_dataset_says_how_to_make_one(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"ganimation prepare photos"):
        FaceDataset(tmp_path, "train")


def test_unknown_split_lists_those_there(packed):
    with pytest.raises(ValueError, match="no split 'val'; it has: train, test"):
        FaceDataset(packed[0], "val")


def test_a_split_without_faces_is_absent(tmp_path):
    pack_faces(tmp_path, make_faces(tmp_path / "crops", train=2, test=0))
    with pytest.raises(ValueError, match=r"it has: train\. Prepare it again"):
        FaceDataset(tmp_path, "test")


def test_nothing_to_pack(tmp_path):
    with pytest.raises(ValueError, match="no face"):
        pack_faces(tmp_path, [])


def test_same_faces_are_left_alone_and_changed_ones_replaced(tmp_path):
    faces = make_faces(tmp_path / "crops")
    assert pack_faces(tmp_path, faces)
    assert not pack_faces(tmp_path, faces)
    faces[0] = faces[0]._replace(aus=(0, 0, 5))
    assert pack_faces(tmp_path, faces)
    assert [0, 0, 5] in FaceDataset(tmp_path, "train").aus_table().tolist()
    assert pack_faces(tmp_path, faces[:-1])
    assert len(FaceDataset(tmp_path, "test")) == 2


def test_a_failed_packing_leaves_the_old_dataset(tmp_path):
    faces = make_faces(tmp_path / "crops")
    pack_faces(tmp_path, faces)

    def fail_midway(part, count, split):
        assert (count, split) == (7, "train")
        yield from itertools.islice(part, 4)
        raise OSError("disk full")

    changed = [face._replace(person="x") for face in faces]
    with pytest.raises(OSError, match="disk full"):
        pack(
            tmp_path,
            changed,
            action_units=UNITS,
            image_size=SIZE,
            annotator="a test",
            progress=fail_midway,
        )
    assert {record["person"] for record in FaceDataset(tmp_path, "train")} == {"", "Zoë"}
    assert pack_faces(tmp_path, changed)
    assert {record["person"] for record in FaceDataset(tmp_path, "train")} == {"x"}
    assert not (tmp_path / ".packing").exists()


def test_a_first_packing_that_failed_is_no_dataset(tmp_path):
    faces = make_faces(tmp_path / "crops")
    torn = [*faces[:5], faces[5]._replace(transform=((1, 2), (3, 4)))]
    with pytest.raises(ValueError, match="transform"):
        pack_faces(tmp_path, torn)
    with pytest.raises(FileNotFoundError, match="no dataset"):
        FaceDataset(tmp_path, "train")


def test_two_packings_are_byte_identical(tmp_path, packed):
    """In another process, with another hash seed."""
    script = (
        "import sys; sys.path.insert(0, 'tests'); from pathlib import Path;"
        "import test_dataset as t; t.pack_faces(Path(sys.argv[1]),"
        "t.make_faces(Path(sys.argv[1]) / 'crops'))"
    )
    subprocess.run([sys.executable, "-c", script, tmp_path], check=True)
    folders = [folder / "annotated_faces" / "1.0.0" for folder in (packed[0], tmp_path)]
    names = sorted(path.name for path in folders[0].iterdir())
    assert names == sorted(path.name for path in folders[1].iterdir())
    for name in names:
        first, second = ((folder / name).read_bytes() for folder in folders)
        assert first == second, name


def test_never_imports_jax():
    script = "import sys, ganimation_jax.data.dataset; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_tfds_users_find_a_builder(tmp_path, packed):
    """The same records by ``tfds.builder``, from what ``prepare`` leaves in a folder."""
    _, faces = packed
    (tmp_path / "crops").mkdir()
    rows = []
    for face in faces.values():
        shutil.copy(face.jpeg, tmp_path / "crops")
        rows.append(Row(face, np.nan, 10.0, np.nan, 1.0))
    write_table(tmp_path, rows, UNITS)
    config = builders.FaceConfig(name="tiny", image_size=SIZE, action_units=UNITS)
    builder = tfds.builder(
        "face_folder", config=config, data_dir=tmp_path / "tfds", file_format="array_record"
    )
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=tmp_path, try_download_gcs=False)
    )
    assert builder.info.splits["train"].num_examples == 7
    for record in builder.as_data_source("test"):
        face = faces[record["id"].decode()]
        assert face.split == "test"
        np.testing.assert_array_equal(record["aus"], np.float32(face.aus))
        with Image.open(face.jpeg) as picture:
            np.testing.assert_array_equal(record["image"], np.asarray(picture))


def test_a_builder_refuses_other_action_units(tmp_path):
    write_table(tmp_path, [], UNITS)
    builder = tfds.builder("emotio_net", data_dir=tmp_path / "tfds", file_format="array_record")
    assert builder.builder_config.action_units == ACTION_UNITS
    config = tfds.download.DownloadConfig(manual_dir=tmp_path, try_download_gcs=False)
    with pytest.raises(ValueError, match="has the action units AU01 AU12 AU45, the config"):
        builder.download_and_prepare(download_config=config)


LABELS = (
    Condition("Smiling", "binary"),
    Condition("happy", "one_of", "emotion"),
    Condition("sad", "one_of", "emotion"),
)


@pytest.mark.parametrize("units", [UNITS, ()])
def test_labels_round_trip_with_and_without_action_units(tmp_path, units):
    rows = [(0, 1, 0), (1, 0, 1)]
    faces = [
        face._replace(aus=face.aus if units else (), labels=rows[number % 2])
        for number, face in enumerate(make_faces(tmp_path / "crops"))
    ]
    options = {"action_units": units, "image_size": SIZE, "annotator": "a test", "labels": LABELS}
    assert pack(tmp_path, faces, **options)
    assert not pack(tmp_path, faces, **options)
    dataset = FaceDataset(tmp_path, "train")
    assert dataset.conditions == tuple(Condition(code) for code in units) + LABELS
    assert dataset.aus_table().shape == (7, len(units))
    by_id = {face.id: face for face in faces}
    for row, record in zip(dataset.label_table(), dataset, strict=True):
        np.testing.assert_array_equal(record["labels"], row, strict=True)
        np.testing.assert_array_equal(row, np.float32(by_id[record["id"]].labels))
        assert ("aus" in record) == bool(units)
    changed = [faces[0]._replace(labels=(1, 1, 0)), *faces[1:]]
    before = dataset.records_sha256
    assert pack(tmp_path, changed, **options)
    assert FaceDataset(tmp_path, "train").records_sha256 != before


def test_datasets_from_before_there_were_labels_are_recognised(tmp_path):
    """The digest was taken before there were labels (commit 2d172e6)."""
    faces = make_faces(tmp_path / "crops")
    pack_faces(tmp_path, faces)
    dataset = FaceDataset(tmp_path, "train")
    assert dataset.records_sha256[:16] == "11187a68e2176952"
    assert dataset.labels == ()
    assert dataset.label_table().shape == (7, 0)
    metadata = json.loads((tmp_path / "annotated_faces/1.0.0/metadata.json").read_text())
    assert "labels" not in metadata


def test_faces_without_conditions_are_not_packed(tmp_path):
    faces = [face._replace(aus=()) for face in make_faces(tmp_path / "crops")]
    with pytest.raises(ValueError, match="need action units or labels"):
        pack(tmp_path, faces, action_units=(), image_size=SIZE, annotator="a test")
