"""Labels beside action units: named, drawn, permuted, split into domains, stored."""

import itertools
import pickle

import jax
import numpy as np
import pytest
from absl import flags
from ml_collections import ConfigDict

from ganimation_jax import conditions as known
from ganimation_jax.conditions import EMOTIONS, Condition, Domain, Sampling, describe
from ganimation_jax.data.derived import (
    JoinedFaces,
    WithEmotions,
    nearest_emotions,
    of_known_members,
)
from ganimation_jax.data.fingerprint import fingerprint
from ganimation_jax.data.pipeline import (
    evaluation_batches,
    resolve_conditions,
    shown,
    training_batches,
)
from ganimation_jax.parallel import sharding
from ganimation_jax.synthetic.faces import SyntheticFaces
from ganimation_jax.synthetic.labels import HAIR, LABELS
from ganimation_jax.training import resident
from ganimation_jax.types import DataFacts, ResidentBatch

COUNT = 24
MIXED = (
    Condition("AU12"),
    Condition("Smiling", "binary"),
    *(Condition(name, "one_of", "emotion") for name in ("angry", "happy", "sad")),
)
NAMES = tuple(one.name for one in MIXED)


class Faces:
    """Faces of one colour each, which tells which face it is."""

    conditions = MIXED

    def __len__(self):
        return COUNT

    def __getitem__(self, index):
        return {"image": np.full((8, 8, 3), index, np.uint8)}

    def __repr__(self):
        return "Faces()"

    def aus_table(self):
        return np.arange(COUNT, dtype=np.float32)[:, None] / 5

    def label_table(self):
        index = np.arange(COUNT)
        emotion = np.eye(3, dtype=np.float32)[index % 3]
        return np.concatenate([(index >= 16)[:, None], emotion], axis=1, dtype=np.float32)

    def pair_groups(self):
        return None


class Labelled(Faces):
    """The same without action units."""

    conditions = MIXED[1:]

    def aus_table(self):
        return np.zeros((COUNT, 0), np.float32)


TABLE = np.concatenate([Faces().aus_table() / 5, Faces().label_table()], axis=1, dtype=np.float32)


def stream(count, source=None, **options):
    fields = {key: options.pop(key) for key in Sampling._fields if key in options}
    options = {"image_size": 8, "conditions": NAMES, "batch_size": 4, "seed": 3} | options
    batches = training_batches(
        source or Faces(), sampling=Sampling(**{"batches": 2} | fields), **options
    )
    taken = list(itertools.islice(batches, count))
    batches.close()
    return {name: np.concatenate([batch[name] for batch in taken]) for name in taken[0]}


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def numbers(images):
    return images[..., 4, 4, 0].reshape(-1)


def test_labels_and_action_units_come_in_the_order_asked_for():
    batches = stream(9, conditions=("happy", "AU12", "Smiling"))
    rows = TABLE[:, [3, 0, 1]]
    have, want = (batches[name].reshape(-1, 3) for name in ("have", "want"))
    np.testing.assert_array_equal(have, rows[numbers(batches["image"])])
    assert {tuple(row) for row in want} <= {tuple(row) for row in rows}
    assert set(have[:, 0]) == set(have[:, 2]) == {0, 1}


def test_a_dataset_may_have_labels_alone():
    batches = stream(3, Labelled(), conditions=("sad",))
    expected = TABLE[numbers(batches["image"]), 4]
    np.testing.assert_array_equal(batches["have"].reshape(-1), expected)
    with pytest.raises(ValueError, match=r"action unit 'AU12' .*Smiling; emotion: angry happy sad"):
        stream(1, Labelled())


# Targets by permutation


def test_targets_are_the_same_batch_permuted():
    batches = stream(12, permute=True, batch_size=6)
    have, want = (batches[name].reshape(-1, 6, 5) for name in ("have", "want"))
    orders = set()
    for given, asked in zip(have, want, strict=True):  # AU12 tells all faces apart
        order = [int(np.flatnonzero(given[:, 0] == value)[0]) for value in asked[:, 0]]
        assert sorted(order) == list(range(6))
        np.testing.assert_array_equal(given[order], asked)
        orders.add(tuple(order))
    assert len(orders) > 20  # of 24
    # Every place is as likely: a face may get its own conditions.
    same = stream(300, permute=True)
    own = (same["have"] == same["want"]).all(axis=-1).mean()
    assert abs(own - 1 / 4) < 0.04


SAMPLINGS = {
    "permute": {"permute": True, "wrong": True},
    "domains": {"domains": (Domain("sad"), Domain("Smiling", shown=False))},
    "wrong": {"wrong": True},
}


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
def test_streams_resume_exactly_for_any_number_of_processes(sampling):
    whole = stream(6, **sampling)
    assert_same({name: leaf[2:] for name, leaf in whole.items()}, stream(4, start=2, **sampling))
    for processes in (2, 4):
        parts = [stream(6, process=i, processes=processes, **sampling) for i in range(processes)]
        joined = {name: np.concatenate([part[name] for part in parts], axis=2) for name in whole}
        assert_same(joined, whole)


