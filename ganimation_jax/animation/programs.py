"""A model's programs, kept in a file, so that the next start neither traces them nor imports Flax.

The file is a zip of ``facts.json`` and of one program, serialised by ``jax.export`` for any batch
size, for each function of the model. Its name is a digest of all that the programs follow from:
the model's card, which has the SHA-256 of its weights, the source of this library, the versions
of JAX, and the device. A file can therefore be damaged, but not out of date. It lies in the folder
in which JAX keeps compiled programs; without such a folder nothing is kept.
"""

import functools
import hashlib
import importlib.util
import io
import json
import logging
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jaxlib
import numpy as np
from jax import Array, export

from ganimation_jax.conditions import Condition
from ganimation_jax.edits import Edit
from ganimation_jax.files.atomic import write_atomically
from ganimation_jax.files.npz import ZIP_DAMAGE

Weights = Mapping[str, Any]  # arrays by NETWORK/LAYER/NAME

PACKAGE = Path(__file__).parents[1]
# Settings of JAX that change what is traced.
SETTINGS = ("jax_enable_x64", "jax_default_matmul_precision", "jax_numpy_dtype_promotion")
DAMAGE = (*ZIP_DAMAGE, ValueError, TypeError, AttributeError)

log = logging.getLogger(__name__)


class Facts(NamedTuple):
    """What follows from a model's config, apart from its programs."""

    conditions: tuple[Condition, ...]
    image_size: int
    needs_have: bool
    undoes: bool
    edits_with: tuple[str, ...]  # networks that ``edit`` uses
    reads_with: tuple[str, ...]  # networks that ``read`` uses
    sha256: str  # of the generator's weights


class Programs(NamedTuple):
    """A model's functions. They take its weights, because constants would be compiled in."""

    facts: Facts
    edit: Callable[..., Edit]  # weights, image b s s 3 in [-1, 1], want b n, have b n
    read: Callable[..., Array] | None  # weights, image -> b n


def file_of(card: Mapping[str, Any]) -> Path | None:
    """The file in which a model's programs are or would be kept; None if nothing is kept."""
    folder = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    # JAX's folder may be an address; jax.export needs flatbuffers, which MediaPipe brings.
    if not folder or "://" in folder or importlib.util.find_spec("flatbuffers") is None:
        return None
    settings = [str(getattr(jax.config, name)) for name in SETTINGS]
    versions = [jax.__version__, jaxlib.__version__, jax.default_backend(), *settings]
    digest = hashlib.sha256(json.dumps([card, versions], sort_keys=True).encode())
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.read_bytes())
    return Path(folder) / f"ganimation-{digest.hexdigest()[:32]}.programs"


def read(path: Path) -> Programs | None:
    """The programs in a file; None if it does not exist or is damaged."""
    if not path.is_file():
        return None
    try:
        with zipfile.ZipFile(path) as file:
            contents = {name: file.read(name) for name in file.namelist()}
        given = json.loads(contents.pop("facts.json"))
        parts = given.pop("parts")
        conditions = tuple(Condition(*one) for one in given.pop("conditions"))
        facts = Facts(conditions, **{k: _hashable(value) for k, value in given.items()})
        loaded = {name: export.deserialize(bytearray(code)) for name, code in contents.items()}
        return Programs(
            facts,
            jax.jit(functools.partial(_edit, loaded["edit"], tuple(parts))),
            jax.jit(loaded["read"].call) if "read" in loaded else None,
        )
    except DAMAGE as error:
        log.info("%s is damaged and will be replaced: %s", path, error)
        return None


def keep(path: Path, programs: Programs, weights: Weights) -> None:
    """Trace a model's functions and write them to a file, for later processes.

    Args:
      weights: of all networks that the functions use.
    """
    facts = programs.facts
    (batch,) = export.symbolic_shape("b")
    side, count = facts.image_size, len(facts.conditions)
    image = jax.ShapeDtypeStruct((batch, side, side, 3), np.float32)
    vector = jax.ShapeDtypeStruct((batch, count), np.float32)
    given = image, vector, vector
    used = {name: _shapes(chosen(weights, names)) for name, names in
            (("edit", facts.edits_with), ("read", facts.reads_with))}  # fmt: skip
    edited = jax.eval_shape(programs.edit, used["edit"], *given)
    parts = [name for name, part in edited._asdict().items() if part is not None]

    def edit(*args: Any) -> list[Array]:
        made = programs.edit(*args)
        return [getattr(made, name) for name in parts]

    codes = {"edit": export.export(jax.jit(edit))(used["edit"], *given)}
    if programs.read is not None:
        codes["read"] = export.export(jax.jit(programs.read))(used["read"], image)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr("facts.json", json.dumps({**facts._asdict(), "parts": parts}))
        for name, code in codes.items():
            file.writestr(name, bytes(code.serialize()))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content.getvalue())
    except OSError as error:
        log.warning("the next start will be slow: %s", error)


def chosen(weights: Weights, networks: tuple[str, ...]) -> dict[str, Any]:
    """The weights of some networks."""
    return {name: x for name, x in weights.items() if name.partition("/")[0] in networks}


def _edit(program: export.Exported, parts: tuple[str, ...], *args: Any) -> Edit:
    return Edit(**dict(zip(parts, program.call(*args), strict=True)))


def _shapes(weights: Weights) -> dict[str, jax.ShapeDtypeStruct]:
    return {name: jax.ShapeDtypeStruct(x.shape, x.dtype) for name, x in weights.items()}


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
