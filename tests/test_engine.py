import jax
import jax.numpy as jnp
import numpy as np
import optax
from helpers import N_CRITIC, UNITS, assert_trees_close

from ganimation_jax.methods.ganimation import ganimation
from ganimation_jax.models.critic import Critic
from ganimation_jax.models.generator import Generator
from ganimation_jax.steps import alternating
from ganimation_jax.steps.optimizers import decay_factor, guarded
from ganimation_jax.types import Batch, Method, Optimizers, to_float, to_uint8

KEY = jax.random.key(7)


def loop_step(method, optimizers, state, batch, run_key):
    """A train step spelled out: edits made batch by batch, a Python loop, no hoisting."""
    critic_key, generator_key = jax.random.split(jax.random.fold_in(run_key, state.step))
    keys = jax.random.split(critic_key, N_CRITIC)
    critic = state.critic
    update_critic = jax.jit(
        lambda critic, *args: alternating.update_critic(method, optimizers.critic, critic, *args)
    )
    for i in range(N_CRITIC):
        one = jax.tree.map(lambda x, i=i: x[i], batch)
        one = one._replace(image=np.float32(one.image) / np.float32(127.5) - 1)
        edited = jax.jit(method.translate)(state.generator.params, one)
        critic, _ = update_critic(critic, one, edited, keys[i])
    update_generator = jax.jit(
        lambda generator, *args: alternating.update_generator(
            method, optimizers.generator, generator, *args
        )
    )
    generator, _ = update_generator(state.generator, critic.params, one, generator_key)
    return generator, critic


def test_step_equals_a_python_loop(method, optimizers, initial_state, batch, train_step):
    state, _ = train_step(initial_state, batch, KEY)
    generator, critic = loop_step(method, optimizers, initial_state, batch, KEY)
    # Adam's first step is the sign of the gradient: compare moments too, not only parameters.
    assert_trees_close(state.critic, critic, rtol=1e-4, atol=1e-6)
    moments = (state.generator.opt_state[0].mu, generator.opt_state[0].mu)
    for got, want in zip(*map(jax.tree.leaves, moments), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-4 * max(1e-4, np.abs(want).max()))


def test_unrolled_equals_scan(method, optimizers, initial_state, batch, train_step):
    unrolled = jax.jit(alternating.make_train_step(method, optimizers, unroll=True))
    got, _ = unrolled(initial_state, batch, KEY)
    want, _ = train_step(initial_state, batch, KEY)
    assert_trees_close(got.critic, want.critic, rtol=1e-4, atol=1e-6)


def test_step_is_a_pure_function(initial_state, batch, train_step):
    first, first_metrics = train_step(initial_state, batch, KEY)
    again, again_metrics = train_step(initial_state, batch, KEY)
    assert_trees_close(first, again, rtol=0, atol=0)
    assert_trees_close(first_metrics, again_metrics, rtol=0, atol=0)


def test_keys_move_with_the_step(initial_state, batch, train_step):
    later = initial_state.replace(step=np.int32(1))
    _, metrics = train_step(initial_state, batch, KEY)
    _, later_metrics = train_step(later, batch, KEY)
    assert metrics["critic/penalty"] != later_metrics["critic/penalty"]  # other interpolates


def scalar_method() -> Method:
    """Networks of one number each, whose training can be done by hand."""
    return Method(
        init=lambda key, image, aus: {"generator": jnp.zeros(()), "critic": jnp.zeros(())},
        translate=lambda params, batch: batch.image + params,
        critic_losses=(
            lambda p, batch, edited, key: (p * batch.have.sum(), {"critic/a": p}),
            lambda p, batch, edited, key: (10 * p, {"critic/b": p}),
        ),
        generator_loss=lambda g, c, batch, key: (g * batch.have.sum() + c * g, {"generator/c": c}),
        edit=None,
        read_aus=None,
    )


def test_order_of_updates_by_hand():
    method = scalar_method()
    optimizers = Optimizers(guarded(optax.sgd(1.0)), guarded(optax.sgd(1.0)))
    state = alternating.make_init(method, optimizers, 2, 1)(KEY)
    aus = np.array([[[1.0]], [[2.0]], [[4.0]]], np.float32)  # three critic batches of one
    batch = Batch(np.zeros((3, 1, 2, 2, 3), np.uint8), aus, aus)
    step = alternating.make_train_step(method, optimizers, ema_decay=0.5)
    state, metrics = step(state, batch, KEY)
    # Critic: -(1 + 10) - (2 + 10) - (4 + 10). Generator: on the last batch, the new critic.
    assert state.critic.params == -37
    assert state.generator.params == -(4 - 37)
    assert metrics["generator/c"] == -37
    # Each loss is logged before its own update, averaged over the three batches.
    np.testing.assert_allclose(metrics["critic/a"], np.mean([0, -11, -23]), rtol=1e-6)
    np.testing.assert_allclose(metrics["critic/b"], np.mean([-1, -13, -27]), rtol=1e-6)
    # The average starts with decay (1 + 0) / (10 + 0).
    np.testing.assert_allclose(state.ema, 0.9 * 33, rtol=1e-6)
    state, _ = step(state, batch, KEY)
    np.testing.assert_allclose(
        state.ema, 2 / 11 * 0.9 * 33 + 9 / 11 * state.generator.params, rtol=1e-6
    )


