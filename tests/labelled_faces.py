"""A dataset of faces with action units and labels, and streams of its examples."""

import itertools

import numpy as np

from ganimation_jax.conditions import Condition, Sampling
from ganimation_jax.data.pipeline import (
    training_batches,
)

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
