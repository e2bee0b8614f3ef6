"""Directions of style: found in a linear world, saved, shipped."""

import numpy as np
import pytest
from linear_world import linear_world

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.prepare.people_directions import fit
from ganimation_jax.prepare.problems import UsageError
from ganimation_jax.synthetic.directions import SHIPPED, Directions, solve

SIZE = 128


def test_steps_move_one_unit_and_keep_the_person():
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(400, 512)) * np.geomspace(1, 0.05, 512)
    effect, identity = rng.normal(size=(512, 4)) / 20, rng.normal(size=(512, 6)) / 20
    steps = solve(samples.T @ samples / 400, effect, identity)
    gained = effect.T @ steps
    np.testing.assert_allclose(np.diag(gained), 1, atol=0.15)
    assert np.abs(gained - np.diag(np.diag(gained))).max() < 0.05
    plain = solve(samples.T @ samples / 400, effect, 0 * identity)
    assert np.linalg.norm(identity.T @ steps) < 0.1 * np.linalg.norm(identity.T @ plain)


def test_directions_are_found_in_a_linear_world():
    seen, expression, identity = linear_world()
    directions = fit(seen)
    assert directions.action_units == tuple(c for c in ACTION_UNITS if c != "AU09")
    assert min(directions.about["r"].values()) > 0.95
    assert (directions.about["people"], directions.about["pictures"]) == (60, 300)
    columns = [ACTION_UNITS.index(code) for code in directions.action_units]
    random = np.concatenate([one.change for one in seen])
    random *= 6 / np.linalg.norm(random, axis=1, keepdims=True)
    usual = np.linalg.norm(random @ identity, axis=1).mean()  # drift of a step as long
    for place in range(16):
        step = directions.step(np.eye(16)[place], 6.0)
        assert np.linalg.norm(step) == pytest.approx(6, rel=1e-5)
        gained = step @ expression[:, columns]  # in the world itself
        assert gained.argmax() == place
        assert np.linalg.norm(step @ identity) < 0.05 * usual
    with pytest.raises(UsageError, match="3 people cannot be divided into 5 folds"):
        fit(seen[:3])


def test_directions_survive_saving(tmp_path):
    directions = fit(linear_world(people=10)[0])
    directions.save(tmp_path / "d.npz")
    again = Directions.load(tmp_path / "d.npz")
    assert again.action_units == directions.action_units
    assert again.about == directions.about
    np.testing.assert_allclose(again.steps, directions.steps, rtol=1e-3, atol=1e-4)
    (tmp_path / "bad.npz").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"bad.npz holds no directions of style"):
        Directions.load(tmp_path / "bad.npz")
    with pytest.raises(FileNotFoundError, match=r"none.npz: fit them with .* fit-directions"):
        Directions.load(tmp_path / "none.npz")


def test_the_directions_that_ship_say_how_well_they_fit():
    assert SHIPPED.stat().st_size < 40_000
    found = Directions.load()
    assert found.about["people"] == 160
    assert found.about["r"]["AU12"] > 0.6
    assert found.about["r"]["AU25"] > 0.5
    assert len(found.step(np.ones(len(found.action_units)), 5.0)) == 512
