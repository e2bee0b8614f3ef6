"""Shards, restarts, duplicates, splits, report and card: what every source shares."""

import fcntl
import html.parser
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageFilter
from prepare_folders import (
    draw,
    intensities,
    make_input,
    prepare,
    read_rows,
    reasons,
    split_of,
    write_csv,
)
from scipy import ndimage

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.data.records import Face
from ganimation_jax.data.table import FaceTable, Row, write_table
from ganimation_jax.files.unusable import UnusableFile
from ganimation_jax.prepare.filters import (
    ALIKE,
    check_face,
    duplicates,
    perceptual_hash,
    sharpness_of,
)
from ganimation_jax.prepare.finders import Search
from ganimation_jax.prepare.shards import plan_shards
from ganimation_jax.prepare.sources import Item
from ganimation_jax.prepare.survey import Survey
from ganimation_jax.prepare.work import Plan


def contents(folder):
    """Every file's bytes, but for locks."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".lock")
    }


# Shards


def items_of(folder, count):
    return [Item(f"{i:05d}", f"{i:05d}", folder / f"{i}.jpg", f"{i}.jpg") for i in range(count)]


def test_shards_are_bounded_and_one_more_file_changes_one(tmp_path):
    plan, items = Plan(Search("square", 32)), items_of(tmp_path, 20_000)
    shards = plan_shards(items, plan, tmp_path, 100)
    assert [item for shard in shards for item in shard.items] == items
    sizes = [len(shard.items) for shard in shards]
    assert max(sizes) <= 400
    assert 80 < np.mean(sizes) < 120
    without = plan_shards(items[:9_876] + items[9_877:], plan, tmp_path, 100)
    assert len({shard.path for shard in without} - {shard.path for shard in shards}) <= 2


@pytest.mark.parametrize(
    "other",
    [
        Plan(Search("square", 64)),
        Plan(Search("square", 32, tiles=(1, 2))),
        Plan(Search("square", 32), blur=1),
    ],
)
def test_another_plan_is_another_shard(tmp_path, other):
    items = items_of(tmp_path, 3)
    names = {
        plan_shards(items, plan, tmp_path, 100)[0].path
        for plan in (Plan(Search("square", 32)), other)
    }
    assert len(names) == 2


def test_machines_share_the_work_and_one_puts_it_together(tmp_path, capsys):
    make_input(tmp_path, count=30)
    assert prepare(tmp_path, "--shard-size", 4, out="alone") == 0
    for number in range(3):
        assert prepare(tmp_path, "--shard-size", 4, "--shard", f"{number}/3") == 0
        assert not (tmp_path / "out/table.csv").exists()
    crops = {path: path.stat().st_ino for path in (tmp_path / "out/crops").iterdir()}
    assert len(crops) == 30
    capsys.readouterr()
    assert prepare(tmp_path, "--shard-size", 4) == 0
    captured = capsys.readouterr()
    assert "shards are done already" in captured.out
    assert "crops" not in captured.err
    assert crops == {path: path.stat().st_ino for path in (tmp_path / "out/crops").iterdir()}
    assert contents(tmp_path / "alone") == contents(tmp_path / "out")


def test_only_what_is_missing_or_torn_is_done_again(tmp_path):
    make_input(tmp_path, count=40)
    prepare(tmp_path, "--shard-size", 4)
    before = contents(tmp_path / "out")
    shards = sorted((tmp_path / "out/shards").iterdir())
    crops = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/crops").iterdir()}
    of_shard = [
        {json.loads(line)["id"] for line in path.read_text().splitlines()[:-1]} for path in shards
    ]
    shards[0].unlink()
    shards[1].write_bytes(shards[1].read_bytes()[:-20])
    (tmp_path / f"out/crops/{min(of_shard[2])}.jpg").unlink()
    (tmp_path / f"out/crops/{min(of_shard[3])}.jpg").write_bytes(b"")
    assert prepare(tmp_path, "--shard-size", 4) == 0
    assert contents(tmp_path / "out") == before
    kept = {path.stem for path, date in crops.items() if path.stat().st_mtime_ns == date}
    assert kept == set().union(*of_shard[4:])


def test_what_no_longer_counts_is_swept_away(tmp_path):
    make_input(tmp_path, count=12)
    prepare(tmp_path, "--shard-size", 3)
    (tmp_path / "out/crops/mine.txt").write_text("not ours")
    for name in ("imgs/003.jpg", "csv/003.csv"):
        (tmp_path / name).unlink()
    prepare(tmp_path, "--shard-size", 3)
    names = {path.name for path in (tmp_path / "out/crops").iterdir()}
    assert names == {f"{i:03d}.jpg" for i in range(12) if i != 3} | {"mine.txt"}
    texts = [path.read_text() for path in (tmp_path / "out/shards").iterdir()]
    assert sum(text.count('"id"') for text in texts) == 11


def test_two_runs_in_one_folder_lock_each_other_out(tmp_path, capsys):
    make_input(tmp_path, count=2)
    (tmp_path / "out").mkdir()
    with (tmp_path / "out/.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert prepare(tmp_path) == 2
        assert "another run is at work" in capsys.readouterr().err
        assert prepare(tmp_path, "--shard", "0/2") == 2
        fcntl.flock(other, fcntl.LOCK_SH)  # as a share's run does
        assert prepare(tmp_path, "--shard", "0/2") == 0
        assert prepare(tmp_path) == 2
    assert prepare(tmp_path) == 0


def test_two_runs_give_the_same_bytes(tmp_path):
    """From copies of the pictures with other dates, by other processes."""
    make_input(tmp_path / "a", count=70)
    shutil.copytree(tmp_path / "a", tmp_path / "b", copy_function=shutil.copyfile)
    results = []
    for folder, workers in ((tmp_path / "a", 1), (tmp_path / "b", 2)):
        prepare(folder, workers=workers)
        found = contents(folder / "out")
        results.append({name: found[name] for name in found if not name.startswith("shards")})
    assert results[0] == results[1]
    assert any("metadata.json" in name for name in results[0])


# Filters


def test_duplicates_are_found_as_by_comparing_all(tmp_path):
    rng = np.random.default_rng(0)
    hashes = list(rng.integers(0, 256, (300, 32), np.uint8))
    for flips in (0, 1, 3, 7):  # fewer than bands: sure to be found
        other = np.unpackbits(hashes[flips])
        other[rng.choice(256, flips, replace=False)] ^= 1
        hashes.append(np.packbits(other))
    hashes += [hashes[300], np.zeros(32, np.uint8), np.zeros(32, np.uint8)]
    want = {}
    for place, one in enumerate(hashes):
        near = [
            first
            for first in range(place)
            if np.unpackbits(one ^ hashes[first]).sum() <= ALIKE and first not in want
        ]
        if near:
            want[place] = near[0]
    assert duplicates([one.tobytes() for one in hashes]) == want
    assert len(want) == 6
    assert duplicates([]) == {}


def test_a_picture_saved_anew_has_the_same_hash_and_others_have_not(tmp_path):
    for seed in range(8):
        draw(tmp_path / f"{seed}.png", side=200, seed=seed)
    pictures = [Image.open(tmp_path / f"{seed}.png").convert("RGB") for seed in range(8)]
    hashes = [np.frombuffer(perceptual_hash(picture), np.uint8) for picture in pictures]
    for picture, own in zip(pictures, hashes, strict=True):
        picture.resize((128, 128)).save(tmp_path / "again.jpg", quality=60)
        again = np.frombuffer(perceptual_hash(Image.open(tmp_path / "again.jpg")), np.uint8)
        distances = [int(np.unpackbits(again ^ other).sum()) for other in hashes]
        assert sorted(distances)[0] <= ALIKE < sorted(distances)[1]
        assert distances.index(min(distances)) == next(
            place for place, other in enumerate(hashes) if other is own
        )


def test_duplicates_are_dropped_on_demand_and_told(tmp_path):
    make_input(tmp_path, count=5)
    shutil.copy(tmp_path / "imgs/001.jpg", tmp_path / "imgs/004.jpg")
    assert prepare(tmp_path) == 0
    assert len(split_of(tmp_path)) == 5
    assert prepare(tmp_path, "--duplicates", "drop") == 0
    assert "004" not in split_of(tmp_path)
    (line,) = read_rows(tmp_path / "out/skipped.csv")
    assert (line["file"], line["reason"], line["detail"]) == (
        *("004.jpg", "duplicate"),
        "004 is like 001",
    )


def test_sharpness_is_the_variance_of_the_laplacian():
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (40, 40), np.uint8)
    want = ndimage.laplace(grey.astype(float))[1:-1, 1:-1].var()
    assert sharpness_of(Image.fromarray(grey)) == pytest.approx(want, rel=1e-5)
    blurred = Image.fromarray(grey).filter(ImageFilter.GaussianBlur(2))
    assert sharpness_of(blurred) < want / 100


@pytest.mark.parametrize(
    ("face", "reason"),
    [
        ((63, 0, 99), "face too small"),
        ((64, 61, 99), "face turned away"),
        ((64, 60, 19), "too blurred"),
        ((64, 60, 20), None),
        ((64, float("nan"), 20), None),
    ],
)
def test_limits(face, reason):
    limits = {"min_side": 64, "max_turn": 60, "blur": 20}
    if reason is None:
        check_face(*face, **limits)
    else:
        with pytest.raises(UnusableFile, match=reason):
            check_face(*face, **limits)


def test_filters_are_flags_and_what_they_refuse_is_told(tmp_path):
    make_input(tmp_path, count=3)
    draw(tmp_path / "imgs/000.jpg", side=20)
    Image.new("RGB", (40, 40), "grey").save(tmp_path / "imgs/001.jpg")
    write_csv(tmp_path / "csv/003.csv", pose_Rx=0.1, pose_Ry=-1.2)
    draw(tmp_path / "imgs/003.jpg")
    assert prepare(tmp_path, "--min-side", 30, "--blur", 1, "--max-turn", 60) == 0
    assert reasons(tmp_path) == {
        "000.jpg": "face too small",
        "001.jpg": "too blurred",
        "003.jpg": "face turned away",
    }
    (row,) = read_rows(tmp_path / "out/table.csv")
    assert (row["id"], float(row["side"])) == ("002", 40)


def test_nobody_changes_sides_when_files_are_added(tmp_path):
    make_input(tmp_path, count=60)
    prepare(tmp_path, "--test-fraction", 0.3)
    before = split_of(tmp_path)
    assert set(before.values()) == {"train", "test"}
    for number in range(60, 80):
        draw(tmp_path / f"imgs/x{number}.jpg", seed=number)
        write_csv(tmp_path / f"csv/x{number}.csv")
    prepare(tmp_path, "--test-fraction", 0.3)
    after = split_of(tmp_path)
    assert len(after) == 80
    assert before.items() <= after.items()


# What is shown


def faces_like(count, folder):
    rng = np.random.default_rng(1)
    aus = rng.uniform(0, 5, (count, 4)) * (rng.random((count, 4)) < 0.5)
    aus[:, 3] = aus[:, 2] / 2
    rows = []
    for number in range(count):
        face = Face(
            id=f"f{number}",
            split="test" if number % 4 == 0 else "train",
            person=f"p{number % 3}",
            source=f"a, {number}.jpg",
            aus=tuple(aus[number].tolist()),
            transform=((0.1 + number, 0.2, 0.3), (-0.2, 0.1, 1 / 3)),
            jpeg=folder / f"crops/f{number}.jpg",
        )
        rows.append(Row(face, float("nan"), 100.0 + number, 3.0, 9.5))
    return rows, aus


def test_survey_counts_as_numpy_does(tmp_path):
    rows, aus = faces_like(200, tmp_path)
    survey = Survey(("AU01", "AU02", "AU12", "AU45"))
    for row in rows:
        survey.add(row)
    np.testing.assert_allclose(survey.mean, aus.mean(axis=0))
    np.testing.assert_allclose(survey.deviation, aus.std(axis=0))
    np.testing.assert_allclose(survey.active, (aus >= 1).mean(axis=0))
    np.testing.assert_allclose(survey.correlation, np.corrcoef(aus.T), atol=1e-9)
    for unit in range(4):
        want, _ = np.histogram(aus[:, unit], bins=25, range=(0, 5))
        np.testing.assert_array_equal(survey.histogram[unit], want)
        best = np.sort(aus[:, unit])[::-1][:10]
        np.testing.assert_array_equal([one.aus[unit] for one in survey.high(unit)], best)
        assert [one.aus[unit] for one in survey.low(unit)] == [0.0] * 10
    assert dict(survey.splits) == {"test": 50, "train": 150}
    assert dict(survey.sides) == {64: 28, 128: 128, 256: 44}
    assert len({one.id for one in survey.sheet}) == 60


def test_table_comes_back_as_it_went(tmp_path):
    rows, _ = faces_like(9, tmp_path)
    write_table(tmp_path, rows, ("AU01", "AU02", "AU12", "AU45"))
    table = FaceTable(tmp_path)
    assert (len(table), table.action_units) == (9, ("AU01", "AU02", "AU12", "AU45"))
    for _ in range(2):  # read anew each time
        for face, row in zip(table, rows, strict=True):
            assert face._replace(transform=0) == row.face._replace(transform=0)
            np.testing.assert_array_equal(face.transform, row.face.transform)
    (tmp_path / "table.csv").write_text("id,split\n")
    with pytest.raises(ValueError, match="no column file person transform"):
        FaceTable(tmp_path)


class Page(html.parser.HTMLParser):
    """Counts tags and sees that each is closed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.links, self.text = {}, [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self.links += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags[tag] = self.tags.get(tag, 0) + 1

    def handle_endtag(self, tag):
        last = self.open.pop()
        assert tag == last, (tag, self.getpos())

    def handle_data(self, data):
        self.text.append(data)


def test_report_and_card_show_what_there_is(tmp_path):
    make_input(tmp_path, count=25)
    (tmp_path / "imgs/broken.jpg").write_bytes(b"")
    write_csv(tmp_path / "csv/broken.csv")
    words = ("--licence", "CC <0>", "--origin", "Us & them")
    assert prepare(tmp_path, *words) == 0
    text = (tmp_path / "out/report.html").read_text()
    page = Page(text)
    assert page.open == []
    assert all(link.startswith("data:image/jpeg;base64,") for link in page.links)
    assert "http" not in text
    assert page.tags["img"] == 25 + 17 * 20  # the sheet; ten at either end of each action unit
    assert page.tags["svg"] == 17 + 1
    shown = " ".join(page.text)
    assert all(code in shown for code in ACTION_UNITS)
    assert "CC <0>" in shown
    assert "Us & them" in shown
    assert "unreadable picture" in shown

    card = (tmp_path / "out/README.md").read_text()
    for line in ("| licence of the pictures | CC <0> |", "| annotator | OpenFace |"):
        assert line in card
    aus = np.array([intensities(number) for number in range(25)])
    mean, deviation = aus[:, 8].mean(), aus[:, 8].std()
    assert f"| AU12 | lip corner puller | {mean:.2f} | {deviation:.2f} |" in card
    assert "| unreadable picture | 1 |" in card


def test_help_of_every_command(capsys):
    from ganimation_jax.prepare.__main__ import main

    for command in ("photos", "folders", "openface", "celeba", "emotionet", "fit-readout"):
        with pytest.raises(SystemExit) as stop:
            main([command, "--help"])
        assert stop.value.code == 0
        assert f"ganimation prepare {command}" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["3/3", "x/2", "1", "-1/2", "1/0"])
