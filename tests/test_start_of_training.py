"""From the command to the first step: what is compiled where, and what a second run compiles."""

import threading

import jax
import pytest
from tiny_runs import TINY, devices, run, tiny_config

from ganimation_jax.conditions import Domain, Sampling
from ganimation_jax.data.pipeline import build_source, resolve_conditions, training_batches
from ganimation_jax.parallel import sharding
from ganimation_jax.training import loop, programs
from ganimation_jax.training.schedule import Schedule

COMPILED = "/jax/core/compile/backend_compile_duration"


@pytest.mark.parametrize("resident", [False, True])
@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(batches=2),
        Sampling(paired=0.5),
        Sampling(permute=True, wrong=True),
        Sampling(domains=(Domain("Eyeglasses", True), Domain("Eyeglasses", False))),
    ],
    ids=["targets", "paired", "permuted", "domains"],
)
def test_programs_are_compiled_for_what_the_loader_yields(sampling, resident):
    cfg = tiny_config(data__resident=resident, data__labels=True, steps_per_call=2)
    cfg.data.expressions = 4
    faces = build_source(cfg, "train")
    names = tuple(resolve_conditions(cfg, faces).action_units)
    mesh = sharding.make_mesh()
    batches = training_batches(
        faces,
        image_size=cfg.image_size,
        conditions=names,
        batch_size=cfg.batch_size,
        sampling=sampling,
        seed=0,
        steps=cfg.steps_per_call,
        resident=resident,
    )
    drawn = sharding.place_batch(mesh, next(batches), leading=2)
    batches.close()
    constants = (jax.device_put(jax.random.key(0), sharding.replicated(mesh)), ())
    _, shapes, key, frozen = programs.argument_shapes(
        cfg, mesh, sampling, len(names), None, constants
    )
    expected = {name: shape for name, shape in shapes._asdict().items() if shape is not None}
    assert expected.keys() == drawn.keys()
    for name, shape in expected.items():
        assert (shape.shape, shape.dtype) == (drawn[name].shape, drawn[name].dtype)
        assert shape.sharding.is_equivalent_to(drawn[name].sharding, len(shape.shape))
    assert (key.dtype, frozen) == (constants[0].dtype, ())


def test_steps_are_compiled_in_their_thread_alone(tmp_path):
    threads = []

    def listen(name, _, fun_name="", **__):
        if name == COMPILED and "steps" in fun_name:
            threads.append(threading.current_thread().name)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        # A length that no other test has: jax would not compile it again in this process.
        assert loop.train(tiny_config(epochs=0.25, lr=1.25e-4), tmp_path)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert [name.partition("_")[0] for name in threads] == ["compile"]


@pytest.mark.slow
def test_a_second_run_compiles_nothing(tmp_path):
    cache = tmp_path / "cache"
    settings = devices(1) | {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    flags = (*TINY, "--config.epochs=0.25")
    run(tmp_path / "first", *flags, **settings)
    kept = {path.name for path in cache.glob("*-cache")}
    assert any(name.startswith("jit_steps") for name in kept)
    run(tmp_path / "second", *flags, **settings)
    assert {path.name for path in cache.glob("*-cache")} == kept


def test_a_finished_run_has_no_program_to_compile():
    schedule = Schedule(images_per_step=8, steps_per_call=1, ends=(0, 4, 10))
    assert [schedule.phases_ended(step) for step in (0, 3, 4, 9, 10)] == [1, 1, 2, 2, 3]
    assert [schedule.phase(step) for step in (0, 3, 4, 9, 10)] == [1, 1, 2, 2, 2]
