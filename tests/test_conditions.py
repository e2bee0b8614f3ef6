"""Conditions: names and kinds in configs, labels of drawn faces, fingerprints."""

import itertools
import pickle

import numpy as np
import pytest
from labelled_faces import MIXED, Faces
from ml_collections import ConfigDict

from ganimation_jax import conditions as known
from ganimation_jax.conditions import EMOTIONS, Condition
from ganimation_jax.data.fingerprint import fingerprint
from ganimation_jax.data.pipeline import (
    resolve_conditions,
)
from ganimation_jax.synthetic.faces import SyntheticFaces
from ganimation_jax.synthetic.labels import HAIR, LABELS

# Names


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ("emotion", ("angry", "happy", "sad")),
        (("Smiling", "emotion"), ("Smiling", "angry", "happy", "sad")),
        ("sad,happy", ("sad", "happy")),
        (("emotion=happy", "AU12"), ("happy", "AU12")),
    ],
)
def test_names_and_groups_are_resolved(asked, names):
    found = known.resolve(asked, MIXED)
    assert tuple(one.name for one in found) == names
    assert known.parse(str(one) for one in found) == found
    assert known.resolve([str(one) for one in found], MIXED) == found


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("smiling", "'smiling' is not in .* AU12; Smiling; emotion: .*did you mean Smiling"),
        (("emotion", "sad"), "sad is asked for 2 times"),
        ((), "no conditions are named; the dataset has AU12"),
        ("AU6", "'AU6' is not in"),
        ("emotion=glad", "'emotion=glad' is not in"),
    ],
)
def test_wrong_names_say_what_there_is(asked, message):
    with pytest.raises(ValueError, match=message):
        known.resolve(asked, MIXED)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["AU12"], "cannot name a label"),
        (["a=b"], "cannot name a label"),
        ([" "], "cannot name a label"),
        (["one", "one"], "two labels are named 'one'"),
        (["emotion", "happy"], "two labels are named 'emotion'"),
    ],
)
def test_names_that_configs_cannot_write_are_refused(labels, message):
    conditions = [Condition(name, "binary") for name in labels]
    with pytest.raises(ValueError, match=message):
        known.check_labels([*conditions, Condition("calm", "one_of", "emotion")])


def test_a_config_gets_the_kinds_of_its_conditions():
    cfg = ConfigDict({"conditions": ("emotion", "Smiling"), "data": {"source": "faces"}})
    resolved = resolve_conditions(cfg, Faces())
    spelled = ("emotion=angry", "emotion=happy", "emotion=sad", "Smiling")
    assert resolved.conditions == spelled
    assert cfg.conditions == ("emotion", "Smiling")
    assert resolve_conditions(resolved, Faces()).conditions == spelled
    assert resolve_conditions(ConfigDict({"data": {}}), Faces()) == ConfigDict({"data": {}})
    cfg.data.source = "synthetic"
    with pytest.raises(ValueError, match=r"'emotion' is not in .* AU45; set data.labels=True"):
        resolve_conditions(cfg, SyntheticFaces(4, 16))


# Drawn faces


def test_drawn_faces_have_the_labels_of_their_person_and_emotion():
    faces = SyntheticFaces(40, 32, seed=2, expressions=8, labels=True)
    assert faces.conditions[17:] == LABELS
    labels = faces.label_table()
    emotions, hair = labels[:, -8:], labels[:, 2 : 2 + len(HAIR)]
    assert (emotions.sum(axis=1) == 1).all()
    assert (hair.sum(axis=1) == 1).all()
    assert (emotions.reshape(5, 8, 8).sum(axis=1) == 1).all()  # a person shows each once
    for person in range(5):
        assert len(np.unique(labels[8 * person : 8 * person + 8, :-8], axis=0)) == 1
        identity = faces.identity(8 * person)
        assert labels[8 * person, 1] == (identity.glasses >= 0.5)
    again = pickle.loads(pickle.dumps(faces))
    np.testing.assert_array_equal(again.label_table(), labels)


def test_the_units_of_the_emotion_are_active_and_the_others_weak():
    from ganimation_jax.action_units import ACTION_UNITS, EXPRESSIONS

    faces = SyntheticFaces(160, 16, labels=True)
    aus = faces.aus_table() / 5
    for index in range(len(faces)):
        units = EXPRESSIONS.get(faces.emotion(index), ())
        active = np.isin(ACTION_UNITS, units)
        assert (aus[index, active] >= 0.5).all()
        assert (aus[index, ~active] <= 0.2).all()
    assert {faces.emotion(index) for index in range(len(faces))} == set(EMOTIONS)
    assert aus[:, 8].std() > 0.2


def test_every_hair_colour_is_recognised_in_any_shade():
    from ganimation_jax.synthetic.drawn_person import HAIR_COLORS, Identity
    from ganimation_jax.synthetic.labels import hair_of

    for name, colors in HAIR_COLORS.items():
        for color, light in itertools.product(colors, (0.8, 0.93, 1.0, 1.2)):
            shade = tuple(light * part for part in color)
            assert hair_of(Identity(hair_color=shade)) == name


def test_drawn_faces_without_labels_are_those_from_before():
    plain, labelled = SyntheticFaces(8, 16, seed=4), SyntheticFaces(8, 16, seed=4, labels=True)
    assert plain.conditions == labelled.conditions[:17]
    assert plain.label_table().shape == (8, 0)
    assert [plain.identity(i) for i in range(8)] == [labelled.identity(i) for i in range(8)]
    assert (plain.aus_table() != labelled.aus_table()).any()


def test_fingerprints_change_with_labels_and_not_for_faces_without():
    """The first digest was taken before there were labels (commit 2d172e6)."""
    assert fingerprint(SyntheticFaces(8, 16, seed=4)) == "f5c8d1216442fde9"
    faces, others = Faces(), Faces()
    others.label_table = lambda: Faces().label_table()[::-1]
    assert fingerprint(faces) == fingerprint(Faces()) != fingerprint(others)
