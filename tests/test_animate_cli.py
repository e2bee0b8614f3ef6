"""``ganimation edit``: what it writes."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from edit_command import photo, pixels, refused
from helpers import ROOT, needs_mediapipe, portrait
from PIL import Image, ImageSequence

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.animation import clips, console
from ganimation_jax.animation.provenance import read_provenance
from ganimation_jax.animation.targets import PRESETS
from ganimation_jax.media import moving

RNG = np.random.default_rng(0)


# What is written


def test_a_photo_is_edited(animate, animator, capsys):
    assert animate("a.png", "--au", "AU12=0.8", "--au", "6=.5", "-o", "out.png") == 0
    assert capsys.readouterr() == ("a.png: 1 face, wrote out.png\n", "")
    want = animator.edit(photo("a"), {"AU12": 0.8, "AU06": 0.5}, aligned=True)
    np.testing.assert_array_equal(pixels("out.png"), want)
    assert np.abs(want.astype(int) - photo("a")).mean() > 1


def test_relative_and_a_whole_expression(animate, animator):
    assert animate("a.png", "--au", "AU12=-0.2", "--relative", "-o", "less.png") == 0
    want = animator.edit(photo("a"), {"AU12": -0.2}, relative=True, aligned=True)
    np.testing.assert_array_equal(pixels("less.png"), want)
    words = ("--expression", "sad", "--intensity", 0.5, "--au", "AU45=1")
    assert animate("a.png", *words, "-o", "sad.png") == 0
    target = np.zeros(17, np.float32)
    for unit, value in PRESETS["sad"].items():
        target[ACTION_UNITS.index(unit)] = 0.5 * value
    target[ACTION_UNITS.index("AU45")] = 1
    want = animator.edit(photo("a"), target, aligned=True)
    np.testing.assert_array_equal(pixels("sad.png"), want)


def test_one_half_of_a_face(animate, monkeypatch):
    assert animate("a.png", "--expression", "sad", "--half", "left", "-o", "left.png") == 0
    assert animate("a.png", "--expression", "sad", "--half", "right", "-o", "right.png") == 0
    assert animate("a.png", "--expression", "sad", "-o", "whole.png") == 0
    left, right, whole = (
        np.subtract(pixels(f"{name}.png"), photo("a"), dtype=int)
        for name in ("left", "right", "whole")
    )
    assert (np.abs(whole[:, :8]).mean(), np.abs(whole[:, 32:]).mean()) > (0.2, 0.2)
    np.testing.assert_array_equal(left[:, :8], whole[:, :8])
    np.testing.assert_array_equal(right[:, 32:], whole[:, 32:])
    assert not left[:, 32:].any()
    assert not right[:, :8].any()
    assert read_provenance(Path("left.png")).action_units.startswith("left half: AU01=")
    frames = []
    monkeypatch.setattr(moving, "write_moving", lambda _, images, **__: frames.extend(images))
    words = ("a.png", "--expression", "sad", "--half", "right", "--frames", 2)
    assert animate(*words, "-o", "out.gif") == 0
    np.testing.assert_array_equal(frames[0], photo("a"))
    np.testing.assert_array_equal(frames[1], pixels("right.png"))


def test_the_expression_of_another(animate, animator):
    assert animate("a.png", "--from", "b.png", "-o", "new/folder/out.png") == 0
    want = animator.transfer(photo("a"), photo("b"), aligned=True)
    np.testing.assert_array_equal(pixels("new/folder/out.png"), want)


def test_an_expression_of_the_web_page(animate, animator, capsys):
    given = {"AU12": 0.8, "AU45": 0.5}
    text = json.dumps({"ganimation_expression": 1, "action_units": given})
    Path("smile.json").write_text(text)
    assert animate("a.png", "--from", "smile.json", "-o", "out.png") == 0
    want = animator.edit(photo("a"), given, aligned=True)
    np.testing.assert_array_equal(pixels("out.png"), want)
    capsys.readouterr()
    halves = {"left": given, "right": {"AU12": 0.1}}
    for content, says in (
        ("{", "smile.json: this is not an expression file"),
        (json.dumps({"ganimation_expression": 1, **halves}), "its halves differ"),
        (text.replace("0.8", "8"), "AU12: its intensity is not from 0 to 1"),
    ):
        Path("smile.json").write_text(content)
        assert animate("a.png", "--from", "smile.json", "-o", "other.png") == 2
        refused(capsys, says)
    assert not Path("other.png").exists()


def test_several_expressions_are_several_pictures_or_follow_in_one(animate, animator):
    words = ("a.png", "--expression", "happy,sad", "--frames", 4)
    assert animate(*words, "-o", "out.png") == 0
    assert animate(*words, "-o", "out.gif", "--fps", 10) == 0
    stills = [pixels("out-happy.png"), pixels("out-sad.png")]
    assert np.abs(np.subtract(*stills, dtype=int)).mean() > 0.2
    with Image.open("out.gif") as film:
        assert film.info["duration"] == 100
        frames = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(film)]
    assert len(frames) == 8
    # Own, half-way, there, half-way, and so again; a GIF's colours are few.
    own = animator.edit(photo("a"), {}, aligned=True)

    def difference(frame, want):
        return np.abs(frame.astype(int) - want).mean()

    for place, want in [(0, own), (2, stills[0]), (4, own), (6, stills[1])]:
        others = [difference(frame, want) for frame in frames]
        assert difference(frames[place], want) <= min(others) + 1e-9
    assert difference(frames[1], frames[3]) < 0.5


def test_many_inputs_go_to_a_folder(animate, animator, tmp_path, capsys):
    (tmp_path / "in/deep").mkdir(parents=True)
    for name in ("in/x.png", "in/deep/x.png", "in/x.jpg"):
        Image.fromarray(photo("c")).save(tmp_path / name)
    (tmp_path / "in/notes.txt").write_text("not a picture")
    assert animate("in", "[ab].png", "--au", "12=1", "-o", "edits", "--format", "jpg") == 0
    written = {path.relative_to("edits").as_posix() for path in (tmp_path / "edits").rglob("*.jpg")
               for path in [path.relative_to(tmp_path)]}  # fmt: skip
    assert written == {"x.png.jpg", "x.jpg.jpg", "deep/x.jpg", "a.jpg", "b.jpg"}
    captured = capsys.readouterr()
    assert captured.out.endswith("5 files from 5 of 5 inputs, 1 skipped\n")
    assert captured.out.count(": 1 face, wrote edits/") == 5
    assert "inputs 5/5" in captured.err
    assert "skipped 1:\n  in/notes.txt: not a photo or video: its ending is .txt\n" in captured.err
    want = animator.edit(photo("b"), {"AU12": 1.0}, aligned=True)
    assert np.abs(pixels("edits/b.jpg").astype(int) - want).mean() < 6


def test_a_sheet_of_what_the_model_does(animate):
    assert animate("a.png", "--grid", "-o", "grid.png") == 0
    plain = pixels("grid.png")
    assert animate("a.png", "--grid", "--au", "AU12=1", "-o", "grid2.png") == 0
    assert pixels("grid2.png").shape[0] > plain.shape[0] + 90  # a strip more
    assert plain.shape[0] > (17 + 4) * 96  # a row for each unit and four of expressions


@pytest.mark.slow
def test_two_programs_are_compiled_and_nothing_else():
    """Each operation outside them would be a program of its own, which takes 0.1 s or more."""
    code = (
        "import jax, logging, numpy as np\n"
        "from ganimation_jax import Animator\n"
        "names = []\n"
        "class Names(logging.Handler):\n"
        "    def emit(self, record):\n"
        "        text = record.getMessage()\n"
        "        if text.startswith('Finished XLA compilation'): names.append(text)\n"
        "logging.getLogger('jax').addHandler(Names())\n"
        "jax.config.update('jax_log_compiles', True)\n"
        "animator = Animator.load('lfw-64')\n"
        "animator.warm_up()\n"
        "assert len(names) == 2, names\n"
        "crop = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)\n"
        "animator.edit(crop, {'AU12': 0.8}, aligned=True)\n"
        "animator.edit(crop, 'happy', aligned=True)\n"
        "assert len(names) == 2, names\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


# Videos are another module's: what it is asked for


def test_videos_are_edited_frame_by_frame(animate, animator, monkeypatch, tmp_path):
    asked = []

    def edit_video(animator, source, out, target, *, faces, side, tags, progress):
        own = np.full(17, 0.5, np.float32)
        asked.append((source.name, out.name, target(own), faces, tags["action_units"]))

    monkeypatch.setattr(clips, "edit_video", edit_video)
    (tmp_path / "film.mov").touch()
    words = ("film.mov", "--faces", 2, "-o", "out.mp4")
    assert animate(*words, "--au", "AU12=0.9", aligned=False) == 0
    ((source, out, target, faces, said),) = asked
    assert (source, out, faces, said) == ("film.mov", "out.mp4", 2, "AU12=0.90")
    want = np.full(17, 0.5)
    want[ACTION_UNITS.index("AU12")] = 0.9
    np.testing.assert_allclose(target, want)
    asked.clear()
    assert animate(*words, "--au", "AU12=0.3", "--relative", aligned=False) == 0
    assert asked[0][2][ACTION_UNITS.index("AU12")] == pytest.approx(0.8)
    asked.clear()
    assert animate(*words, "--expression", "happy,sad", aligned=False) == 0
    assert [out for _, out, *_ in asked] == ["out-happy.mp4", "out-sad.mp4"]


@pytest.mark.parametrize(
    ("flags", "relative"), [((), True), (("--relative",), True), (("--no-relative",), False)]
)
def test_a_video_drives_a_photo(animate, monkeypatch, tmp_path, flags, relative):
    asked = []

    def drive(animator, image, driver, out, *, by, relative, faces, fps, tags, progress):
        asked.append((image.shape, driver.name, out.name, by, relative, faces, tags["model"]))

    monkeypatch.setattr(clips, "drive", drive)
    (tmp_path / "film.mp4").touch()
    words = ("a.png", "--drive", "film.mp4", "-o", "out.webp", *flags)
    assert animate(*words, aligned=False) == 0
    assert asked == [((40, 40, 3), "film.mp4", "out.webp", "critic", relative, "largest", "tiny")]


def test_progress_of_frames(capsys, monkeypatch):
    line = console.Line("frames")
    line(1, 4)
    assert capsys.readouterr().err == ""
    line(4, 4)
    assert capsys.readouterr().err.startswith("frames 4/4  ")
    monkeypatch.setattr(console.time, "monotonic", lambda: line._shown + 20)
    line(7, None)
    assert capsys.readouterr().err == "frames 7\n"


# With MediaPipe


@needs_mediapipe
def test_all_faces_of_a_photo_and_none_of_noise(animate, tmp_path, capsys):
    both = np.tile(portrait(240), (1, 2, 1))
    Image.fromarray(both).save(tmp_path / "two.png")
    Image.fromarray(RNG.integers(0, 256, (90, 90, 3), np.uint8)).save(tmp_path / "noise.png")
    words = ("two.png", "noise.png", "--au", "AU12=1", "--faces", "all", "-o", "edits")
    assert animate(*words, aligned=False) == 1
    assert "error: noise.png: no face was found" in capsys.readouterr().err
    changed = (pixels("edits/two.png") != both).any(axis=-1)
    assert changed[:, :240].mean() > 0.2
    assert changed[:, 240:].mean() > 0.2
    assert not (tmp_path / "edits/noise.png").exists()
    assert animate("two.png", "--au", "AU12=1", "-o", "one.png", aligned=False) == 0
    changed = (pixels("one.png") != both).any(axis=-1)
    assert (changed[:, :240].mean() > 0.2) != (changed[:, 240:].mean() > 0.2)
