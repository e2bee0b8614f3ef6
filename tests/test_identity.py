import numpy as np
import pytest
from helpers import flat

from ganimation_jax.evaluation import identity_distance

D = 16


def people(rng, persons, pictures, spread=0.1):
    """Pictures that are their own descriptors, b 1 1 D: a person, and a little else."""
    centres = rng.normal(0, 0.25, (persons, D))
    names = [f"p{index}" for index in range(persons) for _ in range(pictures)]
    images = np.repeat(centres, pictures, axis=0)
    images = images + rng.normal(0, spread / (2 * D) ** 0.5, images.shape)
    return images[:, None, None], names


def embed(images):
    return images[:, 0, 0]


def scores(images, edited, names, **options):
    return flat(identity_distance.evaluate(images, edited, names, embed, threshold=0.6, **options))


def test_no_edit_keeps_everybody():
    images, names = people(np.random.default_rng(0), 60, 3)
    got = scores(images, images, names)
    assert got["identity/distance"] == 0
    assert got["identity/distance/se"] == 0
    assert got["identity/verified"] == 1
    assert got["identity/distance/same_person"] == pytest.approx(0.1, rel=0.1)
    assert got["identity/distance/other_person"] > 1
    assert got["identity/verified/same_person"] == 1
    assert got["identity/verified/other_person"] < 0.1
    assert got["identity/auc"] == 1
    assert (got["identity/pairs/same_person"], got["identity/pairs/other_person"]) == (60, 30)


def test_shuffled_faces_are_other_people():
    rng = np.random.default_rng(1)
    images, names = people(rng, 200, 2)
    # The next person's picture as the edit.
    got = scores(images, np.roll(images, 2, axis=0), names)
    error = np.hypot(got["identity/distance/se"], got["identity/distance/other_person/se"])
    assert abs(got["identity/distance"] - got["identity/distance/other_person"]) < 3 * error
    assert got["identity/verified"] < 0.1


def test_another_picture_of_the_person_is_at_the_level_of_same_person():
    images, names = people(np.random.default_rng(2), 200, 2)
    swapped = images.reshape(200, 2, 1, 1, D)[:, ::-1].reshape(images.shape)
    got = scores(images, swapped, names)
    assert got["identity/distance"] == pytest.approx(got["identity/distance/same_person"])


def test_a_known_distance_and_its_error():
    images, names = people(np.random.default_rng(3), 4, 1)
    shift = np.zeros_like(images)
    shift[:, 0, 0, 0] = [0.1, 0.3, 0.5, 0.7]
    got = scores(images, images + shift, names)
    assert got["identity/distance"] == pytest.approx(0.4)
    assert got["identity/distance/se"] == pytest.approx(np.std([1, 3, 5, 7], ddof=1) / 20)
    assert got["identity/verified"] == 0.75


def test_nobody_twice_is_said():
    images, names = people(np.random.default_rng(4), 6, 1)
    got = scores(images, images, names)
    assert got["identity/pairs/same_person"] == 0
    assert got["identity/pairs/other_person"] == 3
    for name in (
        "distance/same_person",
        "distance/same_person/se",
        "verified/same_person",
        "auc",
        "auc/se",
    ):
        assert np.isnan(got[f"identity/{name}"]), name
    assert np.isfinite(got["identity/distance/other_person"])


def test_one_person_only_is_said():
    images, _ = people(np.random.default_rng(5), 1, 6)
    got = scores(images, images, ["she"] * 6)
    assert got["identity/pairs/same_person"] == 1
    assert np.isnan(got["identity/distance/same_person/se"])
    assert got["identity/pairs/other_person"] == 0
    assert np.isnan(got["identity/distance/other_person"])


def test_pairs_are_what_they_are_called():
    rng = np.random.default_rng(6)
    names = [f"p{index}" for index in rng.integers(0, 40, 120)]
    same, other = identity_distance.sample_pairs(names)
    name = np.array(names)
    assert (name[same[:, 0]] == name[same[:, 1]]).all()
    assert (same[:, 0] != same[:, 1]).all()
    assert (name[other[:, 0]] != name[other[:, 1]]).all()
    counts = {n: names.count(n) for n in names}
    assert sorted(name[same[:, 0]]) == sorted(n for n, count in counts.items() if count > 1)
    assert len(set(name[other].ravel())) == 2 * len(other) == 2 * (len(counts) // 2)
    again, _ = identity_distance.sample_pairs(names)
    np.testing.assert_array_equal(same, again)
    different, _ = identity_distance.sample_pairs(names, seed=1)
    assert not np.array_equal(same, different)


def test_auc_by_counting():
    same, other = np.array([0.1, 0.2, 0.3, 0.3]), np.array([0.3, 0.2, 0.9])
    wins = [(s < o) + (s == o) / 2 for s in same for o in other]
    assert identity_distance.auc(same, other)[0] == pytest.approx(np.mean(wins))


def test_auc_error_is_honest():
    rng = np.random.default_rng(7)
    runs = [identity_distance.auc(rng.normal(0, 1, 40), rng.normal(1, 1, 30)) for _ in range(300)]
    areas, errors = np.array(runs).T
    # P(x < y) for normals one apart: Phi(1 / sqrt 2).
    assert areas.mean() == pytest.approx(0.7602, abs=0.01)
    assert errors.mean() == pytest.approx(areas.std(), rel=0.15)


def test_lengths_must_agree():
    images, names = people(np.random.default_rng(8), 3, 1)
    with pytest.raises(ValueError, match="3, 3, 2"):
        scores(images, images, names[:2])
    with pytest.raises(ValueError, match="0, 0, 0"):
        scores(images[:0], images[:0], [])
