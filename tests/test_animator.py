"""Models from files, edits of aligned crops, grey models."""

import hashlib
import subprocess
import sys
import zipfile

import jax
import numpy as np
import pytest
from helpers import ROOT, SIZE, tiny_config

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.animation.animator import Animator
from ganimation_jax.animation.loading import in_colour, load_model, weights_sha256
from ganimation_jax.faces.crops import CANONICAL_EYES
from ganimation_jax.interop import export
from ganimation_jax.interop.torch_import import write_run
from ganimation_jax.runs.load import load_run
from ganimation_jax.types import Edit, to_float, to_uint8

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory, initial_state):
    """A run whose moving average differs from the generator itself."""
    folder = tmp_path_factory.mktemp("animation") / "tiny"
    state = initial_state.replace(ema=jax.tree.map(lambda x: x * 1.5, initial_state.ema))
    write_run(folder, tiny_config(), state)
    return folder


@pytest.fixture(scope="module")
def animator(workdir):
    with Animator.load(workdir) as made:
        yield made


@pytest.fixture(scope="module")
def run(workdir):
    """The same run without this room; compiled, for JAX is slow at one operation after another."""
    loaded = load_run(workdir)
    edit, read = jax.jit(loaded.model.edit), jax.jit(loaded.model.read)
    return loaded._replace(model=loaded.model._replace(edit=edit, read=read))


@pytest.fixture(scope="module")
def face_crop():
    return RNG.integers(0, 256, (SIZE, SIZE, 3), np.uint8)


# Models


def test_a_run_is_a_model(run, animator):
    model = animator.model
    assert (model.name, model.action_units, model.image_size) == ("tiny", ACTION_UNITS, SIZE)
    assert (model.conditions, model.needs_have) == (run.model.conditions, False)
    assert (model.eyes, model.grey) == (CANONICAL_EYES, False)
    assert model.about == {"method": "ganimation", "step": 0}
    image, aus = RNG.uniform(-1, 1, (1, SIZE, SIZE, 3)), RNG.random((1, 17))
    image, aus = image.astype(np.float32), aus.astype(np.float32)
    want, got = jax.jit(run.model.edit)(run.used, image, aus, aus), model.edit(image, aus, aus)
    for name in ("image", "attention", "color"):
        np.testing.assert_allclose(getattr(got, name), getattr(want, name), atol=1e-5)
    assert got.motion is None
    raw = jax.jit(run.model.edit)(run.nets, image, aus, aus).image
    assert np.abs(raw - want.image).max() > 0.01
    np.testing.assert_allclose(
        model.read_aus(image), jax.jit(run.model.read)(run.nets, image), atol=1e-5
    )


def test_its_file_is_the_same_model_without_a_critic(workdir, animator, tmp_path):
    pytest.importorskip("flatbuffers", reason="flatbuffers is not installed")
    path = tmp_path / "exported.ganimation"
    assert export.main(["--workdir", str(workdir), "--out", str(path)]) == 0
    model = load_model(path)
    assert model.name == "exported"
    assert model._replace(name="tiny", edit=None, read_aus=None, about={}) == (
        animator.model._replace(edit=None, read_aus=None, about={})
    )
    assert model.read_aus is None
    assert model.about["step"] == 0
    with Animator(model) as exported:
        image, aus = RNG.integers(0, 256, (40, 40, 3), np.uint8), RNG.random(17)
        pair = [each.edit(image, aus, aligned=True) for each in (animator, exported)]
        assert np.abs(np.subtract(*pair, dtype=int)).max() <= 1
        with pytest.raises(ValueError, match="has no critic"):
            exported.read(image, aligned=True)


