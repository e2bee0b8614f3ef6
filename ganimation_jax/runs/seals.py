"""Whether the files of a checkpoint are as they were written.

A changed byte in an array would restore without an error. So each checkpoint holds the SHA-256
of all its files, in ``sha256.json``, written before Orbax renames the checkpoint into place:
a checkpoint that this version wrote has its digests from the first moment that it exists.
Checkpoints without digests come from older versions; they can only be tried.
"""

import asyncio
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from ganimation_jax.files.atomic import write_atomically

DIGESTS = "sha256.json"
METADATA = "_CHECKPOINT_METADATA"  # Orbax's own, of a whole checkpoint
# Orbax 0.12 writes this one, which nothing reads, after the digests and before the final name.
COMMITTED = "commit_success.txt"
PARTS = ("state/_METADATA", "note/metadata", METADATA)
SHOWN = 160  # characters of an error's message
# What Orbax, TensorStore and their JSON readers raise on damaged files; RuntimeError covers
# NotImplementedError, RecursionError and JAX's own errors.
UNREADABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


class SealedPath(ocp.path.atomicity.AtomicRenameTemporaryPath):
    """A checkpoint under construction, which gets its digests just before its final name."""

    _checkpoint_metadata_store: Any  # Orbax's, without a type there

    async def finalize(self) -> None:
        """Complete Orbax's metadata, write the digests, rename."""
        metadata, self._checkpoint_metadata_store = self._checkpoint_metadata_store, None
        if metadata:
            # Orbax would do this after the digests are taken.
            metadata.wait_until_finished()
            metadata.update(
                file_path=self._tmp_path / METADATA, commit_timestamp_nsecs=time.time_ns()
            )
            metadata.wait_until_finished()
        await asyncio.to_thread(seal, Path(str(self._tmp_path)))
        await super().finalize()


def seal(folder: Path) -> None:
    """Write the digests of a checkpoint's files."""
    write_atomically(folder / DIGESTS, json.dumps(_digests(folder), indent=1))


def is_sealed(folder: Path) -> bool:
    """Whether a checkpoint has digests."""
    return (folder / DIGESTS).exists()


def damage_of(folder: Path) -> str:
    """What is wrong with a checkpoint, in a phrase; empty if nothing is."""
    try:
        if not is_sealed(folder):
            return _damage_of_unsealed(folder)
        expected, found = json.loads((folder / DIGESTS).read_bytes()), _digests(folder)
    except (OSError, ValueError, RecursionError) as error:
        return in_short(error)
    if not isinstance(expected, dict) or not set(PARTS) <= expected.keys():
        return f"{DIGESTS} does not list the files of a checkpoint"
    names = sorted(expected.keys() | found.keys())
    wrong = [name for name in names if expected.get(name) != found.get(name)]
    return f"changed, missing or added: {', '.join(wrong)}" if wrong else ""


def damage_of_metrics(folder: Path) -> str:
    """As ``damage_of``, of the scores alone, which Orbax reads as soon as it sees the folder."""
    scores = folder / "metrics" / "metrics"
    if not scores.exists():
        return ""
    try:
        values = json.loads(scores.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        return f"{scores.relative_to(folder)}: {in_short(error)}"
    whole = isinstance(values, dict) and all(isinstance(x, int | float) for x in values.values())
    return "" if whole else f"{scores.relative_to(folder)} holds no scores"


def read(folder: Path, networks: Any = None) -> tuple[dict[str, Any], Any]:
    """A checkpoint's note and arrays, on the host and without knowing their shapes.

    Args:
      folder: of the checkpoint, absolute.
      networks: given the tree of the state, the part of it to read; None: all.

    Raises:
      UNREADABLE: any of these if the files are damaged.
    """
    handlers = ocp.CompositeCheckpointHandler(
        state=ocp.PyTreeCheckpointHandler(),
        note=ocp.JsonCheckpointHandler(),
        metrics=ocp.JsonCheckpointHandler(),  # not read, but Orbax warns of what it cannot
    )
    with ocp.Checkpointer(handlers) as reader:
        tree = reader.metadata(folder).item_metadata["state"].tree
        wanted = networks(tree) if networks else tree
        on_host = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted)
        state = ocp.args.PyTreeRestore(wanted, on_host, partial_restore=True)
        note = ocp.args.JsonRestore()
        restored = reader.restore(folder, ocp.args.Composite(state=state, note=note))
    return restored["note"], restored["state"]


def in_short(error: Exception) -> str:
    """An exception's kind and the beginning of its message; TensorStore's go on for pages."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:SHOWN]}{'...' if len(text) > SHOWN else ''}"


def _damage_of_unsealed(folder: Path) -> str:
    if missing := [part for part in PARTS if not (folder / part).exists()]:
        return f"missing {', '.join(missing)}"
    try:
        note, _ = read(folder)
    except UNREADABLE as error:
        return in_short(error)
    if not isinstance(note, dict) or str(note.get("step")) != folder.name:
        return "its note is of another step"
    return ""


def _digests(folder: Path) -> dict[str, str]:
    digests = {}
    for path in sorted(folder.rglob("*")):
        sealed = path.name not in (DIGESTS, COMMITTED) and path.suffix != ".partial"
        if sealed and path.is_file():
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            digests[path.relative_to(folder).as_posix()] = digest
    return digests
