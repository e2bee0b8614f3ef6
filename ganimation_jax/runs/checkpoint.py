"""Checkpoints (Orbax): asynchronous, verified, keeping the latest and the best.

A checkpoint holds the state and a JSON note with the step, the config and the position in the
data. Orbax renames a checkpoint into place when it is complete, so an
interrupted save is never taken for one. A damaged file would restore silently wrong:
digests of all files are kept beside them and checked.
"""

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy as preservation

from ganimation_jax.parallel import processes
from ganimation_jax.types import GanState

log = logging.getLogger(__name__)
# Orbax warns at each save without scores, though most have none.
logging.getLogger("absl").addFilter(lambda record: "tracked_metric" not in record.getMessage())

DIGESTS = "sha256.json"
NONE, ALL_DAMAGED = -1, -2  # in place of a step
Note = dict[str, Any]


class Checkpoints:
    """The checkpoints of one run; in several processes, all make every call together.

    Args:
      directory: of the checkpoints; made if absent.
      latest: how many of the newest to keep.
      best: how many of the best to keep besides, by ``metric``, of which less is better.
      metric: a name among the metrics given to ``save``.
    """

    def __init__(self, directory: Path, *, latest: int = 3, best: int = 1, metric: str = ""):
        policies: list[preservation.PreservationPolicy] = [preservation.LatestN(latest)]
        if best and metric:
            # Orbax's `best_fn` with `max_to_keep` could delete the newest checkpoint.
            policies.append(
                preservation.BestN(
                    get_metric_fn=lambda metrics: metrics[metric],
                    reverse=True,
                    n=best,
                    keep_checkpoints_without_metrics=False,
                )
            )
        self._directory = directory.absolute()
        self._manager = ocp.CheckpointManager(
            self._directory,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=preservation.AnyPreservationPolicy(policies),
                # Without a `best_fn` Orbax would forget the metrics at the end of the process.
                best_fn=(lambda metrics: metrics[metric]) if best and metric else None,
                cleanup_tmp_directories=True,
            ),
        )

    def save(
        self, step: int, state: GanState, note: Note, metrics: dict[str, float] | None = None
    ) -> None:
        """Start saving; returns once the state is copied and may be donated.

        Args:
          step: its number among checkpoints.
          state: arrays of any sharding.
          note: JSON values to keep with it; ``step`` is added.
          metrics: scores to choose the best by.

        Raises:
          OSError, ValueError: this or the save before failed: no space, no permission.
        """
        self._seal()
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state),
                note=ocp.args.JsonSave({"step": step} | note),
            ),
            metrics=metrics,
        )

    def restore(
        self, target: GanState, check: Callable[[Note], None] = lambda note: None
    ) -> tuple[Note, GanState] | None:
        """The newest checkpoint that is whole, or None if there is none at all.

        Damaged ones are reported and moved aside, not deleted. A save under way is waited for.

        Args:
          target: ``jax.ShapeDtypeStruct`` leaves with the shardings to restore to, whatever
            devices the checkpoint was saved from.
          check: given the saved note before the state is read; raises to refuse it.

        Returns:
          the note, with ``step``, and the state.

        Raises:
          FileNotFoundError: there are checkpoints, and all of them are damaged.
        """
        self._manager.wait_until_finished()
        # One process looks and decides, so that all restore the same.
        step = processes.agree(self._newest_whole() if processes.is_first() else NONE)
        self._manager.reload()
        if step == NONE:
            return None
        if step == ALL_DAMAGED:
            raise FileNotFoundError(
                f"all checkpoints in {self._directory} are damaged and were moved to "
                f"{self._directory.parent / 'damaged'}; start again with another --workdir"
            )
        note = self._manager.restore(step, args=ocp.args.Composite(note=ocp.args.JsonRestore()))
        check(note["note"])
        state = ocp.args.StandardRestore(target)
        restored = self._manager.restore(step, args=ocp.args.Composite(state=state))
        return note["note"], restored["state"]

    @property
    def newest(self) -> Path | None:
        """Where the newest is."""
        step = self._manager.latest_step()
        return None if step is None else self._directory / str(step)

    def close(self) -> None:
        """Wait for the save under way and seal it."""
        self._seal()
        self._manager.close()

    def _seal(self) -> None:
        """Write the digests of complete checkpoints that have none yet."""
        self._manager.wait_until_finished()
        if not processes.is_first():
            return
        for step in self._manager.all_steps():
            sealed = self._directory / str(step) / DIGESTS
            if not sealed.exists():
                text = json.dumps(_digests(sealed.parent), indent=1)
                partial = sealed.with_suffix(".partial")
                partial.write_text(text)
                partial.replace(sealed)

    def _newest_whole(self) -> int:
        steps = sorted(self._manager.all_steps(), reverse=True)
        for step in steps:
            damage = _damage(self._directory / str(step))
            if not damage:
                return step
            log.error("CHECKPOINT %d IS DAMAGED (%s): trying the one before", step, damage)
            self._move_aside(step)
        return ALL_DAMAGED if steps else NONE

    def _move_aside(self, step: int) -> None:
        damaged = self._directory.parent / "damaged"
        damaged.mkdir(exist_ok=True)
        taken = sum(1 for _ in damaged.glob(f"{step}-*"))
        (self._directory / str(step)).rename(damaged / f"{step}-{taken}")


