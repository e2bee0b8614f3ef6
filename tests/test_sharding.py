import jax
import numpy as np
import pytest
from helpers import BATCH, N_CRITIC, SIZE, UNITS, assert_trees_close

from configs import emotionet
from ganimation_jax.bench import hlo
from ganimation_jax.methods import ganimation
from ganimation_jax.parallel import sharding
from ganimation_jax.steps import gathering, updates
from ganimation_jax.types import Batch, DataFacts, parameter_count

KEY = jax.random.key(7)


@pytest.fixture
def small_is_large(monkeypatch):
    """Split even the tiny test networks."""
    monkeypatch.setattr(sharding, "LARGE", 256)


def run_on(mesh, step, initial_state, batch, steps=2):
    """The state after ``steps``, as the trainer compiles and places it."""
    placement = sharding.state_sharding(mesh, initial_state)
    replicated = sharding.replicated(mesh)
    step = gathering.make_whole_step(step, sharding.gather(mesh))
    compiled = (
        jax.jit(
            step,
            in_shardings=(placement, sharding.batch_sharding(mesh), replicated),
            out_shardings=(placement, replicated),
            donate_argnums=0,
        )
        .lower(initial_state, batch, KEY)
        .compile()
    )
    state = jax.device_put(initial_state, placement)
    key = jax.device_put(KEY, replicated)
    for _ in range(steps):
        placed = Batch(**sharding.place_batch(mesh, batch._asdict()))
        state, metrics = compiled(state, placed, key)
    return state, metrics, hlo.collectives(compiled.as_text(), mesh.size)


def assert_only_parameters_are_gathered(exchanges, state, fsdp):
    """Gradients and metrics are summed; split parameters are gathered in their group, no image."""
    counts = {kind: 0 for kind in ("all-reduce", "all-gather")}
    gathered = 0
    for exchange, times in exchanges.items():
        counts[exchange.kind] += times  # a KeyError is an exchange of another kind
        if exchange.kind == "all-gather":
            assert exchange.group == tuple(range(fsdp)), exchange
            gathered += times * exchange.bytes
    assert counts["all-reduce"] > 0
    updates = N_CRITIC * parameter_count(state.nets["critic"])
    # The critic in each of its updates and once more, updated, for the generator's; the generator
    # for its edits and for its own update, which the compiler may take together.
    most = updates + parameter_count(state.nets["critic"])
    most += 2 * parameter_count(state.nets["generator"])
    assert gathered <= 4 * most
    assert (gathered > 0) == (fsdp > 1)


@pytest.fixture(scope="module")
def one_device(initial_state, batch, train_step):
    state = initial_state
    for _ in range(2):
        state, metrics = train_step(state, batch, KEY)
    return jax.device_get((state, metrics))


@pytest.mark.parametrize("fsdp", [1, 4])
def test_eight_devices_equal_one(
    fsdp, small_is_large, objectives, optimizers, initial_state, batch, one_device
):
    mesh = sharding.make_mesh(fsdp)
    assert mesh.size == 8
    state, metrics, exchanges = run_on(
        mesh, ganimation.step(objectives, optimizers), initial_state, batch
    )
    assert_only_parameters_are_gathered(exchanges, initial_state, fsdp)
    kernel = state.nets["critic"]["down2"]["kernel"]
    moment = state.opt["critic"][0].nu["critic"]["down2"]["kernel"]
    for array in (kernel, moment):
        assert array.addressable_shards[0].data.size == array.size // fsdp
    want_state, want_metrics = one_device
    assert_trees_close(metrics, want_metrics, rtol=1e-4, atol=1e-5)
    # Adam divides by the gradient's size: parameters whose gradient is rounding differ by lr.
    assert_trees_close(state.nets["critic"], want_state.nets["critic"], rtol=1e-4, atol=2e-5)
    assert_trees_close(state.ema, want_state.ema, atol=5e-4)
    moments = [one.opt["generator"][0].mu for one in (state, want_state)]
    for got, want in zip(*map(jax.tree.leaves, moments), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-3 * max(1e-3, np.abs(want).max()))


