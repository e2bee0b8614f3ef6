import json

import numpy as np
from PIL import Image

from ganimation_jax.writers import CELL, Writer, grid

WANDB = {"mode": "disabled", "project": "", "group": "", "name": ""}


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
