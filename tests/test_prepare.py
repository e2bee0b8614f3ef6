"""Preparing a dataset: every kind of bad input, interruption, and the published folder."""

import io
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from prepare_folders import (
    draw,
    intensities,
    look,
    make_input,
    prepare,
    read_rows,
    reasons,
    records,
    write_csv,
)

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.data.dataset import FaceDataset
from ganimation_jax.prepare.__main__ import main

SAMPLE = Path(__file__).parents[2] / "shared" / "data" / "official_sample"


def test_table_crops_and_records_agree(tmp_path, capsys):
    make_input(tmp_path)
    assert prepare(tmp_path) == 0
    table, found = read_rows(tmp_path / "out/table.csv"), records(tmp_path / "out")
    assert [row["id"] for row in table] == [f"{number:03d}" for number in range(6)]
    assert read_rows(tmp_path / "out/skipped.csv") == []
    for number, row in enumerate(table):
        record = found[row["id"]]
        assert (row["file"], record["source"]) == (f"{number:03d}.jpg",) * 2
        assert float(row["confidence"]) == 0.95
        np.testing.assert_array_equal(record["aus"], np.float32(intensities(number)))
        in_table = [float(row[code]) for code in ACTION_UNITS]
        np.testing.assert_array_equal(in_table, intensities(number))
        np.testing.assert_array_equal(record["transform"], np.float32([[0.8, 0, 0], [0, 0.8, 0]]))
        assert record["jpeg"] == (tmp_path / f"out/crops/{row['id']}.jpg").read_bytes()
        crop = look(io.BytesIO(record["jpeg"]))
        assert (crop.size, crop.mode, crop.format) == ((32, 32), "RGB", "JPEG")
        source = look(tmp_path / "imgs" / row["file"]).resize((32, 32))
        assert np.abs(np.asarray(crop, int) - np.asarray(source, int)).mean() < 3
    captured = capsys.readouterr()
    assert captured.out.startswith("6 faces: ")
    assert "dataset ready" in captured.out
    assert "crops 6/6" in captured.err


def test_finished_run_does_nothing_and_changed_input_is_noticed(tmp_path, capsys):
    make_input(tmp_path)
    prepare(tmp_path)
    crops = {path: path.stat().st_ino for path in (tmp_path / "out/crops").iterdir()}
    assert prepare(tmp_path) == 0
    assert "already complete" in capsys.readouterr().out
    assert crops == {path: path.stat().st_ino for path in (tmp_path / "out/crops").iterdir()}
    before = records(tmp_path / "out")

    draw(tmp_path / "imgs/002.jpg", seed=99)
    os.utime(tmp_path / "imgs/002.jpg", (1, 1))  # even an older picture is another one
    write_csv(tmp_path / "csv/003.csv", seed=99)
    assert prepare(tmp_path) == 0
    assert "dataset ready" in capsys.readouterr().out
    after = records(tmp_path / "out")
    changed = {key for key in before if before[key]["jpeg"] != after[key]["jpeg"]}
    assert changed == {"002"}
    np.testing.assert_array_equal(after["003"]["aus"], np.float32(intensities(99)))

    assert prepare(tmp_path, "--size", "16") == 0
    assert {look(path).size for path in crops} == {(16, 16)}
    assert FaceDataset(tmp_path / "out", "train").image_size == 16


def test_exact_jpegs_are_copied_and_others_converted(tmp_path):
    make_input(tmp_path, count=5)
    images = tmp_path / "imgs"
    draw(images / "000.jpg", side=32, quality=40)
    draw(images / "001.jpg", side=32)
    look(images / "001.jpg").convert("L").save(images / "001.jpg")
    (images / "002.jpg").unlink()
    draw(images / "deep/er/002.PNG", side=32, format="PNG")
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side
    draw(images / "003.jpg", side=32, exif=exif)
    assert prepare(tmp_path) == 0
    crops = tmp_path / "out/crops"
    assert (crops / "000.jpg").read_bytes() == (images / "000.jpg").read_bytes()
    assert {look(path).mode for path in crops.iterdir()} == {"RGB"}
    assert {look(path).format for path in crops.iterdir()} == {"JPEG"}
    upright = np.asarray(look(images / "003.jpg").transpose(Image.Transpose.ROTATE_270), int)
    assert np.abs(np.asarray(look(crops / "003.jpg"), int) - upright).mean() < 3
    assert records(tmp_path / "out")["002"]["source"] == "deep/er/002.PNG"


