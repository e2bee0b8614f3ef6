"""What training examples are drawn: targets, domains, wrong labels, resumed and shared streams."""

import jax
import numpy as np
import pytest
from absl import flags
from labelled_faces import COUNT, MIXED, NAMES, TABLE, Faces, assert_same, stream

from ganimation_jax.conditions import Domain, Sampling
from ganimation_jax.data.pipeline import (
    evaluation_batches,
    shown,
)
from ganimation_jax.parallel import sharding
from ganimation_jax.training import resident
from ganimation_jax.types import DataFacts, ResidentBatch


class Labelled(Faces):
    """The same without action units."""

    conditions = MIXED[1:]

    def aus_table(self):
        return np.zeros((COUNT, 0), np.float32)


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
