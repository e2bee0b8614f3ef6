"""Models from files, expressions asked for, and edits of photos; with and without a detector."""

import hashlib
import subprocess
import sys
import zipfile

import jax
import numpy as np
import pytest
from helpers import ROOT, SIZE, needs_mediapipe, portrait, tiny_config

from ganimation_jax.action_units import ACTION_UNITS, EXPRESSIONS
from ganimation_jax.animation import editing, finding, targets
from ganimation_jax.animation.animator import Animator, Face, NoFaceError
from ganimation_jax.animation.loading import LoadedModel, in_colour, load_model, weights_sha256
from ganimation_jax.faces.alignment import AlignedFace, apply, crop, similarity
from ganimation_jax.faces.crops import CANONICAL_EYES
from ganimation_jax.faces.landmarker import DetectedFace, Landmarker, Pose
from ganimation_jax.faces.regions import Reach
from ganimation_jax.interop import export
from ganimation_jax.interop.torch_import import write_run
from ganimation_jax.models.warp import warp
from ganimation_jax.runs.load import load_run
from ganimation_jax.types import Condition, Edit, to_float, to_uint8

RNG = np.random.default_rng(0)
UNITS = ("AU04", "AU12", "AU09")


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


# Expressions


def test_words_are_parsed():
    words = ["AU12=0.8", "6=.5", "au1=0", " AU04=1"]
    want = {"AU12": 0.8, "AU06": 0.5, "AU01": 0.0, "AU04": 1.0}
    assert targets.parse(words, ACTION_UNITS) == want
    assert targets.parse(["4=-0.25"], ACTION_UNITS, relative=True) == {"AU04": -0.25}


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("AU13=0.5", "'AU13' is not one of .*did you mean AU12"),
        ("smile=0.5", "'smile' is not one of"),
        ("AU12", "not of the form AU12=0.8"),
        ("AU12=much", "not of the form"),
        ("AU12=1.2", "AU12=1.2: an intensity is from 0 to 1"),
        ("AU12=-0.1", "an intensity is from 0 to 1"),
        ("AU12=nan", "an intensity is from 0 to 1"),
        ("AU06=0.5", r"this model has no AU06 \(cheek raiser\); it has AU04 AU12 AU09"),
    ],
)
def test_what_cannot_be_asked_for(word, says):
    with pytest.raises(ValueError, match=says):
        targets.parse([word], UNITS)


def test_a_unit_is_asked_for_once_and_relative_has_its_range():
    with pytest.raises(ValueError, match="AU12 is asked for twice"):
        targets.parse(["AU12=0.8", "12=0.8"], UNITS)
    with pytest.raises(ValueError, match="from -1 to 1"):
        targets.parse(["AU12=-1.1"], UNITS, relative=True)


def test_expressions_are_whole():
    smile = targets.PRESETS["happy"]["AU12"]
    happy = targets.expression("happy", UNITS, 0.6)
    assert happy == {"AU04": 0.0, "AU12": 0.6 * smile, "AU09": 0.0}
    assert targets.expression("happy", UNITS, 1.5)["AU12"] == 1
    for name, prototype in EXPRESSIONS.items():
        assert set(prototype) <= set(targets.PRESETS[name])
        assert 0 < min(targets.PRESETS[name].values()) <= max(targets.PRESETS[name].values()) <= 1
    assert targets.expression("neutral", UNITS) == dict.fromkeys(UNITS, 0.0)
    with pytest.raises(ValueError, match="no expression 'hapy'"):
        targets.expression("hapy", UNITS)
    with pytest.raises(ValueError, match="the model has none of them"):
        targets.expression("surprised", UNITS)
    with pytest.raises(ValueError, match="happy=1.6: a strength is from 0 to 1.5"):
        targets.expression("happy", UNITS, 1.6)


def test_a_target_is_completed_by_what_the_face_shows():
    own = np.array([0.2, 0.9, 0.4], np.float32)

    def resolved(aus, relative=False):
        return targets.resolve(aus, own, UNITS, relative).tolist()

    assert resolved({}) == pytest.approx(own)
    assert resolved({"AU12": 0.5, "AU04": 0}) == pytest.approx([0, 0.5, 0.4])
    assert resolved({"AU12": 0.5, "AU04": -0.1}, True) == pytest.approx([0.1, 1, 0.4])
    assert resolved({"AU09": -0.5}, True) == pytest.approx([0.2, 0.9, 0])
    assert resolved([0.1, 0.2, 0.3]) == pytest.approx([0.1, 0.2, 0.3])
    assert resolved([0.1, 0.2, -0.3], True) == pytest.approx([0.3, 1, 0.1])
    assert own.tolist() == pytest.approx([0.2, 0.9, 0.4])
    for wrong in ([0.1, 0.2], [0.1, 0.2, 1.01], [0.1, 0.2, np.nan], [0.1, 0.2, -0.3]):
        with pytest.raises(ValueError, match="intensit"):
            resolved(wrong)


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


