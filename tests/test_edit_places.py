"""``ganimation edit``: which file each result becomes."""

import os
from pathlib import Path

import numpy as np
import pytest
from edit_command import photo
from PIL import Image

from ganimation_jax.animation.inputs import Task, UsageError, check_outputs, expand, plan

RNG = np.random.default_rng(0)


def places(words, out, form=None):
    inputs, _ = expand(words)
    tasks = plan(inputs, out, form)
    check_outputs(tasks, [], [])
    return [task.out.as_posix() for task in tasks]


def test_places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "in/b.mp4", "in/c/d.JPG", "in/c/.hidden.txt", "x/a.jpg", "x/e.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    assert places(["a.jpg", "in"], "out") == ["out/a.png", "out/b.mp4", "out/c/d.png"]
    assert places(["**/*.JPG"], "out", "gif") == ["out/d.gif"]
    (tmp_path / "none").mkdir()
    with pytest.raises(UsageError, match="holds no photos"):
        expand(["none"])
    # Files of one name keep their folders; a file named twice is one.
    assert places(["a.jpg", "x"], "out") == ["out/a.png", "out/x/a.png", "out/x/e.png"]
    assert places(["a.jpg", tmp_path / "a.jpg", "./a.jpg"], "out.png") == ["out.png"]


@pytest.mark.parametrize("out", ["run_1.0", "results.v2/", "edits.bmp", "2024.11.27"])
def test_several_inputs_or_a_slash_mean_a_folder(tmp_path, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).touch()
    folder = out.rstrip("/")
    assert places(["a.jpg", "b.jpg"], out) == [f"{folder}/a.png", f"{folder}/b.png"]
    assert places(["a.jpg"], f"{folder}/") == [f"{folder}/a.png"]
    with pytest.raises(UsageError, match="a folder's name ends in a slash"):
        places(["a.jpg"], folder)
    (tmp_path / folder).mkdir()
    assert places(["a.jpg"], folder) == [f"{folder}/a.png"]


def test_no_two_results_are_one_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "a.png", "a.jpg.png", "y/b.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert places(["a.jpg", "a.png"], "out") == ["out/a.jpg.png", "out/a.png.png"]
    with pytest.raises(UsageError, match="a.jpg and a.jpg.png would both become out/a.jpg.png"):
        places(["a.jpg", "a.png", "a.jpg.png"], "out")
    (tmp_path / "link").symlink_to("y")
    with pytest.raises(UsageError, match="is inside the folder"):
        places(["y"], "link")
    task = Task(Path("a.jpg"), Path("out.png"), moves=False)
    with pytest.raises(UsageError, match="out-sad.png is what is read"):
        check_outputs([task], ["happy", "sad"], [Path("out-sad.png")])
    (tmp_path / "hard.png").hardlink_to("a.jpg")
    with pytest.raises(UsageError, match="hard.png is what is read"):
        check_outputs([task._replace(out=Path("hard.png"))], [], [])


def test_what_is_in_a_folder(tmp_path):
    Image.fromarray(photo("a")).save(tmp_path / "noending", "PNG")
    Image.fromarray(photo("a")).save(tmp_path / "b.jfif", "JPEG")
    frames = [Image.fromarray(photo(name)) for name in "ab"]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "still.gif")
    (tmp_path / "text").write_text("no picture")
    (tmp_path / "table.csv").write_text("a,b")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "lost.png").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to(".")
    inputs, skipped = expand([str(tmp_path)])
    assert [(one.source.name, one.moves) for one in inputs] == [
        ("b.jfif", False), ("film.gif", True), ("noending", False), ("still.gif", False),
    ]  # fmt: skip
    assert {path.name: reason for path, reason in skipped} == {
        "text": "not a photo: it has no ending, and is none by its contents",
        "table.csv": "not a photo or video: its ending is .csv",
        "pipe.jpg": "not a regular file but a named pipe",
        "lost.png": "No such file or directory",
    }