def any_checkpoint(directory: Path) -> bool:
    """Whether there is one, whole or damaged; the directory need not exist."""
    return directory.is_dir() and any(path.name.isdigit() for path in directory.iterdir())


def load_weights(directory: Path) -> tuple[Note, dict[str, Any]] | None:
    """Parameters in the newest checkpoint that is whole, or None if there is none at all.

    For readers that do not know the run: no shapes are asked for, optimisers are left out,
    and nothing in the directory is changed, so that a run under way is not disturbed.

    Args:
      directory: of the checkpoints; need not exist.

    Returns:
      the note ("step", "config"), and {"generator": params, "critic": params, "ema": params}
      with NumPy leaves.

    Raises:
      FileNotFoundError: there are checkpoints, and all of them are damaged.
    """
    if not directory.is_dir():
        return None
    # Not through a CheckpointManager: it would tidy up a save that another process has begun.
    steps = sorted(int(path.name) for path in directory.iterdir() if path.name.isdigit())
    for step in reversed(steps):
        folder = directory.absolute() / str(step)
        if damage := _damage(folder):
            log.error("CHECKPOINT %d IS DAMAGED (%s): trying the one before", step, damage)
            continue
        handlers = ocp.CompositeCheckpointHandler(
            state=ocp.PyTreeCheckpointHandler(),
            note=ocp.JsonCheckpointHandler(),
            metrics=ocp.JsonCheckpointHandler(),  # not read, but Orbax warns of what it cannot
        )
        with ocp.Checkpointer(handlers) as reader:
            tree = reader.metadata(folder).item_metadata["state"].tree
            wanted = {
                "generator": {"params": tree["generator"]["params"]},
                "critic": {"params": tree["critic"]["params"]},
                "ema": tree["ema"],
            }
            on_host = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted)
            state_args = ocp.args.PyTreeRestore(wanted, on_host, partial_restore=True)
            restored = reader.restore(
                folder, ocp.args.Composite(state=state_args, note=ocp.args.JsonRestore())
            )
        weights = restored["state"]
        return restored["note"], {
            "generator": weights["generator"]["params"],
            "critic": weights["critic"]["params"],
            "ema": weights["ema"],
        }
    if steps:
        raise FileNotFoundError(f"all checkpoints in {directory} are damaged")
    return None


def _damage(folder: Path) -> str:
    """What is wrong with a checkpoint; empty if nothing is."""
    sealed = folder / DIGESTS
    if not sealed.exists():
        # Complete, but the process died before sealing. Orbax's own parts must be there.
        parts = ("state/_METADATA", "note/metadata", "_CHECKPOINT_METADATA")
        missing = [part for part in parts if not (folder / part).exists()]
        return f"missing {', '.join(missing)}" if missing else ""
    expected, found = json.loads(sealed.read_text()), _digests(folder)
    wrong = sorted(name for name in expected if found.get(name) != expected[name])
    return f"changed or missing: {', '.join(wrong)}" if wrong else ""


def _digests(folder: Path) -> dict[str, str]:
    digests = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != DIGESTS and path.suffix != ".partial":
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            digests[path.relative_to(folder).as_posix()] = digest
    return digests
