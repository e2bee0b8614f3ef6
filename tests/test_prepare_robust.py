"""What may go wrong with a whole run: odd files, dying processes, damage, wrong scales."""

import os
import pickle
import re
import shutil
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from deadly_item import squared_unless_deadly
from PIL import Image
from test_prepare import draw, intensities, make_input, prepare, reasons, records, write_csv
from test_prepare_pipeline import contents
from test_prepare_sources import face_at, openface, write_rows

from ganimation_jax.prepare.__main__ import main
from ganimation_jax.prepare.filters import ALIKE, duplicates
from ganimation_jax.prepare.parallel import Rescue, parallel_map
from ganimation_jax.prepare.sources import photo_items, walk

CASES = Path(__file__).parents[2] / "shared" / "cases"


# Folders


def test_only_regular_files_are_taken_and_the_others_are_listed(tmp_path):
    draw(tmp_path / "a.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "nowhere.jpg").symlink_to("gone")
    (tmp_path / "device.jpg").symlink_to("/dev/zero")
    files, skips = walk(tmp_path)
    assert [path.name for path in files] == ["a.jpg"]
    assert {Path(skip.file).name: skip.reason for skip in skips} == {
        "pipe.jpg": "not a regular file",
        "device.jpg": "not a regular file",
        "nowhere.jpg": "unreadable file",
    }


def test_a_folder_may_be_a_thousand_deep_and_deeper_than_paths_can_be(tmp_path):
    draw(tmp_path / "top.jpg")
    start = os.open(tmp_path, os.O_RDONLY)
    home = os.getcwd()
    os.fchdir(start)
    try:  # relative, because the whole path is longer than the system allows
        for level in range(1_120):
            name = "d" if level < 1_100 else "e" * 200
            os.mkdir(name)
            os.chdir(name)
            if level == 1_099:
                shutil.copy(tmp_path / "top.jpg", "deep.jpg")
        files, skips = walk(tmp_path)
        assert sorted(path.name for path in files) == ["deep.jpg", "top.jpg"]
        assert [skip.reason for skip in skips] in (["unreadable folder"], ["unreadable file"])
    finally:
        os.fchdir(start)
        os.system("rm -rf d")  # shutil's needs a level of recursion for each folder
        os.chdir(home)
        os.close(start)


def test_pictures_are_known_by_content_and_others_are_listed(tmp_path):
    draw(tmp_path / "noext", format="JPEG")
    draw(tmp_path / "phone.JFIF", format="JPEG")
    draw(tmp_path / "odd.picture", format="PNG")
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "drawing.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    (tmp_path / "Thumbs.db").write_bytes(b"")
    items, skips = photo_items(tmp_path)
    assert [item.source for item in items] == ["noext", "odd.picture", "phone.JFIF"]
    assert {Path(skip.file).name: skip.reason for skip in skips} == dict.fromkeys(
        ("notes.txt", "drawing.eps", "Thumbs.db"), "not a picture"
    )


def test_a_large_picture_is_reduced_and_its_transform_is_in_pixels_of_the_file(tmp_path):
    draw(tmp_path / "imgs/a.png", side=1_000, width=9_000)
    face, transform = face_at(20, 12.0, 6_500, 300)
    write_rows(tmp_path / "csv/a.csv", [{"face": 0, "confidence": 0.9} | face])
    assert openface(tmp_path, "--align") == 0
    record = records(tmp_path / "out")["a"]
    np.testing.assert_allclose(record["transform"], transform, rtol=1e-3, atol=0.05)
    # The crop shows what lies at its place in the file.
    picture = np.asarray(Image.open(tmp_path / "imgs/a.png"), float)
    crop = np.asarray(Image.open(tmp_path / "out/crops/a.jpg"), float)
    back = np.linalg.inv(np.vstack([transform, [0, 0, 1]]))
    for x, y in ((10, 10), (20, 16)):
        column, row, _ = back @ (x + 0.5, y + 0.5, 1)
        assert np.abs(crop[y, x] - picture[int(row), int(column)]).max() < 12


# Processes


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_an_item_that_kills_its_process_costs_itself_only(tmp_path, capsys, workers):
    items = [(number, tmp_path) for number in range(40)]
    rescue = Rescue(lambda item: f"<{item[0]}>", lambda item: "lost")
    found = list(parallel_map(squared_unless_deadly, items, workers, 4, True, rescue))
    assert found == [number**2 if number != 13 else "lost" for number in range(40)]
    said = capsys.readouterr().err
    assert re.search("died while reading .*<13>", said)  # and others that were being read
    assert "skipping <13>" in said
    assert "skipping <7>" not in said


# Damage


def flip(path, place=None):
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if place is None else place] ^= 1
    path.write_bytes(content)


