import jax.numpy as jnp
import numpy as np
import pytest
from helpers import flat

from ganimation_jax.evaluation import controllability
from ganimation_jax.evaluation.controllability import LEVELS, Readings, read_levels, response
from ganimation_jax.evaluation.judges import Judge
from ganimation_jax.types import Edit

UNITS = ("AU01", "AU12", "AU25")
GOOD = dict.fromkeys(UNITS, "good")
RNG = np.random.default_rng(0)
OWN = RNG.random((7, 3), np.float32)


def painted(aus):
    """Faces whose first three pixels show their action units."""
    image = RNG.uniform(-1, 1, (len(aus), 4, 4, 3)).astype(np.float32)
    image[:, 0, :3, 0] = aus
    return image


def editor(strength, seen=None):
    """Moves what is shown so far towards the target."""

    def edit(image, want, have):
        if seen is not None:
            seen.append(np.array(want))
        image = jnp.asarray(image)
        np.testing.assert_array_equal(image[:, 0, :3, 0], have)
        moved = image.at[:, 0, :3, 0].set(have + strength * (want - have))
        return Edit(moved, jnp.ones((*image.shape[:3], 1)), moved)

    return edit


def pixels(name="pixels", quality=GOOD):
    return Judge(name, lambda images: images[:, 0, :3, 0].copy(), quality)


def measure(edit, judge):
    readings = read_levels(painted(OWN), OWN, edit, [judge], batch_size=4)
    return readings[0], flat(controllability.scores(readings[0], UNITS))


@pytest.mark.parametrize("strength", [1, 0.5, 0])
def test_the_slope_is_the_strength_of_the_edit(strength):
    readings, scores = measure(editor(strength), pixels())
    assert scores["controllability_pixels/slope"] == pytest.approx(strength, abs=1e-6)
    for unit in UNITS:
        assert scores[f"controllability_pixels/slope/{unit}"] == pytest.approx(strength, abs=1e-6)
        assert scores[f"controllability_pixels/slope/{unit}/se"] == pytest.approx(0, abs=1e-6)
    assert scores["controllability_pixels/unread"] == 0
    curves = response(readings)
    want = OWN.mean(axis=0)[:, None] * (1 - strength) + strength * np.array(LEVELS)
    np.testing.assert_allclose(curves.measured, want, atol=1e-6)
    spread = (1 - strength) * OWN.std(axis=0, ddof=1) / np.sqrt(len(OWN))
    np.testing.assert_allclose(curves.error, np.tile(spread[:, None], 5), atol=1e-6)
    assert (curves.judge, curves.quality) == ("pixels", GOOD)


def test_one_unit_is_asked_for_at_a_time_in_batches_of_one_shape():
    seen = []
    readings, _ = measure(editor(1, seen), pixels())
    assert {len(targets) for targets in seen} == {4}
    assert len(seen) == 3 * 5 * 2  # units, levels, batches of 7 faces
    for unit, targets in enumerate(seen[2::10]):  # at .25, of the first four faces
        want = OWN[:4].copy()
        want[:, unit] = 0.25
        np.testing.assert_array_equal(targets, want)
    assert readings.intensity.shape == (7, 3, 5)


def test_edits_are_made_once_and_judges_differ():
    seen = []
    blind = Judge("blind", lambda images: np.full((len(images), 3), np.nan), GOOD)
    found = read_levels(
        painted(OWN), OWN, editor(1, seen), [pixels(), blind, pixels("again")], batch_size=8
    )
    assert len(seen) == 3 * 5
    np.testing.assert_array_equal(found[0].intensity, found[2].intensity)
    scores = flat(controllability.scores(found[1], UNITS))
    assert scores["controllability_blind/unread"] == 1
    assert np.isnan(scores["controllability_blind/slope"])
    assert np.isnan(response(found[1]).measured).all()


def test_lost_faces_are_counted_and_do_not_bend_the_slope():
    intensity = np.tile(np.array(LEVELS) * 0.8, (6, 3, 1))
    intensity[0, :, 1] = np.nan  # one level of one face
    intensity[1, :, 1:] = np.nan  # a face seen once has no slope
    intensity[:, 2] = np.nan  # not served
    readings = Readings("x", GOOD | {"AU25": "none"}, np.array(LEVELS), intensity)
    scores = flat(controllability.scores(readings, UNITS))
    assert scores["controllability_x/slope"] == pytest.approx(0.8)
    assert scores["controllability_x/unread"] == pytest.approx(5 / 30)
    assert np.isnan(scores["controllability_x/slope/AU25"])


def test_low_confidence_is_averaged_apart_and_the_error_is_that_of_the_mean():
    slopes = RNG.normal(0.5, 0.2, (200, 3))
    readings = Readings(
        "x", GOOD | {"AU25": "low"}, np.array(LEVELS), slopes[..., None] * np.array(LEVELS)
    )
    scores = flat(controllability.scores(readings, UNITS))
    assert scores["controllability_x/slope"] == pytest.approx(slopes[:, :2].mean())
    assert scores["controllability_x/rises/AU25"] == pytest.approx((slopes[:, 2] > 0).mean())
    assert scores["controllability_x/slope/low_confidence"] == pytest.approx(slopes[:, 2].mean())
    want = slopes[:, :2].mean(axis=1).std(ddof=1) / np.sqrt(200)
    assert scores["controllability_x/slope/se"] == pytest.approx(want)
    assert scores["controllability_x/slope/AU12/se"] == pytest.approx(
        slopes[:, 1].std(ddof=1) / np.sqrt(200)
    )


def test_slopes_are_numpys():
    intensity = RNG.random((5, 3, 4))
    levels = np.array([0, 0.1, 0.7, 1])
    scores = flat(controllability.scores(Readings("x", GOOD, levels, intensity), UNITS))
    want = [np.polyfit(levels, intensity[f, 1], 1)[0] for f in range(5)]
    assert scores["controllability_x/slope/AU12"] == pytest.approx(np.mean(want))


def test_too_little_to_measure_is_refused():
    with pytest.raises(ValueError, match="0 faces"):
        read_levels(painted(OWN[:0]), OWN[:0], editor(1), [pixels()])
    with pytest.raises(ValueError, match="levels"):
        read_levels(painted(OWN), OWN, editor(1), [pixels()], levels=(0.5, 0.5))
