"""The figures of the talk: each script, as it is started, on a tiny model and a drawn face."""

import runpy
import sys

import numpy as np
import pytest
from helpers import ROOT, SIZE, tiny_config
from PIL import Image

from ganimation_jax.interop.torch_import import write_run
from ganimation_jax.synthetic.faces import SyntheticFaces

FIGURES = ROOT / "experiments" / "figures"
CELL = 96  # a face in a grid, at least
# Rows and columns of faces that each must have room for.
SHAPES = {
    "single_units": (17, 5),
    "attention": (5, 5),
    "interpolation": (5, 8),
    "several_units": (4, 5),
    "variety": (4, 8),
    "expressions": (3, 9),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory, initial_state):
    folder = tmp_path_factory.mktemp("figures")
    write_run(folder / "run", tiny_config(), initial_state)
    faces = SyntheticFaces(3, SIZE, seed=0)
    (folder / "faces").mkdir()
    for i in range(3):
        Image.fromarray(faces[i]["image"]).save(folder / "faces" / f"{i}.png")
    return folder


def draw(monkeypatch, made, name, *flags):
    out = made / f"{name}.png"
    command = [f"{name}.py", "--model", made / "run", "--aligned", "--out", out, *flags]
    monkeypatch.setattr(sys, "argv", [str(word) for word in command])
    monkeypatch.syspath_prepend(str(FIGURES))
    runpy.run_path(str(FIGURES / f"{name}.py"), run_name="__main__")
    return np.asarray(Image.open(out))


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
def test_a_grid_of_one_face(monkeypatch, made, name):
    figure = draw(monkeypatch, made, name, "--image", made / "faces" / "0.png")
    rows, columns = SHAPES[name]
    assert rows * CELL < figure.shape[0] < (rows + 1) * 1.2 * CELL
    assert columns * CELL < figure.shape[1] < (columns + 2) * 1.2 * CELL
    assert figure.std() > 20


def test_all_faces_of_a_photo(monkeypatch, made):
    source = np.asarray(Image.open(made / "faces" / "0.png"))
    figure = draw(monkeypatch, made, "in_the_wild", "--image", made / "faces" / "0.png")
    assert figure.shape == (SIZE, 3 * SIZE, 3)
    np.testing.assert_array_equal(figure[:, :SIZE], source)
    assert (figure[:, SIZE : 2 * SIZE] != source).any()


@pytest.mark.slow
def test_failures_are_the_worst_first(monkeypatch, made, capsys):
    (made / "faces" / "not.jpg").write_text("no picture")
    figure = draw(monkeypatch, made, "failures", "--images", made / "faces")
    assert 3 * CELL < figure.shape[1] < 5 * CELL
    assert "not.jpg" in capsys.readouterr().err
