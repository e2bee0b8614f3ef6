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
from ganimation_jax.types import Edit, Params
from ganimation_jax.version import __version__

FORMAT = "ganimation_jax/1"
PLATFORMS = ("cpu", "cuda", "tpu")
# What the readers of zip, JSON and StableHLO raise on damaged bytes.
DAMAGE = (
    zipfile.BadZipFile, zlib.error, struct.error, json.JSONDecodeError, UnicodeDecodeError,
    KeyError, AttributeError, NotImplementedError, OSError,
)  # fmt: skip


class Exported(NamedTuple):
    """An exported generator. Call it: ``exported(image, aus)``."""

    manifest: dict[str, Any]
    run: Callable[[Array, Array], tuple[Array, Array, Array]]

    @property
    def action_units(self) -> tuple[str, ...]:
        """Names of the columns of ``aus``."""
        return tuple(self.manifest["action_units"])

    @property
    def image_size(self) -> int:
        """Side of the images, in pixels."""
        return self.manifest["image_size"]

    def __call__(
        self, image: Num[Array | np.ndarray, "..."], aus: Num[Array | np.ndarray, "..."]
    ) -> Edit:
        """Edit images. Compiles once for each batch size.

        Args:
          image: ``b h h 3``, [-1, 1].
          aus: ``b n``, [0, 1], in the order of ``action_units``.

        Raises:
          ValueError: an array has another shape.
        """
        image, aus = jnp.asarray(image, jnp.float32), jnp.asarray(aus, jnp.float32)
        side, units = self.image_size, len(self.action_units)
        if image.shape[1:] != (side, side, 3) or aus.shape != (len(image), units):
            raise ValueError(
                f"image {image.shape} and aus {aus.shape}; they must be "
                f"(b, {side}, {side}, 3) and (b, {units})"
            )
        return Edit(*self.run(image, aus))


def save_exported(
    path: Path,
    edit: Callable[[Params, Array, Array], Edit],
    params: Params,
    action_units: tuple[str, ...],
    image_size: int,
    about: Mapping[str, Any],
) -> None:
    """Write a generator as one program for CPU, CUDA and TPU.

    Args:
      path: of the file; missing folders are made.
      edit: params, image ``b h h 3`` in [-1, 1], aus ``b n`` in [0, 1] -> ``Edit``.
      params: of the generator, a tree of dicts.
      action_units: names of the columns of ``aus``.
      image_size: h.
      about: further facts for the manifest, such as the step.

    Raises:
      ImportError: flatbuffers is not installed.
      OSError: the file cannot be written; nothing is left of it.
    """
    from ganimation_jax.models import cpu_convolutions, layers  # reading a file needs no networks

    weights: dict[str, Any] = {
        name: np.asarray(x) for name, x in flatten_dict(params, sep="/").items()
    }

    def run(weights: dict[str, Array], image: Array, aus: Array) -> tuple[Array, ...]:
        return tuple(edit(unflatten_dict(weights, sep="/"), image, aus))

    (batch,) = export.symbolic_shape("b")
    # One program for all platforms: it must not depend on the machine that writes it.
    with layers.stated_by(cpu_convolutions.direct, cpu_convolutions.transposed):
        exported = export.export(jax.jit(run), platforms=PLATFORMS)(
            {name: jax.ShapeDtypeStruct(x.shape, x.dtype) for name, x in weights.items()},
            jax.ShapeDtypeStruct((batch, image_size, image_size, 3), jnp.float32),
            jax.ShapeDtypeStruct((batch, len(action_units)), jnp.float32),
        )
    try:
        code = exported.serialize()
    except ImportError as error:
        raise ImportError("flatbuffers is needed: pip install 'ganimation-jax[export]'") from error
    manifest = dict(about) | {
        "format": FORMAT,
        "action_units": list(action_units),
        "image_size": image_size,
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


def load_exported(path: Path | str) -> Exported:
    """Read a file that ``save_exported`` wrote.

    Raises:
      FileNotFoundError: ``path`` does not exist.
      ImportError: flatbuffers is not installed.
      ValueError: the file is of another kind or version, or damaged.
    """
    try:
        with zipfile.ZipFile(path) as file:
            manifest = json.loads(file.read("manifest.json"))
            if manifest.get("format") != FORMAT:
                raise ValueError(f"{path}: format {manifest.get('format')!r}, not {FORMAT!r}")
            code = bytearray(file.read("edit.stablehlo"))
            with np.load(io.BytesIO(file.read("weights.npz")), allow_pickle=False) as arrays:
                weights = {name: jnp.asarray(arrays[name]) for name in arrays.files}
        exported = export.deserialize(code)
    except ImportError as error:
        raise ImportError("flatbuffers is needed: pip install 'ganimation-jax[export]'") from error
    except FileNotFoundError:
        raise
    except DAMAGE as error:
        raise ValueError(f"{path}: not an exported generator, or damaged ({error})") from error
    run = jax.jit(exported.call)
    return Exported(manifest, lambda image, aus: run(weights, image, aus))
