"""Load a trained generator, whatever it is stored in, as one thing that edits faces."""

import functools
import hashlib
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from ganimation_jax.animation import programs
from ganimation_jax.animation.programs import Programs, Weights
from ganimation_jax.conditions import Condition
from ganimation_jax.edits import Edit
from ganimation_jax.faces.crops import CANONICAL_EYES, Eyes
from ganimation_jax.runs import cards, pretrained

Given = Array | np.ndarray
EditFn = Callable[[Given, Given, Given], Edit]
ReadFn = Callable[[Given], Array]

SUFFIX = ".ganimation"
ACCEPTED = (
    f"a run's workdir (with checkpoints/ in it), a {SUFFIX} or {cards.WEIGHTS} file that "
    f"export wrote, or one of these names: {', '.join(pretrained.NAMES)}"
)
# Files that people try, and what is to be done with them.
ELSEWHERE = {
    **dict.fromkeys(
        (".pth", ".pt"),
        "PyTorch weights: import them first, ganimation import-torch --generator {path} --out RUN",
    ),
    ".onnx": "ONNX files run elsewhere, not here: give the run that it was exported from",
}
LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601, as JPEG and Pillow turn colours to grey


class LoadedModel(NamedTuple):
    """A trained generator, ready to edit face crops of one size.

    Crops are in colour whatever it was trained on: see ``in_colour``.
    """

    name: str
    conditions: tuple[Condition, ...]
    image_size: int  # s
    eyes: Eyes  # where they are in the crops that it was trained on
    grey: bool  # it knows no colours
    edit: EditFn  # image b s s 3 in [-1, 1], want b n, have b n -> Edit; compiled once a batch size
    needs_have: bool  # whether edits depend on ``have``
    read_aus: ReadFn | None  # image -> aus b n, not clipped; None if there is no critic
    sha256: str  # of the generator's weights: the same in a run and in what it exports
    about: dict[str, Any]  # what else is known: the step, ...
    undoes: bool = True  # see ``Model.undoes``

    @property
    def action_units(self) -> tuple[str, ...]:
        """Names of the conditions."""
        return tuple(condition.name for condition in self.conditions)


def load_model(source: Path | str) -> LoadedModel:
    """A model from a run's workdir, a file that export wrote or a name in ``pretrained``.

    Of a run the newest checkpoint's moving average is taken.

    Raises:
      FileNotFoundError: there is no such thing, or no checkpoint in it.
      ValueError: a file of another kind, damaged, or of an unknown method.
      ImportError: what reads ``.ganimation`` files is not installed.
    """
    path = Path(source)
    if path.is_dir():
        return _from_run(path)
    if (named := cards.path_of(source)) is not None:
        return _from_files(named)
    if not path.is_file():
        raise FileNotFoundError(f"{source}: there is no such model. A model is {ACCEPTED}")
    if path.suffix in ELSEWHERE:
        advice = ELSEWHERE[path.suffix].format(path=path)
        raise ValueError(f"{path} is no model that can be used as it is. {advice}")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is no model; a model is {ACCEPTED}")
    return _from_export(path)


def weights_sha256(weights: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over names, types, shapes and bytes of all arrays, in the order of the names."""
    digest = hashlib.sha256()
    for name, array in sorted(weights.items()):
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def luminance(image: Float[Given, "*b h w 3"]) -> Float[Array, "*b h w 3"]:
    """Colours as three equal channels of their brightness."""
    grey = sum(image[..., channel] * weight for channel, weight in enumerate(LUMINANCE))
    return jnp.stack([jnp.asarray(grey)] * 3, axis=-1)


def in_colour(edit: Callable[..., Edit]) -> Callable[..., Edit]:
    """Make a function that edits grey crops edit crops in colour; other arguments come first.

    It is given the brightness. What it changes in that is added to red, green and blue alike,
    so that the photo keeps its own chroma; where it changes nothing, nothing changes.
    """

    def edit_in_colour(*args: Any) -> Edit:
        *others, image, want, have = args
        source = luminance(image)
        edited = edit(*others, source, want, have)
        change = luminance(edited.image - source)
        color = None if edited.color is None else luminance(edited.color)
        return edited._replace(image=image + change, color=color)

    return edit_in_colour


def _from_run(workdir: Path) -> LoadedModel:
    # These import Flax, which takes a second.
    from ganimation_jax.animation.tracing import programs_of
    from ganimation_jax.runs.load import load_run

    try:
        run = load_run(workdir)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}; a model is {ACCEPTED}") from error
    crops = _crops(run.config.get("data", {}))
    about = {"method": run.config["method"], "step": run.step, **run.about}
    return _loaded(workdir.resolve().name, about, crops, *programs_of(run, crops[1]))


def _from_files(path: Path) -> LoadedModel:
    """A model from its card or weights, with the programs that were kept for it, if any."""
    found = cards.find(path)
    about = dict(found.card)
    config = about.pop("config")
    crops = _crops(config.get("data", {}))
    file = programs.file_of(found.card)
    made = programs.read(file) if file else None
    if made is not None:
        weights = cards.arrays(found.weights)
    else:
        from ganimation_jax.animation.tracing import programs_of
        from ganimation_jax.runs.load import load_run

        made, weights = programs_of(load_run(path), crops[1])
        if file:
            # The kept ones are also used the first time, so that XLA compiles them only once.
            programs.keep(file, made, weights)
            made = programs.read(file) or made
    about = {"method": config["method"], **about}
    return _loaded(path.resolve().stem, about, crops, made, weights)


def _loaded(
    name: str,
    about: dict[str, Any],
    crops: tuple[Eyes, bool],
    made: Programs,
    weights: Weights,
) -> LoadedModel:
    # Weights as arguments: in the compiled functions themselves they would be constants.
    facts, (eyes, grey) = made.facts, crops
    editing, reading = (
        jax.device_put(programs.chosen(weights, networks))
        for networks in (facts.edits_with, facts.reads_with)
    )
    return LoadedModel(
        name=name,
        conditions=facts.conditions,
        image_size=facts.image_size,
        eyes=eyes,
        grey=grey,
        edit=functools.partial(made.edit, editing),
        needs_have=facts.needs_have,
        read_aus=None if made.read is None else functools.partial(made.read, reading),
        sha256=facts.sha256,
        about=about,
        undoes=facts.undoes,
    )


def _from_export(path: Path) -> LoadedModel:
    from ganimation_jax.interop.stablehlo import load_exported  # slow, and seldom needed

    exported = load_exported(path)
    eyes, grey = _crops(exported.manifest)
    used = ("action_units", "conditions", "image_size", "eyes", "grey", "undoes")
    return LoadedModel(
        name=path.stem,
        conditions=exported.conditions,
        image_size=exported.image_size,
        eyes=eyes,
        grey=grey,
        edit=in_colour(exported.__call__) if grey else exported.__call__,
        needs_have=exported.needs_have,
        read_aus=None,
        sha256=weights_sha256(exported.weights),
        about={key: value for key, value in exported.manifest.items() if key not in used},
        undoes=exported.manifest.get("undoes", True),
    )


def _crops(facts: Mapping[str, Any]) -> tuple[Eyes, bool]:
    """Where the eyes are and whether it is grey, as far as it is said; else as ``prepare`` cuts."""
    left, right = facts.get("eyes", CANONICAL_EYES)
    return ((left[0], left[1]), (right[0], right[1])), bool(facts.get("grey", False))
