"""Training: the loop, read from top to bottom."""

import contextlib
import functools
import logging
from pathlib import Path

import jax
from ml_collections import ConfigDict

from ganimation_jax.data.pipeline import evaluation_batches, held_out_batches
from ganimation_jax.evaluation import held_out, suite
from ganimation_jax.parallel import processes, sharding
from ganimation_jax.reports import samples
from ganimation_jax.training.guard import Guard
from ganimation_jax.training.programs import batch_kind
from ganimation_jax.training.setup import Parts, setup, stream
from ganimation_jax.types import State

log = logging.getLogger(__name__)

SAMPLE_FACES = 3
CONSOLE_SCORES = (
    "own_on_real/mae",
    "own_on_edits/mae",
    "own_on_real/emotion_error",
    "own_on_edits/emotion_error",
    "edit_response/r",
    "edit_response/pixels",
    "reconstruction/psnr",
    "attention/mean",
)


def train(cfg: ConfigDict, workdir: Path) -> bool:
    """Train to the end of ``cfg``, resuming what is in ``workdir``.

    With several processes all call this, with a ``workdir`` that they share.

    Returns:
      whether the end was reached. If not, the run was asked to stop (SIGTERM), and saved.

    Raises:
      ValueError, FileNotFoundError: ``cfg`` cannot be run; nothing has been compiled yet.
      OSError: ``workdir`` cannot be written, or another run is at work in it.
      FloatingPointError: losses or gradients are not finite, and going back did not help.
    """
    jax.config.update("jax_debug_nans", cfg.debug_nans)
    with contextlib.ExitStack() as stack:
        parts, (state, step, drawn) = setup(cfg, workdir, stack)
        schedule, records, guard = parts.schedule, parts.records, parts.guard
        batches = stream(cfg, parts, drawn)
        stack.callback(batches.close)
        look = Look(cfg, parts)
        kind, rollbacks = batch_kind(cfg), 0
        preemption = stack.enter_context(processes.Preemption())

        while step < schedule.steps:
            # One call of the device, which computes while the host prepares the next.
            batch = kind(**sharding.place_batch(parts.mesh, next(batches), leading=2))
            with jax.transfer_guard("disallow"):  # an implicit copy would wait for the device
                state, metrics = parts.steps[schedule.phase(step)](state, batch, *parts.constants)
            step, drawn = step + cfg.steps_per_call, drawn + cfg.steps_per_call
            images = schedule.images(step)
            records.push(images, metrics)

            # What is due now.
            stopping = preemption.asked()
            sampling = schedule.due(cfg.every.sample, images)
            evaluating = schedule.due(cfg.every.evaluate, images)
            saving = schedule.due(cfg.every.checkpoint, images) or stopping
            if sampling or evaluating or saving:
                records.settle()

            # Lost: go back to the last checkpoint, and on with other data.
            if guard.lost:
                state, step = go_back(parts, rollbacks, cfg.non_finite.rollbacks)
                rollbacks += 1
                if stopping:
                    break
                continue

            # Look at it.
            if sampling:
                look.show(state, images)
            scores = look.evaluate(state, images) if evaluating else None

            # Save. The note says which data come next: no batch is drawn before it is kept.
            if saving and guard.clean:
                parts.checkpoints.save(step, state, parts.note | {"drawn": drawn}, scores)
            if stopping:
                break

        parts.checkpoints.wait()
        if newest := parts.checkpoints.newest:
            parts.writer.artifact(newest, step)
    finished = step == schedule.steps
    log.info("%s: %s", "finished" if finished else f"asked to stop after step {step:,}", workdir)
    return finished


class Look:
    """Pictures and scores of held-out faces during training.

    Args:
      cfg: of the run.
      parts: of the run.
    """

    def __init__(self, cfg: ConfigDict, parts: Parts):
        self._cfg, self._parts = cfg, parts
        self._edit = jax.jit(parts.model.edit)
        self._read = None if parts.model.read is None else jax.jit(parts.model.read)
        self._to_one_device = sharding.make_local(parts.mesh)
        with contextlib.closing(
            evaluation_batches(
                parts.held_out,
                image_size=cfg.image_size,
                conditions=parts.model.names,
                batch_size=SAMPLE_FACES,
                examples=SAMPLE_FACES,
                seed=cfg.seed,
            )
        ) as batches:
            self._shown = next(batches)

    def show(self, state: State, images: int) -> None:
        """Write a grid of expressions, and a clip of them if the config asks for it."""
        parts = self._parts
        edit = functools.partial(self._edit, self._to_one_device(state.used))
        shown = edit, self._shown["image"], self._shown["have"], parts.model.conditions
        parts.writer.picture(images, "samples", samples.expressions(*shown, parts.model.undoes))
        if self._cfg.clips:
            parts.writer.video(images, "expressions", samples.moving_expressions(*shown))

    def evaluate(self, state: State, images: int) -> dict[str, float]:
        """Measure on the held-out faces, and record it."""
        parts = self._parts
        nets = self._to_one_device(state.used)
        edit = functools.partial(self._edit, nets)
        read = None if self._read is None else functools.partial(self._read, nets)
        seen = held_out.look(
            held_out_batches(self._cfg, parts.held_out, parts.model.names),
            edit,
            read,
            parts.model.undoes,
        )
        subject = held_out.Subject(seen, parts.held_out, parts.model.conditions, edit, read)
        scores = {one.key: one.value for part in suite.quick(subject) for one in part.scores}
        parts.records.write(images, scores, CONSOLE_SCORES)
        return scores


def go_back(parts: Parts, rollbacks: int, most: int) -> tuple[State, int]:
    """Restore the last checkpoint after updates that were not finite.

    The data are not taken back: the same ones might break it again.

    Raises:
      FloatingPointError: this was tried ``most`` times, or there is no checkpoint.
    """
    restored = parts.checkpoints.restore(parts.target) if rollbacks < most else None
    if restored is None:
        raise FloatingPointError(give_up(parts.guard, rollbacks))
    note, state = restored
    step = int(note["step"])
    log.error("GOING BACK to step %s: not finite %s", step, parts.guard.first)
    parts.records.rewind(parts.schedule.images(step))
    return state, step


def give_up(guard: Guard, rollbacks: int) -> str:
    """Why a run with broken numbers ends."""
    tried = f"; went back {rollbacks} time(s) before" if rollbacks else ""
    return (
        f"not finite {guard.first}{tried}; nothing was saved since. Try a smaller lr or "
        "dtype=float32; --config.debug_nans=True names the operation"
    )
