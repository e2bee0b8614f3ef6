"""Training: the loop, read from top to bottom."""

import collections
import functools
import json
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from ganimation_jax import engine, resident, samples, sharding
from ganimation_jax.action_units import positions
from ganimation_jax.checkpoint import Checkpoints
from ganimation_jax.data.pipeline import (
    build_source,
    evaluation_batches,
    held_out_batches,
    training_batches,
)
from ganimation_jax.evaluation import held_out
from ganimation_jax.methods import METHODS
from ganimation_jax.models.critic import depth_for
from ganimation_jax.optimizers import DECAYS, build_optimizers
from ganimation_jax.types import (
    Batch,
    Metrics,
    ResidentBatch,
    parameter_count,
)
from ganimation_jax.writers import Writer

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
POSITIVE = (
    "batch_size", "n_critic", "steps_per_call", "epochs", "lr", "generator.width", "critic.width",
    "every.log", "every.sample", "every.evaluate", "every.checkpoint",
    "evaluate.examples", "evaluate.batch_size", "keep.latest",
)  # fmt: skip
# What may change when a run continues: nothing that state, data or schedule depend on.
MODEL = ("method", "action_units", "image_size", "generator.", "critic.width", "critic.depth")
FREE_TO_CHANGE = (
    "data.dir", "data.resident", "data.workers", "evaluate.", "every.", "keep.", "mesh.", "wandb.",
)  # fmt: skip


def train(cfg: ConfigDict, workdir: Path) -> None:
    """Train to the end of ``cfg``, continuing what is in ``workdir``.

    Raises:
      ValueError, FileNotFoundError: ``cfg`` cannot be run; nothing has been compiled yet.
      FloatingPointError: a loss is no longer finite.
    """
    mesh = sharding.make_mesh(cfg.mesh.fsdp)
    check(cfg, mesh.size)
    faces, held_out_faces = build_source(cfg, "train"), build_source(cfg, "test")
    positions(cfg.action_units, faces.action_units)
    images_per_step = cfg.n_critic * cfg.batch_size
    images_per_call = images_per_step * cfg.steps_per_call
    calls = math.ceil(cfg.epochs * len(faces) / images_per_call)
    total_steps = calls * cfg.steps_per_call
    total = total_steps * images_per_step

    method = METHODS[cfg.method](cfg)
    optimizers = build_optimizers(cfg, len(faces), len(method.critic_losses))

    init = engine.make_init(method, optimizers, cfg.image_size, len(cfg.action_units))
    shapes = jax.eval_shape(init, jax.random.key(0))
    state_sharding = sharding.state_sharding(mesh, shapes)
    replicated = sharding.replicated(mesh)
    unroll = jax.default_backend() == "cpu"
    train_step: Callable[..., Any] = engine.make_train_step(
        method, optimizers, ema_decay=cfg.ema_decay, unroll=unroll
    )
    if cfg.data.resident:
        train_step = resident.make_resident_step(train_step)
    step_fn = jax.jit(
        engine.repeat(train_step, unroll=unroll),
        donate_argnums=0,
        out_shardings=(state_sharding, replicated),
    )
    edit_fn, read_fn = jax.jit(method.edit), jax.jit(method.read_aus)

    config = json_config(cfg)
    checkpoints = Checkpoints(workdir / "checkpoints", **cfg.keep)
    restored = checkpoints.restore(
        sharding.with_sharding(shapes, state_sharding),
        check=lambda note: check_continues(note, config, workdir),
    )
    if restored:
        start, state = restored
    else:
        # XLA compiles the initial draws several times faster with its own generator.
        start, state = 0, jax.jit(init)(jax.random.key(cfg.seed, impl="rbg"))
        state = jax.device_put(state, state_sharding)
    log.info(
        "%s on %d %s device(s): %s + %s parameters; %s faces; %s steps of %d images",
        f"continuing after step {start:,}" if restored else "training",
        mesh.size,
        jax.default_backend(),
        f"{parameter_count(shapes.generator.params):,}",
        f"{parameter_count(shapes.critic.params):,}",
        f"{len(faces):,}",
        f"{total_steps:,}",
        images_per_step,
    )
    writer = Writer(workdir, config, start=start * images_per_step, total=total, wandb=cfg.wandb)
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
        start=start,
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
    run_key = jax.device_put(jax.random.key(cfg.seed), replicated)
    in_flight: collections.deque[tuple[int, Metrics]] = collections.deque()

    def due(interval: int, images: int) -> bool:
        return images % interval < images_per_call or images == total

    def retire(left: int) -> None:
        """Wait until ``left`` calls are in flight; log those that ended if it is time."""
        while len(in_flight) > left:
            images, metrics = in_flight.popleft()
            jax.block_until_ready(metrics)
            if due(cfg.every.log, images):
                writer.metrics(images, finite(images, jax.device_get(metrics)))

    for step in range(start + cfg.steps_per_call, total_steps + 1, cfg.steps_per_call):
        batch = kind(**sharding.place_batch(mesh, next(batches), leading=2))
        state, metrics = step_fn(state, batch, run_key, *on_devices)
        images = step * images_per_step
        in_flight.append((images, metrics))
        retire(IN_FLIGHT)

        sampling, evaluating, saving = (
            due(interval, images)
            for interval in (cfg.every.sample, cfg.every.evaluate, cfg.every.checkpoint)
        )
        if sampling or evaluating or saving:
            retire(0)
        edit = functools.partial(edit_fn, state.ema)
        if sampling:
            writer.picture(
                images,
                "samples",
                samples.expressions(edit, shown["image"], shown["aus"], cfg.action_units),
            )
        scores = None
        if evaluating:
            read_aus = functools.partial(read_fn, state.critic.params)
            seen = held_out.look(held_out_batches(cfg, held_out_faces), edit, read_aus)
            found = held_out.evaluate(seen, held_out_faces, cfg.action_units)
            scores = {name: value for name, value in found if not name.endswith("/se")}
            writer.metrics(images, scores, CONSOLE_SCORES)
        if saving:
            finite(images, jax.device_get(metrics))  # also when this step is not logged
            # The step is also the position in the data: no batch is drawn before it is kept.
            checkpoints.save(step, state, config, scores)

    batches.close()
    checkpoints.close()
    writer.close()
    log.info("finished: %s", workdir)