def test_every_bad_input_is_reported_and_the_rest_is_used(tmp_path, capsys):
    make_input(tmp_path, count=4)
    images, labels = tmp_path / "imgs", tmp_path / "csv"
    whole = (images / "000.jpg").read_bytes()

    def bad_picture(name, content=None, **options):
        draw(images / name, **options)
        write_csv(labels / f"{Path(name).stem}.csv")
        if content is not None:
            (images / name).write_bytes(content)

    def bad_csv(name, content=None, **options):
        draw(images / f"{Path(name).stem}.jpg")
        write_csv(labels / name, **options)
        if content is not None:
            (labels / name).write_bytes(content)

    unreadable, outside = "unreadable picture", "intensity outside 0-5"
    bad_picture("empty.jpg", b"")
    bad_picture("truncated.jpg", whole[: len(whole) * 2 // 3])
    bad_picture("text.png", b"not a picture at all")
    bad_picture("oblong.jpg", width=50)
    draw(images / "alone.jpg")
    write_csv(labels / "lonely.csv")
    draw(images / "twin.jpg")
    draw(images / "twin.png")
    (images / "notes.txt").write_text("hello")
    bad_csv("no_units.csv", drop=[f"{code}_r" for code in ACTION_UNITS])
    bad_csv("one_unit_less.csv", drop=["AU12_r"])
    bad_csv("no_confidence.csv", drop=["confidence"])
    bad_csv("failed.csv", success=0)
    bad_csv("unsure.csv", confidence=0.69)
    bad_csv("nan.csv", AU04_r="nan")
    bad_csv("inf.csv", AU04_r="inf")
    bad_csv("high.csv", AU04_r=5.01)
    bad_csv("low.csv", AU04_r=-0.01)
    bad_csv("word.csv", AU04_r="much")
    bad_csv("two.csv", rows=2)
    bad_csv("none.csv", rows=0)
    bad_csv("void.csv", b"")
    bad_csv("binary.csv", bytes(range(256)))
    bad_csv("cut.csv", (labels / "000.csv").read_bytes()[:-20])

    assert prepare(tmp_path) == 0
    assert reasons(tmp_path) == {
        "empty.jpg": unreadable,
        "truncated.jpg": unreadable,
        "text.png": unreadable,
        "oblong.jpg": "picture is not square",
        "alone.jpg": "picture without annotation",
        "lonely.csv": "annotation without picture",
        "twin.jpg": "two files of one id",
        "twin.png": "two files of one id",
        "notes.txt": "not a picture",
        "no_units.csv": "CSV lacks action units",
        "one_unit_less.csv": "CSV lacks action units",
        "no_confidence.csv": "CSV lacks its confidence",
        "failed.csv": "OpenFace found no face",
        "unsure.csv": "low confidence",
        "nan.csv": outside,
        "inf.csv": outside,
        "high.csv": outside,
        "low.csv": outside,
        "word.csv": "unreadable CSV",
        "two.csv": "more than one face in CSV",
        "none.csv": "no face in CSV",
        "void.csv": "unreadable CSV",
        "binary.csv": "unreadable CSV",
        "cut.csv": "unreadable CSV",
    }
    details = {
        Path(row["file"]).name: row["detail"] for row in read_rows(tmp_path / "out/skipped.csv")
    }
    assert details["one_unit_less.csv"] == "no column AU12_r"
    assert "AU01_r" in details["no_units.csv"]
    assert "AU45_r" in details["no_units.csv"]
    assert "must be square" in details["oblong.jpg"]
    assert sorted(records(tmp_path / "out")) == ["000", "001", "002", "003"]
    out = capsys.readouterr().out
    assert "4 faces" in out
    assert "24 skipped" in out
    assert "4  intensity outside 0-5" in out


def test_nothing_usable_fails_with_the_summary(tmp_path, capsys):
    make_input(tmp_path, count=2)
    assert prepare(tmp_path, "--min-confidence", 0.99) == 1
    captured = capsys.readouterr()
    assert "2  low confidence" in captured.out
    assert "no usable face" in captured.err
    assert not (tmp_path / "out/annotated_faces").exists()


def test_bom_crlf_and_missing_success_are_tolerated(tmp_path):
    make_input(tmp_path)
    write_csv(tmp_path / "csv/001.csv", seed=1, bom=True, newline="\r\n")
    write_csv(tmp_path / "csv/002.csv", seed=2, drop=["success"])  # OpenFace on single pictures
    assert prepare(tmp_path) == 0
    assert len(records(tmp_path / "out")) == 6


def test_older_openface_without_some_units(tmp_path, capsys):
    make_input(tmp_path, count=3)
    for number in range(3):
        write_csv(tmp_path / f"csv/{number:03d}.csv", seed=number, drop=["AU07_r", "AU23_r"])
    draw(tmp_path / "imgs/zz.jpg")
    write_csv(tmp_path / "csv/zz.csv")  # has all: fits too
    assert prepare(tmp_path) == 0
    out = capsys.readouterr().out
    assert "WARNING: 2 action units are in too few CSV files: AU07 AU23" in out
    assert "the dataset has the 15 others" in out
    want = tuple(code for code in ACTION_UNITS if code not in ("AU07", "AU23"))
    assert FaceDataset(tmp_path / "out", "train").action_units == want
    kept = [place for place, code in enumerate(ACTION_UNITS) if code in want]
    found = records(tmp_path / "out")
    assert len(found) == 4
    np.testing.assert_array_equal(found["002"]["aus"], np.float32(intensities(2)[kept]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"--images": "nowhere"}, "no directory"),
        ({"--csv": "nowhere"}, "no directory"),
        ({"--csv": "hollow"}, "no CSV files"),
        ({"--images": "hollow"}, "no pictures"),
        ({"--out": "people.csv/out"}, "cannot write"),
        ({"--out": "imgs/out"}, "is inside"),
        ({"--test-ids": "nowhere"}, "cannot read"),
        ({"--people": "csv/000.csv"}, "columns id and person"),
        ({"--size": "0"}, "not between 1 and 4096"),
        ({"--size": "big"}, "invalid int value"),
        ({"--min-confidence": "70"}, "not between 0 and 1"),
        ({"--workers": "0"}, "not between"),
        ({"--pkl": "csv/000.csv"}, "not allowed with"),
        ({"--csv": None}, "--csv --pkl is required"),
        ({"--csv": None, "--pkl": "nowhere"}, "cannot read"),
    ],
)
def test_wrong_commands_exit_2_with_a_message(tmp_path, capsys, arguments, message):
    make_input(tmp_path, count=1)
    (tmp_path / "hollow").mkdir()
    (tmp_path / "people.csv").write_text("a file, not a folder")
    flags = {"--images": "imgs", "--csv": "csv", "--out": "out"} | arguments
    paths = {"--images", "--csv", "--pkl", "--out", "--test-ids", "--people"}
    argv = ["openface"]
    for flag, value in flags.items():
        if value is not None:
            argv += [flag, str(tmp_path / value) if flag in paths else value]
    try:
        code = main(argv)
    except SystemExit as stop:  # argparse's own way
        code = stop.code
    assert code == 2
    assert message in capsys.readouterr().err


@pytest.mark.skipif(not SAMPLE.exists(), reason=f"the published sample is not at {SAMPLE}")
def test_published_sample(tmp_path):
    shutil.copytree(SAMPLE, tmp_path / "in")
    out = tmp_path / "out"
    command = ["openface", "--images", str(SAMPLE / "imgs"), "--out", str(out)]
    assert main([*command, "--pkl", str(SAMPLE / "aus_openface.pkl")]) == 0
    found = records(out)
    assert {record["id"] for record in FaceDataset(out, "test")} == {
        "N_0000001507_00202",
        "N_0000001939_00054",
    }
    assert len(found) == 4
    # Read off the pickle's own bytes with pickletools.
    np.testing.assert_allclose(found["N_0000000356_00190"]["aus"][:4], [2.86, 2.27, 1.45, 1.1])
    for key, record in found.items():  # 128 x 128 already: not compressed again
        assert record["jpeg"] == (SAMPLE / "imgs" / f"{key}.jpg").read_bytes()
        np.testing.assert_array_equal(record["transform"], [[1, 0, 0], [0, 1, 0]])
