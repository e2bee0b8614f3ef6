"""Two datasets in one run, with the labels of both; faces of other kinds are skipped."""

import pickle

import numpy as np
import pytest
from absl import flags
from labelled_faces import COUNT, MIXED, NAMES, TABLE, Faces, assert_same, stream

from ganimation_jax.conditions import EMOTIONS, Condition, describe
from ganimation_jax.data.derived import (
    JoinedFaces,
    WithEmotions,
    nearest_emotions,
    of_known_members,
)
from ganimation_jax.data.fingerprint import fingerprint
from ganimation_jax.data.pipeline import (
    evaluation_batches,
)
from ganimation_jax.synthetic.faces import SyntheticFaces
from ganimation_jax.synthetic.labels import LABELS

# Sources made from others


class Emotional(Faces):
    """Another dataset: no action units, other labels."""

    conditions = tuple(Condition(name, "one_of", "mood") for name in ("calm", "glad"))

    def __len__(self):
        return 7

    def __getitem__(self, index):
        return {"image": np.full((8, 8, 3), 100 + index, np.uint8)}

    def aus_table(self):
        return np.zeros((7, 0), np.float32)

    def label_table(self):
        return np.eye(2, dtype=np.float32)[np.arange(7) % 2]


def test_two_datasets_alternate_by_batch_with_the_labels_of_both():
    joined = JoinedFaces(Faces(), Emotional())
    names = (*NAMES[1:], "calm", "glad")
    assert describe(joined.conditions) == "Smiling; emotion: angry happy sad; mood: calm glad"
    options = {"conditions": names, "batches": 3, "permute": True}
    batches = stream(8, joined, **options)
    faces = batches["image"][..., 4, 4, 0].reshape(24, 4)
    assert ((faces >= 100).all(axis=1) == np.arange(24) % 2).all()
    assert ((faces < 100).all(axis=1) == (np.arange(24) % 2 == 0)).all()
    assert set(faces[faces >= 100] - 100) == set(range(7))
    assert sorted(faces[faces < 100][:24]) == list(range(24))  # an epoch of the first
    have, want = (batches[name].reshape(24, 4, 6) for name in ("have", "want"))
    for face, row in zip(faces.reshape(-1), have.reshape(-1, 6), strict=True):
        own = TABLE[face, 1:] if face < 100 else np.zeros(4)
        mood = np.eye(2)[(face - 100) % 2] if face >= 100 else np.zeros(2)
        np.testing.assert_array_equal(row, [*own, *mood])
    assert (want[1::2, :, :4] == 0).all()  # permuted among faces of one dataset
    np.testing.assert_array_equal(want[1::2].sum(axis=1), have[1::2].sum(axis=1))
    assert_same(
        {name: leaf[3:] for name, leaf in batches.items()}, stream(5, joined, start=3, **options)
    )
    halves = [stream(8, joined, process=i, processes=2, **options) for i in range(2)]
    assert_same(
        {name: np.concatenate([half[name] for half in halves], axis=2) for name in batches}, batches
    )
    assert [joined[i]["image"][0, 0, 0] for i in (0, 1, 2, 3, 14)] == [0, 100, 1, 101, 7]


def test_labels_of_one_name_must_agree():
    class Other(Emotional):
        conditions = (Condition("Smiling", "one_of", "mood"), Condition("calm", "one_of", "mood"))

    with pytest.raises(ValueError, match="have different labels named Smiling"):
        JoinedFaces(Faces(), Other())


def test_the_nearest_emotion():
    units = ("AU01", "AU02", "AU04", "AU05", "AU06", "AU12", "AU25", "AU26", "AU14")
    faces = {
        "happy": [0, 0, 0, 0, 2, 3, 1, 0, 0],
        "surprised": [3, 3, 0, 2, 0, 0, 2, 2, 0],
        "neutral": [0.5, 0.5, 0, 0, 0.5, 1, 1, 0, 0],
        "contempt": [0, 0, 0, 0, 0, 2, 0, 0, 2],
    }
    found = nearest_emotions(np.array([*faces.values()], np.float32), units)
    assert [EMOTIONS[place] for place in found] == [*faces]
    # Drawn faces are nearest to the emotion that they were drawn with.
    drawn = SyntheticFaces(64, 16, labels=True)
    nearest = nearest_emotions(drawn.aus_table(), tuple(one.name for one in drawn.conditions[:17]))
    assert [EMOTIONS[place] for place in nearest] == [drawn.emotion(i) for i in range(64)]


def test_faces_with_action_units_get_emotions():
    plain = SyntheticFaces(12, 16, seed=4, expressions=3)
    faces = pickle.loads(pickle.dumps(WithEmotions(plain)))
    assert describe(faces.conditions).endswith("emotion: " + " ".join(EMOTIONS))
    assert faces.label_table().sum(axis=1).tolist() == [1] * 12
    np.testing.assert_array_equal(faces.pair_groups(), plain.pair_groups())
    assert fingerprint(faces) != fingerprint(plain)
    with pytest.raises(ValueError, match="no action units to tell emotions by"):
        WithEmotions(Emotional())
    with pytest.raises(ValueError, match=r"labels named afraid .*set data.labels=False"):
        WithEmotions(SyntheticFaces(4, 16, labels=True))


@pytest.mark.slow
def test_two_datasets_do_not_depend_on_workers():
    flags.FLAGS.mark_as_parsed()
    options = {"conditions": ("Smiling", "calm"), "permute": True}
    joined = JoinedFaces(Faces(), Emotional())
    assert_same(stream(3, joined, **options), stream(3, joined, workers=2, **options))


def test_faces_of_other_kinds_are_left_out():
    pair = (MIXED[2], MIXED[4])  # angry and sad: places 0, 2, 3, 5, ...
    part = of_known_members(Faces(), pair)
    assert [part[i]["image"][0, 0, 0] for i in range(len(part))] == [
        i for i in range(COUNT) if i % 3 != 1
    ]
    assert part.conditions == MIXED
    np.testing.assert_array_equal(part.label_table()[:, 2], 0)  # nobody is happy
    np.testing.assert_allclose(part.aus_table()[:, 0] * 5, [i for i in range(COUNT) if i % 3 != 1])
    (batch,) = evaluation_batches(
        part, image_size=8, conditions=("angry", "sad"), batch_size=COUNT, examples=COUNT, seed=0
    )
    for name in ("have", "want"):
        np.testing.assert_array_equal(batch[name].sum(axis=1), 1)


@pytest.mark.parametrize("conditions", [MIXED, MIXED[:2], MIXED[2:], MIXED[2:3]])
def test_faces_are_left_out_only_where_some_of_several_kinds_are_unknown(conditions):
    faces = Faces()
    assert of_known_members(faces, conditions) is faces


def test_pairs_of_those_that_are_left():
    faces = SyntheticFaces(16, 16, expressions=8, labels=True)
    pair = tuple(one for one in LABELS if one.name in ("neutral", "happy"))
    part = of_known_members(faces, pair)
    np.testing.assert_array_equal(part.pair_groups(), [0, 0, 1, 1])
    worn = faces.label_table().max(axis=0)
    unworn = [one for one, any_has in zip(LABELS, worn, strict=True) if not any_has]
    unworn = tuple(one for one in unworn if one.group == "hair")
    assert len(unworn) >= 3  # of five colours, on two persons
    with pytest.raises(ValueError, match="no face of .* shows any of "):
        of_known_members(faces, unworn)
