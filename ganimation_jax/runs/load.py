"""A trained model as it is used: its networks and weights, whatever config it was trained with."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from ganimation_jax.methods import METHODS
from ganimation_jax.methods.ganimation import PAPER_WEIGHTS
from ganimation_jax.runs import model_files, pretrained
from ganimation_jax.runs.checkpoint import load_weights
from ganimation_jax.types import Method, Params


class Run(NamedTuple):
    """A run's newest checkpoint, or a model made of one. Parameters are NumPy arrays."""

    step: int  # generator updates so far; 0 for imported weights
    config: dict[str, Any]  # as saved: at least method, action_units, image_size, the networks
    method: Method
    generator: Params
    critic: Params
    ema: Params  # moving average of the generator: what to edit with
    about: Mapping[str, Any] = MappingProxyType({})  # what a model's card says besides: its licence

    @property
    def action_units(self) -> tuple[str, ...]:
        """Names of the action units, in the order of the networks' conditions."""
        return tuple(self.config["action_units"])

    @property
    def image_size(self) -> int:
        """Side of the images that the run was trained on."""
        return self.config["image_size"]


def load_run(source: Path | str) -> Run:
    """A run, from the first of these that ``source`` is; nothing there is changed.

    - the workdir of a run, whose newest whole checkpoint is taken
    - a model's ``.safetensors`` file or the ``.json`` beside it
    - the name of a model that comes with the library; its generator is the moving average

    Raises:
      FileNotFoundError: there is no such thing, no checkpoint in it, or all are damaged.
      ValueError: a damaged model, or one trained by a method that is not known here.
    """
    path = Path(source)
    if not path.exists() and str(source) in pretrained.NAMES:
        path = pretrained.FOLDER / f"{source}{model_files.CARD}"
    if path.suffix in (model_files.WEIGHTS, model_files.CARD) and not path.is_dir():
        return _from_pretrained(model_files.read(path), str(source))
    loaded = load_weights(path / "checkpoints")
    if loaded is None:
        raise FileNotFoundError(f"no checkpoint in {path / 'checkpoints'}")
    note, weights = loaded
    config = note["config"]
    return Run(note["step"], config, _method_of(config, str(source)), **weights)


def _from_pretrained(model: model_files.Pretrained, source: str) -> Run:
    about = dict(model.card)
    config, step = about.pop("config"), about.pop("step")
    method = _method_of(config, source)
    return Run(step, config, method, model.generator, model.critic, model.generator, about)


def _method_of(config: dict[str, Any], source: str) -> Method:
    if config["method"] not in METHODS:
        raise ValueError(
            f"{source}: method {config['method']!r} is not one of {', '.join(METHODS)}"
        )
    # Imported weights come without a dtype. Losses are not needed to use a run, and those of
    # another version may not be known here.
    used = {"dtype": "float32"} | config | {"loss": PAPER_WEIGHTS._asdict()}
    return METHODS[config["method"]](ConfigDict(used))