# A generator that can be calculated, and faces where a stand-in detector reports them


def calculable(size=32, eyes=CANONICAL_EYES, critic=True, units=UNITS, edit=None, needs_have=False):
    """Adds 100 levels times the first unit, and 10 times the second; all own units are 0.5."""
    batches = []

    def brighten(image, want, have):
        batches.append(len(image))
        change = want[:, :2] @ np.array([100, 10], np.float32) / 127.5
        edited = image + change[:, None, None, None]
        return Edit(edited, np.full_like(image[..., :1], 0.25), np.zeros_like(image))

    def half(image):
        return np.full((len(image), len(units)), 0.5, np.float32)

    facts = {"eyes": eyes, "grey": False, "needs_have": needs_have, "sha256": "0", "about": {}}
    read_aus = half if critic else None
    conditions = tuple(map(Condition, units))
    model = LoadedModel("sum", conditions, size, edit=edit or brighten, read_aus=read_aus, **facts)
    return model, batches


@pytest.fixture
def detect(monkeypatch):
    """Call it with places of faces: (x, y, side of the crop, blendshapes)."""

    def use(*places, big_enough=0.0):
        def align(_, image, size, tiles=(1,)):
            found = []
            for x, y, side, *coefficients in places:
                if side < big_enough and max(tiles) == 1:
                    continue
                square = np.array([(0, 0), (1, 0), (0, 1)])
                transform = similarity(square * side + (x, y), square * size)
                points = np.random.default_rng(0).uniform(0, side, (478, 2))
                points += np.array((x, y))
                points[:2] = (x, y), (x + side, y + side)
                detected = DetectedFace(points, np.array(coefficients), Pose(0, 0, 0))
                found.append(AlignedFace(detected, transform, crop(image, transform, size)))
            return sorted(found, key=lambda face: -face.face.box[2] + face.face.box[0])

        monkeypatch.setattr(finding, "align", align)
        monkeypatch.setattr(finding.Finder, "landmarker", None)

    return use


PHOTO = RNG.integers(60, 130, (120, 200, 3), np.uint8)


def middles(image, *places):
    """The change at the middle of each face."""
    return [int(image[y, x, 0]) - int(PHOTO[y, x, 0]) for x, y in places]


def test_which_faces_are_edited(detect):
    detect((10, 10, 50), (80, 20, 90))
    animator, middle = Animator(calculable()[0]), ((35, 35), (125, 65))
    for faces, want in [("largest", [0, 65]), ("all", [65, 65]), (1, [0, 65]), (5, [65, 65])]:
        edited = animator.edit(PHOTO, {"AU04": 0.6}, faces=faces)
        assert middles(edited, *middle) == want
    boxes = [face.box for face in animator.find(PHOTO, "all")]
    assert boxes == [(80, 20, 170, 110), (10, 10, 60, 60)]
    for wrong in ("both", 0, -1):
        with pytest.raises(ValueError, match="largest, all or a number"):
            animator.find(PHOTO, wrong)


def test_a_crop_is_read_where_the_model_reads_it():
    crop = RNG.integers(0, 256, (16, 16, 3), np.uint8)
    motion = RNG.normal(0, 4, (16, 16, 2)).astype(np.float32)
    want = warp(crop[None].astype(np.float32), motion[None])[0]
    np.testing.assert_allclose(editing.read_at(crop, motion), want, atol=1e-3)


def test_an_edit_shows_as_far_as_its_reach():
    """Colour alone, motion alone, both: with a reach of one everywhere and of zero."""
    ramp = np.tile(np.linspace(40, 200, 16)[:, None, None], (1, 16, 3))
    image, eye = ramp.round().astype(np.uint8), np.eye(2, 3)
    motion = np.zeros((1, 16, 16, 2), np.float32)
    motion[..., 0] = 2.0  # down: brighter
    moved = np.asarray(warp(image[None].astype(np.float32), motion))
    edit = Edit(image=(moved + 10) / 127.5 - 1, motion=motion)
    for weight, added in ((1.0, moved[0] - image + 10), (0.0, np.zeros_like(moved[0]))):
        reach = Reach(np.full((16, 16), weight, np.float32), ())
        face = Face(image, eye, (0, 0, 16, 16), np.zeros(3), reach)
        got = editing.pasted(image, [face], edit).astype(float) - image
        np.testing.assert_allclose(got[2:-4], added[2:-4], atol=1.01)


