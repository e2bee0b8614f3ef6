"""The named parts of a run, built from its config before the first step."""

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import grain
import jax
from jax import Array
from jax.sharding import Mesh
from ml_collections import ConfigDict

from ganimation_jax import methods
from ganimation_jax.data.derived import of_known_members
from ganimation_jax.data.examples import Source
from ganimation_jax.data.fingerprint import fingerprint
from ganimation_jax.data.pipeline import (
    build_source,
    resolve_conditions,
    shown,
    table_of,
    training_batches,
)
from ganimation_jax.files import lock
from ganimation_jax.logs.writer import Writer
from ganimation_jax.parallel import processes, sharding
from ganimation_jax.runs import warm_start
from ganimation_jax.runs.checkpoint import Checkpoints, any_checkpoint
from ganimation_jax.runs.load import Run, load_run
from ganimation_jax.steps import updates
from ganimation_jax.training import preflight, programs, resident
from ganimation_jax.training.guard import Guard
from ganimation_jax.training.monitors import Monitors
from ganimation_jax.training.records import Records
from ganimation_jax.training.schedule import Schedule
from ganimation_jax.types import (
    DataFacts,
    Model,
    Sampling,
    State,
    Training,
    parameter_count,
)

log = logging.getLogger(__name__)


class Position(NamedTuple):
    """Where a run stands."""

    state: State
    step: int
    drawn: int  # steps whose data were drawn: more than ``step`` where a run went back


class Parts(NamedTuple):
    """All that the loop uses."""

    mesh: Mesh
    model: Model
    sampling: Sampling
    schedule: Schedule
    steps: tuple[programs.CompiledStep, ...]  # one for each phase
    constants: tuple[Any, ...]  # run key, frozen networks, resident faces: the same in all steps
    target: State  # shapes and shardings, to restore to
    checkpoints: Checkpoints
    note: dict[str, Any]  # what a checkpoint says besides its position
    faces: Source
    held_out: Source
    writer: Writer
    records: Records
    guard: Guard


def setup(cfg: ConfigDict, workdir: Path, stack: contextlib.ExitStack) -> tuple[Parts, Position]:
    """Build all parts, and restore what is in ``workdir``.

    Args:
      cfg: of the run.
      workdir: of the run; made if absent.
      stack: closes what is opened here.

    Raises:
      ValueError, FileNotFoundError: ``cfg`` cannot be run; nothing has been compiled yet.
      OSError: ``workdir`` cannot be written, or another run is at work in it.
    """
    mesh = sharding.make_mesh(cfg.mesh.fsdp)
    faces, held_out = build_source(cfg, "train"), build_source(cfg, "test")
    cfg = resolve_conditions(cfg, faces)
    preflight.check(cfg, mesh.size)
    if processes.is_first():
        workdir.mkdir(parents=True, exist_ok=True)
        stack.enter_context(lock.hold(workdir))
    method = methods.load(cfg.method)
    model: Model = method.model(cfg)
    facts = facts_of(faces, model)
    training: Training = method.training(cfg, facts)
    schedule = Schedule.of(cfg, training, facts.epoch(training.sampling))
    init = updates.make_init(model, training.optimizers, training.init_memory)
    shapes = jax.eval_shape(init, jax.random.key(0))
    shardings = sharding.state_sharding(mesh, shapes)

    config = preflight.json_config(cfg)
    checkpoints = Checkpoints(workdir / "checkpoints", **cfg.keep)
    stack.callback(checkpoints.close)
    target = sharding.with_sharding(shapes, shardings)
    trained_on = fingerprint(faces)
    position = resume(checkpoints, target, config, trained_on, workdir)
    resumed = position is not None
    initial = None if resumed else initial_weights(cfg, workdir, model, shapes)
    constants = constants_of(cfg, mesh, training, faces)
    steps = programs.start_compiling(
        programs.build_steps(cfg, mesh, training, shardings),
        programs.argument_shapes(
            cfg, mesh, training.sampling, len(model.conditions), target, constants
        ),
        schedule.phases_ended(position.step if position else 0),
        stack,
    )
    if position is None:
        position = Position(fresh_state(cfg, init, initial, shardings), 0, 0)
    announce(cfg, mesh, faces, schedule, position, resumed)

    writer = Writer(
        workdir,
        config,
        start=schedule.images(position.step),
        total=schedule.images(schedule.steps),
        wandb=cfg.wandb,
        enabled=processes.is_first(),
    )
    stack.callback(writer.close)
    guard = Guard(cfg.non_finite.patience)
    monitors = Monitors(training.monitors if cfg.health.on else (), cfg.health.warmup)
    for alert in monitors.replay(writer.history()):
        log.warning("still so since %s images: %s", f"{alert.images:,}", alert.message)
    records = Records(
        writer,
        guard,
        monitors,
        due=lambda images: schedule.due(cfg.every.log, images),
        console=training.console,
    )
    parts = Parts(
        mesh=mesh,
        model=model,
        sampling=training.sampling,
        schedule=schedule,
        steps=steps,
        constants=constants,
        target=target,
        checkpoints=checkpoints,
        note={"config": config, "faces": trained_on},
        faces=faces,
        held_out=of_known_members(held_out, model.conditions),
        writer=writer,
        records=records,
        guard=guard,
    )
    return parts, position


