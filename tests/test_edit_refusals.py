"""``ganimation edit``: what it refuses, and how."""

import subprocess
import sys

import numpy as np
import pytest
from edit_command import photo, refused
from helpers import ROOT, tiny_config
from PIL import Image

from ganimation_jax.interop.torch_import import write_run

RNG = np.random.default_rng(0)


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