def test_each_face_is_given_its_own(detect):
    detect((10, 10, 50), (80, 20, 90))
    animator, middle = Animator(calculable()[0]), ((35, 35), (125, 65))
    faces = animator.find(PHOTO, "all")
    edited = animator.with_faces(PHOTO, faces, [[0.4, 0, 0], [0.1, 0.5, 0]])
    assert middles(edited, *middle) == [15, 40]
    np.testing.assert_array_equal(animator.with_faces(PHOTO, [], np.zeros((0, 3))), PHOTO)
    with pytest.raises(ValueError, match="shape"):
        animator.with_faces(PHOTO, faces, [[0.4, 0, 0]])
    # Of what they show: one smiles, the other does not.
    one, other = (
        face._replace(aus=np.array([0, x, 0])) for face, x in zip(faces, (0.2, 1), strict=True)
    )
    moved = animator.targets([one, other], [{"AU04": 0.3}, {"AU12": 0.5}], relative=True)
    np.testing.assert_allclose(moved[:, 0], [[0.3, 0.2, 0], [0, 0.7, 0]], rtol=1e-6)
    np.testing.assert_allclose(moved[:, 1], [[0.3, 1, 0], [0, 1, 0]], rtol=1e-6)


def test_no_face(detect):
    detect()
    animator = Animator(calculable()[0])
    for call in (animator.find, animator.read, lambda image: animator.edit(image, {"AU04": 1})):
        with pytest.raises(NoFaceError, match="no face was found"):
            call(PHOTO)
    with pytest.raises(NoFaceError):
        animator.frames(PHOTO, np.zeros((3, 3)))  # now, not when frames are taken


def test_a_small_face_is_looked_for_more_closely(detect):
    detect((10, 10, 40), (100, 20, 10), big_enough=30)
    animator = Animator(calculable()[0])
    assert len(animator.find(PHOTO, "all")) == 2
    assert len(animator.find(PHOTO, "all", tiles=(1,))) == 1
    detect((100, 20, 10), big_enough=30)
    assert animator.find(PHOTO)[0].box == (100, 20, 110, 30)
    with pytest.raises(NoFaceError):
        animator.find(PHOTO, tiles=(1,))


def test_moving_pictures_are_made_as_they_are_taken(detect):
    detect((80, 20, 90))
    model, batches = calculable()
    levels = np.linspace(0, 1, 21)
    frames = Animator(model).sweep(PHOTO, "AU04", levels)
    assert batches == []
    first = next(frames)
    assert batches == [1]
    seen = [middles(frame, (125, 65))[0] for frame in [first, *frames]]
    # The others stay as the face's own: half of AU12, of 10 levels.
    np.testing.assert_allclose(seen, 100 * levels + 5, atol=0.51)
    assert batches == [1] * 21


@pytest.mark.parametrize("size", [1, 8])
def test_batches_are_of_one_size(detect, monkeypatch, size):
    """One on a CPU, where a batch takes as long as its crops one by one."""
    assert editing.batch_size() == 1
    monkeypatch.setattr(editing, "batch_size", lambda: size)
    detect((10, 10, 50), (80, 20, 90), (0, 60, 40))
    model, batches = calculable()
    animator = Animator(model)
    frames = list(animator.frames(PHOTO, np.full((5, 3), 0.5), faces="all"))
    assert len(frames) == 5
    assert set(batches) == {size}
    assert len(batches) == (15 if size == 1 else 3)
    for frame in frames[1:]:
        np.testing.assert_array_equal(frame, frames[0])
    assert middles(frames[0], (35, 35), (125, 65)) == [55, 55]


def test_from_one_expression_to_another(detect):
    detect((80, 20, 90))
    animator = Animator(calculable()[0])
    frames = animator.interpolate(PHOTO, {}, {"AU04": 1.0, "AU12": 0.0}, 5)
    seen = [middles(frame, (125, 65))[0] for frame in frames]
    np.testing.assert_allclose(seen, np.linspace(55, 100, 5), atol=0.51)
    backwards = animator.interpolate(PHOTO, np.ones(3), np.zeros(3), 2)
    assert [middles(frame, (125, 65))[0] for frame in backwards] == [110, 0]
    with pytest.raises(ValueError, match="2 frames"):
        animator.interpolate(PHOTO, {}, {}, 1)


def test_an_explanation_is_of_the_photo(detect):
    detect((80, 20, 90))
    explained = Animator(calculable()[0]).explain(PHOTO, {"AU04": 0.1})
    assert explained.attention.shape == PHOTO.shape[:2]
    assert explained.attention[65, 125] == pytest.approx(0.25)
    outside = explained.attention[:, :79]
    assert (outside == 1).all()
    assert explained.crop.shape == explained.color.shape == (32, 32, 3)
    np.testing.assert_allclose(explained.aus, [0.1, 0.5, 0.5])


