"""Training steps: against loops spelled out, and by hand on networks of one number."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import N_CRITIC, UNITS, assert_trees_close

from ganimation_jax.methods import ganimation
from ganimation_jax.models.critic import Critic
from ganimation_jax.models.generator import Generator
from ganimation_jax.steps import loops, updates
from ganimation_jax.steps.optimizers import decay_factor, guarded
from ganimation_jax.steps.updates import Aux, Given, Update
from ganimation_jax.types import Batch, Condition, Model, Optimizer, to_float, to_uint8

pytestmark = pytest.mark.usefixtures("plain_convolutions")

KEY = jax.random.key(7)


def update_alone(optimizers, name, losses, state, batch, fakes, key):
    """The updates of one network on one batch, compiled by themselves."""
    others = {other: params for other, params in state.nets.items() if other != name}
    steps = [Update(name, loss) for loss in losses]

    @jax.jit
    def run(nets, opt, others, batch, fakes, key):
        given = Given(others, batch, fakes, key, (), ())
        return updates.run_updates(optimizers, steps, nets, opt, given)

    nets, opt, _, metrics = run(
        {name: state.nets[name]}, {name: state.opt[name]}, others, batch, fakes, key
    )
    return replace(state, nets=state.nets | nets, opt=state.opt | opt), metrics


def loop_step(objectives, optimizers, state, batch, run_key):
    """A train step spelled out: edits made batch by batch, a Python loop, no hoisting."""
    critic_key, generator_key = jax.random.split(jax.random.fold_in(run_key, state.step))
    keys = jax.random.split(critic_key, N_CRITIC)
    for i in range(N_CRITIC):
        one = jax.tree.map(lambda x, i=i: x[i], batch)
        one = one._replace(image=np.float32(one.image) / np.float32(127.5) - 1)
        edited = jax.jit(objectives.fakes)(state.nets, one, KEY)
        state, _ = update_alone(
            optimizers, "critic", objectives.critic, state, one, edited, keys[i]
        )
    losses = [objectives.generator]
    return update_alone(optimizers, "generator", losses, state, one, edited, generator_key)[0]


def test_step_equals_a_python_loop(objectives, optimizers, initial_state, batch, train_step):
    got, _ = train_step(initial_state, batch, KEY)
    want = loop_step(objectives, optimizers, initial_state, batch, KEY)
    # Adam's first step is the sign of the gradient: compare moments too, not only parameters.
    assert_trees_close(got.nets["critic"], want.nets["critic"], rtol=1e-4, atol=1e-6)
    assert_trees_close(got.opt["critic"], want.opt["critic"], rtol=1e-4, atol=1e-6)
    moments = (got.opt["generator"][0].mu, want.opt["generator"][0].mu)
    for one, other in zip(*map(jax.tree.leaves, moments), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4 * max(1e-4, np.abs(other).max()))


def test_unrolled_equals_scan(objectives, optimizers, initial_state, batch, train_step):
    unrolled = jax.jit(ganimation.step(objectives, optimizers, unroll=True))
    got, _ = unrolled(initial_state, batch, KEY)
    want, _ = train_step(initial_state, batch, KEY)
    assert_trees_close(got.nets["critic"], want.nets["critic"], rtol=1e-4, atol=1e-6)


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


# Networks of one number each, whose training can be done by hand.


def scalar_model():
    zeros = lambda: jnp.zeros(())  # noqa: E731
    return Model(
        conditions=(Condition("a"),),
        image_size=2,
        init=lambda key, batch: {"generator": zeros(), "critic": zeros()},
        edit=None,
        read=None,
        edits_with=("generator",),
        averaged=("generator",),
    )


def critic_a(moving, given):
    return moving["critic"] * given.batch.have.sum(), Aux({"critic/a": moving["critic"]})


def critic_b(moving, given):
    return 10 * moving["critic"], Aux({"critic/b": moving["critic"]})


def generator_c(moving, given):
    g, c = moving["generator"], given.nets["critic"]
    return g * given.batch.have.sum() + c * g, Aux({"generator/c": c})


def scalar_parts(generator=generator_c, transform=None, **options):
    sgd = guarded(optax.sgd(1.0))
    optimizers = {
        "generator": Optimizer(("generator",), transform or sgd),
        "critic": Optimizer(("critic",), sgd),
    }
    step = updates.alternating(
        optimizers,
        fakes=lambda nets, batch, key: batch.image + nets["generator"],
        critic=[Update("critic", critic_a), Update("critic", critic_b)],
        generator=[Update("generator", generator)],
        **options,
    )
    return jax.jit(updates.make_init(scalar_model(), optimizers))(KEY), jax.jit(step)


def scalar_batch(*values):
    have = np.reshape(np.float32(values), (len(values), 1, 1))  # batches of one
    return Batch(np.zeros((len(values), 1, 2, 2, 3), np.uint8), have, have)


def test_order_of_updates_by_hand():
    state, step = scalar_parts(ema_decay=0.5)
    batch = scalar_batch(1, 2, 4)
    state, metrics = step(state, batch, KEY)
    # Critic: -(1 + 10) - (2 + 10) - (4 + 10). Generator: on the last batch, the new critic.
    assert state.nets["critic"] == -37
    assert state.nets["generator"] == -(4 - 37)
    assert metrics["generator/c"] == -37
    # Each loss is logged before its own update, averaged over the three batches.
    np.testing.assert_allclose(metrics["critic/a"], np.mean([0, -11, -23]), rtol=1e-6)
    np.testing.assert_allclose(metrics["critic/b"], np.mean([-1, -13, -27]), rtol=1e-6)
    # The average starts with decay (1 + 0) / (10 + 0).
    np.testing.assert_allclose(state.ema["generator"], 0.9 * 33, rtol=1e-6)
    state, _ = step(state, batch, KEY)
    want = 2 / 11 * 0.9 * 33 + 9 / 11 * state.nets["generator"]
    np.testing.assert_allclose(state.ema["generator"], want, rtol=1e-6)


def test_at_once_neither_network_sees_the_others_update():
    state, step = scalar_parts(order="at_once")
    state = replace(state, nets=state.nets | {"critic": jnp.float32(5)})
    state, metrics = step(state, scalar_batch(3), KEY)
    assert state.nets["critic"] == 5 - 3 - 10
    assert metrics["generator/c"] == 5
    assert state.nets["generator"] == -(3 + 5)


def test_critics_see_recalled_fakes_and_the_memory_moves_on():
    # A pool of one: the critic gets the fake of the batch before, the generator its own.
    def critic(moving, given):
        return moving["critic"] * given.fakes.mean(), Aux({})

    def generator(moving, given):
        return moving["generator"] * given.fakes.mean(), Aux({})

    sgd = guarded(optax.sgd(1.0))
    optimizers = {name: Optimizer((name,), sgd) for name in ("generator", "critic")}
    step = updates.alternating(
        optimizers,
        fakes=lambda nets, batch, key: batch.have,
        critic=[Update("critic", critic)],
        generator=[
            Update("generator", lambda m, given: (m["generator"] * given.fakes.mean(), Aux({})))
        ],
        recall=lambda memory, fakes, key: (fakes, memory),
        unroll=True,
    )
    init = updates.make_init(scalar_model(), optimizers, lambda nets: jnp.full((1, 1), 9.0))
    state, _ = jax.jit(step)(init(KEY), scalar_batch(1, 2), KEY)
    assert state.nets["critic"] == -(9 + 1)
    assert state.nets["generator"] == -2
    assert state.memory == 2


def test_one_optimiser_moves_several_networks_and_losses_can_change_the_memory():
    def loss(moving, given):
        total = moving["generator"] * 2 + moving["critic"] * given.batch.have.sum()
        return total, Aux({"both/total": total}, given.memory + 1)

    both = {"both": Optimizer(("generator", "critic"), guarded(optax.sgd(1.0)))}
    step = updates.supervised(both, [Update("both", loss)])
    state = updates.make_init(scalar_model(), both, lambda nets: jnp.zeros(()))(KEY)
    state, metrics = jax.jit(step)(state, scalar_batch(1, 2, 4), KEY)
    assert state.nets == {"generator": -6, "critic": -7}
    assert state.memory == 3
    assert metrics["both/skipped"] == 0


def test_image_forms():
    pixels = np.arange(256, dtype=np.uint8)
    np.testing.assert_allclose(to_float(pixels)[[0, 255]], [-1, 1])
    np.testing.assert_array_equal(to_uint8(to_float(pixels)), pixels)
    np.testing.assert_array_equal(to_uint8(np.array([-3.0, 3.0])), [0, 255])


def test_learning_rate_is_linear_to_zero_over_the_last_epochs():
    got = [float(decay_factor(e, epochs=30, decay_epochs=10)) for e in (0, 20, 22.5, 25, 30, 31)]
    np.testing.assert_allclose(got, [1, 1, 0.75, 0.5, 0, 0])


def test_bfloat16_trains_like_float32(optimizers, initial_state, batch, train_step):
    fast = ganimation.objectives(
        Generator(width=4, residual_blocks=1, dtype=jnp.bfloat16),
        Critic(UNITS, width=4, dtype=jnp.bfloat16),
    )
    state, metrics = jax.jit(ganimation.step(fast, optimizers))(initial_state, batch, KEY)
    _, exact = train_step(initial_state, batch, KEY)
    assert {x.dtype for x in jax.tree.leaves(state.nets["generator"])} == {np.dtype("float32")}
    for name, value in metrics.items():
        assert value.dtype == np.float32
        np.testing.assert_allclose(value, exact[name], rtol=0.05, atol=2e-3, err_msg=name)


def test_repeated_steps_are_the_steps_one_by_one(
    objectives, optimizers, initial_state, batch, train_step
):
    batches = jax.tree.map(lambda x: np.stack([x, x[:, ::-1]]), batch)
    repeated = jax.jit(loops.repeat(ganimation.step(objectives, optimizers)))
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
    assert_trees_close(got.nets["critic"], want.nets["critic"], rtol=1e-4, atol=2e-5)


def test_unrolled_and_single_steps_are_no_loops(objectives, optimizers, initial_state, batch):
    # Convolutions in a loop run at a fraction of their speed on a CPU: training took nine times
    # as long while `repeat` left a loop around one step.
    def count(step, batches):
        text = jax.jit(step).lower(initial_state, batches, KEY).as_text()
        return text.count("stablehlo.while")

    unrolled = ganimation.step(objectives, optimizers, unroll=True)
    scanned = ganimation.step(objectives, optimizers)
    one, single = jax.tree.map(lambda x: x[None], batch), jax.tree.map(lambda x: x[:1], batch)
    drawing = count(unrolled, batch)  # random bits are drawn in loops
    assert count(scanned, batch) == drawing + 1
    assert count(scanned, single) == drawing
    assert count(loops.repeat(unrolled), one) == drawing


def test_an_update_that_is_not_finite_is_left_out(
    objectives, optimizers, initial_state, batch, train_step
):
    broken = batch._replace(have=batch.have.copy())
    broken.have[0, 3, 5] = np.nan  # one number of the first of the critic's two batches
    state, metrics = train_step(initial_state, broken, KEY)
    assert metrics["critic/skipped"] == 1 / N_CRITIC
    assert metrics["generator/skipped"] == 0
    assert np.isnan(metrics["critic/aus"])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))
    # As if only the second batch had been there: the optimiser counted one update.
    counts = [one.opt["critic"][0].count for one in (state, initial_state)]
    assert counts[0] == counts[1] + 1
    keys = jax.random.split(
        jax.random.split(jax.random.fold_in(KEY, initial_state.step))[0], N_CRITIC
    )
    second = jax.tree.map(lambda x: x[1], batch)._replace(image=to_float(batch.image[1]))
    edited = jax.jit(objectives.fakes)(initial_state.nets, second, KEY)
    want, _ = update_alone(
        optimizers, "critic", objectives.critic, initial_state, second, edited, keys[1]
    )
    assert_trees_close(state.nets["critic"], want.nets["critic"], rtol=1e-4, atol=1e-6)
    assert_trees_close(state.opt["critic"], want.opt["critic"], rtol=1e-4, atol=1e-6)


def test_a_gradient_that_is_not_finite_is_left_out_though_the_loss_is():
    # The root's slope at 0 is infinite, the root is not.
    def root(moving, given):
        return jnp.sqrt(moving["generator"] * 0), Aux({})

    state, step = scalar_parts(root, guarded(optax.adam(1.0)))
    after, metrics = step(state, scalar_batch(1), KEY)
    assert metrics["generator/loss"] == 0
    assert metrics["generator/skipped"] == 1
    assert not np.isfinite(metrics["generator/parameter_gradient"])
    assert after.nets["generator"] == after.ema["generator"] == 0
    assert_trees_close(after.opt["generator"], state.opt["generator"], rtol=0)
    assert after.nets["critic"] == -11