@pytest.mark.slow
@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
def test_streams_do_not_depend_on_workers(sampling):
    flags.FLAGS.mark_as_parsed()
    assert_same(stream(3, **sampling), stream(3, workers=2, **sampling))


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
def test_resident_faces_give_the_same_batches(sampling):
    mesh = sharding.make_mesh(devices=jax.devices()[:2])
    sent = stream(2, **sampling)
    located = stream(2, resident=True, **sampling)
    got = resident.look_up(resident.load(mesh, Faces(), 8), ResidentBatch(**located))
    for name in sent:
        np.testing.assert_array_equal(getattr(got, name), sent[name], err_msg=name)


# Two domains


def test_images_of_one_domain_and_others_of_the_second():
    batches = stream(60, domains=(Domain("sad"), Domain("Smiling", shown=False)))
    face, other = numbers(batches["image"]), numbers(batches["other"])
    assert set(face) == set(range(2, COUNT, 3))
    assert set(other) == set(range(16))
    np.testing.assert_array_equal(batches["have"].reshape(-1, 5), TABLE[face])
    np.testing.assert_array_equal(batches["want"].reshape(-1, 5), TABLE[other])
    assert sorted(face[:8]) == sorted(face[8:16]) == list(range(2, COUNT, 3))  # shuffled, all once
    assert (face[:8] != face[8:16]).any()
    pairs = set(zip(face.tolist(), other.tolist(), strict=True))
    assert len(pairs) > 100  # of 128: unpaired


def test_the_epoch_of_two_domains_is_that_of_the_larger():
    facts = DataFacts(COUNT, 0.1, shown(Faces()))
    assert facts.shown == {"AU12": 19, "Smiling": 8, "angry": 8, "happy": 8, "sad": 8}
    assert facts.epoch(Sampling()) == COUNT
    assert facts.epoch(Sampling(domains=(Domain("sad"), Domain("Smiling", shown=False)))) == 16
    assert facts.epoch(Sampling(domains=(Domain("sad"), Domain("AU12")))) == 19
    with pytest.raises(ValueError, match="'glad' is not in the dataset, which has AU12 Smiling"):
        facts.epoch(Sampling(domains=(Domain("glad"), Domain("sad"))))
    everyone = DataFacts(COUNT, 0.1, {"sad": 8, "all": COUNT})
    with pytest.raises(ValueError, match="no face of the dataset lacks all"):
        everyone.epoch(Sampling(domains=(Domain("sad"), Domain("all", shown=False))))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"domains": (Domain("glad"), Domain("sad"))}, "'glad' is not in .*did you mean sad"),
        ({"domains": (Domain("sad"), Domain("calm", shown=False))}, "'calm' is not in"),
        ({"permute": True, "paired": 0.5}, "paired and permute at once: choose one"),
    ],
)
def test_impossible_samplings_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        stream(1, **fields)


def test_an_empty_domain_is_refused():
    class Calm(Faces):
        def label_table(self):
            return np.zeros((COUNT, 4), np.float32)

    with pytest.raises(ValueError, match=r"no face of Faces\(\) shows sad"):
        stream(1, Calm(), domains=(Domain("sad"), Domain("angry", shown=False)))
    with pytest.raises(ValueError, match="same conditions"):
        stream(1, Calm(), conditions=("sad", "Smiling"), wrong=True)


def test_wrong_conditions_differ_from_those_shown():
    batches = stream(60, conditions=NAMES[1:], wrong=True)
    have, wrong = (batches[name].reshape(-1, 4) for name in ("have", "wrong"))
    assert (have != wrong).any(axis=1).all()
    rows = {tuple(row) for row in TABLE[:, 1:]}
    assert {tuple(row) for row in wrong} == rows  # those of faces, and of all kinds
    # The rest of the stream is the same with and without them.
    plain = stream(60, conditions=NAMES[1:])
    assert_same(plain, {name: batches[name] for name in plain})


def test_evaluation_draws_labels_of_other_faces():
    batches = evaluation_batches(
        Faces(), image_size=8, conditions=NAMES, batch_size=5, examples=9, seed=0
    )
    images, have, want = (
        np.concatenate(one)
        for one in zip(*[(b["image"], b["have"], b["want"]) for b in batches], strict=True)
    )
    np.testing.assert_array_equal(numbers(images), range(9))
    np.testing.assert_array_equal(have, TABLE[:9])
    assert {tuple(row) for row in want} <= {tuple(row) for row in TABLE}


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
