"""Random changes of the training examples."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import BATCH, N_CRITIC, SIZE, assert_trees_close
from PIL import Image

from ganimation_jax.parallel import sharding
from ganimation_jax.steps.augment import diff_augment
from ganimation_jax.training import variation
from ganimation_jax.training.variation import (
    Variation,
    few_units,
    light,
    make_varied_step,
    place,
    tint,
)

KEY = jax.random.key(3)
STATE = type("State", (), {"step": jnp.int32(5)})()


def test_tint_keeps_black_white_and_brightness_of_grey():
    grey = np.random.default_rng(0).uniform(-1, 1, (16, 16, 1)).astype(np.float32).repeat(3, -1)
    grey[0, 0], grey[0, 1] = -1, 1
    drawn = np.asarray(tint(KEY, grey, 0.3))
    np.testing.assert_allclose(drawn[0, 0], -1)
    np.testing.assert_allclose(drawn[0, 1], 1)
    assert np.abs(drawn).max() <= 1
    light, was = (drawn + 1) / 2, (grey + 1) / 2
    np.testing.assert_allclose(light.prod(axis=-1), was.prod(axis=-1), rtol=1e-4, atol=1e-6)
    assert np.ptp(light, axis=-1).max() > 0.1  # it has a colour now
    # Smooth: powers, seen in an image of one grey, are linear over it.
    even = np.asarray(tint(KEY, np.zeros((16, 16, 3), np.float32), 0.3))
    power = np.log((even + 1) / 2) / np.log(0.5)
    np.testing.assert_allclose(np.diff(power, 2, axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(np.diff(power, 2, axis=1), 0, atol=1e-4)
    np.testing.assert_allclose(power.sum(axis=-1), 3, rtol=1e-5)


def test_strongest_tint_has_no_negative_power():
    even = jax.vmap(lambda key: tint(key, jnp.zeros((8, 8, 3)), variation.MAX_TINT))(
        jax.random.split(KEY, 2000)
    )
    power = np.log((np.asarray(even) + 1) / 2) / np.log(0.5)
    assert power.min() > 0


@pytest.mark.parametrize("change", [tint, light, place])
def test_nothing_is_changed_at_no_strength(change):
    image = np.random.default_rng(0).uniform(-1, 1, (16, 16, 3)).astype(np.float32)
    np.testing.assert_allclose(change(KEY, image, 0.0), image, atol=1e-6)


def test_light_is_one_line_for_each_channel():
    ramp = np.linspace(-0.5, 0.5, 16, dtype=np.float32)[:, None, None] * np.ones((1, 4, 3), "f")
    lit = np.asarray(light(KEY, ramp, 1.0))
    slopes = np.diff(lit, axis=0) / np.diff(ramp, axis=0)
    np.testing.assert_allclose(slopes, slopes[:1, :1] * np.ones_like(slopes), rtol=1e-3)
    assert len(np.unique(slopes[0, 0].round(4))) == 3  # the light has a colour
    assert np.abs(np.asarray(light(KEY, 4 * ramp - 1, 1.0))).max() <= 1


def test_place_is_the_rotation_that_pillow_makes(monkeypatch):
    monkeypatch.setattr(variation, "SCALE", 0.0)
    monkeypatch.setattr(variation, "SHIFT", 0.0)
    rough = np.random.default_rng(0).uniform(0, 1, (6, 6)).astype(np.float32)
    face = np.asarray(Image.fromarray(rough).resize((64, 64), Image.Resampling.BICUBIC))
    degrees = -float(np.rad2deg(variation.ANGLE * jax.random.normal(KEY, (4,))[0]))
    want = np.asarray(Image.fromarray(face).rotate(degrees, Image.Resampling.BILINEAR))
    got = np.asarray(place(KEY, jnp.asarray(face)[..., None].repeat(3, -1), 1.0))[..., 0]
    inside = (slice(8, -8), slice(8, -8))  # Pillow fills the border with black
    np.testing.assert_allclose(got[inside], want[inside], atol=2e-3)
    assert np.abs(want[inside] - face[inside]).max() > 0.01


def test_targets_of_few_units_keep_the_rest():
    have = jnp.linspace(0.05, 0.95, 17)
    keys = jax.random.split(KEY, 400)
    drawn, want = jax.vmap(lambda key: few_units(key, have, 0.25))(keys)
    assert float(drawn.mean()) == pytest.approx(0.25, abs=0.07)
    changed = np.asarray(want != have)
    counts = changed.sum(axis=1)
    assert set(counts.tolist()) == set(range(1, variation.MOST_UNITS + 1))
    assert changed.any(axis=0).all()
    values = np.asarray(want)[changed]
    assert values.min() == 0
    assert values.max() <= 0.9
    assert (values == 0).mean() == pytest.approx(variation.KEPT_AT_ZERO, abs=0.05)


def test_a_pair_gets_one_change_and_keeps_its_target(batch):
    paired = np.zeros((N_CRITIC, BATCH), bool)
    paired[:, ::2] = True
    pairs = batch._replace(other=batch.image, paired=paired)
    changes = Variation(tint=0.2, light=1.0, place=1.0, few_units=1.0)
    seen = make_varied_step(lambda state, batch, key, frozen: batch, changes)(STATE, pairs, KEY)
    np.testing.assert_array_equal(seen.image, seen.other)
    kept = (np.asarray(seen.want) == batch.want).all(axis=-1)
    np.testing.assert_array_equal(kept, paired)
    np.testing.assert_array_equal(seen.have, batch.have)


def test_without_changes_the_step_is_the_same_function():
    def step(state, batch, run_key, frozen):
        return state, {}

    assert make_varied_step(step, Variation()) is step


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tint": 0.5}, r"augment.tint 0.5 is not in \[0, 0.35\]"),
        ({"few_units": -0.1}, r"augment.few_units -0.1 is not in \[0, 1.0\]"),
    ],
)
def test_what_is_out_of_range_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Variation.of(options)


def test_a_varied_step_is_the_step_on_changed_faces(batch):
    seen = {}

    def step(state, batch, run_key, frozen):
        seen["image"], seen["key"] = batch.image, run_key
        return state, {}

    state = type("State", (), {"step": jnp.int32(5)})()
    tinted_step = make_varied_step(step, Variation(tint=0.3))
    tinted_step(state, batch, KEY)
    assert seen["image"].shape == (N_CRITIC, BATCH, SIZE, SIZE, 3)
    assert seen["key"] is KEY
    first = seen["image"]
    plain = np.float32(batch.image) / np.float32(127.5) - 1
    per_face = np.abs(first - plain).mean(axis=(2, 3, 4))
    assert per_face.min() > 1e-3
    assert len(np.unique(per_face)) == per_face.size  # another for each face
    tinted_step(state, batch, KEY)
    np.testing.assert_array_equal(first, seen["image"])  # of the step and the run's key alone
    state.step = jnp.int32(6)
    tinted_step(state, batch, KEY)
    assert np.abs(first - seen["image"]).max() > 0.01


def test_augmenting_exchanges_no_images_between_devices(batch):
    mesh = sharding.make_mesh()
    change = diff_augment(("color", "translation", "cutout"), probability=0.8)

    def step(state, batch, run_key, frozen):
        flat = batch.image.reshape(-1, SIZE, SIZE, 3)
        return jax.value_and_grad(lambda x: jnp.square(change(run_key, x)).sum())(flat)

    state = type("State", (), {"step": 0})
    one = jax.tree.map(lambda x: x[:1], batch)  # as many faces as devices
    placed = type(batch)(**sharding.place_batch(mesh, one._asdict(), leading=1))
    key = jax.device_put(KEY, sharding.replicated(mesh))
    tinted = jax.jit(
        lambda batch, key: make_varied_step(step, Variation(tint=0.2))(state, batch, key)
    )
    text = tinted.lower(placed, key).compile().as_text()
    assert "all-reduce" in text  # of the sum, so that what follows would find something
    for kind in ("all-gather", "all-to-all", "collective-permute"):
        for shape in re.findall(rf"f32\[([\d,]*)\][^=]*{kind}\(", text):
            elements = np.prod([int(n) for n in shape.split(",") if n])
            assert elements < SIZE * SIZE * 3, (kind, shape)
    want = jax.jit(lambda batch: make_varied_step(step, Variation(tint=0.2))(state, batch, KEY))(
        one
    )
    assert_trees_close(tinted(placed, key), want, rtol=1e-5, atol=1e-5)