def test_the_digest_is_over_names_types_shapes_and_bytes():
    one, two = np.arange(3, dtype=np.float32), np.ones((1, 2), np.float32)
    text = b"a/b float32 (3,)\n" + one.tobytes() + b"c float32 (1, 2)\n" + two.tobytes()
    assert weights_sha256({"c": two, "a/b": one}) == hashlib.sha256(text).hexdigest()
    assert weights_sha256({"c": two, "a/b": one + 1e-6}) != weights_sha256({"c": two, "a/b": one})


def test_the_eyes_and_colours_of_a_run_are_its_configs(initial_state, tmp_path):
    eyes = [[0.3, 0.36], [0.7, 0.36]]
    write_run(tmp_path / "run", tiny_config(eyes=eyes, grey=True), initial_state)
    model = load_model(tmp_path / "run")
    assert model.eyes == ((0.3, 0.36), (0.7, 0.36))
    assert model.grey
    pytest.importorskip("flatbuffers", reason="flatbuffers is not installed")
    path = tmp_path / "model.ganimation"
    assert export.main(["--workdir", str(tmp_path / "run"), "--out", str(path)]) == 0
    exported = load_model(path)
    assert (exported.eyes, exported.grey) == (model.eyes, True)
    image = RNG.uniform(-1, 1, (1, SIZE, SIZE, 3)).astype(np.float32)
    aus = RNG.random((1, 17), np.float32)
    pair = [each.edit(image, aus, aus).image for each in (model, exported)]
    np.testing.assert_allclose(*pair, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("G.pth", "import-torch --generator .*G.pth --out RUN"),
        ("notes.txt", "a run's workdir .*, a .ganimation or .safetensors file"),
        ("model.onnx", "give the run"),
        ("nowhere/at/all", "there is no such model"),
        ("happy-face", "or one of these names: lfw-64, people-128"),
        ("empty", "no checkpoint in .*empty.*; a model is a run's workdir"),
        ("other.ganimation", "not an exported generator"),
    ],
)
def test_what_is_no_model_is_refused_with_what_is(name, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for file in ("G.pth", "notes.txt", "model.onnx"):
        (tmp_path / file).write_text("-")
    with zipfile.ZipFile(tmp_path / "other.ganimation", "w") as file:
        file.writestr("x", "y")
    with pytest.raises((ValueError, FileNotFoundError), match=f"(?s){says}"):
        load_model(name)


# Edits of aligned crops, by the real networks


def test_a_crop_of_the_models_size_is_edited_as_the_network_does(animator, run, face_crop):
    target = RNG.random(17).astype(np.float32)
    want = jax.jit(run.model.edit)(run.used, to_float(face_crop[None]), target[None], target[None])
    got = animator.edit(face_crop, target, aligned=True)
    assert np.abs(got.astype(int) - np.asarray(to_uint8(want.image))[0]).max() <= 1
    assert np.abs(got.astype(int) - face_crop).mean() > 3
    explained = animator.explain(face_crop, target, aligned=True)
    np.testing.assert_array_equal(explained.edited, got)
    np.testing.assert_allclose(explained.attention, want.attention[0, ..., 0], atol=1e-5)
    np.testing.assert_allclose(explained.color, to_uint8(want.color)[0], atol=1)
    np.testing.assert_array_equal(explained.crop, face_crop)
    np.testing.assert_allclose(explained.aus, target)
    (face,) = animator.find(face_crop, aligned=True)
    np.testing.assert_allclose(animator.attention(face, target), explained.attention, atol=1e-6)


def test_named_units_change_and_others_stay_the_faces_own(animator, run, face_crop):
    own = np.asarray(jax.jit(run.model.read)(run.nets, to_float(face_crop[None])))[0].clip(0, 1)
    read = animator.read(face_crop, aligned=True)
    assert tuple(read) == ACTION_UNITS
    np.testing.assert_allclose(list(read.values()), own, atol=1e-5)
    whole = own.copy()
    whole[ACTION_UNITS.index("AU12")] = 0.7
    by_name = animator.edit(face_crop, {"AU12": 0.7}, aligned=True)
    by_array = animator.edit(face_crop, whole, aligned=True)
    assert np.abs(by_name.astype(int) - by_array).max() <= 1
    whole[ACTION_UNITS.index("AU12")] = np.clip(own[ACTION_UNITS.index("AU12")] + 0.3, 0, 1)
    added = animator.explain(face_crop, {"AU12": 0.3}, relative=True, aligned=True)
    np.testing.assert_allclose(added.aus, whole, atol=1e-5)


def test_two_calls_are_bit_equal_and_size_is_kept(animator):
    image = RNG.integers(0, 256, (53, 53, 3), np.uint8)
    one, other = (animator.edit(image, {"AU12": 1.0}, aligned=True) for _ in range(2))
    np.testing.assert_array_equal(one, other)
    assert one.shape == image.shape
    moving = RNG.random((11, 17), np.float32)
    both = [np.stack(list(animator.frames(image, moving, aligned=True))) for _ in range(2)]
    np.testing.assert_array_equal(*both)
    single = np.stack([animator.edit(image, target, aligned=True) for target in moving])
    assert np.abs(single.astype(int) - both[0]).max() <= 1


def test_the_expression_of_another_photo(animator, face_crop):
    other = RNG.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    read = np.array(list(animator.read(other, aligned=True).values()), np.float32)
    np.testing.assert_array_equal(
        animator.transfer(face_crop, other, aligned=True),
        animator.edit(face_crop, read, aligned=True),
    )


def test_a_crop_must_be_square_and_a_photo_a_photo(animator):
    with pytest.raises(ValueError, match="square; this is 20x16"):
        animator.edit(np.zeros((16, 20, 3), np.uint8), {}, aligned=True)
    for wrong in (np.zeros((16, 16), np.uint8), np.zeros((16, 16, 3)), np.zeros((0, 9, 3), "u1")):
        with pytest.raises(TypeError, match="a photo is uint8 h w 3"):
            animator.edit(wrong, {}, aligned=True)


# Grey models


def test_a_grey_model_sees_grey_and_leaves_the_colours():
    seen = []

    def edit(params, image, want, have):
        seen.append(np.asarray(image))
        edited = image * np.array([1.0, 1.1, 0.9]) + 0.2  # not quite grey itself
        return Edit(edited, image[..., :1] * 0, edited)

    image = RNG.uniform(-0.5, 0.5, (2, 4, 4, 3)).astype(np.float32)
    edited = in_colour(edit)(None, image, None, None).image
    weights = (0.299, 0.587, 0.114)
    grey = (image * weights).sum(axis=-1)
    for channel in range(3):
        np.testing.assert_allclose(seen[0][..., channel], grey, atol=1e-6)
    change = np.asarray(edited) - image
    np.testing.assert_allclose(np.ptp(change, axis=-1), 0, atol=1e-6)
    want = grey * np.dot((1.0, 1.1, 0.9), weights) + 0.2 - grey
    np.testing.assert_allclose(change[..., 0], want, atol=1e-6)


def test_a_photo_edited_by_a_grey_run_keeps_its_chroma(initial_state, tmp_path):
    write_run(tmp_path / "run", tiny_config(grey=True), initial_state)
    photo = RNG.integers(90, 160, (48, 48, 3), np.uint8)
    with Animator.load(tmp_path / "run") as animator:
        after = animator.edit(photo, {"AU12": 1.0}, aligned=True).astype(int)
    inside = ((after > 0) & (after < 255)).all(axis=-1)
    assert inside.mean() > 0.5
    difference = (after - photo)[inside]
    assert np.abs(difference).mean() > 3
    assert np.ptp(difference, axis=-1).max() <= 1  # rounded


def test_the_library_gives_it_by_name():
    code = (
        "import sys, ganimation_jax as g; before = set(sys.modules); g.Animator.load; "
        "sys.exit('jax' in before or 'mediapipe' in sys.modules or 'Animator' not in g.__all__)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
