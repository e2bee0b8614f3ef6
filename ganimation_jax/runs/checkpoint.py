"""Checkpoints (Orbax): asynchronous, verified, keeping the latest and the best.

A checkpoint holds the state and a JSON note with the step, the config and the position in the
data. Orbax renames a checkpoint into place when it is complete, so an interrupted save is never
taken for one. Digests of its files are part of it (``seals.py``) and are checked before it is
used.
"""

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy as preservation

from ganimation_jax.parallel import processes
from ganimation_jax.runs import old_layout, seals
from ganimation_jax.types import Nets, State

log = logging.getLogger(__name__)
# Orbax warns at each save without scores, though most have none.
logging.getLogger("absl").addFilter(lambda record: "tracked_metric" not in record.getMessage())

NONE, ALL_DAMAGED = -1, -2  # in place of a step
Note = dict[str, Any]


class Checkpoints:
    """The checkpoints of one run; with several processes, all make every call together.

    Args:
      directory: of the checkpoints; made if absent.
      latest: how many of the newest to keep.
      best: how many of the best to keep besides, by ``metric``, of which less is better.
      metric: a name among the metrics given to ``save``.
    """

    def __init__(self, directory: Path, *, latest: int = 3, best: int = 1, metric: str = ""):
        self._directory = directory.absolute()
        self._had_any = any_checkpoint(self._directory)
        # Orbax reads the scores of all checkpoints at once, and would raise.
        if processes.is_first():
            for step in _steps(self._directory):
                if damage := seals.damage_of_metrics(self._directory / str(step)):
                    self._set_aside(step, damage)
        processes.agree(0)

        def score(metrics: dict[str, float]) -> float:
            value = metrics.get(metric, math.inf)  # an older run may have kept another
            return math.inf if math.isnan(value) else value

        policies: list[preservation.PreservationPolicy] = [preservation.LatestN(latest)]
        if best and metric:
            # Orbax's `best_fn` with `max_to_keep` could delete the newest checkpoint.
            policies.append(
                preservation.BestN(
                    get_metric_fn=score,
                    reverse=True,
                    n=best,
                    keep_checkpoints_without_metrics=False,
                )
            )
        self._manager = ocp.CheckpointManager(
            self._directory,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=preservation.AnyPreservationPolicy(policies),
                # Without a `best_fn` Orbax would forget the metrics at the end of the process.
                best_fn=score if best and metric else None,
                cleanup_tmp_directories=True,
                temporary_path_class=seals.SealedPath,
            ),
        )

    def save(
        self, step: int, state: State, note: Note, metrics: dict[str, float] | None = None
    ) -> None:
        """Start saving; returns once the state is copied and may be donated.

        Args:
          step: its number among checkpoints.
          state: arrays of any sharding.
          note: JSON values to keep with it; ``step`` is added.
          metrics: scores to choose the best by.

        Raises:
          OSError, ValueError: this save or the previous one failed: no space, no permission.
        """
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state),
                note=ocp.args.JsonSave({"step": step, "layout": old_layout.LAYOUT} | note),
            ),
            metrics=metrics,
        )

    def restore(
        self, target: State, check: Callable[[Note], None] = lambda note: None
    ) -> tuple[Note, State] | None:
        """The newest checkpoint that is whole, or None if there is no checkpoint at all.

        Damaged ones are reported and moved aside, not deleted. A save under way is waited for.

        Args:
          target: ``jax.ShapeDtypeStruct`` leaves with the shardings to restore to, whatever
            devices the checkpoint was saved from.
          check: given the saved note before the state is read; raises ValueError to refuse it.

        Returns:
          the note, with ``step``, and the state.

        Raises:
          FileNotFoundError: there are checkpoints, and all of them are damaged.
        """
        self._manager.wait_until_finished()
        while True:
            # One process looks and decides, so that all restore the same.
            newest = self._newest_whole() if processes.is_first() else NONE
            step = processes.agree(newest)
            self._manager.reload()
            if step == NONE:
                return None
            if step == ALL_DAMAGED:
                raise FileNotFoundError(
                    f"all checkpoints in {self._directory} are damaged and were moved to "
                    f"{self._directory.parent / 'damaged'}; start again with another --workdir"
                )
            restored = self._try(step, target, check)
            if not isinstance(restored, str):
                return restored
            if processes.is_first():
                self._set_aside(step, restored)

    @property
    def newest(self) -> Path | None:
        """Folder of the newest checkpoint, if there is one."""
        step = self._manager.latest_step()
        return None if step is None else self._directory / str(step)

    def wait(self) -> None:
        """Wait for the save under way."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Wait for the save under way, and free what was opened."""
        self.wait()
        self._manager.close()

    def _newest_whole(self) -> int:
        had_any = self._had_any or any_checkpoint(self._directory)
        for step in sorted(_steps(self._directory), reverse=True):
            if not (damage := seals.damage_of(self._directory / str(step))):
                return step
            self._set_aside(step, damage)
        return ALL_DAMAGED if had_any else NONE

    def _try(
        self, step: int, target: State, check: Callable[[Note], None]
    ) -> tuple[Note, State] | str:
        """Restore one checkpoint, or say what is wrong with it if it has no digests."""
        sealed = seals.is_sealed(self._directory / str(step))
        # What an intact checkpoint raises is no damage. Refusals are ValueErrors.
        mistakes = () if sealed else (AttributeError, LookupError, TypeError)
        failures = () if sealed else seals.UNREADABLE
        args = ocp.args.Composite(note=ocp.args.JsonRestore())
        note = self._manager.restore(step, args=args)["note"]
        try:
            check(note)
        except mistakes as error:
            return f"its note: {seals.in_short(error)}"
        try:
            old = old_layout.is_old(note)
            saved = old_layout.as_saved(target) if old else target
            args = ocp.args.Composite(state=ocp.args.StandardRestore(saved))
            state = self._manager.restore(step, args=args)["state"]
            if old:
                state = old_layout.as_now(state, target)
        except failures as error:
            return f"its state: {seals.in_short(error)}"
        if not sealed and processes.is_first():
            seals.seal(self._directory / str(step))
        return note, state

    def _set_aside(self, step: int, damage: str) -> None:
        damaged = self._directory.parent / "damaged"
        damaged.mkdir(exist_ok=True)
        taken = sum(1 for _ in damaged.glob(f"{step}-*"))
        place = damaged / f"{step}-{taken}"
        (self._directory / str(step)).rename(place)
        message = "CHECKPOINT %d IS DAMAGED (%s): moved to %s; trying the one before"
        log.error(message, step, damage, place)


