"""Generated people: reading action units, and the whole command."""

import importlib.util
import io
import os
import signal

import numpy as np
import pytest
from helpers import OPENFACE, openface_double
from linear_world import linear_world
from PIL import Image

from ganimation_jax.data.dataset import FaceDataset
from ganimation_jax.data.table import FaceTable
from ganimation_jax.prepare import people, people_reading
from ganimation_jax.prepare.__main__ import main
from ganimation_jax.prepare.people_directions import fit
from ganimation_jax.prepare.people_drawing import PeoplePlan
from ganimation_jax.prepare.problems import Skip, UsageError
from ganimation_jax.prepare.readout import Fit, Readout
from ganimation_jax.prepare.shards import read_shards, write_shard
from ganimation_jax.prepare.work import Record
from ganimation_jax.synthetic.directions import SHIPPED

SIZE = 128


def test_action_units_from_a_csv_file(tmp_path):
    path = tmp_path / "aus.csv"
    path.write_text("image, AU12_r, AU01_r\np1_0.jpg, 2.5, 0\np1_1.jpg, 4, 1\n")
    table = people_reading.read_csv(path)
    assert table == {"p1_0": {"AU01": 0, "AU12": 2.5}, "p1_1": {"AU01": 1, "AU12": 4}}
    for text, message in (
        ("name,AU12\na,1\n", "needs a column id or image"),
        ("id,AU12\na,seven\n", "column AU12: 'seven' is not a number from 0 to 5"),
        ("id,AU12\na,7\n", "'7' is not a number from 0 to 5"),
    ):
        path.write_text(text)
        with pytest.raises(UsageError, match=message):
            people_reading.read_csv(path)


def test_action_units_by_openface(tmp_path):
    """In groups of 16 people, once each; where it finds no face or fails, that is reported."""
    crops = tmp_path / "crops"
    crops.mkdir()
    drawings = [tmp_path / f"{person}.jsonl" for person in range(18)]
    for person, path in enumerate(drawings):
        lines = [Skip("drawing", "distorted", "")]
        for name, blue in ((f"{person}_0", 255), (f"{person}_1", 0)):
            Image.new("RGB", (64, 64), (5 * person, 51, blue)).save(crops / f"{name}.jpg", "PNG")
            matrix = [[1, 0, 0], [0, 1, 0]]
            lines.append(Record(name, str(person), "", "", {}, None, matrix, 64, None, 0, "", ""))
        write_shard(path, lines)
    program = openface_double(tmp_path)

    def read():
        found = people_reading.read_by_openface(drawings, program, tmp_path, workers=1)
        return [list(read_shards([path])) for path in found]

    for person, (drawn_before, seen, unseen) in enumerate(read()):
        assert drawn_before == Skip("drawing", "distorted", "")
        assert seen.aus.keys() == {"AU04", "AU12"}
        assert seen.aus == pytest.approx({"AU04": 1, "AU12": 5 * person / 51}, abs=0.006)
        assert unseen == Skip(f"{person}_1", "OpenFace found no face in the crop", "")

    # What has been read is not read again; another program reads all, and its failure is quoted.
    once = read()
    openface_double(tmp_path, OPENFACE + "raise SystemExit('no model')\n")
    with pytest.raises(UsageError, match="ended with 1; it said: no model"):
        read()
    openface_double(tmp_path)
    assert read() == once


@pytest.mark.slow
def test_a_person_that_kills_the_process_is_skipped(tmp_path, monkeypatch, capfd):
    """Drawn with the others, then alone: everybody else is finished."""
    (tmp_path / "crops").mkdir()
    monkeypatch.setattr(people, "draw_person", dies_at_person_1)
    plan = PeoplePlan(0, 1, SIZE, SHIPPED, None)
    paths = people.draw_people(3, plan, tmp_path / "crops", tmp_path, workers=2)
    names = [line.file for line in read_shards(paths)]
    assert names == ["0", "p00001", "2"]
    assert "kills the process" in capfd.readouterr().err


def dies_at_person_1(person, plan, crops):
    if person == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return [Skip(str(person), "drawn", "")]


needs_generator = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("openvino", "random_face", "face_recognition_models"))),
    reason="needs openvino, random_face and face_recognition_models",
)


@needs_generator
@pytest.mark.slow
def test_the_command_draws_a_dataset_of_pairs(tmp_path, capsys):
    fit(linear_world()[0]).save(tmp_path / "directions.npz")

    def run(out, people, *more):
        command = ["people", "--people", people, "--expressions", 2, "--size", 64, "--workers", 1]
        command += ["--directions", tmp_path / "directions.npz", "--out", tmp_path / out, *more]
        return main([str(word) for word in command])

    assert run("once", 2, "--test-fraction", 0) == 0
    table = list(FaceTable(tmp_path / "once"))
    assert {face.person for face in table} == {"p00000", "p00001"}
    dataset = FaceDataset(tmp_path / "once", "train")
    groups = dataset.pair_groups()
    for record, group in zip(dataset, groups, strict=True):
        assert record["person"] == f"p{group:05d}"
        assert Image.open(io.BytesIO(record["jpeg"])).size == (64, 64)
    assert (tmp_path / "once" / "pairs.jpg").exists()

    # More people: those who are drawn stay as they are. Another folder: the same bytes.
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "once/crops").iterdir()}
    capsys.readouterr()
    assert run("once", 3, "--test-fraction", 0) == 0
    assert "2 of 3 people were drawn before" in capsys.readouterr().out
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
    assert run("again", 1, "--test-fraction", 0) == 0
    for path in sorted((tmp_path / "again/crops").iterdir()):
        assert path.read_bytes() == (tmp_path / "once/crops" / path.name).read_bytes()

    # Another reading draws nothing anew.
    rows = "".join(f"{face.id},1.5\n" for face in FaceTable(tmp_path / "once"))
    (tmp_path / "aus.csv").write_text(f"id,AU12\n{rows}")
    assert run("once", 3, "--aus", tmp_path / "aus.csv", "--test-fraction", 0) == 0
    assert FaceDataset(tmp_path / "once", "train").action_units == ("AU12",)
    codes, quality = ("AU09", "AU12"), {"AU09": 0.5, "AU12": 0.9}
    constant = Fit(np.zeros((52 + 2 * 478 + 5, 2)), np.array([1.0, 2.0]))
    about = {"r": quality, "ccc": quality, "faces": 100}
    Readout(codes, constant, about).save(tmp_path / "readout.npz")
    assert run("once", 3, "--readout", tmp_path / "readout.npz", "--test-fraction", 0) == 0
    again = FaceDataset(tmp_path / "once", "train")
    assert again.action_units == codes
    np.testing.assert_array_equal(again.aus_table(), [[1, 2]] * len(again))
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
