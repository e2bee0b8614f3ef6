"""Weight clipping, the critic's head start, and the optimisers of WGAN and IcGAN."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import emotionet
from ganimation_jax.methods import ganimation
from ganimation_jax.models import cpu_convolutions, layers
from ganimation_jax.steps import updates
from ganimation_jax.steps.clipping import Start, clamp, clip_weights
from ganimation_jax.steps.optimizers import build, early_adam, guarded, rmsprop
from ganimation_jax.steps.updates import Aux, Given, Update
from ganimation_jax.training.preflight import check
from ganimation_jax.types import Batch, Condition, DataFacts, Edit, Model, Optimizer

PAIRS = {"loss.paired": 1.0, "data.paired": 1.0}
KEY = jax.random.key(0)
GRADS = [np.float32([3.0, -1e-9, 0.0]), np.float32([-2.0, 1e-3, 0.0]), np.float32([0.5, 7.0, 0.0])]


# Optimisers


def test_rmsprop_by_hand():
    optimizer, params = rmsprop(lambda count: 0.1), np.zeros(3, np.float32)
    state, square = optimizer.init(params), np.zeros(3)
    for grads in GRADS:
        got, state = optimizer.update(grads, state, params)
        square = 0.99 * square + 0.01 * np.float64(grads) ** 2
        want = -0.1 * np.float64(grads) / (np.sqrt(square) + 1e-8)
        np.testing.assert_allclose(got, want, rtol=1e-5)


def test_early_adam_by_hand():
    """A gradient of 1e-9 is where it differs: eps weighs more than after the bias correction."""
    optimizer, params = early_adam(lambda count: 0.1, 0.5, 0.999), np.zeros(3, np.float32)
    state, first, second = optimizer.init(params), np.zeros(3), np.zeros(3)
    for t, grads in enumerate(GRADS, start=1):
        got, state = optimizer.update(grads, state, params)
        first = 0.5 * first + 0.5 * np.float64(grads)
        second = 0.999 * second + 0.001 * np.float64(grads) ** 2
        rate = 0.1 * np.sqrt(1 - 0.999**t) / (1 - 0.5**t)
        np.testing.assert_allclose(got, -rate * first / (np.sqrt(second) + 1e-8), rtol=1e-4)
    plain = optax.adam(0.1, 0.5, 0.999)
    late, _ = plain.update(GRADS[0], plain.init(params))
    early, _ = optimizer.update(GRADS[0], optimizer.init(params), params)
    assert abs(early[1]) < 0.05 * abs(late[1])
    np.testing.assert_allclose(early[0], late[0], rtol=1e-5)


@pytest.mark.parametrize("optimizer", [rmsprop(lambda _: 0.1), early_adam(lambda _: 0.1, 0.5, 0.9)])
def test_an_update_that_is_not_valid_changes_nothing(optimizer):
    params = np.zeros(3, np.float32)
    _, state = optimizer.update(GRADS[0], optimizer.init(params), params)
    broken = np.full(3, np.nan, np.float32)
    got, after = optimizer.update(broken, state, params, valid=False)
    assert (np.asarray(got) == 0).all()
    assert jax.tree.all(jax.tree.map(lambda a, b: (np.asarray(a) == b).all(), state, after))


def test_unknown_optimisers_are_refused():
    cfg = emotionet.get_config()
    cfg.optimizer = "sgd"
    with pytest.raises(ValueError, match="optimizer 'sgd' is not one of adam, rmsprop"):
        build(cfg, epoch=10, lr=1.0)


# Clipping


def test_clamp_reaches_all_but_what_is_left_out():
    nets = {"critic": {"down": {"scale": np.float32([1, -2])}, "aus": np.float32([3])}}
    got = clamp(0.5, leave=("aus",))(nets)["critic"]
    np.testing.assert_array_equal(got["down"]["scale"], [0.5, -0.5])
    np.testing.assert_array_equal(got["aus"], [3])


@pytest.mark.parametrize("when", ["after", "before"])
def test_when_weights_are_clipped(when):
    """By hand: weight 3, limit 1, loss w^2 / 2, rate 0.25; the loss is logged before the update."""
    sgd = Optimizer(("critic",), guarded(optax.sgd(0.25)))
    optimizers = {"critic": clip_weights(sgd, 1.0, when)}

    def loss(moving, given):
        weight = moving["critic"]["w"]
        return weight**2 / 2, Aux({"seen": weight})

    moving = {"critic": {"w": jnp.float32(3)}}
    opts = {"critic": optimizers["critic"].transform.init(moving)}
    given = Given({}, None, (), KEY, (), ())
    seen, left = [], []
    for _ in range(2):
        moving, opts, _, metrics = updates.run_updates(
            optimizers, [Update("critic", loss)], moving, opts, given
        )
        seen.append(float(metrics["seen"]))
        left.append(float(moving["critic"]["w"]))
    if when == "after":  # 3 - 0.75 is clipped to 1, 1 - 0.25 is not
        assert (seen, left) == ([3, 1], [1, 0.75])
    else:
        assert (seen, left) == ([1, 0.75], [0.75, 0.5625])


@pytest.mark.parametrize(
    ("limit", "when", "message"),
    [(-0.01, "after", "loss.clip is -0.01"), (0.01, "later", "loss.clip_when 'later' is neither")],
)
def test_options_of_clipping_are_checked(limit, when, message):
    with pytest.raises(ValueError, match=message):
        clip_weights(Optimizer(("critic",), guarded(optax.sgd(1.0))), limit, when)


# The head start


@pytest.mark.parametrize("critic_updates", [5, 2, 7, 100, 150])
def test_the_generator_is_due_as_in_the_published_loop(critic_updates):
    start, steps, expected = Start.of(critic_updates, 100), [0], []
    for generator in range(1_600):
        wanted = 100 if generator < 25 or (generator and generator % 500 == 0) else 1
        several = -(-wanted // critic_updates)
        expected += [False] * (several - 1) + [True]
        steps.append(steps[-1] + several)
    np.testing.assert_array_equal(start.due(jnp.arange(len(expected))), expected)
    np.testing.assert_array_equal(start.steps_after(jnp.arange(len(steps))), steps)


def test_without_a_head_start_every_step_updates_the_generator():
    start = Start.of(5, 0)
    assert start.due(jnp.arange(3000)).all()
    np.testing.assert_array_equal(start.steps_after(jnp.arange(9)), np.arange(9))


def scalar_model():
    return Model(
        (Condition("AU12"),),
        2,
        lambda key, batch: {name: jnp.zeros(()) for name in ("generator", "critic", "passes")},
        lambda nets, image, want, have: Edit(image),
        None,
        ("generator",),
        ("generator",),
    )


def counting(name, sign):
    """A loss that moves its network by `sign` and counts its pass in a network of its own."""

    def loss(moving, given):
        passes = {"passes": given.nets["passes"] + 1}
        return sign * moving[name] + 0 * given.batch.image.sum(), Aux({}, nets=passes)

    return loss


def counted(order="critic_first", **options):
    sgd = guarded(optax.sgd(1.0))
    optimizers = {name: Optimizer((name,), sgd) for name in ("generator", "critic")}
    step = updates.alternating(
        optimizers,
        fakes=lambda nets, batch, key: batch.have,
        critic=[Update("critic", counting("critic", -1))],
        generator=[Update("generator", counting("generator", -1))],
        order=order,
        **options,
    )
    batch = Batch(np.zeros((3, 1, 2, 2, 3), np.float32), *np.zeros((2, 3, 1, 1), np.float32))
    return updates.make_init(scalar_model(), optimizers)(KEY), jax.jit(step), batch


@pytest.mark.parametrize("order", ["critic_first", "at_once"])
def test_what_no_optimiser_trains_is_handed_from_update_to_update(order):
    state, step, batch = counted(order)
    for done in (1, 2):
        state, _ = step(state, batch, KEY)
        assert state.nets == {"generator": done, "critic": 3 * done, "passes": 4 * done}
    assert set(state.ema) == {"generator"}


def test_steps_that_are_not_due_leave_the_generator_alone():
    state, step, batch = counted(due=Start(several=2).due)
    found = []
    for _ in range(4):
        state, metrics = step(state, batch, KEY)
        found.append((float(state.nets["generator"]), float(state.nets["passes"])))
        assert metrics["generator/skipped"] == 0  # nothing went wrong
        assert "generator/loss" in metrics
    assert found == [(0, 3), (1, 7), (1, 10), (2, 14)]


def test_a_broken_loss_changes_no_network():
    state, step, batch = counted()
    broken = batch._replace(image=np.full_like(batch.image, np.nan))
    after, metrics = step(state, broken, KEY)
    assert after.nets == state.nets
    assert metrics["critic/skipped"] == 1


# As an option of GANimation


def test_the_preset_of_ganimation(initial_state, batch):
    cfg = emotionet.get_config("wgan")
    cfg.image_size, cfg.n_critic, cfg.critic_start = 16, 1, 2
    batch = jax.tree.map(lambda x: x[:1], batch)
    cfg.generator.update(width=4, residual_blocks=1)
    cfg.critic.width = 4
    check(cfg, devices=1)
    training = ganimation.training(cfg, DataFacts(1000, 0.1))
    assert not [one for one in training.monitors if one.name.startswith("gradient_norm")]
    state = updates.fresh_state(ganimation.model(cfg), training.optimizers, initial_state.nets)
    step, moved = jax.jit(training.phases[0].step), []
    for _ in range(2):
        before = state.nets["generator"]["color"]
        # Compiles fastest with these convolutions.
        with layers.stated_by(cpu_convolutions.direct, cpu_convolutions.transposed):
            state, metrics = step(state, batch, KEY)
        moved.append(bool((state.nets["generator"]["color"] != before).any()))
        critic = state.nets["critic"]
        size = max(float(jnp.abs(x).max()) for name, x in parts(critic) if name != "aus")
        assert size <= np.float32(0.01)
        assert jnp.abs(critic["aus"]).max() > 0.01  # its readings do not make the score steeper
    assert moved == [False, True]
    assert metrics["critic/penalty"] == 0
    assert metrics["critic/gradient_norm"] > 0


def parts(params):
    return [(name, x) for name, part in params.items() for x in jax.tree.leaves(part)]


def test_the_rate_of_a_generator_with_a_head_start_follows_the_steps():
    cfg = emotionet.get_config("wgan")
    cfg.update(batch_size=1, n_critic=5, epochs=10.0, decay_epochs=10.0, lr=1.0, critic_start=10)
    optimizer = ganimation.build_optimizers(cfg, epoch=50)["generator"].transform
    state, params = optimizer.init(np.zeros(())), np.zeros(())
    found = []
    for _ in range(3):  # each after two steps of five images
        change, state = optimizer.update(np.ones(()), state, params)
        found.append(-float(change))
    mean_square = 1 - 0.99 ** np.arange(1, 4)
    np.testing.assert_allclose(found * np.sqrt(mean_square), 1 - np.arange(3) * 10 / 500, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss.penalty": 10.0}, "loss.clip is 0.01 and loss.penalty 10.0"),
        ({"critic_start": -1}, "critic_start is -1"),
        (
            {"critic_start": 9, "pairs_first": 0.5, "n_critic": 1, **PAIRS},
            "critic_start is 9; .* needs pairs_first=0",
        ),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    cfg = emotionet.get_config("wgan")
    cfg.update_from_flattened_dict(changes)
    with pytest.raises(ValueError, match=message):
        check(cfg, devices=1)