def test_shares_that_make_no_sense(tmp_path, capsys, text):
    make_input(tmp_path, count=1)
    with pytest.raises(SystemExit):
        prepare(tmp_path, f"--shard={text}")
    assert "is not I/N" in capsys.readouterr().err


@pytest.mark.slow
def test_killed_in_the_middle_loses_one_shard_at_most(tmp_path):
    count, size = 400, 40
    for number in range(count):
        draw(tmp_path / f"imgs/{number:03d}.jpg", side=300, seed=number)
        write_csv(tmp_path / f"csv/{number:03d}.csv", seed=number)
    command = [sys.executable, "-m", "ganimation_jax.prepare", "openface", "--workers", "2"]
    command += ["--images", tmp_path / "imgs", "--csv", tmp_path / "csv", "--out", tmp_path / "out"]
    process = subprocess.Popen(
        [*command, "--shard-size", str(size)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    shards = tmp_path / "out/shards"
    while len(list(shards.glob("*.jsonl"))) < 3:
        assert process.poll() is None, "finished before it was killed"
        os.sched_yield()
    process.kill()
    process.wait()
    complete = {path: path.stat().st_mtime_ns for path in shards.glob("*.jsonl")}
    kept = sum(len(path.read_text().splitlines()) for path in complete)
    done = len(list((tmp_path / "out/crops").glob("*.jpg")))
    # What was not kept: the shard under way (four times the usual size at most), and what
    # two processes had been given ahead of it.
    assert done - kept <= 4 * size + 2 * 4 * 32
    subprocess.run([*command, "--shard-size", str(size)], check=True, capture_output=True)
    assert {path: path.stat().st_mtime_ns for path in complete} == complete
    assert len(FaceTable(tmp_path / "out")) == count
