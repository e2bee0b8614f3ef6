"""Edits of the faces that a detector reports in a photo."""

import numpy as np
import pytest
from calculable import calculable
from helpers import needs_mediapipe, portrait

from ganimation_jax.animation import editing, finding
from ganimation_jax.animation.animator import Animator, Face, NoFaceError
from ganimation_jax.faces.alignment import AlignedFace, apply, crop, similarity
from ganimation_jax.faces.crops import CANONICAL_EYES
from ganimation_jax.faces.landmarker import DetectedFace, Landmarker, Pose
from ganimation_jax.faces.regions import Reach
from ganimation_jax.models.warp import warp
from ganimation_jax.types import Edit

RNG = np.random.default_rng(0)


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
