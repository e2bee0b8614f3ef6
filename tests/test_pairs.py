"""Pairs: which faces are drawn together, and that the stream is as exact as without them."""

import hashlib
from collections import Counter

import jax
import labelled_faces
import numpy as np
import pytest
from absl import flags
from labelled_faces import assert_same

from configs import synthetic
from ganimation_jax.conditions import Condition
from ganimation_jax.data.dataset import FaceDataset, pack
from ganimation_jax.data.pairs import ALONE, Pairs, has_pairs
from ganimation_jax.data.pipeline import (
    evaluation_batches,
    held_out_batches,
)
from ganimation_jax.parallel import sharding
from ganimation_jax.synthetic.drawn_face import render
from ganimation_jax.synthetic.faces import SyntheticFaces
from ganimation_jax.training import resident
from ganimation_jax.types import ResidentBatch

UNITS = ("AU01", "AU04", "AU12")
GROUPS = np.array([0, 0, 1, ALONE, 1, 1, 2, ALONE, 0, 3], np.int32)  # 2 and 3: one face each


class Faces:
    """Ten faces of one colour each, which tells which face it is; see GROUPS."""

    conditions = tuple(Condition(unit) for unit in UNITS)

    def __init__(self, groups=GROUPS):
        self.groups = groups

    def __len__(self):
        return 10

    def __getitem__(self, index):
        image = np.full((8, 8, 3), index, np.uint8)
        image[:, 0] = 200  # marks the left edge
        return {"image": image, "aus": self.aus_table()[index]}

    def aus_table(self):
        index = np.arange(10, dtype=np.float32)
        return np.stack([index / 2, 5 - index / 2, np.full(10, 2.5)], axis=1, dtype=np.float32)

    def label_table(self):
        return np.zeros((10, 0), np.float32)

    def pair_groups(self):
        return self.groups


def stream(count, source=None, **options):
    options = {"conditions": UNITS, "noise": 0.1} | options
    return labelled_faces.stream(count, source or Faces(), **options)


def number_of(images):
    return images[..., 4, 4, 0].reshape(-1)


def test_without_pairs_the_stream_is_the_published_one_bit_for_bit():
    """The digest was taken before there were pairs (commit db7e7bd, grain 0.2.18)."""
    from test_pipeline import Faces as Plain

    digest = hashlib.sha256()
    batches = stream(6, Plain(), seed=3, paired=0.0)
    assert sorted(batches) == ["have", "image", "want"]
    for name in sorted(batches):
        digest.update(name.encode() + np.ascontiguousarray(batches[name]).tobytes())
    assert digest.hexdigest()[:16] == "cd09cf4ab588461b"


def test_a_pair_is_two_faces_of_one_group_and_the_target_what_the_other_shows():
    batches = stream(50, paired=1.0, noise=0.1)
    paired = batches["paired"].reshape(-1)
    face, other = number_of(batches["image"]), number_of(batches["other"])
    have, want = (batches[name].reshape(-1, 3) for name in ("have", "want"))
    table = Faces().aus_table() / 5
    np.testing.assert_array_equal(paired, np.isin(face, [0, 1, 8, 2, 4, 5]))
    assert (GROUPS[face[paired]] == GROUPS[other[paired]]).all()
    assert (face[paired] != other[paired]).all()
    np.testing.assert_array_equal(have, table[face])
    np.testing.assert_array_equal(want[paired], table[other[paired]])
    # Faces without a partner get a random face, and its units with noise.
    off = np.abs(want - table[other])[~paired]
    assert 0.05 < off.max() <= 0.1
    assert len(np.unique(other[~paired])) > 5


@pytest.mark.parametrize("share", [0.25, 0.75])
def test_the_share_of_pairs(share):
    batches = stream(400, Faces(np.zeros(10, np.int32)), paired=share)
    assert abs(batches["paired"].mean() - share) < 0.03  # 3,200 examples: 3.4 deviations


def test_partners_that_differ_more_are_drawn_more_often():
    groups, table = np.zeros(3, np.int32), np.array([[0.0], [1.0], [3.0]], np.float32)
    pairs, rng = Pairs(groups, table), np.random.default_rng(0)
    counts = Counter(pairs.partner(0, rng) for _ in range(4000))
    assert set(counts) == {1, 2}
    assert abs(counts[2] / 4000 - 3 / 4) < 0.03
    same = Pairs(groups, np.zeros((3, 1), np.float32))
    assert {same.partner(0, rng) for _ in range(50)} == {1, 2}


def test_both_images_of_a_pair_are_mirrored_or_neither():
    batches = stream(50, paired=1.0)
    left = [(batches[name][..., 0, 0, 0] == 200).reshape(-1) for name in ("image", "other")]
    np.testing.assert_array_equal(*left)
    assert 0.35 < left[0].mean() < 0.65


