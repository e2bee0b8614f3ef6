"""Labels from CelebA's list, folders of emotions and CSV files become conditions of a dataset."""

import re

import numpy as np
import pytest
from helpers import SHARED
from prepare_folders import draw, intensities, prepare

from ganimation_jax.conditions import Condition, describe
from ganimation_jax.data.dataset import FaceDataset
from ganimation_jax.data.table import FaceTable
from ganimation_jax.prepare.__main__ import main
from ganimation_jax.prepare.labels import read_attributes, read_metadata
from ganimation_jax.prepare.problems import UsageError

ATTRIBUTES = """\
6
Bald Male Smiling Young
000001.jpg -1  1 -1  1
000002.jpg -1 -1  1  1
000003.jpg -1 -1 -1 -1
000004.jpg  1  1  1 -1
000005.jpg -1 -1  1  1
000099.jpg -1 -1  1  1
"""


def shown(out, split):
    """Which labels each face of a split shows, by id."""
    dataset = FaceDataset(out, split)
    names = [one.name for one in dataset.labels]
    rows = zip(dataset, dataset.label_table(), strict=True)
    return {record["id"]: {names[i] for i in np.flatnonzero(row)} for record, row in rows}


@pytest.fixture(scope="module")
def celeba(tmp_path_factory):
    root = tmp_path_factory.mktemp("celeba")
    for number in range(1, 7):
        draw(root / "img_align_celeba" / f"{number:06d}.jpg", 218, 178, seed=number)
    (root / "list_attr_celeba.txt").write_text(ATTRIBUTES)
    parts = "".join(f"{number:06d}.jpg {2 * (number > 3)}\n" for number in range(1, 7))
    (root / "list_eval_partition.txt").write_text(parts)
    return root


def run(*words):
    return main([str(word) for word in words] + ["--size", "32", "--workers", "1"])


def test_celeba_with_attributes_alone(celeba, tmp_path, capsys):
    out = tmp_path / "out"
    assert run("celeba", "--root", celeba, "--out", out, "--attributes", "Smiling,Male") == 0
    dataset = FaceDataset(out, "train")
    assert dataset.conditions == (Condition("Male", "binary"), Condition("Smiling", "binary"))
    assert shown(out, "train") == {"000001": {"Male"}, "000002": {"Smiling"}, "000003": set()}
    assert shown(out, "test") == {"000004": {"Male", "Smiling"}, "000005": {"Smiling"}}
    skipped = (out / "skipped.csv").read_text()
    assert "000006.jpg,no label,add it to list_attr_celeba.txt" in skipped
    assert "000099,label without picture" in skipped
    card = (out / "README.md").read_text()
    assert "with 2 labels." in card
    assert "| Smiling | binary | 1 | 2 |" in card
    assert "Action units" not in card
    page = (out / "report.html").read_text()
    assert "Co-activation" not in page
    assert "Faces that show each of them." in page
    assert run("celeba", "--root", celeba, "--out", out, "--attributes", "Smiling,Male") == 0
    assert "already complete" in capsys.readouterr().out
    # Other labels of the same crops.
    assert run("celeba", "--root", celeba, "--out", out, "--attributes", "all") == 0
    assert describe(FaceDataset(out, "test").conditions) == "Bald Male Smiling Young"


@pytest.mark.parametrize(
    ("text", "wanted", "message"),
    [
        (ATTRIBUTES, "Smile", "no attribute Smile; it has Bald Male Smiling Young"),
        (ATTRIBUTES.replace("1 -1  1\n0", "1 -1\n0", 1), "all", "line 3: 3 values for 4"),
        (ATTRIBUTES.replace("-1  1 -1", "-1  2 -1", 1), "Male", "line 3: the value 2 is neither"),
        ("", "all", "is empty"),
    ],
)
def test_bad_lists_of_attributes(tmp_path, text, wanted, message):
    path = tmp_path / "list_attr_celeba.txt"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_attributes(path, wanted)


