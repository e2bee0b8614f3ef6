"""A generator as one self-contained file that runs without this library's networks.

The file is a zip of ``manifest.json`` (action units, image size, versions), ``edit.stablehlo``
(the function, serialised by ``jax.export`` for any batch size on CPU, CUDA and TPU) and
``weights.npz``. Nothing in it is pickled. Running it takes ``jax`` and no network code: it keeps
working when this library's networks change.
"""

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import Array, export
from jaxtyping import Num

from ganimation_jax.files.atomic import write_atomically
from ganimation_jax.files.npz import LARGEST, read_npz
from ganimation_jax.types import Condition, Edit, Model, Nets
from ganimation_jax.version import __version__

FORMAT = "ganimation_jax/1"
PLATFORMS = ("cpu", "cuda", "tpu")
# What the readers of zip, JSON and StableHLO raise on damaged bytes.
DAMAGE = (
    zipfile.BadZipFile, zlib.error, struct.error, json.JSONDecodeError, UnicodeDecodeError,
    KeyError, AttributeError, NotImplementedError, OSError,
)  # fmt: skip


class Exported(NamedTuple):
    """An exported model. Call it: ``exported(image, want)``, or with ``have`` if it needs that."""

    manifest: dict[str, Any]
    run: Callable[..., tuple[Array, ...]]
    weights: dict[str, np.ndarray]  # by name, as the program takes them

    @property
    def action_units(self) -> tuple[str, ...]:
        """Names of the conditions."""
        return tuple(self.manifest["action_units"])

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """The conditions; files of version 0.1 have only their names."""
        listed = self.manifest.get("conditions", [{"name": name} for name in self.action_units])
        return tuple(Condition(**one) for one in listed)

    @property
    def image_size(self) -> int:
        """Side of the images, in pixels."""
        return self.manifest["image_size"]

    @property
    def needs_have(self) -> bool:
        """Whether the edit depends on what the face shows."""
        return self.manifest.get("needs_have", False)

    def __call__(
        self,
        image: Num[Array | np.ndarray, "..."],
        want: Num[Array | np.ndarray, "..."],
        have: Num[Array | np.ndarray, "..."] | None = None,
    ) -> Edit:
        """Edit images. Compiles once for each batch size.

        Args:
          image: ``b h h 3``, [-1, 1].
          want: ``b n``, the wanted conditions, in the order of ``action_units``.
          have: ``b n``, the conditions that the images show; used only if ``needs_have``.

        Raises:
          ValueError: an array has another shape, or ``have`` is missing.
        """
        given = [want] if not self.needs_have else [want, have]
        if any(one is None for one in given):
            raise ValueError("this model needs 'have', the conditions that the images show")
        image, *vectors = (jnp.asarray(one, jnp.float32) for one in (image, *given))
        side, units = self.image_size, len(self.action_units)
        for vector in vectors:
            if image.shape[1:] != (side, side, 3) or vector.shape != (len(image), units):
                raise ValueError(
                    f"image {image.shape} and conditions {vector.shape}; they must be "
                    f"(b, {side}, {side}, 3) and (b, {units})"
                )
        names = self.manifest.get("outputs", ("image", "attention", "color"))
        return Edit(**dict(zip(names, self.run(image, *vectors), strict=True)))


def save_exported(path: Path, model: Model, nets: Nets, about: Mapping[str, Any]) -> None:
    """Write the editing networks as one program for CPU, CUDA and TPU.

    Args:
      path: of the file; missing folders are made.
      model: whose ``edit`` is written.
      nets: its networks; those that ``edit`` does not use are left out.
      about: further facts for the manifest, such as the step.

    Raises:
      ImportError: flatbuffers is not installed.
      OSError: the file cannot be written; nothing is left of it.
    """
    from ganimation_jax.models import cpu_convolutions, layers  # reading a file needs no networks

    used = {name: nets[name] for name in model.edits_with}
    weights: dict[str, Any] = {
        name: np.asarray(x) for name, x in flatten_dict(used, sep="/").items()
    }
    side, count = model.image_size, len(model.conditions)
    image, vector = jnp.zeros((1, side, side, 3)), jnp.zeros((1, count))
    outputs = list(parts(jax.eval_shape(model.edit, used, image, vector, vector)))

    def run(weights: dict[str, Array], image: Array, *vectors: Array) -> tuple[Array, ...]:
        want, have = (*vectors, vectors[0])[:2]
        edited = model.edit(unflatten_dict(weights, sep="/"), image, want, have)
        return tuple(parts(edited).values())

    (batch,) = export.symbolic_shape("b")
    vectors = [jax.ShapeDtypeStruct((batch, count), jnp.float32)] * (1 + model.needs_have)
    # One program for all platforms: it must not depend on the machine that writes it.
    with layers.stated_by(cpu_convolutions.direct, cpu_convolutions.transposed):
        exported = export.export(jax.jit(run), platforms=PLATFORMS)(
            {name: jax.ShapeDtypeStruct(x.shape, x.dtype) for name, x in weights.items()},
            jax.ShapeDtypeStruct((batch, side, side, 3), jnp.float32),
            *vectors,
        )
    try:
        code = exported.serialize()
    except ImportError as error:
        raise ImportError("flatbuffers is needed: pip install 'ganimation-jax[export]'") from error
    manifest = dict(about) | {
        "format": FORMAT,
        "action_units": list(model.names),
        "conditions": [condition._asdict() for condition in model.conditions],
        "image_size": side,
        "needs_have": model.needs_have,
        "undoes": model.undoes,
        "outputs": outputs,
        "platforms": list(exported.platforms),
        "jax": jax.__version__,
        "ganimation_jax": __version__,
    }
    arrays, content = io.BytesIO(), io.BytesIO()
    np.savez(arrays, **weights)
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("manifest.json", json.dumps(manifest, indent=2) + "\n")
        file.writestr("edit.stablehlo", code)
        file.writestr("weights.npz", arrays.getvalue())
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content.getvalue())


def parts(edit: Edit) -> dict[str, Any]:
    """The parts of an edit that the model has, by name."""
    return {name: part for name, part in edit._asdict().items() if part is not None}


def load_exported(path: Path | str) -> Exported:
    """Read a file that ``save_exported`` wrote.

    Raises:
      FileNotFoundError: ``path`` does not exist.
      ImportError: flatbuffers is not installed.
      ValueError: the file is of another kind or version, or damaged.
    """
    try:
        with zipfile.ZipFile(path) as file:
            if sum(one.file_size for one in file.infolist()) > LARGEST:
                raise ValueError(f"{path}: its parts take more than {LARGEST:,} bytes unpacked")
            manifest = json.loads(file.read("manifest.json"))
            if manifest.get("format") != FORMAT:
                raise ValueError(f"{path}: format {manifest.get('format')!r}, not {FORMAT!r}")
            code = bytearray(file.read("edit.stablehlo"))
            weights = read_npz(io.BytesIO(file.read("weights.npz")))
        exported = export.deserialize(code)
    except ImportError as error:
        raise ImportError("flatbuffers is needed: pip install 'ganimation-jax[export]'") from error
    except FileNotFoundError:
        raise
    except DAMAGE as error:
        raise ValueError(f"{path}: not an exported generator, or damaged ({error})") from error
    run, on_device = jax.jit(exported.call), jax.tree.map(jnp.asarray, weights)
    return Exported(manifest, lambda *given: run(on_device, *given), weights)
