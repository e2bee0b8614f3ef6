"""A trained run as it is used: its networks and weights, whatever config it was trained with."""

from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from ganimation_jax.checkpoint import load_weights
from ganimation_jax.methods import METHODS
from ganimation_jax.methods.ganimation import PAPER_WEIGHTS
from ganimation_jax.types import Method, Params


class Run(NamedTuple):
    """The newest checkpoint of a run. Parameters are NumPy arrays on the host."""

    step: int  # generator updates so far; 0 for imported weights
    config: dict[str, Any]  # as saved: at least method, action_units, image_size, the networks
    method: Method
    generator: Params
    critic: Params
    ema: Params  # moving average of the generator: what to edit with

    @property
    def action_units(self) -> tuple[str, ...]:
        """Names of the action units, in the order of the networks' conditions."""
        return tuple(self.config["action_units"])

    @property
    def image_size(self) -> int:
        """Side of the images that the run was trained on."""
        return self.config["image_size"]


def load_run(workdir: Path) -> Run:
    """The newest whole checkpoint of ``workdir``; nothing in it is changed.

    Raises:
      FileNotFoundError: there is no checkpoint, or all are damaged.
      ValueError: the run was trained by a method that is not known here.
    """
    loaded = load_weights(workdir / "checkpoints")
    if loaded is None:
        raise FileNotFoundError(f"no checkpoint in {workdir / 'checkpoints'}")
    note, weights = loaded
    config = note["config"]
    if config["method"] not in METHODS:
        raise ValueError(
            f"{workdir}: method {config['method']!r} is not one of {', '.join(METHODS)}"
        )
    # Imported weights come without a dtype. Losses are not needed to use a run, and those of
    # another version may not be known here.
    used = {"dtype": "float32"} | config | {"loss": PAPER_WEIGHTS._asdict()}
    method = METHODS[config["method"]](ConfigDict(used))
    return Run(note["step"], config, method, **weights)
