"""Runs ``ganimation edit`` in this process, with a tiny model."""

import numpy as np
import pytest
from helpers import tiny_config
from PIL import Image

from ganimation_jax.animation import cli, console
from ganimation_jax.animation.animator import Animator
from ganimation_jax.interop.torch_import import write_run


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
    monkeypatch.setattr("ganimation_jax.animation.starting.keep_compiled", lambda config: None)
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
