"""``ganimation edit``: what it writes, what it says of it, what it refuses."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT, needs_mediapipe, portrait, tiny_config
from PIL import Image, ImageSequence

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.animation import cli, clips, console, finding, provenance
from ganimation_jax.animation.animator import Animator
from ganimation_jax.animation.inputs import Task, UsageError, check_outputs, expand, plan
from ganimation_jax.animation.provenance import SOURCE_TYPE, describe, read_provenance, save_image
from ganimation_jax.animation.targets import PRESETS
from ganimation_jax.interop.torch_import import write_run
from ganimation_jax.media import moving

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory, initial_state):
    folder = tmp_path_factory.mktemp("cli") / "tiny"
    write_run(folder, tiny_config(), initial_state)
    return folder


@pytest.fixture(scope="module")
def animator(workdir):
    return Animator.load(workdir)


@pytest.fixture
def animate(workdir, animator, monkeypatch, tmp_path):
    """Run the command in a folder with some photos; the model is loaded once for all tests."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ganimation_jax.animation.starting.keep_compiled", lambda: None)
    monkeypatch.setattr("ganimation_jax.animation.starting.block_reports", lambda: None)
    monkeypatch.setattr(console, "PATIENCE", 1000.0)
    load = Animator.load

    def loaded(model, *, landmarker=None):
        return animator if model == str(workdir) else load(model, landmarker=landmarker)

    monkeypatch.setattr(Animator, "load", loaded)
    for name in ("a", "b"):
        Image.fromarray(photo(name)).save(tmp_path / f"{name}.png")

    def command(*words, aligned=True, model=workdir):
        flags = ["--aligned"] if aligned else []
        return cli.main([*map(str, words), "--model", str(model), *flags])

    return command


def photo(name):
    return np.random.default_rng(ord(name)).integers(0, 256, (40, 40, 3), np.uint8)


def pixels(path):
    with Image.open(path) as file:
        return np.asarray(file.convert("RGB"))


def refused(capsys, says):
    """One line on stderr."""
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert says in captured.err


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


# What files say of themselves


