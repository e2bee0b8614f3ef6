"""What is checked before a run starts: its config, alone and against what it continues."""

import functools
import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from ganimation_jax import methods
from ganimation_jax.steps.optimizers import DECAYS
from ganimation_jax.training.variation import Variation

log = logging.getLogger(__name__)

POSITIVE = (
    "batch_size", "n_critic", "steps_per_call", "epochs", "lr",
    "every.log", "every.sample", "every.evaluate", "every.checkpoint",
    "evaluate.examples", "evaluate.batch_size", "keep.latest",
)  # fmt: skip
# What may change when a run continues: nothing that state, data or schedule depend on.
FREE_TO_CHANGE = (
    "clips", "data.dir", "data.eyes", "data.grey", "data.resident", "data.second", "data.workers",
    "debug_nans", "evaluate.", "every.", "health.", "keep.", "mesh.", "non_finite.", "wandb.",
)  # fmt: skip


def check(cfg: ConfigDict, devices: int) -> None:
    """Refuse what cannot run, before anything is compiled.

    Raises:
      ValueError: names the field, its value and what to do.
    """
    if cfg.batch_size % devices:
        below = cfg.batch_size // devices * devices
        near = f"{below} or {below + devices}" if below else str(devices)
        raise ValueError(
            f"batch_size {cfg.batch_size} is not divisible by {devices} devices; use {near}"
        )
    if cfg.dtype not in ("float32", "bfloat16"):
        raise ValueError(f"dtype {cfg.dtype!r} is neither float32 nor bfloat16")
    if cfg.decay not in DECAYS:
        raise ValueError(f"decay {cfg.decay!r} is not one of {', '.join(DECAYS)}")
    check_positive(cfg, POSITIVE)
    Variation.of(cfg.augment)
    methods.load(cfg.method).check(cfg)


def check_positive(cfg: ConfigDict, names: Iterable[str]) -> None:
    """Refuse fields, named with dots, that are not above 0.

    Raises:
      ValueError: names the field and its value.
    """
    for name in names:
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
    fixed = ("method", *methods.load(config["method"]).MODEL_FIELDS)
    changes = [
        f"{name}: {saved[name]} -> {fields[name]}"
        for name in sorted(saved.keys() & fields.keys())
        if saved[name] != fields[name]
        and not name.startswith(FREE_TO_CHANGE)
        and (note["step"] or name.startswith(fixed))
    ]
    if note["step"] and (new := sorted(fields.keys() - saved.keys())):
        log.warning("%s was begun by a version that did not know %s", workdir, ", ".join(new))
    if changes:
        raise ValueError(
            f"{workdir} holds a run with another config ({'; '.join(changes)}); resume it with its "
            f"own, or begin a new run with these weights: another --workdir and "
            f"--config.init_from={workdir}"
        )


def check_same_faces(note: dict[str, Any], faces: str, workdir: Path) -> None:
    """Refuse to resume a run with other faces or labels than it was trained with.

    Args:
      note: of the checkpoint; "faces" is the fingerprint of its training faces.
      faces: the fingerprint of those that the config names.
      workdir: for the message.

    Raises:
      ValueError: they differ.
    """
    if not note["step"]:  # imported weights: nothing has been trained here
        return
    if "faces" not in note:
        log.warning("%s does not say which faces it was trained with: not checked", workdir)
    elif note["faces"] != faces:
        raise ValueError(
            f"{workdir} was trained with other faces or labels (fingerprint {note['faces']}, now "
            f"{faces}). Resume it with the dataset that it began with (--config.data.dir), or "
            "begin a new run with these weights: another --workdir and "
            f"--config.init_from={workdir}"
        )


def json_config(cfg: ConfigDict) -> dict[str, Any]:
    """``cfg`` as plain values, as they come back from a checkpoint."""
    return json.loads(cfg.to_json())
