import pytest

from ganimation_jax.action_units import ACTION_UNITS, ANATOMY, EXPRESSIONS, positions


def test_order_is_that_of_openface():
    numbers = [int(code[2:]) for code in ACTION_UNITS]
    assert numbers == [1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45]
    assert {unit.region for unit in ANATOMY} == {"brow", "eye", "nose", "cheek", "mouth", "chin"}


def test_positions_follow_the_order_asked_for():
    assert positions(["AU12", "AU01"]) == [8, 0]
    assert positions(["AU12"], ["AU12", "AU45"]) == [0]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (["AU12", "AU12"], "AU12 is asked for 2 times"),
        (["au6"], "'au6' is not one of .*did you mean AU06"),
        (["smile"], "'smile' is not one of"),
        ([], "action_units is empty"),
    ],
)
def test_wrong_units_are_refused(wanted, message):
    with pytest.raises(ValueError, match=message):
        positions(wanted)


def test_expressions_are_made_of_the_units():
    for units in EXPRESSIONS.values():
        positions(units)
