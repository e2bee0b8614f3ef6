"""Shards, restarts, duplicates, splits, report and card: what every source shares."""

import fcntl
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from prepare_folders import (
    draw,
    make_input,
    prepare,
    split_of,
    write_csv,
)

from ganimation_jax.data.table import FaceTable
from ganimation_jax.prepare.finders import Search
from ganimation_jax.prepare.shards import plan_shards
from ganimation_jax.prepare.sources import Item
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
