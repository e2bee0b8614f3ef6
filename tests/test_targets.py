"""Expressions asked for: words, presets, ranges."""

import numpy as np
import pytest
from calculable import UNITS

from ganimation_jax.action_units import ACTION_UNITS, EXPRESSIONS
from ganimation_jax.animation import targets

RNG = np.random.default_rng(0)


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
