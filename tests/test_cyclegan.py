"""CycleGAN: directions, domains, the pool, and its training as users run it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_runs import assert_same_arrays

from configs import cyclegan as config
from ganimation_jax.methods import cyclegan
from ganimation_jax.models import cpu_convolutions, layers
from ganimation_jax.steps import pool
from ganimation_jax.training.loop import train
from ganimation_jax.types import Condition, Domain

NEUTRAL, HAPPY = (Condition(name, "one_of", "emotion") for name in ("neutral", "happy"))
SMILING = Condition("Smiling", "binary")


def test_the_two_kinds_of_face():
    assert cyclegan.domains_of((NEUTRAL, HAPPY)) == (Domain("neutral"), Domain("happy"))
    assert cyclegan.domains_of((SMILING,)) == (Domain("Smiling", False), Domain("Smiling"))
    with pytest.raises(ValueError, match="a face may show Smiling and happy together"):
        cyclegan.domains_of((SMILING, HAPPY))
    with pytest.raises(ValueError, match="3 are named .* one model for each pair"):
        cyclegan.domains_of((NEUTRAL, HAPPY, SMILING))


@pytest.mark.parametrize(
    ("want", "way"),
    [([0, 1], 1), ([1, 0], -1), ([0, 0], 0), ([0.2, 0.3], 1), ([1], 1), ([0], -1), ([0.5], 0)],
)
def test_the_direction_of_an_edit(want, way):
    assert cyclegan.direction(jnp.array([want], jnp.float32)) == way


def test_an_edit_is_what_one_of_the_generators_makes():
    cfg = config.get_config("smoke")
    cfg.update(conditions="", image_size=16)
    with cfg.ignore_type():
        cfg.conditions = ("emotion=neutral", "emotion=happy")
    cyclegan.check(cfg)
    with layers.stated_by(cpu_convolutions.direct, cpu_convolutions.transposed):
        model = cyclegan.model(cfg)
        image = np.random.default_rng(0).uniform(-1, 1, (3, 16, 16, 3)).astype(np.float32)
        want = jnp.array([[0.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
        generator, _ = cyclegan.networks(cfg)
        shown = functools.partial(cyclegan.translate, generator)
        params = [jax.jit(generator.init)(jax.random.key(i), image)["params"] for i in range(2)]
        nets = dict(zip(cyclegan.GENERATORS, params, strict=True))
        edited = jax.jit(model.edit)(nets, image, want, want).image
        np.testing.assert_allclose(edited[0], shown(params[0], image)[0], atol=1e-6)
        np.testing.assert_allclose(edited[1], shown(params[1], image)[1], atol=1e-6)
        np.testing.assert_array_equal(edited[2], image[2])


def replayed(size, images, coins, places):
    """The published code's pool, in plain Python."""
    held, returned = [], []
    for image, coin, place in zip(images, coins, places, strict=True):
        if len(held) < size:
            held.append(image)
            returned.append(image)
        elif coin > 0.5:
            returned.append(held[place])
            held[place] = image
        else:
            returned.append(image)
    return held, returned


def test_the_pool_against_plain_python():
    rng = np.random.default_rng(0)
    images, coins = rng.random((60, 1, 1, 3)).astype(np.float32), rng.random(60)
    places = rng.integers(0, 7, 60)
    stored, found = pool.empty(7, (1, 1, 3)), []
    exchange = jax.jit(pool.exchange)
    for i in range(0, 60, 4):
        part = slice(i, i + 4)
        stored, returned = exchange(stored, images[part], coins[part], places[part])
        found.append(returned)
    held, want = replayed(7, images, coins, places)
    np.testing.assert_array_equal(np.concatenate(found), want)
    np.testing.assert_array_equal(stored.images, held)
    assert stored.filled == 7
    coins, places = pool.draw(jax.random.key(0), 7, 10_000)
    assert abs((coins > 0.5).mean() - 0.5) < 0.02
    assert set(np.asarray(places)) == set(range(7))


def tiny():
    cfg = config.get_config("smoke")
    cfg.image_size = 16
    cfg.epochs = 2.0  # 64 images: 8 steps
    cfg.decay_epochs = 1.0
    cfg.pool_size = 12  # full after two steps
    cfg.generator.update(width=4, residual_blocks=1)
    cfg.critic.update(width=4, depth=2)
    cfg.every.update(log=16, checkpoint=16, sample=10_000, evaluate=10_000)
    cfg.keep.latest = 20
    cfg.evaluate.update(examples=8, controlled_faces=2)
    cfg.wandb.mode = "disabled"
    return cfg


@pytest.mark.slow
def test_training_resumes_bit_for_bit_with_its_pools_over_eight_devices(tmp_path, monkeypatch):
    whole, broken, saves = tmp_path / "whole", tmp_path / "broken", []
    assert len(jax.devices()) == 8
    assert train(tiny(), whole)

    def stop_late(self):
        saves.append(0)
        return len(saves) == 5  # the pools are full

    with monkeypatch.context() as patch:
        patch.setattr("ganimation_jax.parallel.processes.Preemption.asked", stop_late)
        assert not train(tiny(), broken)
    assert train(tiny(), broken)
    assert_same_arrays(whole, broken, 8)


def test_what_cannot_be_trained_is_refused():
    cfg = config.get_config("smoke")
    with cfg.ignore_type():
        cfg.conditions = ("emotion=neutral", "emotion=happy")
    for field, value, message in [
        ("n_critic", 2, "n_critic is 2"),
        ("pool_size", -1, "pool_size is -1"),
        ("image_size", 18, "image_size 18 does not halve"),
        ("loss.realism", "hinge", "'hinge' is not one of squares, log"),
        ("augment.policy", "color", "does not augment"),
        ("critic.width", 0, "critic.width is 0"),
    ]:
        changed = cfg.copy_and_resolve_references()
        changed.update_from_flattened_dict({field: value})
        with pytest.raises(ValueError, match=message):
            cyclegan.check(changed)
