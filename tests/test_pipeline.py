import itertools

import numpy as np
import pytest

from ganimation_jax.conditions import Condition, Sampling
from ganimation_jax.data.pipeline import build_source, evaluation_batches, training_batches

UNITS = ("AU01", "AU04", "AU12")


class Faces:
    """Twenty faces of one colour each; AUs and colour tell which face it is."""

    conditions = tuple(Condition(unit) for unit in UNITS)

    def __len__(self):
        return 20

    def __getitem__(self, index):
        image = np.full((8, 8, 3), index, np.uint8)
        image[:, 0] = 200  # marks the left edge
        return {"image": image, "aus": self.aus_table()[index]}

    def aus_table(self):
        index = np.arange(20, dtype=np.float32)
        return np.stack([index / 4, 5 - index / 4, np.full(20, 2.5)], axis=1, dtype=np.float32)

    def label_table(self):
        return np.zeros((20, 0), np.float32)


def stream(count, **options):
    options = {"image_size": 8, "conditions": UNITS, "batch_size": 4} | options
    fields = {key: options.pop(key) for key in Sampling._fields if key in options}
    sampling = Sampling(**{"batches": 2, "noise": 0.1} | fields)
    batches = training_batches(Faces(), seed=options.pop("seed", 3), sampling=sampling, **options)
    taken = list(itertools.islice(batches, count))
    batches.close()
    return {name: np.concatenate([batch[name] for batch in taken]) for name in taken[0]}


def faces_of(batches):
    return batches["image"][..., 4, 4, 0].reshape(-1)


def assert_same(a, b):
    for name in ("image", "have", "want"):
        np.testing.assert_array_equal(a[name], b[name])


def test_shapes_and_ranges():
    batches = stream(3)
    assert batches["image"].shape == (3, 2, 4, 8, 8, 3)
    assert batches["image"].dtype == np.uint8
    assert batches["have"].shape == batches["want"].shape == (3, 2, 4, 3)
    assert batches["have"].dtype == batches["want"].dtype == np.float32


def test_every_face_once_an_epoch_in_another_order():
    order = faces_of(stream(5)).reshape(2, 20)  # 5 * 2 * 4 = two epochs
    for epoch in order:
        assert sorted(epoch) == list(range(20))
    assert (order[0] != order[1]).any()


def test_action_units_belong_to_their_image_on_the_scale_of_the_model():
    batches = stream(5)
    np.testing.assert_allclose(batches["have"][..., 0].reshape(-1), faces_of(batches) / 20)


def test_deterministic_from_the_seed():
    assert_same(stream(4), stream(4))
    assert (faces_of(stream(4)) != faces_of(stream(4, seed=4))).any()


def test_start_continues_the_stream():
    whole, rest = stream(6), stream(4, start=2)
    assert_same({name: leaf[2:] for name, leaf in whole.items()}, rest)


def test_workers_do_not_change_the_stream():
    assert_same(stream(4), stream(4, workers=2))


@pytest.mark.parametrize("processes", [2, 4])
def test_parts_of_the_processes_join_to_the_batch_of_one(processes):
    whole = stream(5)
    parts = [stream(5, process=i, processes=processes) for i in range(processes)]
    joined = {name: np.concatenate([part[name] for part in parts], axis=2) for name in whole}
    assert_same(joined, whole)


def test_targets_are_those_of_other_faces_with_noise():
    exact = stream(20, noise=0.0)["want"].reshape(-1, 3)
    table = Faces().aus_table() / 5
    assert all((np.abs(table - row).max(axis=1) < 1e-6).any() for row in exact)
    assert len(np.unique(exact[:, 0])) > 15  # many faces serve
    noisy = stream(200, noise=0.1)["want"].reshape(-1, 3)
    noise = noisy[:, 2] - 0.5  # a unit that is 2.5 of 5 in all faces
    assert -0.1 <= noise.min() < -0.09
    assert 0.09 < noise.max() <= 0.1
    assert abs(noise.mean()) < 0.01
    assert noisy.min() == 0  # clipped
    unclipped = stream(200, noise=0.1, clip=False)["want"]
    assert unclipped.min() < -0.05


def test_half_of_the_images_are_mirrored():
    images = stream(50)["image"]
    mirrored = (images[..., 0, -1, 0] == 200).mean()
    assert 0.4 < mirrored < 0.6
    assert (stream(5, flip=False)["image"][..., 0, 0, 0] == 200).all()


def test_a_subset_of_the_action_units_in_its_own_order():
    batches = stream(3, conditions=("AU12", "AU01"))
    np.testing.assert_allclose(batches["have"][..., 0], 0.5)
    np.testing.assert_allclose(batches["have"][..., 1].reshape(-1), faces_of(batches) / 20)


def test_unknown_action_units_are_refused():
    with pytest.raises(ValueError, match="AU06"):
        stream(1, conditions=("AU01", "AU06"))


def test_images_are_resized():
    assert stream(1, image_size=4)["image"].shape[-3:] == (4, 4, 3)


def test_evaluation_sees_the_first_faces_once_and_the_same_targets_again():
    def run():
        options = {"image_size": 8, "conditions": UNITS, "batch_size": 4, "seed": 0}
        return list(evaluation_batches(Faces(), examples=10, **options))

    first, again = run(), run()
    assert [len(batch["image"]) for batch in first] == [4, 4, 2]
    shown = np.concatenate([batch["image"][:, 4, 4, 0] for batch in first])
    np.testing.assert_array_equal(shown, np.arange(10))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a["want"], b["want"])


def test_synthetic_test_faces_are_not_training_faces():
    from configs import synthetic

    cfg = synthetic.get_config("smoke")
    train, test = build_source(cfg, "train"), build_source(cfg, "test")
    assert len(train) == 256
    assert not {row.tobytes() for row in train.aus_table()} & {
        row.tobytes() for row in test.aus_table()
    }
