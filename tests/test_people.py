"""Generated people: cleaning, and checks of each drawing."""

import hashlib

import numpy as np
import pytest
from helpers import mediapipe_missing
from helpers import portrait as helpers_portrait
from scipy.ndimage import gaussian_filter

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.faces.alignment import apply, crop, transform_of
from ganimation_jax.faces.landmarker import Landmarker
from ganimation_jax.files.unusable import UnusableFile
from ganimation_jax.prepare import people_drawing
from ganimation_jax.prepare.people_drawing import PeoplePlan, Tools, draw_person
from ganimation_jax.prepare.problems import Skip
from ganimation_jax.prepare.work import Record
from ganimation_jax.synthetic import clean_pairs
from ganimation_jax.synthetic.directions import Directions
from ganimation_jax.synthetic.wanted import DECK, wanted

SIZE = 128


@pytest.fixture(scope="module")
def portrait():
    """A portrait, its face, and the transform to its crop."""
    if reason := mediapipe_missing():
        pytest.skip(reason)
    image = np.asarray(helpers_portrait(side=400))
    with Landmarker() as landmarker:
        face = landmarker.faces(image)[0]
    return image, face, transform_of(face, SIZE)


def moved(image, face, angle=4.0, scale=0.93, shift=(7.0, -5.0)):
    """The picture turned, scaled and shifted, and where its face is then."""
    turn = scale * np.exp(1j * np.radians(angle))
    matrix = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    transform = np.column_stack([matrix, shift])
    side = max(image.shape[:2])
    points = apply(transform, face.points).astype(np.float32)
    return crop(image, transform, side), face._replace(points=points)


def with_mark(image, face, colour):
    """The picture with a soft blot on the mouth, which stands for another expression."""
    x, y = face.points[list(clean_pairs.LIPS)].mean(axis=0).round().astype(int)
    blot = np.zeros(image.shape[:2])
    blot[y, x] = 1
    blot = gaussian_filter(blot, 0.15 * face.eye_distance)
    blot = (blot / blot.max())[..., None]
    return (image * (1 - blot) + blot * np.array(colour)).round().astype(np.uint8)


def test_cleaning_takes_the_expression_and_nothing_else(portrait):
    image, face, transform = portrait
    marked = with_mark(image, face, (200, 30, 30))
    other, other_face = moved(np.clip(marked.astype(int) + 14, 0, 255).astype(np.uint8), face)
    cleaned = clean_pairs.clean(image, face, other, other_face, transform, SIZE)

    base, truth = crop(image, transform, SIZE), crop(marked, transform, SIZE)
    points = apply(transform, face.points.astype(np.float64))
    mask = clean_pairs.moving_part(points, points, SIZE)
    np.testing.assert_array_equal(cleaned.image[mask == 0], base[mask == 0])
    assert 0.1 < (mask > 0.5).mean() < 0.4
    # The picture moved, turned and became lighter; only the blot is left of that.
    error = np.abs(cleaned.image.astype(int) - truth)
    assert error[mask > 0.9].mean() < 4
    assert np.abs(base.astype(int) - truth)[mask > 0.9].max() > 60
    assert cleaned.seam < 4
    np.testing.assert_allclose(apply(cleaned.transform, other_face.points), points, atol=0.01)


