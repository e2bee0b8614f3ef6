"""What a run writes: metrics, pictures, videos, alerts, attempts; damaged lines."""

import json
import subprocess

import numpy as np
import pytest
from helpers import ALERT, ROOT, WANDB
from PIL import Image

from ganimation_jax.files import json_lines
from ganimation_jax.logs.alerts import Alert
from ganimation_jax.logs.run_files import commit_of
from ganimation_jax.logs.writer import Writer
from ganimation_jax.reports.picture_grid import CELL, grid
from ganimation_jax.version import __version__


def test_metrics_are_lines_of_json(tmp_path):
    writer = Writer(tmp_path, {"lr": 1e-4}, total=100, wandb=WANDB)
    writer.metrics(10, {"critic/loss": np.float32(0.5)})
    writer.metrics(20, {"critic/loss": 0.25})
    writer.close()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == [{"images": 10, "critic/loss": 0.5}, {"images": 20, "critic/loss": 0.25}]
    assert json.loads((tmp_path / "config.json").read_text()) == {"lr": 1e-4}


def test_a_continued_run_makes_later_records_again(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"images": 10}\n{"images": 20}\n{"images": 30}\n{"ima')  # killed while writing
    writer = Writer(tmp_path, {}, start=20, total=100, wandb=WANDB)
    writer.metrics(30, {"critic/loss": 1.0})
    images = [json.loads(line)["images"] for line in path.read_text().splitlines()]
    assert images == [10, 20, 30]


def test_progress_shows_speed_and_time_left_after_compilation(tmp_path, caplog, monkeypatch):
    clock = iter([100.0, 102.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    writer = Writer(tmp_path, {}, total=7_000, wandb=WANDB)
    with caplog.at_level("INFO", "ganimation_jax"):
        writer.metrics(1_000, {"critic/loss": 0.5})
        writer.metrics(2_000, {"critic/loss": 0.5})
    first, second = (record.getMessage() for record in caplog.records)
    assert first == "1,000/7,000 images  critic/loss 0.5"
    assert second == "2,000/7,000 images  500.0 images/s  ETA 0:00:10  critic/loss 0.5"


def test_pictures_are_stored_as_they_are(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    path = Writer(tmp_path, {}, wandb=WANDB).picture(1_234, "samples", pixels)
    assert path.name == "samples-00001234.png"
    np.testing.assert_array_equal(np.asarray(Image.open(path)), pixels)


def test_grid_places_cells_in_rows_and_columns():
    colors = np.arange(1, 7, dtype=np.uint8).reshape(2, 3) * 40
    cells = [[np.full((CELL, CELL, 3), color) for color in row] for row in colors]
    sheet = grid(cells)
    pitch = sheet.shape[1] // 3
    centres = sheet[CELL // 2 :: pitch, CELL // 2 :: pitch, 0]
    np.testing.assert_array_equal(centres, colors)
    labelled = grid(cells, ["one", "two"], ["a", "b", "c"])
    assert labelled.shape[0] > sheet.shape[0]
    assert labelled.shape[1] > sheet.shape[1]
    left = labelled[:, : labelled.shape[1] - sheet.shape[1]]
    assert (left < 128).any()  # labels are written


def test_small_images_are_enlarged_without_smoothing():
    cell = np.random.default_rng(0).integers(0, 256, (CELL // 4, CELL // 4, 3), np.uint8)
    sheet = grid([[cell]])
    np.testing.assert_array_equal(sheet[:CELL:4, :CELL:4], cell)
    np.testing.assert_array_equal(sheet[3:CELL:4, 3:CELL:4], cell)


def test_any_flipped_bit_costs_at_most_its_line_and_never_silently(tmp_path, caplog):
    """The clock is part of a record: where it is damaged, the record no longer fits its place."""
    records = [{"images": 10 * i, "critic/loss": i / 7, "score": None} for i in range(1, 9)]
    whole = b"".join(json.dumps(record).encode() + b"\n" for record in records)
    path = tmp_path / "metrics.jsonl"
    rng = np.random.default_rng(0)
    for place in rng.choice(8 * len(whole), 400, replace=False):
        data = bytearray(whole)
        data[place // 8] ^= 1 << (place % 8)
        path.write_bytes(data)
        path.with_name("metrics.jsonl.damaged").unlink(missing_ok=True)
        caplog.clear()
        with caplog.at_level("INFO", "ganimation_jax"):
            kept = json_lines.clean(path, json_lines.numbers_only, "images", 80)
        lost = [record for record in records if record not in kept]
        # A line end is two lines' matter; a changed digit or letter stays within its record.
        assert len(lost) <= 2
        assert len(kept) >= len(records) - 2
        if len(kept) < len(records):
            assert str(path) in caplog.text
        aside = path.with_name("metrics.jsonl.damaged")
        if aside.exists():
            assert "moved damaged line" in caplog.text
            kept_bytes = path.read_bytes() + aside.read_bytes()
            assert sorted(kept_bytes.split(b"\n")) == sorted(bytes(data + b"\n").split(b"\n")) or (
                sorted(kept_bytes.split()) == sorted(bytes(data).split())
            )
        assert json_lines.clean(path, json_lines.numbers_only, "images", 80) == kept


@pytest.mark.parametrize(
    "line",
    [
        b"5",
        b"[]",
        b"{}",
        b'{"images": true}',
        b'{"images": -1}',
        b'{"images": 2.5}',
        b'{"images": 20, "a": "x"}',
        b'{"images": 20, "a": true}',
        b'{"images": 99}',
        b'{"images": 20}{"images": 20}',
        b"\xff\xfe",
        b"\x00",
        b"[" * 5000,
    ],
)
def test_a_damaged_line_is_moved_aside_and_named(tmp_path, line, caplog):
    path = tmp_path / "metrics.jsonl"
    good = b'{"images": 10}\n', b'{"images": 30}\n'
    path.write_bytes(good[0] + line + b"\n" + good[1])
    writer = Writer(tmp_path, {}, start=100, wandb=WANDB)
    assert writer.history() == [{"images": 10}, {"images": 30}]
    assert path.read_bytes() == b"".join(good)
    aside = tmp_path / "metrics.jsonl.damaged"
    assert aside.read_bytes() == line + b"\n"
    assert f"{path}: moved damaged line 2 to {aside}" in caplog.text


def test_damaged_alerts_and_starts_do_not_stop_a_run_either(tmp_path, caplog):
    writer = Writer(tmp_path, {}, wandb=WANDB)
    writer.alert(ALERT)
    for name in ("alerts.jsonl", "starts.jsonl"):
        with (tmp_path / name).open("ab") as file:
            file.write(b'{"images": 20, "name": 3}\n{"cut')
    Writer(tmp_path, {}, start=20, wandb=WANDB)
    assert [json.loads(x) for x in (tmp_path / "alerts.jsonl").read_text().splitlines()] == [
        ALERT._asdict()
    ]
    assert len((tmp_path / "starts.jsonl").read_text().splitlines()) == 2
    for name in ("alerts.jsonl", "starts.jsonl"):
        assert f"{tmp_path / name}: moved damaged lines 2, 3 to" in caplog.text


def test_a_reader_leaves_a_file_that_is_being_written_alone(tmp_path, caplog):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"images": 10}\n{"ima')
    assert json_lines.read(path, json_lines.numbers_only) == [{"images": 10}]
    assert not caplog.records
    path.write_bytes(b'{"images": 10}\nbad\n{"ima')
    assert json_lines.read(path, json_lines.numbers_only) == [{"images": 10}]
    assert f"{path}: skipped damaged line 2" in caplog.text
    assert path.read_bytes() == b'{"images": 10}\nbad\n{"ima'
    json_lines.append(path, {"images": 20})
    assert path.read_bytes().endswith(b'{"ima\n{"images": 20}\n')


def test_alerts_are_seen_without_wandb(tmp_path, caplog):
    writer = Writer(tmp_path, {}, wandb=WANDB)
    with caplog.at_level("INFO", "ganimation_jax"):
        writer.alert(ALERT)
        writer.alert(ALERT._replace(images=1_030, began=False, message="RECOVERED"))
    told = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert told == [
        ("WARNING", "20 images  ATTENTION_NEAR_1: nothing shows"),
        ("INFO", "1,030 images  RECOVERED"),
    ]
    lines = [json.loads(line) for line in (tmp_path / "alerts.jsonl").read_text().splitlines()]
    assert [Alert(**line).images for line in lines] == [20, 1_030]
    assert Alert(**lines[0]) == ALERT


def test_continuing_and_going_back_drop_later_alerts(tmp_path):
    writer = Writer(tmp_path, {}, wandb=WANDB)
    for images in (10, 20, 30, 40):
        writer.metrics(images, {"a": 1.0})
        writer.alert(ALERT._replace(images=images))
    again = Writer(tmp_path, {}, start=30, wandb=WANDB)
    lines = (tmp_path / "alerts.jsonl").read_text().splitlines()
    kept = [json.loads(line)["images"] for line in lines]
    assert kept == [10, 20, 30]
    again.rewind(10)
    assert json.loads((tmp_path / "alerts.jsonl").read_text())["images"] == 10
    assert again.history() == [{"images": 10, "a": 1.0}]


def test_every_attempt_notes_its_code(tmp_path):
    Writer(tmp_path, {}, wandb=WANDB)
    Writer(tmp_path, {}, start=70, wandb=WANDB)
    starts = [json.loads(line) for line in (tmp_path / "starts.jsonl").read_text().splitlines()]
    assert [start["images"] for start in starts] == [0, 70]
    assert {start["ganimation_jax"] for start in starts} == {__version__}
    assert {start["commit"] for start in starts} == {commit_of(ROOT)}


def test_only_one_process_writes(tmp_path, caplog):
    writer = Writer(tmp_path / "run", {}, wandb=WANDB, enabled=False)
    with caplog.at_level("INFO", "ganimation_jax"):
        writer.metrics(10, {"critic/loss": 1.0})
        writer.alert(ALERT)
        writer.picture(10, "samples", np.zeros((4, 4, 3), np.uint8))
        writer.video(10, "clip", [np.zeros((4, 4, 3), np.uint8)])
        writer.artifact(tmp_path, 1)
        writer.rewind(0)
        assert writer.history() == []
        writer.close()
    assert not caplog.records
    assert not (tmp_path / "run").exists()


def test_videos_are_stored_frame_by_frame(tmp_path):
    frames = [np.full((6, 8, 3), 40 * i, np.uint8) for i in range(4)]
    path = Writer(tmp_path, {}, wandb=WANDB).video(50, "clip", frames, rate=5)
    assert path.name == "clip-00000050.gif"
    with Image.open(path) as clip:
        assert (clip.n_frames, clip.info["duration"], clip.info["loop"]) == (4, 200, 0)
        for i, frame in enumerate(frames):
            clip.seek(i)
            np.testing.assert_array_equal(np.asarray(clip.convert("RGB")), frame)


def git(folder, *args):
    author = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", *author, *args], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_commits_are_those_of_git(tmp_path, monkeypatch):
    repository = tmp_path / "repository"
    repository.mkdir()
    assert commit_of(repository) == ""
    git(repository, "init", "--quiet")
    assert commit_of(repository) == ""  # nothing is committed yet
    git(repository, "commit", "--quiet", "--allow-empty", "--message=one")
    first = git(repository, "rev-parse", "HEAD")
    assert commit_of(repository) == first
    git(repository, "pack-refs", "--all")
    assert commit_of(repository) == first
    git(repository, "worktree", "add", "--quiet", "-b", "other", "../tree")
    git(tmp_path / "tree", "commit", "--quiet", "--allow-empty", "--message=two")
    second = git(tmp_path / "tree", "rev-parse", "HEAD")
    assert (commit_of(tmp_path / "tree"), commit_of(repository)) == (second, first)
    git(repository, "checkout", "--quiet", "--detach")
    assert commit_of(repository) == first
    monkeypatch.setenv("PATH", str(tmp_path))  # without git
    assert commit_of(repository) == ""