def test_image_forms():
    pixels = np.arange(256, dtype=np.uint8)
    np.testing.assert_allclose(to_float(pixels)[[0, 255]], [-1, 1])
    np.testing.assert_array_equal(to_uint8(to_float(pixels)), pixels)
    np.testing.assert_array_equal(to_uint8(np.array([-3.0, 3.0])), [0, 255])


def test_learning_rate_is_linear_to_zero_over_the_last_epochs():
    got = [float(decay_factor(e, epochs=30, decay_epochs=10)) for e in (0, 20, 22.5, 25, 30, 31)]
    np.testing.assert_allclose(got, [1, 1, 0.75, 0.5, 0, 0])


def test_bfloat16_trains_like_float32(optimizers, initial_state, batch, train_step):
    fast = ganimation(
        Generator(width=4, residual_blocks=1, dtype=jnp.bfloat16),
        Critic(UNITS, width=4, dtype=jnp.bfloat16),
    )
    state, metrics = jax.jit(alternating.make_train_step(fast, optimizers))(
        initial_state, batch, KEY
    )
    _, exact = train_step(initial_state, batch, KEY)
    assert {x.dtype for x in jax.tree.leaves(state.generator.params)} == {np.dtype("float32")}
    for name, value in metrics.items():
        assert value.dtype == np.float32
        np.testing.assert_allclose(value, exact[name], rtol=0.05, atol=2e-3, err_msg=name)


def test_repeated_steps_are_the_steps_one_by_one(
    method, optimizers, initial_state, batch, train_step
):
    batches = jax.tree.map(lambda x: np.stack([x, x[:, ::-1]]), batch)
    repeated = jax.jit(alternating.repeat(alternating.make_train_step(method, optimizers)))
    got, metrics = repeated(initial_state, batches, jax.random.key(3))
    want, each = initial_state, []
    for i in range(2):
        one = jax.tree.map(lambda x, i=i: x[i], batches)
        want, terms = train_step(want, one, jax.random.key(3))
        each.append(terms)
    assert int(got.step) == 2
    for name, value in metrics.items():
        mean = np.mean([terms[name] for terms in each])
        np.testing.assert_allclose(value, mean, rtol=1e-4, atol=1e-6, err_msg=name)
    assert_trees_close(got.critic.params, want.critic.params, rtol=1e-4, atol=2e-5)


def test_unrolled_and_single_steps_are_no_loops(method, optimizers, initial_state, batch):
    # Convolutions in a loop run at a fraction of their speed on a CPU: training took nine times
    # as long while `repeat` left a loop around one step.
    def loops(step, batches):
        text = jax.jit(step).lower(initial_state, batches, KEY).as_text()
        return text.count("stablehlo.while")

    unrolled = alternating.make_train_step(method, optimizers, unroll=True)
    scanned = alternating.make_train_step(method, optimizers)
    one, single = jax.tree.map(lambda x: x[None], batch), jax.tree.map(lambda x: x[:1], batch)
    drawing = loops(unrolled, batch)  # random bits are drawn in loops
    assert loops(scanned, batch) == drawing + 1
    assert loops(scanned, single) == drawing
    assert loops(alternating.repeat(unrolled), one) == drawing


def test_an_update_that_is_not_finite_is_left_out(
    method, optimizers, initial_state, batch, train_step
):
    broken = batch._replace(have=batch.have.copy())
    broken.have[0, 3, 5] = np.nan  # one number of the first of the critic's two batches
    state, metrics = train_step(initial_state, broken, KEY)
    assert metrics["critic/skipped"] == 1 / N_CRITIC
    assert metrics["generator/skipped"] == 0
    assert np.isnan(metrics["critic/aus"])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))
    # As if only the second batch had been there: the optimiser counted one update.
    critic = initial_state.critic
    assert state.critic.opt_state[0].count == critic.opt_state[0].count + 1
    keys = jax.random.split(
        jax.random.split(jax.random.fold_in(KEY, initial_state.step))[0], N_CRITIC
    )
    second = jax.tree.map(lambda x: x[1], batch)._replace(image=to_float(batch.image[1]))
    edited = jax.jit(method.translate)(initial_state.generator.params, second)
    want, _ = jax.jit(
        lambda critic, *args: alternating.update_critic(method, optimizers.critic, critic, *args)
    )(critic, second, edited, keys[1])
    assert_trees_close(state.critic, want, rtol=1e-4, atol=1e-6)


def test_a_gradient_that_is_not_finite_is_left_out_though_the_loss_is():
    # The root's slope at 0 is infinite, the root is not.
    method = scalar_method()._replace(
        generator_loss=lambda g, c, batch, key: (jnp.sqrt(g * 0), {"generator/c": c})
    )
    optimizers = Optimizers(guarded(optax.adam(1.0)), guarded(optax.sgd(1.0)))
    state = alternating.make_init(method, optimizers, 2, 1)(KEY)
    aus = np.ones((1, 1, 1), np.float32)
    batch = Batch(np.zeros((1, 1, 2, 2, 3), np.uint8), aus, aus)
    after, metrics = alternating.make_train_step(method, optimizers)(state, batch, KEY)
    assert metrics["generator/loss"] == 0
    assert metrics["generator/skipped"] == 1
    assert not np.isfinite(metrics["generator/parameter_gradient"])
    assert after.generator.params == after.ema == 0
    assert_trees_close(after.generator.opt_state, state.generator.opt_state, rtol=0)
    assert after.critic.params == -11
