"""``ganimation read``: the action units of faces as a table, CSV or JSON."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from ganimation_jax.animation import plotting, read_cli
from ganimation_jax.animation.animator import Animator, Reading
from ganimation_jax.animation.finding import NoFaceError
from ganimation_jax.animation.readings import Line, as_table
from ganimation_jax.types import Condition

UNITS = ("AU06", "AU12")


class Reader:
    """Reads two faces in every photo, one of which has a unit that is not served."""

    action_units = UNITS

    class model:
        name, read_aus = "reader", staticmethod(lambda _: None)
        conditions = tuple(map(Condition, UNITS))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def read_all(self, photo, by, *, faces):
        if photo.name == "empty.png":
            raise NoFaceError("no face was found")
        found = [Reading((0.0, 1.0, 20.0, 30.04), {"AU06": 0.25, "AU12": 0.123456})]
        found += [Reading((5.0, 5.0, 9.0, 9.0), {"AU12": 1.0})]
        return found if faces == "all" else found[:1]


@pytest.fixture
def read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Animator, "load", lambda *_, **__: Reader())
    monkeypatch.setattr("ganimation_jax.animation.starting.keep_compiled", lambda config: None)
    monkeypatch.setattr("ganimation_jax.animation.starting.block_reports", lambda: None)
    monkeypatch.setattr("ganimation_jax.animation.starting.warm_up", lambda animator: None)
    (tmp_path / "in").mkdir()
    for name in ("in/a.png", "in/b,c.png", "empty.png"):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / name)
    (tmp_path / "in/notes.txt").write_text("-")
    return lambda *words: read_cli.main(list(words))


def test_csv(read, tmp_path, capsys):
    assert read("in", "-o", "new/aus.csv") == 0
    with (tmp_path / "new/aus.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["file"], row["face"]) for row in rows] == [
        ("in/a.png", "0"), ("in/a.png", "1"), ("in/b,c.png", "0"), ("in/b,c.png", "1"),
    ]  # fmt: skip
    assert rows[0] | {"file": ""} == {
        **{"file": "", "frame": "", "time": "", "face": "0"},
        **{"left": "0.0", "top": "1.0", "right": "20.0", "bottom": "30.0"},
        **{"AU06": "0.25", "AU12": "0.1235"},
    }
    assert rows[1]["AU06"] == ""
    captured = capsys.readouterr()
    assert captured.out == "4 lines from 2 of 2 inputs, wrote new/aus.csv\n"
    assert "in/notes.txt: not a photo or video: its ending is .txt" in captured.err


def test_json_and_table(read, capsys):
    assert read("in/a.png", "--format", "json") == 0
    first, second = json.loads(capsys.readouterr().out)
    assert first["aus"] == {"AU06": 0.25, "AU12": 0.1235}
    assert second == {
        **{"file": "in/a.png", "face": 1, "left": 5.0, "top": 5.0, "right": 9.0, "bottom": 9.0},
        "aus": {"AU12": 1.0},
    }
    assert read("in/a.png", "--faces", "largest") == 0
    assert capsys.readouterr().out == "file      face  AU06  AU12\nin/a.png     0  0.25  0.12\n"


def test_a_table_of_a_video():
    lines = [
        Line("film.mp4", number, number / 25, 0, (0, 0, 1, 1), {"AU06": 0.5}) for number in (9, 10)
    ]
    assert as_table(lines, UNITS) == (
        "file      frame  face  AU06  AU12\n"
        "film.mp4      9     0  0.50     -\n"
        "film.mp4     10     0  0.50     -\n"
    )


def test_what_cannot_be_read_is_said(read, capsys, tmp_path):
    assert read("in/a.png", "empty.png", "-o", "aus.json") == 1
    assert "error: empty.png: no face was found\n" in capsys.readouterr().err
    assert len(json.loads((tmp_path / "aus.json").read_text())) == 2
    for words, says in [
        (("in/a.png", "-o", "aus.xls"), "unknown ending"),
        (("in/a.png", "-o", "aus.csv", "--format", "json"), "--format says json"),
        (("nowhere.png",), "nowhere.png does not exist"),
        (("in/a.png", "-o", "in/a.png", "--format", "csv"), "is what is read"),
        (("in/a.png", "--plot", "aus.png"), "give one video, not photos"),
        (("in/a.png", "--plot", "aus.bmp"), "aus.bmp: a plot is written as .png, .svg, .pdf"),
    ]:
        assert read(*words) == 2
        assert says in capsys.readouterr().err


def of_a_film(frames, face, start):
    return [
        Line("in/film.gif", n, n / 10, face, (0, 0, 1, 1), {"AU06": start + n / 20, "AU12": 0.5})
        for n in frames
    ]


def test_a_video_is_drawn_over_time(read, monkeypatch, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    frames = [Image.fromarray(np.full((8, 8, 3), level, np.uint8)) for level in (0, 99, 200)]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    lines = of_a_film((0, 1, 4), 0, 0.1) + of_a_film((1, 2), 3, 0.2)
    monkeypatch.setattr("ganimation_jax.animation.readings.read_lines", lambda *_: iter(lines))
    assert read("film.gif", "-o", "aus.csv", "--plot", "plots/aus.png") == 0
    assert capsys.readouterr().out.endswith("wrote aus.csv\nwrote plots/aus.png\n")
    with Image.open(tmp_path / "plots/aus.png") as drawn:
        assert drawn.width > 1000
    assert read("film.gif", "--format", "json", "--plot", "aus.svg") == 0
    captured = capsys.readouterr()
    assert len(json.loads(captured.out)) == 5  # what is piped on is the readings alone
    assert "wrote aus.svg" in captured.err
    panel = plotting.figure(lines, UNITS).axes[0]
    assert panel.get_title(loc="left") == "AU06  cheek raiser"
    first, second = panel.lines
    np.testing.assert_allclose(first.get_xdata(), [0, 0.1, np.nan, 0.4])  # not found in between
    np.testing.assert_allclose(first.get_ydata(), [0.1, 0.15, np.nan, 0.3])
    np.testing.assert_allclose(second.get_ydata(), [0.25, 0.3])