def test_what_was_damaged_is_made_again_whatever_its_length(tmp_path, capsys):
    make_input(tmp_path, count=12)
    assert prepare(tmp_path, "--shard-size", 3) == 0
    before, out = contents(tmp_path / "out"), tmp_path / "out"
    shards = sorted((out / "shards").iterdir())
    record = next((out / "annotated_faces/1.0.0").glob("*train.array_record*"))
    digit = shards[0].read_bytes().index(b'"AU12": ') + 8
    damages = {
        "crop": lambda: flip(out / "crops/004.jpg"),
        "a digit in a shard": lambda: flip(shards[0], digit),
        "end of a shard": lambda: shards[0].write_bytes(shards[0].read_bytes()[:-90]),
        "empty shard": lambda: shards[1].write_bytes(b""),
        "record": lambda: flip(record),
        "lost record": record.unlink,
        "table of action units": lambda: flip(out / "annotated_faces/1.0.0/aus-train.npy", -1),
        "metadata": lambda: flip(out / "annotated_faces/1.0.0/metadata.json", 0),
        "digests": lambda: (out / "annotated_faces/1.0.0/sha256.json").write_text("[5]"),
    }
    for name, damage in damages.items():
        damage()
        assert contents(out) != before, name
        capsys.readouterr()
        assert prepare(tmp_path, "--shard-size", 3) == 0
        assert contents(out) == before, name
        said = capsys.readouterr().out
        if "record" in name:
            assert "damaged since it was written" in said
            assert record.name in said
    assert prepare(tmp_path, "--shard-size", 3) == 0
    assert "already complete" in capsys.readouterr().out


# Arguments and scales


def test_a_wrong_readout_is_named_before_a_missing_package(tmp_path, capsys, monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    draw(tmp_path / "imgs/a.jpg")
    (tmp_path / "readout.npz").write_bytes(b"")
    command = ["photos", "--images", str(tmp_path / "imgs"), "--out", str(tmp_path / "out")]
    for extra, message in {
        ("--readout", str(tmp_path / "readout.npz")): "readout.npz",
        ("--model", str(tmp_path / "gone.task")): "gone.task",
        (): "MediaPipe",
    }.items():
        assert main([*command, *extra]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(("divisor", "warned"), [(1, False), (5, True)])
def test_intensities_that_were_divided_by_5_already_are_warned_of(
    tmp_path, capsys, divisor, warned
):
    make_input(tmp_path, count=3)
    labels = {f"{number:03d}": intensities(number) / divisor for number in range(3)}
    (tmp_path / "aus.pkl").write_bytes(pickle.dumps(labels))
    assert prepare(tmp_path, labels=("--pkl", "aus.pkl")) == 0
    said = capsys.readouterr().err
    assert ("no intensity of these 3 faces is above 1" in said) == warned
    if warned:
        highest = max(values.max() for values in labels.values())
        assert f"{highest:.3g}, AU" in said


@pytest.mark.skipif(not CASES.exists(), reason=f"no inputs of reported faults at {CASES}")
@pytest.mark.parametrize("name", ["list", "proto5", "npf32"])
def test_reported_pickles(tmp_path, name):
    (tmp_path / "imgs").symlink_to(CASES / "07_pickles/imgs")
    (tmp_path / "aus.pkl").symlink_to(CASES / f"07_pickles/{name}.pkl")
    assert prepare(tmp_path, labels=("--pkl", "aus.pkl")) == 0
    assert len(records(tmp_path / "out")) == 6


def test_pickles_name_pictures_by_path_and_by_any_kind_of_key(tmp_path):
    for number, name in enumerate(("A/x", "B/x", "y", "7")):
        draw(tmp_path / f"imgs/{name}.jpg", seed=number)
    labels = {
        "A/x": list(intensities(0)),
        b"C:\\set\\B\\x.jpg": tuple(intensities(1)),
        "y.jpg": intensities(2),
        7: [*map(float, intensities(3))],
        "short": [1.0, 2.0],
        "words": ["much"] * 17,
        "flat": np.ones((17, 1)),
    }
    for name in ("short", "words", "flat"):
        draw(tmp_path / f"imgs/{name}.jpg")
    (tmp_path / "aus.pkl").write_bytes(pickle.dumps(labels))
    assert prepare(tmp_path, labels=("--pkl", "aus.pkl")) == 0
    found = records(tmp_path / "out")
    for number, name in enumerate(("A__x", "B__x", "y", "7")):
        np.testing.assert_array_equal(found[name]["aus"], np.float32(intensities(number)))
    assert {name.rpartition(":")[2]: reason for name, reason in reasons(tmp_path).items()} == (
        dict.fromkeys(("short", "words", "flat"), "not 17 action units")
    )


# Duplicates


def test_many_near_identical_hashes_take_no_longer_than_others():
    """Counted, not timed: each is compared with those kept, of which there are few."""
    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, (5, 32), np.uint8)
    frames = np.repeat(base, 4_000, axis=0)
    places = rng.integers(0, 256, len(frames))
    frames[np.arange(len(frames)), places // 8] ^= (1 << (places % 8)).astype(np.uint8)
    order = rng.permutation(len(frames))
    found = duplicates([frames[place].tobytes() for place in order])
    scene = order // 4_000
    first = {number: int(np.flatnonzero(scene == number)[0]) for number in range(5)}
    assert len(found) == len(frames) - 5
    assert all(keep == first[scene[place]] for place, keep in found.items())
    assert ALIKE >= 2


def test_a_csv_of_the_wrong_confidence_scale_is_named(tmp_path):
    make_input(tmp_path, count=2)
    write_csv(tmp_path / "csv/001.csv", confidence=95)
    assert prepare(tmp_path) == 0
    assert reasons(tmp_path) == {"001.csv": "unreadable CSV"}