def test_a_model_of_other_crops_gets_them(detect):
    detect((80, 20, 90))
    eyes = ((0.303, 0.359), (0.688, 0.359))
    (usual,) = Animator(calculable()[0]).find(PHOTO)
    (face,) = Animator(calculable(eyes=eyes)[0]).find(PHOTO)
    in_photo = np.array(CANONICAL_EYES) * 90 + (80, 20)
    np.testing.assert_allclose(apply(usual.transform, in_photo), 32 * np.array(CANONICAL_EYES))
    np.testing.assert_allclose(apply(face.transform, in_photo), 32 * np.array(eyes), atol=1e-6)
    np.testing.assert_array_equal(face.crop, crop(PHOTO, face.transform, 32))
    assert np.abs(face.crop.astype(int) - usual.crop).mean() > 3


def test_without_a_critic_mediapipe_reads(detect, caplog):
    coefficients = np.zeros(52, np.float32)
    coefficients[44:46] = 0.482  # mouthSmile: the middle of AU12's line
    detect((80, 20, 90, *coefficients))
    animator = Animator(calculable(critic=False)[0])
    (face,) = animator.find(PHOTO)
    np.testing.assert_allclose(face.aus, [0, 0.5, 0], atol=0.001)  # AU09 is not served
    assert caplog.messages == ["MediaPipe does not read AU09: taken for 0"]
    read = animator.read(PHOTO, by="annotator")
    assert read == {"AU04": 0, "AU12": pytest.approx(0.5, abs=0.001)}
    with pytest.raises(ValueError, match="not 'eye'"):
        animator.read(PHOTO, by="eye")
    # A whole target does not ask what the face shows.
    animator.edit(np.zeros((40, 40, 3), np.uint8), np.zeros(3), aligned=True)


def test_a_model_that_depends_on_what_faces_show_is_given_it(detect):
    detect((10, 10, 50), (80, 20, 90))
    given = []

    def edit(image, want, have):
        given.append(np.asarray(have))
        return Edit(image)  # without a mask or a colour

    animator = Animator(calculable(edit=edit, needs_have=True)[0])
    np.testing.assert_array_equal(animator.edit(PHOTO, np.ones(3)), PHOTO)
    explained = animator.explain(PHOTO, {"AU04": 1.0})
    np.testing.assert_array_equal(explained.color, explained.crop)
    assert (explained.attention[65, 125], explained.attention[0, 0]) == (0, 1)
    assert len(list(animator.frames(PHOTO, np.ones((2, 3)), faces="all"))) == 2
    assert len(given) == 2 + 4
    for have in given:
        np.testing.assert_array_equal(have, np.full_like(have, 0.5))


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


# With MediaPipe


@needs_mediapipe
@pytest.mark.parametrize("angle", [0, 30])
@pytest.mark.parametrize("eyes", [CANONICAL_EYES, ((0.303, 0.359), (0.688, 0.359))])
def test_edits_come_where_the_eyes_are(angle, eyes):
    """A generator that darkens where it believes the first eye to be."""
    size = 64
    x, y = np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5)
    (left, top), _ = np.array(eyes) * size
    spot = np.exp(-((x - left) ** 2 + (y - top) ** 2) / 2 / 2.5**2)[..., None]

    def edit(image, want, have):
        return Edit(image - 0.6 * spot, image[..., :1], image)

    photo = np.asarray(portrait(400, angle)) // 2 + 100  # darker without clipping
    with Animator(calculable(size, eyes, edit=edit)[0]) as animator:
        change = photo.astype(float) - animator.edit(photo, {})
    with Landmarker() as landmarker:
        (face, *_) = landmarker.faces(photo)
    eye = face.points[[33, 133]].mean(axis=0)
    weight = change.sum(axis=-1).clip(0)
    y, x = np.indices(weight.shape) + 0.5
    found = np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()
    assert change.max() == pytest.approx(0.6 * 127.5, abs=4)
    assert np.linalg.norm(found - eye) < 0.06 * face.eye_distance


@needs_mediapipe
def test_the_landmarker_is_opened_once_and_again_after_it_was_closed(monkeypatch):
    opened = []
    monkeypatch.setattr(finding, "Landmarker", lambda file: opened.append(file) or Landmarker())
    animator = Animator(calculable()[0])
    photo = np.asarray(portrait(300))
    assert opened == []
    with animator:
        faces = [animator.find(photo) for _ in range(2)]
        assert len(opened) == 1
        assert isinstance(faces[0][0], Face)
        with pytest.raises(NoFaceError):
            animator.find(np.full((64, 64, 3), 128, np.uint8), tiles=(1,))
    with animator:
        animator.find(photo)
    assert len(opened) == 2


def test_the_library_gives_it_by_name():
    code = (
        "import sys, ganimation_jax as g; before = set(sys.modules); g.Animator.load; "
        "sys.exit('jax' in before or 'mediapipe' in sys.modules or 'Animator' not in g.__all__)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