def test_a_seam_is_measured(portrait):
    image, face, transform = portrait
    stripes = np.where(np.arange(image.shape[1])[:, None] // 3 % 2, image, 255 - image)
    cleaned = clean_pairs.clean(image, face, stripes.astype(np.uint8), face, transform, SIZE)
    assert cleaned.seam > people_drawing.SEAM


def test_the_jaw_is_moved_where_the_mouth_opens(portrait):
    _, face, transform = portrait
    closed = apply(transform, face.points.astype(np.float64))
    opened = closed.copy()
    opened[list(clean_pairs.JAW), 1] += 0.06 * SIZE
    column, row = opened[clean_pairs.CHIN].astype(int)
    above = row - round(0.03 * SIZE)
    assert clean_pairs.moving_part(closed, closed, SIZE)[above, column] < 0.1
    assert clean_pairs.moving_part(closed, opened, SIZE)[above, column] > 0.5
    assert clean_pairs.moving_part(opened, closed, SIZE)[above, column] > 0.5


def test_expressions_are_different_and_each_as_often():
    counts = np.zeros(17)
    rng = np.random.default_rng(0)
    for _ in range(400):
        rows = wanted(rng, 8)
        assert len({tuple(np.nan_to_num(row, nan=-1) > 0) for row in rows}) == 8
        counts += np.sum([np.nan_to_num(row) > 0 for row in rows], axis=0)
    share = np.array([sum(code in units for units in DECK) for code in ACTION_UNITS]) / len(DECK)
    np.testing.assert_allclose(counts / 3200, share, atol=0.03)
    assert share.min() > 0.04  # no unit is left out
    with pytest.raises(ValueError, match=f"there are {len(DECK)}"):
        wanted(rng, len(DECK) + 1)


class Pencil:
    """Draws the portrait, whoever is asked for, and remembers the lengths of the steps."""

    def __init__(self, image):
        self.image, self.lengths = np.repeat(np.repeat(image, 2, 0), 2, 1), []

    def person(self, seed, number):
        return np.zeros(512, np.float32)

    def draw(self, style, change=None):
        if change is not None:
            self.lengths.append(float(np.linalg.norm(change)))
        return self.image


@pytest.fixture
def drawn(portrait, tmp_path, monkeypatch):
    """Draws person 3 with two expressions; ``describe`` is a function of the call's number."""

    def draw(describe):
        image, face, _ = portrait
        pencil, calls = Pencil(image), []
        steps = np.random.default_rng(0).normal(size=(512, 17)).astype(np.float32)
        directions = Directions(ACTION_UNITS, steps, steps, {})

        def described(crop):
            calls.append(crop)
            return np.array([describe(len(calls) - 1)])

        class Finder:
            def faces(self, shown):
                small = shown.shape[0] == SIZE
                points = apply(transform_of(face, SIZE), face.points) if small else face.points
                return [face._replace(points=points.astype(np.float32))]

        tools = Tools(pencil, directions, described)
        monkeypatch.setattr(people_drawing, "tools_of_process", lambda plan: tools)
        monkeypatch.setattr(people_drawing, "landmarker_of_process", lambda model: Finder())
        monkeypatch.setattr(people_drawing, "refine", lambda landmarker, image, face: face)
        plan = PeoplePlan(0, 2, SIZE, tmp_path, None)
        return draw_person(3, plan, tmp_path), pencil.lengths

    return draw


def test_a_person_is_a_picture_for_each_expression(drawn, tmp_path):
    results, lengths = drawn(lambda call: 0.0)
    assert [type(one) for one in results] == [Record] * 3
    assert [one.id for one in results] == ["p00003_0", "p00003_1", "p00003_2"]
    assert {one.group for one in results} == {"p00003"}
    for one in results:
        jpeg = (tmp_path / f"{one.id}.jpg").read_bytes()
        assert hashlib.sha256(jpeg).hexdigest() == one.sha256
    assert len(lengths) == 2
    assert all(9 <= length <= 15 for length in lengths)


def test_a_drawing_of_another_person_is_tried_again_with_a_shorter_step(drawn):
    # Call 0 describes the first picture; the first expression needs a second try.
    results, lengths = drawn(lambda call: 0.5 if call == 1 else 0.0)
    assert [type(one) for one in results] == [Record] * 3
    assert lengths[1] == pytest.approx(0.8 * lengths[0], rel=1e-5)


def test_what_is_refused_each_time_is_reported(drawn):
    results, lengths = drawn(lambda call: 0.5 if call else 0.0)
    assert results[1:] == [
        Skip(f"p00003_{k}", "another person", "descriptors 0.50 apart, above 0.48") for k in (1, 2)
    ]
    assert len(lengths) == 2 * people_drawing.TRIES


def test_a_drawing_without_a_face_is_reported(drawn, monkeypatch):
    def no_face(tools, plan, style):
        raise UnusableFile("no face in the drawing", "")

    monkeypatch.setattr(people_drawing, "_base", no_face)
    results, _ = drawn(lambda call: 0.0)
    assert results == [Skip("p00003", "no face in the drawing", "")]