def test_attributes_as_csv(tmp_path):
    path = tmp_path / "list_attr_celeba.csv"
    path.write_text("image_id,Male,Young\n000001.jpg,-1,1\n000002.jpg,1,1\n")
    labels = read_attributes(path, "all")
    assert [one.name for one in labels.conditions] == ["Male", "Young"]
    assert labels.values == {"000001": (0, 1), "000002": (1, 1)}


def test_celeba_without_anything_says_what_to_do(celeba, tmp_path, capsys):
    assert run("celeba", "--root", celeba, "--out", tmp_path / "out") == 2
    assert "for labels alone give --attributes" in capsys.readouterr().err
    (tmp_path / "img_align_celeba").mkdir()
    words = ("--attributes", "Male", "--out", tmp_path / "out")
    assert run("celeba", "--root", tmp_path, *words) == 2
    assert re.search(r"no .*list_attr_celeba.txt: .*--attributes reads", capsys.readouterr().err)


# Folders

EMOTIONS = ("angry", "happy", "very sad")


def make_tree(folder, people=6, below=lambda person: ""):
    seed = 0
    for person in range(people):
        for emotion in EMOTIONS:
            seed += 1
            draw(
                folder / below(person) / emotion / f"Rafd090_{person:02d}_{emotion}.jpg", seed=seed
            )


def test_folders_of_emotions_split_by_person(tmp_path):
    make_tree(tmp_path / "in")
    draw(tmp_path / "in" / "loose.jpg", seed=99)
    words = ("--person", r"_(\d+)_", "--test-fraction", "0.5")
    out = tmp_path / "out"
    assert run("folders", "--images", tmp_path / "in", "--out", out, *words) == 0
    train, test = FaceDataset(out, "train"), FaceDataset(out, "test")
    assert train.conditions == tuple(Condition(name, "one_of", "emotion") for name in EMOTIONS)
    assert train.action_units == ()
    people = [{record["person"] for record in split} for split in (train, test)]
    assert people[0] | people[1] == {f"{person:02d}" for person in range(6)}
    assert not people[0] & people[1]
    for split, dataset in (("train", train), ("test", test)):
        for record in dataset:
            assert shown(out, split)[record["id"]] == {record["source"].split("/")[0]}
    assert "loose.jpg,no label,put it into the folder" in (out / "skipped.csv").read_text()
    assert "| angry | one of emotion |" in (out / "README.md").read_text()
    assert FaceTable(out).labels == train.labels


def test_folders_below_train_and_test(tmp_path, capsys):
    make_tree(tmp_path / "in", 3, below=lambda person: "test" if person == 2 else "train")
    out = tmp_path / "out"
    assert run("folders", "--images", tmp_path / "in", "--out", out, "--group", "mood") == 0
    assert len(FaceDataset(out, "train")) == 6
    test = FaceDataset(out, "test")
    assert len(test) == 3
    assert {one.group for one in test.labels} == {"mood"}
    assert "people are not known" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--person", "x(y"), "no regular expression"),
        (("--person", r"_(9\d)_"), "it finds no person in angry/Rafd090_00_angry.jpg"),
        (("--group", "happy"), "two labels are named 'happy'"),
        (("--label-columns", "age"), "needs --metadata"),
    ],
)
def test_folders_that_cannot_be_used(tmp_path, capsys, words, message):
    make_tree(tmp_path / "in", 1)
    assert run("folders", "--images", tmp_path / "in", "--out", tmp_path / "out", *words) == 2
    assert message in capsys.readouterr().err


def test_labels_that_no_usable_face_shows_give_a_warning(tmp_path, capsys):
    make_tree(tmp_path / "in", 2)
    draw(tmp_path / "in" / "bored" / "wide.jpg", side=40, width=60)
    assert run("folders", "--images", tmp_path / "in", "--out", tmp_path / "out") == 0
    assert "no face shows bored; the dataset" in capsys.readouterr().out
    assert describe(FaceTable(tmp_path / "out").labels) == "emotion: angry happy very sad"
    assert "bored" not in (tmp_path / "out" / "README.md").read_text()