def any_checkpoint(directory: Path) -> bool:
    """Whether there is one, whole or damaged; the directory need not exist."""
    return bool(_steps(directory))


def load_weights(directory: Path) -> tuple[Note, Nets, Nets] | None:
    """Parameters in the newest checkpoint that is whole, or None if there is none at all.

    For readers that do not know the run: no shapes are asked for, optimisers are left out,
    and nothing in the directory is changed. A run may be writing to the directory meanwhile.

    Args:
      directory: of the checkpoints; need not exist.

    Returns:
      the note ("step", "config"), the networks and their moving averages, with NumPy leaves.

    Raises:
      FileNotFoundError: there are checkpoints, and all of them are damaged.
    """
    # Not through a CheckpointManager: it would tidy up a save that another process has begun.
    damaged: set[int] = set()
    while steps := _steps(directory) - damaged:
        step = max(steps)
        folder = directory.absolute() / str(step)
        try:
            if not (damage := seals.damage_of(folder)):
                note, saved = seals.read(folder, _networks)
                if old_layout.is_old(note):
                    return note, *old_layout.weights(saved)
                return note, saved["nets"], saved["ema"]
        except seals.UNREADABLE as error:
            damage = seals.in_short(error)
        # A run deletes a checkpoint only when it has a newer one: that is no damage.
        remaining = _steps(directory) - damaged
        if step in remaining and step == max(remaining):
            log.error("CHECKPOINT %d IS DAMAGED (%s): trying the one before", step, damage)
            damaged.add(step)
    if damaged:
        raise FileNotFoundError(f"all checkpoints in {directory} are damaged")
    return None


def _networks(tree: Any) -> dict[str, Any]:
    """The part of a saved state that is needed to use it."""
    if "nets" not in tree:
        return old_layout.networks(tree)
    return {"nets": tree["nets"], "ema": tree["ema"]}


def _steps(directory: Path) -> set[int]:
    if not directory.is_dir():
        return set()
    return {int(path.name) for path in directory.iterdir() if path.name.isdecimal()}