def test_batches_are_split_over_both_axes(batch):
    mesh = sharding.make_mesh(fsdp=2)
    placed = Batch(**sharding.place_batch(mesh, batch._asdict()))
    assert isinstance(placed, Batch)
    shards = placed.have.addressable_shards
    assert {shard.data.shape for shard in shards} == {(N_CRITIC, BATCH // 8, 17)}
    np.testing.assert_array_equal(placed.have, batch.have)


def test_small_arrays_are_replicated_and_large_ones_split():
    mesh = sharding.make_mesh(fsdp=4)
    shapes = {
        "large": jax.ShapeDtypeStruct((4, 4, 64, 128), np.float32),
        "odd_outputs": jax.ShapeDtypeStruct((4, 4, 8192, 3), np.float32),
        "small": jax.ShapeDtypeStruct((64,), np.float32),
        "indivisible": jax.ShapeDtypeStruct((257, 257), np.float32),
    }
    specs = {name: s.spec for name, s in sharding.state_sharding(mesh, shapes).items()}
    assert specs["large"] == jax.P(None, None, None, "fsdp")
    assert specs["odd_outputs"] == jax.P(None, None, "fsdp")
    assert specs["small"] == specs["indivisible"] == jax.P()


@pytest.mark.parametrize("fsdp", [0, 3, 16])
def test_impossible_meshes_are_refused(fsdp):
    with pytest.raises(ValueError, match=f"mesh.fsdp {fsdp} does not divide 8 devices"):
        sharding.make_mesh(fsdp)


def test_devices_exchange_sums_and_no_images(objectives, optimizers, initial_state, batch):
    # Each device edits and judges its own examples; gradients and metrics are summed.
    mesh = sharding.make_mesh()
    step = jax.jit(
        ganimation.step(objectives, optimizers),
        in_shardings=(
            sharding.state_sharding(mesh, initial_state),
            sharding.batch_sharding(mesh),
            sharding.replicated(mesh),
        ),
    )
    text = step.lower(initial_state, batch, KEY).compile().as_text()
    assert "all-reduce" in text
    for exchange in ("all-gather", "all-to-all", "collective-permute"):
        assert exchange not in text, exchange


@pytest.mark.slow
def test_eight_devices_equal_one_on_pairs(small_is_large):
    """Half of the examples are pairs; all of them are on half of the devices."""
    cfg = emotionet.get_config("people")
    cfg.image_size, cfg.batch_size = SIZE, BATCH
    cfg.generator.update(width=4, residual_blocks=1)
    cfg.critic.update(width=4, depth=2)
    cfg.data.paired, cfg.augment.few_units = 0.5, 0.0
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (2, 1, BATCH, SIZE, SIZE, 3), np.uint8)
    have, want = rng.random((2, 1, BATCH, UNITS), np.float32)
    batch = Batch(images[0], have, want, images[1], np.arange(BATCH)[None] < BATCH // 2)
    training = ganimation.training(cfg, DataFacts(examples=BATCH, variance=0.1))
    (phase,) = training.phases
    init = updates.make_init(ganimation.model(cfg), training.optimizers)
    initial_state = jax.device_get(jax.jit(init)(KEY))

    want_state, want_metrics = jax.jit(phase.step)(initial_state, batch, KEY)
    state, metrics, _ = run_on(sharding.make_mesh(4), phase.step, initial_state, batch, steps=1)
    assert_trees_close(metrics, want_metrics, rtol=1e-4, atol=1e-5)
    for name, moments in state.opt.items():
        wanted = want_state.opt[name]
        for got, want in zip(*map(jax.tree.leaves, (moments, wanted)), strict=True):
            np.testing.assert_allclose(got, want, atol=1e-3 * max(1e-3, np.abs(want).max()))
