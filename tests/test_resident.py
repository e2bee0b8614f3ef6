"""Faces that stay on the devices give the batches that the loader would have sent."""

import itertools

import jax
import numpy as np
import pytest

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.conditions import Sampling
from ganimation_jax.data.pipeline import training_batches
from ganimation_jax.parallel import sharding
from ganimation_jax.synthetic.faces import SyntheticFaces
from ganimation_jax.training import resident
from ganimation_jax.types import ResidentBatch, to_float

FACES = SyntheticFaces(21, 16)  # not a multiple of the eight devices
OPTIONS = {"image_size": 16, "batch_size": 8, "seed": 3, "steps": 2}


def stream(**options):
    batches = training_batches(
        FACES, conditions=ACTION_UNITS, sampling=Sampling(batches=2, noise=0.1), **OPTIONS | options
    )
    yield from itertools.islice(batches, 3)
    batches.close()


@pytest.mark.parametrize("devices", [1, 8])
def test_looked_up_batches_are_the_loaders_bit_for_bit(devices):
    mesh = sharding.make_mesh(devices=jax.devices()[:devices])
    on_devices = resident.load(mesh, FACES, 16)
    assert on_devices.shape == (21 if devices == 1 else 24, 16, 16, 3)
    assert on_devices.addressable_shards[0].data.shape[0] == on_devices.shape[0] // devices
    look_up = jax.jit(resident.look_up)
    flips = 0
    for sent, located in zip(stream(), stream(resident=True), strict=True):
        placed = ResidentBatch(**sharding.place_batch(mesh, located, leading=2))
        got = look_up(on_devices, placed)
        flips += int(located["flip"].sum())
        for name in ("image", "have", "want"):
            np.testing.assert_array_equal(getattr(got, name), sent[name])
    assert 0 < flips < 96  # of 3 x 2 x 2 x 8 faces: both kinds were compared


def test_devices_exchange_the_batch_and_not_the_set():
    mesh = sharding.make_mesh()
    faces = jax.ShapeDtypeStruct(
        (80_000, 16, 16, 3), np.uint8, sharding=sharding.batch_sharding(mesh, 0)
    )
    located = next(stream(resident=True))
    placed = ResidentBatch(**sharding.place_batch(mesh, located, leading=2))
    out = sharding.batch_sharding(mesh, 2)
    look_up = jax.jit(
        lambda faces, batch: to_float(resident.look_up(faces, batch).image), out_shardings=out
    )
    compiled = look_up.lower(faces, placed).compile()
    assert "u8[80000" not in compiled.as_text()  # what a gathered set would be
    per_device = 80_000 * 16 * 16 * 3 // 8
    assert compiled.memory_analysis().temp_size_in_bytes < per_device // 100
