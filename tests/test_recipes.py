"""Expressions as people make them, and the two halves of a face."""

import json

import numpy as np
import pytest
from calculable import calculable

from ganimation_jax.animation.animator import Animator, Face
from ganimation_jax.animation.editing import HALF, edit_halves
from ganimation_jax.animation.recipes import Look, Recipe, as_json, from_json

UNITS = ("AU01", "AU04", "AU12")
OWN = np.array([0.2, 0.5, np.nan], np.float32)


def test_a_recipe_moves_towards_its_target_and_adds():
    recipe = Recipe({"AU01": 1.0, "AU12": 0.5}, 0.5, {"AU04": -0.7, "AU12": 0.1, "AU99": 1.0})
    np.testing.assert_allclose(recipe.values(OWN, UNITS), [0.6, 0, 0.35], rtol=1e-6)
    np.testing.assert_allclose(Recipe({"AU01": 1.0}, 0.0).values(OWN, UNITS), [0.2, 0.5, 0])
    assert recipe.by_unit() == {"AU01": 0.5, "AU12": 0.35, "AU04": -0.7, "AU99": 1.0}
    assert Recipe({"AU01": 1.0}, 0.1).asks()
    assert Recipe(moved={"AU01": 0.1}).asks()
    assert not Recipe({"AU01": 1.0}, 0.0, {"AU01": 0.0}).asks()
    assert not Look().asks()
    assert Look(right=Recipe(moved={"AU01": 0.1})).asks()


def test_an_expression_file_comes_back():
    halves = np.array([[0.1, 0.25, 1.0], [0.1, 0.25, 1.0]])
    named = {"AU01": 0.1, "AU04": 0.25, "AU12": 1.0}
    assert json.loads(as_json(halves, UNITS))["action_units"] == named
    assert from_json(as_json(halves, UNITS)) == (named, named)
    halves[1, 0] = 0.9
    assert from_json(as_json(halves, UNITS)) == (named, named | {"AU01": 0.9})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "lacks"),
        ("{}", "lacks"),
        ('{"ganimation_expression": 2}', "lacks"),
        ('{"ganimation_expression": 1}', "is an object"),
        ('{"ganimation_expression": 1, "left": {}}', "is an object"),
        ('{"ganimation_expression": 1, "action_units": {"AU12": 1.1}}', "AU12: its intensity"),
        ('{"ganimation_expression": 1, "action_units": {"AU12": NaN}}', "AU12: its intensity"),
        ('{"ganimation_expression": 1, "action_units": {"AU12": true}}', "AU12: its intensity"),
        ('{"ganimation_expression": 1, "action_units": {"AU12": "1"}}', "AU12: its intensity"),
    ],
)
def test_what_is_no_expression_file(text, says):
    with pytest.raises(ValueError, match=says):
        from_json(text)


def faces(count, size):
    crops = np.random.default_rng(0).integers(60, 130, (count, size, size, 3), np.uint8)
    whole = np.eye(2, 3), (0.0, 0.0, float(size), float(size)), np.zeros(3, np.float32)
    return [Face(crop, *whole) for crop in crops]


def test_halves_are_blended_along_the_midline():
    """The model adds 100 levels times the first unit."""
    size = 64
    model, batches = calculable(size, eyes=((0.3, 0.4), (0.6, 0.4)))
    several = faces(3, size)
    targets = np.zeros((3, 2, 3), np.float32)
    targets[0, :, 0] = 0.2, 0.7  # two halves
    targets[1, :, 0] = 0.4  # one expression
    change = (edit_halves(model, several, targets).image + 1) * 127.5
    change = change - np.stack([face.crop for face in several])
    x = (np.arange(size) + 0.5) / size
    share = np.clip((x - 0.45) / HALF + 0.5, 0, 1)
    want = 20 + 50 * share**2 * (3 - 2 * share)
    np.testing.assert_allclose(
        change[0], np.broadcast_to(want[:, None], (size, size, 3)), atol=0.01
    )
    np.testing.assert_allclose(change[1], 40, atol=0.01)
    np.testing.assert_allclose(change[2], 0, atol=0.01)
    assert sum(batches) == 3  # two where the halves differ, none where nothing is asked


def test_an_animator_takes_halves():
    model, _ = calculable(32)
    (face,) = faces(1, 32)
    targets = np.zeros((2, 1, 2, 3), np.float32)
    targets[1, 0, 1, 0] = 1.0
    same, other = Animator(model).run(face.crop, [face], targets)
    np.testing.assert_array_equal(same, face.crop)
    np.testing.assert_array_equal(other[:, :12], face.crop[:, :12])
    np.testing.assert_array_equal(other[:, 20:], face.crop[:, 20:] + 100)
    with pytest.raises(ValueError, match="shape"):
        Animator(model).run(face.crop, [face], np.zeros((1, 1, 3, 3)))
