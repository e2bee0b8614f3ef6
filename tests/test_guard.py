import logging
import math

import pytest

from ganimation_jax.training.guard import Guard

GOOD = {"critic/aus": 1.0, "critic/skipped": 0.0, "generator/aus": 2.0, "generator/skipped": 0.0}
BAD = GOOD | {"critic/aus": math.nan, "critic/skipped": 0.5}


def test_one_skipped_update_is_borne_and_told(caplog):
    guard = Guard(patience=1)
    guard.observe(10, GOOD)
    assert guard.clean
    with caplog.at_level(logging.WARNING, "ganimation_jax"):
        guard.observe(20, BAD)
    assert (guard.clean, guard.lost) == (False, False)
    assert (
        "NOT FINITE at 20 images: critic/aus; left out: 50% of the critic's updates" in caplog.text
    )
    guard.observe(30, GOOD)
    assert (guard.clean, guard.lost, guard.first) == (True, False, "")


def test_patience_is_for_calls_in_a_row_and_the_first_is_named():
    guard = Guard(patience=2)
    for images in (10, 20):
        guard.observe(images, BAD)
    guard.observe(30, GOOD)
    for images in (40, 50):
        guard.observe(images, BAD)
        assert not guard.lost
    worse = BAD | {"generator/aus": math.inf, "generator/skipped": 1.0}
    guard.observe(60, worse)
    assert guard.lost
    assert guard.first == "at 40 images: critic/aus"
    guard.reset()
    assert (guard.clean, guard.lost) == (True, False)


@pytest.mark.parametrize("patience", [0, 3])
def test_patience_is_exact(patience):
    guard = Guard(patience)
    for number in range(patience + 1):
        assert not guard.lost
        guard.observe(number, BAD)
    assert guard.lost
