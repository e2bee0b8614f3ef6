"""A model's programs, kept for the next start: the same results, and never out of date."""

import io
import json
import os
import subprocess
import sys
import zipfile

import jax
import numpy as np
import pytest
from helpers import ROOT, SIZE, tiny_config
from scipy.ndimage import gaussian_filter
from scipy.spatial import ConvexHull

from ganimation_jax.animation import programs
from ganimation_jax.animation.loading import load_model
from ganimation_jax.faces.regions import blurred, hull
from ganimation_jax.files import caches
from ganimation_jax.runs import cards, load, model_files

pytest.importorskip("flatbuffers", reason="flatbuffers is not installed")
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory, initial_state):
    """A model that reads action units, depends on those a face has, and moves pixels."""
    folder = tmp_path_factory.mktemp("starting")
    config = tiny_config(grey=True)
    config["generator"] |= {"condition": "difference", "motion": 2.0}
    from ml_collections import ConfigDict

    from ganimation_jax.methods import ganimation
    from ganimation_jax.types import Batch

    model = ganimation.model(ConfigDict({"dtype": "float32"} | config))
    image, aus = np.zeros((1, SIZE, SIZE, 3), np.float32), np.zeros((1, 17), np.float32)
    nets = jax.jit(model.init)(jax.random.key(0), Batch(image, aus, aus))
    path = folder / "tiny.safetensors"
    model_files.write(path, jax.device_get(nets), {"config": config, "step": 7, "licence": "none"})
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where JAX keeps compiled programs."""
    path = tmp_path / "kept"
    settings = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(path))
    yield path
    jax.config.update("jax_compilation_cache_dir", settings)


@pytest.fixture
def untraceable(monkeypatch):
    """From when it is called on, no model can be traced."""

    def refuse(*_):
        raise AssertionError("it was traced")

    return lambda: monkeypatch.setattr(load, "load_run", refuse)


def kept(folder):
    return sorted(folder.glob("*.programs"))


def answers(model, count):
    rng = np.random.default_rng(count)
    image = rng.uniform(-1, 1, (count, SIZE, SIZE, 3)).astype(np.float32)
    want, have = rng.random((2, count, 17), np.float32)
    return (*model.edit(image, want, have), model.read_aus(image))


def test_kept_programs_answer_as_traced_ones(model_file, folder, untraceable):
    jax.config.update("jax_compilation_cache_dir", None)
    traced = load_model(model_file)
    assert not folder.exists()
    jax.config.update("jax_compilation_cache_dir", str(folder))
    first = load_model(model_file)
    assert len(kept(folder)) == 1
    untraceable()
    second = load_model(model_file)
    facts = [model._replace(edit=None, read_aus=None) for model in (traced, first, second)]
    assert facts[0] == facts[1] == facts[2]
    assert (facts[0].name, facts[0].needs_have, facts[0].grey) == ("tiny", True, True)
    assert facts[0].about["licence"] == "none"
    for count in (1, 3):
        for want, *others in zip(
            *(answers(x, count) for x in (traced, first, second)), strict=True
        ):
            for got in others:
                np.testing.assert_allclose(got, want, atol=1e-6, rtol=0)


def damaged(content, how):
    if how == "another zip":
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as made:
            made.writestr("facts.json", "[]")
        return file.getvalue()
    if how == "other facts":
        file = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w") as made:
            for name in old.namelist():
                facts = json.dumps({"parts": [], "conditions": [], "size": 3})
                made.writestr(name, facts if name == "facts.json" else old.read(name))
        return file.getvalue()
    if how in ("nothing", "half"):
        return content[: {"nothing": 0, "half": len(content) // 2}[how]]
    place = int(how * len(content))
    return content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


@pytest.mark.parametrize("how", ["nothing", "half", "another zip", "other facts", 0.02, 0.5, 0.9])
def test_damaged_files_are_replaced(model_file, folder, how):
    want = answers(load_model(model_file), 1)
    (path,) = kept(folder)
    whole = path.read_bytes()
    path.write_bytes(damaged(whole, how))
    assert programs.read(path) is None
    for got, expected in zip(answers(load_model(model_file), 1), want, strict=True):
        np.testing.assert_array_equal(got, expected)
    assert kept(folder) == [path]
    assert programs.read(path) is not None


def test_what_programs_follow_from_names_their_file(folder, tmp_path, monkeypatch):
    card = {"config": {"method": "ganimation"}, "weights": {"sha256": "0" * 64}}
    names = [programs.file_of(card)]
    assert names[0] == programs.file_of(json.loads(json.dumps(card)))
    assert names[0].parent == folder
    names.append(programs.file_of(card | {"step": 1}))
    for name, value in (
        ("jax.__version__", "99.0"),
        ("jaxlib.__version__", "99.0"),
        ("jax.default_backend", lambda: "tpu"),
    ):
        with monkeypatch.context() as changed:
            changed.setattr(name, value)
            names.append(programs.file_of(card))
    with jax.default_matmul_precision("bfloat16"):
        names.append(programs.file_of(card))
    (tmp_path / "package").mkdir()
    monkeypatch.setattr(programs, "PACKAGE", tmp_path / "package")
    for source in ("x = 1", "x = 2"):
        (tmp_path / "package" / "networks.py").write_text(source)
        names.append(programs.file_of(card))
    assert len({*names}) == len(names) == 8


@pytest.mark.parametrize("place", [None, "gs://bucket/folder"])
def test_without_a_folder_nothing_is_kept(model_file, folder, place):
    jax.config.update("jax_compilation_cache_dir", place)
    assert programs.file_of(cards.find(model_file).card) is None


def test_a_folder_that_cannot_be_written_is_reported(model_file, folder, caplog):
    folder.write_bytes(b"")  # a file
    model = load_model(model_file)
    assert "the next start will be slow: " in caplog.text
    assert model.sha256 == load_model(model_file).sha256


def test_a_later_start_imports_no_training_library(model_file, folder):
    load_model(model_file)
    heavy = {"flax", "optax", "orbax", "ml_collections", "grain", "matplotlib", "mediapipe"}
    code = (
        "import sys\n"
        "from ganimation_jax.animation import jobs, starting\n"
        "from ganimation_jax.animation.loading import load_model\n"
        f"model = load_model({str(model_file)!r})\n"
        "assert model.read_aus is not None\n"
        f"sys.exit(', '.join(sorted({heavy} & set(sys.modules))) or 0)"
    )
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert (done.stderr.strip(), done.returncode) == ("", 0)
    assert len(kept(folder)) == 1


def test_commands_keep_programs_in_the_cache_folder(folder, tmp_path, monkeypatch):
    least = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    before = jax.config.jax_persistent_cache_min_compile_time_secs
    caches.keep_compiled(jax.config)
    assert jax.config.jax_persistent_cache_min_compile_time_secs == before > 0  # as the user set it
    monkeypatch.delenv(least)
    caches.keep_compiled(jax.config)
    assert jax.config.jax_persistent_cache_min_compile_time_secs == 0
    jax.config.update(least.lower(), before)
    file = programs.file_of({})
    assert file.parent == tmp_path / "cache" / "ganimation_jax" / "xla"


# What SciPy would do, without its import


@pytest.mark.parametrize("width", [0.1, 1.0, 3.84])
def test_masks_are_blurred_as_by_scipy(width):
    mask = (RNG.random((40, 40)) > 0.7).astype(np.float32)
    got = blurred(mask, width)
    np.testing.assert_allclose(got, gaussian_filter(mask, width), atol=1e-6)
    assert got.dtype == np.float32


@pytest.mark.parametrize("count", [3, 4, 60])
def test_hulls_are_those_of_scipy(count):
    points = RNG.normal(size=(count, 2)).astype(np.float32)
    points = np.concatenate([points, points[:1], (points[:1] + points[1:2]) / 2])
    want = points[ConvexHull(points).vertices]
    got = hull(points, 1.0)
    assert {tuple(x) for x in got.round(4)} == {tuple(x) for x in want.astype(float).round(4)}
    area = np.sum(got[:, 0] * np.roll(got[:, 1], -1) - np.roll(got[:, 0], -1) * got[:, 1]) / 2
    assert abs(area) == pytest.approx(ConvexHull(points).volume, rel=1e-5)