@pytest.mark.parametrize(
    "suffix",
    [
        *("png", "jpg", "webp", "gif"),
        pytest.param("mp4", marks=pytest.mark.skipif(not find_spec("av"), reason="no PyAV")),
    ],
)
def test_files_say_that_they_are_edited(animate, animator, suffix, tmp_path):
    words = ("a.png", "--au", "AU12=0.8", "--au", "au6=0.5", "-o", f"out.{suffix}", "--frames", 2)
    assert animate(*words) == 0
    said = read_provenance(tmp_path / f"out.{suffix}")
    assert said == provenance.Provenance("tiny", animator.model.sha256, "AU12=0.80 AU06=0.50")
    assert said.digital_source_type == SOURCE_TYPE
    raw = (tmp_path / f"out.{suffix}").read_bytes()
    assert SOURCE_TYPE.encode() in raw  # as plain text
    assert animate(*words, "--no-provenance") == 0
    assert read_provenance(tmp_path / f"out.{suffix}") is None
    assert b"AI-edited" not in (tmp_path / f"out.{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_pictures_carry_the_iptcs_property(animator, suffix, tmp_path):
    """As a reader of XMP finds it, by namespace."""
    path = tmp_path / f"a.{suffix}"
    model = animator.model._replace(name="<b>&\n\u0394")
    save_image(path, photo("a"), describe(model, np.linspace(0, 1, 17)))
    with Image.open(path) as file:
        packet = file.info["xmp"]
    root = provenance.ElementTree.fromstring(packet)
    name = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
    assert [element.text for element in root.iter(name)] == [SOURCE_TYPE]
    assert read_provenance(path).model == "<b>& ?"
    assert "AU06=0.25" in read_provenance(path).action_units
    if suffix == "png":
        np.testing.assert_array_equal(pixels(path), photo("a"))


def test_tags_for_other_containers(animator):
    tags = provenance.as_tags(describe(animator.model, {"AU12": 0.8}))
    assert tags["action_units"] == "AU12=0.80"
    assert tags["sha256"] == animator.model.sha256
    assert tags["digital_source_type"] == SOURCE_TYPE
    assert all("\n" not in text for text in tags.values())


def test_jpegs_keep_their_colours_sharp(tmp_path):
    red_blue = np.zeros((16, 16, 3), np.uint8)
    red_blue[:, ::2, 0] = red_blue[:, 1::2, 2] = 200
    save_image(tmp_path / "a.jpg", red_blue, None)
    assert np.abs(pixels(tmp_path / "a.jpg").astype(int) - red_blue).mean() < 12


def test_nothing_else_of_the_photo_is_copied(animate, animator, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    exif[0x010F] = "Camera"
    exif.get_ifd(0x8825)[1] = "N"
    turned = Image.fromarray(photo("a")).rotate(180)
    turned.save(tmp_path / "camera.png", exif=exif)
    for suffix in ("png", "jpg"):
        assert animate("camera.png", "--au", "AU12=0.8", "-o", f"out.{suffix}") == 0
        with Image.open(f"out.{suffix}") as file:
            assert not dict(file.getexif())
        assert b"Camera" not in (tmp_path / f"out.{suffix}").read_bytes()
    want = animator.edit(photo("a"), {"AU12": 0.8}, aligned=True)
    np.testing.assert_array_equal(pixels("out.png"), want)


def test_a_warning_is_a_line(animate, animator, monkeypatch, capsys):
    find = Animator.find

    def warn(*args, **kwargs):
        finding.log.warning("MediaPipe does not read AU09: taken for 0")
        return find(*args, **kwargs)

    monkeypatch.setattr(Animator, "find", warn)
    assert animate("a.png", "--au", "AU12=0.8", "-o", "out.png") == 0
    assert capsys.readouterr().err == "warning: MediaPipe does not read AU09: taken for 0\n"


# What is refused


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("a.png -o out.png", "which expression?"),
        ("a.png -o out.png --au AU13=0.8", "; did you mean AU"),
        ("a.png -o out.png --au AU12=1.5", "an intensity is from 0 to 1"),
        ("a.png -o out.png --au AU12=nan", "an intensity is from 0 to 1"),
        ("a.png -o out.png --au AU12", "AU12=0.8"),
        ("a.png -o out.png --expression merry", "did you mean happy? There are neutral, happy"),
        ("a.png -o out.png --expression sad --intensity 2", "a strength is from 0 to 1.5"),
        ("a.png -o out.png --au AU12=1 --intensity 0.5", "--intensity belongs to --expression"),
        ("a.png -o out.png --au AU12=1 --from b.png", "give one of them"),
        ("a.png -o out.png --from none.png", "none.png"),
        ("a.png -o out.bmp --au AU12=1", "unknown ending; there are .png"),
        ("a.png -o a.png --au AU12=1", "a.png is what is read"),
        ("a.png -o sub/../a.png --au AU12=1", "is what is read"),
        ("a.png -o out.png --au AU12=1 --format png", "--format is for folders"),
        ("a.png b.png -o out.png --au AU12=1", "give a folder's name"),
        ("none.png -o out.png --au AU12=1", "none.png does not exist"),
        ("*.tiff -o out --au AU12=1", "*.tiff does not exist"),
        ("a.png . -o edits/.. --au AU12=1", "inside the folder"),
        ("a.png -o out.png --drive b.mp4", "a film is written as .mp4"),
        ("a.png -o out.gif --grid", "--grid is a picture"),
        ("a.png -o out.png --grid --half left", "--half goes with --au"),
        ("film.mp4 -o out.mp4 --au AU12=1", "are for photos"),
    ],
)
def test_a_wrong_command_says_what_is_wrong(animate, words, says, capsys, tmp_path):
    (tmp_path / "film.mp4").write_bytes(b"")
    (tmp_path / "edits").mkdir()
    before = sorted(tmp_path.rglob("*"))
    assert animate(*words.split()) == 2
    refused(capsys, says)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_model_that_is_none(animate, capsys):
    assert animate("a.png", "--au", "AU12=1", "-o", "o.png", model="nowhere") == 2
    refused(capsys, "nowhere: there is no such model. A model is a run's workdir")


