"""Where edits may show in a face."""

import numpy as np
import pytest
from helpers import needs_mediapipe, portrait

from ganimation_jax.faces import regions
from ganimation_jax.faces.alignment import align, apply
from ganimation_jax.faces.landmarker import Landmarker
from ganimation_jax.faces.regions import eyes_covered, filled, hull, reach

SIZE = 128


@pytest.fixture(scope="module")
def face():
    """The crop of the portrait that comes with the library, and its points in the crop."""
    with Landmarker() as landmarker:
        detected, transform, crop = align(landmarker, np.asarray(portrait()), SIZE)[0]
    return crop, apply(transform, detected.points)


def in_glasses(crop, points, shade):
    """The face with dark glasses over both eyes."""
    worn = crop.astype(np.float32)
    for eye in regions.EYES:
        glass = filled(hull(points[list(eye)], 1.1), SIZE)[..., None]
        worn *= 1 - (1 - shade) * glass
    return worn.round().astype(np.uint8)


@needs_mediapipe
def test_edits_stay_in_the_face(face):
    crop, points = face
    weight, notes = reach(crop, points, turn=5.0)
    assert notes == ()
    assert weight.dtype == np.float32
    assert 0 <= weight.min() <= weight.max() <= 1
    for x, y in points[[13, 159, 386, 105, 334, 61, 291]]:  # lips, lids, brows, lip corners
        assert weight[int(y), int(x)] > 0.9
    chin = points[152]
    assert weight[min(int(chin[1] + 0.03 * SIZE), SIZE - 1), int(chin[0])] > 0.5  # a jaw drops
    for corner in (weight[:8, :8], weight[:8, -8:], weight[-8:, :8], weight[-8:, -8:]):
        assert corner.max() < 0.01


@needs_mediapipe
def test_a_turned_head_is_edited_less_and_it_is_said(face):
    crop, points = face
    full = reach(crop, points, turn=regions.TURNED).weight
    half = reach(crop, points, turn=(regions.TURNED + regions.AWAY) / 2)
    np.testing.assert_allclose(half.weight, full / 2, atol=1e-6)
    assert "turned by 52 degrees: the edit has 50% of its strength" in half.notes[0]
    assert reach(crop, points, turn=80.0).weight.max() == 0


@needs_mediapipe
@pytest.mark.parametrize("light", [1.0, 0.35])
def test_covered_eyes_are_left_alone(face, light):
    crop, points = face
    crop = (light * crop).astype(np.uint8)
    assert not eyes_covered(crop, points)
    worn = in_glasses(crop, points, shade=0.1)
    assert eyes_covered(worn, points)
    weight, notes = reach(worn, points, turn=0.0)
    assert notes == ("the eyes are covered: they are left as they are",)
    for x, y in points[[159, 145, 386, 374]]:  # the lids
        assert weight[int(y), int(x)] < 0.1
    for x, y in points[[13, 14]]:  # the lips
        assert weight[int(y), int(x)] > 0.9