def facts_of(faces: Source, model: Model) -> DataFacts:
    """What a method may know of the training faces."""
    table = table_of(faces, model.names)
    return DataFacts(len(faces), float(table.var(axis=0).mean()), shown(faces))


def constants_of(cfg: ConfigDict, mesh: Mesh, training: Training, faces: Source) -> tuple[Any, ...]:
    """The arguments of a step that never change, on the devices."""
    replicated = sharding.replicated(mesh)
    run_key = jax.jit(lambda: jax.random.key(cfg.seed), out_shardings=replicated)()
    frozen = jax.device_put(training.load_frozen(), replicated)
    if not cfg.data.resident:
        return run_key, frozen
    return run_key, frozen, resident.load(mesh, faces, cfg.image_size)


def resume(
    checkpoints: Checkpoints,
    target: State,
    config: dict[str, Any],
    trained_on: str,
    workdir: Path,
) -> Position | None:
    """The newest whole checkpoint, if there is one.

    Raises:
      ValueError: it was made with another config, or with other faces.
      FileNotFoundError: there are checkpoints, and all are damaged.
    """

    def check(note: dict[str, Any]) -> None:
        preflight.check_continues(note, config, workdir)
        preflight.check_same_faces(note, trained_on, workdir)

    restored = checkpoints.restore(target, check=check)
    if restored is None:
        return None
    note, state = restored
    return Position(state, int(note["step"]), int(note["drawn"]))


def initial_weights(cfg: ConfigDict, workdir: Path, model: Model, shapes: State) -> Run | None:
    """The weights of ``cfg.init_from``, if a new run begins with some.

    Raises:
      ValueError, FileNotFoundError: those weights do not fit, or are not to be found.
    """
    if not cfg.init_from or any_checkpoint(workdir / "checkpoints"):
        return None
    initial = load_run(cfg.init_from)
    warm_start.check_fits(initial, shapes, model.names, cfg.init_from)
    return initial


def fresh_state(
    cfg: ConfigDict, init: Callable[[Array], State], initial: Run | None, shardings: Any
) -> State:
    """The state that a new run begins with: random, or with these weights."""
    # XLA compiles the initial draws several times faster with its own generator.
    state = jax.jit(init)(jax.random.key(cfg.seed, impl="rbg"))
    if initial:
        state = warm_start.with_weights(state, initial)
    return sharding.place_state(state, shardings)


def stream(cfg: ConfigDict, parts: Parts, start: int) -> grain.DatasetIterator:
    """The loader's batches from the step ``start`` on; close it."""
    return training_batches(
        parts.faces,
        image_size=cfg.image_size,
        conditions=parts.model.names,
        batch_size=cfg.batch_size,
        sampling=parts.sampling,
        seed=cfg.seed,
        workers=cfg.data.workers,
        start=start,
        steps=cfg.steps_per_call,
        resident=cfg.data.resident,
        process=jax.process_index(),
        processes=jax.process_count(),
    )


def announce(
    cfg: ConfigDict,
    mesh: Mesh,
    faces: Source,
    schedule: Schedule,
    position: Position,
    resumed: bool,
) -> None:
    """Log what is trained on what."""
    nets = position.state.nets
    sizes = [f"{name} {parameter_count(params):,}" for name, params in nets.items()]
    count = jax.process_count()
    log.info(
        "%s on %d %s device(s)%s; parameters: %s; %s faces; %s steps of %d images",
        f"resuming after step {position.step:,}" if resumed else f"training {cfg.method}",
        mesh.size,
        jax.default_backend(),
        f" of {count} processes" if count > 1 else "",
        ", ".join(sizes),
        f"{len(faces):,}",
        f"{schedule.steps:,}",
        schedule.images_per_step,
    )