def test_units_that_the_model_does_not_have(animate, initial_state, tmp_path, capsys):
    names = [f"X{number}" for number in range(16)] + ["AU12"]
    write_run(tmp_path / "run", tiny_config() | {"action_units": names}, initial_state)
    words = ("a.png", "-o", "out.png")
    assert animate(*words, "--au", "AU06=1", model=tmp_path / "run") == 2
    refused(capsys, "this model has no AU06 (cheek raiser); it has X0")
    assert animate(*words, "--expression", "surprised", model=tmp_path / "run") == 2
    refused(capsys, "the model has none of them")


@pytest.mark.parametrize("flags", ["--faces 0", "--faces most", "--frames 1", "--fps 0"])
def test_flags_are_checked(animate, flags, capsys):
    with pytest.raises(SystemExit, match="2"):
        animate("a.png", "--au", "AU12=1", "-o", "out.png", *flags.split())
    assert "error: argument" in capsys.readouterr().err


def test_of_several_inputs_the_good_ones_are_done(animate, tmp_path, capsys):
    (tmp_path / "damaged.jpg").write_bytes(b"\xff\xd8\xff")
    Image.fromarray(photo("a")[:20]).save(tmp_path / "oblong.png")
    words = ("a.png", "damaged.jpg", "oblong.png", "b.png", "--au", "AU12=1", "-o", "edits")
    assert animate(*words) == 1
    captured = capsys.readouterr()
    assert captured.out.endswith("2 files from 2 of 4 inputs, 2 failed\n")
    errors = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 2
    assert "damaged.jpg" in errors[0]
    assert "oblong.png: an aligned face crop is square; this is 40x20" in errors[1]
    assert sorted(path.name for path in (tmp_path / "edits").iterdir()) == ["a.png", "b.png"]
    assert animate("oblong.png", "--au", "AU12=1", "-o", "out.gif") == 1
    assert not list(tmp_path.glob("*out*"))


def test_an_output_that_cannot_be_written(animate, tmp_path, capsys):
    (tmp_path / "file").write_text("not a folder")
    assert animate("a.png", "--au", "AU12=1", "-o", "file/out.png") == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("error: a.png: ")
    assert captured.err.count("\n") == 1
    (tmp_path / "edits/a.png").mkdir(parents=True)
    assert animate("a.png", "b.png", "--au", "AU12=1", "-o", "edits") == 1
    assert "edits/a.png" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "edits").iterdir()) == ["a.png", "b.png"]


def test_a_missing_extra_is_said_once(animate, monkeypatch, capsys):
    def broken(*_):
        raise ImportError("finding faces needs MediaPipe: pip install 'ganimation-jax[annotate]'")

    monkeypatch.setattr("ganimation_jax.animation.finding.Landmarker", broken)
    assert animate("a.png", "b.png", "--au", "AU12=1", "-o", "edits", aligned=False) == 2
    refused(capsys, "ganimation-jax[annotate]")


def test_help_and_mistakes_do_not_wait_for_jax(tmp_path):
    code = (
        "import sys\n"
        "from ganimation_jax.animation.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "code = main(['none.png', '--model', 'x', '-o', 'out.png', '--grid'])\n"
        "sys.exit(code != 2 or 'jax' in sys.modules or 'mediapipe' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--expression" in done.stdout
    module = [sys.executable, "-m", "ganimation_jax", "edit", "none.png", "--model", "x"]
    done = subprocess.run([*module, "-o", "out.png"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "error: none.png does not exist\n")


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


# What goes where


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
