"""Training: the loop, read from top to bottom."""

import collections
import functools
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from ganimation_jax.action_units import OPENFACE_MAXIMUM, positions
from ganimation_jax.data.pipeline import (
    build_source,
    evaluation_batches,
    held_out_batches,
    training_batches,
)
from ganimation_jax.evaluation import held_out
from ganimation_jax.logs.writer import Writer
from ganimation_jax.methods import METHODS
from ganimation_jax.parallel import processes, sharding
from ganimation_jax.reports import samples
from ganimation_jax.runs import warm_start
from ganimation_jax.runs.checkpoint import Checkpoints, any_checkpoint
from ganimation_jax.runs.load import load_run
from ganimation_jax.steps import alternating, augment
from ganimation_jax.steps.optimizers import build_optimizers
from ganimation_jax.training import health, resident
from ganimation_jax.training.guard import Guard
from ganimation_jax.training.preflight import check, check_continues, json_config
from ganimation_jax.types import Batch, Metrics, ResidentBatch, parameter_count

log = logging.getLogger(__name__)

IN_FLIGHT = 2  # calls that the host runs ahead of the device
SAMPLE_FACES = 3
CONSOLE_SCORES = (
    "critic_on_real/mae",
    "critic_on_edits/mae",
    "edit_response/r",
    "edit_response/pixels",
    "reconstruction/psnr",
    "attention/mean",
)


