import jax
import numpy as np
import optax
import pytest
from helpers import assert_trees_close
from ml_collections import ConfigDict

from configs import emotionet
from ganimation_jax.methods import ganimation
from ganimation_jax.steps.optimizers import adam, clipped, decay_factor, warmup_factor
from ganimation_jax.training.preflight import check

PARAMS = {"kernel": np.ones((3, 2), np.float32), "bias": np.zeros(2, np.float32)}
GRADS = {"kernel": np.full((3, 2), 2.0, np.float32), "bias": np.float32([3, 1])}  # norm sqrt(34)


def config(**changes):
    cfg = emotionet.get_config()
    # Steps of one epoch, and an Adam that forgets: its update is the rate, against the sign.
    cfg.update(batch_size=1, n_critic=2, epochs=10.0, decay_epochs=4.0, lr=1.0, adam=(0.0, 0.0))
    cfg.update(changes)
    return cfg


def build(cfg, network, epoch=1):
    return ganimation.build_optimizers(cfg, epoch)[network].transform


def rates(optimizer, steps, per_step=1):
    """The rate of each step."""
    update = jax.jit(optimizer.update)
    state, found = optimizer.init(np.zeros(())), []
    for _ in range(steps * per_step):
        change, state = update(np.ones(()), state)
        found.append(-float(change))
    return found[::per_step]


def test_cosine_is_half_a_wave_over_the_last_epochs():
    got = [float(decay_factor(e, 10, 4, "cosine")) for e in (0, 6, 7, 8, 9, 10, 11)]
    half = np.sqrt(0.5) / 2
    np.testing.assert_allclose(got, [1, 1, 0.5 + half, 0.5, 0.5 - half, 0, 0], atol=1e-6)
    optimizer = build(config(decay="cosine"), "generator", epoch=2)
    expected = [1] * 7 + [0.5 + half, 0.5, 0.5 - half]
    np.testing.assert_allclose(rates(optimizer, 10), expected, rtol=1e-4)


def test_warm_up_counts_images_and_multiplies_the_decay():
    np.testing.assert_allclose(
        [float(warmup_factor(n, 8)) for n in (2, 4, 8, 9)], [0.25, 0.5, 1, 1]
    )
    cfg = config(warmup_images=8, decay_epochs=10.0, loss={"separate_penalty": True})
    generator, critic = (build(cfg, name, epoch=2) for name in ("generator", "critic"))
    decay = np.linspace(1, 0.1, 10)
    expected = decay * np.minimum(np.arange(1, 11) / 4, 1)
    np.testing.assert_allclose(rates(generator, 10), expected, rtol=1e-4)
    # Four updates of the critic are one step.
    np.testing.assert_allclose(rates(critic, 10, per_step=4), expected, rtol=1e-4)


def test_the_critic_may_have_a_rate_of_its_own():
    cfg = config(lr_critic=0.25)
    assert rates(build(cfg, "generator", epoch=2), 1) == pytest.approx([1.0], rel=1e-5)
    assert rates(build(cfg, "critic", epoch=2), 1) == pytest.approx([0.25], rel=1e-5)
    assert rates(build(config(), "critic", epoch=2), 1) == pytest.approx([1.0], rel=1e-5)


@pytest.mark.parametrize(("limit", "factor"), [(1.0, 1 / np.sqrt(34)), (6.0, 1.0)])
def test_clipping_is_by_the_norm_over_all_parameters(limit, factor):
    optimizer = clipped(optax.sgd(1.0), limit)
    got, _ = optimizer.update(GRADS, optimizer.init(PARAMS), PARAMS)
    want = jax.tree.map(lambda x: -x * np.float32(factor), GRADS)
    assert_trees_close(got, want, rtol=1e-6)


def test_clipping_is_before_adam():
    rate = {"adam": (0.5, 0.999), "lr": 1e-3}
    one = build(config(clip_norm=1.0, **rate), "critic", epoch=100)
    other = build(config(**rate), "critic", epoch=100)
    shorter = jax.tree.map(lambda x: x / np.float32(np.sqrt(34)), GRADS)
    got, got_state = one.update(GRADS, one.init(PARAMS), PARAMS)
    want, want_state = other.update(shorter, other.init(PARAMS), PARAMS)
    assert_trees_close((got, got_state), (want, want_state), rtol=1e-5)


def test_the_state_is_the_same_whatever_the_config():
    """Checkpoints of a run fit whatever is turned on or off."""
    plain = jax.eval_shape(build(emotionet.get_config(), "critic").init, PARAMS)
    everything = config(clip_norm=1.0, warmup_images=100, lr_critic=0.1, decay="cosine")
    imported = ConfigDict({"adam": (0.5, 0.999)})
    for cfg in (everything, imported):
        state = jax.eval_shape(build(cfg, "critic").init, PARAMS)
        assert jax.tree.structure(state) == jax.tree.structure(plain)


def test_all_off_is_adam_and_the_published_decay():
    cfg = emotionet.get_config()
    cfg.update(epochs=2.0, decay_epochs=1.0)
    ours = build(cfg, "generator", epoch=500)
    plain = optax.adam(lambda count: cfg.lr * decay_factor(count * 125 / 500, 2.0, 1.0), 0.5, 0.999)
    mine, other = ours.init(PARAMS), plain.init(PARAMS)
    for _ in range(8):
        got, mine = ours.update(GRADS, mine)
        want, other = plain.update(GRADS, other)
        assert_trees_close(got, want, rtol=0, atol=0)


def begin(cfg):
    """As a run does before anything is compiled."""
    check(cfg, devices=1)
    build(cfg, "critic")


@pytest.mark.parametrize("name", ["lr_critic", "warmup_images", "clip_norm"])
def test_what_is_negative_is_refused(name):
    cfg = emotionet.get_config()
    cfg[name] = type(cfg[name])(-1)
    with pytest.raises(ValueError, match=f"{name} is -1.*not be negative"):
        begin(cfg)


@pytest.mark.parametrize("held", [False, True])
def test_adam_is_optax_adam_and_leaves_out_what_is_not_valid(held):
    def rate(count):
        return 0.1 / (1 + count)

    ours, plain = adam(rate, 0.5, 0.999, held=held), optax.adam(rate, 0.5, 0.999)
    state = ours.init(PARAMS)
    assert_trees_close(state, plain.init(PARAMS), rtol=0)
    rng = np.random.default_rng(0)
    other, step = state, jax.jit(ours.update)
    for valid in (False, True, True, False, True):  # the first before there are moments
        grads = jax.tree.map(lambda x: rng.normal(size=np.shape(x)).astype(np.float32), GRADS)
        broken = jax.tree.map(lambda x: x * np.float32(np.nan), grads)
        got, moved = step(grads if valid else broken, state, PARAMS, valid=valid)
        if valid:
            want, other = plain.update(grads, other)
            assert_trees_close(got, want, rtol=1e-6)
        else:
            assert all((np.asarray(x) == 0).all() for x in jax.tree.leaves(got))
        assert_trees_close(moved, other, rtol=1e-6)
        state = moved