def finite(images: int, metrics: dict[str, np.ndarray]) -> dict[str, float]:
    """``metrics`` as floats.

    Raises:
      FloatingPointError: some are not finite; names them.
    """
    values = {name: float(value) for name, value in metrics.items()}
    broken = [name for name, value in values.items() if not math.isfinite(value)]
    if broken:
        raise FloatingPointError(
            f"not finite at {images:,} images: {', '.join(broken)}; nothing was saved since. "
            "Try a smaller lr, or dtype=float32"
        )
    return values


def check(cfg: ConfigDict, devices: int) -> None:
    """Refuse what cannot run, before anything is compiled.

    Raises:
      ValueError: names the field, its value and what to do.
    """
    depth = cfg.critic.depth or depth_for(cfg.image_size)
    if cfg.image_size % 2**depth or cfg.image_size % 4:
        raise ValueError(
            f"image_size {cfg.image_size} does not halve {depth} times (critic.depth), or is not "
            "a multiple of 4 (generator); use 64, 128 or 256, or set critic.depth=0"
        )
    if cfg.batch_size % devices:
        below = cfg.batch_size // devices * devices
        near = f"{below} or {below + devices}" if below else str(devices)
        raise ValueError(
            f"batch_size {cfg.batch_size} is not divisible by {devices} devices; use {near}"
        )
    if cfg.method not in METHODS:
        raise ValueError(f"method {cfg.method!r} is not one of {', '.join(METHODS)}")
    if cfg.dtype not in ("float32", "bfloat16"):
        raise ValueError(f"dtype {cfg.dtype!r} is neither float32 nor bfloat16")
    if cfg.decay not in DECAYS:
        raise ValueError(f"decay {cfg.decay!r} is not one of {', '.join(DECAYS)}")
    for name in POSITIVE:
        value = functools.reduce(getattr, name.split("."), cfg)
        if value <= 0:
            raise ValueError(f"{name} is {value}; it must be above 0")


def check_continues(note: dict[str, Any], config: dict[str, Any], workdir: Path) -> None:
    """Refuse to continue from a checkpoint whose state or data ``config`` does not fit.

    At step 0 (imported weights) nothing has been trained: only the model must be the same.

    Args:
      note: of the checkpoint: its step and config.
      config: of this run.
      workdir: for the message.

    Raises:
      ValueError: lists the fields that differ.
    """
    saved, fields = flatten_dict(note["config"], sep="."), flatten_dict(config, sep=".")
    changes = [
        f"{name}: {saved.get(name)} -> {fields.get(name)}"
        for name in sorted(saved | fields)
        if saved.get(name) != fields.get(name)
        and not name.startswith(FREE_TO_CHANGE)
        and (note["step"] or name.startswith(MODEL))
    ]
    if changes:
        raise ValueError(
            f"{workdir} holds a run with another config ({'; '.join(changes)}); "
            "continue it with its own, or choose another --workdir"
        )


def json_config(cfg: ConfigDict) -> dict[str, Any]:
    """``cfg`` as plain values, as they come back from a checkpoint."""
    return json.loads(cfg.to_json())