def train(cfg: ConfigDict, workdir: Path) -> bool:
    """Train to the end of ``cfg``, continuing what is in ``workdir``.

    In several processes all call this, with a ``workdir`` that they share.

    Returns:
      whether the end is reached. If not, the run was asked to stop (SIGTERM), and saved.

    Raises:
      ValueError, FileNotFoundError: ``cfg`` cannot be run; nothing has been compiled yet.
      OSError: ``workdir`` cannot be written.
      FloatingPointError: losses or gradients are no longer finite, and going back did not help.
    """
    jax.config.update("jax_debug_nans", cfg.debug_nans)
    mesh = sharding.make_mesh(cfg.mesh.fsdp)
    check(cfg, mesh.size)
    faces, held_out_faces = build_source(cfg, "train"), build_source(cfg, "test")
    columns = positions(cfg.action_units, faces.action_units)
    images_per_step = cfg.n_critic * cfg.batch_size
    images_per_call = images_per_step * cfg.steps_per_call
    calls = math.ceil(cfg.epochs * len(faces) / images_per_call)
    total_steps = calls * cfg.steps_per_call
    total = total_steps * images_per_step

    method = METHODS[cfg.method](cfg)
    optimizers = build_optimizers(cfg, len(faces), len(method.critic_losses))

    init = alternating.make_init(method, optimizers, cfg.image_size, len(cfg.action_units))
    shapes = jax.eval_shape(init, jax.random.key(0))
    state_sharding = sharding.state_sharding(mesh, shapes)
    replicated = sharding.replicated(mesh)
    unroll = jax.default_backend() == "cpu"
    train_step: Callable[..., Any] = alternating.make_train_step(
        method, optimizers, ema_decay=cfg.ema_decay, unroll=unroll
    )
    if cfg.augment.tint:
        train_step = augment.make_tinted_step(train_step, cfg.augment.tint)
    if cfg.data.resident:
        train_step = resident.make_resident_step(train_step)
    step_fn = processes.compiled_by_all(
        jax.jit(
            alternating.repeat(train_step, unroll=unroll),
            donate_argnums=() if cfg.debug_nans else 0,  # it runs the step once more to find them
            out_shardings=(state_sharding, replicated),
        )
    )
    edit_fn, read_fn = jax.jit(method.edit), jax.jit(method.read_aus)
    to_one_device = sharding.make_local(mesh)

    initial = None
    if cfg.init_from and not any_checkpoint(workdir / "checkpoints"):
        initial = load_run(cfg.init_from)
        warm_start.check_fits(initial, shapes, cfg.action_units, cfg.init_from)
    config = json_config(cfg)
    checkpoints = Checkpoints(workdir / "checkpoints", **cfg.keep)
    target = sharding.with_sharding(shapes, state_sharding)
    restored = checkpoints.restore(
        target, check=lambda note: check_continues(note, config, workdir)
    )
    if restored:
        note, state = restored
        # Steps whose data have been drawn: more than were made, where a run went back.
        step, drawn = int(note["step"]), int(note["drawn"])
    else:
        step, drawn = 0, 0
        # XLA compiles the initial draws several times faster with its own generator.
        fresh = jax.jit(init)(jax.random.key(cfg.seed, impl="rbg"))
        if initial:
            fresh = warm_start.with_weights(fresh, initial)
        state = sharding.place_state(fresh, state_sharding)
    log.info(
        "%s on %d %s device(s)%s: %s + %s parameters; %s faces; %s steps of %d images",
        f"continuing after step {step:,}" if restored else "training",
        mesh.size,
        jax.default_backend(),
        f" of {jax.process_count()} processes" if jax.process_count() > 1 else "",
        f"{parameter_count(shapes.generator.params):,}",
        f"{parameter_count(shapes.critic.params):,}",
        f"{len(faces):,}",
        f"{total_steps:,}",
        images_per_step,
    )
    writer = Writer(
        workdir,
        config,
        start=step * images_per_step,
        total=total,
        wandb=cfg.wandb,
        enabled=processes.is_first(),
    )
    batches = training_batches(
        faces,
        image_size=cfg.image_size,
        action_units=cfg.action_units,
        batch_size=cfg.batch_size,
        n_critic=cfg.n_critic,
        seed=cfg.seed,
        target_noise=cfg.data.target_noise,
        clip_targets=cfg.data.clip_targets,
        flip=cfg.data.flip,
        workers=cfg.data.workers,
        start=drawn,
        steps=cfg.steps_per_call,
        resident=cfg.data.resident,
        process=jax.process_index(),
        processes=jax.process_count(),
    )
    kind = ResidentBatch if cfg.data.resident else Batch
    on_devices = (resident.load(mesh, faces, cfg.image_size),) if cfg.data.resident else ()
    shown = next(
        evaluation_batches(
            held_out_faces,
            image_size=cfg.image_size,
            action_units=cfg.action_units,
            batch_size=SAMPLE_FACES,
            examples=SAMPLE_FACES,
            seed=cfg.seed,
        )
    )
    run_key = jax.jit(lambda: jax.random.key(cfg.seed), out_shardings=replicated)()
    guard, rollbacks = Guard(cfg.non_finite.patience), 0
    monitors = health.build(cfg, faces.aus_table()[:, columns] / np.float32(OPENFACE_MAXIMUM))
    for alert in monitors.replay(writer.history()):
        log.warning("still so since %s images: %s", f"{alert.images:,}", alert.message)
    in_flight: collections.deque[tuple[int, Metrics]] = collections.deque()

    def due(interval: int, images: int) -> bool:
        return images % interval < images_per_call or images == total

    def record(images: int, values: dict[str, float], *console: tuple[str, ...]) -> None:
        writer.metrics(images, values, *console)
        for alert in monitors.observe(images, values):
            writer.alert(alert)

    def retire(left: int) -> None:
        """Wait until ``left`` calls are in flight; look at those that ended, log some."""
        while len(in_flight) > left:
            images, metrics = in_flight.popleft()
            values = {name: float(value) for name, value in jax.device_get(metrics).items()}
            guard.observe(images, values)
            if due(cfg.every.log, images):
                record(images, values)

    with processes.Preemption() as preemption:
        while step < total_steps:
            batch = kind(**sharding.place_batch(mesh, next(batches), leading=2))
            state, metrics = step_fn(state, batch, run_key, *on_devices)
            step, drawn = step + cfg.steps_per_call, drawn + cfg.steps_per_call
            images = step * images_per_step
            in_flight.append((images, metrics))
            retire(IN_FLIGHT)

            stopping = preemption.asked()
            sampling, evaluating, saving = (
                due(interval, images)
                for interval in (cfg.every.sample, cfg.every.evaluate, cfg.every.checkpoint)
            )
            if sampling or evaluating or saving or stopping:
                retire(0)
            if guard.lost:
                if rollbacks == cfg.non_finite.rollbacks or not (
                    restored := checkpoints.restore(target)
                ):
                    raise FloatingPointError(give_up(guard, rollbacks))
                rollbacks += 1
                log.error("GOING BACK to step %s: not finite %s", restored[0]["step"], guard.first)
                # The data go on from here: the same ones might break it again.
                step, state = restored[0]["step"], restored[1]
                writer.rewind(step * images_per_step)
                monitors.replay(writer.history())
                in_flight.clear()
                guard.reset()
                continue
            if sampling or evaluating:
                edit = functools.partial(edit_fn, to_one_device(state.ema))
            if sampling:
                writer.picture(
                    images,
                    "samples",
                    samples.expressions(edit, shown["image"], shown["have"], cfg.action_units),
                )
                if cfg.clips:
                    frames = samples.moving_expressions(
                        edit, shown["image"], shown["have"], cfg.action_units
                    )
                    writer.video(images, "expressions", frames)
            scores = None
            if evaluating:
                read_aus = functools.partial(read_fn, to_one_device(state.critic.params))
                seen = held_out.look(held_out_batches(cfg, held_out_faces), edit, read_aus)
                found = held_out.evaluate(seen, held_out_faces, cfg.action_units)
                scores = {name: value for name, value in found if not name.endswith("/se")}
                record(images, scores, CONSOLE_SCORES)
            if (saving or stopping) and guard.clean:
                # The note says which data come next: no batch is drawn before it is kept.
                checkpoints.save(step, state, {"config": config, "drawn": drawn}, scores)
            if stopping:
                break

    batches.close()
    checkpoints.close()
    if newest := checkpoints.newest:
        writer.artifact(newest, step)
    writer.close()
    finished = step == total_steps
    log.info("%s: %s", "finished" if finished else f"asked to stop after step {step:,}", workdir)
    return finished


def give_up(guard: Guard, rollbacks: int) -> str:
    """Why a run with broken numbers ends, for people."""
    tried = f"; went back {rollbacks} time(s) before" if rollbacks else ""
    return (
        f"not finite {guard.first}{tried}; nothing was saved since. Try a smaller lr or "
        "dtype=float32; --config.debug_nans=True names the operation"
    )