def test_pairs_resume_exactly():
    whole, rest = stream(6, paired=0.5), stream(4, paired=0.5, start=2)
    assert_same({name: leaf[2:] for name, leaf in whole.items()}, rest)


def test_pairs_do_not_depend_on_workers():
    flags.FLAGS.mark_as_parsed()
    assert_same(stream(3, paired=0.5), stream(3, paired=0.5, workers=2))


@pytest.mark.parametrize("processes", [2, 4])
def test_parts_of_the_processes_join_to_the_batch_of_one(processes):
    whole = stream(5, paired=0.5)
    parts = [stream(5, paired=0.5, process=i, processes=processes) for i in range(processes)]
    assert_same(
        {name: np.concatenate([part[name] for part in parts], axis=2) for name in whole}, whole
    )


def test_resident_faces_give_the_same_pairs():
    mesh = sharding.make_mesh(devices=jax.devices()[:2])
    on_devices = resident.load(mesh, Faces(), 8)
    sent = stream(3, paired=0.5)
    located = stream(3, paired=0.5, resident=True)
    got = resident.look_up(on_devices, ResidentBatch(**located))
    for name in sent:
        np.testing.assert_array_equal(getattr(got, name), sent[name], err_msg=name)


@pytest.mark.parametrize("groups", [None, np.arange(10, dtype=np.int32)])
def test_a_source_without_pairs_is_refused(groups):
    with pytest.raises(ValueError, match=r"has no pairs: .*prepare people.*data.paired=0"):
        stream(1, Faces(groups), paired=0.5)


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_share_is_from_0_to_1(share):
    with pytest.raises(ValueError, match="from 0 to 1"):
        stream(1, paired=share)


def test_evaluation_shows_the_true_edit():
    def run():
        options = {"image_size": 8, "conditions": UNITS, "batch_size": 4, "seed": 0}
        return list(evaluation_batches(Faces(), examples=6, paired=True, **options))

    for first, again in zip(run(), run(), strict=True):
        assert_same(first, again)
        face, other = number_of(first["image"]), number_of(first["other"])
        np.testing.assert_array_equal(first["want"], (Faces().aus_table() / 5)[other])
        pairs = first["paired"]
        assert (GROUPS[face[pairs]] == GROUPS[other[pairs]]).all()
        assert pairs.any()


def test_held_out_faces_have_true_edits_where_the_data_have_pairs():
    cfg = synthetic.get_config("smoke")
    cfg.update(image_size=8, evaluate={"batch_size": 4, "examples": 6})
    (batch, *_) = held_out_batches(cfg, Faces(), UNITS)
    assert batch["paired"].any()

    class Strangers(Faces):
        def pair_groups(self):
            return np.arange(len(self), dtype=np.int32)

    (batch, *_) = held_out_batches(cfg, Strangers(), UNITS)
    assert "other" not in batch
    assert not has_pairs(None)
    assert not has_pairs(np.array([ALONE, ALONE, 3]))


def test_groups_survive_packing(tmp_path):
    from test_dataset import SIZE, make_faces
    from test_dataset import UNITS as PACKED

    faces = make_faces(tmp_path / "crops")
    options = {"action_units": PACKED, "image_size": SIZE, "annotator": "a test"}
    assert pack(tmp_path, faces, **options)
    assert FaceDataset(tmp_path, "train").pair_groups() is None
    assert pack(tmp_path, faces, group_of=lambda face: face.person, **options)
    assert not pack(tmp_path, faces, group_of=lambda face: face.person, **options)
    assert pack(tmp_path, faces, group_of=lambda face: face.source, **options)
    assert pack(tmp_path, faces, group_of=lambda face: face.person, **options)
    dataset = FaceDataset(tmp_path, "train")
    groups = dataset.pair_groups()
    assert groups.dtype == np.int32
    by_group = {(record["person"], group) for record, group in zip(dataset, groups, strict=True)}
    assert by_group == {("", ALONE), ("Zoë", 0)}


def test_drawn_faces_of_one_person_are_pairs():
    plain, faces = SyntheticFaces(6, 32, seed=5), SyntheticFaces(6, 32, seed=5, expressions=3)
    assert plain.pair_groups() is None
    np.testing.assert_array_equal(faces.pair_groups(), [0, 0, 0, 1, 1, 1])
    assert faces.identity(0) == faces.identity(2) != faces.identity(3)
    # The other picture is the true edit: the same person drawn with its action units.
    truth = render(faces.identity(0), faces[2]["aus"] / np.float32(5), 32)
    np.testing.assert_array_equal(faces[2]["image"], truth)
    assert (faces[0]["image"] != faces[2]["image"]).any()
    with pytest.raises(ValueError, match="expressions is 0"):
        SyntheticFaces(6, 32, expressions=0)
