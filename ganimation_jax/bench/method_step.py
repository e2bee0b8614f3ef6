"""The training step of any method, as a config describes it."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from ganimation_jax import methods
from ganimation_jax.bench import timing
from ganimation_jax.bench.step import program_mib
from ganimation_jax.conditions import Condition, resolve
from ganimation_jax.parallel import sharding
from ganimation_jax.steps import gathering, updates
from ganimation_jax.synthetic.labels import LABELS
from ganimation_jax.types import Batch, DataFacts, Metrics, Model, Training, parameter_count

Row = dict[str, Any]
EXAMPLES = 10_000  # in the data set that a learning rate's schedule assumes


def run(cfg: ConfigDict, repeats: int) -> Iterator[tuple[str, Row]]:
    """Measure one step of each phase, on random images on the devices.

    Args:
      cfg: of a run.
      repeats: number of timed steps.

    Yields:
      The table's name and a row.

    Raises:
      ValueError: the config cannot be trained.
    """
    cfg = with_conditions(cfg)
    mesh = sharding.make_mesh(cfg.mesh.fsdp)
    model, training = build(cfg, mesh)
    images = training.sampling.batches * cfg.batch_size
    init = updates.make_init(model, training.optimizers, training.init_memory)
    parameters = parameter_count(jax.eval_shape(init, jax.random.key(0)).nets)
    for phase in training.phases:
        lowered = lower(cfg, mesh, phase.name)
        start = time.perf_counter()
        compiled = lowered.compile()
        compile_s = time.perf_counter() - start
        times = timing.measure({"step": stepper(cfg, mesh, compiled)}, repeats)["step"]
        yield (
            "method_step",
            {
                "method": cfg.method,
                "phase": phase.name,
                "image_size": cfg.image_size,
                "batch": cfg.batch_size,
                "batches": training.sampling.batches,
                "dtype": cfg.dtype,
                "parameters": parameters,
                **times.row(),
                "images_per_s": images / times.median,
                "program_mib": program_mib(compiled),
                "compile_s": compile_s,
            },
        )


def stepper(cfg: ConfigDict, mesh: Mesh, step: Callable[..., Any]) -> Callable[[], Metrics]:
    """A function that performs one more step at each call, on a fixed random batch.

    Args:
      cfg: of a run, its conditions spelled out.
      mesh: of the devices.
      step: of ``lower``, compiled.
    """
    model, training = build(cfg, mesh)
    init = updates.make_init(model, training.optimizers, training.init_memory)
    shardings = sharding.state_sharding(mesh, jax.eval_shape(init, jax.random.key(0)))
    replicated = sharding.replicated(mesh)
    batch = Batch(**sharding.place_batch(mesh, random_batch(cfg, model, training), leading=1))
    key = jax.device_put(jax.random.key(0), replicated)
    frozen = jax.device_put(training.load_frozen(), replicated)
    state = jax.jit(init, out_shardings=shardings)(jax.random.key(0, impl="rbg"))

    def advance() -> Metrics:
        nonlocal state
        state, metrics = step(state, batch, key, frozen)
        return metrics

    return advance


def build(cfg: ConfigDict, mesh: Mesh) -> tuple[Model, Training]:
    """Model and training of a config for a data set that does not exist.

    Raises:
      ValueError: the config cannot be trained.
    """
    if cfg.batch_size % mesh.size:
        raise ValueError(f"batch_size {cfg.batch_size} is not divisible by {mesh.size} devices")
    method = methods.load(cfg.method)
    method.check(cfg)
    model: Model = method.model(cfg)
    shown = {one.name: EXAMPLES // 2 for one in model.conditions}
    training: Training = method.training(cfg, DataFacts(EXAMPLES, 0.1, shown))
    return model, training


def lower(cfg: ConfigDict, mesh: Mesh, phase: str = "") -> jax.stages.Lowered:
    """The step of a phase, ready to compile; the devices of ``mesh`` need not exist.

    Args:
      cfg: of a run, its conditions spelled out.
      mesh: of the devices.
      phase: its name; "": the first.

    Raises:
      ValueError: the config cannot be trained.
    """
    model, training = build(cfg, mesh)
    steps = {one.name: one.step for one in training.phases}
    init = updates.make_init(model, training.optimizers, training.init_memory)
    key = jax.eval_shape(lambda: jax.random.key(0))
    state = jax.eval_shape(init, key)
    batch = jax.eval_shape(lambda: Batch(**random_batch(cfg, model, training)))
    frozen = jax.eval_shape(lambda: jax.tree.map(jax.numpy.asarray, training.load_frozen()))
    placement, replicated = sharding.state_sharding(mesh, state), sharding.replicated(mesh)
    step = gathering.make_whole_step(steps[phase or training.phases[0].name], sharding.gather(mesh))
    compiled = jax.jit(
        step,
        donate_argnums=0,
        in_shardings=(placement, sharding.batch_sharding(mesh), replicated, replicated),
        out_shardings=(placement, replicated),
    )
    return compiled.lower(state, batch, key, frozen)


def with_conditions(cfg: ConfigDict) -> ConfigDict:
    """The config with its conditions spelled out, without a data set that has them."""
    if "conditions" not in cfg or not isinstance(cfg.conditions, str):
        return cfg
    known = {word for one in LABELS for word in (one.name, one.group, str(one))}
    others = [word.strip() for word in cfg.conditions.split(",")]
    available = (*LABELS, *(Condition(word, "binary") for word in others if word not in known))
    found = resolve(cfg.conditions, available)
    cfg = cfg.copy_and_resolve_references()
    with cfg.ignore_type():
        cfg.conditions = tuple(str(one) for one in found)
    return cfg


def random_batch(cfg: ConfigDict, model: Model, training: Training) -> dict[str, Any]:
    """Random values in the shape of what the loader draws for a step.

    Returns:
      Images uint8 ``n b h h 3``, conditions float32 ``n b c``, 0 or 1, and what else
      ``training.sampling`` asks for.
    """
    rng, sampling, side = np.random.default_rng(0), training.sampling, cfg.image_size
    shape = (sampling.batches, cfg.batch_size)

    def images() -> np.ndarray:
        return rng.integers(0, 256, (*shape, side, side, 3), np.uint8)

    def conditions() -> np.ndarray:
        return rng.integers(0, 2, (*shape, len(model.conditions))).astype(np.float32)

    batch: dict[str, Any] = {"image": images(), "have": conditions(), "want": conditions()}
    if sampling.domains or sampling.paired:
        batch["other"] = images()
    if sampling.paired:
        batch["paired"] = rng.random(shape) < sampling.paired
    if sampling.wrong:
        batch["wrong"] = conditions()
    return batch