def test_one_folder_is_no_label(tmp_path, capsys):
    draw(tmp_path / "in" / "angry" / "1.jpg")
    assert run("folders", "--images", tmp_path / "in", "--out", tmp_path / "out") == 2
    assert "emotion has only the value angry" in capsys.readouterr().err
    (tmp_path / "in" / "angry").rename(tmp_path / "in" / "train")
    assert run("folders", "--images", tmp_path / "in", "--out", tmp_path / "out") == 2
    assert "needs a folder for each label" in capsys.readouterr().err


# CSV files


def test_metadata_beside_action_units(tmp_path):
    from prepare_folders import make_input

    make_input(tmp_path, 5)
    (tmp_path / "people.csv").write_text(
        "id,person,glasses,mood,age\n"
        "000,Ann,1,calm,31\n001,Ann,0,glad,31\n"
        "002,Bob,no,calm,7\n003,Bob,YES,glad,7\n004,Cy,0,,9\n"
    )
    words = ("--metadata", str(tmp_path / "people.csv"), "--label-columns", "glasses,mood")
    assert prepare(tmp_path, *words, "--test-fraction", "0.5") == 0
    out = tmp_path / "out"
    faces = [*FaceTable(out)]
    assert describe(FaceTable(out).labels) == "glasses; mood: calm glad"
    rows = {face.id: face.labels for face in faces}
    assert rows == {"000": (1, 1, 0), "001": (0, 0, 1), "002": (0, 1, 0), "003": (1, 0, 1)}
    assert {face.id: face.person for face in faces}["003"] == "Bob"
    split = {face.person: face.split for face in faces}
    assert all(split[face.person] == face.split for face in faces)
    np.testing.assert_array_equal(faces[0].aus, intensities(0))
    assert (
        "004.jpg,no label,fill in its glasses and mood in people.csv"
        in (out / "skipped.csv").read_text()
    )


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("name,a\nx,1\n", None, "needs a column id or file; it has name a"),
        ("id,age\nx,31\n", None, "the column age has the value 31; labels are 0 and 1, or words"),
        ("id,a\nx,1\n", "b", "has no column b; it has a"),
        ("id,a\nx,1\nx,0\n", None, "line 3: two different lines for x"),
        ("id,a,b\nx,1\n", None, "line 2: it should have 3 values"),
        ("id,mood\nx,glad\ny,glad\n", None, "mood has only the value glad"),
        ("id,a\n" + "".join(f"{i},w{i}\n" for i in range(65)), None, "a has 65 different words"),
        ("id,AU12\nx,1\n", None, "'AU12' cannot name a label"),
        ("id,mood\nx,a=b\ny,glad\n", None, "'a=b' cannot name a label"),
        ("id,glad,mood\nx,1,glad\ny,0,sad\n", None, "two labels are named 'glad'"),
    ],
)
def test_bad_metadata(tmp_path, text, columns, message):
    path = tmp_path / "people.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_metadata(path, columns)


LFW = SHARED / "data" / "lfw_openface" / "metadata.csv"


@pytest.mark.skipif(not LFW.is_file(), reason="needs ../shared/data/lfw_openface")
def test_emotions_of_real_faces():
    found = read_metadata(LFW, "emotion")
    labels = found.labels
    names = "anger contempt disgust fear happiness neutral sadness surprise"
    assert [one.name for one in labels.conditions] == names.split()
    counts = np.sum([*labels.values.values()], axis=0)
    assert counts.tolist() == [215, 7, 39, 13, 2608, 2609, 150, 315]
    assert found.people["00002"] == "Zeljko_Rebraca"
    with pytest.raises(UsageError, match="the column confidence has the value 0"):
        read_metadata(LFW, "emotion,confidence")
    with pytest.raises(UsageError, match="original_file has 5956 different words"):
        read_metadata(LFW, "original_file")
