"""A trained model as it is used: its networks and weights, whatever config it was trained with."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from ganimation_jax import methods
from ganimation_jax.runs import card_checks, cards, model_files
from ganimation_jax.types import Model, Nets


class Run(NamedTuple):
    """A run's newest checkpoint, or a model made of one. Parameters are NumPy arrays."""

    step: int  # steps trained so far; 0 for imported weights
    config: dict[str, Any]  # as saved: at least the method and what its networks follow from
    model: Model
    nets: Nets  # as trained last
    ema: Nets  # moving averages of some of them
    about: Mapping[str, Any] = MappingProxyType({})  # the rest of a model's card, as its licence

    @property
    def used(self) -> Nets:
        """The networks to use: averaged where there is an average."""
        return {**self.nets, **self.ema}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the conditions, in the order of the networks' inputs."""
        return self.model.names

    @property
    def image_size(self) -> int:
        """Side of the images that the run was trained on."""
        return self.model.image_size


def load_run(source: Path | str) -> Run:
    """A run, from the first of these that ``source`` is; nothing in it is changed.

    - the workdir of a run, of which the newest whole checkpoint is taken
    - a model's ``.safetensors`` file or the ``.json`` beside it
    - the name of a model that comes with the library

    Raises:
      FileNotFoundError: there is no such thing, no checkpoint in it, or all are damaged.
      ValueError: a damaged model, or one of a method that this version does not have.
    """
    if (named := cards.path_of(source)) is not None:
        return _from_pretrained(model_files.read(named), str(source))
    # Imported only for a run, because Orbax takes a second that a model's file does not need.
    from ganimation_jax.runs.checkpoint import load_weights

    path = Path(source)
    loaded = load_weights(path / "checkpoints")
    if loaded is None:
        raise FileNotFoundError(f"no checkpoint in {path / 'checkpoints'}")
    note, nets, ema = loaded
    cards.check_finite(flatten_dict({**nets, **ema}, sep="/"), str(source))
    return Run(note["step"], note["config"], _model(note["config"], str(source)), nets, ema)


def _from_pretrained(found: model_files.Pretrained, source: str) -> Run:
    about = dict(found.card)
    config, step = about.pop("config"), about.pop("step")
    _method(config, source)
    model = card_checks.model_of({"dtype": "float32"} | config, found.nets, source)
    if not set(model.reads_with) <= set(found.nets):  # shared without what reads conditions
        model = model._replace(read=None)
    # Its networks are averaged already where they have an average.
    ema = {name: found.nets[name] for name in model.averaged}
    return Run(step, config, model, found.nets, ema, about)


def _model(config: dict[str, Any], source: str) -> Model:
    # Imported weights come without a dtype.
    return _method(config, source).model(ConfigDict({"dtype": "float32"} | config))


def _method(config: dict[str, Any], source: str) -> Any:
    try:
        return methods.load(config.get("method", ""))
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
